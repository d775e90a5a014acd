"""The engine against the brute-force oracle: log-likelihood to 1e-9, score and Hessian to 1e-6 relative and better."""

from __future__ import annotations

import numpy as np
import pytest
from bridge import engine

import oracle
from melogit import kernel
from melogit.likelihood.nested import evaluate, trapezoid, trapezoid_rules

SHAPES = [(1,), (2,), (3,), (1, 1), (2, 1), (1, 2), (2, 2), (1, 1, 1), (2, 1, 1), (1, 2, 1)]
BIG = [(3, 1), (1, 3), (2, 2, 1), (1, 1, 1, 1), (4,)]
KINDS = {"0/1": {}, "counts": {"binomial": True, "weights": True, "offset": True}}


def model(effects, seed, **kind):
    rng = np.random.default_rng(seed)
    return oracle.random_design(rng, effects, tops=3, children=3, rows=5, p=3, **kind)


def shaken(design, rng):
    """A placement that no rule would choose, so that every entry of m, K and C matters."""
    places = {}
    for key, place in oracle.at_prior(design).items():
        q, D = place.K.shape
        C = np.diag(rng.uniform(0.6, 1.3, q)) + np.tril(rng.normal(scale=0.3, size=(q, q)), -1)
        if rng.random() < 0.5:
            C = C.T.copy()
        places[key] = oracle.Placement(rng.normal(scale=0.4, size=q), rng.normal(scale=0.4, size=(q, D)), C)
    return places


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effects", SHAPES + BIG)
def test_log_likelihood_score_and_information_at_any_nodes(effects, kind):
    """Fisher's and Louis' identities in the recursion against complex steps and differences of the plain sum."""
    design, beta, Lambdas = model(effects, 11, **KINDS[kind])
    points = 3 if sum(effects) < 5 else 2
    places = shaken(design, np.random.default_rng(5))
    x = oracle.pack(beta, Lambdas)
    nodes = [oracle.gauss_hermite(points, q) for q in effects]
    f = oracle.fixed_node_function(design, nodes, places)
    e = engine(design)
    point = e.evaluate(x, points, places)
    assert point.ok
    assert point.loglik == pytest.approx(np.real(f(x)), abs=1e-10)
    np.testing.assert_allclose(e.score(point), oracle.gradient(f, x), rtol=1e-9, atol=1e-10)
    expected = oracle.hessian(f, x)
    np.testing.assert_allclose(e.hessian(point), expected, rtol=1e-7, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effects", [s for s in SHAPES if sum(s) <= 3])
def test_many_points_give_the_exact_integral(effects, kind):
    """No quadrature is shared: Gauss-Hermite in the engine, a dense trapezoidal grid in the oracle."""
    design, beta, Lambdas = model(effects, 12, **KINDS[kind])
    exact = np.real(oracle.log_likelihood(design, beta, Lambdas, *oracle.exact(design, beta, Lambdas)))
    x = oracle.pack(beta, Lambdas)
    e = engine(design)
    points = {1: 101, 2: 61, 3: 41}[sum(effects)]
    assert e.evaluate(x, points, e.modes(x)).loglik == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("effects", [(1,), (2,), (1, 1), (1, 1, 1)])
def test_score_and_information_of_the_exact_integral(effects):
    rng = np.random.default_rng(13)
    design, beta, Lambdas = oracle.random_design(rng, effects, tops=2, rows=3, **KINDS["counts"])
    x = oracle.pack(beta, Lambdas)
    grid = {"step": 0.8, "half_width": 8.0} if sum(effects) == 3 else {}
    f = oracle.fixed_node_function(design, *oracle.exact(design, beta, Lambdas, **grid))
    e = engine(design)
    point = e.evaluate(x, {1: 101, 2: 61, 3: 31}[sum(effects)], e.modes(x))
    np.testing.assert_allclose(e.score(point), oracle.gradient(f, x), rtol=1e-6, atol=1e-7)
    expected = oracle.hessian(f, x, step=1e-2)
    np.testing.assert_allclose(e.hessian(point), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effects", SHAPES)
def test_modes_and_curvature(effects, kind):
    design, beta, Lambdas = model(effects, 14, **KINDS[kind])
    ours = engine(design).modes(oracle.pack(beta, Lambdas))
    for key, place in oracle.mode_curvature_places(design, beta, Lambdas).items():
        np.testing.assert_allclose(ours[key].m, place.m, atol=1e-9)
        np.testing.assert_allclose(ours[key].K, place.K, atol=1e-9)
        np.testing.assert_allclose(ours[key].C, place.C, atol=1e-9)


@pytest.mark.parametrize("effects", SHAPES)
def test_one_node_at_the_mode_is_laplace(effects):
    design, beta, Lambdas = model(effects, 15, **KINDS["counts"])
    x = oracle.pack(beta, Lambdas)
    e = engine(design)
    value = e.evaluate(x, 1, e.modes(x)).loglik
    assert value == pytest.approx(np.real(oracle.laplace(design, beta, Lambdas)), abs=1e-10)


@pytest.mark.parametrize("effects", SHAPES)
def test_score_of_laplace_moves_the_mode_and_the_curvature(effects):
    """Against the complex step through the dense mode and determinant."""
    design, beta, Lambdas = model(effects, 16, **KINDS["counts"])
    x = oracle.pack(beta, Lambdas)
    e = engine(design)
    point = e.evaluate(x, 1, e.modes(x), moving=True)
    expected = oracle.gradient(lambda v: oracle.laplace(design, *oracle.unpack(design, v)), x)
    np.testing.assert_allclose(e.score(point), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("effects", [(1,), (2,), (1, 1), (2, 1), (1, 2), (1, 1, 1)])
def test_score_with_moving_nodes_is_the_gradient_of_the_approximation(effects):
    """``mcaghermite`` maximises its own approximation: sixth-order differences of it, nodes moving."""
    design, beta, Lambdas = model(effects, 17, **KINDS["counts"])
    x, h = oracle.pack(beta, Lambdas), 4e-3

    def f(v):
        return oracle.agq_mode_curvature(design, *oracle.unpack(design, v), 3)

    expected = [
        sum(c * (f(x + k * h * d) - f(x - k * h * d)) for k, c in ((1, 45), (2, -9), (3, 1))) / (60 * h)
        for d in np.eye(len(x))
    ]
    e = engine(design)
    point = e.evaluate(x, 3, e.modes(x), moving=True)
    np.testing.assert_allclose(e.score(point), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("effects", [(1,), (2,), (1, 1), (2, 1), (1, 1, 1)])
def test_posterior_moments_and_the_next_placement(effects):
    design, beta, Lambdas = model(effects, 18, **KINDS["counts"])
    x = oracle.pack(beta, Lambdas)
    places = oracle.mode_curvature_places(design, beta, Lambdas)
    nodes = [oracle.gauss_hermite(5, q) for q in effects]
    e = engine(design)
    found = e.evaluate(x, 5, places, moments=True).evaluation
    assert found.means is not None
    assert found.covs is not None
    assert found.next_nodes is not None
    following = e.places(found.next_nodes)
    for chain in oracle.chains(design):
        mean, cov = oracle.posterior_moments(design, beta, Lambdas, chain, nodes, places)
        level, group = chain[-1].key
        q = effects[level]
        at = e.nested.unit_of_code[level][group]
        np.testing.assert_allclose(found.means[level][at], mean[-q:], atol=1e-9)
        np.testing.assert_allclose(found.covs[level][at], cov[-q:, -q:], atol=1e-8)
        expected = oracle.place_by_gaussian(mean, cov, q, np.linalg.cholesky)
        ours = following[chain[-1].key]
        np.testing.assert_allclose(ours.m, expected.m, atol=1e-9)
        np.testing.assert_allclose(ours.K, expected.K, atol=1e-7)
        np.testing.assert_allclose(ours.C @ ours.C.T, expected.C @ expected.C.T, atol=1e-7)


def test_scores_of_clusters_add_up_to_the_score():
    design, beta, Lambdas = model((1, 1), 19, **KINDS["counts"])
    x = oracle.pack(beta, Lambdas)
    e = engine(design)
    found = e.evaluate(x, 5, e.modes(x), clusters=True).evaluation
    np.testing.assert_allclose(found.cluster_score.sum(axis=0), found.score, rtol=1e-12, atol=1e-12)
    assert found.cluster_loglik.sum() == pytest.approx(found.loglik, abs=1e-10)


@pytest.mark.parametrize("sd", [0.2, 2.0, 5.0, 9.0])
def test_trapezoidal_rule_converges_where_gauss_hermite_does_not(sd):
    """Groups of two and three rows with variances up to 81: a half-Gaussian with a sharp shoulder."""
    rng = np.random.default_rng(20)
    g = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    X = np.column_stack([np.ones(len(g)), rng.normal(size=len(g))])
    design = oracle.make_design(rng.integers(0, 2, len(g)), X, [g], [np.ones(len(g))])
    beta, x = np.array([0.3, -0.5]), np.array([0.3, -0.5, sd])
    fine = [oracle.trapezoid(1, 0.002 / max(sd, 1), 13.0)]
    exact = np.real(oracle.log_likelihood(design, beta, [np.array([[sd]])], fine, oracle.at_prior(design)))
    assert by_trapezoid(engine(design), x, (), spacing=1.0) == pytest.approx(exact, abs=1e-4)
    assert by_trapezoid(engine(design), x, (), spacing=0.5) == pytest.approx(exact, abs=2e-7)


def by_trapezoid(e, x, upper, spacing):
    found = trapezoid(e.nested, e.inside(x), kernel.new_nodes(e.nested.problem), spacing)
    assert found is not None
    rules = trapezoid_rules(e.nested, (*upper, found.points))
    return evaluate(e.nested, e.inside(x), rules, found.modes, ranged=True).loglik


@pytest.mark.parametrize("sd", [1.0, 5.0])
def test_trapezoidal_rule_below_another_level(sd):
    """Ranges are found anew for every choice of nodes above: with enough of those, the exact integral again."""
    rng = np.random.default_rng(21)
    top, g = np.repeat(np.arange(4), 15), np.repeat(np.arange(20), 3)
    X = np.column_stack([np.ones(60), rng.normal(size=60)])
    design = oracle.make_design(rng.integers(0, 2, 60), X, [top, g], [np.ones(60), np.ones(60)])
    beta, x = np.array([0.3, -0.5]), np.array([0.3, -0.5, 0.8, sd])
    fine = [oracle.trapezoid(1, 0.1, 9.0), oracle.trapezoid(1, 0.05 / sd, 9.0)]
    roots = [np.array([[0.8]]), np.array([[sd]])]
    exact = np.real(oracle.log_likelihood(design, beta, roots, fine, oracle.at_prior(design)))
    assert by_trapezoid(engine(design), x, (31,), spacing=0.5) == pytest.approx(exact, abs=1e-6)
