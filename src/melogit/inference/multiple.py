"""Several comparisons at once: adjusted p-values and the multiplier of their simultaneous intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, ndtr, ndtri

from melogit.errors import ModelError

FloatArray = NDArray[np.float64]
ADJUSTMENTS = ("none", "bonferroni", "sidak", "holm", "scheffe", "tukey")


def check_adjustment(adjust: object) -> None:
    """Refuse an unknown name of an adjustment."""
    if adjust not in ADJUSTMENTS:
        raise ModelError(f"adjust={adjust!r} is not one of {', '.join(map(repr, ADJUSTMENTS))}.")


def adjusted_p(z: FloatArray, adjust: str, *, df: int = 1, groups: int = 2) -> FloatArray:
    """Two-sided p-values of ``z`` (k,), adjusted for there being k of them.

    Parameters
    ----------
    z : (k,)
    adjust : str
        One of ``ADJUSTMENTS``.
    df : int
        Dimension of the space of comparisons (``scheffe``).
    groups : int
        Number of means that are compared pairwise (``tukey``).

    References
    ----------
    Hochberg, Y. and Tamhane, A. C. (1987). Multiple Comparison Procedures. Wiley.

    Examples
    --------
    >>> adjusted_p(np.array([2.0, 3.0]), "bonferroni").round(5).tolist()
    [0.091, 0.0054]
    """
    check_adjustment(adjust)
    size = np.abs(np.asarray(z, dtype=float))
    k = len(size)
    plain = 2 * ndtr(-size)
    if adjust == "bonferroni":
        return np.minimum(1.0, k * plain)
    if adjust == "sidak":
        return -np.expm1(k * np.log1p(-plain))
    if adjust == "holm":
        order = np.argsort(plain)
        stepped = np.maximum.accumulate(plain[order] * np.arange(k, 0, -1))
        out = np.empty(k)
        out[order] = np.minimum(1.0, stepped)
        return out
    if adjust == "scheffe":
        return chdtrc(df, size**2)
    if adjust == "tukey":
        from scipy.stats import studentized_range  # takes half a second to import

        return np.clip(studentized_range.sf(np.sqrt(2) * size, groups, np.inf), 0.0, 1.0)
    return plain


def critical_z(level: float, adjust: str, k: int, *, df: int = 1, groups: int = 2) -> float:
    """Half-width, in standard errors, of simultaneous intervals. Holm's step-down has none: Bonferroni's are given.

    Examples
    --------
    >>> round(critical_z(0.95, "bonferroni", 3), 4)
    2.394
    """
    check_adjustment(adjust)
    alpha = 1 - level
    if adjust in ("bonferroni", "holm"):
        return float(-ndtri(alpha / (2 * k)))
    if adjust == "sidak":
        return float(-ndtri(-np.expm1(np.log1p(-alpha) / k) / 2))
    if adjust == "scheffe":
        return float(np.sqrt(chdtri(df, alpha)))
    if adjust == "tukey":
        from scipy.stats import studentized_range

        return float(studentized_range.ppf(level, groups, np.inf) / np.sqrt(2))
    return float(-ndtri(alpha / 2))
