r"""Less noise in a sampled score: subtract what is known to be 0 on average.

Let t be the score of the posterior density of u1 in u1 itself. Its posterior mean is 0, and that of t_k u_k is -1
(integration by parts). Multiples of t and of t_k u_k + 1 can therefore be taken out of the score of the parameters
without changing its mean, and the right multiples take out nearly all of its noise.

References
----------
Oates, C. J., Girolami, M. and Chopin, N. (2017). J. R. Statist. Soc. B 79, 695-718 (such control functionals).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from melogit import kernel
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.covariance import lambdas
from melogit.likelihood.crossed import Mode

FloatArray = NDArray[np.float64]

# A Lambda with a worse condition is not inverted: its entries' noise stays.
WORST_CONDITION = 1e4


@dataclass(frozen=True, slots=True)
class Entry:
    """What is taken out of the score of one theta, for one entry (a, b) of a Lambda."""

    theta: int
    effects: NDArray[np.int64]  # (G, q) effects of the rest
    row: FloatArray  # (q,) row a of Lambda^-T
    b: int


@dataclass(frozen=True, slots=True)
class Controls:
    """Multiples prepared at one parameter vector.

    Attributes
    ----------
    by_effect : (N, p)
        Of t, for the fixed effects.
    share : (N,)
        Of t_k u_k + 1, for the entries of Lambda.
    entries : tuple of Entry
    n_theta : int
    """

    by_effect: FloatArray
    share: FloatArray
    entries: tuple[Entry, ...]
    n_theta: int


def prepare(crossed: Crossed, x: FloatArray, mode: Mode, u1: FloatArray, variance: FloatArray) -> Controls:
    """Choose the multiples that are best where the posterior is Gaussian.

    For t_k u_k + 1, with posterior mean m (``u1``) and variance s (``variance``) of u_k: the score of a standard
    deviation is proportional to u (t + u), and 1 - s (2 m^2 + 2 s) / (m^2 + 2 s) times t u takes out most of its
    variance.
    """
    problem, curvature = crossed.problem, mode.curvature
    by_effect = np.empty((problem.rest, crossed.p))
    for j in range(crossed.p):
        weighted = mode.rows.weight * crossed.X[:, j]
        x0, x1 = crossed.gathered(weighted[:, None] * curvature.A)
        kernel.crossed_sweep(problem, curvature.A, curvature.factor, x0, x1, forward=True)
        by_effect[:, j] = kernel.solve_dense(curvature.rest, x1, problem.isa)
    share = 1 - variance * (2 * u1**2 + 2 * variance) / (u1**2 + 2 * variance)
    entries = []
    Lambda = lambdas(crossed.covariance, x[crossed.p :])
    for (level, a, b), row in zip(crossed.covariance.entries, crossed.covariance.basis, strict=True):
        L = Lambda[level]
        if level == crossed.eliminated or np.linalg.cond(L) > WORST_CONDITION:
            continue
        start, size = crossed.starts[level], crossed.levels[level] * len(L)
        effects = np.arange(start, start + size).reshape(-1, len(L))
        entries += [Entry(int(t), effects, np.linalg.inv(L).T[a], int(b)) for t in np.flatnonzero(row)]
    return Controls(by_effect, share, tuple(entries), crossed.m)


def at_draw(controls: Controls, u1: FloatArray, slope: FloatArray) -> FloatArray:
    """What is 0 on average, per parameter and effect, at the draw ``u1`` where t is ``slope``: (p + m, N)."""
    theta = np.zeros((controls.n_theta, len(u1)))
    for entry in controls.entries:
        own = controls.share[entry.effects] * slope[entry.effects] * u1[entry.effects[:, [entry.b]]]
        own[:, entry.b] += controls.share[entry.effects[:, entry.b]]
        theta[entry.theta][entry.effects] += own * entry.row
    return np.concatenate([controls.by_effect.T * slope, theta])


def by_component(labels: NDArray[np.int64], components: int, values: FloatArray) -> FloatArray:
    """Sums over columns: (S, k) -> (S, components)."""
    if components == 1:
        return values.sum(axis=1)[:, None]
    of = csr_array((np.ones(len(labels)), (np.arange(len(labels)), labels)), shape=(len(labels), components))
    return values @ of


def effect_scores(crossed: Crossed, A: FloatArray, residual: FloatArray) -> FloatArray:
    """Score of the rows in the effects of the rest, (N,)."""
    problem = crossed.problem
    out = np.zeros(problem.rest)
    for k in range(problem.r):
        out += np.bincount(crossed.column[:, k], weights=A[:, problem.q + k] * residual, minlength=problem.rest)
    return out
