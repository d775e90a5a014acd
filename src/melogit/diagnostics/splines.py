"""Curves in one predictor: restricted cubic splines, the Box-Tidwell term, class means for pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Harrell, F. E. (2015). Regression Modeling Strategies, 2nd ed., table 2.3: quantiles at which knots are put.
KNOTS = {3: (0.10, 0.50, 0.90), 4: (0.05, 0.35, 0.65, 0.95), 5: (0.05, 0.275, 0.50, 0.725, 0.95)}
FEW_ROWS = 100  # fewer rows than this take 4 knots
SHIFT = 0.1  # a predictor with values of 0 or below is moved so that its least value is this share of its range


def knots_of(x: FloatArray) -> FloatArray:
    """Put 5 knots (4 in small samples) at quantiles, or fewer where values repeat much; empty below 3."""
    distinct = np.unique(x)
    if len(distinct) < 3:
        return np.zeros(0)
    for count in (5, 4, 3) if len(x) >= FEW_ROWS else (4, 3):
        knots = np.unique(np.quantile(x, KNOTS[count]))
        if len(knots) == count:
            return knots
    return np.unique(np.quantile(distinct, KNOTS[3]))


def spline_terms(x: FloatArray, knots: FloatArray) -> FloatArray:
    """Columns that a restricted cubic spline adds to the straight line, (n, k - 2) for k knots.

    Harrell (2015), equation 2.25: cubic between the outer knots, straight beyond them.

    Examples
    --------
    >>> spline_terms(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 3.0]))[:, 0].round(4).tolist()
    [0.0, 0.1111, 0.7222, 1.6667]
    """
    t, last, before = knots[:-2], knots[-1], knots[-2]

    def cube(at: float | FloatArray) -> FloatArray:
        return np.maximum(x[:, None] - at, 0.0) ** 3

    tail = cube(before) * (last - t) / (last - before) - cube(last) * (before - t) / (last - before)
    return (cube(t) - tail) / (last - knots[0]) ** 2


def box_tidwell_shift(x: FloatArray) -> float:
    """What has to be added so that all values are positive; 0 where they are."""
    low, high = float(x.min()), float(x.max())
    return 0.0 if low > 0 else SHIFT * (high - low) - low


def box_tidwell_term(x: FloatArray, shift: float) -> FloatArray:
    """(x + shift) ln(x + shift), (n,)."""
    return (x + shift) * np.log(x + shift)


def classes(x: FloatArray, most: int) -> NDArray[np.int64]:
    """Sort rows into at most so many classes of about equal size, in the order of x, equal values together; (n,)."""
    edges = np.unique(np.quantile(x, np.arange(1, most) / most))
    return np.searchsorted(edges, x, side="left")


def class_means(codes: NDArray[np.int64], weights: FloatArray, *values: FloatArray) -> list[FloatArray]:
    """Sums of the weights, then weighted means of each of the values, by class; classes without weight left out."""
    total = np.asarray(np.bincount(codes, weights=weights), dtype=np.float64)
    there = total > 0
    means = [np.bincount(codes, weights=weights * v)[there] / total[there] for v in values]
    return [total[there], *means]
