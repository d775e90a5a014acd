r"""Crossed grouping factors: joint mode and Laplace approximation by blocks.

With a_i the loadings of row i on all effects u and M = I + sum_i w_i a_i a_i' the curvature at the joint mode, the
Laplace approximation is F = log p(y | u) - u'u / 2 - log|M| / 2. Its gradient is exact and needs, besides M's Cholesky
factor, only v_i = a_i' M^-1 a_i and M^-1 a_i on the row's own effects: with r_i, w_i and w_i' the first, minus the
second and minus the third derivative of the row's log-likelihood, t_i = w_i' v_i / 2 and q = M^-1 sum_i t_i a_i,

    dF = sum_i [r_i - t_i + w_i a_i'q] d eta_i - sum_i [w_i (M^-1 a_i) + r_i q]' d a_i,

where d eta_i is taken at fixed u.

References
----------
Bates, D. (2011). Computational methods for mixed models. LME4 vignette, section 6 (the joint mode).
Skaug, H. J. and Fournier, D. A. (2006). Comput. Statist. Data Anal. 51, 699-709 (the gradient through the mode).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.likelihood.arrange_crossed import Crossed, loadings

FloatArray = NDArray[np.float64]

# Newton decrement (squared distance from the mode in posterior standard deviations) at which a mode is found.
MODE_TOLERANCE = 1e-22
# A step by an old factor that leaves more than this share of the decrement calls for a new factor: factors are cheap
# where the rest is small, and cost as much as tens of steps where it has so many effects.
CHORD_SHARE, COSTLY, CHORD_SHARE_COSTLY = 1e-2, 192, 0.3
MOST_STEPS = 200


@dataclass(frozen=True, slots=True)
class Curvature:
    """Cholesky factor of M at some effects: the kernel's part and that of the rest (lower triangle)."""

    factor: kernel.Factor
    rest: FloatArray
    logdet: float
    A: FloatArray


@dataclass(frozen=True, slots=True)
class Mode:
    """The joint mode for one parameter vector."""

    u0: FloatArray  # (G, q) of the eliminated factor
    u1: FloatArray  # (N,)
    rows: kernel.Rows
    curvature: Curvature


@dataclass(frozen=True, slots=True)
class LaplacePoint:
    """The approximated log-likelihood (binomial constant included) and its gradient (p + m,)."""

    ok: bool
    loglik: float
    score: FloatArray
    mode: Mode | None
    inverse: Inverse | None = None  # None, as the mode, where no mode was found


@dataclass(frozen=True, slots=True)
class Inverse:
    """What is kept of M^-1: the groups' blocks (G, q, q) and that of the rest (N, N), lower triangle."""

    block: FloatArray
    rest: FloatArray = field(repr=False)


def linear_predictor(crossed: Crossed, beta: FloatArray) -> FloatArray:
    """Offset + X beta."""
    return crossed.offset + crossed.X @ beta


def without_effects(crossed: Crossed, beta: FloatArray) -> tuple[bool, float, FloatArray, FloatArray]:
    """The model without random effects: finite or not, log-likelihood, score (p,) and Hessian (p, p)."""
    problem, X = crossed.problem, crossed.X
    A = np.zeros((problem.n_rows, problem.q + problem.r))
    u0, u1 = np.zeros((problem.groups, problem.q)), np.zeros(problem.rest)
    rows = kernel.crossed_rows(problem, A, linear_predictor(crossed, beta), u0, u1)
    return rows.ok, rows.loglik + crossed.constant, X.T @ rows.residual, -(X.T * rows.weight) @ X


def find_mode(
    crossed: Crossed, x: FloatArray, u0: FloatArray, u1: FloatArray, curvature: Curvature | None = None
) -> Mode | None:
    """Damped Newton from the effects given; an old ``curvature`` serves as long as it leads there quickly.

    None where a number is not finite or no step leads up.
    """
    problem = crossed.problem
    A, eta0 = loadings(crossed, x[crossed.p :]), linear_predictor(crossed, x[: crossed.p])
    rows = kernel.crossed_rows(problem, A, eta0, u0, u1)
    if not rows.ok:
        u0, u1, curvature = np.zeros_like(u0), np.zeros_like(u1), None
        rows = kernel.crossed_rows(problem, A, eta0, u0, u1)
        if not rows.ok:
            return None
    share = CHORD_SHARE if problem.rest < COSTLY else CHORD_SHARE_COSTLY
    last, fresh = np.inf, False
    for _ in range(MOST_STEPS):
        if curvature is None:
            curvature = curve(problem, A, rows.weight)
            if curvature is None:
                return None
            fresh = True
        s0, s1 = solve(problem, curvature, rows.score0, rows.score1)
        decrement = float(np.vdot(s0, rows.score0) + s1 @ rows.score1)
        if decrement < MODE_TOLERANCE:
            break
        if decrement > share * last and not fresh:
            curvature, last = None, np.inf
            continue
        moved = _uphill(problem, A, eta0, u0, u1, s0, s1, rows, decrement)
        if moved is None:
            if decrement < 1e-12:  # rounding
                break
            if fresh:
                return None
            curvature, last = None, np.inf
            continue
        u0, u1, rows = moved
        last, fresh = decrement, False
    else:
        return None
    if not fresh:
        curvature = curve(problem, A, rows.weight)
    return None if curvature is None else Mode(u0, u1, rows, curvature)


def _uphill(
    problem: kernel.CrossedProblem,
    A: FloatArray,
    eta0: FloatArray,
    u0: FloatArray,
    u1: FloatArray,
    s0: FloatArray,
    s1: FloatArray,
    rows: kernel.Rows,
    decrement: float,
) -> tuple[FloatArray, FloatArray, kernel.Rows] | None:
    """Take the step, halved until it leads up (the integrand is concave, so some fraction does)."""
    share = 1.0
    slack = 1e-11 * abs(rows.loglik)
    for _ in range(40):
        to0, to1 = u0 + share * s0, u1 + share * s1
        there = kernel.crossed_rows(problem, A, eta0, to0, to1)
        if there.ok and there.loglik >= rows.loglik - slack:
            return to0, to1, there
        share *= 0.5
        if share * decrement < slack:
            break
    return None


def curve(problem: kernel.CrossedProblem, A: FloatArray, weight: FloatArray) -> Curvature | None:
    """Factor the curvature; None where it is not positive definite by rounding."""
    factor = kernel.crossed_factor(problem, A, weight)
    if not factor.ok:
        return None
    rest = factor.schur
    if not kernel.factor_dense(rest, problem.isa):
        return None
    logdet = factor.logdet + 2 * float(np.log(np.diagonal(rest)).sum())
    return Curvature(factor, rest, logdet, A)


def solve(
    problem: kernel.CrossedProblem, curvature: Curvature, b0: FloatArray, b1: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """M^-1 b."""
    x0, x1 = b0.copy(), b1.copy()
    kernel.crossed_sweep(problem, curvature.A, curvature.factor, x0, x1, forward=True)
    x1 = kernel.solve_dense(curvature.rest, x1, problem.isa)
    kernel.crossed_sweep(problem, curvature.A, curvature.factor, x0, x1, forward=False)
    return x0, x1


def laplace(
    crossed: Crossed,
    x: FloatArray,
    u0: FloatArray,
    u1: FloatArray,
    curvature: Curvature | None = None,
) -> LaplacePoint:
    """Laplace approximation and its exact gradient at the parameters ``x`` (p + m,), from the effects given."""
    mode = find_mode(crossed, x, u0, u1, curvature)
    if mode is None:
        return LaplacePoint(False, -np.inf, np.zeros_like(x), None)
    loglik = mode.rows.loglik - 0.5 * mode.curvature.logdet + crossed.constant
    gradient, inverse = _gradient(crossed, mode)
    ok = bool(np.isfinite(loglik) and np.all(np.isfinite(gradient)))
    return LaplacePoint(ok, loglik, gradient, mode, inverse)


def invert(crossed: Crossed, mode: Mode) -> tuple[FloatArray, FloatArray, Inverse]:
    """``h`` and ``v`` of every row (see ``kernel.crossed_inverse``) and the blocks of the inverse."""
    curvature = mode.curvature
    P = kernel.invert_dense(curvature.rest, crossed.problem.isa)
    h, v, block = kernel.crossed_inverse(crossed.problem, curvature.A, curvature.factor, P)
    return h, v, Inverse(block, P)


def _gradient(crossed: Crossed, mode: Mode) -> tuple[FloatArray, Inverse]:
    c, slopes, inverse = _contributions(crossed, mode)
    entries = np.array([slope.sum() if z is None else z @ slope for z, slope in slopes])
    return np.concatenate([crossed.X.T @ c, crossed.covariance.basis.T @ entries]), inverse


def _contributions(
    crossed: Crossed, mode: Mode
) -> tuple[FloatArray, Iterator[tuple[FloatArray | None, FloatArray]], Inverse]:
    """Every row's part of the gradient: c (n,) by its linear predictor and, per entry of Lambda, (covariate, slope)."""
    h, v, inverse = invert(crossed, mode)
    rows, A = mode.rows, mode.curvature.A
    t = 0.5 * rows.bend * v
    q0, q1 = solve(crossed.problem, mode.curvature, *crossed.gathered(t[:, None] * A))
    q = crossed.spread(q0, q1)
    c = rows.residual - t + rows.weight * np.einsum("ij,ij->i", A, q)
    u = crossed.spread(mode.u0, mode.u1)
    slopes = ((z, c * u[:, b] - rows.weight * h[:, b] - rows.residual * q[:, b]) for z, b in crossed.entry_columns)
    return c, slopes, inverse


def cluster_scores(crossed: Crossed, mode: Mode, cluster: NDArray[np.int64], count: int) -> FloatArray:
    """The gradient's parts by cluster, (count, p + m).

    Where no group lies in two clusters, the curvature falls apart by cluster and each part is the gradient of the
    cluster's own approximated log-likelihood.

    Parameters
    ----------
    cluster : (n,)
        Cluster of every row, rows as in ``crossed``.
    """
    c, slopes, _ = _contributions(crossed, mode)
    parts = [c * crossed.X[:, j] for j in range(crossed.p)]
    entries = [slope if z is None else z * slope for z, slope in slopes]
    by_cluster = [np.bincount(cluster, weights=part, minlength=count) for part in (*parts, *entries)]
    table = np.array(by_cluster, dtype=np.float64).T
    return np.concatenate([table[:, : crossed.p], table[:, crossed.p :] @ crossed.covariance.basis], axis=1)
