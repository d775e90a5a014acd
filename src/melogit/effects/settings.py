"""What a call of margins asks for, checked: settings of predictors, targets, groups of rows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.effects.margins import Target
from melogit.effects.rows import EffectRows
from melogit.effects.views import Frame
from melogit.errors import DataError, ModelError
from melogit.formula.plan import plan_formula
from melogit.formula.recipe import Recipe, Values, factor_levels, from_codes, level_of, matrices
from melogit.formula.response import label

FloatArray = NDArray[np.float64]
STATISTICS = ("mean", "median", "min", "max")
MAX_SETTINGS = 10_000
MAX_COMBINATIONS = 100_000


def read_at(at: Any, found: Frame) -> tuple[list[dict[str, object]], list[str]]:
    """Multiply out ``at=``: one dict of predictor -> value for each setting.

    Returns
    -------
    settings : list of dict
        One empty dict where nothing is set.
    notes : list of str
        About values outside the range of the fitted data.
    """
    if at is None:
        return [{}], []
    grids = (
        [at] if isinstance(at, Mapping) else list(at) if isinstance(at, Sequence) and not isinstance(at, str) else []
    )
    if not grids or not all(isinstance(grid, Mapping) for grid in grids):
        raise ModelError(
            f"at={at!r} cannot be read: give a dict such as {{'age': [40, 60], 'stage': 'II'}}, or a list of them."
        )
    settings: list[dict[str, object]] = []
    notes: list[str] = []
    for grid in grids:
        choices = {name: _values(name, asked, found, notes) for name, asked in grid.items()}
        settings += [dict(zip(choices, chosen, strict=True)) for chosen in itertools.product(*choices.values())]
    if len(settings) > MAX_SETTINGS:
        raise ModelError(f"at= makes {len(settings):,} settings; the limit is {MAX_SETTINGS:,}. Ask for fewer values.")
    return settings, list(dict.fromkeys(notes))


def _values(name: str, asked: Any, found: Frame, notes: list[str]) -> list[object]:
    """The values that one predictor is set to."""
    column = found.recipe.column(name)
    refuse_offset(found.recipe, name, "at=")
    levels = factor_levels(found.recipe, name)
    single = isinstance(asked, (str, bytes)) or not hasattr(asked, "__iter__")
    values = [asked] if single else list(asked)
    if not values:
        raise ModelError(f"at= gives no value for '{name}'.")
    if levels is not None:
        if single and asked == "levels":
            return list(levels)
        if column.kind == "number":  # C(number)
            level = replace(column, levels=levels)
            return [level_of(level, value) for value in values]
        return [level_of(column, value) for value in values]
    out: list[object] = []
    for value in values:
        if isinstance(value, str):
            out.append(_statistic(name, value, found))
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if isinstance(value, (bool, np.bool_)) or not np.isfinite(number):
            raise DataError(f"'{name}' is a number in this model and cannot be set to {value!r}.")
        if not column.low <= number <= column.high:
            notes.append(
                f"{name} = {number:g} lies outside the fitted data ({column.low:g} to {column.high:g}): the margin "
                "there is an extrapolation."
            )
        out.append(number)
    return out


def _statistic(name: str, word: str, found: Frame) -> float:
    values = np.asarray(found.columns[name], dtype=np.float64)
    if word == "mean":
        return float(np.average(values, weights=found.rows.weights))
    if word in STATISTICS:
        return float({"median": np.median, "min": np.min, "max": np.max}[word](values))
    if word[:1] == "p" and word[1:].isdigit() and 0 < int(word[1:]) < 100:
        return float(np.percentile(values, int(word[1:])))
    raise DataError(
        f"'{name}' is a number in this model and cannot be set to '{word}'. Besides numbers there are 'mean', "
        "'median', 'min', 'max' and percentiles such as 'p25'."
    )


def refuse_offset(recipe: Recipe, name: str, where: str) -> None:
    """A predictor that also stands in the offset cannot be changed alone."""
    offsets = {c for e in plan_formula(recipe.formula).offsets for c in e.columns.values()} | {recipe.offset}
    if name in offsets:
        raise ModelError(
            f"{where} names '{name}', which is also in the offset. Give margins(data=...) with the column changed."
        )


def read_targets(asked: Mapping[str, Any], recipe: Recipe) -> list[Target]:
    """Read ``dydx=``, ``eyex=``, ``eydx=``, ``dyex=``: at most one of them.

    Parameters
    ----------
    asked : mapping of measure to None, predictor, list of predictors or "*"
    recipe : Recipe
    """
    given = {measure: names for measure, names in asked.items() if names is not None}
    if len(given) > 1:
        raise ModelError(
            f"{' and '.join(f'{m}=' for m in given)} cannot be given together. Call margins once for each."
        )
    if not given:
        return [Target()]
    ((measure, names),) = given.items()
    everything = isinstance(names, str) and names == "*"
    wanted = [c.name for c in recipe.columns] if everything else [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ModelError(f"{measure}= names no predictor, and the model has {len(recipe.columns)} of them.")
    out: list[Target] = []
    for name in wanted:
        levels = factor_levels(recipe, name)
        refuse_offset(recipe, name, f"{measure}=")
        if levels is None:
            _check_smooth(recipe, name, measure)
            out.append(Target(name, measure))
            continue
        if measure in ("eyex", "dyex"):
            raise ModelError(
                f"{measure}= needs a continuous predictor, and '{name}' is a factor. Use dydx= or eydx=, which compare "
                "its levels with the base level."
            )
        base = _base(recipe, name, levels)
        out += [Target(name, measure, level, base) for level in levels if level != base]
    return out


def _base(recipe: Recipe, name: str, levels: tuple) -> object:
    """The reference level of a factor, or its first level where it has none."""
    if recipe.fixed is not None:
        for factor, variables in recipe.fixed.factor_variables.items():
            if name in {str(v) for v in variables}:
                contrasts = recipe.fixed.encoder_state.get(factor.expr, (None, {}))[1].get("contrasts")
                base = getattr(getattr(contrasts, "contrasts", None), "base", None)
                for level in levels:
                    if base is not None and level == base:
                        return level
    return levels[0]


def _check_smooth(recipe: Recipe, name: str, measure: str) -> None:
    for spec in (recipe.fixed, *recipe.random):
        for factor, variables in spec.factor_variables.items() if spec is not None else ():
            text = factor.expr
            jumps = spec is not None and "categories" in spec.encoder_state.get(text, (None, {}))[1]
            if name in {str(v) for v in variables} and (
                jumps or any(word in text for word in ("floor(", "ceil(", "sign(", "<", ">", "==", "!=", "abs("))
            ):
                raise ModelError(
                    f"{measure}= needs a derivative, and '{name}' stands in '{text}', which has jumps. Compare two "
                    f"values of it instead: at={{'{name}': [...]}} with contrast='pairwise'."
                )


def level_text(value: object) -> str:
    """The text of a level or number in a table."""
    return f"{value:.7g}" if isinstance(value, float) else label(value)


def mean_frame(found: Frame, rows: NDArray[np.int64] | None) -> Frame:
    """Rows whose weighted mean has numbers at their means and every factor's levels at their shares.

    Numbers are set to their means before they are transformed, and the levels of different factors are combined as if
    they were independent, so that products of factors are products of means (as Stata's ``atmeans`` has it).
    """
    cut = slice(None) if rows is None else rows
    weight = found.rows.weights[cut] / found.rows.weights[cut].sum()
    names, shares, levels = [], [], []
    numbers: dict[str, float] = {}
    for column in found.recipe.columns:
        values = found.columns[column.name][cut]
        known = factor_levels(found.recipe, column.name)
        if known is None:
            numbers[column.name] = float(weight @ np.asarray(values, dtype=np.float64))
            continue
        array = np.asarray(values)
        names.append(column.name)
        levels.append(known)
        shares.append(np.array([weight @ (array == level) for level in known]))
    total = int(np.prod([len(known) for known in levels])) if levels else 1
    if total > MAX_COMBINATIONS:
        raise ModelError(
            f"atmeans=True would combine {total:,} combinations of factor levels. Set some of them by at=."
        )
    columns: dict[str, Values] = {name: np.full(total, value) for name, value in numbers.items()}
    joint = np.ones(1)
    for share in shares:
        joint = np.outer(joint, share).ravel()
    place = np.indices([len(known) for known in levels]).reshape(len(levels), total) if levels else []
    for name, known, codes in zip(names, levels, place, strict=True):
        columns[name] = from_codes(found.recipe.column(name), known, codes)
    X, Z = matrices(found.recipe, columns, total)
    offset = np.full(total, float(weight @ found.rows.offset[cut]))
    new = EffectRows(X, Z, offset, np.asarray(joint, dtype=np.float64), ())
    return Frame(found.recipe, new, columns, offset)
