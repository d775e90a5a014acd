r"""What each row, and each group, does to the estimates: one exact Newton step without refitting.

Without a row the likelihood of its top-level group is $L_{-i} = L \cdot E[1 / p(y_i | u)]$, the mean over the
posterior of the random effects. Its score and Hessian at the estimates are those of the posterior reweighted by
$1 / p(y_i | u)$, so that one Newton step from the full estimates to those without the row,
$\psi_{-i} - \psi = A_{-i}^{-1} s_{-i}$, uses the exact score and the exact information of the remaining data. A group
is taken away in the same way, by $1 / p(y_g | u_{above})$; a top-level group simply by its own score and information.

References
----------
Cook, R. D. (1977). Technometrics 19, 15-18.
Pregibon, D. (1981). Ann. Statist. 9, 705-724.
Xiang, L., Tse, S.-K. and Lee, A. H. (2002). Comput. Statist. Data Anal. 40, 759-774.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.diagnostics.derivatives import Derivatives, derivatives, in_pieces
from melogit.diagnostics.paths import Spread, Tree, grow, portions, spread_out
from melogit.fit.types import Fit
from melogit.likelihood.covariance import CovarianceMap, reported_variances

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Deleted:
    """How score and Hessian of the log-likelihood change at the estimates when a unit is left out.

    Attributes
    ----------
    score : (N, P)
    hessian : (N, P, P)
    loglik : (N,)
        Log probability of the unit's outcomes given all other data.
    """

    score: FloatArray
    hessian: FloatArray
    loglik: FloatArray


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of every row given all data.

    Attributes
    ----------
    deleted : Deleted
    eta : (n,)
        Posterior mean of the linear predictor.
    eta_variance : (n,)
        Its posterior variance at the estimates.
    eta_slope : (n, P)
        Derivative of the posterior mean in (beta, theta).
    others : (n,)
        Probability of an event given the outcomes of all other rows.
    others_variance : (n,)
        Of that probability, over the random effects.
    """

    deleted: Deleted
    eta: FloatArray
    eta_variance: FloatArray
    eta_slope: FloatArray
    others: FloatArray
    others_variance: FloatArray


@dataclass(frozen=True, slots=True)
class Deletions:
    """All deletions of a fit: rows in the order of the design, groups in the order of the factor's levels."""

    rows: Rows | None
    groups: tuple[Deleted, ...]


def delete_each(design: Design, fit: Fit, *, rows: bool = True, threads: int | None = None) -> Deletions:
    """Leave out every group of every level, and every row, one at a time.

    Parameters
    ----------
    rows : bool
        Also the rows; groups alone take less time.

    Raises
    ------
    ModelError
        Crossed groups, too many random effects, a fit without a finite maximum.
    """
    tree = grow(design, fit, threads=threads)
    levels, P = len(tree.Lambda), tree.n_parameters
    sizes = [len(unit) for unit in tree.unit_of_code]
    groups = [Deleted(np.empty((G, P)), np.empty((G, P, P)), np.empty(G)) for G in sizes]
    n = design.n_rows
    alone = Deleted(np.empty((n, P)), np.empty((n, P, P)), np.empty(n)) if rows else None
    eta, eta_variance, eta_slope = np.empty(n), np.empty(n), np.empty((n, P))
    others, others_variance = np.empty(n), np.empty(n)
    for at in portions(tree):
        spread = spread_out(tree, at)
        found = derivatives(tree, spread)
        for level in range(levels):
            _put(groups[level], np.arange(sizes[level])[at.units[level]], _without_groups(spread, found, level))
        if alone is not None:
            where = tree.order[at.rows]
            _put(alone, where, _without_rows(tree, spread, found))
            eta[where], eta_variance[where], eta_slope[where] = _predictor(spread, found)
            others[where], others_variance[where] = _by_others(spread)
    return Deletions(
        None if alone is None else Rows(alone, eta, eta_variance, eta_slope, others, others_variance),
        tuple(
            Deleted(part.score[units], part.hessian[units], part.loglik[units])
            for part, units in zip(groups, tree.unit_of_code, strict=True)
        ),
    )


def _put(into: Deleted, where: NDArray[np.int64], part: Deleted) -> None:
    into.score[where], into.hessian[where], into.loglik[where] = part.score, part.hessian, part.loglik


def _without_groups(spread: Spread, found: Derivatives, level: int) -> Deleted:
    """Leave out each group of a level."""
    if level == 0:
        loglik = spread.evidence[0][:, 0]
        return Deleted(-found.mean_score[0][:, 0], -found.mean_hessian[0][:, 0], loglik)
    parent, top = spread.parents[level], _top_of(spread, level)
    weight, loglik = _reweighted(spread.joint[level - 1][parent], spread.evidence[level])
    rest = found.score[level - 1][parent] - found.mean_score[level]
    score = np.einsum("gk,gkp->gp", weight, rest)
    hessian = np.einsum("gk,gkpq->gpq", weight, found.hessian[level - 1][parent] - found.mean_hessian[level])
    hessian += (weight[:, :, None] * rest).transpose(0, 2, 1) @ rest - score[:, :, None] * score[:, None, :]
    return Deleted(score - found.mean_score[0][top, 0], hessian - found.mean_hessian[0][top, 0], loglik)


def _top_of(spread: Spread, level: int) -> NDArray[np.int64]:
    """Top-level group of every group of a level (the level after the last: of every row)."""
    group = np.arange(len(spread.parents[level]))
    for between in range(level, 0, -1):
        group = spread.parents[between][group]
    return group


def _reweighted(joint: FloatArray, log_probability: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Posterior weights without the unit, and the unit's log probability given everything else."""
    with np.errstate(divide="ignore"):
        log_weight = np.log(joint) - log_probability
    top = log_weight.max(axis=1, keepdims=True)
    weight = np.exp(log_weight - top)
    total = weight.sum(axis=1, keepdims=True)
    return weight / total, -(top + np.log(total))[:, 0]


def _without_rows(tree: Tree, spread: Spread, found: Derivatives) -> Deleted:
    """Leave out each row."""
    at, P = spread.at.rows, tree.n_parameters
    group, top = spread.parents[-1], _top_of(spread, len(spread.parents) - 1)
    weight, loglik = _reweighted(spread.joint[-1][group], spread.logp)
    y, trials, weights = tree.y[at, None], tree.trials[at, None], tree.weights[at, None]
    residual = weights * (y - trials * spread.mu)
    variance = weights * trials * spread.mu * (1 - spread.mu)
    by_residual, by_square = weight * residual, weight * (residual**2 + variance)
    n, F = len(weight), found.factors.shape[2]
    mean, second = np.empty((n, P)), np.empty((n, P, P))
    own, cross, square = np.empty((n, F)), np.empty((n, P, F)), np.empty((n, F, F))
    ends = np.append(spread.starts[-1], n)
    for g in range(len(ends) - 1):
        part, score, factors = slice(ends[g], ends[g + 1]), found.score[-1][g], found.factors[g]
        both = found.hessian[-1][g] + score[:, :, None] * score[:, None, :]
        mean[part] = weight[part] @ score
        second[part] = in_pieces(weight[part], both.reshape(-1, P * P)).reshape(-1, P, P)
        own[part] = by_residual[part] @ factors
        mixed = (score[:, :, None] * factors[:, None, :]).reshape(-1, P * F)
        cross[part] = in_pieces(by_residual[part], mixed).reshape(-1, P, F)
        squares = (factors[:, :, None] * factors[:, None, :]).reshape(-1, F * F)
        square[part] = in_pieces(by_square[part], squares).reshape(-1, F, F)
    score = mean - (own[:, None, :] @ found.lift)[:, 0]
    crossed = cross @ found.lift
    hessian = second - crossed - crossed.transpose(0, 2, 1)
    hessian += found.lift.transpose(0, 2, 1) @ (square @ found.lift) - score[:, :, None] * score[:, None, :]
    return Deleted(score - found.mean_score[0][top, 0], hessian - found.mean_hessian[0][top, 0], loglik)


def _predictor(spread: Spread, found: Derivatives) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Posterior mean and variance of each row's linear predictor, and the mean's derivative in the parameters."""
    group = spread.parents[-1]
    weight = spread.joint[-1][group]
    mean = (weight * spread.eta).sum(axis=1)
    deviation = weight * (spread.eta - mean[:, None])
    variance = (deviation * spread.eta).sum(axis=1)
    slope = np.empty((len(mean), found.lift.shape[2]))
    direct = np.empty((len(mean), found.factors.shape[2]))
    ends = np.append(spread.starts[-1], len(mean))
    for g in range(len(ends) - 1):
        part = slice(ends[g], ends[g + 1])
        slope[part] = deviation[part] @ found.score[-1][g]
        direct[part] = weight[part] @ found.factors[g]
    return mean, variance, slope + (direct[:, None, :] @ found.lift)[:, 0]


def _by_others(spread: Spread) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of each row's probability given the outcomes of all other rows."""
    weight, _ = _reweighted(spread.joint[-1][spread.parents[-1]], spread.logp)
    mean = (weight * spread.mu).sum(axis=1)
    return mean, np.maximum((weight * spread.mu**2).sum(axis=1) - mean**2, 0.0)


# ------------------------------------------------------------------------------------------------- what follows


@dataclass(frozen=True, slots=True)
class Moved:
    """Estimates without each unit.

    Attributes
    ----------
    change : (N, p + m)
        Estimate without the unit minus estimate with all data, variances on their own scale; NaN at a boundary.
    cook_fixed, cook_variance : (N,)
        Cook's distance of the fixed effects, and of the variance parameters: the squared change in the metric of the
        covariance matrix of the estimates, per parameter.
    dfbetas : (N, p + m)
        The change in standard errors (of the full fit), with the sign of what the unit does: full minus without.
    n_fixed : int
    """

    change: FloatArray
    cook_fixed: FloatArray
    cook_variance: FloatArray
    dfbetas: FloatArray
    n_fixed: int


def one_step(fit: Fit, deleted: Deleted) -> FloatArray:
    """Newton step in (beta, theta) to the estimates without each unit, (N, P); 0 for parameters at a boundary."""
    free = np.flatnonzero(np.isfinite(np.diag(fit.cov_theta)))
    information = np.linalg.inv(fit.cov_theta[np.ix_(free, free)])
    scale = 1.0 / np.sqrt(np.diag(information))
    without = (information - deleted.hessian[:, free[:, None], free]) * scale[:, None] * scale
    score = deleted.score[:, free] * scale
    eigen, basis = np.linalg.eigh(without)
    # Where what is left bends the wrong way, a step in that direction means nothing: it is taken by the full data's.
    floor = 0.05 * np.linalg.eigvalsh(information * scale[:, None] * scale)[0]
    along = np.einsum("nij,ni->nj", basis, score) / np.maximum(eigen, floor)
    out = np.zeros_like(deleted.score)
    out[:, free] = np.einsum("nij,nj->ni", basis, along) * scale
    return out


def moved(fit: Fit, covariance: CovarianceMap, step: FloatArray) -> Moved:
    """Changes of the reported parameters, Cook's distances and DFBETAS of steps in (beta, theta) (N, P)."""
    p = fit.n_fixed
    change = step.copy()
    base = reported_variances(covariance, fit.theta)[0]
    for k in range(len(step)):
        change[k, p:] = reported_variances(covariance, fit.theta + step[k, p:])[0] - base
    return measured(fit, change)


def measured(fit: Fit, change: FloatArray) -> Moved:
    """Cook's distances and DFBETAS of changes of the reported parameters, (N, p + m)."""
    se = np.sqrt(np.diag(fit.cov))
    change = np.where(np.isfinite(se), change, np.nan)
    p = fit.n_fixed
    fixed, variance = np.arange(p), np.arange(p, len(se))
    with np.errstate(divide="ignore", invalid="ignore"):
        dfbetas = -change / se
    return Moved(change, _cook(fit, change, fixed), _cook(fit, change, variance), dfbetas, p)


def _cook(fit: Fit, change: FloatArray, block: NDArray[np.int64]) -> FloatArray:
    block = block[np.isfinite(np.diag(fit.cov)[block])]
    if not len(block):
        return np.full(len(change), np.nan)
    part = change[:, block]
    return np.einsum("ni,ni->n", part, np.linalg.solve(fit.cov[np.ix_(block, block)], part.T).T) / len(block)
