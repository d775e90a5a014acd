"""Wald tests and confidence intervals.

A standard error that is not defined (a variance at 0, an infinite coefficient) is NaN, and so is everything
computed from it; nothing here warns about NaN or infinity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, expit, logit, ndtr, ndtri

from melogit.errors import ModelError

FloatArray = NDArray[np.float64]


class Wald(NamedTuple):
    """A Wald test: chi-squared statistic, degrees of freedom and p-value."""

    stat: float
    df: int
    p: float


def critical_value(level: float) -> float:
    """Half-width, in standard errors, of a two-sided normal interval.

    Parameters
    ----------
    level : float
        Coverage, strictly between 0 and 1.

    Raises
    ------
    ModelError
        If ``level`` is not such a number; the message guesses at a percentage.

    Examples
    --------
    >>> round(critical_value(0.95), 6)
    1.959964
    """
    is_number = isinstance(level, int | float | np.integer | np.floating) and not isinstance(level, bool)
    if not is_number or not 0 < level < 1:
        hint = f" For {level:g} % write level={level / 100:g}." if is_number and 1 < level < 100 else ""
        raise ModelError(f"level={level!r} is not a confidence level: it must lie strictly between 0 and 1.{hint}")
    return float(ndtri(0.5 + level / 2))


def z_and_p(estimate: FloatArray, std_err: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Statistic and two-sided normal p-value of each estimate, shapes (k,) and (k,).

    Examples
    --------
    >>> z, p = z_and_p(np.array([1.0]), np.array([0.5]))
    >>> z.item(), round(p.item(), 5)
    (2.0, 0.0455)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.asarray(estimate, float) / np.asarray(std_err, float)
    return z, 2 * ndtr(-np.abs(z))


def normal_interval(estimate: FloatArray, std_err: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Symmetric interval ``estimate -+ z se``; NaN where an end is not defined.

    Examples
    --------
    >>> low, high = normal_interval(np.array([0.0]), np.array([1.0]), 0.95)
    >>> round(high.item(), 4)
    1.96
    """
    half = critical_value(level) * np.asarray(std_err, float)
    return estimate - half, estimate + half


def log_interval(estimate: FloatArray, std_err: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Interval symmetric in the logarithm, for variances and standard deviations: ``exp(log v -+ z se / v)``.

    Examples
    --------
    >>> low, high = log_interval(np.array([4.0]), np.array([0.4]), 0.95)
    >>> round(low.item(), 4), round(high.item(), 4)
    (3.2881, 4.8661)
    """
    estimate = np.asarray(estimate, float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        low, high = normal_interval(np.log(estimate), std_err / estimate, level)
        return np.exp(low), np.exp(high)


def atanh_interval(estimate: FloatArray, std_err: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Interval symmetric in Fisher's transform, for correlations.

    Examples
    --------
    >>> low, high = atanh_interval(np.array([0.5]), np.array([0.1]), 0.95)
    >>> round(low.item(), 4), round(high.item(), 4)
    (0.2803, 0.6699)
    """
    estimate = np.asarray(estimate, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = normal_interval(np.arctanh(estimate), std_err / (1 - estimate**2), level)
    return np.tanh(low), np.tanh(high)


def logit_interval(estimate: FloatArray, std_err: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Interval symmetric in the log odds, for shares between 0 and 1.

    Examples
    --------
    >>> low, high = logit_interval(np.array([0.5]), np.array([0.05]), 0.95)
    >>> round(low.item(), 4), round(high.item(), 4)
    (0.4032, 0.5968)
    """
    estimate = np.asarray(estimate, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = normal_interval(logit(estimate), std_err / (estimate * (1 - estimate)), level)
    return expit(low), expit(high)


def joint_wald(estimate: FloatArray, cov: FloatArray) -> Wald:
    """Test that all coefficients given are zero.

    Coefficients that are infinite or have no standard error are left out and lower the degrees of freedom.

    Parameters
    ----------
    estimate : (k,)
    cov : (k, k)

    Returns
    -------
    Wald
        With ``df`` 0 and NaN for the rest if no coefficient can be tested.

    Notes
    -----
    The quadratic form is computed on z-values and their correlation matrix: coefficients of predictors measured
    in units of 1e6 and 1e-6 side by side would make the covariance matrix itself badly conditioned.

    Examples
    --------
    >>> test = joint_wald(np.array([1.0, 2.0]), np.diag([1.0, 1.0]))
    >>> round(test.stat, 6), test.df
    (5.0, 2)
    """
    std_err = np.sqrt(np.diag(cov))
    keep = np.isfinite(estimate) & np.isfinite(std_err) & (std_err > 0)
    df = int(keep.sum())
    if df == 0:
        return Wald(float("nan"), 0, float("nan"))
    z = estimate[keep] / std_err[keep]
    correlation = cov[np.ix_(keep, keep)] / np.outer(std_err[keep], std_err[keep])
    stat = float(z @ np.linalg.solve(correlation, z))
    return Wald(stat, df, float(chdtrc(df, stat)))
