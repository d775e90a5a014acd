"""Is there a direction in which the likelihood rises for ever? Then maximum-likelihood estimates do not exist.

References
----------
Albert, A. and Anderson, J. A. (1984). Biometrika 71, 1-10.
Konis, K. (2007). Linear programming algorithms for detecting separated data in binary logistic regression models.
DPhil thesis, University of Oxford.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from melogit.design import Design

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Separation:
    """A direction of infinite coefficients.

    Attributes
    ----------
    direction : (p,)
        Signs of the coefficients that go to infinity; 0 for the others.
    rows : (n,) bool
        Rows whose fitted probability goes to 0 or 1.
    """

    direction: FloatArray
    rows: NDArray[np.bool_]


def find_separation(design: Design) -> Separation | None:
    """Look for separation by linear programming; None where estimates exist.

    Maximises sum of s_i x_i'd over -1 <= d <= 1 subject to s_i x_i'd >= 0, with s_i = +1 for a row of successes only
    and -1 for failures only; rows with both must keep x_i'd = 0.
    """
    X = design.X.copy()
    use = (design.trials > 0) & (design.weights > 0)
    constant = [j for j, name in enumerate(design.x_names) if name == "Intercept"]
    for j in range(X.shape[1]):
        if j not in constant:
            centre = X[use, j].mean() if constant else 0.0
            spread = np.max(np.abs(X[use, j] - centre))
            X[:, j] = (X[:, j] - centre) / (spread or 1.0)
    sign = np.where(design.y == design.trials, 1.0, np.where(design.y == 0, -1.0, 0.0))
    signed = X * sign[:, None]
    pure = use & (sign != 0)
    mixed = use & (sign == 0)
    # The same row of predictors and outcome many times is one constraint.
    constraints = np.unique(signed[pure], axis=0)
    equal = np.unique(X[mixed], axis=0) if mixed.any() else np.zeros((0, X.shape[1]))

    def rows_along(columns: NDArray[np.bool_]) -> tuple[FloatArray, NDArray[np.bool_]] | None:
        d = _direction(constraints, equal, columns)
        return None if d is None else (d, pure & (signed @ d > 1e-6))

    columns = np.ones(X.shape[1], dtype=bool)
    found = rows_along(columns)
    if found is None or not found[1].any():
        return None
    for j in np.flatnonzero(found[0]):  # leave out the columns that are not needed, so that the right ones are named
        if j in constant:
            continue
        fewer = columns & (np.arange(len(columns)) != j)
        without = rows_along(fewer)
        if without is not None and without[1].sum() >= found[1].sum():
            columns, found = fewer, without
    d, rows = found
    # Back from the centred columns: the constant takes up what centring moved.
    direction = d.copy()
    if constant:
        others = np.array([j for j in range(X.shape[1]) if j not in constant], dtype=int)
        centre = design.X[use][:, others].mean(axis=0)
        spread = np.max(np.abs(design.X[use][:, others] - centre), axis=0)
        value = d[constant[0]] - np.sum(d[others] * centre / np.where(spread > 0, spread, 1.0))
        direction[constant[0]] = 0.0 if abs(value) < 1e-6 else value
    return Separation(np.sign(direction), rows)


def _direction(constraints: FloatArray, equal: FloatArray, columns: NDArray[np.bool_]) -> FloatArray | None:
    """Solve the linear program over some of the columns; None where nothing separates."""
    from scipy.optimize import linprog  # slow to import and rarely needed

    solved = linprog(
        -constraints.sum(axis=0),
        A_ub=csr_matrix(-constraints),
        b_ub=np.zeros(len(constraints)),
        A_eq=csr_matrix(equal) if len(equal) else None,
        b_eq=np.zeros(len(equal)) if len(equal) else None,
        bounds=[(-1, 1) if c else (0, 0) for c in columns],
        method="highs",
    )
    if solved.status != 0 or solved.x is None or -solved.fun <= 1e-6:
        return None
    return np.where(np.abs(solved.x) > 1e-7, solved.x, 0.0)
