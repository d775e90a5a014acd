"""Every delta-method standard error against 10,000 draws of the parameters.

The covariance matrix of the estimates is shrunk by SHRINK^2, so that everything is linear over the width of the draws
and the delta method must be exact; its standard errors shrink by SHRINK. Values are computed by formulas of this file,
with Gauss-Hermite quadrature, for all draws at once. The standard deviation of 10,000 draws has a relative error of
0.7 %, and 5 such errors are allowed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, ndtri

SHRINK, DRAWS, ALLOWED = 0.02, 10_000, 5 / np.sqrt(2 * 10_000)
FORMULA = "y ~ x + c + (1 | h) + (x | g)"
Z, W = np.polynomial.hermite_e.hermegauss(48)
W = W / W.sum()


@pytest.fixture(scope="module")
def fit(data):
    from cases import fitted

    found = fitted(FORMULA, data)
    assert found.converged
    return shrunk(found)


def shrunk(found, by=SHRINK):
    inner = replace(found.fit, cov=found.fit.cov * by**2, cov_theta=found.fit.cov_theta * by**2)
    return replace(found, fit=inner)


@pytest.fixture(scope="module")
def draws(fit):
    """The estimates, and draws around them, by name."""
    rng = np.random.default_rng(12)
    P = rng.multivariate_normal(fit.fit.params, fit.fit.cov, DRAWS, method="eigh")
    names = list(fit.fit.names)
    return {name: np.concatenate([[fit.fit.params[k]], P[:, k]])[:, None] for k, name in enumerate(names)}


@pytest.fixture(scope="module")
def rows(data):
    """Twelve rows with every level."""
    return data.groupby("c").head(4).reset_index(drop=True)


def variance(d, x):
    """Of the random effects of rows with this x."""
    between = d["h:var(Intercept)"] + d["g:var(Intercept)"]
    return between + 2 * x * d[covariance_name(d)] + x**2 * d["g:var(x)"]


def covariance_name(d):
    return next(name for name in d if name.startswith("g:cov("))


def slope_of_variance(d, x):
    return 2 * d[covariance_name(d)] + 2 * x * d["g:var(x)"]


def logit(d, x, c):
    return d["Intercept"] + d["x"] * x + d["c[mid]"] * (c == "mid") + d["c[top]"] * (c == "top")


def mean(t, v, order=0):
    """The mean over the random effects of the logistic function or its derivatives."""
    total = 0.0
    for z, w in zip(Z, W, strict=True):
        p = expit(t + np.sqrt(v) * z)
        total = total + w * (p, p * (1 - p), p * (1 - p) * (1 - 2 * p))[order]
    return total


def slope(d, x, c):
    """Derivative of the marginal probability in x: through the linear predictor and through the variance."""
    t, v = logit(d, x, c), variance(d, x)
    return mean(t, v, 1) * d["x"] + mean(t, v, 2) / 2 * slope_of_variance(d, x)


def agree(values, estimate, std_err, exact=1e-8):
    """``values`` (1 + draws, k): at the estimates, and at the draws."""
    values = np.asarray(values).reshape(1 + DRAWS, -1)
    np.testing.assert_allclose(np.ravel(estimate), values[0], rtol=exact, atol=exact)
    spread = values[1:].std(axis=0)
    assert spread.min() > 0
    np.testing.assert_allclose(np.ravel(std_err) / spread, 1.0, atol=ALLOWED)


@pytest.mark.parametrize("kind", ["marginal", "mu_fixed", "xb"])
def test_predictions(fit, draws, rows, kind):
    x, c = rows["x"].to_numpy(), rows["c"].to_numpy()
    t = logit(draws, x, c)
    values = {"marginal": lambda: mean(t, variance(draws, x)), "mu_fixed": lambda: expit(t), "xb": lambda: t}[kind]()
    found = fit.predict(rows, kind=kind, std_err=True)
    agree(values, found[kind], found["std_err"])


@pytest.mark.parametrize("kind", ["marginal", "fixed"])
def test_margins_contrasts_and_measures_of_effect(fit, draws, rows, kind):
    x = rows["x"].to_numpy()
    zero = 0.0 if kind == "fixed" else 1.0
    levels = np.hstack(
        [
            mean(logit(draws, x, level), zero * variance(draws, x)).mean(axis=1, keepdims=True)
            for level in ("low", "mid", "top")
        ]
    )
    found = fit.margins(at={"c": "levels"}, data=rows, kind=kind)
    agree(levels, found.table["margin"], found.table["std_err"])
    joint = np.corrcoef(levels[1:].T)
    sd = found.table["std_err"].to_numpy()
    np.testing.assert_allclose(found.cov / np.outer(sd, sd), joint, atol=0.03)
    pairs = found.contrast("pairwise").table
    low, mid, top = levels.T
    expected = np.column_stack([mid - low, top - low, top - mid])
    sign = np.sign(pairs["margin"].to_numpy() / expected[0])
    agree(expected * sign, pairs["margin"], pairs["std_err"])
    effect = found.effect(0, 2)
    odds = top / (1 - top) / (low / (1 - low))
    values = np.column_stack([top - low, top / low, odds, 1 / (top - low)])
    agree(values, effect["estimate"], effect["std_err"], exact=1e-7)


@pytest.mark.parametrize("measure", ["dydx", "eyex", "eydx", "dyex"])
def test_slopes_and_elasticities(fit, draws, rows, measure):
    x, c = rows["x"].to_numpy(), rows["c"].to_numpy()
    scale = {"dydx": 1.0, "eyex": x, "eydx": 1.0, "dyex": x}[measure] * np.ones_like(x)
    values = slope(draws, x, c) * scale
    if measure in ("eyex", "eydx"):
        values = values / mean(logit(draws, x, c), variance(draws, x))
    found = fit.margins(data=rows, **{measure: "x"}).table
    agree(values.mean(axis=1), found["margin"], found["std_err"], exact=1e-7)


def test_changes_of_level_at_settings_and_at_means(fit, draws, rows):
    one = np.array([0.7])
    t = [mean(logit(draws, one, level), variance(draws, one)) for level in ("low", "mid", "top")]
    found = fit.margins(at={"x": 0.7}, dydx="c", data=rows).table
    agree(np.hstack([t[1] - t[0], t[2] - t[0]]), found["margin"], found["std_err"])
    x = np.array([rows["x"].mean()])
    third = (draws["c[mid]"] + draws["c[top]"]) / 3  # a third of the rows has each level
    middle = draws["Intercept"] + draws["x"] * x + third
    found = fit.margins(atmeans=True, data=rows).table
    agree(mean(middle, variance(draws, x)), found["margin"], found["std_err"])


def test_combinations(fit, draws):
    found = fit.lincom("x + 2*c[mid] - c[top]")
    values = draws["x"] + 2 * draws["c[mid]"] - draws["c[top]"]
    agree(values, found["estimate"], found["std_err"])
    found = fit.lincom("x + c[mid]", odds_ratios=True)
    agree(np.exp(draws["x"] + draws["c[mid]"]), found["odds_ratio"], found["std_err"])
    agree(np.exp(draws["x"]), fit.odds_ratios().loc["x", "odds_ratio"], fit.odds_ratios().loc["x", "std_err"])
    found = fit.nlcom(
        "x / sqrt(g:var(x))", "exp(c[top]) * expit(Intercept)", "log(h:var(Intercept) + g:var(Intercept))"
    )
    values = [
        draws["x"] / np.sqrt(draws["g:var(x)"]),
        np.exp(draws["c[top]"]) * expit(draws["Intercept"]),
        np.log(draws["h:var(Intercept)"] + draws["g:var(Intercept)"]),
    ]
    agree(np.hstack(values), found["estimate"], found["std_err"])


def test_contrasts_and_pairs_of_levels(fit, draws):
    low, mid, top = np.zeros_like(draws["x"]), draws["c[mid]"], draws["c[top]"]
    found = fit.contrast("c", "mean")
    average = (low + mid + top) / 3
    agree(np.hstack([low - average, mid - average, top - average]), found["estimate"], found["std_err"])
    found = fit.contrast("c", "helmert")
    agree(np.hstack([mid - low, top - (low + mid) / 2]), found["estimate"], found["std_err"])
    found = fit.contrast("c", "polynomial")
    curve = (low - 2 * mid + top) / np.sqrt(6)
    agree(np.hstack([(top - low) / np.sqrt(2), curve]), found["estimate"], found["std_err"])
    found = fit.pwcompare("c")
    agree(np.hstack([mid - low, top - low, top - mid]), found["estimate"], found["std_err"])


def test_what_variances_mean(fit, draws):
    h, g = draws["h:var(Intercept)"], draws["g:var(Intercept)"]
    total = h + g + np.pi**2 / 3
    found = fit.icc()
    agree(np.hstack([h / total, (h + g) / total]), found["icc"], found["std_err"])
    found = fit.median_odds_ratio()
    agree(np.exp(np.sqrt(2 * np.hstack([h, g])) * ndtri(0.75)), found["median_odds_ratio"], found["std_err"])
    found = fit.sdcorr
    variances = {"sd(Intercept)": g, "sd(x)": draws["g:var(x)"]}
    names = [label for group, label in found.index if group == "g"]
    both = draws[covariance_name(draws)] / np.sqrt(g * draws["g:var(x)"])
    values = [np.sqrt(variances[name]) if name in variances else both for name in names]
    table = found.loc["g"]
    agree(np.hstack(values), table["estimate"], table["std_err"])


# ------------------------------------------------------------------------------------- with the groups' own effects


@pytest.fixture(scope="module")
def known(data):
    """A random intercept by ``g``: the fit, rows of three groups, one of a new group, and their predictions' draws."""
    from cases import fitted

    found = fitted("y ~ x + c + (1 | g)", data)
    posterior = replace(found, posterior=None)
    rows = data[data["g"].isin([3, 17, 30])].groupby("g").head(3).reset_index(drop=True)
    return shrunk(posterior), rows


def posterior_moments(data, fit, group, P):
    """Mean and variance of b for one group at many parameters (D, 5), on a fixed grid of 49 points."""
    own = data[data["g"] == group]
    x, c, y = own["x"].to_numpy(), own["c"].to_numpy(), own["y"].to_numpy()
    X = np.column_stack([np.ones_like(x), x, c == "mid", c == "top"]).astype(float)
    eta = P[:, :4] @ X.T
    sd = np.sqrt(P[:, 4])
    grid = np.linspace(-6, 6, 49)
    log = np.empty((len(P), len(grid)))
    for k, u in enumerate(grid):
        t = eta + (sd * u)[:, None]
        log[:, k] = np.where(y > 0, -np.logaddexp(0, -t), -np.logaddexp(0, t)).sum(axis=1) - u * u / 2
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    u = weight @ grid
    return sd * u, P[:, 4] * (weight @ grid**2 - u**2)


def test_conditional_predictions_and_margins(known, data):
    """Parameters' part by the draws, the groups' part by their exact posterior variances."""
    fit, rows = known
    certain = replace(fit, fit=replace(fit.fit, cov=fit.fit.cov * 0, cov_theta=fit.fit.cov_theta))
    rng = np.random.default_rng(3)
    P = rng.multivariate_normal(fit.fit.params, fit.fit.cov, DRAWS, method="eigh")
    P = np.vstack([fit.fit.params, P])
    moments = {group: posterior_moments(data, fit, group, P) for group in (3, 17, 30)}
    b = np.column_stack([moments[g][0] for g in rows["g"]])
    spread = np.array([moments[g][1][0] for g in rows["g"]])
    X = np.column_stack([np.ones(len(rows)), rows["x"], rows["c"] == "mid", rows["c"] == "top"]).astype(float)
    eta = P[:, :4] @ X.T + b
    slope = expit(eta[0]) * expit(-eta[0])
    for kind, values, pull in (("eta", eta, np.ones(len(rows))), ("mu", expit(eta), slope)):
        found, none = (model.predict(rows, kind=kind, std_err=True) for model in (fit, certain))
        np.testing.assert_allclose(none["std_err"], pull * np.sqrt(spread), rtol=1e-4)
        agree(values, found[kind], np.sqrt(found["std_err"] ** 2 - none["std_err"] ** 2), exact=1e-5)
    groups = rows["g"].to_numpy()
    found, none = (model.margins(data=rows, kind="conditional").table.iloc[0] for model in (fit, certain))
    pulls = np.array([slope[groups == g].sum() / len(rows) for g in (3, 17, 30)])
    own = np.array([moments[g][1][0] for g in (3, 17, 30)])
    assert none["std_err"] == pytest.approx(np.sqrt(pulls**2 @ own), rel=1e-4)
    parameters = np.sqrt(found["std_err"] ** 2 - none["std_err"] ** 2)
    agree(expit(eta).mean(axis=1), found["margin"], parameters, exact=1e-5)


def test_r2_and_interval_odds_ratios(data):
    from cases import fitted

    found = shrunk(fitted("y ~ x + (1 | g)", data))
    P = np.random.default_rng(5).multivariate_normal(found.fit.params, found.fit.cov, DRAWS, method="eigh")
    _, b, v = np.vstack([found.fit.params, P]).T
    explained, unit = b**2 * found.design.X[:, 1].var(ddof=1), np.pi**2 / 3
    total = explained + v + unit
    r2 = found.r2(std_err=True).loc[["marginal", "conditional"]]
    agree(np.column_stack([explained / total, (explained + v) / total]), r2.iloc[:, 0], r2["std_err"])
    interval = found.interval_odds_ratio("x", by=2.0)
    reach = np.sqrt(2 * v) * ndtri(0.9)
    values = np.exp(np.column_stack([2 * b - reach, 2 * b + reach]))
    agree(values, interval[["ior_low", "ior_high"]], interval[["ior_low_se", "ior_high_se"]])
