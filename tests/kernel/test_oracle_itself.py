"""The oracle checked against itself: different rules, derivatives against plain differences, laws it must obey."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import binom, norm

import oracle

SHAPES = [(1,), (2,), (3,), (1, 1), (2, 1), (1, 2), (1, 1, 1)]


def model(effects, seed):
    return oracle.random_design(np.random.default_rng(seed), effects, binomial=True, weights=True, offset=True)


def test_one_group_equals_scipy_integration():
    design, beta, Lambdas = model((1,), 1)
    eta = design.offset + design.X @ beta
    total = 0.0
    for unit in oracle.forest(design):
        r = unit.rows

        def integrand(u, r=r):
            p = expit(eta[r] + Lambdas[0][0, 0] * u)
            return norm.pdf(u) * np.prod(binom.pmf(design.y[r], design.trials[r], p) ** design.weights[r])

        total += np.log(quad(integrand, -9, 9, epsabs=0, epsrel=1e-12, limit=400)[0])
    value = oracle.log_likelihood(design, beta, Lambdas, *oracle.exact(design, beta, Lambdas))
    assert value == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize("effects", SHAPES)
def test_gauss_hermite_and_trapezoid_meet(effects):
    design, beta, Lambdas = model(effects, 2)
    exact = oracle.log_likelihood(design, beta, Lambdas, *oracle.exact(design, beta, Lambdas))
    finer = oracle.log_likelihood(
        design, beta, Lambdas, *oracle.exact(design, beta, Lambdas, step=0.5, half_width=10.5)
    )
    assert finer == pytest.approx(exact, abs=1e-9)
    errors = [abs(oracle.agq_mode_curvature(design, beta, Lambdas, k) - exact) for k in (1, 5, 15)]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 1e-5


@pytest.mark.parametrize("effects", SHAPES)
def test_one_gauss_hermite_node_at_the_mode_is_laplace(effects):
    design, beta, Lambdas = model(effects, 3)
    one = oracle.agq_mode_curvature(design, beta, Lambdas, 1)
    assert one == pytest.approx(np.real(oracle.laplace(design, beta, Lambdas)), abs=1e-11)


@pytest.mark.parametrize("effects", [(2,), (1, 1), (1, 1, 1)])
def test_complex_step_gradients_equal_differences(effects):
    design, beta, Lambdas = model(effects, 4)
    x = oracle.pack(beta, Lambdas)
    still = oracle.fixed_node_function(design, *oracle.exact(design, beta, Lambdas))

    def by_laplace(x):
        return oracle.laplace(design, *oracle.unpack(design, x))

    for f in (still, by_laplace):
        differences = [np.real(f(x + 1e-5 * e) - f(x - 1e-5 * e)) / 2e-5 for e in np.eye(len(x))]
        np.testing.assert_allclose(oracle.gradient(f, x), differences, rtol=1e-6, atol=1e-7)


def test_posterior_moments_equal_sums_over_the_grid():
    design, beta, Lambdas = model((1,), 5)
    chain = oracle.chains(design)[0]
    nodes, places = oracle.exact(design, beta, Lambdas)
    mean, cov = oracle.posterior_moments(design, beta, Lambdas, chain, nodes, places)
    u = np.linspace(-10, 10, 20001)
    rows = chain[0].rows
    eta = (design.offset + design.X @ beta)[rows][:, None] + (design.terms[0].Z[rows] @ Lambdas[0]) * u
    w = np.exp(oracle.row_loglik(design, rows, eta).sum(axis=0) - u**2 / 2)
    w /= w.sum()
    assert mean[0] == pytest.approx((w * u).sum(), abs=1e-10)
    assert cov[0, 0] == pytest.approx((w * u**2).sum() - (w * u).sum() ** 2, abs=1e-9)


def test_extreme_linear_predictors_stay_finite():
    eta = np.array([-700.0, -40.0, 0.0, 40.0, 700.0])
    np.testing.assert_allclose(oracle.softplus(eta), np.logaddexp(0, eta), rtol=1e-15)
