"""Turn a data column into numbers or categories, and refuse what is neither without guessing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.errors import DataError
from melogit.formula.rows import Rows

_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")

Values = NDArray[np.float64] | NDArray[np.bool_] | pd.Categorical


def is_numeric(values: pd.Series) -> bool:
    """Tell whether a column has a numeric type (booleans and complex numbers apart)."""
    dtype = values.dtype
    return pd.api.types.is_numeric_dtype(dtype) and not is_boolean(values) and getattr(dtype, "kind", "f") != "c"


def is_boolean(values: pd.Series) -> bool:
    """Tell whether a column has a boolean type."""
    return pd.api.types.is_bool_dtype(values.dtype) and not isinstance(values.dtype, pd.CategoricalDtype)


def categorical(values: pd.Series) -> pd.Categorical:
    """Return the categorical inside a column of that type."""
    return cast(pd.Categorical, values.array)


def numbers(values: pd.Series, name: str, rows: Rows) -> NDArray[np.float64]:
    """Return a numeric column (without missing values) as float64; infinity is refused."""
    array = values.to_numpy(dtype=np.float64)
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array))
        raise DataError(
            f"column '{name}' has {len(bad):,} infinite value{'s' if len(bad) > 1 else ''} ({rows.name(int(bad[0]))}). "
            "Mark it as missing or correct it."
        )
    return array


def predictor(values: pd.Series, name: str, rows: Rows, *, as_category: bool = False) -> Values:
    """Return a predictor (without missing values) as numbers, booleans or a categorical.

    Parameters
    ----------
    values : Series
    name : str
        For messages.
    rows : Rows
        To name rows in messages.
    as_category : bool
        The column is only used as ``C(column)``: text that looks like numbers is meant.

    Raises
    ------
    DataError
        Infinite values, dates, complex numbers, a mix of numbers and text, several types in one column.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return categorical(values).remove_unused_categories()
    if is_boolean(values):
        return values.to_numpy(dtype=bool)
    if is_numeric(values):
        return numbers(values, name, rows)
    kind = pd.api.types.infer_dtype(values, skipna=True) if pd.api.types.is_object_dtype(dtype) else ""
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return numbers(values, name, rows)
    if kind == "boolean":
        return values.to_numpy(dtype=bool)
    if getattr(dtype, "kind", "") == "c" or kind == "complex":
        raise DataError(f"column '{name}' holds complex numbers, which cannot be predictors.")
    if getattr(dtype, "kind", "") in "Mm" or kind in ("datetime", "date", "timedelta", "time", "datetime64"):
        raise DataError(
            f"column '{name}' holds dates or times, which cannot be predictors as they are. "
            "Turn it into a number (days since a date) or into text."
        )
    if kind in ("string", "empty", "mixed-integer", "mixed") or not kind:
        return _categories(values, name, rows, as_category)
    raise DataError(f"column '{name}' holds values of type {kind}, which cannot be used as a predictor.")


def _categories(values: pd.Series, name: str, rows: Rows, as_category: bool) -> pd.Categorical:
    codes, levels = factorize(values)
    texts = [level for level in levels if isinstance(level, str)]
    if len(texts) < len(levels):
        others = [level for level in levels if not isinstance(level, str)]
        if not all(isinstance(level, (int, float, np.number)) for level in others):
            kinds = sorted({type(level).__name__ for level in levels})
            raise DataError(f"column '{name}' holds values of several types ({', '.join(kinds)}).")
    if not as_category:
        _refuse_numbers_as_text(codes, levels, name, rows)
    order = sorted(range(len(levels)), key=lambda i: str(levels[i]))
    rank = np.empty(len(levels), dtype=np.intp)
    rank[order] = np.arange(len(levels))
    return pd.Categorical.from_codes(rank[codes], categories=[str(levels[i]) for i in order])


def factorize(values: pd.Series) -> tuple[NDArray[np.intp], list]:
    """Give the distinct values of a column numbers, in order of appearance."""
    codes, levels = factorize_raw(values)
    return codes, list(levels)


def factorize_raw(values: pd.Series) -> tuple[NDArray[np.intp], Any]:
    """Do the same, with the levels in the type of the column."""
    try:
        return pd.factorize(values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array)
    except TypeError as error:
        raise DataError(f"column '{values.name}' holds values such as lists, which cannot be compared.") from error


def _refuse_numbers_as_text(codes: NDArray[np.intp], levels: Sequence, name: str, rows: Rows) -> None:
    """One text cell turns a numeric column into hundreds of dummies elsewhere; say which cell it is."""
    numeric = np.array([_is_number(level) for level in levels])
    if not numeric.all():
        commas = [level for level in levels if isinstance(level, str) and _DECIMAL_COMMA.fullmatch(level)]
        if commas:
            raise DataError(
                f"column '{name}' is text with numbers such as '{commas[0]}' that have a decimal comma. Turn them into "
                f"numbers, or write C({name}) if they are categories."
            )
    if not numeric.any():
        return
    per_row = numeric[codes]
    count, total = int(per_row.sum()), len(codes)
    if count == total:
        raise DataError(
            f"column '{name}' is text though all {total:,} values are numbers. Turn it into numbers "
            f"(pandas.to_numeric), or write C({name}) if they are categories."
        )
    if 2 * count >= total:
        first = int((~per_row).argmax())
        raise DataError(
            f"column '{name}' is text but {count:,} of {total:,} values are numbers; first bad value "
            f"{levels[codes[first]]!r} in {rows.name(first)}. Correct it or mark it as missing; "
            f"write C({name}) if the values are categories."
        )


def _is_number(level: object) -> bool:
    if not isinstance(level, str):
        return True
    try:
        float(level)
    except ValueError:
        return False
    return True
