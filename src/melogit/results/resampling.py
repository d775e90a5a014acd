"""``fit.bootstrap()``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.design import Design
from melogit.effects.posterior import find_posterior
from melogit.errors import ConvergenceWarning, DataWarning, MelogitWarning, ModelError, warn
from melogit.fit.types import Fit
from melogit.inference import critical_value
from melogit.inference.bootstrap import Replicates, Run, accelerations, replicate
from melogit.inference.drawing import Drawing, plan_drawing, units
from melogit.inference.pigeonhole import CrossedPlan
from melogit.inference.resampling import ROWS, Plan, level_named
from melogit.likelihood.covariance import covariance_map
from melogit.report import count
from melogit.report.replicates import replicate_display
from melogit.results.bootstrap import BootstrapResults
from melogit.results.inferences import needs_data

if TYPE_CHECKING:
    from melogit.results.results import Results

Scheme = Literal["cluster", "stagewise", "parametric", "rows", "weights"]
Statistic = Callable[[Any], "float | pd.Series"]
FloatArray = NDArray[np.float64]

FAILED_SHARE = 0.01  # more failures than this are warned of
ROWS_INFLATE = (
    "\nRows that are drawn twice make their group look more alike, so variances come out too large (see the bias)."
)
COPIES_DISTORT = (
    "\nCopies of a row are not new evidence: errors of what varies from row to row come out up to 1.7 times too large, "
    "and variances too large (see the bias)."
)
IGNORES_GROUPS = (
    'resample="rows" draws single rows as if they were independent and so breaks up the groups of {group}: the '
    "standard errors of whatever varies between groups, and of the variances, come out far too small, and the "
    "estimates biased; {instead}"
)
INSTEAD = {True: 'resample="cluster" draws whole groups.', False: 'resample="parametric" simulates from the fit.'}
BELOW_TOP = (
    "Only {drawn} are drawn, and the groups of '{top}' stay as they are: whatever varies between them (their variance, "
    "their predictors, the constant) comes out more certain than it is. Draw whole groups of '{top}' by leaving group= "
    "out."
)
NO_ERROR = "a statistic= has no standard error of its own in each sample"


@dataclass(frozen=True, slots=True)
class Request:
    """What ``bootstrap`` is asked for; the fields are those of ``Resampling.bootstrap``."""

    reps: int = 1000
    resample: str | None = None
    group: str | Sequence[str] | None = None
    seed: int | None = None
    statistic: Statistic | None = None
    jackknife: bool = False
    level: float | None = None
    workers: Any = None
    timeout: float | None = None
    checkpoint: str | os.PathLike[str] | None = None
    progress: bool | None = None


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
        resample: Scheme | None = None,
        group: str | Sequence[str] | None = None,
        seed: int | None = None,
        statistic: Statistic | None = None,
        jackknife: bool = False,
        level: float | None = None,
        workers: Any = None,
        timeout: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> BootstrapResults:
        """Bootstrap the estimates, or anything that is computed from a fit.

        Parameters
        ----------
        reps : int
            Number of samples, 2 or more: some 200 for standard errors, 1,000 for quantiles.
        resample : {"cluster", "stagewise", "parametric", "rows", "weights"}, optional
            By default ``cluster``, and ``parametric`` where groups cross.
            ``cluster``: whole top-level groups; one that is drawn twice counts as two groups. ``stagewise``: groups
            of the top level, within each the groups of the next, ..., at last rows; drawing rows within small groups
            makes them look more alike, and variances come out too large. ``parametric``: random effects and responses
            simulated from the fit. ``weights``: all groups of the top level, with random weights of mean 1 (the
            Bayesian bootstrap), so that no group is ever missing. ``rows``: single rows, as if there were no groups;
            its standard errors are wrong, and a warning says so.
            Where groups cross there are no independent groups to draw: ``cluster`` then draws the groups of each
            factor by themselves, and rows with them (the pigeonhole bootstrap of Owen 2007): its errors of
            coefficients are on the safe side, up to 1.7 times too large, and its variances are biased.
        group : str or sequence of str, optional
            ``cluster``: draw the groups of this level, within the groups above, which stay as they are (where groups
            cross: of these factors only).
            ``stagewise``: the stages that draw, such as ``["HID", "rows"]``; the others keep everything.
        seed : int, optional
            Replicate r depends on ``(seed, r)`` alone; one is chosen, and kept in the results, where none is given.
        statistic : callable, optional
            ``Results -> float`` or ``Series``, such as ``lambda r: r.icc()["icc"]``; by default ``r.params``.
        jackknife : bool
            Also fit the data without each group in turn. BCa intervals need it for a ``statistic`` and for groups
            below the top; for the parameters they have the influence of the groups from their scores.
        level : float, optional
            Confidence level.
        workers : int, str or Dask client, optional
            How many threads, or ``"processes"``, ``"processes:4"``, or a ``distributed.Client``. By default a thread
            per core, and for a ``statistic`` one (a function of yours need not be fit for several threads at once;
            slow ones gain by processes). The numbers do not depend on it.
        timeout : float, optional
            Seconds that a replicate may take in a worker process; a worker that takes longer is replaced, and the
            replicate given to another one, three times in all.
        checkpoint : path, optional
            A file that keeps finished replicates. The same call goes on from there after a crash, a kill, Ctrl-C.
        progress : bool, optional
            A bar with the time left on standard error; by default on a terminal after a second.

        Returns
        -------
        BootstrapResults
            ``table()``, ``summary()``, ``plot()``, ``replicates``, ``failed``. After Ctrl-C, what was done so far.

        Raises
        ------
        ModelError
            No data (a loaded model), one group only, fewer than two replicates that could be fitted.
        DataError
            A checkpoint of other work, or one that cannot be written.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("purchase ~ minutes + (1 | consumer)", me.load_dataset("retail"), intpoints=7)
        >>> boot = fit.bootstrap(20, seed=1)
        >>> boot
        <melogit.BootstrapResults: 20 replicates; resample='cluster'; seed 1>
        >>> list(boot.table("bca").columns)
        ['observed', 'bias', 'std_err', 'ci_low', 'ci_high']
        """
        results = cast("Results", self)
        if resample == "rows":
            design = needs_data(self.design, "bootstrap()")
            warn(IGNORES_GROUPS.format(group=_ignored(design, quote=True), instead=INSTEAD[design.nested]), DataWarning)
        asked = Request(
            reps, resample, group, seed, statistic, jackknife, level, workers, timeout, checkpoint, progress
        )
        return bootstrap(results, asked)


def bootstrap(results: Results, asked: Request) -> BootstrapResults:
    """Check what is asked, run it, and put tables around it."""
    design = needs_data(results.design, "bootstrap()")
    fit = results.oim or results.fit  # refits have standard errors of this kind
    asked = replace(asked, resample=asked.resample or ("cluster" if design.nested else "parametric"))
    assert asked.resample is not None
    reps, seed = _checked(asked)
    level = results.level if asked.level is None else asked.level
    critical_value(level)
    drawing = plan_drawing(design, fit, asked.resample, asked.group)
    if isinstance(drawing.plan, Plan) and drawing.plan.clustered and not drawing.plan.drawn[0]:
        names = [*(f"groups of '{term.factor.name}'" for term in design.terms[1:]), "rows"]
        drawn = " and ".join(name for name, on in zip(names, drawing.plan.drawn[1:], strict=True) if on)
        warn(BELOW_TOP.format(drawn=drawn, top=design.terms[0].factor.name), DataWarning)
    if asked.jackknife and drawing.unit is None:
        here = "single rows are drawn" if design.nested else "groups cross, so that none is independent of the others"
        raise ModelError(f"jackknife=True leaves out one group at a time, and here {here}.")
    observed = _observed(results, asked.statistic)
    parameters = asked.statistic is None
    measure = Parameters() if asked.statistic is None else Measured(results, asked.statistic, tuple(observed.index))
    workers = 1 if asked.workers is None and not parameters else asked.workers
    with replicate_display(asked.progress, reps + (units(drawing) if asked.jackknife else 0)) as show:
        how = Run(workers, asked.timeout, asked.checkpoint, _named(asked.statistic, observed), show)
        found = replicate(drawing, measure, len(observed), reps, seed, how, lean=parameters, jackknife=asked.jackknife)
    _check_replicates(found, reps, asked.checkpoint)
    return _tables(results, drawing, found, observed, asked, seed=seed, level=level)


def _tables(
    results: Results,
    drawing: Drawing,
    found: Replicates,
    observed: pd.Series,
    asked: Request,
    *,
    seed: int,
    level: float,
) -> BootstrapResults:
    fit, design, parameters = drawing.fit, drawing.design, asked.statistic is None
    index = pd.Index(found.numbers, name="replicate")
    stages, draws = _described(drawing, asked.group)
    missing: dict[str, str] = {}
    if parameters or found.jackknife is not None:
        faster = accelerations(drawing, found.jackknife)
    else:
        faster = "for a statistic= they need the influence of the groups on it: jackknife=True"
    if isinstance(faster, str):
        missing["bca"], faster = faster, np.full(len(observed), np.nan)
    if not parameters:
        missing["studentized"] = NO_ERROR
    se = np.sqrt(np.diag(fit.cov)) if parameters else np.full(len(observed), np.nan)
    reported = covariance_map(design.terms).reported
    positive = np.concatenate([np.zeros(fit.n_fixed, dtype=bool), reported[:, 1] == reported[:, 2]])
    return BootstrapResults(
        observed=observed,
        replicates=pd.DataFrame(found.values, columns=observed.index, index=index),
        failed=pd.DataFrame(
            {
                "replicate": [f.replicate for f in found.failures],
                "seed": [(seed, f.replicate) for f in found.failures],
                "reason": [f.reason for f in found.failures],
            }
        ),
        warned=pd.Series(dict(found.warned), dtype=int, name="replicates"),
        acceleration=pd.Series(faster, index=observed.index, name="acceleration"),
        replicate_std_err=pd.DataFrame(found.std_err, columns=observed.index, index=index),
        observed_std_err=pd.Series(se, index=observed.index, name="std_err"),
        resample=drawing.resample,
        group=stages,
        seed=seed,
        reps=int(asked.reps),
        level=level,
        nobs=fit.n_obs,
        n_fixed=fit.n_fixed if parameters else 0,
        positive=positive if parameters else np.zeros(len(observed), dtype=bool),
        draws=draws,
        missing=missing,
    )


def _checked(asked: Request) -> tuple[int, int]:
    reps, seed, timeout = asked.reps, asked.seed, asked.timeout
    if isinstance(reps, bool) or not isinstance(reps, int | np.integer) or reps < 2:
        raise ModelError(
            f"reps={reps!r} must be a whole number, 2 or more: a spread needs two samples, standard errors some 200, "
            "and quantiles 1,000."
        )
    if seed is None and asked.checkpoint is not None:
        raise ModelError(
            "checkpoint= needs seed= too: the same call can go on only if it draws the same samples. Any number will "
            "do, such as seed=1."
        )
    if seed is None:
        seed = int(np.random.default_rng().integers(2**31))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ModelError(f"seed={seed!r} must be a whole number, 0 or more.")
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise ModelError(f"timeout={timeout!r} must be a number of seconds above 0.")
    return int(reps), int(seed)


# ------------------------------------------------------------------------------------------------ what is measured


@dataclass(frozen=True, slots=True)
class Parameters:
    """The estimates of a refit, with their standard errors."""

    def __call__(self, fit: Fit, _: Design) -> tuple[FloatArray, FloatArray]:
        """Values and standard errors."""
        with np.errstate(invalid="ignore"):
            return fit.params, np.sqrt(np.diag(fit.cov))


@dataclass(frozen=True, slots=True)
class Measured:
    """A statistic of a refit, which looks to it like any other fit."""

    results: Results
    statistic: Statistic
    names: tuple[Any, ...]

    def __call__(self, fit: Fit, design: Design) -> tuple[FloatArray, None]:
        """Values of the statistic, which has no standard error of its own."""
        posterior = None
        if self.results.design is not None and len(fit.terms[0].means) == 0:
            # Whole groups are weighted, which concerns averages over rows, but not the posterior of a group.
            posterior = find_posterior(self.results.design, fit, slopes=False)
        try:
            refit = replace(self.results, fit=fit, design=design, oim=None, posterior=posterior)
            found = _series(self.statistic(refit))
        except (ModelError, MemoryError):
            raise
        except Exception as error:
            raise ModelError(f"the statistic failed: {type(error).__name__}: {error}") from error
        if set(found.index) != set(self.names):
            raise ModelError(f"the statistic has other names in this sample: {', '.join(map(str, found.index))}")
        return found.loc[list(self.names)].to_numpy(dtype=float), None


def _observed(results: Results, statistic: Statistic | None) -> pd.Series:
    if statistic is None:
        return results.params.rename("observed")
    observed = _series(statistic(results))
    if not np.isfinite(observed.to_numpy()).all():
        raise ModelError("The statistic is not a finite number for the data themselves.")
    return observed


def _series(value: Any) -> pd.Series:
    if isinstance(value, pd.Series) and value.index.is_unique:
        return value.astype(float).rename("observed")
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return pd.Series([float(value)], index=["statistic"], name="observed")
    raise ModelError(
        f"statistic= must give a number or a Series with distinct labels, not {type(value).__name__}. "
        'Choose a column of a table: lambda r: r.icc()["icc"].'
    )


def _named(statistic: Statistic | None, observed: pd.Series) -> str:
    """Tell statistics apart by what they are for the data."""
    if statistic is None:
        return "parameters"
    return ", ".join(f"{name} = {value:.6g}" for name, value in observed.items())


# ------------------------------------------------------------------------------------------------- what is said


def _check_replicates(found: Replicates, reps: int, checkpoint: Any) -> None:
    done, failed = len(found.values), len(found.failures)
    if done - failed < 2:
        raise ModelError(
            f"Only {done - failed} of {done} replicates could be fitted. The first that failed: "
            f"{found.failures[0].reason}"
        )
    if done < reps:
        onward = (
            "The same seed with more replicates begins with the same ones."
            if checkpoint is None
            else f"Saved {done}/{reps} in '{checkpoint}'; resume with the same call."
        )
        warn(f"Interrupted after {done:,} of {reps:,} replicates; the results are of these. {onward}", MelogitWarning)
    if failed > FAILED_SHARE * done:
        warn(
            f"{failed:,} of {done:,} replicates failed and are left out, so intervals may be too short: samples that "
            f"cannot be fitted are the unusual ones. The first ({found.failures[0].replicate}): "
            f"{found.failures[0].reason} All are listed in .failed.",
            ConvergenceWarning,
        )


def _ignored(design: Design, quote: bool = False) -> str:
    """The grouping factors that drawing rows breaks up: the lowest, or all that cross."""
    names = [term.factor.name for term in design.terms]
    return " and ".join(f"'{name}'" if quote else name for name in (names[-1:] if design.nested else names))


def _described(drawing: Drawing, group: str | Sequence[str] | None) -> tuple[tuple[str, ...], str]:
    """What was drawn, and a sentence about it."""
    design, resample = drawing.design, drawing.resample
    factors = [term.factor for term in design.terms]
    if resample == "parametric":
        why = "" if design.nested else " (parametric: the groups cross, so none can be drawn without cutting others)"
        return (), f"Random effects and responses were simulated from the fit{why}."
    if isinstance(drawing.plan, CrossedPlan):
        drawn = [factors[k] for k in drawing.plan.drawn]
        each = " and ".join(f"{count(f.n_levels)} groups of {f.name}" for f in drawn)
        return tuple(f.name for f in drawn), f"Drawn by themselves: {each}.{COPIES_DISTORT}"
    if resample == "rows":
        return (ROWS,), f"Single rows were drawn, ignoring the groups of {_ignored(design)}."
    if resample == "weights":
        return (), f"Random weights on {count(factors[0].n_levels)} clusters in {factors[0].name}."
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
