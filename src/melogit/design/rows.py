"""Some of the rows of a design."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from melogit.design.data import Design, GroupingFactor, RandomTerm


def subset(design: Design, rows: NDArray[np.bool_]) -> Design:
    """The design of some of the rows (n,); groups without rows are left out."""
    terms = []
    for term in design.terms:
        seen, codes = np.unique(term.factor.codes[rows], return_inverse=True)
        factor = GroupingFactor(term.factor.name, term.factor.columns, codes.astype(np.int32), term.factor.levels[seen])
        terms.append(RandomTerm(factor, np.ascontiguousarray(term.Z[rows]), term.names, term.blocks))
    return replace(
        design,
        y=design.y[rows],
        trials=design.trials[rows],
        weights=design.weights[rows],
        offset=design.offset[rows],
        X=np.ascontiguousarray(design.X[rows]),
        terms=tuple(terms),
        row_labels=design.row_labels[rows] if len(design.row_labels) else design.row_labels,
    )
