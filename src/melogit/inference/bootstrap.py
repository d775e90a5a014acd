"""Bootstrap: fit the model anew to many samples, and read uncertainty off how the answers vary.

References
----------
Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge. Chapters 2, 3.8 and 5.
Efron, B. and Tibshirani, R. J. (1993). An Introduction to the Bootstrap. Chapman & Hall. Chapters 12-14.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from melogit.design import Design
from melogit.errors import MelogitError, MelogitWarning, ModelError
from melogit.fit import Settings, fit_design
from melogit.fit.types import Fit, Status
from melogit.inference.model_test import settings_of, simulate_response
from melogit.inference.resampling import ROWS, draw, level_named, plan_groups, plan_rows
from melogit.inference.wald import critical_value

FloatArray = NDArray[np.float64]
SCHEMES = ("cluster", "stagewise", "parametric", "rows")
KINDS = ("normal", "basic", "percentile", "bc")
CLEARLY_FULL = 1e-8  # least eigenvalue of a correlation matrix that needs no closer look

Sampler = Callable[[np.random.Generator], Design]
Measure = Callable[[Fit, Design], FloatArray]


@dataclass(frozen=True, slots=True)
class Failure:
    """A replicate that gave no answer: its number, counted from 1, and why."""

    replicate: int
    reason: str


@dataclass(frozen=True, slots=True)
class Replicates:
    """What the samples gave.

    Attributes
    ----------
    values : (done, k)
        Row r - 1 is replicate r; NaN where it failed.
    failures : tuple of Failure
    warned : tuple of (str, int)
        Kinds of warnings that refits gave, and in how many replicates that are used.
    """

    values: FloatArray
    failures: tuple[Failure, ...]
    warned: tuple[tuple[str, int], ...]


def sampler(design: Design, fit: Fit, resample: str, group: str | Sequence[str] | None) -> Sampler:
    """Make the function that draws a sample.

    Raises
    ------
    ModelError
        An unknown scheme or group; a fit or data that cannot be drawn from in this way.
    """
    if resample not in SCHEMES:
        raise ModelError(f"resample={resample!r} is not known. Choose one of {', '.join(SCHEMES)}.")
    if fit.status is Status.SEPARATED:
        raise ModelError(
            "Some coefficients of this model are infinite (separation), and no spread of samples can be read off them. "
            "Leave the separating predictor out."
        )
    if not fit.converged:
        raise ModelError(f"This model did not converge ({fit.status.value}), so there is no estimate to bootstrap.")
    if resample in ("parametric", "rows"):
        if group is not None:
            raise ModelError(f'group= belongs to resample="cluster" and "stagewise"; {resample} takes none.')
        if resample == "rows":
            rows = plan_rows()
            return lambda rng: draw(rows, design, rng)
        if np.any(design.weights != 1):
            raise ModelError(
                "The parametric bootstrap does not know how rows with frequency weights vary: their copies would be "
                "simulated alike. Write the rows out, or give counts with trials=."
            )
        return lambda rng: replace(design, y=simulate_response(design, fit, rng))
    names = [term.factor.name for term in design.terms]
    given = (
        [group]
        if isinstance(group, str)
        else None
        if group is None
        else [*group]
        if isinstance(group, Iterable)
        else [group]
    )
    if given is not None and not all(isinstance(name, str) for name in given):
        raise ModelError(f"group={group!r} must be the name of a grouping factor, or a list of names.")
    if resample == "cluster":
        if given is not None and len(given) != 1:
            raise ModelError(f'resample="cluster" draws the groups of one level, not of {len(given)}. Use "stagewise".')
        if given is not None:
            level_named(design, given[0])
        stages = given or names[:1]
    else:
        stages = [*names, ROWS] if given is None else given
    plan = plan_groups(design, stages)
    return lambda rng: draw(plan, design, rng)


def replicate(
    sample: Sampler,
    fit: Fit,
    measure: Measure,
    k: int,
    reps: int,
    seed: int,
    *,
    threads: int | None = None,
    after_each: Callable[[int], None] | None = None,
) -> Replicates:
    """Draw, refit and measure, ``reps`` times. Replicate r depends on ``(seed, r)`` alone.

    Parameters
    ----------
    sample : callable
        From ``sampler``.
    fit : Fit
        Of the data; the samples are fitted by the same method and points.
    measure : callable
        What to keep of a refit: (k,).
    k : int
    reps : int
    seed : int
    threads : int, optional
        Of each fit; does not change the numbers.
    after_each : callable, optional
        Called with the number of replicates done.

    Returns
    -------
    Replicates
        Fewer than ``reps`` rows where Ctrl-C was pressed after the second replicate.
    """
    values: list[FloatArray] = []
    failures: list[Failure] = []
    warned: Counter[str] = Counter()
    settings = settings_of(fit, threads=threads)
    try:
        for r in range(1, reps + 1):
            row, reason, said = _one(sample, np.random.default_rng([seed, r]), settings, measure)
            if reason:
                failures.append(Failure(r, reason))
            warned.update(said)
            values.append(np.full(k, np.nan) if row is None else row)  # last: Ctrl-C may come between any two lines
            if after_each is not None:
                after_each(r)
    except KeyboardInterrupt:
        if len(values) < 2:
            raise
    failures = [f for f in failures if f.replicate <= len(values)]
    return Replicates(np.array(values), tuple(failures), tuple(sorted(warned.items())))


def _one(
    sample: Sampler, rng: np.random.Generator, settings: Settings, measure: Measure
) -> tuple[FloatArray | None, str, set[str]]:
    """One replicate: its values, or None and the reason why there are none; and the kinds of warnings given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MelogitWarning)
        try:
            design = sample(rng)
            _check_rank(design)
            refit = fit_design(design, settings)
            if not refit.converged:
                return None, refit.status.value, set()
            row = measure(refit, design)
        except (MelogitError, np.linalg.LinAlgError, MemoryError) as error:
            return None, str(error) or type(error).__name__, set()
    if not np.isfinite(row).all():
        return None, "the statistic is not a finite number", set()
    return row, "", {w.category.__name__ for w in caught if issubclass(w.category, MelogitWarning)}


def _check_rank(design: Design) -> None:
    """Refuse a sample in which predictors are collinear, as when it lacks a rare level."""
    others = np.array([name != "Intercept" for name in design.x_names], dtype=bool)
    X = design.X[:, others]
    size = np.abs(X).max(axis=0, initial=0.0)
    if not others.all():
        X = X - X.mean(axis=0)
    spread = np.sqrt(np.mean(X**2, axis=0))
    for j in np.flatnonzero(spread <= 1e-13 * size):
        raise ModelError(f"'{np.array(design.x_names)[others][j]}' does not vary in this sample.")
    X = X / spread
    if X.shape[1] == 0 or np.linalg.eigvalsh(X.T @ X / len(X))[0] > CLEARLY_FULL:  # far quicker than the QR below
        return
    if np.linalg.matrix_rank(np.linalg.qr(X, mode="r")) < X.shape[1]:
        raise ModelError("The predictors are collinear in this sample.")


def interval(values: FloatArray, observed: float, kind: str, level: float) -> tuple[float, float]:
    """Confidence interval from replicates.

    Parameters
    ----------
    values : (r,)
        Replicates without failed ones.
    observed : float
    kind : {"normal", "basic", "percentile", "bc"}
        ``observed +- z se`` (not corrected for bias, as in Stata); quantiles of the replicates reflected at the
        observed value; the quantiles themselves; quantiles corrected for the share of replicates at or below it.
    level : float

    Returns
    -------
    low, high : float
        NaN for ``bc`` where all replicates lie on one side of the observed value.

    Notes
    -----
    Quantile p is replicate number ``(r + 1) p`` in order of size, between two of them linearly, and at most the last.

    Examples
    --------
    >>> [round(limit, 6) for limit in interval(np.arange(1.0, 100.0), 50.0, "percentile", 0.9)]
    [5.0, 95.0]
    """
    z = critical_value(level)
    if kind == "normal":
        half = z * float(values.std(ddof=1))
        return observed - half, observed + half
    tail = (1 - level) / 2
    shares = np.array([tail, 1 - tail])
    if kind == "bc":
        below = float(np.mean(values <= observed))
        if not 0 < below < 1:
            return np.nan, np.nan
        shares = ndtr(2 * ndtri(below) + np.array([-z, z]))
    elif kind not in KINDS:
        raise ModelError(f"kind={kind!r} is not known. Choose one of {', '.join(KINDS)}.")
    low, high = np.quantile(values, shares, method="weibull")
    if kind == "basic":
        low, high = 2 * observed - high, 2 * observed - low
    return float(low), float(high)
