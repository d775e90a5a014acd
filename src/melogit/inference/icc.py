"""Intraclass correlation on the latent scale, level by level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.inference.wald import logit_interval

FloatArray = NDArray[np.float64]

LOGISTIC_VARIANCE = np.pi**2 / 3


@dataclass(frozen=True, slots=True)
class IntraclassCorrelation:
    """Correlation of the latent responses of two rows that share a group, with its interval."""

    estimate: float
    std_err: float
    ci_low: float
    ci_high: float


def intraclass_correlations(variances: FloatArray, cov: FloatArray, level: float = 0.95) -> list[IntraclassCorrelation]:
    r"""Intraclass correlation at each level of nesting, cumulative from the top.

    Two rows in the same group at level $l$ share all groups above it too, so
    $\mathrm{ICC}_l = \sum_{k \le l} v_k / (\sum_k v_k + \pi^2 / 3)$.

    Parameters
    ----------
    variances : (L,)
        Variance of the constant at each level, top first.
    cov : (L, L)
        Covariance matrix of these estimates. NaN rows belong to variances at 0, which are taken as known.
    level : float

    Returns
    -------
    list of IntraclassCorrelation, length L

    Examples
    --------
    >>> top, bottom = intraclass_correlations(np.array([1.0, 2.0]), np.diag([0.1, 0.2]))
    >>> round(top.estimate, 4), round(bottom.estimate, 4)
    (0.159, 0.477)
    """
    total = variances.sum() + LOGISTIC_VARIANCE
    known = ~np.isfinite(np.diag(cov))
    results = []
    for count in range(1, len(variances) + 1):
        estimate = variances[:count].sum() / total
        gradient = ((np.arange(len(variances)) < count) - estimate) / total
        free = ~known
        if known[:count].all():
            std_err = np.float64(np.nan)  # every variance in the numerator is at the boundary, hence so is the ratio
        else:
            std_err = np.sqrt(gradient[free] @ cov[np.ix_(free, free)] @ gradient[free])
        low, high = logit_interval(np.asarray(estimate), np.asarray(std_err), level)
        results.append(IntraclassCorrelation(float(estimate), float(std_err), float(low), float(high)))
    return results
