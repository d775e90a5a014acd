"""Numbers that tell how the fitted probabilities of a world agree with its outcomes: see ``group_statistics``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, expit

from melogit.design import Design
from melogit.diagnostics.worlds import World
from melogit.effects.integrals import averaged

FloatArray = NDArray[np.float64]
BINS = 10
OUTER = 0.001  # a quantile residual this close to 0 or 1 counts as outlying


@dataclass(frozen=True, slots=True)
class Binned:
    """Rows in bins, one entry per bin.

    Attributes
    ----------
    count, events, expected : sums of trials, of observed and of fitted events
    variance : of the events if fitted probabilities were the true ones
    centre : mean of what the bins were made by
    """

    count: FloatArray
    events: FloatArray
    expected: FloatArray
    variance: FloatArray
    centre: FloatArray

    @property
    def z(self) -> FloatArray:
        """Observed less expected, in standard deviations; 0 where nothing varies."""
        return (self.events - self.expected) / np.sqrt(np.where(self.variance > 0, self.variance, np.inf))


def bins_by(values: FloatArray, trials: FloatArray, bins: int = BINS) -> NDArray[np.int64]:
    """Bin of every row, (n,): about as many trials in each, equal values together."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(trials[order])
    place = np.empty(len(values), dtype=np.int64)
    place[order] = np.minimum(
        (bins * (share - 0.5 * trials[order]) / max(share[-1], 1e-300)).astype(np.int64), bins - 1
    )
    _, at = np.unique(values, return_inverse=True)
    low = np.full(at.max() + 1, bins)
    np.minimum.at(low, at, place)
    return low[at]


def binned(design: Design, mu: FloatArray, place: NDArray[np.int64], by: FloatArray, bins: int = BINS) -> Binned:
    """Add up observed and fitted events by bin."""
    n = design.weights * design.trials

    def total(values: FloatArray) -> FloatArray:
        return np.bincount(place, weights=values, minlength=bins).astype(np.float64)

    count = total(n)
    centre = np.divide(total(n * by), count, out=np.full(bins, np.nan), where=count > 0)
    return Binned(count, total(design.weights * design.y), total(n * mu), total(n * mu * (1 - mu)), centre)


def by_probability(world: World) -> FloatArray:
    """Standardised difference of observed and expected in ten bins of the fitted probability."""
    place = bins_by(world.mu, world.design.trials)
    return binned(world.design, world.mu, place, world.mu).z


def by_predictors(world: World, places: Sequence[tuple[NDArray[np.int64], int]]) -> FloatArray:
    """For every predictor the sum of squares of the standardised differences in its bins."""
    return np.array([np.sum(binned(world.design, world.mu, p, world.mu, bins).z ** 2) for p, bins in places])


def residual_tests(world: World) -> FloatArray:
    """Uniformity (KS distance), log dispersion and share of outliers of quantile residuals, of two kinds.

    First of unconditional residuals (groups' effects averaged over), then of conditional ones (at their posterior
    means). Mid-distribution values stand for draws, so that nothing here is random.
    """
    design = world.design
    found = []
    for low, high, mean in (unconditional(world), conditional(world)):
        found += [uniform_distance(low, high), dispersion(design, mean), outer_share(low, high)]
    return np.array(found)


def conditional(world: World) -> tuple[FloatArray, FloatArray, FloatArray]:
    """P(Y < y), P(Y <= y) and E[Y / trials] of every row at its groups' posterior means."""
    return (*_between(world.design, world.mu[:, None], np.ones(1)), world.mu)


def unconditional(world: World) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The same, averaged over the random effects."""
    design, fit = world.design, world.fit
    eta = design.offset + design.X @ fit.params[: fit.n_fixed]
    variance = np.zeros(design.n_rows)
    for term, effects in zip(design.terms, world.effects, strict=True):
        variance += np.einsum("ij,jk,ik->i", term.Z, effects.Sigma, term.Z)
    mean = averaged(eta, variance, 0)[0]
    if np.all(design.trials <= 1):
        return (*_between(design, mean[:, None], np.ones(1)), mean)
    z, w = np.polynomial.hermite_e.hermegauss(31)
    mu = expit(eta[:, None] + np.sqrt(variance)[:, None] * z)
    return (*_between(design, mu, w / w.sum()), mean)


def _between(design: Design, mu: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    y, trials = design.y[:, None], design.trials[:, None]
    if np.all(design.trials == 1):
        p = mu @ weight
        return np.where(design.y > 0, 1 - p, 0.0), np.where(design.y > 0, 1.0, 1 - p)
    below = np.where(y > 0, bdtr(np.maximum(y - 1, 0), trials.astype(np.int64), mu), 0.0) @ weight
    return below, bdtr(y, trials.astype(np.int64), mu) @ weight


def uniform_distance(low: FloatArray, high: FloatArray) -> float:
    """Largest distance between the mean distribution function of randomised residuals and a uniform one.

    A residual drawn between ``low`` and ``high`` has a distribution function that rises linearly there; the mean of
    these over rows is what its empirical one tends to, without the noise of the draws.
    """
    high = np.maximum(high, low + 1e-9)
    slope = 1.0 / (high - low)
    at = np.linspace(0.0, 1.0, 401)
    # The mean of clip((t - low) / (high - low), 0, 1) over rows: rows begin to rise at low, and stop at high.
    mean = (_risen(at, low, slope) - _risen(at, high, slope)) / len(low)
    return float(np.max(np.abs(mean - at)))


def _risen(at: FloatArray, begin: FloatArray, slope: FloatArray) -> FloatArray:
    """The sum over rows of slope * max(t - begin, 0) at every t."""
    order = np.argsort(begin)
    count = np.searchsorted(begin[order], at, side="right")
    slopes = np.concatenate([[0.0], np.cumsum(slope[order])])[count]
    offsets = np.concatenate([[0.0], np.cumsum(slope[order] * begin[order])])[count]
    return slopes * at - offsets


def dispersion(design: Design, mean: FloatArray) -> float:
    """Log of the mean squared Pearson residual."""
    known = design.trials > 0
    n, mu = design.trials[known], mean[known]
    squared = (design.y[known] - n * mu) ** 2 / np.maximum(n * mu * (1 - mu), 1e-12)
    return float(np.log(max(float(np.mean(squared)), 1e-300)))


def outer_share(low: FloatArray, high: FloatArray) -> float:
    """Expected share of randomised residuals within ``OUTER`` of 0 or 1."""
    width = np.maximum(high - low, 1e-12)
    below = np.clip((OUTER - low) / width, 0.0, 1.0)
    above = np.clip((high - (1 - OUTER)) / width, 0.0, 1.0)
    return float(np.mean(below + above))
