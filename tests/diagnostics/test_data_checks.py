"""Separation, design, the integral, convergence, the right model: each broken world is told in the user's words."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from worlds import FORMULA, sound_world, with_outcome

import melogit as me
from melogit.report.checks import Verdict
from quiet import quietly


def checked(key: str, formula: str, data, **options):
    fit = quietly(me.melogit, formula, data, **options).result
    return fit.diagnose(only=key)[key]


# ---------------------------------------------------------------------------------------------------- separation


def test_separation_names_predictor_and_rows():
    data = sound_world(1)
    data.index = [f"p{k}" for k in range(len(data))]
    rare = data.index[[3, 77, 200, 201, 355, 500]]
    data.loc[rare, "stage"] = "IV"
    data.loc[rare, "y"] = 1
    check = checked("separation", FORMULA, data)
    assert check.verdict is Verdict.PROBLEM
    assert check.meaning.startswith("stage[IV] separates the outcome: in 6 rows (p3, p77, p200, p201, p355, p500)")
    assert [row[0] for row in check.tables[1].rows] == list(rare)
    assert check.tables[0].rows == (("stage", "IV", 6.0, 0.0),)
    assert 'data["stage"] = data["stage"].replace({\'IV\': "..."})' in check.code


def test_few_events_and_sparse_levels():
    data = sound_world(1)
    data = with_outcome(data, np.full(len(data), -4.0), np.random.default_rng(3), sd=0.8)
    events = int(data["y"].sum())
    check = checked("separation", FORMULA, data)
    assert check.verdict is Verdict.PROBLEM and events / 5 < 5
    assert f"There are {events} events for 5 coefficients" in check.meaning
    assert check.measures[0].value == pytest.approx(events / 5)
    assert 'fit.confint(kind="profile")' in check.code


def test_a_factor_of_numbers_and_a_boolean_have_their_levels_counted():
    data = sound_world(1)
    data["grade"] = np.where(np.arange(len(data)) < 4, 7, np.random.default_rng(1).choice([2, 5], len(data)))
    data["late"] = data["age"] > 79.9
    check = checked("separation", "y ~ C(grade) + late + dose + (1 | clinic)", data)
    levels = next(t for t in check.tables if t.caption == "Levels with few events").rows
    named = {(row[0], row[1]): row[2:] for row in levels}
    grade = data[data["grade"] == 7]["y"]
    assert named["grade", "7"] == (float(grade.sum()), float(len(grade) - grade.sum()))
    assert ("grade", "2") not in named and ("late", "False") not in named
    assert named["late", "True"][0] == data[data["late"]]["y"].sum()


def test_groups_without_variation_are_counted():
    data = sound_world(1)
    data.loc[data["clinic"] < 45, "y"] = (data["clinic"] % 2)[data["clinic"] < 45]
    check = checked("separation", "y ~ age + (1 | clinic)", data, intpoints=25)
    groups = next(t for t in check.tables if t.caption.startswith("Groups in which"))
    assert groups.rows[0][:3] == ("clinic", 50, 45)
    assert check.verdict is Verdict.LOOK and "In 90 % of the groups of clinic" in check.meaning


# -------------------------------------------------------------------------------------------------------- design


def test_few_groups():
    data = sound_world(1, groups=9, rows=80)
    check = checked("design", "y ~ age + dose + (1 | clinic)", data)
    assert check.verdict is Verdict.LOOK
    assert check.meaning.startswith("clinic has only 9 groups, so its variance is estimated from 9 values")
    assert checked("design", "y ~ age + (1 | clinic)", sound_world(1, groups=5, rows=80)).verdict is Verdict.PROBLEM


@pytest.fixture(scope="module")
def sloping():
    rng = np.random.default_rng(11)
    data = sound_world(11, groups=60, rows=25)
    slope = 0.06 * rng.normal(size=60)[data["clinic"]]
    return with_outcome(data, 0.02 * (data["age"] - 50) + slope * (data["age"] - 50), rng)


def test_an_uncentred_independent_slope_is_shown_by_a_refit(sloping):
    fit = me.melogit("y ~ age + (1 + age || clinic)", sloping)
    check = fit.diagnose(only="design")["design"]
    middle = sloping["age"].mean()
    centred = me.melogit("y ~ age + (1 + agec || clinic)", sloping.assign(agec=sloping["age"] - middle))
    joint = me.melogit("y ~ age + (1 + age | clinic)", sloping)
    assert centred.llf - fit.llf > 2
    assert check.verdict is Verdict.PROBLEM
    assert check.meaning.startswith("The fit depends on where age has its 0, because the random intercept and slope of")
    assert check.measures[0].value == pytest.approx(centred.llf - fit.llf, abs=2e-3)
    table = next(t for t in check.tables if t.caption.startswith("Estimates with age"))
    shown = {row[0]: [float(v) for v in row[1:]] for row in table.rows}
    assert shown["log-likelihood"] == pytest.approx([fit.llf, centred.llf, joint.llf], abs=3e-3)
    assert shown["clinic:var(age)"][1] == pytest.approx(centred.params["clinic:var(agec)"], abs=2e-4)


def test_correlated_slopes_and_centred_ones_do_not_depend_on_the_origin(sloping):
    joint = checked("design", "y ~ age + (1 + age | clinic)", sloping)
    assert joint.verdict is Verdict.FINE and not any(t.caption.startswith("Estimates with") for t in joint.tables)
    centred = sloping.assign(agec=sloping["age"] - sloping["age"].mean())
    assert checked("design", "y ~ agec + (1 + agec || clinic)", centred).verdict is Verdict.FINE


@pytest.mark.slow
def test_the_last_model_of_the_textbook_depends_on_the_origin(hdp, fit_once):
    """M3: the slope of LengthofStay over doctors, its intercept apart; the days begin at 1 and their mean is 5.5."""
    formula = (
        "remission ~ Age + LengthofStay + FamilyHx + IL6 + CRP + CancerStage + Experience"
        " + (1 | HID) + (0 + LengthofStay | DID) + (1 | DID)"
    )
    check = fit_once(formula, hdp, intpoints=7, method="mcaghermite").result.diagnose(only="design")["design"]
    assert check.verdict is Verdict.PROBLEM
    assert "The fit depends on where LengthofStay has its 0" in check.meaning
    assert check.measures[0].value == pytest.approx(-21.0, abs=0.1)


def test_slopes_without_variation_or_fixed_effect():
    data = sound_world(1)
    data["beds"] = np.random.default_rng(1).normal(size=50)[data["clinic"]]
    check = checked("design", "y ~ age + beds + (1 + beds || clinic)", data)
    assert check.verdict is Verdict.PROBLEM
    assert "beds has a random slope over the groups of clinic but does not vary within any group" in check.meaning
    lone = checked("design", "y ~ dose + (1 + age | clinic)", data.assign(age=(data["age"] - 50) / 10))
    assert "age has a random slope over clinic but no fixed effect" in lone.meaning and lone.verdict is Verdict.LOOK


def test_predictors_of_groups_rest_on_groups():
    data = sound_world(1, groups=24, rows=40)
    rng = np.random.default_rng(2)
    for name in ("beds", "staff", "budget"):
        data[name] = rng.normal(size=24)[data["clinic"]]
    check = checked("design", "y ~ age + beds + staff + budget + (1 | clinic)", data)
    assert check.verdict is Verdict.LOOK
    assert "The values of beds, staff, budget are those of the groups of clinic" in check.meaning
    assert "3 coefficients rest on 24 groups" in check.meaning
    levels = next(t for t in check.tables if t.caption.startswith("Level at which"))
    assert levels.rows[0] == ("age", "row", "960 rows") and levels.rows[1] == ("beds", "clinic", "24 groups")


# ------------------------------------------------------------------------------------- integral and convergence


def test_too_few_points_are_told_with_what_they_do():
    rng = np.random.default_rng(6)
    data = with_outcome(sound_world(6, groups=150, rows=5), np.zeros(750), rng, sd=3.0)
    rough = checked("integration", "y ~ age + (1 | clinic)", data, intpoints=3)
    assert rough.verdict is Verdict.PROBLEM and "is not accurate: with about twice the points" in rough.meaning
    assert rough.code == "fit = me.melogit('y ~ age + (1 | clinic)', data, intpoints=\"auto\")"
    assert checked("integration", "y ~ age + (1 | clinic)", data).verdict is Verdict.FINE


def test_an_early_stop_is_a_problem_and_keeps_others_from_being_checked():
    fit = quietly(me.melogit, FORMULA, sound_world(1), max_iterations=1).result
    checks = fit.diagnose(only=["convergence", "linearity"])
    assert checks["convergence"].verdict is Verdict.PROBLEM
    assert "is not a maximum of the likelihood: it stopped at the limit of iterations" in checks["convergence"].meaning
    assert checks["linearity"].verdict is Verdict.SKIPPED


def test_a_variance_of_0_is_at_the_boundary_and_no_sign_of_clustering():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        data = with_outcome(sound_world(seed), 0.02 * (sound_world(seed)["age"] - 50), rng, sd=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = me.melogit("y ~ age + (1 | clinic)", data)
        if fit.varcomp["estimate"].iloc[0] == 0:
            break
    checks = fit.diagnose(only=["convergence", "right_model"])
    assert checks["convergence"].verdict is Verdict.LOOK
    assert "clinic:var(Intercept) is at the edge of what is possible" in checks["convergence"].meaning
    assert "there is no sign of clustering" in checks["right_model"].meaning
    assert "smf.logit('y ~ age', data)" in checks["right_model"].code


# --------------------------------------------------------------------------------------------------- right model


def test_one_event_of_three_values_is_for_another_method():
    data = sound_world(1)
    rng = np.random.default_rng(1)
    data["y"] = np.where(data["y"] == 1, "severe", rng.choice(["mild", "none"], len(data)))
    check = checked("right_model", FORMULA, data, event="severe")
    assert check.verdict is Verdict.LOOK
    assert check.meaning.startswith("The response y has 3 values; here 'severe' counts as the event and mild, none")
    assert "an ordinal (cumulative logit) mixed model" in check.advice[0]


def test_about_one_row_per_group_is_for_plain_regression():
    data = sound_world(1)
    data["clinic"] = np.arange(len(data)) - (np.arange(len(data)) % 5 == 1)
    check = checked("right_model", "y ~ age + (1 | clinic)", data)
    assert check.verdict is Verdict.LOOK and "There are 1.25 rows per group of clinic" in check.meaning


@pytest.mark.parametrize(
    ("values", "method"),
    [
        (lambda n, rng: rng.normal(20, 1, n), "linear mixed model"),
        (lambda n, rng: rng.poisson(20, n), "Poisson or negative binomial mixed model"),
        (lambda n, rng: rng.integers(1, 5, n), "ordinal mixed model"),
        (lambda n, rng: rng.choice(["a", "b", "c"], n), "multinomial one"),
    ],
)
def test_data_that_are_refused_are_told_which_method_is_theirs(values, method):
    data = sound_world(1)
    data["y"] = values(len(data), np.random.default_rng(1))
    with pytest.raises(me.DataError, match=method):
        me.melogit("y ~ age + (1 | clinic)", data)


def test_a_group_per_row_is_refused_with_the_right_method():
    data = sound_world(1).reset_index()
    with pytest.raises(me.DataError, match=r"plain logistic regression is the method \(statsmodels' Logit\)"):
        me.melogit("y ~ age + (1 | index)", data)
