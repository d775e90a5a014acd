"""The estimates as the effects use them: fixed effects, covariance matrices, and the joint covariance of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import GroupingFactor, RandomTerm
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference.variance import covariance_basis
from melogit.likelihood.covariance import CovarianceMap, covariance_map, lambdas

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Estimates and their uncertainty.

    Attributes
    ----------
    beta : (p,)
    Sigma : per term, (q, q)
    basis : per term, (m, q, q)
        Derivative of Sigma in each variance parameter (Sigma is linear in them).
    cov : (p + m, p + m)
        Parameters at a boundary or at infinity have zeros: they are taken as known.
    names : tuple of str
    """

    beta: FloatArray
    Sigma: tuple[FloatArray, ...]
    basis: tuple[FloatArray, ...]
    cov: FloatArray
    names: tuple[str, ...]

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return len(self.beta)

    @property
    def m(self) -> int:
        """Number of variance parameters."""
        return len(self.names) - len(self.beta)

    def variance(self, gradient: FloatArray) -> FloatArray:
        """Delta method: variance of quantities with these gradients, (k, p + m) -> (k,)."""
        return np.maximum(np.einsum("ki,ij,kj->k", gradient, self.cov, gradient), 0.0)


def empty_terms(fit: Fit) -> tuple[RandomTerm, ...]:
    """The random terms of a fit without rows: names and blocks."""
    none = np.zeros(0, dtype=np.int32)
    return tuple(
        RandomTerm(GroupingFactor(t.name, (), none, t.levels), np.zeros((0, len(t.names))), t.names, t.blocks)
        for t in fit.terms
    )


def covariance_layout(fit: Fit) -> CovarianceMap:
    """How theta makes the Lambda of every level of a fit."""
    return covariance_map(empty_terms(fit))


def parameters(fit: Fit) -> Parameters:
    """Collect what the effects need of a fit."""
    p = fit.n_fixed
    layout = covariance_layout(fit)
    assert layout.names == fit.names[p:]
    basis = covariance_basis(fit.terms, layout)
    cov = np.where(np.isfinite(fit.cov), fit.cov, 0.0)
    return Parameters(fit.params[:p], tuple(t.Sigma for t in fit.terms), tuple(basis), cov, fit.names)


def drawn_parameters(fit: Fit, draws: int, rng: np.random.Generator) -> tuple[FloatArray, list[list[FloatArray]]]:
    """Draw parameters from their approximate normal distribution, in the scale where every draw is a covariance.

    Returns
    -------
    beta : (draws, p)
    Lambda : per draw, per level
    """
    centre = np.concatenate([fit.params[: fit.n_fixed], fit.theta])
    cov = np.where(np.isfinite(fit.cov_theta), fit.cov_theta, 0.0)
    eigen, vectors = np.linalg.eigh(cov)
    root = vectors * np.sqrt(np.maximum(eigen, 0.0))
    drawn = centre + rng.standard_normal((draws, len(centre))) @ root.T
    layout = covariance_layout(fit)
    return drawn[:, : fit.n_fixed], [lambdas(layout, theta) for theta in drawn[:, fit.n_fixed :]]


def linear_predictor(X: FloatArray, beta: FloatArray, offset: FloatArray) -> FloatArray:
    """Offset + X beta, where an infinite coefficient says nothing about rows in which its column is 0."""
    infinite = ~np.isfinite(beta)
    if not infinite.any():
        return offset + X @ beta
    out = offset + X[:, ~infinite] @ beta[~infinite]
    for column in np.flatnonzero(infinite):
        shift = np.zeros(len(X))
        np.multiply(X[:, column], beta[column], out=shift, where=X[:, column] != 0)
        with np.errstate(invalid="ignore"):
            out = out + shift
    return out


def check_defined(eta: FloatArray, beta: FloatArray, names: Sequence[str]) -> None:
    """Refuse rows in which infinite coefficients of both signs meet.

    Raises
    ------
    ModelError
        Naming the coefficients.
    """
    lost = np.isnan(eta)
    if lost.any():
        endless = [name for name, value in zip(names, beta, strict=False) if not np.isfinite(value)]
        raise ModelError(
            f"The coefficients of {', '.join(endless)} are infinite (separation) and cancel each other in "
            f"{int(lost.sum()):,} rows, which therefore have no probability: only their sum is finite there. Leave a "
            "predictor out of the model, or choose another base level."
        )


def effect_variance(Z: FloatArray, Sigma: FloatArray) -> FloatArray:
    """Variance z' Sigma z of one term, (n,), or (1,) where it is the same in all rows."""
    if Z.shape[1] == 1 and len(Z) and (Z[:, 0] == Z[0, 0]).all():
        return np.array([Z[0, 0] ** 2 * Sigma[0, 0]])
    return np.maximum(np.einsum("ni,ij,nj->n", Z, Sigma, Z), 0.0)
