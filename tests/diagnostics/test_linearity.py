"""Linearity of the log-odds: the added columns, their tests, the words and the formulas that are suggested."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import FORMULA, sound_world, with_outcome

import melogit as me
from melogit.diagnostics.context import Context, read_predictors, read_terms
from melogit.diagnostics.extension import extend
from melogit.diagnostics.remedies import instead_of, rewritten
from melogit.diagnostics.splines import box_tidwell_shift, knots_of, spline_terms
from melogit.report.checks import Verdict


def context_of(fit) -> Context:
    return Context(fit.fit, fit.design, read_predictors(fit.design, fit.recipe), read_terms(fit.design, fit.recipe))


@pytest.fixture(scope="module")
def curved():
    """The log odds are linear in log(dose) and bent in age."""
    rng = np.random.default_rng(5)
    data = sound_world(3, groups=80, rows=15)
    eta = -4.0 + 3.0 * np.log(data["dose"]) + 0.5 * (data["sex"] == "m")
    return with_outcome(data, eta, rng)


@pytest.fixture(scope="module")
def found(curved):
    fit = me.melogit(FORMULA, curved)
    return fit, fit.diagnose(only="linearity")["linearity"]


def test_an_added_column_is_tested_as_a_fit_with_it_in_the_formula_does(curved):
    fit = me.melogit(FORMULA, curved)
    dose = curved["dose"].to_numpy()
    added = extend(context_of(fit), (dose * np.log(dose))[:, None], ["dose ln dose"])
    curved = curved.assign(dlnd=dose * np.log(dose))
    direct = me.melogit(FORMULA.replace("dose", "dose + dlnd"), curved)
    assert added.lr == pytest.approx(2 * (direct.llf - fit.llf), abs=5e-4)
    assert added.coefficients[-1] == pytest.approx(direct.params["dlnd"], rel=1e-3)
    assert added.coefficients[1] == pytest.approx(direct.params["age"], rel=1e-3)
    assert np.sqrt(added.cov[-1, -1]) == pytest.approx(direct.bse["dlnd"], rel=1e-3)
    assert added.wald()[0] == pytest.approx(direct.zvalues["dlnd"] ** 2, rel=2e-3)


def test_a_year_and_its_logarithm_are_nearly_collinear_and_are_tested_nevertheless():
    rng = np.random.default_rng(8)
    data = sound_world(4)
    data["year"] = 1990 + rng.uniform(0, 12, len(data))
    data = with_outcome(data, 0.05 * (data["year"] - 1996) ** 2 - 1, rng)
    check = me.melogit("y ~ year + (1 | clinic)", data).diagnose(only="linearity")["linearity"]
    row = dict(zip(check.tables[0].columns, check.tables[0].rows[0], strict=True))
    assert row["Box-Tidwell LR p"] < 1e-6 and row["spline LR p"] < 1e-6
    assert check.verdict is Verdict.PROBLEM


def test_a_curve_is_found_named_and_given_a_formula_that_is_better(curved, found):
    fit, check = found
    assert check.verdict is Verdict.PROBLEM
    assert check.meaning.startswith("The log-odds are not a straight line in dose (p < 0.001")
    assert "A straight line does for age." in check.meaning
    assert check.advice[0].startswith("Enter dose as its logarithm: that lowers AIC by about ")
    assert "better = me.melogit('y ~ age + log(dose) + sex + stage + (1 | clinic)', data)" in check.code
    better = me.melogit("y ~ age + log(dose) + sex + stage + (1 | clinic)", curved)
    forms = {row[0]: row[2] for row in check.tables[1].rows}
    assert forms["log(dose)"] == pytest.approx(fit.aic - better.aic, abs=5e-3)
    square = me.melogit("y ~ age + poly(dose, degree=2) + sex + stage + (1 | clinic)", curved)
    assert forms["poly(dose, degree=2)"] == pytest.approx(fit.aic - square.aic, abs=5e-3)
    spline = me.melogit('y ~ age + cr(dose, df=4, constraints="center") + sex + stage + (1 | clinic)', curved)
    # The knots of cr are elsewhere, so the gain is about the same and not the same.
    assert forms['cr(dose, df=4, constraints="center")'] == pytest.approx(fit.aic - spline.aic, abs=4)
    assert better.diagnose(only="linearity")["linearity"].verdict is Verdict.FINE


def test_the_power_points_towards_the_logarithm(found):
    row = dict(zip(found[1].tables[0].columns, found[1].tables[0].rows[1], strict=True))
    assert row["predictor"] == "dose" and -0.5 < row["power suggested"] < 0.5
    assert row["added for ln"] == 0


def test_values_below_0_are_shifted_and_the_shift_is_told():
    data = sound_world(6)
    data["score"] = data["age"] - 50
    check = me.melogit("y ~ score + (1 | clinic)", data).diagnose(only="linearity")["linearity"]
    shift = box_tidwell_shift(data["score"].to_numpy())
    assert shift == pytest.approx(0.1 * np.ptp(data["score"]) - data["score"].min())
    assert "Values of 0 or below have no logarithm, so Box-Tidwell used score + " in check.meaning


def test_restricted_cubic_splines_are_straight_beyond_the_outer_knots_and_smooth_at_all():
    knots = np.array([0.0, 1.0, 2.5, 4.0])
    x = np.linspace(-3, 8, 1101)
    terms = spline_terms(x, knots)
    assert terms.shape == (1101, 2)
    assert np.all(terms[x <= 0] == 0)
    beyond = terms[x >= 4]
    assert np.abs(np.diff(beyond, 2, axis=0)).max() < 1e-9
    assert np.abs(np.diff(terms, 2, axis=0)).max() < 1e-3  # the second derivative is bounded: no jump in the slope


def test_knots_of_repeated_values():
    assert len(knots_of(np.arange(1000.0))) == 5
    assert len(knots_of(np.repeat([1.0, 2.0, 3.0], 100))) == 3
    assert len(knots_of(np.repeat([0.0, 1.0], 100))) == 0
    skewed = np.r_[np.zeros(900), np.arange(1.0, 101)]
    assert 3 <= len(knots_of(skewed)) <= 5 and len(np.unique(knots_of(skewed))) == len(knots_of(skewed))


def test_what_is_no_line_is_not_tested_and_the_reason_given():
    data = sound_world(7)
    check = me.melogit("y ~ poly(age, degree=2) + dose + (1 | clinic)", data).diagnose(only="linearity")["linearity"]
    assert "Not tested: age is a curve already." in check.meaning
    assert [row[0] for row in check.tables[0].rows] == ["dose"]
    none = me.melogit("y ~ sex + stage + (1 | clinic)", data).diagnose(only="linearity")["linearity"]
    assert none.verdict is Verdict.SKIPPED
    assert none.meaning == "The model has no continuous predictor that stands in it as a straight line."
    logged = me.melogit("y ~ log(dose) + age:sex + (1 | clinic)", data).diagnose(only="linearity")["linearity"]
    assert [row[0] for row in logged.tables[0].rows] == ["log(dose)"]
    assert "age stands only in products with others" in logged.meaning


def test_grouped_counts_are_checked_as_single_rows_are():
    rng = np.random.default_rng(2)
    data = sound_world(9, groups=40, rows=6)
    data["n"] = rng.integers(1, 8, len(data))
    effect = rng.normal(size=40)[data["clinic"]]
    p = 1 / (1 + np.exp(-(effect - 4 + 2.5 * np.log(data["dose"]))))
    data["k"] = rng.binomial(data["n"], p)
    counts = me.melogit("k ~ dose + (1 | clinic)", data, trials="n")
    long = data.loc[np.repeat(data.index, data["n"])].reset_index(drop=True)
    position = np.concatenate([np.arange(n) for n in data["n"]])
    long["y"] = (position < long["k"]).astype(int)
    single = me.melogit("y ~ dose + (1 | clinic)", long)
    a, b = (f.diagnose(only="linearity")["linearity"].tables[0].rows[0] for f in (counts, single))
    assert a[5] == pytest.approx(b[5], rel=0.02)  # the test of Box and Tidwell does not depend on the writing


@pytest.mark.parametrize(
    ("formula", "name", "expected"),
    [
        ("y ~ a + b + (1 + a | g)", "a", "y ~ f(a) + b + (1 + a | g)"),
        ("y ~ aa + a:b + a + (1|a)", "a", "y ~ aa + f(a):b + f(a) + (1|a)"),
        ("cbind(a, b) ~ a * z + (1 | g/h)", "a", "cbind(a, b) ~ f(a) * z + (1 | g/h)"),
        ("y ~ `a b` + c + (1 | g)", "`a b`", "y ~ f(`a b`) + c + (1 | g)"),
    ],
)
def test_a_formula_is_rewritten_in_its_fixed_part_only(formula, name, expected):
    assert rewritten(formula, name, f"f({name})") == expected


def test_terms_are_replaced_by_one_form():
    assert instead_of("y ~ a + b + c + (1 + a | g)", ["b", "a"], "PC1 + PC2") == "y ~ PC1 + PC2 + c + (1 + a | g)"
    assert instead_of("y ~ a * b + (1 | g)", ["a", "b"], "PC1") == ""


@pytest.mark.slow
def test_false_alarms_and_power():
    """200 sound worlds at the 5 % level, 40 curved ones."""
    quiet = [
        me.melogit(FORMULA, sound_world(1000 + k)).diagnose(only="linearity")["linearity"].verdict for k in range(200)
    ]
    assert np.mean([v is not Verdict.FINE for v in quiet]) < 0.07
    told = []
    for k in range(40):
        data = sound_world(2000 + k, groups=80, rows=15)
        data = with_outcome(data, -4.0 + 3.0 * np.log(data["dose"]), np.random.default_rng(k))
        told.append(me.melogit(FORMULA, data).diagnose(only="linearity")["linearity"].verdict)
    assert np.mean([v is not Verdict.FINE for v in told]) > 0.9
