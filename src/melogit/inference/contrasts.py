"""Contrasts between the levels of a factor, as weights on its levels."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.report.rows import split_levels

FloatArray = NDArray[np.float64]
KINDS = ("reference", "adjacent", "mean", "helmert", "polynomial")


def factor_levels(term: str, fixed: Sequence[str], bases: Sequence[tuple[str, str]]) -> list[tuple[str, int | None]]:
    """Levels of a factor, base first, each with the position of its coefficient (None for the base).

    Raises
    ------
    ModelError
        No such factor, or one without a base level in the model.

    Examples
    --------
    >>> factor_levels("stage", ["Intercept", "stage[II]", "stage[III]"], [("stage", "I")])
    [('I', None), ('II', 1), ('III', 2)]
    """
    split = [split_levels(name) for name in fixed]
    factors = list(dict.fromkeys(heading for heading, level in split if level))
    if term not in factors or term not in dict(bases):
        simple = [name for name in factors if name in dict(bases)]
        close = difflib.get_close_matches(str(term), simple, n=1, cutoff=0.5)
        heading, level = split_levels(str(term))
        if level and heading in dict(bases):
            what = f"'{term}' is one level, and a contrast compares at least two. Name the factor: '{heading}'."
        elif any(term == name for name in fixed):
            what = f"'{term}' is a single column, not a factor with levels; its coefficient is in the summary."
        elif close:
            what = f"There is no factor '{term}' in this model. Did you mean '{close[0]}'?"
        else:
            listed = f"it has {', '.join(simple)}" if simple else "it has no factor with a base level"
            what = f"There is no factor '{term}' in this model; {listed}."
        raise ModelError(what)
    found: list[tuple[str, int | None]] = [(dict(bases)[term], None)]
    found += [(level, index) for index, (heading, level) in enumerate(split) if heading == term and level]
    return found


def rows_of(kind: str, levels: Sequence[str]) -> tuple[list[str], FloatArray]:
    """Labels and weights (k, number of levels) of a family of contrasts.

    ``reference``: each level against the base; ``adjacent``: each against the one before; ``mean``: each against
    the mean of all; ``helmert``: each against the mean of those before; ``polynomial``: orthogonal trends.

    Examples
    --------
    >>> rows_of("adjacent", ["I", "II", "III"])[0]
    ['II vs I', 'III vs II']
    """
    if kind not in KINDS:
        raise ModelError(f"kind={kind!r} is not one of {', '.join(map(repr, KINDS))}.")
    n = len(levels)
    unit = np.eye(n)
    if kind == "reference":
        return [f"{name} vs {levels[0]}" for name in levels[1:]], unit[1:] - unit[0]
    if kind == "adjacent":
        return [f"{b} vs {a}" for a, b in pairwise(levels)], unit[1:] - unit[:-1]
    if kind == "mean":
        return [f"{name} vs mean" for name in levels], unit - 1 / n
    if kind == "helmert":
        before = np.array([(np.arange(n) < k) / k for k in range(1, n)])
        return [f"{name} vs mean of levels before" for name in levels[1:]], unit[1:] - before
    names = ["linear", "quadratic", "cubic", "quartic", "quintic"]
    steps = np.arange(n) - (n - 1) / 2
    basis, upper = np.linalg.qr(np.vander(steps, increasing=True))
    trends = (basis * np.sign(np.diag(upper))).T[1:]
    return [names[k] if k < len(names) else f"degree {k + 1}" for k in range(n - 1)], trends


def pairs_of(levels: Sequence[str]) -> tuple[list[str], FloatArray]:
    """All pairs of levels, the later minus the earlier.

    Examples
    --------
    >>> pairs_of(["I", "II", "III"])[0]
    ['II vs I', 'III vs I', 'III vs II']
    """
    unit = np.eye(len(levels))
    pairs = list(combinations(range(len(levels)), 2))
    return [f"{levels[b]} vs {levels[a]}" for a, b in pairs], np.array([unit[b] - unit[a] for a, b in pairs])
