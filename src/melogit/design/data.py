"""The data structures that a formula and a data frame are turned into.

Letters: ``n`` rows, ``p`` fixed effects, ``q`` columns of a random term, ``G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]

Structure = Literal["independent", "unstructured", "identity", "exchangeable"]


@dataclass(frozen=True, slots=True)
class GroupingFactor:
    """Which group each row belongs to.

    Attributes
    ----------
    name : str
        As written in the formula: ``DID`` or ``HID:DID``.
    columns : tuple of str
        The data columns whose combination makes the groups.
    codes : (n,) int32
        Group number of each row, ``0 .. G-1``, in the order of ``levels``.
    levels : (G,) array of str
        Label of each group, sorted (numerically where all are numbers); ``"35:407"`` for combined columns.
    """

    name: str
    columns: tuple[str, ...]
    codes: IntArray
    levels: NDArray[np.object_]

    @property
    def n_levels(self) -> int:
        """Number of groups ``G``."""
        return len(self.levels)


@dataclass(frozen=True, slots=True)
class Block:
    """A run of columns of a random term that share one covariance matrix."""

    start: int
    size: int
    structure: Structure


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """All random effects of one grouping factor, as one vector per group.

    Terms written separately on the same factor are joined in the order written; the covariance matrix is
    block-diagonal with one ``Block`` per written term.

    Attributes
    ----------
    factor : GroupingFactor
    Z : (n, q) float64, C order
        The small per-row block; no n x G matrix is ever built.
    names : tuple of str
        Column names, ``Intercept`` for the constant.
    blocks : tuple of Block
    """

    factor: GroupingFactor
    Z: FloatArray
    names: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """Everything about the model that is words or counts, for tables and messages. Survives saving.

    Attributes
    ----------
    formula : str
        As the user wrote it (or its translation from Stata).
    response : str
        The response as written: ``remission`` or ``cbind(incidence, size - incidence)``.
    event : str or None
        Label of the outcome that is modelled where the response was not coded 0/1 (``yes``, ``True``).
    base_levels : tuple of (factor, level)
        The reference level of every treatment-coded factor.
    dropped_columns : tuple of (name, reason)
        Fixed-effect columns left out because they are constant or collinear.
    rows_read, rows_used : int
        Rows in the data and rows that entered the fit.
    rows_missing : tuple of (column, count)
        How many rows lack each column (a row may count under several).
    trials, weights, offset : str or None
        What the user gave, as text.
    notes : tuple of str
        Whole sentences that belong under the table.
    """

    formula: str
    response: str
    event: str | None = None
    base_levels: tuple[tuple[str, str], ...] = ()
    dropped_columns: tuple[tuple[str, str], ...] = ()
    rows_read: int = 0
    rows_used: int = 0
    rows_missing: tuple[tuple[str, int], ...] = ()
    trials: str | None = None
    weights: str | None = None
    offset: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Design:
    """One model's data, ready for a likelihood. Arrays are float64, C order and not writeable.

    Attributes
    ----------
    y : (n,)
        Number of successes of each row.
    trials : (n,)
        Number of trials of each row (1 for a 0/1 response; 0 allowed, the row then contributes nothing).
    weights : (n,)
        Frequency weights: 3 stands for three such rows.
    offset : (n,)
    X : (n, p)
        Fixed-effects matrix of full column rank; a constant column, if any, is named ``Intercept``.
    x_names : tuple of str
    terms : tuple of RandomTerm
        One per grouping factor. When ``nested``, from the top level to the lowest.
    nested : bool
        Each factor's groups lie within the groups of the factor before it.
    wording : Wording
    row_labels : (n,) object or int64 array
        The data frame's own index of each used row.
    """

    y: FloatArray
    trials: FloatArray
    weights: FloatArray
    offset: FloatArray
    X: FloatArray
    x_names: tuple[str, ...]
    terms: tuple[RandomTerm, ...]
    nested: bool
    wording: Wording
    row_labels: NDArray = field(default_factory=lambda: np.empty(0, dtype=object))

    @property
    def n_rows(self) -> int:
        """Rows that entered the fit."""
        return len(self.y)
