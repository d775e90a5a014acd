"""One function per kernel for crossed factors, with the memory it writes to.

One factor, the largest, is eliminated group by group; the effects of all others are "the rest". ``G`` groups with ``q``
effects each, ``N`` effects of the rest, of which every row loads on ``r``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.kernel import _kernel
from melogit.kernel.calls import Rule, check_memory
from melogit.machine import cores

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CrossedProblem:
    """The fixed part of a crossed model in the kernel's own layout.

    Attributes
    ----------
    handle : the compiled module's view of the arrays
    n_rows, groups, q, r, rest : int
        ``n``, ``G``, ``q``, ``r``, ``N``.
    ties : int
        Pairs of a group and an effect of the rest that meet in some row.
    """

    handle: _kernel.Crossed
    n_rows: int
    groups: int
    q: int
    r: int
    rest: int
    ties: int
    threads: int
    isa: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Every row's part at given effects.

    ``loglik`` is that of the rows less half the squared length of u, without the binomial constant; ``score0`` (G, q)
    and ``score1`` (N,) its derivatives in u; ``residual``, ``weight`` and ``bend`` (n,) the first derivative of a
    row's log-likelihood in its linear predictor, minus the second and minus the third.
    """

    ok: bool
    loglik: float
    residual: FloatArray
    weight: FloatArray
    bend: FloatArray
    score0: FloatArray
    score1: FloatArray


@dataclass(frozen=True, slots=True)
class Factor:
    """Cholesky factors of the curvature: ``L`` (G, q, q), ``T`` (ties, q); ``schur`` (N, N), its lower triangle."""

    ok: bool
    L: FloatArray
    T: FloatArray
    schur: FloatArray
    logdet: float


def crossed_problem(
    *,
    wy: FloatArray,
    wt: FloatArray,
    binary: bool,
    first: NDArray[np.int64],
    q: int,
    rest: int,
    column: IntArray,
    start: NDArray[np.int64],
    cols: IntArray,
    local: IntArray,
    threads: int | None = None,
    isa: str = "",
) -> CrossedProblem:
    """Hand the rows, sorted by group of the eliminated factor, to the kernel.

    Parameters
    ----------
    wy, wt : (n + 8,)
        Weight times successes, weight times trials.
    binary : bool
        All weights and trials are 1 and successes 0 or 1.
    first : (G + 1,)
        First row of each group.
    column : (n, r)
        Which effects of the rest each row loads on.
    start : (G + 1,)
    cols : (ties,)
        The effects that group g meets are ``cols[start[g]:start[g + 1]]``, ascending.
    local : (n, r)
        Positions of ``column`` in that list.
    """
    handle = _kernel.crossed(wy, wt, binary, first, q, column.shape[1], rest, column, start, cols, local)
    return CrossedProblem(
        handle,
        len(column),
        len(first) - 1,
        q,
        column.shape[1],
        rest,
        len(cols),
        threads or cores(),
        isa,
    )


def crossed_rows(problem: CrossedProblem, A: FloatArray, eta0: FloatArray, u0: FloatArray, u1: FloatArray) -> Rows:
    """Evaluate all rows at the effects ``u0`` (G, q) and ``u1`` (N,); ``A`` (n, q + r) are the rows' loadings."""
    n = problem.n_rows
    residual, weight, bend = np.empty(n), np.empty(n), np.empty(n)
    score0, score1, loglik = np.empty_like(u0), np.empty_like(u1), np.empty(1)
    status = _kernel.crossed_rows(
        problem.handle,
        A,
        eta0,
        u0,
        u1,
        residual,
        weight,
        bend,
        score0,
        score1,
        loglik,
        problem.threads,
        problem.isa,
    )
    return Rows(status == 0, float(loglik[0]), residual, weight, bend, score0, score1)


def crossed_factor(problem: CrossedProblem, A: FloatArray, weight: FloatArray) -> Factor:
    """Eliminate the groups: what is left, ``schur``, is for LAPACK. ``logdet`` is that of the eliminated block."""
    L = np.empty((problem.groups, problem.q, problem.q))
    T = np.empty((problem.ties, problem.q))
    schur, logdet = np.empty((problem.rest, problem.rest)), np.empty(1)
    status = _kernel.crossed_factor(problem.handle, A, weight, L, T, schur, logdet, problem.threads, problem.isa)
    return Factor(status == 0, L, T, schur, float(logdet[0]))


def crossed_sweep(
    problem: CrossedProblem, A: FloatArray, factor: Factor, x0: FloatArray, x1: FloatArray, *, forward: bool
) -> None:
    """Half of a solution, in place: before (forward) and after the rest has been solved."""
    _kernel.crossed_sweep(problem.handle, A, factor.L, factor.T, x0, x1, forward, problem.isa)


def crossed_inverse(
    problem: CrossedProblem, A: FloatArray, factor: Factor, P: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What the likelihood's derivatives need of the inverse curvature.

    Parameters
    ----------
    P : (N, N)
        Inverse of the rest's part, lower triangle; the upper one is filled in.

    Returns
    -------
    h : (n, q + r)
        The inverse times each row's loadings, on the row's own effects.
    v : (n,)
        The variance of each row's linear predictor.
    block : (G, q, q)
        The groups' blocks of the inverse.
    """
    n = problem.n_rows
    h, v = np.empty((n, problem.q + problem.r)), np.empty(n)
    block = np.empty((problem.groups, problem.q, problem.q))
    status = _kernel.crossed_inverse(
        problem.handle, A, factor.L, factor.T, P, h, v, block, problem.threads, problem.isa
    )
    check_memory(status)
    return h, v, block


@dataclass(frozen=True, slots=True)
class Given:
    """The eliminated factor integrated out, the effects of the rest given.

    ``loglik`` (G,) of the groups; ``modes`` (G, q) of their effects; ``moments`` (n, 1 + q): posterior means of a row's
    residual, and of the residual times each effect of its group.
    """

    ok: bool
    loglik: FloatArray
    modes: FloatArray
    moments: FloatArray | None


def crossed_given(
    problem: CrossedProblem,
    A: FloatArray,
    eta0: FloatArray,
    u1: FloatArray,
    start: FloatArray,
    rule: Rule,
    *,
    moments: bool,
) -> Given:
    """Integrate every group of the eliminated factor by a rule at mode and curvature, at ``u1`` (N,)."""
    modes, loglik = start.copy(), np.empty(problem.groups)
    out = np.empty((problem.n_rows, 1 + problem.q)) if moments else None
    z, log_weight, count = rule
    status = _kernel.crossed_given(
        problem.handle, A, eta0, u1, modes, z, log_weight, count, loglik, out, problem.threads, problem.isa
    )
    check_memory(status)
    return Given(status == 0, loglik, modes, out)
