"""Profile-likelihood intervals: lme4's, the definition itself, and the boundary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import melogit as me
from melogit.errors import ModelError
from quiet import quietly

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
CUT = chi2.ppf(0.95, 1) / 2


@pytest.fixture(scope="module")
def lme4():
    """See reference/lme4_profiles.R; lme4 interpolates its profiles, which leaves 1e-5 or so."""
    return json.loads((REFERENCE / "lme4_profiles.json").read_text())


def read(name):
    return pd.read_csv(REFERENCE / "data" / f"{name}.csv")


HERDS = "cbind(incidence, size - incidence) ~ C(period)"


@pytest.mark.parametrize(
    ("case", "formula", "data", "options"),
    [
        ("cbpp", f"{HERDS} + (1 | herd)", read("cbpp"), {}),
        ("bacteria", "present ~ week + (1 | ID)", read("bacteria"), {}),
        ("cbpp_zero", f"{HERDS} + (1 | half)", read("cbpp").assign(half=lambda d: d["herd"] % 5), {}),
        ("slopes", "y ~ t + x + (t | g)", read("slopes"), {"method": "laplace"}),
    ],
)
def test_intervals_are_those_of_lme4(lme4, case, formula, data, options):
    fit = quietly(me.melogit, formula, data, **options).result
    found = fit.confint("profile")
    theirs = lme4[case]["intervals"]
    names = {"(Intercept)": "Intercept", "week": "week", "t": "t", "x": "x"}
    names |= {f"period{k}": f"C(period)[{k}]" for k in (2, 3, 4)}
    close = 5e-4 if case == "slopes" else 2e-5
    for name, limits in theirs.items():
        if name in names:
            assert found.loc[names[name]].tolist() == pytest.approx(limits, abs=close)
    group = fit.groups.index[0]
    sd = np.sqrt(found.loc[f"{group}:var(Intercept)"])
    assert sd.tolist() == pytest.approx(theirs[".sig01"], abs=close)
    if case == "slopes":
        assert np.sqrt(found.loc["g:var(t)"]).tolist() == pytest.approx(theirs[".sig03"], abs=close)


def test_limits_are_where_the_likelihood_has_fallen():
    """By refitting with the coefficient as an offset: no code in common with the profile."""
    data = read("bacteria")
    fit = me.melogit("present ~ week + (1 | ID)", data, tolerance=1e-7)
    for limit in fit.confint("profile", "week").loc["week"]:
        held = me.melogit("present ~ 1 + (1 | ID)", data, offset=limit * data["week"], tolerance=1e-7)
        assert fit.llf - held.llf == pytest.approx(CUT, abs=1e-4)


def test_the_curve():
    fit = me.melogit("present ~ week + (1 | ID)", read("bacteria"))
    profile = fit.profile("week", points=5, level=0.9)
    table = profile.table
    assert len(table) == 11
    assert np.all(np.diff(table["value"]) > 0)
    assert np.all(np.diff(table["zeta"]) > 0)
    np.testing.assert_allclose(table["loglik"], fit.llf - table["zeta"] ** 2 / 2, atol=1e-5)
    at = np.interp([profile.ci_low, profile.ci_high], table["value"], table["zeta"])
    np.testing.assert_allclose(at, [-1.645, 1.645], atol=0.02)
    limits = fit.confint("profile", ["week"], level=0.9).loc["week"]
    assert (profile.ci_low, profile.ci_high) == (pytest.approx(limits["ci_low"]), pytest.approx(limits["ci_high"]))


def test_fixed_points_give_nearly_the_same():
    data = read("cbpp")
    auto = me.melogit(f"{HERDS} + (1 | herd)", data).confint("profile")
    seven = quietly(me.melogit, f"{HERDS} + (1 | herd)", data, intpoints=7).result.confint("profile")
    np.testing.assert_allclose(seven, auto, atol=5e-3)


def test_a_variance_of_zero():
    """Estimated as 0: the lower limit is 0, the upper one where the likelihood has fallen."""
    rng = np.random.default_rng(7)
    data = pd.DataFrame({"g": np.repeat(np.arange(50), 6), "x": rng.normal(size=300)})
    data["y"] = (np.arange(300) % 2 == 0).astype(int)
    fit = quietly(me.melogit, "y ~ x + (1 | g)", data).result
    assert fit.params["g:var(Intercept)"] == 0
    limits = fit.confint("profile")
    assert limits.loc["g:var(Intercept)", "ci_low"] == 0
    high = limits.loc["g:var(Intercept)", "ci_high"]
    profile = fit.profile("g:var(Intercept)")
    assert profile.table["value"].iloc[0] == 0
    assert np.interp(high, profile.table["value"], profile.table["zeta"]) == pytest.approx(1.96, abs=0.03)
    assert np.isfinite(limits.loc["x"]).all()


def test_a_variance_that_may_be_zero_has_a_lower_limit_of_zero():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(range(40), 10), "x": rng.normal(size=400)})
    data["y"] = (rng.random(400) < 1 / (1 + np.exp(-data["x"]))).astype(int)
    fit = me.melogit("y ~ x + (x | g)", data)
    limits = fit.confint("profile")
    assert limits.loc["g:var(x)", "ci_low"] == 0
    assert me.lrtest(me.melogit("y ~ x + (1 | g)", data), fit).stat < chi2.ppf(0.95, 2)
    cov = limits.loc["g:cov(Intercept,x)"]
    assert cov["ci_low"] < fit.params["g:cov(Intercept,x)"] < cov["ci_high"]


@pytest.mark.parametrize("covariance", ["independent", "identity", "exchangeable"])
def test_every_structure(covariance):
    """The likelihood at a limit, maximised over a fine grid by hand, has fallen by the cut."""
    fit = quietly(me.melogit, "y ~ t + x + (t | g)", read("slopes"), covariance=covariance, intpoints=7).result
    for name in fit.params.index[3:]:
        profile = fit.profile(name, points=3)
        assert profile.ci_low < fit.params[name] < profile.ci_high
        wald = fit.conf_int().loc[name]
        assert profile.ci_high == pytest.approx(wald["ci_high"], rel=0.25)


def test_wald_and_names():
    fit = me.melogit("present ~ week + (1 | ID)", read("bacteria"))
    pd.testing.assert_frame_equal(fit.confint(), fit.conf_int())
    pd.testing.assert_frame_equal(fit.confint(parameters="week"), fit.conf_int().loc[["week"]])
    with pytest.raises(ModelError, match=r"no parameter 'weeks' in this model\. Did you mean 'week'"):
        fit.confint("profile", "weeks")
    with pytest.raises(ModelError, match="kind='exact' is not one of"):
        fit.confint("exact")
    with pytest.raises(ModelError, match="points=1 must be a whole number, 2 or more"):
        fit.profile("week", points=1)


def test_what_has_no_profile(tmp_path):
    fit = me.melogit("present ~ week + (1 | ID)", read("bacteria"))
    fit.save(tmp_path / "m")
    with pytest.raises(ModelError, match=r"loaded from a file.*profile\(\) needs them"):
        me.load(tmp_path / "m").profile("week")
    data = read("bacteria").assign(always=lambda d: (d["ID"] == "X01") | (d["ID"] == "X02"))
    data.loc[data["always"], "present"] = 1
    apart = quietly(me.melogit, "present ~ week + always + (1 | ID)", data).result
    with pytest.raises(ModelError, match=r"always.* is infinite .separation.* no peak"):
        apart.profile(next(name for name in apart.params.index if name.startswith("always")))
    assert apart.profile("week").ci_low < apart.params["week"]  # the others are not concerned


@pytest.mark.slow
def test_two_levels_with_everything(hdp):
    formula = "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | HID/DID)"
    fit = me.melogit(formula, hdp)
    found, wald = fit.confint("profile"), fit.conf_int()
    fixed = found.index[: len(fit.fe_params)]
    half = (wald["ci_high"] - wald["ci_low"])[fixed]
    assert ((found - wald).loc[fixed].abs().max(axis=1) < 0.05 * half).all()
    assert 0 < found.loc["HID:var(Intercept)", "ci_low"] < wald.loc["HID:var(Intercept)", "ci_low"]
