"""Every instruction set, every number of threads, extreme values, odd shapes."""

from __future__ import annotations

import numpy as np
import pytest
from bridge import engine

import oracle
from melogit import kernel

EXTREMES = np.concatenate(
    [[0.0, -0.0, 1e-300, 700.0, -700.0, 745.0, -745.0, 1e5, -1e5, 36.7, -36.7], np.linspace(-40, 40, 4001)]
)


@pytest.mark.parametrize("isa", kernel.instruction_sets())
def test_own_exp_and_log_are_accurate_everywhere(isa):
    e, log1p = kernel.logistic(EXTREMES, isa)
    expected = np.exp(-np.abs(EXTREMES))
    normal = expected > 1e-300
    np.testing.assert_allclose(e[normal], expected[normal], rtol=1e-14)
    np.testing.assert_allclose(e[~normal], expected[~normal], atol=1e-300)
    # the product form adds 1 + exp(-|x|) up before its one log: exact to the last bit of 1, which is all a sum needs
    np.testing.assert_allclose(log1p, np.log1p(expected), rtol=1e-14, atol=3e-16)


def long_and_short(rng, sizes, q=1, binomial=False):
    """One level with groups of these sizes."""
    g = np.repeat(np.arange(len(sizes)), sizes)
    n = len(g)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    trials = rng.integers(1, 5, n) if binomial else np.ones(n, dtype=int)
    design = oracle.make_design(rng.binomial(trials, 0.4), X, [g], [Z], trials=trials)
    return design, np.array([0.2, -0.5, 0.3]), [np.eye(q) * 0.7 + np.tril(np.full((q, q), 0.1), -1)]


@pytest.mark.parametrize("isa", kernel.instruction_sets())
@pytest.mark.parametrize("binomial", [False, True])
@pytest.mark.parametrize("sizes", [[1], [1, 1, 1], [8, 16, 7, 9], [1, 300, 2, 64, 65], [1000]])
def test_rows_in_the_lanes_and_nodes_in_the_lanes(sizes, binomial, isa):
    design, beta, Lambdas = long_and_short(np.random.default_rng(3), sizes, binomial=binomial)
    x = oracle.pack(beta, Lambdas)
    f = oracle.fixed_node_function(design, [oracle.gauss_hermite(7, 1)], oracle.at_prior(design))
    e = engine(design, isa=isa)
    point = e.evaluate(x, 7, oracle.at_prior(design))
    assert point.loglik == pytest.approx(np.real(f(x)), abs=1e-11 * sum(sizes) + 1e-11)
    np.testing.assert_allclose(e.score(point), oracle.gradient(f, x), rtol=1e-9, atol=1e-9)
    expected = oracle.hessian(f, x)
    np.testing.assert_allclose(e.hessian(point), expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("isa", kernel.instruction_sets())
def test_all_instruction_sets_agree(isa):
    design, beta, Lambdas = oracle.random_design(np.random.default_rng(4), (2, 1), tops=8, children=4, rows=9)
    x = oracle.pack(beta, Lambdas)
    best, this = engine(design), engine(design, isa=isa)
    places = best.modes(x)
    a, b = best.evaluate(x, 5, places), this.evaluate(x, 5, places)
    assert b.loglik == pytest.approx(a.loglik, abs=1e-11)
    np.testing.assert_allclose(b.score, a.score, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(b.hessian, a.hessian, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_no_bit(threads):
    design, beta, Lambdas = long_and_short(np.random.default_rng(5), [3] * 900 + [40] * 20)
    x = oracle.pack(beta, Lambdas)
    one, many = engine(design, threads=1), engine(design, threads=threads)
    places = one.modes(x)
    for key, place in many.modes(x).items():
        assert np.array_equal(place.m, places[key].m)
        assert np.array_equal(place.C, places[key].C)
    a = one.evaluate(x, 7, places, moving=True, clusters=True, moments=True)
    b = many.evaluate(x, 7, places, moving=True, clusters=True, moments=True)
    assert a.loglik == b.loglik
    assert np.array_equal(a.score, b.score)
    assert np.array_equal(a.hessian, b.hessian)
    assert np.array_equal(a.evaluation.cluster_score, b.evaluation.cluster_score)


@pytest.mark.parametrize("isa", kernel.instruction_sets())
@pytest.mark.parametrize("eta", [-700.0, -40.0, 40.0, 700.0])
def test_linear_predictors_beyond_the_range_of_exp(eta, isa):
    """Rows so sure that exp overflows: the log-likelihood stays finite and right, on the right side and the wrong."""
    y = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    design = oracle.make_design(y, np.ones(6), [np.array([1, 1, 1, 2, 2, 3])], [np.ones(6)], offset=np.full(6, eta))
    x = np.array([0.1, 0.8])
    f = oracle.fixed_node_function(design, [oracle.gauss_hermite(5, 1)], oracle.at_prior(design))
    e = engine(design, isa=isa)
    point = e.evaluate(x, 5, oracle.at_prior(design))
    assert point.ok
    assert point.loglik == pytest.approx(np.real(f(x)), rel=1e-13)
    np.testing.assert_allclose(e.score(point), oracle.gradient(f, x), rtol=1e-9, atol=1e-11)


def test_not_a_number_is_reported_as_a_failure():
    design = oracle.make_design(
        np.array([1.0, 0.0, 1.0]), np.ones(3), [np.array([1, 1, 2])], [np.ones(3)], offset=np.array([0.0, np.nan, 0.0])
    )
    point = engine(design).evaluate(np.array([0.1, 0.5]), 5, oracle.at_prior(design))
    assert not point.ok


def test_rows_with_zero_trials_add_nothing():
    rng = np.random.default_rng(7)
    design, beta, Lambdas = oracle.random_design(rng, (1,), tops=6, rows=6, binomial=True)
    trials = design.trials.copy()
    trials[::3] = 0
    y = np.minimum(design.y, trials)
    g, Z = design.terms[0].factor.codes, design.terms[0].Z
    x = oracle.pack(beta, Lambdas)

    def loglik(keep):
        part = oracle.make_design(y[keep], design.X[keep], [g[keep]], [Z[keep]], trials=trials[keep])
        e = engine(part)
        return e.evaluate(x, 7, e.modes(x)).loglik

    assert loglik(trials >= 0) == pytest.approx(loglik(trials > 0), abs=1e-11)


def test_group_numbers_without_rows_of_order():
    """Groups scattered over the rows, numbered in no order."""
    rng = np.random.default_rng(8)
    design, beta, Lambdas = oracle.random_design(rng, (1, 1), tops=5, children=4, rows=4)
    x = oracle.pack(beta, Lambdas)
    e = engine(design)
    value = e.evaluate(x, 5, e.modes(x)).loglik
    order = rng.permutation(design.n_rows)
    names = [rng.permutation(1000)[t.factor.codes] for t in design.terms]
    mixed = oracle.make_design(
        design.y[order], design.X[order], [g[order] for g in names], [t.Z[order] for t in design.terms]
    )
    e = engine(mixed)
    assert e.evaluate(x, 5, e.modes(x)).loglik == pytest.approx(value, abs=1e-11)
