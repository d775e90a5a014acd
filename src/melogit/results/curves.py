"""Predicted curves of groups, for the spaghetti plot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.effects.parameters import parameters
from melogit.effects.posterior import Posterior
from melogit.effects.predict import predict
from melogit.effects.rows import EffectRows, fixed_part
from melogit.effects.settings import level_text, read_at, refuse_offset
from melogit.effects.views import Frame
from melogit.errors import ModelError
from melogit.formula.recipe import constant, factor_levels, matrices
from melogit.plots.groups import spaghetti
from melogit.results.after import Model, recipe_of, rows_of_fit
from melogit.results.answers import means_of

FloatArray = NDArray[np.float64]
POINTS = 61


def draw_groups(model: Model, x: str, group: str | None, at: dict[str, Any], most: int, level: float, ax: Any) -> Any:
    """Predict every group along ``x`` and draw the curves."""
    recipe = recipe_of(model, "Curves of groups")
    _, rows = rows_of_fit(model, "Curves of groups")
    names = [term.name for term in model.fit.terms]
    if group is not None and group not in names:
        raise ModelError(f"There is no grouping factor '{group}' in this model; it has {', '.join(names)}.")
    depth = len(names) - 1 if group is None else names.index(group)
    column = recipe.column(x)
    if factor_levels(recipe, x) is not None:
        raise ModelError(f"plot_groups draws against a number, and '{x}' is a factor. Use margins(at=..., over=...).")
    refuse_offset(recipe, x, "plot_groups")
    if x in at:
        raise ModelError(f"'{x}' is drawn on the axis and cannot be set by at= as well.")
    assert recipe.sample is not None
    found = parameters(model.fit)
    settings, _ = read_at(at or None, Frame(recipe, rows, recipe.sample, fixed_part(rows, found)))
    if len(settings) > 1:
        raise ModelError("plot_groups draws one setting: give one value for each predictor in at=.")
    grid = np.linspace(column.low, column.high, POINTS)
    values = {}
    words = []
    for other in recipe.columns:
        if other.name == x:
            values[x] = grid
            continue
        chosen = settings[0].get(other.name, _typical(recipe.sample[other.name], factor_levels(recipe, other.name)))
        values[other.name] = constant(other, chosen, POINTS)
        words.append(
            f"{other.name} = {chosen:.3g}" if isinstance(chosen, float) else f"{other.name} = {level_text(chosen)}"
        )
    X, Z = matrices(recipe, values, POINTS)
    offset = np.full(POINTS, float(np.average(rows.offset, weights=rows.weights)))
    posterior = means_of(model)
    chosen_groups = _spaced(posterior[depth].mean @ Z[depth][POINTS // 2], most)
    curves = np.array([_curve(model, X, Z, offset, posterior, depth, int(g)) for g in chosen_groups])
    base = EffectRows(X, Z, offset, np.ones(POINTS), ())
    average = predict(model.fit, base, "marginal", None, uncertain=True, level=level)
    assert average.low is not None and average.high is not None
    return spaghetti(
        grid, curves, average.values, average.low, average.high, x, names[depth], subtitle=_wrapped(words), ax=ax
    )


def _typical(values: Any, levels: tuple | None) -> object:
    """The mean of a number, the commonest level of a factor."""
    if levels is None:
        return float(np.mean(np.asarray(values, dtype=float)))
    return pd.Series(np.asarray(values)).mode().iloc[0]


def _spaced(order: FloatArray, most: int) -> NDArray[np.intp]:
    ranked = np.argsort(order, kind="stable")
    if len(ranked) <= most:
        return ranked
    return ranked[np.unique(np.rint(np.linspace(0, len(ranked) - 1, most)).astype(np.intp))]


def _curve(
    model: Model, X: FloatArray, Z: tuple[FloatArray, ...], offset: FloatArray, posterior: Posterior, depth: int, g: int
) -> FloatArray:
    path = [g]
    for level in range(depth, 0, -1):
        path.insert(0, int(posterior[level].parent[path[0]]))
    codes = tuple(np.full(len(X), path[k] if k <= depth else -1, dtype=np.int64) for k in range(len(Z)))
    return predict(model.fit, EffectRows(X, Z, offset, np.ones(len(X)), codes), "mu", posterior).values


def _wrapped(words: list[str]) -> str:
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) > 74:
            lines.append(line + ",")
            line = word
        else:
            line = f"{line}, {word}" if line else word
    return "\n".join([*lines, line]) if line else ""
