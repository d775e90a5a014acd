"""Influence of every row, or of every group of a level, on all estimates; and fits without some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln

from melogit.design import Design
from melogit.diagnostics.context import Context, lighter, needs_maximum, row_name
from melogit.diagnostics.crossed import delete_each_crossed
from melogit.diagnostics.deletion import Deletions, Moved, Rows, delete_each, measured, moved, one_step
from melogit.diagnostics.exact import Refits, codes_of, delete_exactly, fit_without
from melogit.effects.residuals import residuals
from melogit.fit.types import Fit
from melogit.likelihood.covariance import covariance_map

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Influenced:
    """What every unit does to the estimates.

    Attributes
    ----------
    level : int or None
        Position of the grouping factor; None for rows.
    labels : (N,) str
    moved : Moved
        Exact where ``exact``, by one Newton step elsewhere.
    exact : (N,) bool
    loglik : (N,) or None
        Log probability of the unit's outcomes given all other data; None without the one-step formulas.
    refits : Refits or None
    rows : RowMeasures or None
        For rows.
    """

    level: int | None
    labels: NDArray[np.object_]
    moved: Moved
    exact: NDArray[np.bool_]
    loglik: FloatArray | None
    refits: Refits | None
    rows: RowMeasures | None

    @property
    def order(self) -> NDArray[np.int64]:
        """Units, the most influential first."""
        return np.argsort(-overall(self.moved), kind="stable")


@dataclass(frozen=True, slots=True)
class RowMeasures:
    """What is known of single rows, (n,) each.

    Attributes
    ----------
    fitted : probability with the posterior means of the groups' effects
    leverage : share of the fitted value that the row's own outcome makes
    pearson, deviance : residuals, divided by sqrt(1 - leverage)
    own_probability : probability of the row's outcome given all other rows
    """

    fitted: FloatArray
    leverage: FloatArray
    pearson: FloatArray
    deviance: FloatArray
    own_probability: FloatArray


def overall(found: Moved) -> FloatArray:
    """Squared distance that all estimates move by, in their standard errors: both of Cook's, not divided, (N,)."""
    p = found.n_fixed
    total = np.nan_to_num(p * found.cook_fixed)
    return total + np.nan_to_num((found.change.shape[1] - p) * found.cook_variance)


def deletions(context: Context, *, rows: bool) -> Deletions:
    """One-step deletions of a fit, worked out once."""
    known = context.memory.get("deletions")
    if known is None or (rows and known.rows is None):
        needs_maximum(context.fit)
        if context.design.nested:
            known = delete_each(context.design, context.fit, rows=rows, threads=context.threads)
        else:
            known = delete_each_crossed(context.design, lighter(context).base, rows=rows)
        context.memory["deletions"] = known
    return known


def influence(context: Context, level: int | None, exact: bool | int = False) -> Influenced:
    """Measure the influence of all units of a level.

    Parameters
    ----------
    level : int or None
        Of the grouping factors; None for rows.
    exact : bool or int
        True: refit without each unit. A number: refit without each of so many most influential units.

    Raises
    ------
    ModelError
        The one-step formulas do not reach this model (many random effects), and not all units are to be refitted.
    """
    design, fit = context.design, context.fit
    N = design.n_rows if level is None else design.terms[level].factor.n_levels
    labels = unit_labels(design, level)
    all_exact = exact is True
    base, loglik, measures = None, None, None
    if not all_exact or level is None:
        found = deletions(context, rows=level is None)
        deleted = found.rows.deleted if level is None and found.rows is not None else found.groups[level or 0]
        base = moved(fit, covariance_map(design.terms), one_step(fit, deleted))
        loglik = deleted.loglik
        if found.rows is not None and level is None:
            measures = row_measures(design, fit, found.rows)
    refits = None
    done = np.zeros(N, dtype=bool)
    if exact is not False:
        units = np.arange(N) if base is None else np.argsort(-overall(base), kind="stable")[: N if all_exact else exact]
        refits = delete_exactly(context, level, [int(u) for u in units])
        change = np.full((N, len(fit.params)), np.nan) if base is None else base.change.copy()
        good = np.isfinite(refits.change).any(axis=1)
        change[units if all_exact else units[good]] = refits.change if all_exact else refits.change[good]
        done[units[good]] = True
        base = measured(fit, change)
    assert base is not None
    return Influenced(level, labels, base, done, loglik, refits, measures)


def unit_labels(design: Design, level: int | None) -> NDArray[np.object_]:
    """What the user calls the units of a level (None: rows)."""
    if level is not None:
        return design.terms[level].factor.levels
    return np.array([row_name(design, i) for i in range(design.n_rows)], dtype=object)


def row_measures(design: Design, fit: Fit, rows: Rows) -> RowMeasures:
    r"""Fitted probabilities, leverage and standardised residuals of rows.

    Leverage is $w_i n_i \mu_i (1 - \mu_i) \,\mathrm{Var}(\eta_i | y)$: the posterior variance of the row's linear
    predictor given the variance parameters, the uncertainty of the coefficients included. It is the diagonal of the hat
    matrix of penalised least squares where that approximation holds, and adds up to the effective number of parameters
    (Lu, Hodges & Carlin 2007, J. Comput. Graph. Stat. 16, 300-322).
    """
    p = fit.n_fixed
    free = np.flatnonzero(np.isfinite(np.diag(fit.cov_theta)))
    fixed = np.flatnonzero(free < p)
    cov = np.linalg.inv(np.linalg.inv(fit.cov_theta[np.ix_(free, free)])[np.ix_(fixed, fixed)])
    slope = rows.eta_slope[:, free[fixed]]
    mu = expit(rows.eta)
    variance = rows.eta_variance + np.einsum("ni,ij,nj->n", slope, cov, slope)
    leverage = np.clip(design.weights * design.trials * mu * (1 - mu) * variance, 0.0, 1 - 1e-9)
    pearson, deviance = (
        residuals(design.y, design.trials, mu, kind, None) / np.sqrt(1 - leverage) for kind in ("pearson", "deviance")
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # of one of the equal rows that a weighted row stands for
        own = np.exp(rows.deleted.loglik / design.weights + _log_choose(design))
    return RowMeasures(mu, leverage, pearson, deviance, own)


def _log_choose(design: Design) -> FloatArray:
    return gammaln(design.trials + 1) - gammaln(design.y + 1) - gammaln(design.trials - design.y + 1)


# ----------------------------------------------------------------------------------------- with and without


def without_units(context: Context, level: int | None, units: NDArray[np.int64]) -> Fit:
    """Fit the model without some units, all at once.

    Raises
    ------
    ModelError
        It cannot be fitted without them.
    """
    codes = codes_of(context.design, level)
    return fit_without(context, np.isin(codes, units))


def in_context(design: Design, fit: Fit, tell: Callable[[str], None]) -> Context:
    """What the functions of this room need to know of a fit outside ``diagnose()``."""
    return Context(fit, design, (), tell=tell)
