"""What a power analysis gives: tables and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from melogit.report.numbers import count
from melogit.report.power import PowerColumn, power_text

LABELS = {
    "clusters": "clusters",
    "subclusters": "subclusters per cluster",
    "cluster_size": "rows per cluster",
    "rows": "rows",
    "baseline": "share untreated",
    "treated": "share treated",
    "effect": "effect (log odds)",
    "odds_ratio": "odds ratio",
    "icc": "ICC",
    "icc_within": "ICC within subclusters",
}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Power:
    """How often planned studies find the effect that they look for.

    Attributes
    ----------
    table : DataFrame
        One row per study: its numbers, ``power``, its Monte Carlo standard error ``mc_error`` and Wilson interval
        ``ci_low, ci_high``, ``reps``, ``failed`` (replicates that could not be fitted, counted as not significant),
        and of the others ``mean_estimate``, ``mean_std_err`` and ``coverage`` (share of Wald intervals at level
        1 - alpha that hold the true effect). With ``target``, ``clusters`` is the answer and ``clusters_low,
        clusters_high`` its Monte Carlo range.
    replicates : DataFrame
        ``study`` (row of the table), ``clusters``, ``replicate``, ``estimate, std_err, p``, and the ``reason`` where
        it failed. With ``target`` the numbers of clusters that were tried on the way are here too.
    varied : tuple of str
        The columns of the table that were given several values.
    about : tuple of str
        What was planned, in sentences.
    test, alpha, level, reps, seed, target
        As asked for (the seed that was chosen, where none was given).
    """

    table: pd.DataFrame
    replicates: pd.DataFrame
    varied: tuple[str, ...]
    about: tuple[str, ...]
    test: str
    alpha: float
    level: float
    reps: int
    seed: int
    target: float | None

    def plot(self, ax: Any = None) -> Any:
        """Power curves, one for each combination of what varies besides the horizontal axis; returns the Axes.

        The horizontal axis is the number of clusters where that varies, else the first of what does. Bars are Wilson
        intervals. With ``target``: the number of clusters found, against what varies.
        """
        from melogit.plots.power import draw_power

        return draw_power(*self._curves(), level=self.level, target=self.target, alpha=self.alpha, ax=ax)

    def _curves(self) -> tuple[Any, str, str, str]:
        from melogit.plots.margins import Series

        value, low, high = ("power", "ci_low", "ci_high")
        y_label = "Power"
        if self.target is not None:
            value, low, high = "clusters", "clusters_low", "clusters_high"
            y_label = f"Clusters for a power of {self.target:g}"
        inner = [name for name in ("clusters", *self.varied) if name in self.varied]
        x = inner[0] if inner else "cluster_size" if "cluster_size" in self.table else "clusters"
        others = [name for name in self.varied if name != x]
        groups = self.table.groupby(others, sort=False) if others else [((), self.table)]
        series = []
        for key, part in groups:
            keys = key if isinstance(key, tuple) else (key,)
            label = ", ".join(f"{v:.4g}" for v in keys)
            columns = (part[name].to_numpy(dtype=float) for name in (x, value, low, high))
            series.append(Series(label, *columns))
        words = [LABELS.get(name, name) for name in (x, *others)]
        return series, words[0][0].upper() + words[0][1:], y_label, ", ".join(words[1:])

    def summary(self) -> str:
        """Lay out the table as text."""
        shown = ["clusters", *(name for name in self.varied if name != "clusters")]
        if self.target is not None:
            shown[1:1] = ["clusters_low", "clusters_high"]
        if "rows" in self.table and "rows" not in shown:
            shown.append("rows")
        columns = [PowerColumn(name, LABELS.get(name, name), self.table[name].tolist()) for name in shown]
        columns += [
            PowerColumn(name, name, self.table[name].tolist()) for name in ("power", "ci_low", "ci_high", "failed")
        ]
        test = {"wald": "Wald test", "t": "t test", "lr": "likelihood-ratio test"}[self.test]
        title = f"Power by simulation: {test} at {self.alpha:g}, {count(self.reps)} replicates, seed {self.seed}"
        return power_text(title, self.about, columns, self.level)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        studies = f"{len(self.table)} {'study' if len(self.table) == 1 else 'studies'}"
        best = self.table["power"]
        return (
            f"<melogit.Power: {studies}, {count(self.reps)} replicates each; power {best.min():.3f}"
            f"{f' to {best.max():.3f}' if len(best) > 1 else ''}; seed {self.seed}>"
        )
