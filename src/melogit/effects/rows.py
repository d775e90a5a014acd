"""The rows that effects are computed on: the fitted ones, or new ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.effects.parameters import Parameters, effect_variance, linear_predictor
from melogit.effects.posterior import Posterior, spread
from melogit.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EffectRows:
    """Rows as matrices.

    Attributes
    ----------
    X : (n, p)
    Z : per term, (n, q)
    offset, weights : (n,)
    codes : per term, (n,)
        Group of each row; -1 for one that was not fitted; empty where groups play no part.
    """

    X: FloatArray
    Z: tuple[FloatArray, ...]
    offset: FloatArray
    weights: FloatArray
    codes: tuple[NDArray[np.int64], ...] = ()

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.X)


def fitted_rows(design: Design) -> EffectRows:
    """The rows of the fit; those with 0 trials count too."""
    codes = tuple(term.factor.codes.astype(np.int64) for term in design.terms)
    return EffectRows(design.X, tuple(t.Z for t in design.terms), design.offset, design.weights, codes)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the random effects of each row, and what is left to average over.

    Attributes
    ----------
    shift : (n,)
        Sum of z'b over the known groups, at their posterior means.
    slope : (n, p + m) or None
        Its derivative in the parameters.
    spread : (n,)
        Its posterior variance at fixed parameters.
    variance : (n,) or (1,)
        Variance of the effects of groups that are not known.
    by_parameter : (n, m) or (1, m)
        Derivative of that variance in the variance parameters.
    """

    shift: FloatArray
    slope: FloatArray | None
    spread: FloatArray
    variance: FloatArray
    by_parameter: FloatArray


def nothing_known(rows: EffectRows, found: Parameters) -> Known:
    """Average over all random effects."""
    zero = np.zeros(1)
    variance, by = zero, np.zeros((1, found.m))
    for Z, Sigma, basis in zip(rows.Z, found.Sigma, found.basis, strict=True):
        variance = variance + effect_variance(Z, Sigma)
        by = by + variance_gradient(Z, basis)
    return Known(zero, None, zero, variance, by)


def variance_gradient(Z: FloatArray, basis: FloatArray) -> FloatArray:
    """Derivative of z' Sigma z in the variance parameters, (n, m), or (1, m) where it is the same in all rows."""
    if Z.shape[1] == 1 and len(Z) and (Z[:, 0] == Z[0, 0]).all():
        return Z[:1] ** 2 @ basis[:, 0, :].T
    return np.einsum("ni,rij,nj->nr", Z, basis, Z, optimize=True)


def all_zero(found: Parameters) -> Known:
    """Random effects at 0."""
    zero = np.zeros(1)
    return Known(zero, None, zero, zero, np.zeros((1, found.m)))


def partly_known(rows: EffectRows, found: Parameters, posterior: Posterior) -> Known:
    """Known groups at their posterior means, the others averaged over.

    Raises
    ------
    DataError
        A known group lies in another group than in the fitted data.
    """
    n = rows.n
    check_parents(rows, posterior)
    shift, variance = np.zeros(n), np.zeros(n)
    by = np.zeros((n, found.m))
    slope = None if any(level.slope is None for level in posterior) else np.zeros((n, found.p + found.m))
    for level, (part, Z) in enumerate(zip(posterior, rows.Z, strict=True)):
        code = rows.codes[level]
        known = np.flatnonzero(code >= 0)
        new = np.flatnonzero(code < 0)
        shift[known] += np.einsum("ni,ni->n", Z[known], part.mean[code[known]])
        if slope is not None and part.slope is not None:
            slope[known] += np.einsum("ni,nij->nj", Z[known], part.slope[code[known]], optimize=True)
        if len(new):
            variance[new] += effect_variance(Z[new], found.Sigma[level])
            by[new] += variance_gradient(Z[new], found.basis[level])
    return Known(shift, slope, spread(posterior, list(rows.codes), rows.Z), variance, by)


def check_parents(rows: EffectRows, posterior: Posterior) -> None:
    """Refuse a known group that lies in another group than in the fitted data."""
    for level, part in enumerate(posterior):
        if not level:
            continue
        known = np.flatnonzero(rows.codes[level] >= 0)
        above = rows.codes[level - 1][known]
        expected = part.parent[rows.codes[level][known]]
        if ((expected != above) & (expected >= 0)).any():
            raise DataError(
                "A group of the new data lies in another higher-level group than in the fitted data (a doctor in "
                "another hospital, say). Give it a new label to have it treated as a new group."
            )


def fixed_part(rows: EffectRows, found: Parameters) -> FloatArray:
    """Offset and fixed effects, (n,)."""
    return linear_predictor(rows.X, found.beta, rows.offset)
