"""The data that commands work on: a frame, and the numbers behind the labels of its categories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.formula.reading import open_table, read_table


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table with value labels.

    Attributes
    ----------
    frame : pandas.DataFrame
    codes : mapping of column to mapping of number to label
        For columns that hold labels in the frame and numbers in Stata (``encode``, .dta files).
    unread : tuple of str
        Columns of the source that one command does not need; for its messages.
    """

    frame: pd.DataFrame
    codes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that a command can name: those whose names are text, read or not."""
        return (*(name for name in self.frame.columns if isinstance(name, str)), *self.unread)

    def column(self, name: str) -> pd.Series:
        """Return one column."""
        return cast(pd.Series, self.frame[name])

    def with_column(self, name: str, values: Any, codes: Mapping[int, str] | None = None) -> Dataset:
        """Return the data with a column added or replaced."""
        known = {key: value for key, value in self.codes.items() if key != name}
        return Dataset(self.frame.assign(**{name: values}), {**known, name: codes} if codes else known)

    def renamed(self, names: Mapping[str, str]) -> Dataset:
        """Return the data with other column names."""
        codes = {names.get(key, key): value for key, value in self.codes.items()}
        return Dataset(self.frame.rename(columns=dict(names)), codes)

    def rows(self, keep: NDArray[np.bool_]) -> Dataset:
        """Return some of the rows."""
        return replace(self, frame=self.frame.loc[keep])


def kind_of(column: pd.Series) -> str:
    """``number``, ``category`` (text or labels) or ``other`` (dates and the like)."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_numeric_dtype(column.dtype) and getattr(column.dtype, "kind", "f") != "c":
        return "number"
    if pd.api.types.is_string_dtype(column.dtype) or pd.api.types.is_object_dtype(column.dtype):
        return "category"
    return "other"


def levels_of(data: Dataset, name: str) -> list[Any]:
    """Distinct values in order: numbers by size, labels in the order of their codes, text in alphabetical order."""
    column = data.column(name).dropna()
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(cast(pd.Categorical, column.array).remove_unused_categories().categories)
    try:
        return sorted(column.unique())
    except TypeError:
        return sorted(column.unique(), key=str)


def code_labels(data: Dataset, name: str) -> Mapping[int, Any]:
    """Number the levels as Stata does: by the codes that are known, else 1, 2, 3 as ``encode`` would."""
    known = data.codes.get(name)
    return known if known else dict(enumerate(levels_of(data, name), 1))


def open_data(source: Any, command: str | None = None) -> Dataset:
    """Read any table that melogit reads, with the value labels of .dta files.

    Parameters
    ----------
    source : data frame, table, relation, dict or path
    command : str, optional
        Read only the columns that this command may mean.
    """
    if isinstance(source, Dataset):
        return source
    names = open_table(source).names
    wanted = None if command is None or isinstance(source, pd.DataFrame) else _meant(names, command)
    frame = read_table(source, wanted)
    unread = () if wanted is None else tuple(name for name in names if name not in wanted)
    codes: dict[str, dict[int, str]] = {}
    if isinstance(source, (str, PathLike)) and Path(source).suffix.lower() == ".dta":
        codes = _stata_codes(Path(source).expanduser(), frame)
    return Dataset(frame, codes, unread)


def _meant(names: Sequence[str], command: str) -> list[str] | None:
    """Columns that some word of the command may stand for, shortened or not; None for all."""
    if re.search(r"[*?]|\w\s*-\s*\w|_all\b(?!\s*:)", command):
        return None
    words = tuple({word.lower() for word in re.findall(r"\w+", command)})
    return [name for name in names if not isinstance(name, str) or name.lower().startswith(words)]


def _stata_codes(path: Path, frame: pd.DataFrame) -> dict[str, dict[int, str]]:
    labelled = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    if not labelled:
        return {}
    numbers = cast(pd.DataFrame, pd.read_stata(path, columns=labelled, convert_categoricals=False))
    found = {}
    for name in labelled:
        pairs = pd.DataFrame({"code": numbers[name], "label": frame[name]}).dropna().drop_duplicates()
        found[name] = {int(code): str(label) for code, label in pairs.sort_values("code").to_numpy().tolist()}
    return found
