"""What a fit returns: frozen, free of data rows (so that it can be saved), complete for every table."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Block, Wording

FloatArray = NDArray[np.float64]


class Status(enum.Enum):
    """Why the fit ended; the value is a sentence for the user."""

    CONVERGED = "converged"
    BOUNDARY = "converged; a variance is estimated as 0 or a correlation as +-1"
    SEPARATED = "some coefficients are infinite (separation); the others are at their limit"
    MAX_ITERATIONS = "stopped at the limit of iterations before reaching a maximum"
    STALLED = "stopped because no step increased the log-likelihood, before reaching a maximum"
    NOT_FINITE = "stopped because the log-likelihood was not a finite number"


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One line of the iteration log.

    ``stage`` is ``fixed`` (plain logistic model), ``start`` (starting variances), ``full`` or ``sampled``.
    """

    stage: str
    iteration: int
    loglik: float
    decrement: float  # g' H^-1 g: squared distance from the maximum in standard errors
    step: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Integration:
    """How the integral over the random effects was computed, and how accurate it is.

    Attributes
    ----------
    method : str
        ``mvaghermite``, ``mcaghermite``, ``ghermite``, ``laplace``, ``trapezoid`` or ``simulated``.
    points : tuple of int
        Points per dimension, one entry per level, top first.
    loglik_error : float
        Change of the log-likelihood at the estimates on going to about twice the points.
    max_shift_in_se : float
        Largest move of any parameter, in standard errors, on going to about twice the points.
    check_points : tuple of int
        The points of that check.
    automatic : bool
        The points were raised until the accuracy asked for was reached.
    tolerance : float
        The accuracy asked for (standard errors, and units of log-likelihood).
    loglik_noise, shift_noise : float
        Monte Carlo standard errors of ``loglik_error`` and ``max_shift_in_se``; 0 where nothing is drawn at random.
    draws : int
        How many draws these rest on (crossed factors). For ``laplace`` they check the approximation; for ``simulated``
        they are the method, and the errors above are its own Monte Carlo errors.
    effective : float
        What share of the draws the importance weights are worth.
    """

    method: str
    points: tuple[int, ...]
    loglik_error: float
    max_shift_in_se: float
    check_points: tuple[int, ...]
    automatic: bool
    tolerance: float
    loglik_noise: float = 0.0
    shift_noise: float = 0.0
    draws: int = 0
    effective: float = 1.0

    @property
    def accurate(self) -> bool:
        """Both errors are within the tolerance."""
        return abs(self.loglik_error) <= self.tolerance and self.max_shift_in_se <= self.tolerance


@dataclass(frozen=True, slots=True)
class TermFit:
    """One grouping factor's part of the fit.

    Attributes
    ----------
    name : str
        ``DID`` or ``HID:DID``.
    names : tuple of str
        Names of the ``q`` random effects.
    blocks : tuple of Block
    levels : (G,) array of str
    Sigma : (q, q)
        Estimated covariance matrix of the random effects b.
    parameters : tuple of str
        This factor's entries of ``Fit.names``: ``DID:var(Intercept)``, ``DID:cov(x,Intercept)`` ...
    means, modes : (G, q)
        Posterior mean and mode of b.
    std_err : (G, q)
        Posterior standard deviation of b (at the estimated parameters).
    group_sizes : (G,)
        Rows per group (sums of the frequency weights).
    """

    name: str
    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    levels: NDArray[np.object_]
    Sigma: FloatArray
    parameters: tuple[str, ...]
    means: FloatArray
    modes: FloatArray
    std_err: FloatArray
    group_sizes: FloatArray


@dataclass(frozen=True, slots=True)
class FiniteSums:
    """What is finite of a fit with infinite coefficients: combinations of them in which they cancel.

    Where the base level of a factor is separated, the other levels are infinite against it, but not against each other.

    Attributes
    ----------
    params : (p + m,)
        One of the many sets of coefficients that fit the rows that are not fitted perfectly.
    cov : (p + m, p + m)
        Its covariance, from the observed information.
    lost : (p, k)
        The directions in which these rows say nothing: ``r'params`` has a meaning where ``r'lost`` is 0.
    """

    params: FloatArray
    cov: FloatArray
    lost: FloatArray


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model: estimates, their covariance, and how they were reached.

    The joint parameter vector is (fixed effects, variance parameters), variances and covariances on their own
    scale, in the order of ``names``. A parameter at the boundary (variance 0) or at infinity (separation) has NaN
    rows and columns in ``cov``.
    """

    names: tuple[str, ...]  # all p + m names
    n_fixed: int  # p
    params: FloatArray  # (p + m,)
    cov: FloatArray  # (p + m, p + m)
    loglik: float
    loglik_fixed_only: float
    df_model: int  # free parameters, p + m (boundary ones included, infinite ones too)
    n_obs: float  # sum of weights over rows with trials > 0
    terms: tuple[TermFit, ...]
    status: Status
    trace: tuple[TraceRow, ...]
    integration: Integration
    wording: Wording
    messages: tuple[str, ...]  # warnings given, word for word
    theta: FloatArray  # (m,) internal Cholesky-scale parameters
    cov_theta: FloatArray  # (p + m, p + m) covariance of (beta, theta)
    seconds: float
    nested: bool = True  # each factor's groups lie within those of the factor before it; else they cross
    sums: FiniteSums | None = None  # where coefficients are infinite

    @property
    def converged(self) -> bool:
        """The estimates are a maximum of the likelihood."""
        return self.status in (Status.CONVERGED, Status.BOUNDARY)
