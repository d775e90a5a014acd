"""A fit with infinite coefficients, without them: the rows that they do not fit perfectly, and what these determine.

In the limit a separated row has a probability of exactly 0 or 1 and adds nothing to the likelihood, whatever its random
effects; the others have 0 in the columns concerned, or else their linear predictor would not be finite. So everything
but the infinite coefficients is that of the model of the other rows.

References
----------
Albert, A. and Anderson, J. A. (1984). Biometrika 71, 1-10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, subset
from melogit.errors import ModelError
from melogit.fit.types import Fit, Status

FloatArray = NDArray[np.float64]
SAME = 1e-8  # relative rounding error of a sum that is 0


@dataclass(frozen=True, slots=True)
class Limit:
    """The finite part of a fit.

    Attributes
    ----------
    design : Design
        The rows that are not fitted perfectly, and the columns of finite coefficients.
    fit : Fit
        The finite parameters; the groups are still all of them.
    kept : (k,)
        Positions of the finite parameters among all.
    rows : (n,)
        Which rows of the whole design are in ``design``.
    """

    design: Design
    fit: Fit
    kept: NDArray[np.int64]
    rows: NDArray[np.bool_]


def infinite_names(fit: Fit) -> list[str]:
    """Names of the coefficients that are infinite (or lost with them)."""
    return [name for name, value in zip(fit.names, fit.params, strict=True) if not np.isfinite(value)]


def estimable(fit: Fit, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Parameters (n,) and their covariance matrix with which linear combinations of them can be computed.

    The fit's own, unless the infinite coefficients in the combinations cancel: then others with the same finite sums.

    Parameters
    ----------
    fit : Fit
    weights : (k, n)
        Of the combinations.
    """
    touched = np.any(weights[:, ~np.isfinite(fit.params)] != 0)
    if not touched or fit.sums is None:
        return fit.params, fit.cov
    fixed = weights[:, : fit.n_fixed]
    size = np.abs(fixed).sum(axis=1) * max(1.0, float(np.abs(fit.sums.lost).max()))
    if np.any(np.abs(fixed @ fit.sums.lost) > SAME * size[:, None]):
        return fit.params, fit.cov
    return fit.sums.params, fit.sums.cov


def finite_part(design: Design, fit: Fit, what: str) -> Limit:
    """Take the infinite coefficients out of a fit.

    Parameters
    ----------
    design, fit : Design, Fit
    what : str
        Begins the message where that is not possible.

    Raises
    ------
    ModelError
        Infinite coefficients cancel each other in some rows, so that finite ones have been lost with them; or the
        groups cross.
    """
    p = fit.n_fixed
    endless = ~np.isfinite(fit.params[:p])
    touched = (design.X[:, endless] != 0) & np.isinf(fit.params[:p][endless])
    pull = np.sign(design.X[:, endless]) * np.nan_to_num(np.sign(fit.params[:p][endless]))
    against = (pull > 0).any(axis=1) & (pull < 0).any(axis=1)
    lost = np.isnan(fit.params[:p]).any() or against.any()
    if lost or not design.nested:
        why = (
            "the groups cross"
            if not lost
            else f"they cancel each other in {int(against.sum()):,} rows, where only their sum is finite"
        )
        raise ModelError(
            f"{what} cannot be computed: the coefficients of {', '.join(infinite_names(fit))} are infinite "
            f"(separation), and {why}. Leave the predictor out of the model, or choose another base level."
        )
    rows = ~touched.any(axis=1)
    kept = np.concatenate([np.flatnonzero(~endless), np.arange(p, len(fit.params))])
    part = subset(design, rows)
    inner = replace(
        part,
        X=np.ascontiguousarray(part.X[:, ~endless]),
        x_names=tuple(name for name, gone in zip(design.x_names, endless, strict=True) if not gone),
    )
    finite = replace(
        fit,
        names=tuple(fit.names[k] for k in kept),
        n_fixed=int((~endless).sum()),
        params=fit.params[kept],
        cov=fit.cov[np.ix_(kept, kept)],
        cov_theta=fit.cov_theta[np.ix_(kept, kept)],
        status=Status.CONVERGED if fit.status is Status.SEPARATED else fit.status,
    )
    return Limit(inner, finite, kept, rows)


def spread_out(small: FloatArray, kept: NDArray[np.int64], size: int) -> FloatArray:
    """Put a matrix of the finite parameters among all, NaN elsewhere."""
    out = np.full((size, size), np.nan)
    out[np.ix_(kept, kept)] = small
    return out
