"""Whole fits against brute force: log-likelihood, zero gradient, covariance matrix, posterior effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import melogit as me
import oracle
from quiet import quietly


def table(seed: int = 7, groups: int = 24, size: int = 6) -> pd.DataFrame:
    """Groups ``g`` in ``h``, grouped counts ``k`` of ``n``, two predictors, an offset and weights."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), size)
    x, z = rng.normal(size=(2, len(g)))
    b = rng.normal(size=(groups, 2)) @ np.array([[1.0, 0.3], [0.0, 0.7]])
    h = g // 4
    eta = -0.2 + 0.5 * x + b[g, 0] + b[g, 1] * x + rng.normal(scale=0.8, size=h.max() + 1)[h]
    n = rng.integers(1, 5, len(g))
    w = rng.integers(1, 3, len(g))
    o = rng.normal(scale=0.3, size=len(g))
    k = rng.binomial(n, 1 / (1 + np.exp(-eta - o)))
    return pd.DataFrame({"k": k, "n": n, "x": x, "z": z, "g": g, "h": h, "w": w, "o": o})


MODELS = {
    "one variance": ("(1 | g)", None),
    "nested": ("(1 | h/g)", None),
    "unstructured": ("(x | g)", "unstructured"),
    "independent": ("(x || g)", None),
    "identity": ("(x | g)", "identity"),
    "exchangeable": ("(x | g)", "exchangeable"),
    "slope above": ("(0 + x | h) + (1 | g)", None),
}


def sigmas(name: str, v: np.ndarray) -> list[np.ndarray]:
    """Covariance matrices, top level first, from the reported variances and covariances."""
    if name in ("one variance", "nested", "slope above"):
        return [np.array([[value]]) for value in v]
    if name == "unstructured":
        return [np.array([[v[0], v[2]], [v[2], v[1]]])]
    if name == "independent":
        return [np.diag(v)]
    off = v[1] if name == "exchangeable" else 0.0
    return [np.array([[v[0], off], [off, v[0]]])]


def design_of(name: str, data: pd.DataFrame):
    one = np.ones(len(data))
    X = np.column_stack([one, data.x, data.z])
    slopes = np.column_stack([one, data.x])
    groups, Z = {
        "one variance": ([data.g], [one]),
        "nested": ([data.h, data.g], [one, one]),
        "slope above": ([data.h, data.g], [data.x.to_numpy(), one]),
    }.get(name, ([data.g], [slopes]))
    return oracle.make_design(data.k, X, groups, Z, trials=data.n, weights=data.w, offset=data.o)


@pytest.fixture(scope="module", params=list(MODELS))
def case(request):
    name = request.param
    random_part, covariance = MODELS[name]
    data = table()
    options = {"trials": "n", "weights": "w", "offset": "o", "covariance": covariance}
    fit = quietly(me.melogit, f"k ~ x + z + {random_part}", data, **options).result
    design = design_of(name, data)

    def loglik(params: np.ndarray) -> float:
        Lambdas = [np.linalg.cholesky(S) for S in sigmas(name, params[3:])]
        grid = {"step": 0.8, "half_width": 8.0} if len(Lambdas) > 1 else {}
        nodes, places = oracle.exact(design, params[:3], Lambdas, **grid)
        return float(np.real(oracle.log_likelihood(design, params[:3], Lambdas, nodes, places)))

    return name, fit, design, loglik


def test_log_likelihood_is_that_of_brute_force(case):
    _, fit, _, loglik = case
    assert fit.converged
    assert fit.integration.accurate
    assert abs(fit.llf - loglik(fit.params.to_numpy())) <= 2 * abs(fit.integration.loglik_error) + 1e-7


def test_estimates_are_a_maximum_and_their_covariance_is_the_inverse_information(case):
    """Differences of the brute-force log-likelihood in the reported parameters, variances included."""
    _, fit, _, loglik = case
    x, se = fit.params.to_numpy(), fit.bse.to_numpy()
    size = len(x)
    h = 0.04 * se
    axes = np.diag(h)
    centre = loglik(x)
    plus, minus = (np.array([loglik(x + s * e) for e in axes]) for s in (1, -1))
    gradient = (plus - minus) / 0.08  # per standard error
    assert np.abs(gradient).max() < 2e-3 + 2 * fit.integration.max_shift_in_se + 2e-3
    H = np.diag((plus - 2 * centre + minus) / h**2)
    for i in range(size):
        for j in range(i):
            both = loglik(x + axes[i] + axes[j]) + loglik(x - axes[i] - axes[j])
            cross = (both - plus[i] - minus[i] - plus[j] - minus[j] + 2 * centre) / (2 * h[i] * h[j])
            H[i, j] = H[j, i] = cross
    expected = np.linalg.inv(-H)
    np.testing.assert_allclose(se, np.sqrt(np.diag(expected)), rtol=4e-3)
    scale = np.outer(se, se)
    np.testing.assert_allclose(fit.cov_params().to_numpy() / scale, expected / scale, atol=8e-3)


def test_predicted_random_effects_are_posterior_means_and_modes(case):
    name, fit, design, _ = case
    params = fit.params.to_numpy()
    S = sigmas(name, params[3:])
    Lambdas = [np.linalg.cholesky(s) for s in S]
    nodes, places = oracle.exact(design, params[:3], Lambdas)
    for chain in oracle.chains(design)[:6]:
        mean, cov = oracle.posterior_moments(design, params[:3], Lambdas, chain[-1:], nodes, places)
        level, group = chain[-1].key
        term = fit.fit.terms[level]
        at = list(term.levels).index(_label(name, design, level, group))
        L = Lambdas[level]
        np.testing.assert_allclose(term.means[at], L @ mean, atol=2e-3)
        np.testing.assert_allclose(term.std_err[at], np.sqrt(np.diag(L @ cov @ L.T)), rtol=5e-3)
        np.testing.assert_allclose(term.modes[at], L @ places[level, group].m, atol=1e-4)
        shown = fit.random_effects(group=term.name)
        np.testing.assert_allclose(shown.iloc[at][list(term.names)].astype(float), term.means[at])


def _label(name: str, design, level: int, group: int) -> str:
    """What the fit calls a group of the hand-made design."""
    own = design.terms[level].factor.levels[group]
    if name == "nested" and level == 1:
        return f"{int(own) // 4}:{own}"
    return str(own)
