"""How a fitted model's matrices are built again: for new data, or with some columns changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from formulaic import ModelSpec
from numpy.typing import NDArray

from melogit.errors import DataError
from melogit.formula.columns import Values, is_boolean, is_numeric, numbers
from melogit.formula.fixed import encode_again
from melogit.formula.response import label
from melogit.formula.rows import Rows
from melogit.formula.tokens import nearest

FloatArray = NDArray[np.float64]
Level = str | int | float | bool
SHOWN_LEVELS = 8


@dataclass(frozen=True, slots=True)
class Column:
    """What is remembered of a predictor column.

    Attributes
    ----------
    name : str
    kind : str
        ``number``, ``boolean`` or ``category``.
    levels : tuple
        The categories in their order; empty for the other kinds.
    low, high, middle : float
        Smallest and largest value and the lower median; NaN unless a number.
    """

    name: str
    kind: str
    levels: tuple[Level, ...] = ()
    low: float = np.nan
    high: float = np.nan
    middle: float = np.nan


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build the same matrices from new data.

    Attributes
    ----------
    formula : str
    fixed : formulaic.ModelSpec or None
        Levels, knots and polynomial bases of the fixed part; None for a constant alone.
    kept : tuple of int
        The columns of ``fixed`` that are in the model.
    random : tuple of ModelSpec
        One per written random term, after ``a/b`` is multiplied out; None for a constant alone.
    columns : tuple of Column
        The predictors.
    terms : tuple of (columns of the factor, parts)
        For every grouping factor of the design: its data columns, and which of ``random`` it is made of.
    offset : str or None
        The column given as ``offset=``; ``""`` if the offset was given as numbers.
    outcomes : tuple of str
        Labels of the values of a response that is not coded 0/1.
    sample : mapping of str to array or Categorical, or None
        The predictors of the rows that were fitted; None in a model read from a file.
    """

    formula: str
    fixed: ModelSpec | None
    kept: tuple[int, ...]
    random: tuple[ModelSpec | None, ...]
    columns: tuple[Column, ...] = ()
    terms: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = ()
    offset: str | None = None
    outcomes: tuple[str, ...] = ()
    sample: Mapping[str, Values] | None = None

    def column(self, name: str) -> Column:
        """Look up a predictor.

        Raises
        ------
        DataError
            With the nearest name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        names = [column.name for column in self.columns]
        raise DataError(
            f"'{name}' is not a predictor of this model.{nearest(name, names)} Its predictors are "
            f"{', '.join(names) or 'none'}."
        )


def describe_column(name: str, values: Values) -> Column:
    """Remember what has to be known of a predictor to read new data."""
    if isinstance(values, pd.Categorical):
        levels = tuple(v.item() if isinstance(v, np.generic) else v for v in values.categories)
        return Column(name, "category", tuple(v if isinstance(v, (int, float, bool)) else str(v) for v in levels))
    if values.dtype.kind == "b":
        return Column(name, "boolean", (False, True))
    middle = np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2]
    return Column(name, "number", (), float(values.min()), float(values.max()), float(middle))


def remembered(values: Mapping[str, Values], X: FloatArray, x_names: Sequence[str]) -> dict[str, Values]:
    """Keep the predictors of the fitted rows, so that later changes of the user's data do not reach them.

    Plain numbers are views of the columns of X and cost no memory.
    """
    out: dict[str, Values] = {}
    for name, column in values.items():
        if not isinstance(column, pd.Categorical) and column.dtype.kind == "f" and name in x_names:
            out[name] = X[:, x_names.index(name)]
        else:
            out[name] = column.copy()
    return out


# ----------------------------------------------------------------------------------------------- columns


def convert(column: Column, values: pd.Series, rows: Rows) -> Values:
    """Read a column of new data (without missing values) as what it was in the fitted data.

    Raises
    ------
    DataError
        Another type, or a level that the fitted data did not have.
    """
    if column.kind == "number":
        if is_numeric(values):
            return numbers(values, column.name, rows)
        kind = "text" if len(values) and isinstance(values.iloc[0], str) else f"of type {values.dtype}"
        raise DataError(f"column '{column.name}' is {kind} in the new data, but held numbers in the fitted data.")
    if column.kind == "boolean":
        if is_boolean(values) or pd.api.types.infer_dtype(values, skipna=True) == "boolean":
            return values.to_numpy(dtype=bool)
        raise DataError(
            f"column '{column.name}' is of type {values.dtype} in the new data, but held True and False in the fitted "
            "data."
        )
    codes = pd.Index(list(column.levels), dtype=object).get_indexer(pd.Index(values.astype(object)))
    unseen = np.flatnonzero(codes < 0)
    if len(unseen):
        found = label(values.iloc[int(unseen[0])])
        known = ", ".join(f"'{label(level)}'" for level in column.levels[:SHOWN_LEVELS])
        more = ", ..." if len(column.levels) > SHOWN_LEVELS else ""
        raise DataError(
            f"'{column.name}' has the level '{found}' in {rows.name(int(unseen[0]))} of the new data, which the fitted "
            f"data did not have, so nothing is known of its effect. Known levels: {known}{more}."
        )
    return pd.Categorical.from_codes(codes, categories=list(column.levels))


def factor_levels(recipe: Recipe, name: str) -> tuple[Level, ...] | None:
    """Return the levels of a predictor that acts as a factor (text, categories, True/False, ``C(number)``), or None."""
    column = recipe.column(name)
    if column.kind != "number":
        return column.levels
    found: tuple[Level, ...] | None = None
    for spec in (recipe.fixed, *recipe.random):
        if spec is None:
            continue
        for factor, variables in spec.factor_variables.items():
            if name in {str(v) for v in variables}:
                levels = spec.encoder_state.get(factor.expr, (None, {}))[1].get("categories")
                if levels is None or any(isinstance(v, (bool, np.bool_, str)) for v in levels):
                    return None
                found = tuple(float(v) for v in levels)
    return found


def level_of(column: Column, value: object) -> Level:
    """Find the level of a category that a user means: by value, or by its text.

    Raises
    ------
    DataError
        The fitted data did not have it.
    """
    for level in column.levels:
        if level == value and isinstance(level, bool) == isinstance(value, (bool, np.bool_)):
            return level
    for level in column.levels:
        if label(level) == label(value):
            return level
    known = ", ".join(f"'{label(level)}'" for level in column.levels[:SHOWN_LEVELS])
    texts = [label(level) for level in column.levels]
    raise DataError(
        f"'{column.name}' has no level '{label(value)}' in the fitted data.{nearest(label(value), texts)} "
        f"Its levels: {known}."
    )


def constant(column: Column, value: object, n: int) -> Values:
    """Make a column that has one value in all ``n`` rows."""
    if column.kind == "category":
        code = column.levels.index(level_of(column, value))
        return pd.Categorical.from_codes(np.full(n, code), categories=list(column.levels))
    if column.kind == "boolean":
        return np.full(n, bool(level_of(column, value)))
    if isinstance(value, (bool, np.bool_, str)) or not np.isscalar(value) or not np.isfinite(cast(float, value)):
        raise DataError(f"'{column.name}' is a number in this model and cannot be set to {value!r}.")
    return np.full(n, float(cast(float, value)))


def from_codes(column: Column, levels: Sequence[Level], codes: NDArray) -> Values:
    """Make a factor's column from the numbers of its levels."""
    if column.kind == "category":
        return pd.Categorical.from_codes(codes, categories=list(levels))
    return np.array(levels)[codes]


# ---------------------------------------------------------------------------------------------- matrices


def part_places(recipe: Recipe) -> dict[int, tuple[int, int]]:
    """Where the columns of each random part begin: its term and the first column there."""
    places = {}
    for term, (_, parts) in enumerate(recipe.terms):
        start = 0
        for part in parts:
            places[part] = (term, start)
            spec = recipe.random[part]
            start += 1 if spec is None else len(spec.column_names)
    return places


def variables_of(spec: ModelSpec, names: Sequence[str]) -> dict[Any, set[str]]:
    """For every term that depends on one of the columns ``names``: all the columns it depends on."""
    wanted = set(names)
    found = {term: {str(v) for v in variables} for term, variables in spec.term_variables.items()}
    return {term: variables for term, variables in found.items() if variables & wanted}


def changed_columns(
    recipe: Recipe, names: Sequence[str], values: Mapping[str, Values], n: int
) -> tuple[dict[int, FloatArray], dict[tuple[int, int], FloatArray]]:
    """Compute again only the columns of X and Z that depend on some predictors.

    Parameters
    ----------
    names : sequence of str
        The predictors that were changed.
    values : mapping of str to array or Categorical
        All predictors that the terms in question need, ``n`` values each.
    n : int

    Returns
    -------
    x : column of X -> (n,)
    z : (term, column of its Z) -> (n,)
    """
    x: dict[int, FloatArray] = {}
    z: dict[tuple[int, int], FloatArray] = {}
    if recipe.fixed is not None:
        position = {column: k for k, column in enumerate(recipe.kept)}
        for at, column in _subset(recipe.fixed, names, values, n).items():
            if at in position:
                x[position[at]] = column
    for part, (term, start) in part_places(recipe).items():
        spec = recipe.random[part]
        if spec is not None:
            for at, column in _subset(spec, names, values, n).items():
                z[term, start + at] = column
    return x, z


def needed_for(recipe: Recipe, names: Sequence[str]) -> set[str]:
    """Tell which predictors ``changed_columns`` needs."""
    out: set[str] = set()
    known = {column.name for column in recipe.columns}
    for spec in (recipe.fixed, *recipe.random):
        if spec is not None:
            for variables in variables_of(spec, names).values():
                out |= variables & known
    return out


def _subset(spec: ModelSpec, names: Sequence[str], values: Mapping[str, Values], n: int) -> dict[int, FloatArray]:
    terms = list(variables_of(spec, names))
    if not terms:
        return {}
    part = spec.subset(terms, ordering="none")
    at = [i for term in part.formula for i in spec.term_indices[term]]
    array = encode_again(part, values, n)
    return {i: array[:, k] for k, i in enumerate(at)}


def matrices(recipe: Recipe, values: Mapping[str, Values], n: int) -> tuple[FloatArray, tuple[FloatArray, ...]]:
    """Build X (n, p) and the Z (n, q) of every term."""
    if recipe.fixed is None:
        X = np.ones((n, 1))[:, : len(recipe.kept)]
    else:
        X = encode_again(recipe.fixed, values, n)
        X = X[:, list(recipe.kept)] if len(recipe.kept) < X.shape[1] else X
    Z = []
    for _, parts in recipe.terms:
        specs = [recipe.random[part] for part in parts]
        Z.append(np.hstack([np.ones((n, 1)) if s is None else encode_again(s, values, n) for s in specs]))
    return X, tuple(Z)
