"""Data as they would be if the model were right: drawn from the fit, fitted again, and looked at like the data.

A statistic that the estimation itself shapes (shrinkage pulls posterior means together, fitted probabilities follow the
outcomes) has no textbook distribution. The same statistic of refits to data drawn from the fitted model has the right
one, up to the estimates' own error (Davison & Hinkley 1997, section 4.4).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from melogit.design import Design
from melogit.diagnostics.context import (
    Context,
    NotChecked,
    generator,
    lighter,
    needs_maximum,
    paths_per_row,
    refit_alike,
)
from melogit.effects.crossed import crossed_posterior
from melogit.errors import MelogitError
from melogit.fit.integrate import evaluate_on, place
from melogit.fit.types import Fit
from melogit.inference.model_test import simulate_response
from melogit.inference.summit import Summit, return_to
from melogit.likelihood.covariance import lambdas

FloatArray = NDArray[np.float64]
# How many worlds to draw, by rows x integration points of one evaluation (never by time taken: the same seed gives the
# same numbers everywhere). With 24 worlds the smallest p-value is 0.04, just enough for a test at 5 %.
WORLDS = ((400_000, 99), (2_000_000, 39), (np.inf, 24))


@dataclass(frozen=True, slots=True)
class Effects:
    """The posterior of one grouping factor's effects: means and standard deviations (G, q), prior ``Sigma`` (q, q)."""

    mean: FloatArray
    std_err: FloatArray
    Sigma: FloatArray

    @property
    def z(self) -> FloatArray:
        """Posterior means over the standard deviation they have if the model is right, (G, q).

        That is the square root of the prior variance less the posterior one; NaN where a group says next to nothing.
        """
        prior = np.diag(self.Sigma)
        moves = prior - self.std_err**2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(moves > 1e-3 * prior, self.mean / np.sqrt(moves), np.nan)


@dataclass(frozen=True, slots=True)
class World:
    """Data and the fit to them: the user's own, or drawn ones.

    Attributes
    ----------
    design : Design
    fit : Fit
    summit : Summit
        The likelihood at the estimates; None where factors cross.
    effects : per grouping factor
    eta, mu : (n,)
        Linear predictor with the posterior means of the effects, and its probability.
    """

    design: Design
    fit: Fit
    summit: Summit | None
    effects: tuple[Effects, ...]
    eta: FloatArray
    mu: FloatArray


Statistic = Callable[[World], FloatArray]


def look_at(design: Design, fit: Fit, *, threads: int | None = None) -> World:
    """Find the posterior of a fit's groups again.

    Raises
    ------
    ModelError
        A fit without a finite maximum.
    """
    if not design.nested:
        levels = crossed_posterior(design, fit, slopes=False)
        effects = [_effects(level.mean, level.covariance, level.Lambda) for level in levels]
        return _world(design, fit, None, effects)
    summit = return_to(design, fit, threads=threads)
    nested = summit.nested
    grid = place(nested, summit.by, summit.x, summit.placed.nodes)
    found = None
    if grid is not None:
        found = evaluate_on(nested, summit.by, summit.x, grid, information=False, moments=True).evaluation
    if found is None or found.means is None or found.covs is None:
        raise NotChecked("The posterior of the groups could not be computed again at the estimates.")
    Lambda = lambdas(nested.covariance, fit.theta)
    parts = zip(Lambda, nested.unit_of_code, found.means, found.covs, strict=True)
    effects = [_effects(mean[units] @ L.T, L @ cov[units] @ L.T, L) for L, units, mean, cov in parts]
    return _world(design, fit, summit, effects)


def _effects(mean: FloatArray, covariance: FloatArray, L: FloatArray) -> Effects:
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    return Effects(mean, np.sqrt(np.maximum(variance, 0.0)), L @ L.T)


def _world(design: Design, fit: Fit, summit: Summit | None, effects: list[Effects]) -> World:
    eta = design.offset + design.X @ fit.params[: fit.n_fixed]
    for term, found in zip(design.terms, effects, strict=True):
        eta = eta + np.einsum("ij,ij->i", term.Z, found.mean[term.factor.codes])
    return World(design, fit, summit, tuple(effects), eta, expit(eta))


def needs_worlds(context: Context) -> None:
    """Refuse models that new data cannot be drawn from.

    Raises
    ------
    NotChecked
    """
    needs_maximum(context.fit)
    if np.any(context.design.weights != 1):
        raise NotChecked(
            "The check compares the data with data drawn from the model, and rows with frequency weights would be "
            "drawn alike. Write the rows out, or give counts with trials=, and check again."
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """Statistics of the data and of the worlds.

    Attributes
    ----------
    world : World
        The data's own.
    observed : mapping of name to (k,)
    drawn : mapping of name to (worlds, k)
    failed : int
        Worlds whose refit reached no maximum; they are left out.
    """

    world: World
    observed: Mapping[str, FloatArray]
    drawn: Mapping[str, FloatArray]
    failed: int

    @property
    def worlds(self) -> int:
        """How many were drawn and fitted."""
        return len(next(iter(self.drawn.values())))


def how_many(context: Context) -> int:
    """How many worlds a model of this size is compared with."""
    design = context.design
    if design.nested:
        cost = design.n_rows * paths_per_row(design, lighter(context).base)
    else:  # a dense matrix of all effects but those of the largest factor is factored again and again
        sizes = sorted(term.factor.n_levels * len(term.names) for term in design.terms)
        cost = 20 * design.n_rows + sum(sizes[:-1]) ** 3 / 10
    return next(count for most, count in WORLDS if cost <= most)


def compare(context: Context, statistics: Mapping[str, Statistic]) -> Compared:
    """Compute statistics of the data and of worlds drawn from the fit.

    Raises
    ------
    NotChecked
        Worlds cannot be drawn, or hardly any could be fitted.
    """
    needs_worlds(context)
    own = look_at(context.design, lighter(context).base, threads=context.threads)
    observed = {name: statistic(own) for name, statistic in statistics.items()}
    rng = generator(context, "worlds")
    wanted = how_many(context)
    seeds = rng.integers(0, 2**63, wanted)
    drawn: dict[str, list[FloatArray]] = {name: [] for name in statistics}
    failed = 0
    for k in range(wanted):
        world = _draw(context, np.random.default_rng(seeds[k]))
        if world is None:
            failed += 1
        else:
            for name, statistic in statistics.items():
                drawn[name].append(statistic(world))
        context.tell(f"world {k + 1} of {wanted} drawn from the model")
    done = wanted - failed
    if done < 0.8 * wanted:
        raise NotChecked(
            f"The model could be fitted to only {done} of {wanted} data sets drawn from itself, too few to judge by. "
            "It asks for more than data of this size can tell: simplify its random part."
        )
    return Compared(own, observed, {name: np.array(rows) for name, rows in drawn.items()}, failed)


def _draw(context: Context, rng: np.random.Generator) -> World | None:
    design = replace(context.design, y=simulate_response(context.design, context.fit, rng))
    try:
        return look_at(design, refit_alike(context, design), threads=context.threads)
    except (MelogitError, NotChecked):
        return None


def simulated_p(observed: float, drawn: FloatArray) -> float:
    """Share of worlds at least as extreme (large) as the data, which count as one of them."""
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(observed) or not len(drawn):
        return np.nan
    return float((1 + np.sum(drawn >= observed)) / (1 + len(drawn)))


def departures(observed: FloatArray, drawn: FloatArray) -> FloatArray:
    """How far each statistic (k,) of the data lies above its mean over data and worlds, in standard deviations."""
    everything = np.vstack([observed, drawn])
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # statistics that no world has
        far = (observed - np.nanmean(everything, axis=0)) / np.nanstd(everything, axis=0)
    return np.where(np.isfinite(far), far, -np.inf)


def joint_p(observed: FloatArray, drawn: FloatArray) -> float:
    """One p-value for several statistics, large ones speaking against the model.

    All are put on one scale (mean 0, variance 1 over data and worlds together) and the largest is compared: exact
    however they depend on each other, because the data are treated like any world.

    Parameters
    ----------
    observed : (k,)
    drawn : (worlds, k)
        Columns or worlds with values that are not finite are left out.

    Examples
    --------
    >>> worlds = np.random.default_rng(1).normal(size=(99, 3))
    >>> joint_p(np.array([0.0, 0.5, 9.0]), worlds)
    0.01
    """
    kept = np.isfinite(observed) & (np.isfinite(drawn).mean(axis=0) > 0.5)
    if not kept.any():
        return np.nan
    drawn = drawn[:, kept]
    everything = np.vstack([observed[kept], drawn[np.isfinite(drawn).all(axis=1)]])
    spread = everything.std(axis=0)
    scaled = (everything - everything.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    largest = scaled.max(axis=1)
    return float(np.mean(largest >= largest[0] - 1e-12))
