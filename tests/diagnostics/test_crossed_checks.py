"""Checks of fits whose grouping factors cross: rows and groups against refits, and the simulated checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.report.checks import Verdict

pytestmark = pytest.mark.filterwarnings("ignore::melogit.MelogitWarning")
DATA = Path(__file__).parents[1] / "reference/data"
SALAMANDER = "mated ~ female_type * male_type + (1 | female) + (1 | male)"
VERBAGG = "said ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)"
EXAM = "correct ~ hours + kind + position + (1 | student) + (1 | question)"


@pytest.fixture(scope="module")
def salamander():
    return me.melogit(SALAMANDER, pd.read_csv(DATA / "salamander.csv"))


@pytest.fixture(scope="module")
def exam():
    return me.melogit(EXAM, me.load_dataset("exam"))


def gap(one: pd.DataFrame, exact: pd.DataFrame, columns: slice) -> float:
    """Distance of two tables over the length of the second."""
    a, b = one.to_numpy()[:, columns], exact.to_numpy()[:, columns]
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("name", ["salamander", "exam"])
def test_rows_left_out_by_one_step_are_near_refits(name, request):
    fit = request.getfixturevalue(name)
    one, exact = fit.influence(), fit.influence(exact=8)
    top = exact.top(8).index
    p = len(fit.fe_params)
    assert exact.table.loc[top, "exact"].all()
    assert gap(one.dfbetas.loc[top], exact.dfbetas.loc[top], slice(0, p)) < 0.12
    assert gap(one.dfbetas.loc[top], exact.dfbetas.loc[top], slice(p, None)) < 0.25
    assert one.table["own_probability"].between(0, 1).all() and one.table["leverage"].between(0, 1).all()


def test_groups_left_out_by_a_first_step_go_with_refits(exam):
    one, exact = exam.influence("question"), exam.influence("question", exact=True)
    assert exact.table["exact"].all() and not one.table["exact"].any()
    for name in exam.params.index:
        assert np.corrcoef(one.dfbetas[name], exact.dfbetas[name])[0, 1] > 0.98, name
    assert set(exact.top(3).index) <= set(one.top(6).index)


def test_all_checks_that_can_be_are_made(exam):
    checks = exam.diagnose()
    left = {check.key for check in checks if check.verdict is Verdict.SKIPPED}
    assert left == {"shape", "levels", "time"}
    assert "cross each other" in checks["levels"].meaning
    groups = checks["group_influence"]
    assert "fitted again without each group of student and question" in groups.tested
    assert [len(picture.data["value"]) for picture in groups.pictures[:2]] == [150, 40]  # pyright: ignore
    assert len(checks["random_effects"].pictures) == 2


def test_a_question_that_the_good_fail_is_named():
    rng = np.random.default_rng(3)
    i, j = (part.ravel() for part in np.meshgrid(np.arange(80), np.arange(20), indexing="ij"))
    x = rng.normal(size=len(i))
    slope = np.where(j == 7, -4.0, 1.0)
    eta = slope * x + rng.normal(size=80)[i] + rng.normal(size=20)[j]
    data = pd.DataFrame({"person": i, "item": j, "x": x, "y": rng.random(len(i)) < 1 / (1 + np.exp(-eta))})
    data["y"] = data["y"].astype(int)
    fit = me.melogit("y ~ x + (1 | person) + (1 | item)", data)
    check = fit.diagnose(only="group_influence")["group_influence"]
    assert check.verdict is not Verdict.FINE
    assert "'item' has groups with more influence" in check.meaning and "the first is group 7." in check.meaning


@pytest.mark.slow
def test_verbal_aggression_is_checked_in_full():
    data = pd.read_csv(DATA / "verbagg.csv")
    checks = me.melogit(VERBAGG, data).diagnose()
    for key in ("row_influence", "group_influence", "random_effects", "residuals", "calibration"):
        assert checks[key].verdict is not Verdict.SKIPPED, checks[key].meaning
