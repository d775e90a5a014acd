"""Planned two-arm studies: their sizes, their truth in the model's parameters, and one set of data from each.

References
----------
Donner, A. and Klar, N. (2000). Design and Analysis of Cluster Randomization Trials in Health Research. Arnold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from melogit.design import Block, Design, GroupingFactor, RandomTerm, Wording
from melogit.effects.integrals import averaged
from melogit.inference.icc import LOGISTIC_VARIANCE
from melogit.simulation.scenario import Scenario, key_of, off_zero

FloatArray = NDArray[np.float64]
TREATED = "treated"


@dataclass(frozen=True, slots=True)
class Trial:
    """A planned study with one treatment and rows in clusters, which may have clusters within.

    Attributes
    ----------
    clusters : int
    subclusters : int or None
        Per cluster; None for two levels.
    size : int
        Rows of each lowest group, on average.
    size_cv : float
        Coefficient of variation of that number between groups (gamma distributed, rounded, 1 at least).
    share : float
        Of the clusters (or subclusters, or rows) that are treated.
    treatment : str
        What is treated as a whole: ``cluster``, ``subcluster`` or ``row``.
    intercept, effect : float
        Log odds of an untreated row with random effects 0, and what the treatment adds.
    variances : tuple of float
        Of the random intercepts, top level first.
    """

    clusters: int
    subclusters: int | None
    size: int
    size_cv: float
    share: float
    treatment: str
    intercept: float
    effect: float
    variances: tuple[float, ...]


def variances_of(iccs: tuple[float, ...]) -> tuple[float, ...]:
    """Variances of the random intercepts from the latent intraclass correlations, cumulative from the top.

    Examples
    --------
    >>> [round(v, 4) for v in variances_of((0.1, 0.25))]
    [0.4386, 0.658]
    """
    total = LOGISTIC_VARIANCE / (1 - iccs[-1])
    return tuple(float(v) for v in np.diff([0.0, *iccs]) * total)


def iccs_of(variances: tuple[float, ...]) -> tuple[float, ...]:
    """Intraclass correlations, cumulative from the top, of these variances."""
    return tuple(float(v) for v in np.cumsum(variances) / (sum(variances) + LOGISTIC_VARIANCE))


def share_at(logit: float, variances: tuple[float, ...]) -> float:
    """Share of events in the population where the log odds are this at random effects of 0."""
    return float(averaged(np.array([logit]), np.array([sum(variances)]), 0)[0, 0])


def logit_at(share: float, variances: tuple[float, ...]) -> float:
    """Log odds at random effects of 0 that make this share of events in the population.

    Examples
    --------
    >>> round(share_at(logit_at(0.3, (1.5,)), (1.5,)), 12)
    0.3
    """
    far = 60.0 + 12.0 * float(np.sqrt(sum(variances)))
    root = brentq(lambda t: share_at(t, variances) - share, -far, far, xtol=1e-12)
    return float(root)  # pyright: ignore[reportArgumentType]


def trial_scenario(trial: Trial) -> Scenario:
    """Make a study ready to be tried out."""
    return Scenario(
        draw=partial(draw_trial, trial),
        column=1,
        effect=trial.effect,
        start=(np.array([trial.intercept, trial.effect]), off_zero(np.sqrt(np.array(trial.variances)))),
        key=key_of(trial),
    )


def draw_trial(trial: Trial, rng: np.random.Generator) -> Design:
    """One set of data: group sizes, random effects and responses drawn."""
    lowest = trial.clusters * (trial.subclusters or 1)
    size = np.full(lowest, trial.size)
    if trial.size_cv > 0:
        spread = trial.size_cv**2
        size = np.maximum(1, np.rint(rng.gamma(1 / spread, trial.size * spread, lowest))).astype(np.int64)
    low = np.repeat(np.arange(lowest), size)
    top = low // (trial.subclusters or 1)
    unit = {"cluster": top, "subcluster": low, "row": np.arange(len(low))}[trial.treatment]
    x = np.floor((unit + 1) * trial.share + 1e-9) - np.floor(unit * trial.share + 1e-9)
    levels = [("cluster", top)] if trial.subclusters is None else [("cluster", top), ("cluster:subcluster", low)]
    eta = trial.intercept + trial.effect * x
    for (_, codes), variance in zip(levels, trial.variances, strict=True):
        eta += np.sqrt(variance) * rng.standard_normal(codes[-1] + 1)[codes]
    y = (rng.random(len(eta)) < expit(eta)).astype(np.float64)
    ones = np.ones(len(y))
    path = "/".join(name.split(":")[-1] for name, _ in levels)
    return Design(
        y=y,
        trials=ones,
        weights=ones,
        offset=np.zeros(len(y)),
        X=np.column_stack([ones, x]),
        x_names=("Intercept", TREATED),
        terms=tuple(_intercepts(name, codes) for name, codes in levels),
        nested=True,
        wording=Wording(f"y ~ {TREATED} + (1 | {path})", "y", rows_read=len(y), rows_used=len(y)),
    )


def _intercepts(name: str, codes: NDArray[np.int64]) -> RandomTerm:
    labels = np.arange(codes[-1] + 1).astype(str).astype(object)
    factor = GroupingFactor(name, tuple(name.split(":")), codes.astype(np.int32), labels)
    return RandomTerm(factor, np.ones((len(codes), 1)), ("Intercept",), (Block(0, 1, "unstructured"),))


def first_guess(trial: Trial, needed: float) -> float:
    """Clusters that a normal approximation of the estimate asks for.

    Moerbeek, M., van Breukelen, G. J. P. and Berger, M. P. F. (2001). The Statistician 50, 17-30: a row has variance
    1 / (p (1 - p)) on the scale of the log odds.

    Parameters
    ----------
    trial : Trial
    needed : float
        Effect over standard error that is asked for.
    """
    p = expit(trial.intercept + trial.effect / 2)
    rows = trial.size * (trial.subclusters or 1)
    per_cluster = 1 / (rows * p * (1 - p))
    if trial.treatment == "cluster":
        per_cluster += trial.variances[0]
    if trial.treatment != "row" and trial.subclusters is not None:
        per_cluster += trial.variances[1] / trial.subclusters
    return per_cluster / (trial.share * (1 - trial.share)) * (needed / trial.effect) ** 2
