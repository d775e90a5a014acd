"""``melogit bootstrap`` as a user meets it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import melogit as me

FORMULA = "purchase ~ minutes + (1 | consumer)"
MODEL = ("bootstrap", "retail", FORMULA, "--intpoints", "9")


@pytest.fixture(scope="module")
def fit():
    return me.melogit(FORMULA, me.load_dataset("retail"), intpoints=9)


def test_it_prints_what_python_gives(run, fit):
    boot = fit.bootstrap(12, seed=4)
    code, out, err = run(*MODEL, "--reps", 12, "--seed", 4)
    assert (code, out.rstrip("\n")) == (0, boot.summary())
    assert err == "melogit: using the bundled data set retail\n"
    for kind in ("bca", "studentized", "all"):
        code, out, _ = run(*MODEL, "--reps", 12, "--seed", 4, "--kind", kind, "--workers", "processes:2")
        assert (code, out.rstrip("\n")) == (0, boot.summary(kind))
    assert run(*MODEL, "--reps", 12, "--seed", 4, "--or")[1].rstrip("\n") == boot.summary(odds_ratios=True)


def test_files(run, fit, tmp_path):
    boot = fit.bootstrap(6, seed=4, resample="weights")
    table, replicates = tmp_path / "boot.json", tmp_path / "replicates.csv"
    more = ("--reps", 6, "--seed", 4, "--resample", "weights", "--quiet")
    code, out, _ = run(*MODEL, *more, "--json", table, "--replicates", replicates)
    assert (code, out) == (0, "")
    content = json.loads(table.read_text())
    assert (content["seed"], content["done"], content["failed"], content["resample"]) == (4, 6, [], "weights")
    assert [row["parameter"] for row in content["parameters"]] == list(boot.observed.index)
    assert content["intervals"]["bca"][1]["ci_low"] == boot.table("bca").loc["minutes", "ci_low"]
    assert set(content["intervals"]) == set(boot.kinds)
    read = pd.read_csv(io.StringIO(replicates.read_text()), index_col="replicate")
    pd.testing.assert_frame_equal(read, boot.replicates, rtol=1e-12, check_names=False)


def test_a_stata_command_is_shown_in_stata_words(run):
    code, out, _ = run(
        "bootstrap", "retail", "melogit purchase minutes || consumer:, intpoints(9)", "--reps", 4, "--seed", 1
    )
    assert code == 0
    assert "_cons |" in out and "consumer: var(_cons) |" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reps", 1), "reps=1 must be a whole number, 2 or more"),
        (("--group", "shop"), "'shop' is no grouping factor of this model. It has 'consumer'."),
        (("--group", "consumer", "rows"), "--group takes one group with --resample cluster, several with stagewise."),
        (("--or", "--kind", "bc"), "--or goes with the table of normal intervals, not with --kind."),
        (("--checkpoint", "a.ckpt"), "checkpoint= needs seed= too"),
        (("--checkpoint", "no/a.ckpt", "--seed", 1), "'no/a.ckpt' cannot be written: No such file or directory."),
        (("--workers", "cores"), "workers='cores' is not understood"),
        (("--timeout", 5, "--workers", 2), 'needs workers that can be ended and replaced: workers="processes"'),
        (("--resample", "doctors"), "invalid choice: 'doctors'"),
        (("--kind", "exact"), "invalid choice: 'exact'"),
    ],
)
def test_bad_input(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*MODEL, *arguments)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_prefix_of_stata_belongs_to_melogit_run(run):
    code, _, err = run("bootstrap", "retail", "bootstrap, reps(5): melogit purchase minutes || consumer:")
    assert code == 2 and "are the options --reps, --seed and --group here" in err


def test_ctrl_c_prints_what_is_done_and_how_to_go_on(tmp_path):
    call = [sys.executable, "-m", "melogit.cli.main", *MODEL, "--seed", "1", "--checkpoint", "boot.ckpt"]
    checkpoint = tmp_path / "boot.ckpt"
    process = subprocess.Popen(
        [*call, "--reps", "100000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (checkpoint.exists() and checkpoint.read_bytes().count(b"\n") > 5):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted: " in out and "of 100,000 replicates were made." in out
    assert "/100000 in 'boot.ckpt'; resume with the same call." in err and "Traceback" not in err
    saved = checkpoint.read_bytes().count(b"\n") - 1
    again = subprocess.run([*call, "--reps", str(saved)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and "Interrupted" not in again.stdout


def test_crossed_groups_are_simulated_unless_asked_otherwise(run):
    crossed = ("bootstrap", "exam", "correct ~ hours + (1 | student) + (1 | question)", "--reps", 3, "--seed", 1)
    code, out, _ = run(*crossed)
    assert code == 0 and "parametric: the groups cross, so none can be drawn without cutting others" in out
    code, out, _ = run(*crossed, "--resample", "cluster")
    assert code == 0 and "Drawn by themselves: 150 groups of student and 40 groups of question." in out
    code, _, err = run(*crossed, "--resample", "stagewise")
    assert code == 2 and "needs nested groups, and 'student' and 'question' cross each other" in err
