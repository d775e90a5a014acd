"""One function per kernel, with the memory it writes to.

``L`` levels (top first), ``G_l`` groups of level ``l``, ``q_l`` effects per group, ``d_l`` effects of all levels above
it, ``P`` parameters: ``p`` fixed effects and then the free entries of every Lambda.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.kernel import _kernel
from melogit.machine import cores

FloatArray = NDArray[np.float64]
# Per level (m, K, C): nodes lie at u_own = m + K (u_above - m_above) + C z.
Nodes = list[list[FloatArray]]
# Nodes z (q, padded), log weights (padded) with -inf in the padding, and how many of them count.
Rule = tuple[FloatArray, FloatArray, int]

# Rows after the end that the kernel may read (and ignores).
SLACK = 8
# Random effects on one row that the kernel has room for (problem.h).
MAX_EFFECTS = 24
_NO_MEMORY = 4


def instruction_sets() -> list[str]:
    """Instruction sets this processor can run, best first."""
    return _kernel.instruction_sets()


@dataclass(frozen=True, slots=True)
class Problem:
    """The fixed part of a model in the kernel's own layout.

    Attributes
    ----------
    handle : the compiled module's view of the arrays
    n_units, n_effects, n_above : per level, ``G_l``, ``q_l``, ``d_l``
    n_parameters : int
        ``P``.
    """

    handle: _kernel.Problem
    n_rows: int
    n_units: tuple[int, ...]
    n_effects: tuple[int, ...]
    n_above: tuple[int, ...]
    n_parameters: int
    threads: int
    isa: str = ""


def problem(
    *,
    Q: FloatArray,
    n: int,
    wy: FloatArray,
    wt: FloatArray,
    binary: bool,
    z_columns: Sequence[FloatArray | None],
    z_in_Q: Sequence[int],
    first: Sequence[NDArray[np.int64]],
    z_of_effect: Sequence[Sequence[int]],
    entries: NDArray[np.int32],
    p: int,
    threads: int | None = None,
    isa: str = "",
) -> Problem:
    """Hand the rows, sorted by group, to the kernel.

    Parameters
    ----------
    Q : (n * c + 8,)
        The distinct columns of X (first ``p``) and of all Z, row by row; then ``SLACK`` unused numbers, as at the end
        of every array of rows.
    n : int
        Rows.
    wy, wt : (n + 8,)
        Weight times successes, weight times trials.
    binary : bool
        All weights and trials are 1 and successes 0 or 1.
    z_columns : sequence of (n + 8,) arrays
        Distinct covariates of random effects; entry 0, the constant, is None.
    z_in_Q : sequence of int
        Where each stands in ``Q``; -1 for an unused constant.
    first : per level, (G_l + 1,)
        First child (group of the next level, or row) of each group.
    z_of_effect : per level, (q_l,)
        Which of ``z_columns`` each effect multiplies.
    entries : (m, 3)
        Level, row and column of each free entry of the Lambda matrices.
    threads : int, optional
        Default: as many as this process may use.
    isa : str
        Instruction set (``v4``, ``v3``, ``v2``, ``plain``); default the best.
    """
    handle = _kernel.problem(
        Q,
        n,
        wy,
        wt,
        binary,
        list(z_columns),
        np.array(z_in_Q, dtype=np.int32),
        [np.ascontiguousarray(f, dtype=np.int64) for f in first],
        [np.array(z, dtype=np.int32) for z in z_of_effect],
        np.ascontiguousarray(entries, dtype=np.int32),
        p,
    )
    n_effects = tuple(len(z) for z in z_of_effect)
    above = tuple(int(sum(n_effects[:k])) for k in range(len(n_effects)))
    return Problem(
        handle,
        n,
        tuple(len(f) - 1 for f in first),
        n_effects,
        above,
        p + len(entries),
        threads or cores(),
        isa,
    )


def new_nodes(problem: Problem, *, spread: bool = False) -> Nodes:
    """Memory for a placement: zero, or with ``spread`` the prior's own (m = 0, K = 0, C = I)."""
    out: Nodes = []
    for g, q, d in zip(problem.n_units, problem.n_effects, problem.n_above, strict=True):
        C = np.zeros((g, q, q))
        if spread:
            C[:] = np.eye(q)
        out.append([np.zeros((g, q)), np.zeros((g, q, d)), C])
    return out


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the kernel found at one parameter vector and one placement of nodes.

    ``score`` (P,) and ``hessian`` (P, P) are derivatives of ``loglik`` in (beta, entries of Lambda) with the nodes
    held fixed in u. ``ok`` is False where the log-likelihood was not finite.
    """

    ok: bool
    loglik: float
    score: FloatArray
    hessian: FloatArray
    cluster_loglik: FloatArray
    cluster_score: FloatArray | None = None
    next_nodes: Nodes | None = None
    means: list[FloatArray] | None = None  # (G_l, q_l) posterior mean of u
    covs: list[FloatArray] | None = None  # (G_l, q_l, q_l) posterior covariance of u
    bar: Nodes | None = None  # derivative of loglik in the placement


def evaluate(
    problem: Problem,
    eta0: FloatArray,
    Lambda: Sequence[FloatArray],
    rules: Sequence[Rule],
    nodes: Nodes,
    *,
    score: bool = True,
    information: bool = True,
    clusters: bool = False,
    moments: bool = False,
    placement: bool = False,
    drop: float = 0.0,
) -> Evaluation:
    """Log-likelihood and what else is asked for, at given nodes.

    Parameters
    ----------
    eta0 : (n + 8,)
        Offset + X beta, and 8 unused numbers.
    Lambda : per level, (q_l, q_l)
    rules : per level
    nodes : per level
    clusters, moments, placement : bool
        Also the score of every top-level cluster; posterior moments and the placement from them; the derivative of
        the log-likelihood in the placement.
    drop : float
        With one effect per group at the lowest level: nodes there run from -1 to 1 over the range in which the log
        integrand is within ``drop`` of its top, found for every group and every choice of nodes above.
    """
    P = problem.n_parameters
    total = np.empty(1 + P + P * P)
    cluster_loglik = np.empty(problem.n_units[0])
    cluster_score = np.empty((problem.n_units[0], P)) if clusters else None
    next_nodes = new_nodes(problem) if moments else None
    mean_cov = (
        [[np.empty((g, q)), np.empty((g, q, q))] for g, q in zip(problem.n_units, problem.n_effects, strict=True)]
        if moments
        else None
    )
    bar = new_nodes(problem) if placement else None
    status = _kernel.evaluate(
        problem.handle,
        eta0,
        list(Lambda),
        list(rules),
        nodes,
        total,
        cluster_loglik,
        cluster_score,
        score,
        information,
        drop,
        (next_nodes, mean_cov) if moments else None,
        bar,
        problem.threads,
        problem.isa,
    )
    check_memory(status)
    return Evaluation(
        ok=status == 0,
        loglik=float(total[0]) if status == 0 else -np.inf,
        score=total[1 : 1 + P],
        hessian=total[1 + P :].reshape(P, P),
        cluster_loglik=cluster_loglik,
        cluster_score=cluster_score,
        next_nodes=next_nodes,
        means=None if mean_cov is None else [m for m, _ in mean_cov],
        covs=None if mean_cov is None else [c for _, c in mean_cov],
        bar=bar,
    )


def modes(
    problem: Problem,
    eta0: FloatArray,
    Lambda: Sequence[FloatArray],
    start: Nodes,
    *,
    tolerance: float = 1e-20,
    max_iterations: int = 200,
    drop: float = 0.0,
) -> tuple[bool, Nodes, FloatArray | None]:
    """Joint posterior mode and the chain that the curvature there defines.

    Parameters
    ----------
    start : placement
        Its ``m`` are the starting values; it is not changed.
    tolerance : float
        Stop when the Newton decrement (squared length of the step in posterior standard deviations) is below it.
    drop : float
        With one effect per group at the lowest level: also return where the log integrand has fallen by this much,
        (G, 2), given the modes above.

    Returns
    -------
    ok, nodes, extent
    """
    nodes = [[m.copy(), np.empty_like(K), np.empty_like(C)] for m, K, C in start]
    extent = np.empty((problem.n_units[-1], 2)) if drop > 0 else None
    status = _kernel.modes(
        problem.handle,
        eta0,
        list(Lambda),
        nodes,
        tolerance,
        max_iterations,
        drop,
        extent,
        problem.threads,
        problem.isa,
    )
    check_memory(status)
    return status == 0, nodes, extent


def movement(
    problem: Problem,
    eta0: FloatArray,
    Lambda: Sequence[FloatArray],
    nodes: Nodes,
    bar: Nodes,
    cluster_score: FloatArray | None = None,
) -> FloatArray:
    """What the movement of mode-and-curvature nodes adds to the score (P,); adds to ``cluster_score`` in place."""
    total = np.empty(problem.n_parameters)
    status = _kernel.movement(
        problem.handle, eta0, list(Lambda), nodes, bar, total, cluster_score, problem.threads, problem.isa
    )
    check_memory(status)
    return total


def fixed_effects(problem: Problem, eta0: FloatArray, p: int) -> tuple[bool, float, FloatArray, FloatArray]:
    """Log-likelihood, score (p,) and Hessian (p, p) of the model without random effects."""
    total = np.empty(1 + p + p * p)
    status = _kernel.fixed_effects(problem.handle, eta0, total, problem.threads, problem.isa)
    check_memory(status)
    return status == 0, float(total[0]), total[1 : 1 + p], total[1 + p :].reshape(p, p)


def logistic(x: FloatArray, isa: str = "") -> tuple[FloatArray, FloatArray]:
    """Exp(-|x|) and log(1 + exp(-|x|)) by the kernel's own vector functions, for tests and benchmarks."""
    x = np.ascontiguousarray(x, dtype=np.float64)
    e, log1p = np.empty_like(x), np.empty_like(x)
    _kernel.logistic(x, e, log1p, isa)
    return e, log1p


def check_memory(status: int) -> None:
    """Raise where the kernel could not allocate."""
    if status == _NO_MEMORY:
        raise ModelError(
            "There is not enough memory for the quadrature of this model. Ask for fewer points (intpoints=), or use "
            'method="laplace".'
        )
