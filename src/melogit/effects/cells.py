"""The levels of a factor that is in interactions: rows of the design averaged over what it interacts with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.errors import DataError, ModelError
from melogit.formula.fixed import encode_again
from melogit.formula.recipe import Column, Level, Recipe, Values, constant, factor_levels, from_codes, level_of
from melogit.formula.response import label

FloatArray = NDArray[np.float64]
MAX_CELLS = 100_000


@dataclass(frozen=True, slots=True)
class Cells:
    """What the fixed part says of each level.

    Attributes
    ----------
    levels : tuple of str
        The base level first.
    groups : tuple of str
        One per combination of the levels of ``by``, such as ``ward=b``; one empty text without it.
    rows : (groups, levels, p)
        Coefficients of the linear predictor, averaged with equal weights over the levels of other factors.
    lost : (groups, levels, d)
        The same for columns that were left out of the model as collinear.
    """

    levels: tuple[str, ...]
    groups: tuple[str, ...]
    rows: FloatArray
    lost: FloatArray


def interacting(recipe: Recipe | None, factor: str) -> list[str]:
    """Predictors that share a term of the fixed part with this one."""
    if recipe is None or recipe.fixed is None:
        return []
    found: list[str] = []
    for variables in recipe.fixed.term_variables.values():
        names = {str(v) for v in variables}
        if factor in names:
            found += [column.name for column in recipe.columns if column.name in names]
    return [name for name in dict.fromkeys(found) if name != factor]


def level_cells(
    recipe: Recipe, factor: str, base: str | None, at: Mapping[str, Any] | None, by: str | Sequence[str] | None
) -> Cells:
    """Average the rows of the design for each level of a factor.

    Parameters
    ----------
    recipe : Recipe
    factor : str
        Name of a predictor with levels.
    base : str or None
        The level that comes first.
    at : mapping, optional
        Values of predictors that it interacts with; needed for numbers.
    by : str or sequence of str, optional
        Factors whose levels are kept apart in place of being averaged over.

    Raises
    ------
    ModelError, DataError
        Names that are in no interaction with the factor; a number without a value.
    """
    others = interacting(recipe, factor)
    apart = [by] if isinstance(by, str) else list(by or ())
    fixed = dict(at or {})
    _check_names(factor, others, apart, fixed)
    levels = factor_levels(recipe, factor)
    assert levels is not None
    levels = tuple(sorted(levels, key=lambda one: label(one) != base))
    choices = [_choices(recipe, name, factor, fixed, apart) for name in others]
    sizes = [len(levels), *(len(found) for found in choices)]
    total = int(np.prod(sizes))
    if total > MAX_CELLS:
        raise ModelError(f"This makes {total:,} combinations of levels. Fix some of the factors by at=.")
    place = np.indices(sizes).reshape(len(sizes), total)
    columns: dict[str, Values] = {}
    for column in recipe.columns:
        if column.name == factor:
            columns[column.name] = _filled(column, levels, place[0])
        elif column.name in others:
            k = others.index(column.name)
            columns[column.name] = _filled(column, choices[k], place[k + 1])
        else:
            known = factor_levels(recipe, column.name)
            value = known[0] if known else column.middle
            columns[column.name] = constant(column, value, total)
    X = encode_again(recipe.fixed, columns, total)  # type: ignore[arg-type]
    averaged = tuple(k + 1 for k, name in enumerate(others) if name not in apart)
    cells = X.reshape(*sizes, -1).mean(axis=averaged)
    order = [name for name in others if name in apart]
    shown = [[f"{name}={label(v)}" for v in choices[others.index(name)]] for name in order]
    groups = tuple(", ".join(parts) for parts in itertools.product(*shown)) if shown else ("",)
    cells = np.moveaxis(cells, 0, -2).reshape(len(groups), len(levels), -1)
    gone = [j for j in range(cells.shape[-1]) if j not in recipe.kept]
    return Cells(tuple(label(v) for v in levels), groups, cells[..., list(recipe.kept)], cells[..., gone])


def _check_names(factor: str, others: list[str], apart: list[str], fixed: dict[str, Any]) -> None:
    listed = ", ".join(f"'{name}'" for name in others) or "nothing"
    for word, names in (("by", apart), ("at", list(fixed))):
        for name in names:
            if name not in others:
                raise ModelError(
                    f"{word}= names '{name}', on which the differences between levels of '{factor}' do not depend: "
                    f"'{factor}' is in an interaction with {listed}."
                )
    both = [name for name in apart if name in fixed]
    if both:
        raise ModelError(f"'{both[0]}' is in by= and in at=: it is either kept apart or set to a value.")


def _choices(recipe: Recipe, name: str, factor: str, fixed: dict[str, Any], apart: list[str]) -> tuple[Level, ...]:
    """The values of one predictor that are averaged over or kept apart."""
    column, levels = recipe.column(name), factor_levels(recipe, name)
    if levels is None and name in apart:
        raise ModelError(f"by='{name}' needs a factor, and '{name}' is a number. Set it by at={{'{name}': value}}.")
    if name not in fixed:
        if levels is None:
            raise ModelError(
                f"'{factor}' is in an interaction with '{name}', a number, so that differences between its levels "
                f"depend on it. Say at which value: at={{'{name}': {column.middle:g}}} (its median)."
            )
        return levels
    value = fixed[name]
    if levels is not None and column.kind != "number":
        return (level_of(column, value),)
    if isinstance(value, bool | str) or not np.isscalar(value) or not np.isfinite(float(value)):  # type: ignore[arg-type]
        raise DataError(f"'{name}' is a number in this model and cannot be set to {value!r}.")
    if levels is not None and float(value) not in levels:  # type: ignore[arg-type]
        raise DataError(
            f"'{name}' has no level {value!r} in the fitted data. Its levels: {', '.join(map(str, levels))}."
        )
    return (float(value),)  # type: ignore[arg-type]


def _filled(column: Column, values: Sequence[Level], codes: NDArray[np.int64]) -> Values:
    if column.kind == "category":
        own = np.array([column.levels.index(v) for v in values])
        return from_codes(column, column.levels, own[codes])
    if column.kind == "boolean":
        return np.array([bool(v) for v in values])[codes]
    return np.array([float(v) for v in values])[codes]
