"""Draw a new data set from one whose groups cross: the groups of every factor by themselves. Design -> Design.

A row is kept as often as its groups were drawn, once for every pair of their copies; each copy is a group of its own.

References
----------
Owen, A. B. (2007). The pigeonhole bootstrap. Ann. Appl. Stat. 1, 386-411.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, GroupingFactor
from melogit.errors import ModelError
from melogit.inference.resampling import ROWS, level_named, taken

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CrossedPlan:
    """Which factors are drawn, prepared once.

    Attributes
    ----------
    drawn : tuple of int
        Factors whose groups are drawn; none of them lies within another one of them.
    carried : per factor, tuple of int
        The drawn factors whose groups hold this factor's groups whole (itself included): its groups are copied along.
    """

    drawn: tuple[int, ...]
    carried: tuple[tuple[int, ...], ...]


def plan_crossed(design: Design, names: Sequence[str]) -> CrossedPlan:
    """Prepare to draw the groups of these factors; of all that lie within no other one, where none is named.

    Raises
    ------
    ModelError
        An unknown name; a factor with a single group; factors of which one lies within the other.
    """
    factors = [term.factor for term in design.terms]
    if ROWS in names:
        raise ModelError(
            "Rows cannot be drawn within groups that cross each other: a row lies in several. Name grouping factors "
            'only, or use resample="parametric".'
        )
    chosen = list(dict.fromkeys(level_named(design, name) for name in names))
    inside = [[_holds(upper, lower) for upper in factors] for lower in factors]
    if not chosen:
        chosen = [k for k in range(len(factors)) if sum(inside[k]) == 1]
    for k in chosen:
        if factors[k].n_levels < 2:
            raise ModelError(f"'{factors[k].name}' has a single group: every sample would hold it and nothing else.")
        above = [j for j in chosen if j != k and inside[k][j]]
        if above:
            raise ModelError(
                f"The groups of '{factors[k].name}' lie within those of '{factors[above[0]].name}' and are drawn along "
                f"with them. Leave '{factors[k].name}' out of group=."
            )
    carried = tuple(tuple(j for j in chosen if inside[k][j]) for k in range(len(factors)))
    return CrossedPlan(tuple(chosen), carried)


def _holds(upper: GroupingFactor, lower: GroupingFactor) -> bool:
    """Every group of ``lower`` lies in one group of ``upper``."""
    parent = np.zeros(lower.n_levels, dtype=np.int32)
    parent[lower.codes] = upper.codes
    return bool((parent[lower.codes] == upper.codes).all())


def draw_crossed(plan: CrossedPlan, design: Design, rng: np.random.Generator) -> Design:
    """Draw one sample: as many groups of each drawn factor as there are, with replacement."""
    n = design.n_rows
    times = np.ones(n, dtype=np.int64)
    counts: dict[int, Int] = {}
    for k in plan.drawn:
        factor = design.terms[k].factor
        counts[k] = np.bincount(rng.integers(0, factor.n_levels, factor.n_levels), minlength=factor.n_levels)
        times *= counts[k][factor.codes]
    rows = np.repeat(np.arange(n), times)
    which = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)  # 0 .. times - 1 within each row
    copies: dict[int, Int] = {}
    for k in plan.drawn:
        size = counts[k][design.terms[k].factor.codes[rows]]
        which, copies[k] = np.divmod(which, size)
    codes, labels = [], []
    for term, along in zip(design.terms, plan.carried, strict=True):
        code = term.factor.codes[rows].astype(np.int64)
        for k in along:
            code = code * (int(counts[k].max()) + 1) + copies[k]
        _, inner = np.unique(code, return_inverse=True)
        codes.append(inner)
        top = int(inner.max()) + 1 if len(inner) else 0
        labels.append(np.arange(1, top + 1).astype(str).astype(object) if along else None)
    known = [term.factor.levels for term in design.terms]
    kept = [np.unique(term.factor.codes[rows]) for term in design.terms]
    names = [own if own is not None else level[seen] for own, level, seen in zip(labels, known, kept, strict=True)]
    return taken(design, rows, design.weights[rows], codes, names)
