"""The likelihood-ratio test of the random effects against plain logistic regression."""

from __future__ import annotations

from typing import NamedTuple

from scipy.special import chdtrc


class LikelihoodRatio(NamedTuple):
    """A likelihood-ratio test.

    ``kind`` names the distribution that ``p`` refers to: ``chibar2(01)`` or ``chi2(k), conservative``.
    """

    stat: float
    df: int
    p: float
    kind: str


def against_logistic(loglik: float, loglik_fixed_only: float, n_variance: int) -> LikelihoodRatio:
    """Compare a mixed model with the logistic regression that has its fixed effects only.

    Under the null hypothesis the variances lie on the boundary of their range. With a single variance the
    statistic is 0 half of the time and chi-squared with one degree of freedom otherwise. With more parameters the
    mixture has no simple form, and chi-squared with all of them as degrees of freedom gives p-values that are too
    large, never too small.

    Parameters
    ----------
    loglik, loglik_fixed_only : float
    n_variance : int
        Variance parameters (variances and covariances), at least 1.

    References
    ----------
    Self & Liang (1987), J. Am. Stat. Assoc. 82, 605-610, case 5.

    Examples
    --------
    >>> round(against_logistic(-100.0, -101.352772, 1).p, 6)
    0.05
    >>> against_logistic(-100.0, -105.0, 3).kind
    'chi2(3), conservative'
    """
    # A variance estimated as 0 can leave the difference a rounding error below 0.
    stat = max(0.0, 2 * (loglik - loglik_fixed_only))
    if n_variance > 1:
        return LikelihoodRatio(stat, n_variance, float(chdtrc(n_variance, stat)), f"chi2({n_variance}), conservative")
    p = 1.0 if stat == 0 else 0.5 * float(chdtrc(1, stat))
    return LikelihoodRatio(stat, 1, p, "chibar2(01)")
