"""What stands beside the predictors: the outcome, weights, trials and offsets, each checked and made numbers."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.errors import DataError
from melogit.formula import response
from melogit.formula.columns import is_boolean, is_numeric, numbers
from melogit.formula.plan import Plan
from melogit.formula.rows import Rows
from melogit.formula.whitelist import Expression, evaluate

FloatArray = NDArray[np.float64]
Columns = Mapping[str, pd.Series]


def read_outcome(plan: Plan, used: Columns, event: object, trials: str | int | None, rows: Rows) -> response.Outcome:
    """Read the response: ``cbind()``, counts with ``trials=``, or one 0/1 outcome per row.

    Parameters
    ----------
    plan : Plan
    used : mapping of str to Series
        The used rows of the columns.
    event, trials
        As in ``build_design``.
    rows : Rows
    """
    name = plan.response_text
    if len(plan.response) == 1 and trials is None:
        expression = plan.response[0]
        if isinstance(expression.tree, ast.Name):
            return response.binary(used[next(iter(expression.columns.values()))], name, rows, event)
        return response.binary(pd.Series(_compute(expression, used, rows)), name, rows, event)
    if event is not None:
        raise DataError("event= is for a response with one outcome per row, not for counts of successes.")
    if len(plan.response) == 2:
        if trials is not None:
            raise DataError("The trials are given twice: by cbind(successes, failures) and by trials=. Keep one.")
        successes, failures = (_compute_counts(expression, used, rows) for expression in plan.response)
        return response.counts(successes, failures, name, rows)
    return response.of_trials(_compute_counts(plan.response[0], used, rows), _trials(trials, used, rows), name, rows)


def _trials(trials: object, used: Columns, rows: Rows) -> FloatArray:
    if isinstance(trials, str):
        return _column(used, trials, "trials", rows)
    if isinstance(trials, (int, np.integer)) and not isinstance(trials, bool) and trials > 0:
        return np.full(rows.n_used, float(trials))
    raise DataError(f"trials={trials!r} must be the name of a column or a whole number of at least 1.")


def read_weights(weights: object, used: Columns, rows: Rows) -> FloatArray:
    """Read frequency weights: whole numbers, 0 or more.

    Parameters
    ----------
    weights : None, str or array
        A column name, or one number per row of the data.
    used : mapping of str to Series
        The used rows of the columns.
    rows : Rows
    """
    if weights is None:
        return np.ones(rows.n_used)
    if isinstance(weights, str):
        array, what = _column(used, weights, "weights", rows), f"the weight '{weights}'"
    else:
        array, what = _beside(weights, "weights", rows), "the weight"
    if (array < 0).any():
        i = int((array < 0).argmax())
        raise DataError(f"{rows.name(i)}: {what} = {array[i]:g} is negative; a frequency weight counts rows.")
    if (array != np.round(array)).any():
        i = int((array != np.round(array)).argmax())
        raise DataError(
            f"{rows.name(i)}: {what} = {array[i]:.6g} is not a whole number. weights= are frequency weights: 3 stands "
            "for three such rows. Sampling weights are something else and cannot be used in their place."
        )
    return array


def read_offset(plan: Plan, offset: object, used: Columns, rows: Rows) -> FloatArray:
    """Add up ``offset=`` and every ``offset()`` of the formula."""
    total = np.zeros(rows.n_used)
    if isinstance(offset, str):
        total += _column(used, offset, "offset", rows)
    elif offset is not None:
        total += _beside(offset, "offset", rows)
    for expression in plan.offsets:
        for name in expression.columns.values():
            if not is_numeric(used[name]):
                raise DataError(f"column '{name}' is not numeric, but stands in offset({expression.text}).")
        total += _compute(expression, used, rows)
    return total


def _column(used: Columns, name: str, word: str, rows: Rows) -> FloatArray:
    if not is_numeric(used[name]):
        raise DataError(f"{word}='{name}': the column is not numeric.")
    return numbers(used[name], name, rows).copy()


def _beside(values: Any, word: str, rows: Rows) -> FloatArray:
    """Read numbers given beside the data, one per row of the data as read."""
    if isinstance(values, pd.Series) and len(values) == rows.n_read and not values.index.equals(rows.index):
        raise DataError(f"{word}= is a Series whose index differs from that of the data. Give {word}.to_numpy().")
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{word}= must be the name of a column, or numbers, one per row.") from error
    if array.ndim != 1 or len(array) != rows.n_read:
        shape = f"{len(array):,} values" if array.ndim == 1 else f"{array.ndim} dimensions"
        raise DataError(f"{word}= has {shape}, but the data have {rows.n_read:,} rows.")
    array = array.copy() if rows.keep is None else array[rows.keep]
    if not np.isfinite(array).all():
        i = int((~np.isfinite(array)).argmax())
        raise DataError(f"{rows.name(i)}: {word} = {array[i]} is not a finite number.")
    return array


def _compute_counts(expression: Expression, used: Columns, rows: Rows) -> FloatArray:
    for name in expression.columns.values():
        if not is_numeric(used[name]) and not is_boolean(used[name]):
            raise DataError(f"column '{name}' is not numeric, but '{expression.text}' counts successes or failures.")
    return _compute(expression, used, rows).astype(np.float64)


def _compute(expression: Expression, used: Columns, rows: Rows) -> NDArray:
    """Evaluate an elementwise expression: one boolean or finite number per row."""
    values = {name: _operand(used[name], name, rows) for name in expression.columns.values()}
    try:
        result = np.asarray(evaluate(expression, values))
        if result.dtype.kind != "b":
            result = result.astype(np.float64)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise DataError(f"'{expression.text}' cannot be computed: {error}.") from error
    if result.ndim == 0:
        result = np.full(rows.n_used, result)
    if not np.isfinite(result).all():
        i = int((~np.isfinite(result)).argmax())
        raise DataError(f"'{expression.text}' is not a finite number in {rows.name(i)}.")
    return result


def _operand(column: pd.Series, name: str, rows: Rows) -> NDArray:
    """Return a column for arithmetic: numbers and booleans as such, the rest as text to compare with."""
    if is_boolean(column):
        return column.to_numpy(dtype=bool)
    return numbers(column, name, rows) if is_numeric(column) else column.to_numpy(dtype=object)
