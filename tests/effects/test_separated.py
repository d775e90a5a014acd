"""Fits with an infinite coefficient: what the other rows determine is that of a fit to those rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from cases import fitted

import melogit as me


@pytest.fixture(scope="module")
def split(data):
    """A level 'never' of ``c`` without a single event, in some rows of every group."""
    out = data.assign(c=np.where(np.arange(len(data)) % 9 == 0, "never", data["c"]))
    out.loc[out["c"] == "never", "y"] = 0
    return out


@pytest.fixture(scope="module")
def separated(split):
    fit = fitted("y ~ x + c + (1 | g)", split)
    assert fit.params["c[never]"] == -np.inf
    return fit


@pytest.fixture(scope="module")
def others(split):
    return fitted("y ~ x + c + (1 | g)", split[split["c"] != "never"])


NAMES = ["Intercept", "x", "c[mid]", "c[top]", "g:var(Intercept)"]


def test_robust_errors(separated, others, split):
    found, expected = separated.cov_params("robust"), others.cov_params("robust")
    np.testing.assert_allclose(found.loc[NAMES, NAMES], expected.loc[NAMES, NAMES], rtol=1e-4)
    assert found["c[never]"].isna().all()
    by_h = separated.cov_params("cluster", cluster=split["h"])
    kept = others.cov_params("cluster", cluster=split.loc[split["c"] != "never", "h"])
    np.testing.assert_allclose(by_h.loc[NAMES, NAMES], kept.loc[NAMES, NAMES], rtol=1e-4)
    scores = separated.scores()
    np.testing.assert_allclose(scores[NAMES].sum(), 0, atol=1e-3)
    assert scores.shape[0] == split["g"].nunique() and scores["c[never]"].isna().all()


def test_profiles(separated, others):
    found = separated.confint("profile")
    np.testing.assert_allclose(found.loc[NAMES], others.confint("profile").loc[NAMES], rtol=1e-4, atol=1e-5)
    assert found.loc["c[never]"].isna().all()
    assert separated.profile("x").ci_low == pytest.approx(found.loc["x", "ci_low"], abs=1e-6)
    for ask in (separated.profile, lambda name: separated.confint("profile", name)):
        with pytest.raises(me.ModelError, match=r"'c\[never\]' is infinite \(separation\): .* no peak to profile"):
            ask("c[never]")


def test_predictions_with_the_groups_own_effects(separated, others, split):
    rows = split[split["c"] != "never"]
    for kind in ("mu", "eta", "marginal"):
        found, expected = (fit.predict(rows, kind=kind, std_err=True) for fit in (separated, others))
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)
    never = separated.predict(split[split["c"] == "never"], std_err=True)
    assert (never["mu"] == 0).all() and never["std_err"].isna().all()
    draws = separated.predict(rows.head(20), draws=2000, seed=1)
    expected = others.predict(rows.head(20), draws=2000, seed=2)
    np.testing.assert_allclose(draws.mean(axis=1), expected.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(draws.std(axis=1), expected.std(axis=1), rtol=0.12)


def test_margins(separated, others, split):
    rows = split[split["c"] != "never"]
    share = len(rows) / len(split)
    whole, part = separated.margins().table.iloc[0], others.margins().table.iloc[0]
    assert whole["margin"] == pytest.approx(share * part["margin"], rel=1e-5)
    assert whole["std_err"] == pytest.approx(share * part["std_err"], rel=1e-4)
    for kind in ("marginal", "fixed", "conditional"):
        found = separated.margins(at={"c": "levels"}, data=rows, kind=kind)
        table = found.table.set_index("c")
        same = others.margins(at={"c": ["low", "mid", "top"]}, data=rows, kind=kind).table.set_index("c")
        known = ["margin", "std_err", "ci_low", "ci_high"]
        np.testing.assert_allclose(table.loc[same.index, known], same[known], rtol=2e-3, atol=1e-5)
        assert table.loc["never", "margin"] == 0 and np.isnan(table.loc["never", "std_err"])
        assert "c[never] is infinite (separation): rows that it decides count as exactly 0 or 1" in found.notes[-1]
    slope, same = separated.margins(dydx="x", data=rows).table, others.margins(dydx="x", data=rows).table
    np.testing.assert_allclose(slope[["margin", "std_err"]], same[["margin", "std_err"]], rtol=1e-4)
    change = separated.margins(dydx="c", data=rows).table.set_index("contrast").loc["never - low"]
    low = others.margins(at={"c": "low"}, data=rows).table.iloc[0]
    assert change["margin"] == pytest.approx(-low["margin"], rel=1e-5)
    assert change["std_err"] == pytest.approx(low["std_err"], rel=1e-4)


def test_measures_of_effect_at_a_probability_of_0(separated, split):
    margins = separated.margins(at={"c": ["low", "never"]}, data=split[split["c"] != "never"])
    effect = margins.effect()
    assert effect.loc["risk ratio", "estimate"] == 0 and np.isnan(effect.loc["risk ratio", "std_err"])
    assert effect.loc["risk difference", "std_err"] > 0
    difference, number = (effect.loc[name, "estimate"] for name in ("risk difference", "number needed to treat"))
    assert number == pytest.approx(1 / difference)


def test_what_has_no_answer_is_refused_by_name(separated, data):
    with pytest.raises(me.ModelError, match=r"c\[never\] is infinite \(separation\), and a row at the means"):
        separated.margins(atmeans=True)
    with pytest.raises(me.ModelError, match=r"eyex= is a relative change, and .* rows have a probability of exactly 0"):
        separated.margins(eyex="x")
    jump = data.assign(dose=np.where(np.arange(len(data)) % 7 == 0, np.arange(len(data)) / 100 + 1, 0.0))
    jump.loc[jump["dose"] > 0, "y"] = 1
    fit = fitted("y ~ x + dose + (1 | g)", jump)
    assert np.isinf(fit.params["dose"])
    with pytest.raises(me.ModelError, match=r"coefficient of 'dose' is infinite .* jumps with 'dose'"):
        fit.margins(dydx="dose")


def test_a_separated_base_level_is_refused_with_the_reason(split):
    """All other levels are infinite against the base: their differences are finite, but lost."""
    rebased = split.assign(c=split["c"].replace("never", "a never"))
    fit = fitted("y ~ x + c + (1 | g)", rebased)
    with pytest.raises(me.ModelError, match=r"are infinite .*cancel each other in .* rows.*choose another base level"):
        fit.cov_params("robust")
    with pytest.raises(me.ModelError, match=r"cancel each other in .* rows"):
        fit.margins()
    with pytest.raises(me.ModelError, match=r"c\[.*cancel each other in .* rows, which therefore have no probability"):
        fit.predict()


@pytest.fixture(scope="module")
def rebased(split):
    return fitted("y ~ x + c + (1 | g)", split.assign(c=split["c"].replace("never", "a never")))


def test_levels_are_compared_where_their_infinite_coefficients_cancel(rebased, others, split):
    """The base level is separated: the others are infinite against it, and finite against each other."""
    found, expected = rebased.pwcompare("c", adjust="sidak"), others.pwcompare("c")
    inner = ["mid vs low", "top vs low", "top vs mid"]
    np.testing.assert_allclose(found.loc[inner, ["estimate", "std_err"]], expected[["estimate", "std_err"]], rtol=1e-5)
    against = found.drop(index=inner)
    assert (against["estimate"] == np.inf).all() and against.drop(columns="estimate").isna().all(axis=None)
    combined = rebased.lincom("c[top] - c[mid]"), others.lincom("c[top] - c[mid]")
    np.testing.assert_allclose(combined[0], combined[1], rtol=1e-4)
    constant = rebased.lincom("Intercept + c[low]"), others.lincom("Intercept")
    np.testing.assert_allclose(constant[0], constant[1], rtol=1e-4)
    np.testing.assert_allclose(rebased.test("c[low] = c[mid] = c[top]"), others.test("c"), rtol=1e-4)
    for refused in ("c[low]", "Intercept", "c[low] + c[mid]"):
        with pytest.raises(me.ModelError, match="infinite"):
            rebased.lincom(refused)
    with pytest.raises(me.ModelError, match="infinite"):
        rebased.test("c")


def test_the_other_levels_are_compared_where_one_is_separated(separated, others):
    found, expected = separated.pwcompare("c"), others.pwcompare("c")
    np.testing.assert_allclose(found.loc[expected.index, "std_err"], expected["std_err"], rtol=1e-5)
    assert found.loc["never vs low", "estimate"] == -np.inf and np.isnan(found.loc["never vs low", "p"])
    assert found.loc["top vs never", "estimate"] == np.inf


def test_a_saved_model_compares_the_same(rebased, tmp_path):
    rebased.save(tmp_path / "model.json")
    again = me.load(tmp_path / "model.json")
    np.testing.assert_array_equal(again.pwcompare("c"), rebased.pwcompare("c"))


def test_quality_is_refused_where_infinite_coefficients_cancel(rebased, separated, split):
    with pytest.raises(me.ModelError, match=r"cancel each other in .* rows"):
        rebased.quality()
    rows = split["c"] == "never"
    predicted = separated.quality().predictions
    np.testing.assert_allclose(predicted.loc[rows, "without_group_effects"], 0.0, atol=1e-200)
    marginal = separated.predict(kind="marginal")
    np.testing.assert_allclose(predicted.loc[~rows, "without_group_effects"], marginal[~rows], rtol=1e-9)
