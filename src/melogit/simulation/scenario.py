"""One planned study as the trials need it, and studies that repeat or extend one that was already fitted."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, GroupingFactor, RandomTerm
from melogit.fit.types import Fit
from melogit.inference.model_test import simulate_response

FloatArray = NDArray[np.float64]
LEAST_SD = 0.1


@dataclass(frozen=True, slots=True)
class Scenario:
    """A study to be tried out.

    Attributes
    ----------
    draw : callable
        Generator -> Design, with responses.
    column : int
        Of X: the coefficient that is tested.
    effect : float
        Its true value.
    start : (beta, theta)
        The true parameters, where each fit begins.
    key : int
        Made from all that defines the study, so that different ones draw independently from the same seed.
    """

    draw: Callable[[np.random.Generator], Design]
    column: int
    effect: float
    start: tuple[FloatArray, FloatArray]
    key: int


def off_zero(theta: FloatArray) -> FloatArray:
    """Where to start: a standard deviation of 0 is always a stationary point, and none to start from."""
    return np.where(np.abs(theta) < LEAST_SD, LEAST_SD, theta)


def key_of(*parts: object) -> int:
    """Make a number of what defines a study, the same on every machine."""
    return zlib.crc32(repr(parts).encode())


def fit_scenario(design: Design, fit: Fit, column: int, effect: float, clusters: int | None) -> Scenario:
    """Make a study like the one that was fitted, with another effect, and perhaps another number of clusters.

    Parameters
    ----------
    design, fit : Design, Fit
    column : int
        Of X: the coefficient that gets the value ``effect``.
    effect : float
    clusters : int or None
        Top-level groups, drawn with replacement from those of the design, with all their rows and predictors; None:
        the design as it is.
    """
    params = fit.params.copy()
    params[column] = effect
    changed = replace(fit, params=params)
    return Scenario(
        draw=partial(draw_again, design, changed, clusters),
        column=column,
        effect=effect,
        start=(params[: fit.n_fixed], off_zero(fit.theta)),
        key=key_of(fit.wording.formula, column, float(effect), clusters),
    )


def draw_again(design: Design, fit: Fit, clusters: int | None, rng: np.random.Generator) -> Design:
    """Draw clusters, if asked for, and responses."""
    if clusters is not None:
        design = drawn_clusters(design, rng.integers(0, design.terms[0].factor.n_levels, clusters))
    return replace(design, y=simulate_response(design, fit, rng))


def drawn_clusters(design: Design, chosen: NDArray[np.int64]) -> Design:
    """Make a design of whole top-level groups; each copy of a group is a group of its own, as are those inside it."""
    top = design.terms[0].factor
    order = np.argsort(top.codes, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(top.codes, minlength=top.n_levels))])
    size = np.diff(start)[chosen]
    copy = np.repeat(np.arange(len(chosen)), size)
    within = np.arange(len(copy)) - np.repeat(np.cumsum(size) - size, size)
    rows = order[start[chosen[copy]] + within]
    terms = []
    for term in design.terms:
        factor = term.factor
        seen, codes = np.unique(copy * factor.n_levels + factor.codes[rows], return_inverse=True)
        labels = np.arange(1, len(seen) + 1).astype(str).astype(object)
        factor = GroupingFactor(factor.name, factor.columns, codes.astype(np.int32), labels)
        terms.append(RandomTerm(factor, np.ascontiguousarray(term.Z[rows]), term.names, term.blocks))
    return replace(
        design,
        y=design.y[rows],
        trials=design.trials[rows],
        weights=design.weights[rows],
        offset=design.offset[rows],
        X=np.ascontiguousarray(design.X[rows]),
        terms=tuple(terms),
        row_labels=np.empty(0, dtype=object),
    )
