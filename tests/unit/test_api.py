"""The front door: what it refuses and how it says so; one model from data frame to file and back."""

import doctest
import importlib
import inspect
import io
import re
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import ModelError
from melogit.report import progress

FORMULA = "passed ~ hours + track + (1 | school)"


def students(groups=30, size=12, seed=5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(groups), size)
    hours = rng.normal(5, 2, size=len(school))
    track = np.array(["arts", "maths", "trade"])[rng.integers(0, 3, len(school))]
    eta = -2 + 0.4 * hours + 0.5 * (track == "maths") + rng.normal(0, 1, groups)[school]
    passed = rng.random(len(school)) < 1 / (1 + np.exp(-eta))
    return pd.DataFrame({"passed": passed.astype(int), "hours": hours, "track": track, "school": school})


@pytest.fixture(scope="module")
def fit():
    return me.melogit(FORMULA, students())


# --------------------------------------------------------------------------------------------------- options


def test_everything_after_the_data_is_by_name_only():
    parameters = list(inspect.signature(me.melogit).parameters.values())
    assert [parameter.name for parameter in parameters[:2]] == ["formula", "data"]
    assert {parameter.kind for parameter in parameters[2:]} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("points", [-3, 0, 2.5, "many", 5000, 1002, True, None, (), (7, 0), [7, "x"], (7, 2.0), b"7"])
def test_impossible_points(points):
    with pytest.raises(ModelError, match=r"intpoints=.* cannot be used: give a whole number from 1 to 1001"):
        me.melogit(FORMULA, None, intpoints=points)


@pytest.mark.parametrize("method", ["agq", "Laplace", 7, "", True])
def test_unknown_method(method):
    with pytest.raises(ModelError, match=r"method=.* is not one of 'mvaghermite', 'mcaghermite', 'ghermite', "):
        me.melogit(FORMULA, None, method=method)


def test_a_misspelt_method_is_guessed():
    with pytest.raises(ModelError, match="Did you mean 'mvaghermite'"):
        me.melogit(FORMULA, None, method="mvagh")


def test_laplace_has_one_point():
    with pytest.raises(ModelError, match='method="laplace" has a single integration point, and intpoints=7'):
        me.melogit(FORMULA, None, method="laplace", intpoints=7)


@pytest.mark.parametrize("vce", ["cluster school", "bootstrap", None, 1])
def test_standard_errors_that_are_not_there(vce):
    with pytest.raises(ModelError, match=r"vce=.* is not one of 'oim', 'robust', 'cluster'"):
        me.melogit(FORMULA, None, vce=vce)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("level", 95, "For 95 % write level=0.95"),
        ("level", 0, "strictly between 0 and 1"),
        ("missing", "ignore", "missing='ignore' is not one of 'drop', 'error'"),
        ("progress", "yes", "progress='yes' is not one of None, True, False"),
        ("tolerance", 0, "tolerance=0 must be a number between 0 and 1"),
        ("tolerance", "small", "tolerance='small' must be a number between 0 and 1"),
        ("tolerance", float("nan"), "tolerance=nan must be a number between 0 and 1"),
        ("max_iterations", 0, "max_iterations=0 must be a whole number, 1 or more"),
        ("max_iterations", 10.0, "max_iterations=10.0 must be a whole number, 1 or more"),
        ("threads", 0, "threads=0 must be a whole number, 1 or more"),
        ("threads", True, "threads=True must be a whole number, 1 or more"),
    ],
)
def test_impossible_options(option, value, message):
    with pytest.raises(ModelError) as caught:
        me.melogit(FORMULA, None, **{option: value})
    assert message in str(caught.value)


def test_points_per_level_must_match_the_levels():
    with pytest.raises(ModelError, match=r"intpoints=\(7, 5\) has 2 numbers, and the model has 1 grouping factor"):
        me.melogit(FORMULA, students(), intpoints=(7, 5))


# ------------------------------------------------------------------------------------------------ end to end


def test_a_fit_from_data_to_table(fit):
    assert fit.converged and fit.nobs == 360
    assert list(fit.fe_params.index) == ["Intercept", "hours", "track[maths]", "track[trade]"]
    assert fit.groups.loc["school"].tolist() == [30, 12, 12.0, 12]
    assert fit.integration.accurate
    assert fit.fe_params["hours"] == pytest.approx(0.4, abs=4 * fit.bse["hours"])
    text = str(fit)
    for part in ("Number of obs     =        360", "arts |           0  (base)", "chibar2(01)", "Accuracy: going from"):
        assert part in text


def test_numbers_of_points_as_numpy_and_lists(fit):
    seven = me.melogit(FORMULA, students(), intpoints=7)
    assert seven.integration.method == "mvaghermite" and seven.integration.points == (7,)
    for points in (np.int64(7), [7], (np.int32(7),)):
        assert me.melogit(FORMULA, students(), intpoints=points).llf == seven.llf
    assert seven.llf == pytest.approx(fit.llf, abs=0.01)


def test_augment_agrees_with_the_fit(fit):
    table = fit.augment()
    assert len(table) == 360 and list(table.columns[:5]) == ["passed", "eta_fixed", "eta", "mu", "residual"]
    assert abs(table["residual"].mean()) < 0.01
    joined = students().join(table.add_suffix("_fit"))
    assert (joined["passed"] == joined["passed_fit"]).all()
    assert (joined["school"].astype(str) == joined["school_fit"]).all()


def test_a_saved_model_prints_the_same_table(fit, tmp_path):
    path = tmp_path / "model.json"
    fit.save(path)
    loaded = me.load(path)
    assert str(loaded.summary(odds_ratios=True)) == str(fit.summary(odds_ratios=True))
    assert loaded._repr_html_() == fit._repr_html_()
    for name in ("params", "bse", "trace", "varcomp", "groups"):
        assert getattr(loaded, name).equals(getattr(fit, name)), name
    assert loaded.random_effects().equals(fit.random_effects())
    with pytest.raises(ModelError, match=r"loaded from a file.*fit the model again"):
        loaded.augment()


def test_level_is_that_of_all_tables():
    narrow = me.melogit(FORMULA, students(), level=0.5)
    assert "[50% conf. interval]" in str(narrow)


# -------------------------------------------------------------------------------------------------- progress


def test_progress_on_request_shows_every_iteration(capsys):
    fit = me.melogit(FORMULA, students(), progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"log-likelihood = {fit.llf:.4f}"[:22] in shown.err
    assert "Fixed-effects model, iteration" in shown.err and "Full model, iteration" in shown.err


@pytest.mark.parametrize("choice", [None, False])
def test_no_progress_outside_a_terminal(choice, capfd):
    me.melogit(FORMULA, students(), progress=choice)
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


ROW = SimpleNamespace(stage="full", iteration=3, loglik=-3689.40796)


def test_a_short_fit_says_nothing_in_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.iteration_display(None) as show:
        assert show is not None
        show(ROW)
    assert terminal.getvalue() == ""


def test_a_long_fit_shows_a_line_in_a_terminal_even_before_its_first_iteration(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "DELAY", 0.05)
    with progress.iteration_display(None) as show:
        time.sleep(0.6)
        assert "Fitting" in terminal.getvalue()
        assert show is not None
        show(ROW)
        time.sleep(0.3)
    assert "Full model, iteration 3: log-likelihood = -3689.408" in terminal.getvalue()


def test_an_error_during_the_fit_takes_the_line_away(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt), progress.iteration_display(None):
        raise KeyboardInterrupt


# --------------------------------------------------------------------------------------------------- package


def test_public_names():
    for name in me.__all__:
        assert hasattr(me, name), name
    assert callable(me.melogit) and me.__version__


def test_import_is_light():
    code = "import sys, melogit; print(*({'rich', 'matplotlib', 'pooch', 'duckdb'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""


@pytest.mark.parametrize("module", ["melogit", "melogit.api", "melogit.results.results"])
def test_documented_examples_hold(module):
    outcome = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0 and outcome.failed == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "mvaghermite"},
            "method='mvaghermite' could take by quadrature. Leave method='mvaghermite' out",
        ),
        ({"intpoints": 7}, "intpoints=7 could take by quadrature. Leave intpoints=7 out: the Laplace approximation"),
        ({"method": "simulated", "intpoints": 7}, "Leave intpoints=7 out: draws are added until their error is small"),
        ({"vce": "robust"}, "'student' and 'question' cross each other, so that neither's groups are independent"),
    ],
)
def test_what_crossed_groups_cannot_have_is_said_with_what_to_leave_out(options, message):
    with pytest.raises(me.ModelError, match=re.escape(message)), warnings.catch_warnings():
        warnings.simplefilter("ignore", me.IntegrationWarning)
        me.melogit("correct ~ hours + (1 | student) + (1 | question)", me.load_dataset("exam").iloc[:900], **options)
