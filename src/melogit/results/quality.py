"""Prediction quality as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.quality import Predicted, confusion, cross_validate, in_sample, metrics

WITH, WITHOUT = "with_group_effects", "without_group_effects"


@dataclass(frozen=True, slots=True, repr=False)
class Quality:
    """How well a model predicts.

    Attributes
    ----------
    how : str
        A sentence: in-sample, or how rows were held out.
    threshold : float
    table : DataFrame
        Metrics in rows, with scikit-learn's names (``recall`` is the sensitivity); one column for probabilities that
        use the group's own effect and one for those averaged over the random effects.
    confusion : DataFrame
        ``true_negative, false_positive, false_negative, true_positive`` at the threshold (an event is predicted where
        p >= threshold), a row for each column of ``table``.
    predictions : DataFrame
        ``observed``, the probabilities, and the ``fold`` in which each row was held out, with the data's index.
    """

    how: str
    threshold: float
    table: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame

    def __repr__(self) -> str:
        matrix = self.confusion.T.to_string(float_format=lambda v: f"{v:,.7g}")
        return f"{self.how}\n\n{self.table.to_string(float_format='%.4f')}\n\nAt p >= {self.threshold:g}:\n{matrix}"

    def _repr_html_(self) -> str:
        return f"<p>{self.how}</p>{self.table.to_html(float_format='%.4f')}{self.confusion.T.to_html()}"


def judge(design: Design, fit: Fit, threshold: float, folds: int | None, hold: str, seed: int) -> Quality:
    """Judge predictions in-sample, or by cross-validation."""
    if isinstance(threshold, bool) or not 0 < threshold < 1:
        raise ModelError(f"threshold={threshold!r} must lie between 0 and 1: the probability from which on to say yes.")
    if hold not in ("groups", "rows"):
        raise ModelError(f"hold={hold!r} is not one of 'groups' (whole top-level groups), 'rows' (within groups).")
    if folds is None:
        found, how = in_sample(design, fit), "In-sample: judged on the rows that were fitted (optimistic)."
    else:
        if isinstance(folds, bool) or int(folds) != folds or folds < 2:
            raise ModelError(f"folds={folds!r} must be a whole number, 2 or more.")
        found = cross_validate(design, fit, int(folds), "groups" if hold == "groups" else "rows", seed)
        held = f"whole groups of {design.terms[0].factor.name}" if hold == "groups" else "rows within groups"
        how = f"{folds}-fold cross-validation, {held} held out."
    return _tabulated(design, found, threshold, how)


def _tabulated(design: Design, found: Predicted, threshold: float, how: str) -> Quality:
    events = design.weights * design.y
    others = design.weights * (design.trials - design.y)
    columns = {WITH: found.with_effects, WITHOUT: found.without_effects}
    given = {name: p for name, p in columns.items() if p is not None}
    table = pd.DataFrame({name: metrics(events, others, p, threshold) for name, p in given.items()})
    cells = {name: confusion(events, others, p, threshold) for name, p in given.items()}
    names = ["true_negative", "false_positive", "false_negative", "true_positive"]
    matrix = pd.DataFrame({k: [getattr(cell, k) for cell in cells.values()] for k in names}, index=list(cells))
    share = np.full(design.n_rows, np.nan)
    np.divide(design.y, design.trials, out=share, where=design.trials > 0)
    rows = {"observed": share, **given}
    if found.fold is not None:
        rows["fold"] = found.fold
    index = design.row_labels if len(design.row_labels) else None
    return Quality(how, threshold, table, matrix, pd.DataFrame(rows, index=index))
