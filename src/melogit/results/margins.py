"""``Margins``: population-averaged predictions and effects in the user's hands."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melogit.effects.contrasts import contrasts, effect_measures
from melogit.errors import ModelError
from melogit.results.figures_margins import draw_margins

NUMBERS = ["margin", "std_err", "z", "p", "ci_low", "ci_high"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Margins:
    """Margins with their joint covariance.

    Attributes
    ----------
    table : DataFrame
        What was set (a column for each predictor of ``at`` and ``over``; ``term`` and ``contrast`` for effects), then
        ``margin, std_err, z, p, ci_low, ci_high``.
    cov : (k, k)
        Covariance matrix of the margins.
    kind : str
        ``marginal`` (averaged over the random effects), ``fixed`` (random effects 0) or ``conditional`` (the groups'
        own effects).
    measure : str
        ``probability``, ``dydx``, ``eyex``, ``eydx``, ``dyex`` or ``contrast``.
    settings : tuple of str
        The columns of ``table`` that tell the margins apart.
    level : float
    notes : tuple of str
    """

    table: pd.DataFrame
    cov: np.ndarray
    kind: str
    measure: str
    settings: tuple[str, ...]
    level: float
    notes: tuple[str, ...] = ()

    def contrast(
        self, method: str = "pairwise", adjust: str = "none", by: str | None = None, level: float | None = None
    ) -> Margins:
        """Compare the margins with each other.

        Parameters
        ----------
        method : {"pairwise", "reference", "adjacent"}
            All pairs, each with the first, or each with the one before.
        adjust : {"none", "bonferroni", "sidak", "holm", "scheffe", "tukey"}
            Adjust p-values and intervals for the number of contrasts (Holm's intervals are Bonferroni's).
        by : str, optional
            Compare only within the values of this column of the table.
        level : float, optional
        """
        level = self.level if level is None else level
        if by is not None and by not in self.settings:
            raise ModelError(f"by='{by}' is not a setting of these margins; they have {', '.join(self.settings)}.")
        names = [name for name in self.settings if name != by]
        parts, L = [], []
        strata = (
            [np.arange(len(self.table))] if by is None else list(self.table.groupby(by, sort=False).indices.values())
        )
        for rows in strata:
            values = self.table["margin"].to_numpy()[rows]
            found = contrasts(values, self.cov[np.ix_(rows, rows)], method, adjust, level)
            texts = [_describe(self.table.iloc[int(row)], names) for row in rows]
            data: dict[str, Any] = {} if by is None else {by: self.table[by].iloc[int(rows[0])]}
            data["contrast"] = [f"{texts[a]} - {texts[b]}" for a, b in zip(found.first, found.second, strict=True)]
            numbers = (found.values, found.std_err, found.z, found.p, found.low, found.high)
            data.update(zip(NUMBERS, numbers, strict=True))
            parts.append(pd.DataFrame(data))
            L += [
                np.eye(len(self.table))[rows[a]] - np.eye(len(self.table))[rows[b]]
                for a, b in zip(found.first, found.second, strict=True)
            ]
        L = np.array(L)
        note = () if adjust == "none" else (f"p-values and intervals adjusted for the number of contrasts ({adjust}).",)
        settings = ("contrast",) if by is None else (by, "contrast")
        table = pd.concat(parts, ignore_index=True)
        return Margins(table, L @ self.cov @ L.T, self.kind, "contrast", settings, level, self.notes + note)

    def effect(self, first: int = 0, second: int = 1, level: float | None = None) -> pd.DataFrame:
        """Compare two settings by every usual measure of effect.

        Parameters
        ----------
        first, second : int
            Rows of ``table``: without and with the change.
        level : float, optional

        Returns
        -------
        DataFrame
            ``estimate, std_err, ci_low, ci_high, p`` of the risk difference, risk ratio, odds ratio and number
            needed to treat. Where the interval of the risk difference holds 0, that of the number needed to treat
            runs through infinity: ``ci_low`` is then above ``ci_high``, and the interval is all numbers above
            ``ci_low`` and all below ``ci_high``.
        """
        if self.measure != "probability":
            raise ModelError(f"effect() compares two probabilities, and these margins are {self.measure}.")
        n = len(self.table)
        if not (0 <= first < n and 0 <= second < n and first != second):
            raise ModelError(f"effect({first}, {second}): choose two different rows of the {n} in the table (from 0).")
        at = [first, second]
        level = self.level if level is None else level
        found = effect_measures(self.table["margin"].to_numpy()[at], self.cov[np.ix_(at, at)], level)
        rows = [[e.estimate, e.std_err, e.low, e.high, e.p] for e in found]
        columns = ["estimate", "std_err", "ci_low", "ci_high", "p"]
        return pd.DataFrame(rows, index=pd.Index([e.name for e in found], name="measure"), columns=columns)

    def plot(self, x: str | None = None, by: str | None = None, ax: Any = None) -> Any:
        """Draw the margins with their intervals.

        Numbers are drawn as curves with shaded intervals, categories as points, effects and contrasts in rows.

        Parameters
        ----------
        x : str, optional
            The setting on the horizontal axis; by default a number that takes several values, else the first.
        by : str, optional
            The setting that makes the series; by default what remains.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        return draw_margins(self.table, self.settings, self.measure, x, by, ax)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        text = self._shown().to_string(index=False)
        return "\n".join([self._title(), "", text, *(["", *self.notes] if self.notes else [])])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>{html.escape(self._title())}</p>{self._shown().to_html(index=False)}{notes}"

    def _shown(self) -> pd.DataFrame:
        shown = self.table.copy()
        for name, digits in zip(NUMBERS, (6, 6, 2, 3, 6, 6), strict=True):
            shown[name] = [f"{value:.{digits}f}" for value in shown[name]]
        return shown

    def _title(self) -> str:
        what = {
            "probability": "Predictive margins",
            "dydx": "Average marginal effects (dy/dx)",
            "eyex": "Average elasticities (ey/ex)",
            "eydx": "Average semi-elasticities (ey/dx)",
            "dyex": "Average semi-elasticities (dy/ex)",
            "contrast": "Contrasts of margins",
        }[self.measure]
        how = {
            "marginal": "averaged over the random effects",
            "fixed": "random effects at 0",
            "conditional": "at the groups' own random effects",
        }[self.kind]
        return f"{what}, {how}; delta-method standard errors, {100 * self.level:g} % intervals"


def _describe(row: pd.Series, names: list[str]) -> str:
    texts = [f"{row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in names]
    return texts[0] if len(names) == 1 else "(" + ", ".join(texts) + ")"


def margins_table(
    labels: Sequence[Mapping[str, object]], values: np.ndarray, cov: np.ndarray, level: float
) -> pd.DataFrame:
    """Lay out margins: what was set, then the numbers; symmetric normal intervals, as Stata has them."""
    from melogit.inference import normal_interval, z_and_p

    std_err = np.sqrt(np.maximum(np.diag(cov), 0.0))
    z, p = z_and_p(values, std_err)
    low, high = normal_interval(values, std_err, level)
    table = pd.DataFrame([dict(label) for label in labels])
    for name, column in zip(NUMBERS, (values, std_err, z, p, low, high), strict=True):
        table[name] = column
    return table
