r"""Score and information of every top-level group given any path of nodes, from the bottom up and down again.

With the complete-data score $s$ and Hessian $h$ of a group given a path, its lower nodes averaged over, Fisher's and
Louis' identities read $t = E[s]$ and $H = E[h] + \mathrm{Cov}[s]$, level by level.

References
----------
Louis, T. A. (1982). J. R. Statist. Soc. B 44, 226-233.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics.paths import Spread, Tree

FloatArray = NDArray[np.float64]
ALONE = 250_000  # multiplications of one product; OpenBLAS takes several threads from 262,144 on


@dataclass(frozen=True, slots=True)
class Derivatives:
    """Derivatives of the log-likelihood of one portion in (beta, theta).

    Attributes
    ----------
    mean_score : per level, (G_l, k_{l-1}, P)
        Of the group alone, given the path above it.
    mean_hessian : per level, (G_l, k_{l-1}, P, P)
    score : per level, (G_l, k_l, P)
        Of the whole top-level group, given the path down to this group.
    hessian : per level, (G_l, k_l, P, P)
    factors : (G_L, k_L, 1 + E)
        1 and the effect u that each free entry of Lambda multiplies, at the lowest level.
    lift : (n, 1 + E, P)
        Derivative of a row's linear predictor in the parameters = factors @ lift.
    """

    mean_score: tuple[FloatArray, ...]
    mean_hessian: tuple[FloatArray, ...]
    score: tuple[FloatArray, ...]
    hessian: tuple[FloatArray, ...]
    factors: FloatArray
    lift: FloatArray


def derivatives(tree: Tree, spread: Spread) -> Derivatives:
    """Work out all derivatives of a portion."""
    levels, P = len(tree.Lambda), tree.n_parameters
    factors, lift = _factors(tree, spread), _lift(tree, spread)
    score, hessian = _of_lowest(tree, spread, factors)
    scores, hessians, mean_scores, mean_hessians = [score], [hessian], [], []
    for level in range(levels - 1, -1, -1):
        G, k = spread.own[level].shape
        above = spread.evidence[level].shape[1]
        weight = spread.own[level].reshape(G, above, k // above, 1)
        split = scores[0].reshape(G, above, -1, P)
        t = (weight * split).sum(axis=2)
        second = (weight * split).transpose(0, 1, 3, 2) @ split
        H = (weight * hessians[0].reshape(G, above, -1, P * P)).sum(axis=2).reshape(G, above, P, P)
        H += second - t[:, :, :, None] * t[:, :, None, :]
        mean_scores.insert(0, t)
        mean_hessians.insert(0, H)
        if level:
            scores.insert(0, np.add.reduceat(t, spread.starts[level - 1], axis=0))
            hessians.insert(0, np.add.reduceat(H, spread.starts[level - 1], axis=0))
    for level in range(1, levels):  # and down again: what the rest of the top-level group adds
        times = spread.own[level].shape[1] // spread.evidence[level].shape[1]
        parent = spread.parents[level]
        scores[level] = scores[level] + np.repeat(scores[level - 1][parent] - mean_scores[level], times, axis=1)
        rest = hessians[level - 1][parent] - mean_hessians[level]
        hessians[level] = hessians[level] + np.repeat(rest, times, axis=1)
    return Derivatives(tuple(mean_scores), tuple(mean_hessians), tuple(scores), tuple(hessians), factors, lift)


def _factors(tree: Tree, spread: Spread) -> FloatArray:
    """1 and u of every free entry of Lambda, for the paths of the lowest groups."""
    lowest = len(tree.Lambda) - 1
    G, k = spread.own[lowest].shape
    out = np.ones((G, k, 1 + len(tree.covariance.entries)))
    for level in range(lowest + 1):
        group = np.arange(G)
        for between in range(lowest, level, -1):
            group = spread.parents[between][group]
        times = k // spread.u[level].shape[1]
        values = np.repeat(spread.u[level][group], times, axis=1) if times > 1 else spread.u[level][group]
        for e, (entry_level, _, j) in enumerate(tree.covariance.entries):
            if entry_level == level:
                out[:, :, 1 + e] = values[:, :, j]
    return out


def _columns(tree: Tree) -> list[int]:
    """The column of Q that each free entry of Lambda multiplies."""
    starts = tree.p + np.concatenate([[0], np.cumsum([L.shape[0] for L in tree.Lambda])])
    return [int(starts[level] + i) for level, i, _ in tree.covariance.entries]


def _lift(tree: Tree, spread: Spread) -> FloatArray:
    Q = tree.Q[spread.at.rows]
    out = np.zeros((len(Q), 1 + len(tree.covariance.entries), tree.n_parameters))
    out[:, 0, : tree.p] = Q[:, : tree.p]
    out[:, 1:, tree.p :] = Q[:, _columns(tree), None] * tree.covariance.basis
    return out


def _of_lowest(tree: Tree, spread: Spread, factors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Complete-data score (G, k, P) and Hessian (G, k, P, P) of the lowest groups at every path."""
    rows = spread.at.rows
    p, E = tree.p, len(tree.covariance.entries)
    q = tree.Q[rows][:, [*range(p), *_columns(tree)]]
    y, trials, weights = tree.y[rows, None], tree.trials[rows, None], tree.weights[rows, None]
    residual = weights * (y - trials * spread.mu)
    variance = weights * trials * spread.mu * (1 - spread.mu)
    G, k = spread.own[-1].shape
    i, j = np.triu_indices(p + E)
    sums, squares = np.empty((G, k, p + E)), np.empty((G, k, len(i)))
    ends = np.append(spread.starts[-1], len(q))
    for g in range(G):
        part = slice(ends[g], ends[g + 1])
        sums[g] = in_pieces(residual[part].T, q[part])
        squares[g] = in_pieces(variance[part].T, q[part][:, i] * q[part][:, j])
    times = np.ones((G, k, p + E))  # derivative of what multiplies each column in Lambda's entry
    times[:, :, p:] = factors[:, :, 1:]
    squares *= -times[:, :, i] * times[:, :, j]
    hessian = np.empty((G, k, p + E, p + E))
    hessian[:, :, i, j] = squares
    hessian[:, :, j, i] = squares
    score = sums * times
    basis = tree.covariance.basis
    if basis.shape == (E, E) and np.array_equal(basis, np.eye(E)):
        return score, hessian
    lift = np.zeros((p + E, tree.n_parameters))
    lift[:p, :p], lift[p:, p:] = np.eye(p), basis
    return score @ lift, lift.T @ hessian @ lift


def in_pieces(A: FloatArray, B: FloatArray) -> FloatArray:
    """``A @ B``, a few rows of A at a time: too little for BLAS to start threads, which cost more than they save."""
    step = max(1, ALONE // max(B.size, 1))
    if step >= len(A):
        return A @ B
    out = np.empty((len(A), B.shape[1]))
    for begin in range(0, len(A), step):
        np.matmul(A[begin : begin + step], B, out=out[begin : begin + step])
    return out
