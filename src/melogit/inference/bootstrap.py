"""Bootstrap: fit the model anew to many samples, and read uncertainty off how the answers vary.

Replicate r depends on ``(seed, r)`` alone, so it does not matter who makes it, in which order, or whether the work was
broken off in between.

References
----------
Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge. Chapters 2, 3.8 and 5.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.errors import ModelError
from melogit.inference.drawing import Drawing, units
from melogit.inference.intervals import acceleration
from melogit.inference.model_test import settings_of
from melogit.inference.pigeonhole import CrossedPlan
from melogit.inference.replicates import Measure, Outcome, Replication, warnings_hooked
from melogit.inference.sandwich import reported_scores
from melogit.inference.weighting import begin_weighting
from melogit.machine import cores
from melogit.parallel import (
    Checkpoint,
    Lost,
    Workers,
    available_bytes,
    gigabytes,
    open_checkpoint,
    read_workers,
    run,
)

FloatArray = NDArray[np.float64]

# Memory of one replicate at work, in copies of the data: the sample, its sorted and scaled rows, the kernel's scratch.
COPIES = 4.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A replicate that gave no answer: its number, counted from 1, and why."""

    replicate: int
    reason: str


@dataclass(frozen=True, slots=True)
class Replicates:
    """What the samples gave.

    Attributes
    ----------
    numbers : (done,) int
        In increasing order; with a gap or fewer than asked for only after Ctrl-C.
    values, std_err : (done, k)
        NaN where a replicate failed, or where there is no standard error.
    failures : tuple of Failure
    warned : tuple of (str, int)
        Kinds of warnings that refits gave, and in how many replicates that are used.
    resumed : int
        Replicates that were in the checkpoint.
    jackknife : (G, k) or None
        Values without each group; NaN where that could not be fitted.
    """

    numbers: NDArray[np.int64]
    values: FloatArray
    std_err: FloatArray
    failures: tuple[Failure, ...]
    warned: tuple[tuple[str, int], ...]
    resumed: int = 0
    jackknife: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """How the work is done; none of it changes a number.

    Attributes
    ----------
    workers : Any
        What ``parallel.read_workers`` reads.
    timeout : float or None
    checkpoint : path or None
    statistic : str
        What is measured, in a word or two, for the checkpoint.
    after_each : callable, optional
        Called with the number of replicates (and groups left out) done.
    """

    workers: Any = None
    timeout: float | None = None
    checkpoint: str | os.PathLike[str] | None = None
    statistic: str = "parameters"
    after_each: Callable[[int], None] | None = None


def replicate(
    drawing: Drawing,
    measure: Measure,
    k: int,
    reps: int,
    seed: int,
    how: Run | None = None,
    *,
    lean: bool = False,
    jackknife: bool = False,
) -> Replicates:
    """Draw, refit and measure, ``reps`` times.

    Parameters
    ----------
    drawing : Drawing
    measure : callable
        What to keep of a refit.
    k : int
        How many values that is.
    reps : int
    seed : int
    how : Run
    lean : bool
        ``measure`` looks at estimates and their covariance only.
    jackknife : bool
        Also measure the data without each group of the level that is drawn first.

    Returns
    -------
    Replicates
        Fewer than ``reps`` after Ctrl-C, if two replicates were done by then.

    Raises
    ------
    ModelError
        Workers that are not understood; not enough memory.
    DataError
        The checkpoint belongs to other work, is being written, or cannot be.
    """
    how = how or Run()
    fit = drawing.fit
    workers = _affordable(how.workers, drawing.design)
    threads = None if workers.kind == "serial" else max(1, cores() // workers.count)
    start = (fit.params[: fit.n_fixed], fit.theta)
    settings = replace(settings_of(fit, threads=threads), start=start, lean=lean)
    weighting = begin_weighting(drawing.design, fit) if drawing.resample == "weights" else None
    task = Replication(drawing, settings, measure, seed, weighting)
    tasks, lasts = {"replicate": task}, {"replicate": reps}
    if jackknife:
        tasks["group"], lasts["group"] = replace(task, jackknife=True), units(drawing)
    done: dict[tuple[str, int], Outcome] = {}
    with ExitStack() as stack:
        file = None
        if how.checkpoint is not None:
            file = stack.enter_context(open_checkpoint(how.checkpoint, _work(drawing, how, seed)))
            done.update(_outcomes(file, k))
        resumed = sum(stage == "replicate" and number <= reps for stage, number in done)
        stack.enter_context(warnings_hooked())
        try:
            for stage, each in tasks.items():
                _run_stage(stage, each, lasts, workers, how, done, file)
        except KeyboardInterrupt:
            if sum(stage == "replicate" and number <= reps for stage, number in done) < 2:
                raise
    return _gathered(done, reps, k, resumed, units(drawing) if jackknife else 0)


def _run_stage(
    stage: str,
    task: Replication,
    lasts: dict[str, int],
    workers: Workers,
    how: Run,
    done: dict[tuple[str, int], Outcome],
    file: Checkpoint | None,
) -> None:
    finished = sum(number <= lasts[name] for name, number in done if name in lasts)

    def keep(number: int, answer: Any) -> None:
        nonlocal finished
        outcome = Outcome(None, reason=answer.reason, final=False) if isinstance(answer, Lost) else answer
        if file is not None and outcome.final:
            file.append([_record(stage, number, outcome)])
        done[stage, number] = outcome
        finished += 1
        if how.after_each is not None:
            how.after_each(finished)

    left = [number for number in range(1, lasts[stage] + 1) if (stage, number) not in done]
    run(task, left, workers, keep, timeout=how.timeout)


def _gathered(done: dict[tuple[str, int], Outcome], reps: int, k: int, resumed: int, groups: int) -> Replicates:
    numbers = sorted(number for stage, number in done if stage == "replicate" and number <= reps)
    outcomes = [done["replicate", number] for number in numbers]
    none = np.full(k, np.nan)
    left_out = None
    if groups and all(("group", g) in done for g in range(1, groups + 1)):
        found = [done["group", g].values for g in range(1, groups + 1)]
        left_out = np.array([none if values is None else values for values in found])
    return Replicates(
        np.array(numbers, dtype=np.int64),
        np.array([none if o.values is None else o.values for o in outcomes]).reshape(len(outcomes), k),
        np.array([none if o.std_err is None else o.std_err for o in outcomes]).reshape(len(outcomes), k),
        tuple(Failure(n, o.reason) for n, o in zip(numbers, outcomes, strict=True) if o.values is None),
        tuple(sorted(Counter(name for o in outcomes for name in o.warned).items())),
        resumed,
        left_out,
    )


def accelerations(drawing: Drawing, left_out: FloatArray | None = None) -> FloatArray | str:
    """Acceleration of each parameter (k,) for BCa intervals, or in words why there is none.

    Parameters
    ----------
    drawing : Drawing
    left_out : (G, k), optional
        Values without each group of the level that is drawn first: the jackknife. Without it, the influence of a
        top-level group on the parameters is the inverse information times the group's score.

    References
    ----------
    Davison and Hinkley (1997), sections 2.7 and 5.3.2.
    """
    if not drawing.design.nested:
        return "the grouping factors cross, so no groups are independent"
    if drawing.unit is None:
        return "single rows were drawn, and BCa corrects with the influence of independent groups"
    if left_out is not None:
        if not np.all(np.isfinite(left_out)):
            failed = int(np.sum(~np.isfinite(left_out).all(axis=1)))
            return f"the model could not be fitted without {failed:,} of the {len(left_out):,} groups"
        return acceleration(left_out.mean(axis=0) - left_out)
    if drawing.unit != 0:
        return "groups below the top level were drawn; their influence needs jackknife=True"
    scores, cov = reported_scores(drawing.design, drawing.fit), drawing.fit.cov
    influence = np.full_like(scores, np.nan)
    free = np.isfinite(np.diag(cov)) & np.isfinite(scores).all(axis=0)
    influence[:, free] = scores[:, free] @ cov[np.ix_(free, free)]
    return acceleration(influence)


# ---------------------------------------------------------------------------------------------------------- memory


def _affordable(given: Any, design: Design) -> Workers:
    """Read ``workers=``; without it, no more threads than the memory holds replicates."""
    workers = read_workers(given)
    if workers.kind == "dask":
        return workers
    size = sum(a.nbytes for a in (design.y, design.trials, design.weights, design.offset, design.X))
    each = COPIES * (size + sum(term.Z.nbytes + 8 * len(term.factor.codes) for term in design.terms))
    free = available_bytes()
    if free is None or workers.count * each <= free:
        return workers
    most = max(1, math.floor(free / each))
    if given is None or workers.count == 1:
        return read_workers(most)
    raise ModelError(
        f"The bootstrap needs about {gigabytes(workers.count * each)} of memory ({workers.count} replicates at once, "
        f"{gigabytes(each)} each), and {gigabytes(free)} are free. Use workers={most}."
    )


# ------------------------------------------------------------------------------------------------------ checkpoint


def _work(drawing: Drawing, how: Run, seed: int) -> dict[str, str]:
    """What makes the replicates what they are."""
    fit = drawing.fit
    settings = settings_of(fit)
    points = "auto" if settings.method is None or isinstance(settings.intpoints, str) else str(settings.intpoints)
    drawn = drawing.resample
    if isinstance(drawing.plan, CrossedPlan):
        drawn += f" of {' and '.join(drawing.design.terms[k].factor.name for k in drawing.plan.drawn)}, crossed"
    elif drawing.plan is not None and drawing.plan.clustered:
        names = [*(term.factor.name for term in drawing.design.terms), "rows"]
        drawn += f" of {', then '.join(n for n, on in zip(names, drawing.plan.drawn, strict=True) if on)}"
    return {
        "model": fit.wording.formula,
        "method": f"{settings.method or 'auto'}, points {points}, tolerance {settings.tolerance:g}",
        "resample": drawn,
        "seed": str(seed),
        "statistic": how.statistic,
        "data": _fingerprint(drawing.design),
        "estimates": hashlib.sha256(np.concatenate([fit.params, fit.theta]).round(6).tobytes()).hexdigest()[:12],
    }


def _fingerprint(design: Design) -> str:
    digest = hashlib.sha256()
    for array in (design.y, design.trials, design.weights, design.offset, design.X):
        digest.update(np.ascontiguousarray(array).tobytes())
    for term in design.terms:
        digest.update(f"{term.factor.name} {term.names} {term.blocks}".encode())
        digest.update(np.ascontiguousarray(term.Z).tobytes())
        digest.update(np.ascontiguousarray(term.factor.codes).tobytes())
    return f"{design.n_rows:,} rows {digest.hexdigest()[:12]}"


def _record(stage: str, number: int, outcome: Outcome) -> dict[str, Any]:
    return {
        stage: number,
        "values": None if outcome.values is None else outcome.values.tolist(),
        "std_err": None if outcome.std_err is None else outcome.std_err.tolist(),
        "reason": outcome.reason,
        "warned": list(outcome.warned),
    }


def _outcomes(file: Checkpoint, k: int) -> dict[tuple[str, int], Outcome]:
    found = {}
    for record in file.records:
        stage = "group" if "group" in record else "replicate"
        values = _floats(record.get("values"), k)
        if isinstance(record.get(stage), int) and (values is not None or record.get("reason")):
            found[stage, record[stage]] = Outcome(
                values, _floats(record.get("std_err"), k), str(record.get("reason", "")), tuple(record["warned"])
            )
    return found


def _floats(values: Sequence[float] | None, k: int) -> FloatArray | None:
    return np.array(values, dtype=float) if values is not None and len(values) == k else None
