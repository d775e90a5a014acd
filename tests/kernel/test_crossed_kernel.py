"""Kernels for crossed factors against their NumPy twins: instruction sets, threads, extreme values, odd shapes."""

from __future__ import annotations

import numpy as np
import pytest

import oracle
import oracle_crossed as crossed_oracle
from melogit import kernel
from melogit.likelihood.arrange_crossed import arrange_crossed, loadings
from melogit.likelihood.quadrature import gauss_hermite

SHAPES = [((12, 4), (1, 1)), ((3, 9), (1, 2)), ((2, 8), (2, 3)), ((30, 2, 3), (1, 1, 2))]


def made(levels, effects, isa="", threads=1, extreme=False, n=30):
    """Crossed problem, its loadings, linear predictor without effects, and effects of the rest at random."""
    rng = np.random.default_rng(7)
    design, beta, Lambdas = crossed_oracle.random_crossed(rng, levels, effects, n=n, binomial=True, weights=True)
    crossed = arrange_crossed(design, threads=threads, isa=isa)
    x = np.asarray(np.linalg.solve(crossed.to_user, oracle.pack(beta, Lambdas)), dtype=np.float64)
    eta = crossed.X @ x[: crossed.p]
    if extreme:
        eta = eta + np.where(np.arange(n) % 3 == 0, 700.0, -700.0)
    u1 = np.asarray(rng.normal(size=crossed.problem.rest), dtype=np.float64)
    return crossed, loadings(crossed, x[crossed.p :]), eta, u1


def given_twin(crossed, A, eta0, u1, rule, centres):
    """Every group's log integral by the rule around ``centres``, the curvature there, and its rows' posterior means.

    Last, how far the centres are from the modes: squared, in posterior standard deviations.
    """
    q, n = crossed.problem.q, crossed.problem.n_rows
    wy, wt = crossed.wy[:n], crossed.wt[:n]
    base = eta0 + np.einsum("ij,ij->i", A[:, q:], u1[crossed.column])
    z, log_weight, count = rule
    z, log_weight = z[:, :count], log_weight[:count]
    loglik, moments, away = [], np.empty((n, 1 + q)), []
    for u, first, last in zip(centres, crossed.first[:-1], crossed.first[1:], strict=True):
        rows = slice(first, last)
        a = A[rows, :q]
        mu = 1 / (1 + np.exp(-np.clip(base[rows] + a @ u, -745, 745)))
        M = np.eye(q) + (a * (wt[rows] * mu * (1 - mu))[:, None]).T @ a
        slope = a.T @ (wy[rows] - wt[rows] * mu) - u
        away.append(slope @ np.linalg.solve(M, slope))
        C = np.linalg.inv(np.linalg.cholesky(M)).T
        at = u[:, None] + C @ z  # (q, K)
        eta = base[rows][:, None] + a @ at
        logs = log_weight + np.linalg.slogdet(C)[1] - 0.5 * (at**2).sum(axis=0)
        logs = logs + (wy[rows][:, None] * eta - wt[rows][:, None] * oracle.softplus(eta)).sum(axis=0)
        total = oracle.log_sum_exp(logs, axis=0)
        share = np.exp(logs - total)
        residual = wy[rows][:, None] - wt[rows][:, None] / (1 + np.exp(-np.clip(eta, -745, 745)))
        moments[rows, 0] = residual @ share
        moments[rows, 1:] = (residual * share) @ at.T
        loglik.append(total)
    return np.array(loglik), moments, np.array(away)


@pytest.mark.parametrize("isa", kernel.instruction_sets())
@pytest.mark.parametrize(("levels", "effects"), SHAPES)
@pytest.mark.parametrize("points", [1, 5])
def test_integrals_given_the_rest(levels, effects, points, isa):
    crossed, A, eta, u1 = made(levels, effects, isa)
    rule = gauss_hermite(points, crossed.problem.q)
    start = np.zeros((crossed.problem.groups, crossed.problem.q))
    found = kernel.crossed_given(crossed.problem, A, eta, u1, start, rule, moments=True)
    assert found.ok
    assert found.moments is not None
    loglik, moments, away = given_twin(crossed, A, eta, u1, rule, found.modes)
    np.testing.assert_allclose(found.loglik, loglik, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found.moments, moments, rtol=1e-9, atol=1e-11)
    assert away.max() < 1e-2  # the rule need not stand exactly at the mode
    less = kernel.crossed_given(crossed.problem, A, eta, u1, start, rule, moments=False)
    assert np.array_equal(less.loglik, found.loglik)
    assert less.moments is None


@pytest.mark.parametrize("isa", kernel.instruction_sets())
def test_integrals_at_extreme_linear_predictors(isa):
    crossed, A, eta, u1 = made((3, 30), (1, 1), isa, extreme=True)
    assert np.diff(crossed.first).max() == 1  # groups of a single row
    rule = gauss_hermite(7, 1)
    start = np.zeros((crossed.problem.groups, 1))
    found = kernel.crossed_given(crossed.problem, A, eta, u1, start, rule, moments=True)
    assert found.ok
    loglik, _, _ = given_twin(crossed, A, eta, u1, rule, found.modes)
    np.testing.assert_allclose(found.loglik, loglik, rtol=1e-10)
    assert found.moments is not None
    assert np.isfinite(found.moments).all()


def crossing(groups, others, effects, isa, complete, threads=1):
    """Crossed factors, every pair of groups in one row (complete) or in about every other row; loadings at random."""
    rng = np.random.default_rng(3)
    g, h = np.divmod(rng.permutation(groups * others), others)
    if not complete:  # all groups stay
        keep = (rng.random(len(g)) < 0.5) | (g % others == h) | (h % groups == g)
        g, h = g[keep], h[keep]
    n = len(g)
    Z = [np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))]) for q in effects]
    design = crossed_oracle.make_crossed(rng.integers(0, 2, n), np.ones((n, 1)), [g, h], Z)
    crossed = arrange_crossed(design, threads=threads, isa=isa)
    A = np.asarray(rng.normal(size=(n, sum(effects))), dtype=np.float64)
    return crossed, A, np.asarray(rng.uniform(0.0, 1.0, n), dtype=np.float64)


@pytest.mark.parametrize("isa", kernel.instruction_sets())
@pytest.mark.parametrize("effects", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize(("groups", "others"), [(9, 1), (5, 3), (19, 9), (68, 66)])
@pytest.mark.parametrize("complete", [True, False])
def test_elimination_and_inverse_against_one_dense_matrix(groups, others, effects, isa, complete):
    crossed, A, weight = crossing(groups, others, effects, isa, complete)
    problem, n = crossed.problem, crossed.problem.n_rows
    eliminated = problem.groups * problem.q
    own = np.column_stack(
        [np.repeat(np.arange(problem.groups), np.diff(crossed.first)) * problem.q + k for k in range(problem.q)]
    )
    where = np.column_stack([own, eliminated + crossed.column])
    full = np.zeros((n, eliminated + problem.rest))
    np.put_along_axis(full, where, A, axis=1)
    M = np.eye(eliminated + problem.rest) + (full * weight[:, None]).T @ full
    first, ties = M[:eliminated, :eliminated], M[:eliminated, eliminated:]
    factor = kernel.crossed_factor(problem, A, weight)
    assert factor.ok
    S = M[eliminated:, eliminated:] - ties.T @ np.linalg.solve(first, ties)
    np.testing.assert_allclose(np.tril(factor.schur), np.tril(S), rtol=1e-11, atol=1e-11)
    assert factor.logdet == pytest.approx(np.linalg.slogdet(first)[1], rel=1e-12)
    assert kernel.factor_dense(factor.schur, isa)
    h, v, block = kernel.crossed_inverse(problem, A, factor, kernel.invert_dense(factor.schur, isa))
    inverse = np.linalg.inv(M)
    solved = full @ inverse
    np.testing.assert_allclose(h, np.take_along_axis(solved, where, axis=1), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(v, (solved * full).sum(axis=1), rtol=1e-10)
    blocks = inverse[:eliminated, :eliminated].reshape(problem.groups, problem.q, problem.groups, problem.q)
    np.testing.assert_allclose(block, np.einsum("gkgl->gkl", blocks), rtol=1e-10, atol=1e-12)
    b = np.random.default_rng(4).normal(size=len(M))
    x0, x1 = b[:eliminated].reshape(problem.groups, problem.q).copy(), b[eliminated:].copy()
    kernel.crossed_sweep(problem, A, factor, x0, x1, forward=True)
    x1 = kernel.solve_dense(factor.schur, x1, isa)
    kernel.crossed_sweep(problem, A, factor, x0, x1, forward=False)
    np.testing.assert_allclose(np.concatenate([x0.ravel(), x1]), inverse @ b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("complete", [True, False])
def test_threads_change_no_bit_of_the_elimination(complete):
    found = []
    for threads in (1, 2, 5):
        crossed, A, weight = crossing(1100, 100, (1, 1), "", complete, threads)
        problem = crossed.problem
        assert problem.n_rows > 50_000  # fewer rows are one thread's work
        u0, u1 = np.ones((problem.groups, 1)), np.full(problem.rest, 0.5)
        rows = kernel.crossed_rows(problem, A, np.zeros(problem.n_rows), u0, u1)
        factor = kernel.crossed_factor(problem, A, weight)
        low = np.tril(factor.schur)
        inverse = kernel.crossed_inverse(problem, A, factor, low.copy())
        sums = np.array([rows.loglik, factor.logdet])
        found.append([sums, rows.weight, rows.score0, rows.score1, factor.L, factor.T, low, *inverse])
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_no_bit(threads):
    rule = gauss_hermite(5, 1)
    results = []
    for count in (1, threads):
        crossed, A, eta, u1 = made((200, 7), (1, 1), threads=count, n=900)
        start = np.zeros((crossed.problem.groups, 1))
        results.append(kernel.crossed_given(crossed.problem, A, eta, u1, start, rule, moments=True))
    assert np.array_equal(results[0].loglik, results[1].loglik)
    np.testing.assert_array_equal(results[0].moments, results[1].moments)


@pytest.mark.parametrize("isa", kernel.instruction_sets())
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 33, 100, kernel.LARGE - 1, kernel.LARGE, kernel.LARGE + 5])
def test_dense_matrices_on_both_sides_of_lapack(size, isa):
    """Lower triangles only: what stands above the diagonal must play no part."""
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size))
    A = np.asarray(root @ root.T + size * np.eye(size), dtype=np.float64)
    L = np.tril(A) + np.triu(np.full((size, size), 99.0), 1)
    b = np.asarray(rng.normal(size=size), dtype=np.float64)
    kept = b.copy()
    assert kernel.factor_dense(L, isa)
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(A), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(kernel.solve_dense(L, b, isa), np.linalg.solve(A, b), rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(b, kept)
    np.testing.assert_allclose(np.tril(kernel.invert_dense(L, isa)), np.tril(np.linalg.inv(A)), atol=1e-10)


@pytest.mark.parametrize("size", [3, kernel.LARGE + 1])
def test_a_matrix_that_is_not_positive_definite_is_told(size):
    A = np.eye(size)
    A[-1, -1] = -1.0
    assert not kernel.factor_dense(A)
