"""What the variances of the random effects mean: median and interval odds ratios, explained variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference.icc import LOGISTIC_VARIANCE
from melogit.inference.variance import covariance_basis
from melogit.inference.wald import log_interval
from melogit.likelihood.covariance import covariance_map

FloatArray = NDArray[np.float64]
CONSTANT = "Intercept"


def median_odds_ratio(variance: FloatArray, std_err: FloatArray, level: float) -> FloatArray:
    r"""Median odds ratio between two groups taken at random, the higher against the lower.

    $\mathrm{MOR} = \exp(\sqrt{2 v}\,\Phi^{-1}(0.75))$ is monotone in $v$, so its interval is that of $v$ transformed.

    Parameters
    ----------
    variance, std_err : (k,)
    level : float

    Returns
    -------
    (k, 4) : estimate, standard error, interval

    References
    ----------
    Larsen, K. and Merlo, J. (2005). Am. J. Epidemiol. 161, 81-88.

    Examples
    --------
    >>> median_odds_ratio(np.array([4.0]), np.array([0.4]), 0.95).round(3).tolist()
    [[6.738, 0.643, 5.639, 8.2]]
    """
    factor = float(ndtri(0.75))

    def transformed(v: FloatArray) -> FloatArray:
        return np.exp(np.sqrt(2 * v) * factor)

    estimate = transformed(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = estimate * factor / np.sqrt(2 * variance)
        low, high = log_interval(variance, std_err, level)
        return np.column_stack([estimate, slope * std_err, transformed(low), transformed(high)])


@dataclass(frozen=True, slots=True)
class IntervalOddsRatio:
    """The middle ``coverage`` of odds ratios between rows of two random groups that differ in a predictor.

    ``opposed`` is the share of those odds ratios on the other side of 1 than the predictor's own. Each comes with its
    derivatives in the predictor's effect and in the variance, (2,).
    """

    odds_ratio: float
    low: float
    high: float
    opposed: float
    gradients: FloatArray  # (4, 2), in this order


def interval_odds_ratio(effect: float, variance: float, coverage: float) -> IntervalOddsRatio:
    """Interval odds ratio of a predictor of groups, ``exp(effect -+ z sqrt(2 variance))``.

    References
    ----------
    Larsen, K., Petersen, J. H., Budtz-Jorgensen, E. and Endahl, L. (2000). Biometrics 56, 909-914.

    Examples
    --------
    >>> ior = interval_odds_ratio(1.0, 0.5, 0.8)
    >>> round(ior.low, 4), round(ior.high, 4), round(ior.opposed, 4)
    (0.7546, 9.7919, 0.1587)
    """
    if not 0 < coverage < 1:
        raise ModelError(f"coverage={coverage!r} must lie between 0 and 1; 0.8 is usual.")
    spread = np.sqrt(2 * variance)
    z = float(ndtri(0.5 + coverage / 2))
    middle, low, high = np.exp(effect + np.array([0.0, -z, z]) * spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = 1 / spread  # derivative of the spread in the variance
        opposed = float(ndtr(-abs(effect) / spread)) if spread > 0 else 0.0
        density = np.exp(-((effect / spread) ** 2) / 2) / np.sqrt(2 * np.pi)
        gradients = np.array(
            [
                [middle, 0.0],
                [low, -z * low * bend],
                [high, z * high * bend],
                [-np.sign(effect) * density / spread, density * abs(effect) / spread**2 * bend],
            ]
        )
    return IntervalOddsRatio(float(middle), float(low), float(high), opposed, gradients)


@dataclass(frozen=True, slots=True)
class Explained:
    """Variance on the latent scale, by source.

    Attributes
    ----------
    fixed : float
        Of the fixed part of the linear predictor over the rows.
    random : (L,)
        Of each grouping factor's effects, averaged over the rows (random slopes included).
    residual : float
        pi^2 / 3.
    observation : float
        1 / (p (1 - p)), p the share of events: the variance of a row on the scale of the log odds by the delta method.
    gradients : (1 + L, p + m)
        Derivatives of ``fixed`` and of ``random`` in the parameters; predictors and p count as known.
    """

    fixed: float
    random: FloatArray
    residual: float
    observation: float
    gradients: FloatArray

    @property
    def total(self) -> float:
        """Sum of all sources."""
        return self.fixed + float(self.random.sum()) + self.residual


def explained_variance(design: Design, fit: Fit) -> Explained:
    r"""Split the latent variance into fixed part, random effects and residual.

    Random slopes enter by the mean over the rows of $z_i'\Sigma z_i$ (Johnson 2014). Rows count with their weight and
    their trials, so that grouped counts give what the same data row by row do.

    References
    ----------
    Nakagawa, S. and Schielzeth, H. (2013). Methods Ecol. Evol. 4, 133-142.
    Johnson, P. C. D. (2014). Methods Ecol. Evol. 5, 944-946.
    Nakagawa, S., Johnson, P. C. D. and Schielzeth, H. (2017). J. R. Soc. Interface 14, 20170213 (observation-level
    variance).
    """
    beta = fit.params[: fit.n_fixed]
    if not np.all(np.isfinite(beta)):
        raise ModelError(
            "A coefficient is infinite (separation), and so is the variance it explains: there is no R2. Leave the "
            "column out, or merge the levels concerned."
        )
    weights = design.weights * design.trials
    count = float(weights.sum())
    less = max(count - 1, 1.0)
    eta = design.X @ beta
    away = eta - float(weights @ eta) / count
    fixed = float(weights @ away**2) / less
    gradients = np.zeros((1 + len(fit.terms), len(fit.params)))
    gradients[0, : fit.n_fixed] = 2 / less * (weights * away) @ design.X
    basis = covariance_basis(fit.terms, covariance_map(design.terms))
    random = []
    for level, (data, term) in enumerate(zip(design.terms, fit.terms, strict=True)):
        moments = (data.Z * weights[:, None]).T @ data.Z / count
        random.append(float(np.sum(moments * term.Sigma)))
        gradients[1 + level, fit.n_fixed :] = np.einsum("ij,rij->r", moments, basis[level])
    share = float(design.weights @ design.y) / count
    return Explained(fixed, np.array(random), float(LOGISTIC_VARIANCE), 1 / (share * (1 - share)), gradients)


def explained_shares(parts: Explained) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
    """R2 by every definition: names, values (k,), and derivatives (k, p + m) in the parameters."""
    both = parts.fixed + float(parts.random.sum())
    d_fixed, d_both = parts.gradients[0], parts.gradients.sum(axis=0)
    latent, observed = both + parts.residual, both + parts.observation
    shares = {  # name: numerator, denominator, and their derivatives
        "marginal": (parts.fixed, latent, d_fixed, d_both),
        "conditional": (both, latent, d_both, d_both),
        "mckelvey_zavoina": (parts.fixed, parts.fixed + parts.residual, d_fixed, d_fixed),
        "marginal_delta": (parts.fixed, observed, d_fixed, d_both),
        "conditional_delta": (both, observed, d_both, d_both),
    }
    values = np.array([top / bottom for top, bottom, _, _ in shares.values()])
    slopes = [(d_top - top / bottom * d_bottom) / bottom for top, bottom, d_top, d_bottom in shares.values()]
    return tuple(shares), values, np.array(slopes)
