"""``fit.bootstrap()`` and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.design import Design
from melogit.errors import ConvergenceWarning, DataWarning, MelogitWarning, ModelError, warn
from melogit.fit.types import Fit
from melogit.inference import critical_value, z_and_p
from melogit.inference.bootstrap import KINDS, Replicates, interval, replicate, sampler
from melogit.inference.resampling import ROWS, level_named
from melogit.report import count
from melogit.report.replicates import (
    ReplicateRow,
    interval_table,
    normal_table,
    replicate_display,
    replicate_notes,
)
from melogit.results.inferences import needs_data

if TYPE_CHECKING:
    from melogit.results.results import Results

Scheme = Literal["cluster", "stagewise", "parametric", "rows"]
Kind = Literal["normal", "basic", "percentile", "bc"]
Statistic = Callable[[Any], "float | pd.Series"]

FAILED_SHARE = 0.01  # more failures than this are warned of
ROWS_INFLATE = (
    "\nRows that are drawn twice make their group look more alike, so variances come out too large (see the bias)."
)
IGNORES_GROUPS = (
    "resample=\"rows\" draws single rows as if they were independent and so breaks up the groups of '{group}': the "
    "standard errors of whatever varies between groups, and of the variances, come out far too small, and the "
    'estimates biased; resample="cluster" draws whole groups.'
)


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
    resample: str
    group: tuple[str, ...]
    seed: int
    reps: int
    level: float
    nobs: float
    n_fixed: int  # the first so many have z and p: coefficients
    draws: str  # how the samples were drawn, as a sentence

    @property
    def used(self) -> pd.DataFrame:
        """The replicates that did not fail."""
        return self.replicates.drop(index=list(self.failed["replicate"]))

    def table(self, kind: Kind = "normal", level: float | None = None) -> pd.DataFrame:
        """Observed value, bias, standard error and interval of every parameter.

        Parameters
        ----------
        kind : {"normal", "basic", "percentile", "bc"}
            ``normal``: observed value plus and minus standard errors. ``basic``: quantiles of the replicates,
            reflected at the observed value. ``percentile``: the quantiles. ``bc``: bias-corrected quantiles.
            Quantiles need some 1,000 replicates.
        level : float, optional

        Returns
        -------
        DataFrame
            ``observed, bias, std_err, ci_low, ci_high``. The bias is the mean of the replicates minus the observed
            value.
        """
        if kind not in KINDS:
            raise ModelError(f"kind={kind!r} is not known. Choose one of {', '.join(KINDS)}.")
        level = self.level if level is None else level
        critical_value(level)
        used = self.used.to_numpy()
        observed = self.observed.to_numpy(dtype=float)
        limits = [interval(used[:, j], observed[j], kind, level) for j in range(len(observed))]
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

    def cov_params(self) -> pd.DataFrame:
        """Covariance matrix of the replicates."""
        return cast(pd.DataFrame, self.used.cov())

    def summary(
        self,
        kind: Kind | Literal["all"] | None = None,
        level: float | None = None,
        odds_ratios: bool = False,
        labels: Callable[[str], str] = str,
    ) -> str:
        """Lay out the table: as Stata's ``bootstrap`` prefix, or with ``kind`` as ``estat bootstrap``.

        Parameters
        ----------
        kind : {"normal", "basic", "percentile", "bc", "all"}, optional
        level : float, optional
        odds_ratios : bool
            Without ``kind``: exponentiate the coefficients and their limits; standard errors by the delta method.
        labels : callable
            Name of a parameter -> how it is shown.
        """
        level = self.level if level is None else level
        chosen = list(KINDS) if kind == "all" else [kind or "normal"]
        tables = {k: self.table(cast(Kind, k), level) for k in chosen}
        first = tables[chosen[0]]
        rows = []
        for j, (name, row) in enumerate(zip(map(str, first.index), first.to_numpy(dtype=float), strict=True)):
            z, p = z_and_p(row[:1], row[2:3]) if j < self.n_fixed else (np.array([np.nan]),) * 2
            limits = [(k, *(float(v) for v in t.iloc[j, 3:5])) for k, t in tables.items()]
            made = ReplicateRow(labels(name), row[0], row[1], row[2], float(z[0]), float(p[0]), cast(Any, limits))
            rows.append(_exponentiated(made) if odds_ratios and kind is None and j < self.n_fixed else made)
        head = [
            ("Bootstrap results", self._counted()),
            ("Number of obs", count(self.nobs)),
            ("Replications", count(len(self.used))),
        ]
        if kind is None:
            text = normal_table(head, rows, "odds ratio" if odds_ratios else "coefficient", level)
        else:
            text = interval_table(head, rows, level)
        failed, warned = len(self.failed), list(zip(map(str, self.warned.index), map(int, self.warned), strict=True))
        notes = replicate_notes(self.reps, len(self.replicates), failed, warned, self.seed, self.draws)
        return "\n".join([text, *notes])

    def _counted(self) -> str:
        return f"(drawn: {', then '.join(self.group)})" if self.group else ""

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


class Resampling:
    """Inference by fitting anew to samples."""

    __slots__ = ()

    if TYPE_CHECKING:
        fit: Fit
        design: Design | None
        level: float

    def bootstrap(
        self,
        reps: int = 1000,
        *,
        resample: Scheme = "cluster",
        group: str | Sequence[str] | None = None,
        seed: int | None = None,
        statistic: Statistic | None = None,
        level: float | None = None,
        progress: bool | None = None,
    ) -> BootstrapResults:
        """Bootstrap the estimates, or anything that is computed from a fit.

        Parameters
        ----------
        reps : int
            Number of samples, 2 or more: some 200 for standard errors, 1,000 for quantiles.
        resample : {"cluster", "stagewise", "parametric", "rows"}
            ``cluster``: whole top-level groups; one that is drawn twice counts as two groups. ``stagewise``: groups
            of the top level, within each the groups of the next, ..., at last rows; drawing rows within small groups
            makes them look more alike, and variances come out too large. ``parametric``: random effects and responses
            simulated from the fit. ``rows``: single rows, as if there were no groups; its standard
            errors are wrong, and a warning says so.
        group : str or sequence of str, optional
            ``cluster``: draw the groups of this level, within the groups above, which stay as they are.
            ``stagewise``: the stages that draw, such as ``["HID", "rows"]``; the others keep everything.
        seed : int, optional
            Replicate r depends on ``(seed, r)`` alone; one is chosen, and kept in the results, where none is given.
        statistic : callable, optional
            ``Results -> float`` or ``Series``, such as ``lambda r: r.icc()["icc"]``; by default ``r.params``.
        level : float, optional
            Confidence level.
        progress : bool, optional
            A bar on standard error; by default on a terminal after a second.

        Returns
        -------
        BootstrapResults
            ``table()``, ``summary()``, ``replicates``, ``failed``. After Ctrl-C, what was done so far.

        Raises
        ------
        ModelError
            No data (a loaded model), one group only, fewer than two replicates that could be fitted.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("purchase ~ minutes + (1 | consumer)", me.load_dataset("retail"), intpoints=7)
        >>> boot = fit.bootstrap(20, seed=1)
        >>> boot
        <melogit.BootstrapResults: 20 replicates; resample='cluster'; seed 1>
        >>> list(boot.table("percentile").columns)
        ['observed', 'bias', 'std_err', 'ci_low', 'ci_high']
        """
        results = cast("Results", self)
        if resample == "rows":
            design = needs_data(self.design, "bootstrap()")
            warn(IGNORES_GROUPS.format(group=design.terms[-1].factor.name), DataWarning)
        return bootstrap(results, reps, resample, group, seed, statistic, level, progress)


def bootstrap(
    results: Results,
    reps: int,
    resample: str,
    group: str | Sequence[str] | None,
    seed: int | None,
    statistic: Statistic | None = None,
    level: float | None = None,
    progress: bool | None = None,
) -> BootstrapResults:
    """Check what is asked, run it, and put tables around it."""
    design, fit = needs_data(results.design, "bootstrap()"), results.fit
    reps, seed = _checked(reps, seed)
    level = results.level if level is None else level
    critical_value(level)
    sample = sampler(design, fit, resample, group)
    observed, measure = _measured(results, statistic)
    with replicate_display(progress, reps) as show:
        found = replicate(sample, fit, measure, len(observed), reps, seed, after_each=show)
    _check_replicates(found, reps)
    stages, draws = _described(design, resample, group)
    return BootstrapResults(
        observed=observed,
        replicates=pd.DataFrame(
            found.values,
            columns=observed.index,
            index=pd.RangeIndex(1, len(found.values) + 1, name="replicate"),
        ),
        failed=pd.DataFrame(
            {
                "replicate": [f.replicate for f in found.failures],
                "seed": [(seed, f.replicate) for f in found.failures],
                "reason": [f.reason for f in found.failures],
            }
        ),
        warned=pd.Series(dict(found.warned), dtype=int, name="replicates"),
        resample=resample,
        group=stages,
        seed=seed,
        reps=reps,
        level=level,
        nobs=fit.n_obs,
        n_fixed=fit.n_fixed if statistic is None else 0,
        draws=draws,
    )


def _checked(reps: Any, seed: Any) -> tuple[int, int]:
    if isinstance(reps, bool) or not isinstance(reps, int | np.integer) or reps < 2:
        raise ModelError(
            f"reps={reps!r} must be a whole number, 2 or more: a spread needs two samples, standard errors some 200, "
            "and quantiles 1,000."
        )
    if seed is None:
        seed = int(np.random.default_rng().integers(2**31))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ModelError(f"seed={seed!r} must be a whole number, 0 or more.")
    return int(reps), int(seed)


def _measured(
    results: Results, statistic: Statistic | None
) -> tuple[pd.Series, Callable[[Fit, Design], NDArray[np.float64]]]:
    """What is bootstrapped, from the data; and how to take it from a refit."""
    if statistic is None:
        return results.params.rename("observed"), lambda fit, _: fit.params
    observed = _series(statistic(results))
    if not np.isfinite(observed.to_numpy()).all():
        raise ModelError("The statistic is not a finite number for the data themselves.")

    def measure(fit: Fit, design: Design) -> NDArray[np.float64]:
        try:
            found = _series(statistic(_refitted(results, fit, design)))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the statistic failed: {type(error).__name__}: {error}") from error
        if set(found.index) != set(observed.index):
            raise ModelError(f"the statistic has other names in this sample: {', '.join(map(str, found.index))}")
        return found.loc[observed.index].to_numpy(dtype=float)

    return observed, measure


def _refitted(results: Results, fit: Fit, design: Design) -> Results:
    return replace(results, fit=fit, design=design, oim=None, posterior=None)


def _series(value: Any) -> pd.Series:
    if isinstance(value, pd.Series) and value.index.is_unique:
        return value.astype(float).rename("observed")
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return pd.Series([float(value)], index=["statistic"], name="observed")
    raise ModelError(
        f"statistic= must give a number or a Series with distinct labels, not {type(value).__name__}. "
        'Choose a column of a table: lambda r: r.icc()["icc"].'
    )


def _check_replicates(found: Replicates, reps: int) -> None:
    done, failed = len(found.values), len(found.failures)
    if done - failed < 2:
        raise ModelError(
            f"Only {done - failed} of {done} replicates could be fitted. The first that failed: "
            f"{found.failures[0].reason}"
        )
    if done < reps:
        warn(
            f"Interrupted after {done:,} of {reps:,} replicates; the results are of these. The same seed with more "
            "replicates begins with the same ones.",
            MelogitWarning,
        )
    if failed > FAILED_SHARE * done:
        warn(
            f"{failed:,} of {done:,} replicates failed and are left out, so intervals may be too short: samples that "
            f"cannot be fitted are the unusual ones. The first ({found.failures[0].replicate}): "
            f"{found.failures[0].reason} All are listed in .failed.",
            ConvergenceWarning,
        )


def _described(design: Design, resample: str, group: str | Sequence[str] | None) -> tuple[tuple[str, ...], str]:
    """What was drawn, and a sentence about it."""
    factors = [term.factor for term in design.terms]
    if resample == "parametric":
        return (), "Responses were simulated from the fit."
    if resample == "rows":
        return (ROWS,), f"Single rows were drawn, ignoring the groups of {factors[-1].name}."
    given = [group] if isinstance(group, str) else list(group or ())
    levels = sorted({level_named(design, name) for name in given if name != ROWS})
    if resample == "cluster":
        at = levels[0] if levels else 0
        own = factors[at]
        inside = f" within each {factors[at - 1].name}" if at else ""
        return (own.name,), f"Based on {count(own.n_levels)} clusters in {own.name}, drawn whole{inside}."
    stages = (*(factors[at].name for at in levels), *([ROWS] if ROWS in given else []))
    stages = stages or (*(f.name for f in factors), ROWS)
    caution = ROWS_INFLATE if ROWS in stages else ""
    return stages, f"Drawn in stages: {', then '.join(stages)}; each within the one above.{caution}"
