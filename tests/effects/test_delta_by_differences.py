"""Every delta-method standard error against numerical derivatives, nested and crossed.

Each quantity is computed again with every parameter moved a little up and down, the posterior of the groups included,
by the public methods; the derivatives times the covariance of the estimates must give the standard errors. That the
quantities themselves are right, and that their spread is that of 10,000 draws, is in ``test_every_delta_method.py``.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import fitted, invented, moved_fit
from scipy.special import expit

from melogit.effects.posterior import find_posterior
from melogit.inference.model_test import theta_of
from melogit.likelihood.covariance import covariance_map

NESTED, CROSSED = "y ~ x + c + (1 | h) + (1 + x | g)", "y ~ x + c + (1 + x | s) + (1 | r)"
STEP = 1e-4


@pytest.fixture(scope="module")
def nested(data):
    return fitted(NESTED, data)


@pytest.fixture(scope="module")
def ratings():
    """The same kind of rows, of 40 subjects who cross with 9 raters."""
    rng = np.random.default_rng(8)
    rows = invented(1200).assign(s=rng.integers(0, 40, 1200), r=rng.integers(0, 9, 1200)).drop(columns=["h", "g"])
    slope, own, rater = rng.normal(size=40) * 0.8, rng.normal(size=40), rng.normal(size=9)
    eta = (0.5 + slope[rows.s]) * rows.x + own[rows.s] + 0.8 * rater[rows.r] + 0.4 * (rows.c == "top")
    return rows.assign(y=(rng.random(1200) < expit(eta)).astype(int))


@pytest.fixture(scope="module")
def crossed(ratings):
    found = fitted(CROSSED, ratings)
    assert found.converged and not found.design.nested
    return found


@functools.cache  # the posterior of the groups is slow, and many quantities need it
def moved(results, j, step, *, grouped):
    """The same results with one parameter changed on its own scale, and whatever follows from it."""
    fit = moved_fit(results.fit, j, step)
    theta = theta_of(covariance_map(results.design.terms), [term.Sigma for term in fit.terms])
    changed = replace(fit, theta=theta)
    posterior = find_posterior(results.design, changed, slopes=True) if grouped else None
    return replace(results, fit=changed, posterior=posterior)


def by_differences(results, values, *, grouped=False):
    """Covariance matrix of ``values(results)`` (k,) by central differences of the fourth order."""
    columns = []
    for j in range(len(results.fit.params)):
        at = {k: np.asarray(values(moved(results, j, k * STEP, grouped=grouped)), dtype=float) for k in (-2, -1, 1, 2)}
        columns.append((8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * STEP))
    J = np.array(columns).T
    return J @ results.fit.cov @ J.T


def table(name, *args, columns=None, **options):
    """A call of a method, as pairs of values and standard errors."""

    def call(results):
        found = getattr(results, name)
        found = found(*args, **options) if callable(found) else found
        found = getattr(found, "table", found)
        pairs = columns or [(found.columns[0] if "margin" not in found else "margin", "std_err")]
        return tuple(np.concatenate([found[pair[side]].to_numpy(float) for pair in pairs]) for side in (0, 1))

    return call


def effect(results):
    found = results.margins(at={"c": ["low", "top"]}).effect(0, 1)
    return found["estimate"].to_numpy(), found["std_err"].to_numpy()


def difference(results):
    found = results.margins(at={"c": "levels"}).contrast("pairwise").table
    return found["margin"].to_numpy(), found["std_err"].to_numpy()


IOR = [(name, f"{name}_se") for name in ("odds_ratio", "ior_low", "ior_high", "opposed_share")]
CALLS = {
    "odds ratios": table("odds_ratios"),
    "lincom": table("lincom", "x + 2*c[mid] - c[top]"),
    "odds ratio of lincom": table("lincom", "x + c[mid]", odds_ratios=True),
    "nlcom": table(
        "nlcom", "exp(x) / (1 + exp(Intercept)^2)", "sqrt(x^2 + 1) * normal(c[top])", "atanh(x/9) - ln(3 + x)"
    ),
    "contrast mean": table("contrast", "c", "mean"),
    "contrast helmert": table("contrast", "c", "helmert"),
    "contrast polynomial": table("contrast", "c", "polynomial", odds_ratios=True),
    "pairs": table("pwcompare", "c", odds_ratios=True),
    "icc": table("icc"),
    "median odds ratio": table("median_odds_ratio"),
    "interval odds ratio": table("interval_odds_ratio", "x", by=2.0, columns=IOR),
    "interval odds ratio, negative": table("interval_odds_ratio", "x", by=-1.0, coverage=0.5, columns=IOR),
    "r2": table("r2", std_err=True),
    "standard deviations": table("sdcorr"),
    "margins": table("margins", at={"x": [-1, 1]}),
    "marginal effects": table("margins", dydx="*"),
    "elasticities": table("margins", eyex="x", at={"c": ["low", "top"]}),
    "at means": table("margins", dydx=["x", "c"], atmeans=True),
    "fixed": table("margins", dydx=["x", "c"], kind="fixed"),
    "differences of margins": difference,
    "measures of effect": effect,
    "marginal": table("predict", kind="marginal", std_err=True),
    "fixed part": table("predict", kind="mu_fixed", std_err=True),
    "xb": table("predict", kind="xb", std_err=True),
}


@pytest.mark.parametrize("structure", ["nested", "crossed"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_of_the_parameters(request, structure, call):
    results = request.getfixturevalue(structure)
    expected = np.sqrt(np.diag(by_differences(results, lambda r: call(r)[0])))
    assert (expected > 0).all()
    np.testing.assert_allclose(call(results)[1], expected, rtol=2e-6)


def certain(results):
    """The same results as if the parameters were known."""
    return replace(results, fit=replace(results.fit, cov=results.fit.cov * 0))


CONDITIONAL = {
    "eta": table("predict", kind="eta", std_err=True),
    "mu": table("predict", kind="mu", std_err=True),
    "margins": table("margins", at={"x": [0.0, 1.0]}, kind="conditional"),
    "marginal effects": table("margins", dydx=["x", "c"], kind="conditional"),
    "by group": table("margins", over="c", kind="conditional"),
}


@pytest.mark.parametrize("structure", ["nested", "crossed"])
@pytest.mark.parametrize("call", CONDITIONAL.values(), ids=CONDITIONAL)
def test_with_the_groups_own_effects(request, structure, call):
    """The parameters' part moves the posterior of the groups too; what is not theirs is there at known parameters."""
    results = request.getfixturevalue(structure)
    expected = np.diag(by_differences(results, lambda r: call(r)[0], grouped=True))
    without = call(certain(results))[1]
    assert (without > 0).all() and (expected > 0).all()
    np.testing.assert_allclose(call(results)[1], np.sqrt(expected + without**2), rtol=2e-4)


# ----------------------------------------------------------------------------------- crossed: against brute force


def both_integrals(results, eta, x):
    """Mean probability over the effects of subjects and of raters: two integrals, one inside the other."""
    subject, rater = (term.Sigma for term in results.fit.terms)
    z, w = np.polynomial.hermite_e.hermegauss(40)
    w = w / w.sum()
    sd = np.sqrt(subject[0, 0] + 2 * x * subject[0, 1] + x * x * subject[1, 1])
    total = np.zeros(len(eta))
    for zs, ws in zip(z, w, strict=True):
        for zr, wr in zip(z, w, strict=True):
            total += ws * wr * expit(eta + sd * zs + np.sqrt(rater[0, 0]) * zr)
    return total


def test_margins_of_crossed_groups_are_both_integrals(crossed, ratings):
    x, b = 0.7, crossed.fe_params
    shift = b["c[mid]"] * (ratings.c == "mid") + b["c[top]"] * (ratings.c == "top")
    eta = (b["Intercept"] + b["x"] * x + shift).to_numpy()
    found = crossed.margins(at={"x": x}).table
    assert found["margin"][0] == pytest.approx(both_integrals(crossed, eta, x).mean(), abs=1e-9)
    over = crossed.margins(at={"x": x}, over="r").table
    raters = [both_integrals(crossed, eta[ratings.r == r], x).mean() for r in range(9)]
    np.testing.assert_allclose(over["margin"], raters, atol=1e-9)
    changed = [both_integrals(crossed, eta - shift.to_numpy() + b.get(f"c[{c}]", 0.0), x)[0] for c in ("low", "top")]
    found = crossed.margins(at={"x": x}, dydx="c").table
    assert found["margin"].iloc[-1] == pytest.approx(changed[1] - changed[0], abs=1e-9)


def test_known_and_new_levels_of_either_factor(crossed):
    """Averaged over the effects of new levels; the errors by differences and the posterior of what is known."""
    rows = pd.DataFrame({"x": 0.5, "c": "mid", "s": [3, 3, 99, 99], "r": [2, 99, 2, 99]})
    call = table("predict", rows, kind="mu", std_err=True)
    values, errors = call(crossed)
    subject, rater = (term.Sigma for term in crossed.fit.terms)
    z = np.array([1.0, 0.5])
    left = np.array([0.0, rater[0, 0], z @ subject @ z, z @ subject @ z + rater[0, 0]])
    own = crossed.fit.terms[0].modes[3] @ z, crossed.fit.terms[1].modes[2, 0]
    xb = crossed.fe_params @ [1.0, 0.5, 1.0, 0.0]
    eta = xb + np.array([own[0] + own[1], own[0], own[1], 0.0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    p = expit(eta[:, None] + np.sqrt(left)[:, None] * nodes)
    weights = weights / weights.sum()
    np.testing.assert_allclose(values, p @ weights, atol=1e-8)
    known = crossed.predict(rows.iloc[:3], kind="eta", std_err=True)["eta"]
    np.testing.assert_allclose(known, eta[:3], atol=1e-9)
    without = call(certain(crossed))[1]
    assert without[3] == 0  # nothing is known, nothing is uncertain but the parameters
    spread = table("predict", rows, kind="eta", std_err=True)(certain(crossed))[1]
    np.testing.assert_allclose(without[:3], ((p * (1 - p)) @ weights * spread)[:3], rtol=1e-5)
    expected = np.sqrt(np.diag(by_differences(crossed, lambda r: call(r)[0], grouped=True)) + without**2)
    np.testing.assert_allclose(errors, expected, rtol=1e-4)
