"""What ``fit.bootstrap()`` gives: tables and figures of the replicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.inference import critical_value, z_and_p
from melogit.inference.intervals import KINDS, Spread, interval
from melogit.report import count
from melogit.report.replicates import ReplicateRow, interval_table, normal_table, replicate_notes

Kind = Literal["normal", "basic", "percentile", "bc", "bca", "studentized"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BootstrapResults:
    """How the estimates vary from sample to sample.

    Attributes
    ----------
    observed : Series
        The estimates, or the statistic, from the data.
    replicates : DataFrame
        One row per replicate (from 1), one column per parameter; a failed replicate is a row of NaN.
    failed : DataFrame
        Per failed replicate: its number, its ``seed`` (``numpy.random.default_rng(seed)`` drew it) and the reason.
    warned : Series
        In how many of the other replicates the refit gave each kind of warning.
    acceleration : Series
        For BCa intervals; NaN where there is none.
    replicate_std_err : DataFrame
        Standard error of each estimate by its own refit, for studentized intervals; NaN where there is none.
    observed_std_err : Series
    resample : str
    group : tuple of str
        What was drawn, top first.
    seed, reps : int
        As asked for (the seed that was chosen, where none was given).
    level : float
        Confidence level.
    nobs : float
    """

    observed: pd.Series
    replicates: pd.DataFrame
    failed: pd.DataFrame
    warned: pd.Series
    acceleration: pd.Series
    replicate_std_err: pd.DataFrame
    observed_std_err: pd.Series
    resample: str
    group: tuple[str, ...]
    seed: int
    reps: int
    level: float
    nobs: float
    n_fixed: int  # the first so many have z and p: coefficients
    positive: NDArray[np.bool_]  # variances
    draws: str  # how the samples were drawn, as a sentence
    missing: dict[str, str]  # kinds of intervals that there are none of, and why

    @property
    def used(self) -> pd.DataFrame:
        """The replicates that did not fail."""
        return self.replicates.drop(index=list(self.failed["replicate"]))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of intervals that can be had."""
        return tuple(kind for kind in KINDS if kind not in self.missing)

    def table(self, kind: Kind = "normal", level: float | None = None) -> pd.DataFrame:
        """Observed value, bias, standard error and interval of every parameter.

        Parameters
        ----------
        kind : {"normal", "basic", "percentile", "bc", "bca", "studentized"}
            ``normal``: observed value plus and minus standard errors. ``basic``: quantiles of the replicates,
            reflected at the observed value. ``percentile``: the quantiles. ``bc``: bias-corrected quantiles. ``bca``:
            corrected for skewness too. ``studentized``: bootstrap-t, from each refit's own standard error (variances
            on the log scale). All but ``normal`` need some 1,000 replicates.
        level : float, optional

        Returns
        -------
        DataFrame
            ``observed, bias, std_err, ci_low, ci_high``. The bias is the mean of the replicates minus the observed
            value.

        Raises
        ------
        ModelError
            An unknown kind, or one that these replicates do not have; the message says why.
        """
        self._check_kind(kind)
        level = self.level if level is None else level
        critical_value(level)
        used, observed = self.used.to_numpy(), self.observed.to_numpy(dtype=float)
        limits = [interval(spread, kind, level) for spread in self._spreads()]
        return pd.DataFrame(
            {
                "observed": observed,
                "bias": used.mean(axis=0) - observed,
                "std_err": used.std(axis=0, ddof=1),
                "ci_low": [low for low, _ in limits],
                "ci_high": [high for _, high in limits],
            },
            index=self.observed.index,
        )

    def _check_kind(self, kind: str) -> None:
        if kind not in KINDS:
            raise ModelError(f"kind={kind!r} is not known. Choose one of {', '.join(KINDS)}.")
        if kind in self.missing:
            raise ModelError(
                f"There are no {kind} intervals here: {self.missing[kind]}. There are {', '.join(self.kinds)}."
            )

    def _spreads(self) -> list[Spread]:
        used = self.used
        values, errors = used.to_numpy(), self.replicate_std_err.loc[used.index].to_numpy()
        columns = zip(
            values.T, self.observed, self.acceleration, errors.T, self.observed_std_err, self.positive, strict=True
        )
        return [Spread(*column) for column in columns]

    def cov_params(self) -> pd.DataFrame:
        """Covariance matrix of the replicates."""
        return cast(pd.DataFrame, self.used.cov())

    def summary(
        self,
        kind: Kind | Literal["all"] | Sequence[str] | None = None,
        level: float | None = None,
        odds_ratios: bool = False,
        labels: Callable[[str], str] = str,
    ) -> str:
        """Lay out the table: as Stata's ``bootstrap`` prefix, or with ``kind`` as ``estat bootstrap``.

        Parameters
        ----------
        kind : one of the kinds of ``table``, a list of them, or "all", optional
        level : float, optional
        odds_ratios : bool
            Without ``kind``: exponentiate the coefficients and their limits; standard errors by the delta method.
        labels : callable
            Name of a parameter -> how it is shown.
        """
        level = self.level if level is None else level
        if kind == "all":
            chosen = list(self.kinds)
        else:
            chosen = [kind or "normal"] if kind is None or isinstance(kind, str) else list(kind)
        tables = {k: self.table(cast(Kind, k), level) for k in chosen}
        first = tables[chosen[0]]
        rows = []
        for j, (name, row) in enumerate(zip(map(str, first.index), first.to_numpy(dtype=float), strict=True)):
            z, p = z_and_p(row[:1], row[2:3]) if j < self.n_fixed else (np.array([np.nan]),) * 2
            limits = [(k, *(float(v) for v in t.iloc[j, 3:5])) for k, t in tables.items()]
            made = ReplicateRow(labels(name), row[0], row[1], row[2], float(z[0]), float(p[0]), cast(Any, limits))
            rows.append(_exponentiated(made) if odds_ratios and kind is None and j < self.n_fixed else made)
        between = " and " if self.resample == "cluster" else ", then "  # several at once only where groups cross
        head = [
            ("Bootstrap results", f"(drawn: {between.join(self.group)})" if self.group else ""),
            ("Number of obs", count(self.nobs)),
            ("Replications", count(len(self.used))),
        ]
        if kind is None:
            text = normal_table(head, rows, "odds ratio" if odds_ratios else "coefficient", level)
        else:
            text = interval_table(head, rows, level)
        failed, warned = len(self.failed), list(zip(map(str, self.warned.index), map(int, self.warned), strict=True))
        notes = replicate_notes(self.reps, len(self.replicates), failed, warned, self.seed, self.draws)
        if kind == "all":
            notes += [f"No {kind} intervals: {why}." for kind, why in self.missing.items()]
        return "\n".join([text, *notes])

    def plot(
        self,
        kind: Kind = "percentile",
        *,
        columns: str | Sequence[str] | None = None,
        level: float | None = None,
        axes: Any = None,
    ) -> Any:
        """Histogram of each parameter's replicates, with the observed value and the limits of an interval.

        Parameters
        ----------
        kind : one of the kinds of ``table``
        columns : str or sequence of str, optional
            Which parameters; by default all.
        level : float, optional
        axes : array of matplotlib Axes, optional
            One per parameter.

        Returns
        -------
        array of matplotlib Axes
        """
        from melogit.plots.replicates import replicate_histograms

        table = self.table(kind, level)
        names = [columns] if isinstance(columns, str) else list(map(str, table.index if columns is None else columns))
        for name in names:
            if name not in table.index:
                raise ModelError(f"{name!r} is none of the parameters: {', '.join(map(str, table.index))}.")
        shown = table.loc[names]
        return replicate_histograms(
            names,
            [self.used[name].to_numpy() for name in names],
            *(shown[column].to_numpy(dtype=float) for column in ("observed", "ci_low", "ci_high")),
            kind=kind,
            level=self.level if level is None else level,
            axes=axes,
        )

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        lost = f", {count(len(self.failed))} failed" if len(self.failed) else ""
        return (
            f"<melogit.BootstrapResults: {count(len(self.replicates))} replicates{lost}; "
            f"resample={self.resample!r}; seed {self.seed}>"
        )


def _exponentiated(row: ReplicateRow) -> ReplicateRow:
    ratio = float(np.exp(row.observed))
    limits = [(kind, float(np.exp(low)), float(np.exp(high))) for kind, low, high in row.intervals]
    return replace(row, observed=ratio, std_err=ratio * row.std_err, intervals=limits)
