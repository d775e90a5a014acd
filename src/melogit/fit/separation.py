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
    from scipy.optimize import linprog  # slow to import and rarely needed

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
    equal = np.unique(X[mixed], axis=0) if mixed.any() else None
    solved = linprog(
        -constraints.sum(axis=0),
        A_ub=csr_matrix(-constraints),
        b_ub=np.zeros(len(constraints)),
        A_eq=None if equal is None else csr_matrix(equal),
        b_eq=None if equal is None else np.zeros(len(equal)),
        bounds=[(-1, 1)] * X.shape[1],
        method="highs",
    )
    if solved.status != 0 or solved.x is None or -solved.fun <= 1e-6:
        return None
    d = np.where(np.abs(solved.x) > 1e-7, solved.x, 0.0)
    margin = signed @ d
    rows = pure & (margin > 1e-6)
    if not rows.any():
        return None
    # Back from the centred columns: the constant takes up what centring moved.
    direction = d.copy()
    if constant:
        shift = sum(
            d[j] * design.X[use, j].mean() / (np.max(np.abs(design.X[use, j] - design.X[use, j].mean())) or 1.0)
            for j in range(X.shape[1])
            if j not in constant
        )
        value = d[constant[0]] - shift
        direction[constant[0]] = 0.0 if abs(value) < 1e-6 else value
    return Separation(np.sign(direction), rows)
