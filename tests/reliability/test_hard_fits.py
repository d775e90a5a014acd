"""Hard data: rows 39 to 47, 51, 52 and 70 of the list of faults, and the data that break other packages."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import BoundaryWarning, ConvergenceWarning, DataError, MelogitError, SeparationWarning
from quiet import quietly

F = "y ~ x + (1 | g)"


def balanced(groups: int = 30) -> pd.DataFrame:
    """Every group has the same share of successes, less spread than chance: the maximum is at variance 0."""
    return pd.DataFrame(
        {
            "y": np.tile([0, 1, 1, 0, 1, 0, 0, 1], groups),
            "x": np.tile([0.1, -0.4, 0.9, -1.0, 0.3, 0.2, -0.5, 0.4], groups),
            "g": np.repeat(np.arange(groups), 8),
        }
    )


def plain_logit(X: np.ndarray, y: np.ndarray, w: np.ndarray | float = 1.0) -> tuple[np.ndarray, np.ndarray, float]:
    """Estimates, standard errors, log-likelihood of a logistic regression by Newton."""
    beta = np.zeros(X.shape[1])
    for _ in range(50):
        mu = 1 / (1 + np.exp(-X @ beta))
        H = X.T @ (X * (w * mu * (1 - mu))[:, None])
        beta = beta + np.linalg.solve(H, X.T @ (w * (y - mu)))
    eta = X @ beta
    return beta, np.sqrt(np.diag(np.linalg.inv(H))), float((w * (y * eta - np.logaddexp(0, eta))).sum())


@pytest.mark.parametrize("options", [{}, {"intpoints": 7}, {"method": "laplace"}])
def test_had_groups_more_alike_than_chance(warns, options):
    """The variance is 0 at the maximum: told as such; fixed effects and their errors are a plain logit's."""
    data = balanced()
    fit = warns(BoundaryWarning, (r"variance", r"\bg\b", "0"), F, data, **options)
    beta, std_err, llf = plain_logit(np.column_stack([np.ones(len(data)), data.x]), data.y.to_numpy())
    assert fit.converged
    assert fit.params["g:var(Intercept)"] == pytest.approx(0.0, abs=1e-10)
    np.testing.assert_allclose((fit.fe_params - beta) / std_err, 0, atol=1e-4)
    np.testing.assert_allclose(fit.bse[:2], std_err, rtol=1e-5)
    assert math.isnan(fit.bse["g:var(Intercept)"])
    assert fit.llf == pytest.approx(llf, abs=1e-7)
    assert "chibar" in fit.lr_test.kind
    assert fit.lr_test.stat == pytest.approx(0.0, abs=1e-6)
    assert fit.lr_test.p == pytest.approx(1.0)
    assert "boundary" in str(fit.summary()).lower() or "estimated as 0" in str(fit.summary())


def test_had_slopes_tied_to_intercepts(warns):
    """The correlation is estimated as 1: the pair is named."""
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(60), 12)
    t = np.tile(np.linspace(-1, 1, 12), 60)
    u = rng.normal(size=60)[g]
    y = (rng.random(len(g)) < 1 / (1 + np.exp(-(0.2 + 0.5 * t + u + 1.0 * u * t)))).astype(int)
    data = pd.DataFrame({"y": y, "t": t, "g": g})
    words = ("correlation", "Intercept", r"\bt\b", r"\bg\b")
    fit = warns(BoundaryWarning, words, "y ~ t + (t | g)", data, method="laplace")
    v = fit.params
    r = v["g:cov(t,Intercept)"] if "g:cov(t,Intercept)" in v.index else v["g:cov(Intercept,t)"]
    assert abs(r) / math.sqrt(v["g:var(Intercept)"] * v["g:var(t)"]) == pytest.approx(1.0, abs=1e-3)
    assert fit.bse[:2].notna().all()


def test_had_a_predictor_that_separates_completely(clean):
    data = clean.assign(sep=np.where(clean.y == 1, 1.0, -1.0) * (1 + np.abs(clean.z)))
    with pytest.raises((MelogitError, SeparationWarning)) as caught:
        me.melogit("y ~ x + sep + (1 | g)", data)
    text = str(caught.value)
    assert "'sep'" in text
    assert "separat" in text


def test_had_a_level_where_everyone_recovers(clean, warns):
    """Quasi-separation: the level is named; the other coefficients are at their limit, as without those rows."""
    ward = np.where(np.arange(len(clean)) % 10 == 0, "C", np.where(clean.z > 0, "B", "A"))
    data = clean.assign(ward=ward)
    data.loc[data.ward == "C", "y"] = 1
    fit = warns(SeparationWarning, (r"ward\[C\]", "infinite|separat"), "y ~ x + ward + (1 | g)", data)
    rest = quietly(me.melogit, "y ~ x + ward + (1 | g)", data[data.ward != "C"]).result
    for name in ("Intercept", "x", "ward[B]"):
        assert fit.params[name] == pytest.approx(rest.params[name], abs=2e-3 * rest.bse[name]), name
        assert fit.bse[name] == pytest.approx(rest.bse[name], rel=2e-3), name
    assert fit.params["ward[C]"] > 15 or math.isinf(fit.params["ward[C]"])
    assert math.isnan(fit.bse["ward[C]"])
    assert not fit.converged or "infinite" in fit.status


def test_looked_whether_the_optimiser_stopped_early(clean):
    """The last step's distance to the maximum, in squared standard errors, is below 1e-8."""
    for options in ({}, {"intpoints": 7}, {"method": "mcaghermite", "intpoints": 7}, {"method": "laplace"}):
        fit = quietly(me.melogit, F, clean, **options).result
        assert fit.converged
        assert fit.trace["decrement"].iloc[-1] < 1e-8, options
        assert set(fit.trace["stage"]) >= {"fixed", "full"}


def test_gave_variances_that_only_their_sum_shows():
    """x is -1 or 1 for a whole group: var(Intercept) + var(x) is all the data speak of. The flat direction is named."""
    rng = np.random.default_rng(61)
    g = np.repeat(np.arange(60), 10)
    x = np.where(g % 2 == 0, 1.0, -1.0)
    y = (rng.random(600) < 1 / (1 + np.exp(-0.3 * x - rng.normal(scale=1.2, size=60)[g]))).astype(int)
    try:
        fitted = quietly(me.melogit, "y ~ x + (x || g)", pd.DataFrame({"y": y, "x": x, "g": g}), intpoints=7)
    except MelogitError as error:
        assert "g" in str(error)
        assert "x" in str(error)
        return
    fit = fitted.result
    assert math.isnan(fit.bse["g:var(Intercept)"]) or math.isnan(fit.bse["g:var(x)"])
    assert any("var(Intercept)" in m and "var(x)" in m for m in fitted.messages), fitted.messages
    assert fit.bse[:2].notna().all()
    assert fit.params["g:var(Intercept)"] + fit.params["g:var(x)"] > 0.5


def test_gave_too_few_iterations(clean, warns):
    """A partial fit, flagged; never called converged."""
    fit = warns(ConvergenceWarning, ("1 iteration", "max_iterations"), F, clean, intpoints=7, max_iterations=1)
    assert not fit.converged
    assert "limit of iterations" in fit.status
    assert "NOT CONVERGED" in str(fit.summary()).upper()


def test_had_groups_of_five_thousand_rows():
    """exp of a sum of 5,000 log-probabilities is 0 in naive code."""
    rng = np.random.default_rng(6)
    n = 5000
    g = np.repeat(np.arange(6), n)
    x = rng.normal(size=6 * n)
    y = (rng.random(6 * n) < 1 / (1 + np.exp(-0.4 * x - rng.normal(size=6)[g]))).astype(int)
    data = pd.DataFrame({"y": y, "x": x, "g": g})
    for options in ({"intpoints": 7}, {"method": "mcaghermite", "intpoints": 7}, {"method": "laplace"}):
        fit = quietly(me.melogit, F, data, **options).result
        assert fit.converged
        assert np.isfinite(fit.llf)
        assert fit.params["x"] == pytest.approx(0.4, abs=0.06)


def test_gave_matched_pairs():
    """794/150/86/570 in miniature: the slope is log(b/c), its standard error sqrt(1/b + 1/c)."""
    table = {(1, 1): 40, (1, 0): 20, (0, 1): 10, (0, 0): 30}
    answers = [pair for pair, times in table.items() for _ in range(times)]
    y = np.array(answers).ravel()
    data = pd.DataFrame({"y": y, "second": np.tile([0, 1], 100), "pair": np.repeat(np.arange(100), 2)})
    fit = quietly(me.melogit, "y ~ second + (1 | pair)", data).result
    assert fit.params["second"] == pytest.approx(math.log(10 / 20), abs=1e-3 * 0.4)
    assert fit.bse["second"] == pytest.approx(math.sqrt(1 / 10 + 1 / 20), rel=2e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (-1.0, ("weight", "-1", "negative")),
        (2.5, ("weight", "2.5", "whole number", "frequency")),
        (np.inf, ("weight|'w'", "infinite|finite")),
    ],
)
def test_gave_weights_that_are_not_counts(clean, refuses, values, words):
    data = clean.assign(w=1.0)
    data.loc[5, "w"] = values
    refuses(DataError, (*words, "row 5|row 6"), F, data, weights="w")


def test_gave_weights_of_the_wrong_length(clean, refuses):
    refuses(DataError, ("weights", "3", "400"), F, clean, weights=[1, 2, 3])


def test_gave_zero_weights(clean):
    """A row with weight 0 is as good as absent."""
    data = clean.assign(w=np.where(clean.index < 25, 0, 1))
    fit = me.melogit(F, data, weights="w")
    without = me.melogit(F, data[data.w == 1])
    assert fit.llf == pytest.approx(without.llf, abs=1e-9)
    assert fit.nobs == 375
    np.testing.assert_allclose(fit.params, without.params, rtol=1e-7)


def test_gave_an_offset_beyond_all_bounds(clean):
    """No number comes out of that; what is raised is one of ours, never a bare 'nan'."""
    data = clean.assign(o=np.where(clean.index == 3, 1e308, 0.0))
    with pytest.raises((MelogitError, ConvergenceWarning)) as caught:
        me.melogit("y ~ x + (1 | g)", data.assign(y=np.where(data.index == 3, 0, data.y)), offset="o")
    assert "nan" not in str(caught.value).split()


def test_had_a_group_whose_responses_are_all_one(clean):
    data = clean.copy()
    data.loc[data.g == 7, "y"] = 1
    fit = me.melogit(F, data)
    assert fit.converged
    effects = fit.random_effects()
    assert effects.loc["7"].iloc[0] == pytest.approx(effects.iloc[:, 0].max())


def test_had_singletons_among_the_groups(clean):
    """Groups of one row are ordinary groups."""
    data = clean.copy()
    data.loc[data.index[-10:], "g"] = np.arange(1000, 1010)
    fit = me.melogit(F, data)
    assert fit.converged
    assert fit.groups.loc["g", "min"] == 1


def test_had_five_groups():
    rng = np.random.default_rng(21)
    g = np.repeat(np.arange(5), 60)
    x = rng.normal(size=300)
    y = (rng.random(300) < 1 / (1 + np.exp(-x - np.array([-1.5, -0.5, 0, 0.8, 1.6])[g]))).astype(int)
    fit = quietly(me.melogit, F, pd.DataFrame({"y": y, "x": x, "g": g})).result
    assert fit.converged
    assert fit.params["g:var(Intercept)"] > 0.1


def test_had_events_of_one_in_a_thousand():
    rng = np.random.default_rng(31)
    n, groups = 60_000, 300
    g = np.arange(n) % groups
    x = rng.normal(size=n)
    eta = -7.6 + 0.7 * x + rng.normal(scale=0.8, size=groups)[g]
    y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
    assert 30 < y.sum() < 120
    fit = quietly(me.melogit, F, pd.DataFrame({"y": y, "x": x, "g": g})).result
    assert fit.converged
    assert abs(fit.params["x"] - 0.7) < 4 * fit.bse["x"]
    assert abs(fit.params["Intercept"] + 7.6) < 4 * fit.bse["Intercept"]


def test_had_a_hundred_thousand_groups():
    rng = np.random.default_rng(41)
    groups = 100_000
    g = np.repeat(np.arange(groups), 3)
    x = rng.normal(size=len(g))
    y = (rng.random(len(g)) < 1 / (1 + np.exp(-0.5 * x - rng.normal(size=groups)[g]))).astype(int)
    start = time.perf_counter()
    fit = quietly(me.melogit, F, pd.DataFrame({"y": y, "x": x, "g": g}), intpoints=7).result
    assert time.perf_counter() - start < 20
    assert fit.converged
    assert fit.groups.loc["g", "groups"] == groups
    assert fit.params["x"] == pytest.approx(0.5, abs=4 * fit.bse["x"])
    assert fit.params["g:var(Intercept)"] == pytest.approx(1.0, abs=4 * fit.bse["g:var(Intercept)"] + 0.05)


def test_started_where_the_likelihood_is_flat(clean):
    """Variance 0 is always a stationary point; data with plenty of variance must not end there."""
    rng = np.random.default_rng(51)
    groups = 50
    g = np.repeat(np.arange(groups), 4)
    y = (rng.random(len(g)) < 1 / (1 + np.exp(-rng.normal(scale=5, size=groups)[g]))).astype(int)
    data = pd.DataFrame({"y": y, "x": rng.normal(size=len(g)), "g": g})
    for options in ({}, {"intpoints": 7}, {"method": "laplace"}):
        assert quietly(me.melogit, F, data, **options).result.params["g:var(Intercept)"] > 3


def test_had_many_small_data_sets_and_each_fit_ends():
    """The number of trapezoidal points must not change to and fro between two steps."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(40), 6)
    ended = []
    for _ in range(60):
        p = 1 / (1 + np.exp(-0.4 - rng.normal(0, 1.6, 40)[g]))
        data = pd.DataFrame({"y": (rng.random(240) < p).astype(int), "g": g})
        ended.append(quietly(me.melogit, "y ~ (1 | g)", data).result.converged)
    assert all(ended)
