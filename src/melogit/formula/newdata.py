"""New data through a fitted model's recipe: matrices, groups, offset and, where asked for, outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from melogit.design import Design, GroupingFactor, RandomTerm, Wording
from melogit.errors import DataError
from melogit.formula.columns import Values
from melogit.formula.given import read_offset, read_outcome
from melogit.formula.groups import grouping_factor, number_values
from melogit.formula.plan import Plan, plan_formula
from melogit.formula.reading import Table, open_table
from melogit.formula.recipe import Recipe, convert, matrices
from melogit.formula.response import label
from melogit.formula.rows import Rows, missing_mask
from melogit.formula.tokens import nearest

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rows that a model is applied to.

    Attributes
    ----------
    rows : Rows
        The index of the data, and which of its rows have all that is needed.
    X : (n, p)
    Z : per term, (n, q)
    codes : per term, (n,) int
        Number of the fitted group; -1 for a group that was not fitted.
    labels : per term, (n,) array of str
        Empty where the group columns were not asked for.
    offset : (n,)
    columns : mapping of str to array or Categorical
        The predictors.
    extra : mapping of str to Series
        Further columns that were asked for.
    """

    rows: Rows
    X: FloatArray
    Z: tuple[FloatArray, ...]
    codes: tuple[NDArray[np.int64], ...]
    labels: tuple[NDArray, ...]
    offset: FloatArray
    columns: Mapping[str, Values]
    extra: Mapping[str, pd.Series]


def read_new(
    recipe: Recipe,
    levels: Sequence[NDArray],
    data: Any,
    *,
    groups: bool,
    extra: Sequence[str] = (),
    offset: ArrayLike | None = None,
    purpose: str = "predictions",
) -> NewRows:
    """Read new data for a fitted model.

    Parameters
    ----------
    recipe : Recipe
    levels : per term, the labels of the fitted groups
    data : data frame, table, relation, dict or path
    groups : bool
        Whether the grouping columns are needed.
    extra : sequence of str
        Further columns to read.
    offset : array, optional
        For a model whose offset was given as numbers.
    purpose : str
        For messages.

    Raises
    ------
    DataError
        A column that is not there or of another type; a level that the fitted data did not have.
    """
    plan = plan_formula(recipe.formula)
    table = open_table(data)
    predictors = [column.name for column in recipe.columns]
    offsets = [c for e in plan.offsets for c in e.columns.values()]
    if recipe.offset:
        offsets.append(recipe.offset)
    grouping = [name for columns, _ in recipe.terms for name in columns] if groups else []
    needed = list(dict.fromkeys([*predictors, *offsets, *grouping, *extra]))
    _check_there(needed, table, set(grouping), purpose)
    frame = table.load(needed)
    rows, used = _complete(frame, needed)
    values = {column.name: convert(column, used[column.name], rows) for column in recipe.columns}
    X, Z = matrices(recipe, values, rows.n_used)
    codes, labels = _groups(recipe, levels, used, rows) if groups else ((), ())
    return NewRows(
        rows,
        X,
        Z,
        codes,
        labels,
        _offset(recipe, plan, offset, used, rows),
        values,
        {name: used[name] for name in extra},
    )


def read_outcomes(
    recipe: Recipe, wording: Wording, new: NewRows, data: Any, trials: str | int | None, x_names: tuple[str, ...]
) -> Design:
    """Make a design of new rows with outcomes, for the posterior of their groups.

    Parameters
    ----------
    recipe : Recipe
    wording : Wording
        Of the fit.
    new : NewRows
        Read with ``groups=True``.
    data : data frame, table, relation, dict or path
        The same data.
    trials : str or int, optional
        As in the fit.
    x_names : tuple of str

    Raises
    ------
    DataError
        An outcome that the fitted data did not have, or none at all.
    """
    plan = plan_formula(recipe.formula)
    names = [c for e in plan.response for c in e.columns.values()] + ([trials] if isinstance(trials, str) else [])
    table = open_table(data)
    _check_there(names, table, set(), "the groups' own outcomes")
    frame = table.load(list(dict.fromkeys(names)))
    used = {name: new.rows.take(cast(pd.Series, frame[name])) for name in names}
    for name, column in used.items():
        gone = missing_mask(column)
        if gone is not None:
            raise DataError(
                f"column '{name}' is missing in {int(gone.sum()):,} of the new rows "
                f"({new.rows.name(int(gone.argmax()))}). Leave out rows without an outcome."
            )
    y, counts = _outcomes(recipe, wording, plan, used, trials, new.rows)
    terms = []
    for (columns, _), labels, Z in zip(recipe.terms, new.labels, new.Z, strict=True):
        found, codes = np.unique(labels.astype(str), return_inverse=True)
        factor = GroupingFactor(":".join(columns), columns, codes.astype(np.int32), found.astype(object))
        terms.append((factor, Z))
    return Design(
        y,
        counts,
        np.ones(len(y)),
        new.offset,
        new.X,
        x_names,
        tuple(RandomTerm(factor, Z, (), ()) for factor, Z in terms),
        True,
        wording,
    )


def _outcomes(
    recipe: Recipe, wording: Wording, plan: Plan, used: Mapping[str, pd.Series], trials: Any, rows: Rows
) -> tuple[FloatArray, FloatArray]:
    """Read successes and trials; unlike in a fit, all may be alike."""
    if recipe.outcomes:
        column = used[next(iter(plan.response[0].columns.values()))]
        texts = np.array([label(value) for value in column], dtype=object)
        strange = [i for i, text in enumerate(texts) if text not in recipe.outcomes]
        if strange:
            known = ", ".join(f"'{value}'" for value in recipe.outcomes[:8])
            raise DataError(
                f"{rows.name(strange[0])}: the outcome {wording.response} is '{texts[strange[0]]}', which the fitted "
                f"data did not have. Known outcomes: {known}."
            )
        return (texts == wording.event).astype(np.float64), np.ones(len(texts))
    # Two rows of made-up outcomes keep the fit's own reader, with all its checks, from refusing a constant response.
    if len(plan.response) == 1 and trials is None:
        padded = {name: pd.concat([column, _both(column)]) for name, column in used.items()}
        try:
            found = read_outcome(plan, padded, None, None, Rows(pd.RangeIndex(rows.n_used + 2), None, ()))
        except DataError as error:
            raise DataError(f"In the new data: {error}") from error
        return found.y[:-2], found.trials[:-2]
    found = read_outcome(plan, used, None, trials, rows)
    return found.y, found.trials


def _both(column: pd.Series) -> pd.Series:
    return pd.Series([0, 1]).astype(column.dtype)


def _check_there(names: Sequence[str], table: Table, groups: set[str], purpose: str) -> None:
    for name in names:
        if name not in table.names:
            hint = ""
            if name in groups:
                hint = (
                    " It says which group a row belongs to; a value that was not in the fitted data is a new group. "
                    "For predictions that need no groups use kind='marginal' or kind='mu_fixed'."
                )
            raise DataError(
                f"The new data have no column '{name}', which {purpose} need.{nearest(name, table.names)}{hint}"
            )


def _complete(frame: pd.DataFrame, needed: Sequence[str]) -> tuple[Rows, dict[str, pd.Series]]:
    """Find the rows that have a value in every column needed."""
    gone: NDArray[np.bool_] | None = None
    for name in needed:
        mask = missing_mask(cast(pd.Series, frame[name]))
        if mask is not None:
            gone = mask if gone is None else gone | mask
    if len(frame) == 0:
        raise DataError("The new data have no rows.")
    if gone is not None and gone.all():
        raise DataError(f"No row of the new data has a value in all of {', '.join(needed)}.")
    rows = Rows(frame.index, None if gone is None else np.flatnonzero(~gone), ())
    return rows, {name: rows.take(cast(pd.Series, frame[name])) for name in needed}


def _groups(
    recipe: Recipe, levels: Sequence[NDArray], used: Mapping[str, pd.Series], rows: Rows
) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray, ...]]:
    numbered = {name: number_values(used[name], name, rows) for columns, _ in recipe.terms for name in columns}
    codes, labels = [], []
    for (columns, _), known in zip(recipe.terms, levels, strict=True):
        factor = grouping_factor(columns, numbered)
        place = pd.Index(known).get_indexer(pd.Index(factor.levels))
        codes.append(np.asarray(place, dtype=np.int64)[factor.codes])
        labels.append(factor.levels[factor.codes])
    return tuple(codes), tuple(labels)


def _offset(
    recipe: Recipe, plan: Plan, given: ArrayLike | None, used: Mapping[str, pd.Series], rows: Rows
) -> FloatArray:
    if recipe.offset == "" and given is None:
        raise DataError(
            "The offset of this model was given as numbers, so the new data do not tell it. "
            "Give offset=, one number per row, or 0 for none."
        )
    if given is not None and recipe.offset != "":
        raise DataError("offset= is for models whose own offset was given as numbers; this one needs none.")
    if given is None:
        return read_offset(plan, recipe.offset, used, rows)
    array = np.full(rows.n_read, given) if np.isscalar(given) else given
    return read_offset(plan, array, used, rows)
