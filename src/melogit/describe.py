"""A first look at the data: summaries, tabulations and correlations, in the form of Stata's commands of those names.

Nothing is coerced: a column of text is described as text, also where most of its cells look like numbers (and then
the cell that spoils it is named).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from melogit.errors import DataError
from melogit.formula import read_table

TABLE_ROWS_SHOWN = 200


@dataclass(frozen=True)
class Description:
    """What ``describe`` found. Print it for the tables as text; the attributes hold the same as data frames.

    Attributes
    ----------
    summary : pandas.DataFrame
        One row per column of the data: ``obs, mean, std_dev, min, max, text``. For a column that is not a number
        ``obs`` counts the cells present, ``text`` says what it holds, and the others are NaN.
    tabulations : dict of str to pandas.DataFrame
        By column: rows are its values, columns ``freq, percent, cum``.
    correlations : pandas.DataFrame or None
        Pearson correlations, each over the rows where both columns are present.
    correlation_obs : pandas.DataFrame or None
        How many rows that is.
    notes : tuple of str
        What deserves a look: missing and infinite values, text among numbers.
    """

    summary: pd.DataFrame
    tabulations: dict[str, pd.DataFrame] = field(default_factory=dict)
    correlations: pd.DataFrame | None = None
    correlation_obs: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """All tables as text."""
        parts = [summary_text(self.summary)] if len(self.summary) else []
        parts += [tabulation_text(name, table) for name, table in self.tabulations.items()]
        if self.correlations is not None and self.correlation_obs is not None:
            parts.append(correlation_text(self.correlations, self.correlation_obs))
        if self.notes:
            parts.append("\n".join(f"Note: {note}" for note in self.notes))
        return "\n\n".join(parts)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Turn the tables into dicts and lists of plain numbers and text."""
        return {
            "summary": self.summary.to_dict(orient="index"),
            "tabulations": {name: records(table) for name, table in self.tabulations.items()},
            "correlations": None if self.correlations is None else self.correlations.to_dict(),
            "correlation_obs": None if self.correlation_obs is None else self.correlation_obs.to_dict(),
            "notes": list(self.notes),
        }


def describe(
    data: Any,
    columns: Sequence[str] | None = None,
    *,
    tabulate: Sequence[str] = (),
    correlate: Sequence[str] = (),
) -> Description:
    """Summarise, tabulate and correlate the columns of a data set.

    Parameters
    ----------
    data : data frame or path
        Anything ``melogit`` can fit: pandas, polars, pyarrow, DuckDB, or a path to .csv, .parquet, .dta or .sav.
    columns : sequence of str, optional
        Columns to summarise. By default all of them, or none where only ``tabulate`` or ``correlate`` is asked for.
    tabulate : sequence of str
        Columns whose values are counted.
    correlate : sequence of str
        At least two columns of numbers; every pair is correlated over the rows where both are present.

    Returns
    -------
    Description

    Raises
    ------
    DataError
        A column does not exist, or a column to correlate is not a number.

    Examples
    --------
    >>> import melogit as me
    >>> print(me.describe(me.load_dataset("hospital"), tabulate=["CancerStage"]))
    CancerStage |      Freq.     Percent        Cum.
    ------------+-----------------------------------
              I |        876       28.41       28.41
             II |      1,253       40.64       69.06
            III |        628       20.37       89.43
             IV |        326       10.57      100.00
    ------------+-----------------------------------
          Total |      3,083      100.00
    """
    summarised = distinct_names(columns or (), "columns")
    tabulated = distinct_names(tabulate, "tabulate")
    correlated = distinct_names(correlate, "correlate")
    frame = read_table(data)
    check_columns(frame, summarised + tabulated + correlated)
    if columns is None and not tabulated and not correlated:
        summarised = list(frame.columns)
    if len(correlated) == 1:
        raise DataError(f"A correlation needs at least two columns, but correlate names only {correlated[0]!r}.")
    mentioned = {name: one_column(frame, name) for name in summarised + tabulated + correlated}
    correlations, obs = correlate_columns({name: mentioned[name] for name in correlated})
    rows = {name: summarise_column(mentioned[name]) for name in summarised}
    return Description(
        summary=pd.DataFrame.from_dict(rows, orient="index", columns=["obs", "mean", "std_dev", "min", "max", "text"]),
        tabulations={name: tabulate_column(mentioned[name]) for name in tabulated},
        correlations=correlations if correlated else None,
        correlation_obs=obs if correlated else None,
        notes=tuple(note for column in mentioned.values() for note in column_notes(column)),
    )


def distinct_names(given: Sequence[str], argument: str) -> list[str]:
    """Return the column names of an argument once each; a bare string is a mistake, not a list of letters."""
    if isinstance(given, str):
        raise DataError(f"{argument} must be a list of column names, not text. Write {argument}=[{given!r}].")
    return list(dict.fromkeys(given))


def check_columns(frame: pd.DataFrame, names: list[str]) -> None:
    """Raise ``DataError`` for the first name that is no column, with the nearest one."""
    for name in names:
        if name not in frame.columns:
            known = [str(column) for column in frame.columns]
            lowered = {column.lower(): column for column in known}
            close = difflib.get_close_matches(str(name).lower(), list(lowered), n=1)
            hint = f" Did you mean {lowered[close[0]]!r}?" if close else f" The columns are {', '.join(known)}."
            raise DataError(f"There is no column {name!r}.{hint}")


def one_column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return the column of that name."""
    column = frame[name]
    assert isinstance(column, pd.Series)  # read_table refuses two columns of one name
    return column


def is_numeric(column: pd.Series) -> bool:
    """Numbers and booleans are; text, categories and dates are not."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)


def numbers(column: pd.Series) -> np.ndarray:
    """Values of a numeric column as float64 (n,), missing ones NaN."""
    return column.to_numpy(dtype=float, na_value=np.nan)


def summarise_column(column: pd.Series) -> list[Any]:
    """Return obs, mean, standard deviation, minimum, maximum, and words for what is not a number."""
    present = int(column.notna().sum())
    if not is_numeric(column):
        return [present, np.nan, np.nan, np.nan, np.nan, content(column.dropna())]
    x = numbers(column)
    x = x[~np.isnan(x)]
    if not len(x):
        return [0, np.nan, np.nan, np.nan, np.nan, "all missing"]
    with np.errstate(invalid="ignore"):  # an infinite value has no standard deviation; a note names it
        spread = float(np.std(x, ddof=1)) if len(x) > 1 else np.nan
        return [len(x), float(np.mean(x)), spread, float(np.min(x)), float(np.max(x)), ""]


def content(present: pd.Series) -> str:
    """Say in words what a column that is not a number holds."""
    if not len(present):
        return "all missing"
    if pd.api.types.is_datetime64_any_dtype(present):
        return f"date, {present.min():%Y-%m-%d} to {present.max():%Y-%m-%d}"
    kind = "categorical" if isinstance(present.dtype, pd.CategoricalDtype) else "text"
    levels = levels_of(present)
    shown = ", ".join(str(level) for level in levels[:6]) + (", ..." if len(levels) > 6 else "")
    return f"{kind}, {len(levels)} level{'s' if len(levels) != 1 else ''}: {shown}"


def levels_of(present: pd.Series) -> list[Any]:
    """Distinct values in order: numbers by size, categories in their own order, the rest as text."""
    if isinstance(present.dtype, pd.CategoricalDtype):
        return list(present.cat.remove_unused_categories().cat.categories)
    values = list(present.unique())
    return sorted(values) if is_numeric(present) else sorted(values, key=str)


def tabulate_column(column: pd.Series) -> pd.DataFrame:
    """Count the values of a column; missing cells are left out (a note counts them)."""
    present = column.dropna()
    levels = levels_of(present)
    counts = present.value_counts(sort=False).to_dict()
    freq = np.array([counts[level] for level in levels], dtype=int)
    percent = 100 * freq / max(freq.sum(), 1)
    index = pd.Index(levels, name=column.name)
    return pd.DataFrame({"freq": freq, "percent": percent, "cum": np.cumsum(percent)}, index=index)


def correlate_columns(columns: dict[str, pd.Series]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairwise Pearson correlations and the number of rows behind each; both (k, k)."""
    for name, column in columns.items():
        if not is_numeric(column):
            what = content(column.dropna())
            raise DataError(f"Column {name!r} cannot be correlated: it is not a number ({what}).")
    values = {name: numbers(column) for name, column in columns.items()}
    names = list(columns)
    r, obs = np.full((len(names), len(names)), np.nan), np.zeros((len(names), len(names)), dtype=int)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            both = ~(np.isnan(values[a]) | np.isnan(values[b]))
            obs[i, j] = both.sum()
            r[i, j] = correlation(values[a][both], values[b][both])
    return pd.DataFrame(r, index=names, columns=names), pd.DataFrame(obs, index=names, columns=names)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation of two (n,) arrays; NaN where one is constant, infinite or shorter than two."""
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else np.nan


def column_notes(column: pd.Series) -> list[str]:
    """Sentences about missing cells, infinite values, and text in a column that is otherwise numbers."""
    notes = []
    missing = int(column.isna().sum())
    if missing:
        notes.append(f"{column.name} is missing in {missing:,} of {len(column):,} rows.")
    if is_numeric(column):
        infinite = np.flatnonzero(np.isinf(numbers(column)))
        if len(infinite):
            count = f"{len(infinite):,} infinite value{'s' if len(infinite) > 1 else ''}"
            notes.append(f"{column.name} has {count} (first in row {infinite[0] + 1}); its mean is not defined.")
    elif not pd.api.types.is_datetime64_any_dtype(column) and not isinstance(column.dtype, pd.CategoricalDtype):
        notes += text_among_numbers(column)
    return notes


def text_among_numbers(column: pd.Series) -> list[str]:
    """Name the first cell that keeps a column of numbers from being one."""
    present = column.dropna().astype(str)
    bad = np.isnan(np.asarray(pd.to_numeric(present, errors="coerce"), dtype=float))
    if not len(present) or bad.mean() > 0.5:
        return []
    if not bad.any():
        return [f"{column.name} is stored as text although all its values are numbers."]
    where = np.flatnonzero(column.notna().to_numpy())[np.flatnonzero(bad)[0]]
    return [
        f"{column.name} is text, but {int((~bad).sum()):,} of its {len(present):,} values are numbers; "
        f"first other value {column.iloc[where]!r} in row {where + 1}. Correct it to use the column as a number."
    ]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a tabulation into dicts of plain numbers and text, the value itself under ``value``."""
    columns = {"value": table.index.tolist(), **{name: table[name].tolist() for name in ("freq", "percent", "cum")}}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def significant(value: float) -> str:
    """Seven significant digits and, unless the value is tiny, no more than seven decimals, as Stata shows them."""
    if np.isnan(value):
        return ""
    return f"{value:.7f}".rstrip("0") if 1e-4 <= abs(value) < 0.1 else f"{value:.7g}"


def summary_text(summary: pd.DataFrame) -> str:
    """Table of Stata's ``summarize``."""
    width = max(8, *(len(str(name)) for name in summary.index))
    lines = [
        f"{'Variable':>{width}} |{'Obs':>11}{'Mean':>13}{'Std. dev.':>13}{'Min':>13}{'Max':>13}",
        "-" * (width + 1) + "+" + "-" * 63,
    ]
    for name, row in summary.to_dict(orient="index").items():
        cells = "".join(f"{significant(row[key]):>13}" for key in ("mean", "std_dev", "min", "max"))
        lines.append(f"{name!s:>{width}} |{row['obs']:>11,}" + (f"   {row['text']}" if row["text"] else cells))
    return "\n".join(lines)


def tabulation_text(name: str, table: pd.DataFrame) -> str:
    """Table of Stata's ``tab1``; a very long one is cut and says so."""
    shown = table.iloc[:TABLE_ROWS_SHOWN]
    labels = [str(label) for label in shown.index]
    width = max(11, len(name), *(len(label) for label in labels)) if labels else max(11, len(name))
    rule = "-" * (width + 1) + "+" + "-" * 35
    lines = [f"{name:>{width}} |{'Freq.':>11}{'Percent':>12}{'Cum.':>12}", rule]
    for label, row in zip(labels, records(shown), strict=True):
        lines.append(f"{label:>{width}} |{row['freq']:>11,}{row['percent']:>12.2f}{row['cum']:>12.2f}")
    if len(table) > len(shown):
        lines.append(f"{'...':>{width}} | {len(table) - len(shown):,} more values; all are in .tabulations[{name!r}]")
    lines += [rule, f"{'Total':>{width}} |{sum(table['freq'].tolist()):>11,}{100.0 if len(table) else 0.0:>12.2f}"]
    return "\n".join(lines)


def correlation_text(r: pd.DataFrame, obs: pd.DataFrame) -> str:
    """Lower triangle of Stata's ``correlate``; with missing values, the rows of each pair beneath (``pwcorr, obs``)."""
    names = [str(name) for name in r.index]
    width = max(9, *(len(name) + 2 for name in names))
    pairwise = len(np.unique(obs.to_numpy())) > 1
    lines = ["(rows of each pair beneath its correlation)" if pairwise else f"(obs={obs.iat[0, 0]:,})", ""]
    lines.append(" " * width + "|" + "".join(f"{name:>{width}}" for name in names))
    lines.append("-" * width + "+" + "-" * width * len(names))
    for i, name in enumerate(names):
        correlations, counts = r.to_numpy()[i, : i + 1], obs.to_numpy()[i, : i + 1]
        cells = ("." if np.isnan(value) else f"{value:.4f}" for value in correlations)
        lines.append(f"{name:>{width - 1}} |" + "".join(f"{cell:>{width}}" for cell in cells))
        if pairwise:
            lines.append(" " * width + "|" + "".join(f"{count:>{width},}" for count in counts))
    return "\n".join(lines)
