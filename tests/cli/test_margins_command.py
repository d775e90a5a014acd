"""``melogit margins``: what it prints, writes and refuses."""

import io
import json

import numpy as np
import pandas as pd
import pytest

import melogit as me
from quiet import quietly

FORMULA = "purchase ~ minutes + member + (1 | consumer)"
MODEL = ("margins", "retail", FORMULA)
MINUS = {"minutes": -1}
CROSSED = "correct ~ hours + kind + (1 | student) + (1 | question)"


@pytest.fixture(scope="module")
def fit():
    return me.melogit(FORMULA, me.load_dataset("retail"))


def test_settings_are_combined_and_written(run, fit, tmp_path):
    table, numbers = tmp_path / "margins.json", tmp_path / "margins.csv"
    code, out, _ = run(*MODEL, "--at", "minutes=2(2)6,mean", "member=levels", "--json", table, "--csv", numbers)
    expected = fit.margins(at={"minutes": [2, 4, 6, "mean"], "member": "levels"})
    assert (code, out) == (0, f"{expected}\n")
    content = json.loads(table.read_text())
    pd.testing.assert_frame_equal(pd.DataFrame(content["margins"]), expected.table, rtol=1e-12)
    np.testing.assert_allclose(content["covariance"], expected.cov, rtol=1e-12)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(numbers.read_text())), expected.table, rtol=1e-12)
    assert run(*MODEL, "--at", "minutes=2,4,6,mean", "--at", "member=levels")[1] == out


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("--dydx", "*"), {"dydx": "*"}),
        (("--dydx", "minutes", "member"), {"dydx": ["minutes", "member"]}),
        (("--eyex", "minutes", "--at", "member=yes"), {"eyex": "minutes", "at": {"member": "yes"}}),
        (("--over", "member", "--kind", "conditional"), {"over": "member", "kind": "conditional"}),
        (
            ("--kind", "fixed", "--atmeans", "--at", "minutes=-1"),
            {"kind": "fixed", "atmeans": True, "at": {"minutes": -1}},
        ),
        (("--margin-points", 7), {"intpoints": 7}),
        (
            ("--at", "member=levels", "--contrast", "pairwise", "--adjust", "sidak"),
            {"at": {"member": "levels"}, "contrast": "pairwise", "adjust": "sidak"},
        ),
    ],
)
def test_options_are_those_of_margins(run, fit, arguments, options):
    code, out, _ = run(*MODEL, *arguments)
    assert (code, out) == (0, f"{fit.margins(**options)}\n")


def test_two_margins_by_every_measure_and_a_picture(run, fit, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "margins.svg"
    code, out, _ = run(*MODEL, "--at", "member=levels", "--effect", "--json", "--plot", picture)
    found = pd.DataFrame(json.loads(out)["effect"]).set_index("measure")
    pd.testing.assert_frame_equal(found, fit.margins(at={"member": "levels"}).effect(), rtol=1e-12)
    assert code == 0 and "<svg" in picture.read_text()
    assert "number needed to treat" in run(*MODEL, "--at", "member=levels", "--effect")[1]


def test_crossed_groups_as_a_formula_and_as_a_stata_command(run):
    expected = quietly(me.melogit, CROSSED, me.load_dataset("exam")).result.margins(dydx="*")
    code, out, err = run("margins", "exam", CROSSED, "--dydx", "*")
    assert (code, out) == (0, f"{expected}\n") and "Laplace approximation is not exact here" in err
    command = "melogit correct hours i.kind || _all: R.student || question:"
    assert run("margins", "exam", command, "--dydx", "*")[1] == out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "minutes"), "--at 'minutes' cannot be read: give a predictor and its values, such as Age=40,60."),
        (("--at", "minute=2"), "'minute' is not a predictor of this model. Did you mean 'minutes'?"),
        (("--at", "member=maybe"), "'member' has no level 'maybe' in the fitted data"),
        (("--at", "minutes=much"), "'minutes' is a number in this model and cannot be set to 'much'"),
        (("--at", "minutes=5(1)2"), "5(1)2 does not lead from 5 to 2"),
        (("--at", "minutes=1(0)2"), "1(0)2 does not lead from 1 to 2"),
        (("--dydx", "minutes", "--eyex", "minutes"), "cannot be given together"),
        (("--effect",), "--effect compares two margins, and there are 1"),
        (("--adjust", "holm"), "--adjust holm goes with --contrast."),
        (("--plot", "margins.txt"), "a picture is one of .png, .svg, .pdf"),
        (("--over", "shop"), "over='shop' is not in the model"),
        (("--kind", "mean"), "invalid choice: 'mean'"),
    ],
)
def test_bad_input(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*MODEL, *arguments)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
