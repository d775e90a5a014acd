"""Which rows enter the fit, and how to name one of them in a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.errors import DataError


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows used.

    Attributes
    ----------
    index : pandas.Index
        Of the data as read.
    keep : (n,) int64 or None
        Positions of the rows used; None for all.
    missing : tuple of (column, count)
    """

    index: pd.Index
    keep: NDArray[np.int64] | None
    missing: tuple[tuple[str, int], ...]

    @property
    def n_read(self) -> int:
        """Rows in the data."""
        return len(self.index)

    @property
    def n_used(self) -> int:
        """Rows that enter the fit."""
        return self.n_read if self.keep is None else len(self.keep)

    def take(self, column: pd.Series) -> pd.Series:
        """Return the used rows of a column."""
        return column if self.keep is None else column.take(self.keep)

    def name(self, i: int) -> str:
        """Name the ``i``-th used row for a message: ``row 5`` counts from 1, as the data were given."""
        position = i if self.keep is None else int(self.keep[i])
        label = self.index[position]
        plain = isinstance(self.index, pd.RangeIndex) and self.index.start == 0 and self.index.step == 1
        return f"row {position + 1}" if plain else f"row {position + 1} (index {label!r})"

    def labels(self) -> NDArray:
        """Return the data frame's own index of the used rows."""
        if isinstance(self.index, pd.RangeIndex):
            values = np.arange(self.index.start, self.index.stop, self.index.step, dtype=np.int64)
        elif self.index.dtype == np.int64:
            values = self.index.to_numpy()
        else:
            values = self.index.to_numpy(dtype=object)
        values = values.copy() if self.keep is None else values[self.keep]
        values.flags.writeable = False
        return values


def missing_mask(values: pd.Series) -> NDArray[np.bool_] | None:
    """Return which values are missing, or None where none is."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iub":
        return None
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
        mask = np.isnan(values.to_numpy())
    else:
        mask = values.isna().to_numpy(dtype=bool)
    return mask if mask.any() else None


def select_rows(index: pd.Index, used: Mapping[str, pd.Series], missing: str) -> tuple[Rows, tuple[str, ...]]:
    """Leave out the rows with a missing value in any used column.

    Parameters
    ----------
    index : pandas.Index
        Of the data.
    used : mapping of str to Series
        Every column that the model uses.
    missing : {"drop", "error"}

    Returns
    -------
    Rows, tuple of str
        The rows and the sentence that reports those left out.
    """
    if missing not in ("drop", "error"):
        raise DataError(f"missing={missing!r} is not known; choose 'drop' or 'error'.")
    if len(index) == 0:
        raise DataError("The data have no rows.")
    gone: NDArray[np.bool_] | None = None
    counts: list[tuple[str, int]] = []
    first: tuple[str, int] | None = None
    for name, values in used.items():
        mask = missing_mask(values)
        if mask is None:
            continue
        counts.append((name, int(mask.sum())))
        first = first or (name, int(mask.argmax()))
        gone = mask if gone is None else gone | mask
    if gone is None or first is None:
        return Rows(index, None, ()), ()
    listing = ", ".join(f"{name} ({count:,})" for name, count in counts)
    if missing == "error":
        row = Rows(index, None, ()).name(first[1])
        raise DataError(
            f"{gone.sum():,} of {len(gone):,} rows have missing values: {listing}; the first is in {row}, "
            f"column '{first[0]}'. missing='drop' leaves such rows out."
        )
    keep = np.flatnonzero(~gone)
    if len(keep) == 0:
        raise DataError(
            f"No rows are left after removing missing values: {listing}, of {len(gone):,} rows. "
            "Leave out the columns that are mostly missing, or fill them in."
        )
    note = f"{gone.sum():,} of {len(gone):,} rows dropped because of missing values: {listing}."
    return Rows(index, keep, tuple(counts)), (note,)


def drop_zero_weights(rows: Rows, weights: NDArray[np.float64]) -> tuple[Rows, NDArray[np.float64], tuple[str, ...]]:
    """Leave out the used rows whose frequency weight is 0."""
    positive = weights > 0
    if positive.all():
        return rows, weights, ()
    if not positive.any():
        raise DataError("All weights are 0, so no rows are left.")
    kept = np.flatnonzero(positive)
    keep = kept if rows.keep is None else rows.keep[kept]
    count = len(weights) - len(kept)
    note = f"{count:,} row{'s' if count > 1 else ''} with weight 0 left out."
    return Rows(rows.index, keep, rows.missing), weights[kept], (note,)
