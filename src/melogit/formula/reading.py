"""Any table a user may hand over, as a pandas data frame of the columns that are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from melogit.errors import DataError
from melogit.formula.tokens import nearest

_KINDS = (
    "a pandas, polars or pyarrow table, a DuckDB relation, a dict of columns, "
    "or the path of a .csv, .tsv, .parquet, .dta or .sav file"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of which only the column names are known; ``load`` fetches the columns asked for.

    ``load`` may return more columns than asked for, where leaving them out would cost a copy.
    """

    names: tuple[str, ...]
    load: Callable[[list[str]], pd.DataFrame]


def read_table(source: Any, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read any supported table into a pandas data frame; no column is renamed and no value is guessed.

    Parameters
    ----------
    source : data frame, table, relation, dict or path
        pandas, polars (eager or lazy), pyarrow, a DuckDB relation, anything else that narwhals or the Arrow
        stream protocol understands, a dict of columns, or the path of a .csv, .tsv (also compressed: .gz,
        .bz2, .xz), .parquet, .dta or .sav file. In text files an empty cell, ``NA``, ``NaN``, ``nan`` and
        ``.`` are missing; nothing else is.
    columns : sequence of str, optional
        Only these columns, in this order.

    Returns
    -------
    pandas.DataFrame
        With the index of a pandas source; otherwise rows are numbered from 0.

    Raises
    ------
    DataError
        No such file or column, a damaged file, duplicate column names, a missing reader (with the command
        that installs it).

    Examples
    --------
    >>> read_table({"y": [0, 1], "x": [1.5, 2.5]}, columns=["x"])["x"].tolist()
    [1.5, 2.5]
    """
    table = open_table(source)
    if columns is None:
        wanted = list(table.names)
    else:
        wanted = list(dict.fromkeys(columns))
        for name in wanted:
            if name not in table.names:
                raise DataError(f"there is no column '{name}'.{nearest(name, table.names)}")
    frame = table.load(wanted)
    return frame if list(frame.columns) == wanted else cast(pd.DataFrame, frame[wanted])


def open_table(source: Any) -> Table:
    """Find out the column names of a table without reading more than is needed for that."""
    if isinstance(source, (str, PathLike)):
        table = _open_path(Path(source).expanduser())
    elif isinstance(source, pd.DataFrame):
        if isinstance(source.columns, pd.MultiIndex):
            raise DataError("The data frame has several rows of column names (a MultiIndex); keep one.")
        table = Table(tuple(source.columns), lambda columns: source)
    elif isinstance(source, Mapping):
        table = _open_mapping(source)
    else:
        table = _open_foreign(source)
    repeated = [name for name, count in Counter(table.names).items() if count > 1 and name != ""]
    if repeated:
        listed = ", ".join(f"'{name}'" for name in repeated[:5])
        raise DataError(f"Column names occur more than once in the data: {listed}. Rename or remove the duplicates.")
    return table


def _open_mapping(source: Mapping) -> Table:
    lengths = {name: len(values) if hasattr(values, "__len__") else None for name, values in source.items()}
    if any(length is None for length in lengths.values()) or any(isinstance(v, str) for v in source.values()):
        name = next(n for n, v in source.items() if lengths[n] is None or isinstance(v, str))
        raise DataError(f"column '{name}' of the dict is a single value; each column is a list or an array.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} ({length})" for name, length in list(lengths.items())[:6])
        raise DataError(f"The columns of the dict have different lengths: {listed}.")
    return Table(tuple(source), lambda columns: pd.DataFrame({name: source[name] for name in columns}))


def _open_foreign(source: Any) -> Table:
    """Polars, pyarrow, DuckDB and everything else that narwhals knows, through Arrow."""
    import narwhals as nw

    if isinstance(source, np.ndarray) and source.dtype.names:
        return Table(tuple(source.dtype.names), lambda columns: pd.DataFrame({name: source[name] for name in columns}))
    if source is None or isinstance(source, (np.ndarray, list, tuple, int, float, bytes)):
        raise DataError(f"The data are {_article(source)}; give {_KINDS}.")
    try:
        wrapped = nw.from_native(source)
    except TypeError:
        return _open_arrow_stream(source)
    if not isinstance(wrapped, (nw.DataFrame, nw.LazyFrame)):
        raise DataError(f"The data are {_article(source)}; give {_KINDS}.")
    names = tuple(wrapped.collect_schema().names())

    def load(columns: list[str]) -> pd.DataFrame:
        _need("pyarrow", f"Data of type {type(source).__name__}")
        chosen = wrapped.select(*columns) if columns else wrapped.head(0)
        eager = chosen.collect() if isinstance(chosen, nw.LazyFrame) else chosen
        return _from_arrow(eager.to_arrow())

    return Table(names, load)


def _open_arrow_stream(source: Any) -> Table:
    if not hasattr(source, "__arrow_c_stream__"):
        raise DataError(f"The data are {_article(source)}; give {_KINDS}.")
    pyarrow = _need("pyarrow", f"Data of type {type(source).__name__}")
    try:
        table = pyarrow.table(source)
    except pyarrow.ArrowException as error:
        raise DataError(f"The data are {_article(source)}; give {_KINDS}.") from error
    return Table(tuple(table.column_names), lambda columns: _from_arrow(table.select(columns)))


def _from_arrow(table: Any) -> pd.DataFrame:
    """Convert an Arrow table; whole numbers and booleans keep their type beside missing values."""
    import pyarrow as pa

    # The default would turn ids with a missing value among them into floats and merge the large ones.
    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        mapper = nullable.get if column.null_count else None
        columns[name] = column.to_pandas(types_mapper=mapper)
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))


def _open_path(path: Path) -> Table:
    if path.is_dir():
        raise DataError(f"'{path}' is a directory; give the path of a file.")
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"There is no file '{path}'.{nearest(path.name, siblings)}")
    if path.stat().st_size == 0:
        raise DataError(f"The file '{path}' is empty.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".bz2", ".xz"):
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    try:
        if kind in (".csv", ".tsv", ".tab", ".txt"):
            from melogit.formula.csv_files import open_csv

            names, load = open_csv(path)
            return Table(names, load)
        if kind in (".parquet", ".pq"):
            return _open_parquet(path)
        if kind == ".dta":
            return _open_stata(path)
        if kind in (".sav", ".zsav"):
            return _open_spss(path)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error}.") from error
    raise DataError(f"'{path}' is of no known kind; known are .csv, .tsv, .parquet, .dta and .sav.")


def _open_parquet(path: Path) -> Table:
    _need("pyarrow", "Reading .parquet files")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = tuple(pq.read_schema(path).names)
    except pa.ArrowException as error:
        raise DataError(f"'{path}' is not a readable Parquet file: {error}.") from error

    def load(columns: list[str]) -> pd.DataFrame:
        try:
            return _from_arrow(pq.read_table(path, columns=columns))
        except pa.ArrowException as error:
            raise DataError(f"'{path}' is damaged: {error}.") from error

    return Table(names, load)


def _open_stata(path: Path) -> Table:
    try:
        with pd.io.stata.StataReader(path) as reader:
            names = tuple(reader.variable_labels())
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' is not a readable Stata file: {error}.") from error

    def load(columns: list[str]) -> pd.DataFrame:
        frame = cast(pd.DataFrame, pd.read_stata(path, columns=columns, convert_categoricals=False))
        with pd.io.stata.StataReader(path) as reader:
            labels = reader.value_labels()
        if labels:
            try:
                labelled = cast(pd.DataFrame, pd.read_stata(path, columns=columns))
            except ValueError:  # two values with the same label: the numbers are the safer reading
                return frame
            for name in columns:
                dtype = labelled[name].dtype
                if isinstance(dtype, pd.CategoricalDtype) and all(isinstance(c, str) for c in dtype.categories):
                    frame[name] = labelled[name]
        return frame

    return Table(names, load)


def _open_spss(path: Path) -> Table:
    pyreadstat = _need("pyreadstat", "Reading .sav files")
    try:
        names = tuple(pyreadstat.read_sav(str(path), metadataonly=True)[1].column_names)
    except pyreadstat.ReadstatError as error:
        raise DataError(f"'{path}' is not a readable SPSS file: {error}.") from error

    def load(columns: list[str]) -> pd.DataFrame:
        frame, meta = pyreadstat.read_sav(str(path), usecols=columns)
        for name, labels in meta.variable_value_labels.items():
            texts = [str(labels[code]) for code in sorted(labels)]
            if name in frame and set(frame[name].dropna()) <= set(labels) and len(set(texts)) == len(texts):
                frame[name] = pd.Categorical(frame[name], categories=sorted(labels)).rename_categories(texts)
        return frame

    return Table(names, load)


def _need(module: str, what: str) -> Any:
    """Import a reader that is not installed with melogit itself."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(f"{what} needs {module}. Install it with: pip install {module}") from error


def _article(source: object) -> str:
    return "None" if source is None else f"of type {type(source).__name__}"
