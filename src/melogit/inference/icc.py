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


def intraclass_correlations(
    variances: FloatArray, cov: FloatArray, level: float = 0.95, shared: NDArray[np.bool_] | None = None
) -> list[IntraclassCorrelation]:
    r"""Intraclass correlation of rows that share some of their groups; by default, at each level of nesting.

    With $S$ the set of groups shared, $\mathrm{ICC} = \sum_{k \in S} v_k / (\sum_k v_k + \pi^2 / 3)$. Two rows in the
    same group at level $l$ of a nested model share all groups above it too.

    Parameters
    ----------
    variances : (L,)
        Variance of the constant at each level, top first.
    cov : (L, L)
        Covariance matrix of these estimates. NaN rows belong to variances at 0, which are taken as known.
    level : float
    shared : (S, L) bool, optional
        Which groups are shared, one row per correlation. By default those of each level and of all above it.

    Returns
    -------
    list of IntraclassCorrelation, length S (by default L)

    Examples
    --------
    >>> top, bottom = intraclass_correlations(np.array([1.0, 2.0]), np.diag([0.1, 0.2]))
    >>> round(top.estimate, 4), round(bottom.estimate, 4)
    (0.159, 0.477)
    """
    total = variances.sum() + LOGISTIC_VARIANCE
    known = ~np.isfinite(np.diag(cov))
    results = []
    for chosen in np.tri(len(variances), dtype=bool) if shared is None else shared:
        estimate = variances[chosen].sum() / total
        gradient = (chosen - estimate) / total
        free = ~known
        if known[chosen].all():
            std_err = np.float64(np.nan)  # every variance in the numerator is at the boundary, hence so is the ratio
        else:
            std_err = np.sqrt(gradient[free] @ cov[np.ix_(free, free)] @ gradient[free])
        low, high = logit_interval(np.asarray(estimate), np.asarray(std_err), level)
        results.append(IntraclassCorrelation(float(estimate), float(std_err), float(low), float(high)))
    return results
