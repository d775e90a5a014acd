"""Confidence intervals from the replicates of a bootstrap.

References
----------
Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge. Chapters 2 and 5.
Efron, B. (1987). Better bootstrap confidence intervals. J. Amer. Statist. Assoc. 82, 171-185.
Efron, B. and Tibshirani, R. J. (1993). An Introduction to the Bootstrap. Chapman & Hall. Chapters 12-14.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from melogit.errors import ModelError
from melogit.inference.wald import critical_value

FloatArray = NDArray[np.float64]
KINDS = ("normal", "basic", "percentile", "bc", "bca", "studentized")


@dataclass(frozen=True, slots=True)
class Spread:
    """One parameter's replicates, and what the kinds of intervals need besides.

    Attributes
    ----------
    values : (r,)
        Replicates without failed ones.
    observed : float
    acceleration : float
        For ``bca``; NaN where unknown.
    std_err : (r,) or None
        Standard error of each replicate by its own refit, for ``studentized``; NaN where a refit has none.
    observed_std_err : float
    positive : bool
        A variance: ``studentized`` works on its logarithm.
    """

    values: FloatArray
    observed: float
    acceleration: float = np.nan
    std_err: FloatArray | None = None
    observed_std_err: float = np.nan
    positive: bool = False


def interval(spread: Spread, kind: str, level: float) -> tuple[float, float]:
    """Confidence interval from replicates.

    Parameters
    ----------
    spread : Spread
    kind : {"normal", "basic", "percentile", "bc", "bca", "studentized"}
        ``observed +- z se`` (not corrected for bias, as in Stata); quantiles of the replicates reflected at the
        observed value; the quantiles themselves; quantiles corrected for the share of replicates at or below the
        observed value; and for how the standard error changes with the parameter (the acceleration) too; quantiles
        of ``(replicate - observed) / its own standard error``, times the observed standard error.
    level : float

    Returns
    -------
    low, high : float
        NaN for ``bc`` and ``bca`` where all replicates lie on one side of the observed value, or where the
        acceleration is unknown or too large; for ``studentized`` where the estimate has no standard error. The upper
        limit of a variance is infinite for ``studentized`` where more replicates than a tail holds have variance 0.

    Notes
    -----
    Quantile p is replicate number ``(r + 1) p`` in order of size, between two of them linearly, and at most the last.

    Examples
    --------
    >>> spread = Spread(np.arange(1.0, 100.0), 50.0, acceleration=0.0)
    >>> [round(limit, 6) for limit in interval(spread, "percentile", 0.9)]
    [5.0, 95.0]
    >>> interval(spread, "bca", 0.9) == interval(spread, "bc", 0.9)
    True
    """
    z = critical_value(level)
    values, observed = spread.values, spread.observed
    tail = (1 - level) / 2
    if kind == "normal":
        half = z * float(values.std(ddof=1))
        return observed - half, observed + half
    if kind == "studentized":
        return _studentized(spread, tail)
    if kind == "percentile":
        return _quantiles(values, tail, 1 - tail)
    if kind == "basic":
        low, high = _quantiles(values, tail, 1 - tail)
        return 2 * observed - high, 2 * observed - low
    if kind not in ("bc", "bca"):
        raise ModelError(f"kind={kind!r} is not known. Choose one of {', '.join(KINDS)}.")
    below = float(np.mean(values <= observed))
    a = spread.acceleration if kind == "bca" else 0.0
    if not 0 < below < 1 or not np.isfinite(a):
        return np.nan, np.nan
    shift = float(ndtri(below))
    ends = shift + np.array([-z, z])
    if np.any(1 - a * ends <= 0):
        return np.nan, np.nan
    low, high = ndtr(shift + ends / (1 - a * ends))
    return _quantiles(values, float(low), float(high))


def _quantiles(values: FloatArray, low: float, high: float) -> tuple[float, float]:
    found = np.quantile(values, [low, high], method="weibull")
    return float(found[0]), float(found[1])


def _studentized(spread: Spread, tail: float) -> tuple[float, float]:
    if spread.std_err is None or not np.isfinite(spread.observed_std_err):
        return np.nan, np.nan
    observed, se, values, errors = spread.observed, spread.observed_std_err, spread.values, spread.std_err
    lowest = np.zeros(len(values), dtype=bool)
    if spread.positive:
        lowest = values <= 0  # a variance of 0: the least there can be, whatever its standard error
        with np.errstate(divide="ignore", invalid="ignore"):
            errors, values = errors / values, np.log(values)
        observed, se = float(np.log(observed)), se / observed
    known = np.isfinite(errors) & (errors > 0) & ~lowest
    ratio = np.concatenate([np.full(int(lowest.sum()), -np.inf), np.sort((values[known] - observed) / errors[known])])
    if len(ratio) < 2:
        return np.nan, np.nan
    at = np.clip((len(ratio) + 1) * np.array([tail, 1 - tail]) - 1, 0, len(ratio) - 1)
    left, right = ratio[np.floor(at).astype(int)], ratio[np.ceil(at).astype(int)]
    with np.errstate(invalid="ignore"):
        low, high = np.where(np.isfinite(left), left + (at - np.floor(at)) * (right - left), -np.inf)
    limits = observed - high * se, observed - low * se
    if spread.positive:
        return float(np.exp(limits[0])), float(np.exp(limits[1]))
    return float(limits[0]), float(limits[1])


def acceleration(influence: FloatArray) -> FloatArray:
    r"""Acceleration $\sum_g l_g^3 / \{6 (\sum_g l_g^2)^{3/2}\}$ of each column of influence values (G, k).

    References
    ----------
    Davison and Hinkley (1997), eq. 5.24.

    Examples
    --------
    >>> float(acceleration(np.array([[-1.0], [-1.0], [2.0]]))[0]).__round__(6)
    0.068041
    """
    influence = influence - influence.mean(axis=0)
    squares = np.sum(influence**2, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares > 0, np.sum(influence**3, axis=0) / (6 * squares**1.5), np.nan)
