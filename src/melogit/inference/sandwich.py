r"""Robust covariance matrices: the sandwich on per-cluster scores.

$V = \frac{G}{G-1}\,A^{-1}\Big(\sum_g s_g s_g'\Big)A^{-1}$, with $A$ the observed information and $s_g$ the score of
cluster $g$, on the joint scale of coefficients and variances.

References
----------
White, H. (1982). Econometrica 50, 1-25. Rogers, W. H. (1993). Stata Technical Bulletin 13, 19-23.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, GroupingFactor
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference.summit import cluster_scores, crossed_scores, return_to
from melogit.likelihood.covariance import reported_variances

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Robust:
    """A robust covariance matrix, and what it rests on.

    Attributes
    ----------
    cov : (p + m, p + m)
        Of the reported parameters; NaN where the fit's own is.
    cov_theta : (p + m, p + m)
        Of coefficients and Cholesky entries.
    clusters : int
    cluster : str
        Name of the cluster variable.
    """

    cov: FloatArray
    cov_theta: FloatArray
    clusters: int
    cluster: str


def scores_by_group(design: Design, fit: Fit) -> FloatArray:
    """Score of every top-level group in coefficients and Cholesky entries, user's units: (G, p + m)."""
    summit = return_to(design, fit)
    return np.asarray(np.linalg.solve(summit.nested.to_user.T, cluster_scores(summit).T).T, dtype=np.float64)


def reported_scores(design: Design, fit: Fit) -> FloatArray:
    """Score of every top-level group in the reported parameters: (G, p + m), NaN for those at a boundary."""
    scores = scores_by_group(design, fit)
    p = fit.n_fixed
    free = np.isfinite(np.diag(fit.cov))
    pinned = ~np.isfinite(np.diag(fit.cov_theta))
    jacobian = _jacobian(design, fit)
    out = np.full_like(scores, np.nan)
    out[:, :p] = scores[:, :p]
    rows, columns = np.flatnonzero(free[p:]), np.flatnonzero(~pinned[p:])
    if len(rows) == len(columns):
        block = jacobian[p:, p:][np.ix_(rows, columns)]
        out[:, p + rows] = np.linalg.solve(block.T, scores[:, p + columns].T).T
    return out


def _jacobian(design: Design, fit: Fit) -> FloatArray:
    """Derivatives of the reported parameters in coefficients and Cholesky entries."""
    from melogit.likelihood.covariance import covariance_map

    p = fit.n_fixed
    jacobian = np.eye(len(fit.params))
    jacobian[p:, p:] = reported_variances(covariance_map(design.terms), fit.theta)[1]
    return jacobian


def sandwich(design: Design, fit: Fit, clusters: NDArray[np.int64] | None = None, name: str = "") -> Robust:
    """Robust covariance matrix of a fit, without refitting.

    Parameters
    ----------
    clusters : (n,) int, optional
        Cluster of every row; each top-level group must lie within one. By default the top-level groups.
    name : str
        Of the cluster variable, for messages and tables.

    Raises
    ------
    ModelError
        A top-level group is in two clusters; fewer than two clusters; crossed factors without clusters around them.
    """
    label = name or design.terms[0].factor.name
    scores = (
        _crossed_scores(design, fit, clusters, label) if not design.nested else _scores(design, fit, clusters, label)
    )
    count = len(scores)
    if count < 2:
        raise ModelError(
            f"'{label}' has a single cluster, and robust standard errors rest on differences between clusters. "
            'Use vce="oim".'
        )
    free = np.isfinite(np.diag(fit.cov_theta))
    bread = fit.cov_theta[np.ix_(free, free)]
    half = scores[:, free] @ bread
    cov_theta = np.full_like(fit.cov_theta, np.nan)
    cov_theta[np.ix_(free, free)] = count / (count - 1) * half.T @ half
    jacobian = _jacobian(design, fit)[:, free]
    cov = jacobian @ cov_theta[np.ix_(free, free)] @ jacobian.T
    gone = ~np.isfinite(np.diag(fit.cov))
    cov[gone, :] = np.nan
    cov[:, gone] = np.nan
    return Robust(cov, cov_theta, count, label)


def shared_covariance(a: Fit, b: Fit, first: Design | None, second: Design | None) -> FloatArray | None:
    """Joint covariance matrix of the parameters of two models of the same rows, (parameters of a, then of b).

    From the influence of every cluster on both, a sandwich over the two models together; the clusters are the top-level
    groups of the model whose groups hold those of the other. NaN for parameters at a boundary.

    Returns
    -------
    matrix or None
        None where there are no scores of independent clusters: without the data, with crossed groups, with infinite
        coefficients, or where the top-level groups of neither model hold those of the other.
    """
    if first is None or second is None or not (first.nested and second.nested):
        return None
    if not (a.converged and b.converged):
        return None
    top = min((first.terms[0].factor, second.terms[0].factor), key=lambda factor: factor.n_levels)
    clusters = top.codes.astype(np.int64)
    try:
        parts = [_influence(design, fit, clusters) for design, fit in ((first, a), (second, b))]
    except ModelError:  # groups that cut through each other
        return None
    both = np.hstack(parts)
    return len(both) / (len(both) - 1) * both.T @ both if len(both) > 1 else None


def _influence(design: Design, fit: Fit, clusters: NDArray[np.int64]) -> FloatArray:
    """How much every cluster moves the reported parameters, (G, p + m); NaN for those at a boundary."""
    scores = _scores(design, fit, clusters, design.terms[0].factor.name)
    free = np.isfinite(np.diag(fit.cov_theta))
    moved = scores[:, free] @ fit.cov_theta[np.ix_(free, free)] @ _jacobian(design, fit)[:, free].T
    moved[:, ~np.isfinite(np.diag(fit.cov))] = np.nan
    return moved


def _scores(design: Design, fit: Fit, clusters: NDArray[np.int64] | None, label: str) -> FloatArray:
    """Score of every cluster of nested groups, by default of every top-level group."""
    scores = scores_by_group(design, fit)
    if clusters is None:
        return scores
    top = design.terms[0].factor
    must = f"be at or above the top level of the model; '{top.name}' itself is always possible"
    of_group = cluster_of_groups(clusters, top, label, must)
    total = np.zeros((int(of_group.max()) + 1, scores.shape[1]))
    np.add.at(total, of_group, scores)
    return total[np.unique(of_group)]


def _crossed_scores(design: Design, fit: Fit, clusters: NDArray[np.int64] | None, label: str) -> FloatArray:
    """Score of every cluster around crossed groups."""
    if clusters is None:
        names = " and ".join(f"'{term.factor.name}'" for term in design.terms)
        raise ModelError(
            f"Robust standard errors rest on independent clusters, and {names} cross each other, so that neither's "
            "groups are independent. Name a variable whose clusters hold whole groups of all of them (the school, "
            'where pupils and raters stay within schools): vce="cluster", cluster="school". Without one, use '
            'vce="oim" or a parametric bootstrap.'
        )
    for term in design.terms:
        cluster_of_groups(clusters, term.factor, label, "hold whole groups of every grouping factor")
    _, codes = np.unique(clusters, return_inverse=True)
    return crossed_scores(design, fit, codes.astype(np.int64))


def cluster_of_groups(clusters: NDArray[np.int64], top: GroupingFactor, name: str, must: str) -> NDArray[np.int64]:
    """Cluster number (G,) of every group of a factor; refuses a group that lies in two."""
    low = np.full(top.n_levels, np.iinfo(np.int64).max)
    high = np.full(top.n_levels, -1)
    np.minimum.at(low, top.codes, clusters)
    np.maximum.at(high, top.codes, clusters)
    if np.any(low != high):
        first = top.levels[np.flatnonzero(low != high)[0]]
        raise ModelError(
            f"The clusters of '{name}' cut through the groups of '{top.name}': group {first} lies in several of them. "
            f"Rows of one group depend on each other, so clusters must {must}."
        )
    return low
