"""Any table a user may hand over, as a pandas data frame of the columns that are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from melogit.errors import DataError
from melogit.formula.tokens import nearest


@dataclass(frozen=True, slots=True)
class Table:
    """A table of which only the column names are known; ``load`` fetches the columns asked for."""

    names: tuple[str, ...]
    load: Callable[[list[str]], pd.DataFrame]


def read_table(source: Any, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read any supported table into a pandas data frame."""
    table = open_table(source)
    wanted = list(table.names) if columns is None else list(dict.fromkeys(columns))
    for name in wanted:
        if name not in table.names:
            raise DataError(f"there is no column '{name}'.{nearest(name, table.names)}")
    return table.load(wanted)


def open_table(source: Any) -> Table:
    """Find out the column names of a table."""
    if isinstance(source, (str, PathLike)):
        source = pd.read_csv(Path(source))
    if isinstance(source, dict):
        source = pd.DataFrame(source)
    if isinstance(source, pd.DataFrame):
        frame = source
        return Table(tuple(frame.columns), lambda columns: frame)
    raise DataError(f"cannot read {type(source).__name__}")
