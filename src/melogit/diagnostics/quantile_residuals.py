r"""Quantile residuals from simulated responses, and the tests that go with them, as the R package DHARMa does.

With draws $y^*_1 \dots y^*_S$ of a row from the fitted model, its scaled residual is a draw from the uniform
distribution between the shares of draws below it and at or below it (Dunn & Smyth 1996, J. Comput. Graph. Stat. 5,
236-244): uniform between 0 and 1 if the model is right, whatever the distribution of the response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, gammaln, kolmogorov, xlog1py, xlogy

FloatArray = NDArray[np.float64]
EXACT = 100  # rows


@dataclass(frozen=True, slots=True)
class Tested:
    """A statistic and its two-sided p-value."""

    statistic: float
    p: float


def scaled_residuals(observed: FloatArray, drawn: FloatArray, uniform: FloatArray) -> FloatArray:
    """Scaled residuals of rows, (n,).

    Parameters
    ----------
    observed : (n,)
    drawn : (n, S)
        Responses drawn from the model.
    uniform : (n,)
        Draws between 0 and 1, which place a residual between the two shares.

    Examples
    --------
    >>> scaled_residuals(np.array([1.0]), np.array([[0.0, 1.0, 1.0, 2.0]]), np.array([0.5])).tolist()
    [0.5]
    """
    low = np.mean(drawn < observed[:, None], axis=1)
    high = np.mean(drawn <= observed[:, None], axis=1)
    return np.asarray(low + uniform * (high - low), dtype=np.float64)


def uniformity(residuals: FloatArray) -> Tested:
    """Kolmogorov-Smirnov test against the uniform distribution; below 100 rows without ties exact, as R's ks.test."""
    x = np.sort(residuals)
    n = len(x)
    at = np.arange(n)
    distance = float(np.max(np.maximum(x - at / n, (at + 1) / n - x)))
    if n < EXACT and len(np.unique(x)) == n:
        from scipy.stats import kstwo

        return Tested(distance, float(kstwo.sf(distance, n)))
    return Tested(distance, float(kolmogorov(np.sqrt(n) * distance)))


def dispersion(observed: FloatArray, drawn: FloatArray, fitted: FloatArray) -> Tested:
    """Variance of the data around the fitted response, over that of the draws.

    The p-value is twice the smaller share of draws whose variance lies at or beyond the data's.
    """
    found = float(np.var(observed - fitted, ddof=1))
    expected = np.var(drawn - fitted[:, None], axis=0, ddof=1)
    return Tested(found / float(expected.mean()), _two_sided(found, expected))


def _two_sided(found: float, drawn: FloatArray) -> float:
    return min(1.0, 2 * min(float(np.mean(drawn >= found)), float(np.mean(drawn <= found))))


def outliers(residuals: FloatArray, draws: int) -> Tested:
    """Share of residuals within 1 / (draws + 1) of 0 or 1, and the exact binomial test of 2 / (draws + 1)."""
    n, margin = len(residuals), 1.0 / (draws + 1)
    found = int(np.sum(residuals < margin) + np.sum(residuals > 1 - margin))
    return Tested(found / n, binomial_p(found, n, 2 * margin))


def binomial_p(found: int, n: int, chance: float) -> float:
    """Two-sided exact binomial test: the total probability of counts no more probable than the one found."""
    counts = np.arange(n + 1)
    log_mass = _log_mass(counts, n, chance)
    here = log_mass[found]
    less = log_mass <= here + 1e-7
    mean = n * chance
    if found < mean:
        upper = counts[less & (counts > mean)]
        return min(1.0, float(bdtr(found, n, chance)) + (float(bdtrc(upper[0] - 1, n, chance)) if len(upper) else 0.0))
    lower = counts[less & (counts < mean)]
    above = float(bdtrc(found - 1, n, chance)) if found else 1.0
    return min(1.0, above + (float(bdtr(lower[-1], n, chance)) if len(lower) else 0.0))


def _log_mass(counts: NDArray[np.int64], n: int, chance: float) -> FloatArray:
    ways = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    return ways + xlogy(counts, chance) + xlog1py(n - counts, -chance)
