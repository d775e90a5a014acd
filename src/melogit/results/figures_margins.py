"""From tables of margins, and from fits, to the numbers of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference import normal_interval
from melogit.plots.groups import caterpillar
from melogit.plots.margins import Series, effect_rows, margin_curves, margin_points

Y_LABELS = {
    "probability": "Probability",
    "dydx": "Effect on the probability",
    "eyex": "Elasticity of the probability",
    "eydx": "Effect on the log probability",
    "dyex": "Effect of a proportional change on the probability",
    "contrast": "Difference",
}


def draw_margins(
    table: pd.DataFrame, settings: Sequence[str], measure: str, x: str | None, by: str | None, ax: Any
) -> Any:
    """Choose the figure that suits a table of margins, and draw it."""
    for name, word in ((x, "x"), (by, "by")):
        if name is not None and name not in settings:
            raise ModelError(f"{word}='{name}' is not a setting of these margins; they have {', '.join(settings)}.")
    free = [name for name in settings if _distinct(table, name) > 1 or len(settings) == 1]
    rowwise = measure == "contrast" or (x is None and not any(_is_number(table[name]) for name in free))
    if measure != "probability" and rowwise:
        texts = [_row_text(row, table, settings, measure) for _, row in table.iterrows()]
        estimate, low, high = (table[name].to_numpy(dtype=float) for name in ("margin", "ci_low", "ci_high"))
        return effect_rows(texts, estimate, low, high, Y_LABELS[measure], ax=ax)
    if x is None:
        numbers = [name for name in free if _is_number(table[name]) and _distinct(table, name) > 2]
        x = (numbers or free or list(settings))[0]
    rest = [by] if by is not None else [name for name in free if name != x]
    groups = [("", table)]
    if rest:
        keys = table[rest].map(_text).agg(", ".join, axis=1)
        groups = [(str(key), part) for key, part in table.groupby(keys, sort=False)]
    label = ", ".join(rest)
    if _is_number(table[x]):
        series = [_series(key, part, part[x].to_numpy(dtype=float)) for key, part in groups]
        return margin_curves(series, x, Y_LABELS[measure], label, ax=ax)
    categories = list(dict.fromkeys(_text(value) for value in table[x]))
    series = [
        _series(key, part, np.array([categories.index(_text(value)) for value in part[x]], dtype=float))
        for key, part in groups
    ]
    return margin_points(series, categories, x, Y_LABELS[measure], label, ax=ax)


def _row_text(row: Any, table: pd.DataFrame, settings: Sequence[str], measure: str) -> str:
    """Name an effect: the predictor, the levels compared, and whatever setting varies."""
    words = [_text(row["term"])] if "term" in settings else []
    if "contrast" in settings and row["contrast"] != measure:
        words.append(_text(row["contrast"]))
    others = [name for name in settings if name not in ("term", "contrast") and _distinct(table, name) > 1]
    text = ": ".join(words)
    return ", ".join([*([text] if text else []), *(f"{name} = {_text(row[name])}" for name in others)])


def _distinct(table: pd.DataFrame, name: str) -> int:
    return len(set(table[name]))


def _series(label: str, part: pd.DataFrame, x: np.ndarray) -> Series:
    estimate, low, high = (part[name].to_numpy(dtype=float) for name in ("margin", "ci_low", "ci_high"))
    return Series(label, x, estimate, low, high)


def _is_number(column: Any) -> bool:
    return all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in column)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def draw_caterpillar(fit: Fit, group: str | None, effect: str | None, level: float, ax: Any) -> Any:
    """Draw the posterior means of one random effect with their normal intervals."""
    terms = {term.name: term for term in fit.terms}
    if group is None and len(terms) > 1:
        group = fit.terms[-1].name
    term = terms.get(group) if group is not None else fit.terms[0]
    if term is None:
        raise ModelError(f"There is no grouping factor '{group}' in this model; it has {', '.join(terms)}.")
    if effect is not None and effect not in term.names:
        raise ModelError(f"'{term.name}' has no random effect '{effect}'; it has {', '.join(term.names)}.")
    at = 0 if effect is None and "Intercept" not in term.names else term.names.index(effect or "Intercept")
    low, high = normal_interval(term.means[:, at], term.std_err[:, at], level)
    name = f"Random effect of {term.name}" if term.names[at] == "Intercept" else f"Random slope of {term.names[at]}"
    return caterpillar(
        list(term.levels), term.means[:, at], low, high, f"{name}, {100 * level:g} % intervals", term.name, ax=ax
    )
