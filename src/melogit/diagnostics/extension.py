"""The model with columns added, fitted so that nearly collinear additions (x and x ln x) do no harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

from melogit.diagnostics.context import Context, refit, with_columns
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference.multiple import adjusted_p

FloatArray = NDArray[np.float64]
NOTHING_NEW = 1e-9  # share of a column's length outside the span of X below which it adds nothing


@dataclass(frozen=True, slots=True)
class Extension:
    """A model with ``k`` more columns.

    Attributes
    ----------
    fit : Fit
        Of the added columns made orthogonal to X.
    coefficients : (p + k,)
        Of X and of the columns as given.
    cov : (p + k, p + k)
    df : int
        How many of the columns are not combinations of the others.
    lr, p : float
        Likelihood-ratio statistic against the model without them, and its p-value.
    """

    fit: Fit
    coefficients: FloatArray
    cov: FloatArray
    df: int
    lr: float
    p: float

    @property
    def added(self) -> slice:
        """Where the added columns are among the coefficients."""
        return slice(self.fit.n_fixed - self.df, None)

    def wald(self) -> tuple[float, float]:
        """Wald statistic and p-value of all added columns."""
        b = self.coefficients[self.added]
        stat = float(b @ np.linalg.solve(self.cov[self.added, self.added], b))
        return stat, float(chdtrc(self.df, stat))


def extend(context: Context, columns: FloatArray, names: Sequence[str]) -> Extension:
    """Fit the model with added columns.

    Parameters
    ----------
    columns : (n, k)
    names : sequence of str, length k

    Raises
    ------
    ModelError
        The columns are combinations of the predictors, or the model cannot be fitted with them.

    Notes
    -----
    With N = X A + Q R, the fit uses the orthonormal Q: ``X b + Q c = X (b - A R^-1 c) + N R^-1 c``.
    """
    X = context.design.X
    n, p = X.shape
    size = np.linalg.norm(columns, axis=0)
    scale = np.linalg.norm(X, axis=0)
    A = np.linalg.lstsq(X / scale, columns, rcond=None)[0] / scale[:, None]
    Q, R = np.linalg.qr(columns - X @ A)
    if (np.abs(np.diag(R)) <= NOTHING_NEW * size).any():
        raise ModelError(f"{', '.join(names)} add nothing to the predictors.")
    k = columns.shape[1]
    made = with_columns(context.design, {name: Q[:, j] * np.sqrt(n) for j, name in enumerate(names)})
    fit = refit(context, made)
    back = np.eye(p + k)
    inverse = np.linalg.inv(R) * np.sqrt(n)
    back[:p, p:], back[p:, p:] = -A @ inverse, inverse
    lr = max(0.0, 2 * (fit.loglik - context.fit.loglik))
    cov = back @ fit.cov[: p + k, : p + k] @ back.T
    return Extension(fit, back @ fit.params[: p + k], cov, k, lr, float(chdtrc(k, lr)))


def holm(p: Sequence[float]) -> FloatArray:
    """P-values adjusted for their number by Holm's method, (k,).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.5]).round(3).tolist()
    [0.03, 0.08, 0.5]
    """
    return adjusted_p(ndtri(np.asarray(p, dtype=np.float64) / 2), "holm")
