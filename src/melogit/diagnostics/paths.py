r"""A fit's posterior over the random effects, node by node, so that any part of the data can be taken away from it.

Every top-level group has nodes for its own effects, every group below it nodes for each choice of nodes above: a path
is one choice per level. Given a path, all that hangs below different groups is independent, so sums over rows and
means over lower nodes are enough to know the log-likelihood, its score and its information with any one row or group
left out: the path's posterior weight is divided by the probability of what is left out, and its score is taken from
the complete-data score (Fisher's and Louis' identities).

Letters: ``c`` top-level groups in a portion, ``G_l`` groups of level ``l`` there, ``n_l`` nodes per group of level
``l``, ``k_l`` = n_1 ... n_l paths down to level ``l``, ``P`` parameters (beta, theta).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.integrate import evaluate_on, place
from melogit.fit.types import Fit
from melogit.inference.summit import return_to
from melogit.kernel import Nodes
from melogit.likelihood.arrange import Nested
from melogit.likelihood.covariance import CovarianceMap, lambdas
from melogit.likelihood.quadrature import gauss_hermite

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Gauss-Hermite points per dimension at the lowest level and above it, by the number of random effects of a row. What is
# left out widens the posterior, so there are more points than the likelihood itself needs; the groups of upper levels
# have more rows, and posteriors closer to normal ones.
POINTS = {1: (31, 0), 2: (17, 13), 3: (11, 7), 4: (7, 5), 5: (5, 5), 6: (3, 3), 7: (3, 3)}
# Rows x paths x parameters that are held at a time.
PORTION = 1_500_000


@dataclass(frozen=True, slots=True)
class Tree:
    """Rows in the order of the groups, in the user's units, with the nodes of every group.

    Attributes
    ----------
    order : (n,)
        Row of the design that each row here is.
    first : per level, (G_l + 1,)
        First child (group of the next level, or row) of each group.
    unit_of_code : per level, (G_l,)
        Position here of each group of the design.
    Q : (n, C)
        X and then the Z of every level.
    eta : (n,)
        Offset and fixed part.
    y, trials, weights : (n,)
    nodes : per level (m, K, C)
        Chain of posterior means and covariances of u.
    points : per level
        Gauss-Hermite points per dimension.
    Lambda : per level, (q, q)
    covariance : CovarianceMap
    p : int
    """

    order: IntArray
    first: tuple[IntArray, ...]
    unit_of_code: tuple[IntArray, ...]
    Q: FloatArray
    eta: FloatArray
    y: FloatArray
    trials: FloatArray
    weights: FloatArray
    nodes: Nodes
    points: tuple[int, ...]
    Lambda: tuple[FloatArray, ...]
    covariance: CovarianceMap
    p: int

    @property
    def n_parameters(self) -> int:
        """``P``."""
        return self.p + self.covariance.m


@dataclass(frozen=True, slots=True)
class Portion:
    """Whole top-level groups: the rows ``rows`` and the groups ``units`` of every level."""

    rows: slice
    units: tuple[slice, ...]


def grow(design: Design, fit: Fit, *, threads: int | None = None) -> Tree:
    """Arrange a fit's rows and nodes.

    Raises
    ------
    ModelError
        Crossed groups; more random effects per row than can be put on a grid; infinite coefficients.
    """
    if not design.nested:
        raise ModelError(
            "Deletion without refitting takes the integral of each top-level group by itself, and crossed groups have "
            "no such integrals. Use exact=True, which refits the model without each group."
        )
    effects = sum(len(term.names) for term in design.terms)
    if effects not in POINTS:
        raise ModelError(
            f"Every row has {effects} random effects, too many for a grid of nodes (at most {max(POINTS)}). "
            "Use exact=True, which refits the model without each group."
        )
    summit = return_to(design, fit, threads=threads)
    nested = summit.nested
    grid = place(nested, summit.by, summit.x, summit.placed.nodes)
    nodes = summit.placed.nodes
    if grid is not None and summit.by.method != "laplace":
        found = evaluate_on(nested, summit.by, summit.x, grid, information=False, moments=True).evaluation
        nodes = found.next_nodes if found.ok and found.next_nodes is not None else nodes
    order = nested.order
    X = design.X[order]
    Q = np.hstack([X, *(term.Z[order] for term in design.terms)])
    return Tree(
        order=order,
        first=_children(nested, design),
        unit_of_code=nested.unit_of_code,
        Q=Q,
        eta=design.offset[order] + X @ fit.params[: fit.n_fixed],
        y=design.y[order],
        trials=design.trials[order],
        weights=design.weights[order],
        nodes=nodes,
        points=(*(POINTS[effects][1],) * (len(design.terms) - 1), POINTS[effects][0]),
        Lambda=tuple(lambdas(nested.covariance, fit.theta)),
        covariance=nested.covariance,
        p=fit.n_fixed,
    )


def _children(nested: Nested, design: Design) -> tuple[IntArray, ...]:
    first = []
    for level, term in enumerate(design.terms):
        below = (
            nested.parents[level + 1]
            if level + 1 < len(design.terms)
            else nested.unit_of_code[level][term.factor.codes[nested.order]]
        )
        first.append(np.searchsorted(below, np.arange(term.factor.n_levels + 1)))
    return tuple(np.asarray(f, dtype=np.int64) for f in first)


def portions(tree: Tree) -> Iterator[Portion]:
    """Runs of whole top-level groups, few enough rows at a time to fit in memory."""
    row_of = [tree.first[-1]]
    for first in tree.first[-2::-1]:
        row_of.insert(0, row_of[0][first])
    paths = np.prod([float(k) ** L.shape[0] for k, L in zip(tree.points, tree.Lambda, strict=True)])
    most = max(1.0, PORTION / (paths * (tree.n_parameters + 4)))
    top = row_of[0]
    begin = 0
    while begin < len(top) - 1:
        end = max(begin + 1, int(np.searchsorted(top, top[begin] + most, side="right")) - 1)
        units, low, high = [], begin, end
        for first in tree.first:
            units.append(slice(low, high))
            low, high = int(first[low]), int(first[high])
        yield Portion(slice(low, high), tuple(units))
        begin = end


@dataclass(frozen=True, slots=True)
class Spread:
    """The posterior of one portion, path by path.

    Attributes
    ----------
    at : Portion
    parents : per level, (G_l,)
        Group of the level above, counted within the portion; for the level after the last, the group of every row.
    starts : per level, (G_l,)
        First child, counted within the portion.
    u : per level, (G_l, k_l, q_l)
    eta, mu, logp : (n, k_L)
        Linear predictor, probability, and log probability of the row's outcome (without binomial coefficient).
    own : per level, (G_l, k_l)
        Weight of each node given those above.
    joint : per level, (G_l, k_l)
        Posterior probability of each path.
    evidence : per level, (G_l, k_{l-1})
        Log probability of all data of the group given the path above (k_0 = 1).
    """

    at: Portion
    parents: tuple[IntArray, ...]
    starts: tuple[IntArray, ...]
    u: tuple[FloatArray, ...]
    eta: FloatArray
    mu: FloatArray
    logp: FloatArray
    own: tuple[FloatArray, ...]
    joint: tuple[FloatArray, ...]
    evidence: tuple[FloatArray, ...]


def spread_out(tree: Tree, at: Portion) -> Spread:
    """Put nodes into the groups of a portion and weigh all paths."""
    levels = len(tree.Lambda)
    parents, starts = _kinship(tree, at)
    u, log_prior, eta = _nodes(tree, at, parents)
    y, trials, weights = tree.y[at.rows, None], tree.trials[at.rows, None], tree.weights[at.rows, None]
    logp = weights * (y * eta - trials * np.logaddexp(0.0, eta))
    below = logp
    own: list[FloatArray] = []
    evidence: list[FloatArray] = []
    for level in range(levels - 1, -1, -1):
        total = np.add.reduceat(below, starts[level], axis=0) + log_prior[level]
        G, k = total.shape
        split = total.reshape(G, -1, _nodes_of(tree, level))
        below = np.asarray(logsumexp(split, axis=2))
        own.insert(0, np.exp(split - below[:, :, None]).reshape(G, k))
        evidence.insert(0, below)
    joint = [own[0]]
    for level in range(1, levels):
        above = np.repeat(joint[-1][parents[level]], _nodes_of(tree, level), axis=1)
        joint.append(above * own[level])
    return Spread(at, parents, starts, u, eta, expit(eta), logp, tuple(own), tuple(joint), tuple(evidence))


def _nodes_of(tree: Tree, level: int) -> int:
    return tree.points[level] ** tree.Lambda[level].shape[0]


def _kinship(tree: Tree, at: Portion) -> tuple[tuple[IntArray, ...], tuple[IntArray, ...]]:
    parents: list[IntArray] = [np.zeros(at.units[0].stop - at.units[0].start, dtype=np.int64)]
    starts = []
    for first, units in zip(tree.first, at.units, strict=True):
        begin = first[units.start : units.stop + 1]
        starts.append(begin[:-1] - begin[0])
        parents.append(np.repeat(np.arange(len(begin) - 1), np.diff(begin)))
    return tuple(parents), tuple(starts)


def _nodes(
    tree: Tree, at: Portion, parents: tuple[IntArray, ...]
) -> tuple[tuple[FloatArray, ...], list[FloatArray], FloatArray]:
    """Effects u of every path, the log weight of its last node, and the linear predictor of every row."""
    u: list[FloatArray] = []
    log_prior = []
    eta = tree.eta[at.rows, None]
    above = np.zeros((1, 1, 0))  # all u above, by group of the level above and path
    centre = np.zeros((1, 0))
    column = tree.p
    for level, (L, (m, K, C)) in enumerate(zip(tree.Lambda, tree.nodes, strict=True)):
        part, q = at.units[level], L.shape[0]
        z, log_w, count = gauss_hermite(tree.points[level], q)
        z, log_w = z[:, :count], log_w[:count]
        path = above[parents[level]] if level else np.broadcast_to(above, (part.stop - part.start, 1, 0))
        middle = m[part][:, None, :] + np.einsum("gij,gkj->gki", K[part], path - _centre(centre, parents, level))
        step = np.einsum("gij,jn->gni", C[part], z)
        values = (middle[:, :, None, :] + step[:, None, :, :]).reshape(len(m[part]), -1, q)
        size = np.log(np.abs(np.linalg.det(C[part])))[:, None]
        log_prior.append(np.tile(log_w, path.shape[1]) + size - 0.5 * np.einsum("gki,gki->gk", values, values))
        u.append(values)
        above = np.concatenate([np.repeat(path, count, axis=1), values], axis=2)
        inherited = centre[parents[level]] if level else np.zeros((len(values), 0))
        centre = np.concatenate([inherited, m[part]], axis=1)
        group = _group_of_rows(parents, level)
        b = values @ L.T
        Z = tree.Q[at.rows, column : column + q]
        part_eta = np.einsum("ni,nki->nk", Z, b[group]) if q > 1 else Z * b[group, :, 0]
        eta = np.repeat(eta, count, axis=1) + part_eta
        column += q
    return tuple(u), log_prior, eta


def _centre(centre: FloatArray, parents: tuple[IntArray, ...], level: int) -> FloatArray:
    return centre[parents[level]][:, None, :] if level else np.zeros((1, 1, 0))


def _group_of_rows(parents: tuple[IntArray, ...], level: int) -> IntArray:
    """Group of this level that every row of the portion is in."""
    group = parents[-1]
    for upper in parents[-2:level:-1]:
        group = upper[group]
    return group
