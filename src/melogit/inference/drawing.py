"""What a bootstrap draws: the schemes, checked once, and one sample of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, subset
from melogit.errors import ModelError
from melogit.fit.types import Fit, Status
from melogit.inference.model_test import simulate_response
from melogit.inference.pigeonhole import CrossedPlan, draw_crossed, plan_crossed
from melogit.inference.resampling import ROWS, Plan, draw, level_named, plan_groups, plan_rows

SCHEMES = ("cluster", "stagewise", "parametric", "rows", "weights")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How samples are drawn; made of arrays and texts alone, so that it can be sent to another process.

    Attributes
    ----------
    design : Design
    fit : Fit
    resample : str
        One of ``SCHEMES``.
    plan : Plan, CrossedPlan or None
        What groups or rows are drawn; None where responses or weights are.
    unit : int or None
        Level (0 is the top) of the groups that are drawn first and independently; None for rows and where groups cross.
    """

    design: Design
    fit: Fit
    resample: str
    plan: Plan | CrossedPlan | None
    unit: int | None


def plan_drawing(design: Design, fit: Fit, resample: Any, group: str | Sequence[str] | None) -> Drawing:
    """Check what is asked for, and prepare it.

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
    if resample in ("parametric", "rows", "weights") and group is not None:
        raise ModelError(f'group= belongs to resample="cluster" and "stagewise"; {resample} takes none.')
    if resample == "rows":
        return Drawing(design, fit, resample, plan_rows(), None)
    if resample == "parametric":
        if np.any(design.weights != 1):
            raise ModelError(
                "The parametric bootstrap does not know how rows with frequency weights vary: their copies would be "
                "simulated alike. Write the rows out, or give counts with trials=."
            )
        return Drawing(design, fit, resample, None, 0 if design.nested else None)
    if not design.nested:
        return _plan_crossed(design, fit, resample, group)
    if resample == "weights":
        plan_groups(design, [design.terms[0].factor.name])  # for its error: a single group
        return Drawing(design, fit, resample, None, 0)
    stages = _stages(design, resample, group)
    plan = plan_groups(design, stages)
    first = plan.drawn.index(True)
    return Drawing(design, fit, resample, plan, first if first < len(design.terms) else None)


def _plan_crossed(design: Design, fit: Fit, resample: str, group: Any) -> Drawing:
    if resample != "cluster":
        names = " and ".join(f"'{term.factor.name}'" for term in design.terms)
        raise ModelError(
            f'resample="{resample}" needs nested groups, and {names} cross each other. Use resample="parametric", or '
            'resample="cluster", which draws the groups of each factor by themselves.'
        )
    return Drawing(design, fit, resample, plan_crossed(design, _names_given(group) or []), None)


def _names_given(group: Any) -> list[str] | None:
    if group is None:
        return None
    given = [*group] if isinstance(group, Iterable) and not isinstance(group, str) else [group]
    if not all(isinstance(name, str) for name in given):
        raise ModelError(f"group={group!r} must be the name of a grouping factor, or a list of names.")
    return given


def _stages(design: Design, resample: str, group: Any) -> list[str]:
    names = [term.factor.name for term in design.terms]
    given = _names_given(group)
    if resample == "stagewise":
        return [*names, ROWS] if given is None else given
    if given is not None and len(given) != 1:
        raise ModelError(f'resample="cluster" draws the groups of one level, not of {len(given)}. Use "stagewise".')
    if given is not None:
        level_named(design, given[0])
    return given or names[:1]


def sample(drawing: Drawing, rng: np.random.Generator) -> Design:
    """Draw one sample (not for ``weights``, where the data stay as they are)."""
    if isinstance(drawing.plan, CrossedPlan):
        return draw_crossed(drawing.plan, drawing.design, rng)
    if drawing.plan is not None:
        return draw(drawing.plan, drawing.design, rng)
    return replace(drawing.design, y=simulate_response(drawing.design, drawing.fit, rng))


def draw_weights(drawing: Drawing, rng: np.random.Generator) -> FloatArray:
    """Weights (G,) of the top-level groups with mean 1: uniform on the simplex.

    References
    ----------
    Rubin, D. B. (1981). The Bayesian bootstrap. Ann. Statist. 9, 130-134.
    """
    found = rng.standard_exponential(drawing.design.terms[0].factor.n_levels)
    return found / found.mean()


def units(drawing: Drawing) -> int:
    """How many groups there are of the level that is drawn first; 0 where single rows are."""
    return 0 if drawing.unit is None else drawing.design.terms[drawing.unit].factor.n_levels


def without(drawing: Drawing, unit: int) -> Design:
    """The data without one group of the level that is drawn first, for the jackknife."""
    assert drawing.unit is not None
    return subset(drawing.design, drawing.design.terms[drawing.unit].factor.codes != unit)
