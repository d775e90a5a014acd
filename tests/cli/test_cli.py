"""The command line as a user meets it: what is printed where, what is written, and with which exit code it ends."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import melogit as me
from melogit.cli import commands
from melogit.cli.files import strict

FORMULA = "purchase ~ minutes + discount + (1 | consumer)"
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def retail_csv(tmp_path):
    path = tmp_path / "sessions.csv"
    me.load_dataset("retail").to_csv(path, index=False)
    return path


def program(*arguments, **options):
    """Run the program as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "melogit.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def assert_same_text(actual, golden):
    """Word for word the same, numbers up to a relative 1e-4 (the last digits belong to the processor)."""
    number = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]\d+)?")
    expected = (GOLDEN / golden).read_text(encoding="utf-8")
    assert number.sub("#", actual) == number.sub("#", expected)
    for ours, theirs in zip(number.findall(actual), number.findall(expected), strict=True):
        a, b = (float(text.replace(",", "")) for text in (ours, theirs))
        assert math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4), (ours, theirs)


# ----------------------------------------------------------------------------------------------------------- fit


def test_fit_prints_the_table_and_says_which_data(run):
    code, out, err = run("fit", "retail", FORMULA, "--intpoints", "7")
    assert code == 0
    assert err == "melogit: using the bundled data set retail\n"
    assert_same_text(out, "fit_retail.txt")


def test_fit_agrees_with_the_library(run, retail_csv):
    code, out, err = run("fit", retail_csv, FORMULA)
    assert (code, err) == (0, "")
    assert out == f"{me.melogit(FORMULA, me.load_dataset('retail'))}\n"


def test_odds_ratios_and_level(run):
    code, out, _ = run("fit", "retail", FORMULA, "--or", "--level", "0.9")
    assert code == 0
    fit = me.melogit(FORMULA, me.load_dataset("retail"), level=0.9)
    assert out == f"{fit.summary(odds_ratios=True)}\n"
    assert "90%" in out


def test_options_reach_the_engine(run, tmp_path):
    target = tmp_path / "out.json"
    code, _, _ = run(
        "fit", "retail", FORMULA, "--method", "mcaghermite", "--intpoints", "5", "--threads", "1", "--json", target
    )
    content = json.loads(target.read_text())
    assert code == 0
    assert content["integration"]["method"] == "mcaghermite"
    assert content["integration"]["points"] == [5]
    assert content["integration"]["automatic"] is False


def test_points_by_level(run, tmp_path):
    target = tmp_path / "out.json"
    code, _, _ = run("fit", "hospital", "remission ~ Age + (1 | HID/DID)", "--intpoints", "5,7", "--json", target)
    assert code == 0
    assert json.loads(target.read_text())["integration"]["points"] == [5, 7]


def test_event_trials_weights_offset_and_covariance(run, tmp_path):
    data = pd.DataFrame({"g": [1, 1, 2, 2, 3, 3, 4, 4, 5, 5] * 8, "size": 4, "w": 2, "o": 0.1})
    data["x"] = [((7 * i) % 11) / 5 - 1 for i in range(len(data))]
    data["cases"] = [(3 * i) % 5 if i % 3 else (i // 3) % 4 for i in range(len(data))]
    data["answer"] = ["yes" if (5 * i) % 7 in (0, 2, 3) else "no" for i in range(len(data))]
    path, target = tmp_path / "d.csv", tmp_path / "out.json"
    data.to_csv(path, index=False)
    code, _, err = run(
        "fit", path, "cases ~ x + (1 | g)", "--trials", "size", "--weights", "w", "--offset", "o", "--json", target
    )
    assert code == 0, err
    assert json.loads(target.read_text())["nobs"] == 160
    code, _, err = run(
        "fit", path, "answer ~ x + (x | g)", "--event", "no", "--covariance", "g=independent", "--json", target
    )
    assert code in (0, 3), err
    content = json.loads(target.read_text())
    assert content["event"] == "no"
    assert [row["term"] for row in content["variance_components"]] == ["var(Intercept)", "var(x)"]


def test_json_holds_what_the_table_says(run, tmp_path):
    target = tmp_path / "estimates.json"
    code, _, _ = run("fit", "retail", FORMULA, "--json", target)
    content = json.loads(target.read_text())
    fit = me.melogit(FORMULA, me.load_dataset("retail"))
    assert code == 0
    assert content["formula"] == FORMULA
    assert content["nobs"] == 3199
    assert content["groups"] == [
        {"group": "consumer", "groups": 400, "min": 4, "mean": pytest.approx(7.9975), "max": 12}
    ]
    assert [row["term"] for row in content["fixed_effects"]] == ["Intercept", "minutes", "discount"]
    for row in content["fixed_effects"]:
        assert row["estimate"] == fit.params[row["term"]]
        assert row["std_err"] == fit.bse[row["term"]]
        assert row["ci_low"] == fit.conf_int().loc[row["term"], "ci_low"]
    assert content["variance_components"][0]["estimate"] == fit.params["consumer:var(Intercept)"]
    assert content["loglik"] == fit.llf
    assert content["lr_test"]["kind"] == fit.lr_test.kind
    assert content["integration"]["accurate"] is True
    assert content["status"] == "converged"
    assert list(tmp_path.iterdir()) == [target]  # nothing temporary stays behind


def test_json_to_the_screen_replaces_the_table(run):
    code, out, _ = run("fit", "retail", FORMULA, "--json")
    assert code == 0
    assert json.loads(out)["formula"] == FORMULA


def test_save_and_show(run, tmp_path):
    model = tmp_path / "model.json"
    _, table, _ = run("fit", "retail", FORMULA, "--save", model)
    assert run("show", model) == (0, table, "")
    code, out, _ = run("show", model, "--or")
    assert code == 0
    assert "Odds ratio" in out


def test_html_page(run, tmp_path):
    page = tmp_path / "table.html"
    assert run("fit", "retail", FORMULA, "--html", page)[0] == 0
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "discount" in text and "<title>purchase ~ minutes + discount + (1 | consumer)</title>" in text


def test_quiet_and_log(run):
    assert run("fit", "retail", FORMULA, "--quiet")[:2] == (0, "")
    code, _, err = run("fit", "retail", FORMULA, "--log")
    assert code == 0
    assert "Full model, iteration 1: log-likelihood = " in err


def test_not_converged_is_exit_code_3_with_the_table(run):
    code, out, err = run("fit", "retail", FORMULA, "--max-iterations", "1")
    assert code == 3
    assert "discount" in out
    assert err.count("melogit: warning: ") >= 1
    assert "ConvergenceWarning" not in err and ".py:" not in err


def test_a_file_wins_over_a_bundled_name_and_says_so(run, tmp_path, monkeypatch):
    me.load_dataset("retail").head(500).to_csv(tmp_path / "retail.csv", index=False)
    (tmp_path / "retail.csv").rename(tmp_path / "tv")
    monkeypatch.chdir(tmp_path)
    _, _, err = run("describe", "tv")
    assert "melogit: using the file tv of this folder, not the bundled data set of the same name" in err


def test_a_long_read_is_announced(run, retail_csv, monkeypatch):
    monkeypatch.setattr("melogit.cli.files.LONG_READ_MEGABYTES", 0.01)
    assert run("describe", retail_csv)[2] == f"melogit: reading {retail_csv} (0 MB)\n"


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "retail", "purchase ~ minuts + (1 | consumer)"], "Did you mean 'minutes'?"),
        (["fit", "retail", "purchase ~ minutes + (1 | consumr)"], "Did you mean 'consumer'?"),
        (["fit", "retail", "purchase ~ __import__('os') + (1 | consumer)"], "purchase ~"),
        (["fit", "hospitl", FORMULA], "There is no file 'hospitl' here, and no bundled data set of that name"),
        (["fit", "retail", FORMULA, "--intpoints", "0"], "whole number from 1"),
        (["fit", "retail", FORMULA, "--intpoints", "many"], "nor auto"),
        (["fit", "retail", FORMULA, "--level", "95"], "level"),
        (["fit", "retail", FORMULA, "--method", "magic"], "invalid choice: 'magic'"),
        (["fit", "retail", FORMULA, "--covariance", "diagonal", "--covariance", "g=identity"], "GROUP=KIND for each"),
        (["fit", "retail"], "the following arguments are required: FORMULA"),
        (["describe", "retail", "minuts"], "There is no column 'minuts'. Did you mean 'minutes'?"),
        (["describe", "retail", "--correlate", "minutes", "member"], "Column 'member' cannot be correlated"),
        (["show", "nothing.json"], "'nothing.json' cannot be read"),
        (["datasets", "tvv"], "Did you mean 'tv'?"),
        (["datasets", "--out", "x.csv"], "--out needs the name of a data set"),
        (["fti"], "invalid choice: 'fti'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_bad_input_is_named_with_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    said = err[err.index("melogit: error: ") :]  # a formula error shows the place on two lines more
    assert code == 2
    assert out == ""
    assert message in said
    assert "Traceback" not in err


def test_a_folder_and_a_neighbouring_file(run, tmp_path, retail_csv):
    assert "is a folder. Name a .csv" in run("fit", tmp_path, FORMULA)[2]
    assert "Did you mean 'sessions.csv'?" in run("fit", tmp_path / "session.csv", FORMULA)[2]


@pytest.mark.parametrize("option", ["--json", "--save", "--html"])
def test_an_output_that_cannot_be_written_is_found_before_fitting(run, tmp_path, option, monkeypatch):
    monkeypatch.setattr(commands, "melogit", lambda *_, **__: pytest.fail("the model was fitted"))
    code, _, err = run("fit", "retail", FORMULA, option, tmp_path / "missing" / "out")
    assert code == 2
    assert "cannot be written: No such file or directory. Nothing was computed." in err
    assert "is a folder. Name a file in it." in run("fit", "retail", FORMULA, option, tmp_path)[2]


def test_too_little_memory_is_said_in_words(run, monkeypatch):
    def exhaust(*_, **__):
        raise MemoryError

    monkeypatch.setattr(commands, "melogit", exhaust)
    code, _, err = run("fit", "retail", FORMULA)
    assert code == 2
    assert err.splitlines()[-1].startswith("melogit: error: there is not enough memory")


def test_two_outputs_to_one_file(run, tmp_path):
    target = tmp_path / "a.json"
    code, _, err = run("fit", "retail", FORMULA, "--json", target, "--save", target)
    assert code == 2
    assert "the second would replace the first" in err
    assert not target.exists()


def test_a_failed_fit_leaves_an_older_output_alone(run, tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    assert run("fit", "retail", "purchase ~ nothing + (1 | consumer)", "--json", target)[0] == 2
    assert target.read_text() == "old"


# -------------------------------------------------------------------------------------------- the other commands


def test_describe(run):
    code, out, err = run(
        "describe",
        "retail",
        "minutes",
        "device",
        "--tabulate",
        "device",
        "--correlate",
        "minutes",
        "discount",
        "purchase",
    )
    assert (code, err) == (0, "melogit: using the bundled data set retail\n")
    assert out == (GOLDEN / "describe_retail.txt").read_text(encoding="utf-8")


def test_describe_as_json(run, tmp_path):
    code, out, _ = run("describe", "retail", "minutes", "--tabulate", "device", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["summary"]["minutes"]["obs"] == 3199
    assert [row["value"] for row in content["tabulations"]["device"]] == ["computer", "phone", "tablet"]
    assert run("describe", "retail", "--json", tmp_path / "d.json")[0] == 0
    assert json.loads((tmp_path / "d.json").read_text())["summary"]["device"]["mean"] is None


def test_datasets_are_listed_explained_and_written(run, tmp_path):
    code, out, _ = run("datasets")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["hospital", "retail", "admissions", "tv", "exam", "hdp"]
    assert run("datasets", "tv")[1] == (GOLDEN / "datasets_tv.txt").read_text(encoding="utf-8")
    target = tmp_path / "tv.csv"
    assert run("datasets", "tv", "--out", target)[:2] == (0, f"2,400 rows written to {target}\n")
    pd.testing.assert_frame_equal(pd.read_csv(target), me.load_dataset("tv"))


def test_version_and_help(run):
    assert run("--version")[:2] == (0, f"melogit {me.__version__}\n")
    code, out, _ = run("fit", "--help")
    assert code == 0
    assert "Exit codes: 0 all well, 2 bad input, 3 the fit did not converge" in out


def test_strict_json_has_no_bare_nan_or_infinity():
    assert strict({"a": [float("nan"), float("inf"), -float("inf"), 1.5, True, None]}) == {
        "a": [None, "inf", "-inf", 1.5, True, None]
    }


# ------------------------------------------------------------------------------------------ as a process of its own


def test_the_program_as_a_process(tmp_path):
    done = program("fit", "retail", FORMULA, cwd=tmp_path)
    assert done.returncode == 0
    assert "discount" in done.stdout
    done = program("fit", "retail", "purchase ~", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "melogit: error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-m", "melogit.cli.main", "datasets", "hospital"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # long before the program prints
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_with_one_line(tmp_path):
    fifo = tmp_path / "endless.csv"
    code = "import sys, time, melogit.cli.commands as c, melogit.cli.main as m\n"
    code += "def wait(*_): print('ready', flush=True); time.sleep(60)\n"
    code += "c.describe = lambda *_, **__: wait()\nsys.exit(m.main(['describe', 'tv']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=fifo.parent
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read().splitlines()[-1] == "melogit: interrupted"


def test_text_that_the_terminal_cannot_show(tmp_path):
    (tmp_path / "d.csv").write_text("größe,x\n1,2\n3,4\n", encoding="utf-8")
    done = program(
        "describe", "d.csv", cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert done.returncode == 0
    assert "gr\\xf6\\xdfe" in done.stdout
