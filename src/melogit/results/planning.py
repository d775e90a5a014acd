"""``me.power``: power and sample size by simulation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from melogit.errors import DataWarning, MelogitWarning, ModelError, warn
from melogit.fit import Settings
from melogit.inference import critical_value
from melogit.inference.model_test import settings_of
from melogit.parallel import Lost, Workers, read_workers, run
from melogit.report.numbers import count
from melogit.report.progress import step_display
from melogit.results.power_analysis import Power
from melogit.results.results import Results
from melogit.results.simulation import checked_seed
from melogit.simulation.power import (
    TESTS,
    SampleSize,
    Tally,
    Tried,
    find_clusters,
    tally,
    try_once,
    wilson,
)
from melogit.simulation.scenario import Scenario
from melogit.simulation.study import Study, fitted_studies, planned_studies

Values = Any  # a number, or a list of them
FEWEST = 10  # replicates
MANY_FAILED = 0.05


def power(
    fit: Results | None = None,
    *,
    clusters: Values = None,
    cluster_size: Values = None,
    subclusters: Values = None,
    baseline: Values = None,
    treated: Values = None,
    odds_ratio: Values = None,
    effect: Values = None,
    icc: Values = None,
    variance: Values = None,
    treatment: Literal["cluster", "subcluster", "row"] = "cluster",
    share: float = 0.5,
    size_cv: float = 0.0,
    term: str | None = None,
    target: float | None = None,
    test: Literal["wald", "t", "lr"] = "wald",
    alpha: float = 0.05,
    reps: int = 1000,
    seed: int | None = None,
    method: str | None = None,
    intpoints: int | Sequence[int] | Literal["auto"] = "auto",
    level: float = 0.95,
    workers: Any = None,
    progress: bool | None = None,
) -> Power:
    """Power, or the number of clusters needed, of a planned study: simulated, fitted and tested many times.

    A study is described by numbers, or by a model that was fitted already. Numbers may be lists; every combination is
    a study.

    Parameters
    ----------
    fit : Results, optional
        A fitted model. The studies have its predictors, groups and parameters, but for the coefficient ``term``, and
        ``clusters`` top-level groups drawn from its own with replacement (by default exactly its own groups).
    clusters : int or list
        Top-level groups.
    cluster_size : int or list
        Rows of each lowest group.
    subclusters : int or list, optional
        Groups within each cluster (classes within schools); ``cluster_size`` is then the rows of each of these.
    baseline : float or list
        Share of events in the population without treatment (averaged over the clusters).
    treated, odds_ratio, effect : float or list
        One of: the share of events with treatment; the odds ratio within a cluster; its logarithm, the model's
        coefficient.
    icc, variance : float or list
        One of: the intraclass correlation of the latent response, variance / (variance + pi^2/3); the variance of the
        clusters. With ``subclusters`` a tuple: ``icc=(0.02, 0.06)`` for rows that share the cluster, and also the
        subcluster; ``variance=(v_cluster, v_subcluster)``.
    treatment : {"cluster", "subcluster", "row"}
        What is treated, or not, as a whole. Rows are treated evenly within clusters.
    share : float
        Share that is treated.
    size_cv : float
        Coefficient of variation of the rows per lowest group (gamma distributed); 0: all alike.
    term : str, optional
        With ``fit``: the coefficient whose power is wanted; ``effect`` or ``odds_ratio`` its value (by default the
        estimate).
    target : float, optional
        Find the number of clusters with this power, in place of the power of given numbers.
    test : {"wald", "t", "lr"}
        ``wald``: the z-test of the tables, which finds too much with few clusters. ``t``: the same statistic against
        Student's t with between-within degrees of freedom (clusters - 2, where clusters are treated), better then.
        ``lr``: the likelihood-ratio test, which fits the model without the effect, too.
    alpha : float
        Two-sided significance level.
    reps : int
        Replicates of each study (of each number of clusters that is tried, with ``target``).
    seed : int, optional
        Replicate r of a study depends on the study, the seed and r alone.
    method, intpoints
        Of the fits, as in ``melogit``. With ``fit`` as in that fit.
    level : float
        Of the Monte Carlo intervals.
    workers : int, str or Dask client, optional
        Threads (by default one per core), ``"processes"``, or a Dask cluster; no number depends on it.
    progress : bool, optional
        Say on standard error what is being done; by default in a terminal, after a second.

    Returns
    -------
    Power
        ``table``, ``replicates``, ``plot()``; prints as a table.

    Raises
    ------
    ModelError
        Numbers that describe no study, each by name.

    Examples
    --------
    >>> import melogit as me
    >>> plan = me.power(clusters=[20, 40], cluster_size=20, baseline=0.3, odds_ratio=2, icc=0.05, reps=50, seed=1)
    >>> plan
    <melogit.Power: 2 studies, 50 replicates each; power 0.680 to 0.940; seed 1>
    """
    seed = checked_seed(seed)
    critical_value(level)
    _check(test, alpha, reps, target)
    who = read_workers(workers)
    given = {
        "clusters": clusters,
        "subclusters": subclusters,
        "cluster_size": cluster_size,
        "baseline": baseline,
        "treated": treated,
        "effect": effect,
        "odds_ratio": odds_ratio,
        "icc": icc,
        "variance": variance,
    }
    if fit is None:
        if term is not None:
            raise ModelError("term= goes with fit=, a model that was fitted; without it the effect is the treatment's.")
        allocation = {"treatment": treatment, "share": share, "size_cv": size_cv}
        studies, varied, about = planned_studies(given, search=target is not None, **allocation)
        settings = Settings(method=method, intpoints=intpoints if isinstance(intpoints, int | str) else (*intpoints,))
        settings.points(1 if subclusters is None else 2)
    else:
        if not isinstance(fit, Results):
            raise ModelError(f"fit= must be a fitted model, and this is a {type(fit).__name__}. Name the numbers.")
        if test == "t" and not fit.fit.nested:
            raise ModelError(
                "test='t' counts the groups of nested levels, and those of this model cross each other. Use "
                "test='wald' or test='lr'."
            )
        fixed = {"treatment": (treatment, "cluster"), "share": (share, 0.5), "size_cv": (size_cv, 0.0)}
        changed = [name for name, (value, usual) in fixed.items() if value != usual]
        studies, varied, about = fitted_studies(fit.fit, fit.design, term, given, changed, search=target is not None)
        settings = settings_of(fit.fit)
    asked = _Asked(settings, test, float(alpha), int(reps), seed, target, level, who)
    with step_display(progress, "Power") as show:
        return _run(studies, varied, about, asked, show)


def _check(test: Any, alpha: Any, reps: Any, target: Any) -> None:
    if test not in TESTS:
        raise ModelError(f"test={test!r} is not one of 'wald', 't', 'lr'.")
    if isinstance(alpha, bool | str) or not 0 < alpha < 1:
        raise ModelError(f"alpha={alpha!r} must lie between 0 and 1: the significance level, usually 0.05.")
    if isinstance(reps, bool) or not isinstance(reps, int | np.integer) or reps < FEWEST:
        raise ModelError(
            f"reps={reps!r} must be a whole number, {FEWEST} or more: with 1,000 a power near 0.8 is known to "
            "within 0.025."
        )
    if target is not None and (isinstance(target, bool | str) or not alpha < target < 1):
        raise ModelError(f"target={target!r} must lie between alpha ({alpha:g}) and 1: the power wanted, such as 0.8.")


@dataclass(frozen=True, slots=True)
class _Asked:
    """How the studies are tried out."""

    settings: Settings
    test: str
    alpha: float
    reps: int
    seed: int
    target: float | None
    level: float
    workers: Workers


def _run(
    studies: list[Study], varied: list[str], about: list[str], asked: _Asked, show: Callable[[str], None]
) -> Power:
    rows: list[dict[str, Any]] = []
    kept: list[pd.DataFrame] = []
    stopped = False
    try:
        for k, study in enumerate(studies):
            words = f"Study {k + 1} of {len(studies)}"

            def tried(clusters: int, study: Study = study, words: str = words) -> Tally:
                step = f"{words}, {count(clusters)} clusters"
                return _tally(study.scenario(clusters), asked, lambda r: show(f"{step}, replicate {r}"))

            if asked.target is None:
                n = study.clusters
                found = SampleSize(n, n, n, {n: tried(n)})
                stopped = len(found.tried[n].p) < asked.reps
            else:
                found = find_clusters(
                    tried, study.first(asked.target, asked.alpha), asked.target, asked.alpha, study.least, asked.level
                )
            rows.append(_row(study, found, asked))
            kept += [_replicates(k, clusters, one) for clusters, one in sorted(found.tried.items())]
            if stopped:
                break
    except KeyboardInterrupt:
        if not rows:
            raise
        stopped = True
    if stopped:
        last = int(kept[-1]["replicate"].size)
        part = "" if last == asked.reps or asked.target is not None else f", the last with {last:,} of {asked.reps:,}"
        warn(
            f"Interrupted after {len(rows)} of {len(studies)} {'study' if len(studies) == 1 else 'studies'}"
            f"{f'{part} replicates' if part else ''}; the results are of what was done.",
            MelogitWarning,
        )
    table = pd.DataFrame(rows)
    _warn_failed(table, kept)
    settled = (asked.test, asked.alpha, asked.level, asked.reps, asked.seed, asked.target)
    return Power(table, pd.concat(kept, ignore_index=True), tuple(varied), tuple(about), *settled)


def _tally(scenario: Scenario, asked: _Asked, after_each: Callable[[int], None]) -> Tally:
    """Try one study out; failures are kept with their reasons. After Ctrl-C, what was done, if it is of use."""
    answers: dict[int, Tried] = {}

    def done(r: int, answer: Any) -> None:
        answers[r] = Tried(np.nan, np.nan, np.nan, answer.reason) if isinstance(answer, Lost) else answer
        if len(answers) % 50 == 0:
            after_each(len(answers))

    task = partial(try_once, scenario, asked.settings, asked.test, asked.seed)
    with warnings.catch_warnings():  # here, not in the task: filters belong to all threads together
        warnings.simplefilter("ignore", MelogitWarning)
        try:
            run(task, range(1, asked.reps + 1), asked.workers, done)
        except KeyboardInterrupt:
            if asked.target is not None or len(answers) < FEWEST:
                raise
    return tally(answers)


def _row(study: Study, found: SampleSize, asked: _Asked) -> dict[str, Any]:
    one = found.tried[found.clusters]
    hits, reps = one.significant(asked.alpha), len(one.p)
    share = hits / reps
    low, high = wilson(hits, reps, asked.level)
    worked = np.isfinite(one.p)
    half = critical_value(1 - asked.alpha) * one.std_err
    row: dict[str, Any] = {**study.numbers, "clusters": found.clusters}
    if asked.target is not None:
        row |= {"clusters_low": found.low, "clusters_high": found.high}
    row |= {
        "rows": round(study.rows(found.clusters)),
        "power": share,
        "mc_error": float(np.sqrt(share * (1 - share) / reps)),
        "ci_low": low,
        "ci_high": high,
        "reps": reps,
        "failed": len(one.failures),
    }
    enough = worked.any()
    row["mean_estimate"] = float(one.estimate[worked].mean()) if enough else np.nan
    row["mean_std_err"] = float(one.std_err[worked].mean()) if enough else np.nan
    inside = np.abs(one.estimate - study.effect) <= half
    row["coverage"] = float(inside[worked].mean()) if enough else np.nan
    return row


def _replicates(study: int, clusters: int, one: Tally) -> pd.DataFrame:
    reasons = dict(one.failures)
    number = np.array(one.replicates)
    return pd.DataFrame(
        {
            "study": study,
            "clusters": clusters,
            "replicate": number,
            "estimate": one.estimate,
            "std_err": one.std_err,
            "p": one.p,
            "reason": [reasons.get(int(r), "") for r in number],
        }
    )


def _warn_failed(table: pd.DataFrame, kept: list[pd.DataFrame]) -> None:
    worst = (table["failed"] / table["reps"]).to_numpy()
    at = int(np.argmax(worst))
    if worst[at] > MANY_FAILED:
        reasons = cast(pd.Series, pd.concat(kept).query("reason != ''")["reason"])
        warn(
            f"{table['failed'][at]:,} of {table['reps'][at]:,} replicates of study {at} could not be fitted or tested, "
            f"and count as not significant. Most often: {reasons.value_counts().index[0]} All are listed in "
            ".replicates. A study in which this happens is too small for this model, or its events too rare.",
            DataWarning,
        )
