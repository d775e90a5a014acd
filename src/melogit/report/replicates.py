"""The bootstrap in the terminal: its table, laid out as Stata does, and a bar while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from melogit.report.numbers import count, number, probability, statistic
from melogit.report.progress import DELAY

KIND_WORDS = {"normal": "N", "basic": "basic", "percentile": "P", "bc": "BC", "bca": "BCa", "studentized": "t"}
KIND_NOTES = {
    "normal": "normal: observed value plus and minus standard errors",
    "basic": "basic: quantiles of the replicates, reflected at the observed value",
    "percentile": "percentile: quantiles of the replicates",
    "bc": "bias-corrected quantiles; . where all replicates lie on one side of the observed value",
    "bca": "bias-corrected and accelerated quantiles; . where all replicates lie on one side of the observed value, or "
    "it has no standard error",
    "studentized": "studentized: by each replicate's own standard error, variances on the log scale; . where the "
    "observed value has none, +Inf where too many replicates have variance 0",
}
WARNED = {
    "BoundaryWarning": "a variance of 0 or a correlation of +-1",
    "IntegrationWarning": "the integral is less accurate than asked for",
    "ConvergenceWarning": "the likelihood is flat in some direction",
}


@dataclass(frozen=True, slots=True)
class ReplicateRow:
    """One parameter: observed value, bias, standard error, z and p (NaN where they mean nothing), intervals."""

    label: str
    observed: float
    bias: float
    std_err: float
    z: float
    p: float
    intervals: Sequence[tuple[str, float, float]]  # kind, low, high


def normal_table(head: Sequence[tuple[str, str]], rows: Sequence[ReplicateRow], label: str, level: float) -> str:
    """Write the table of Stata's ``bootstrap`` prefix: standard errors, z, p and the normal interval."""
    width = max(12, *(len(row.label) for row in rows))
    lines = [*_head(head, width), "-" * (width + 2) + "-" * 66]
    lines.append(f"{'':>{width}} |{'Observed':>12}{'Bootstrap':>12}{'':>16}{'Normal-based':>24}")
    interval = f"[{level * 100:g}% conf. interval]"
    lines.append(f"{'':>{width}} |{label:>12}{'std. err.':>12}{'z':>8}{'P>|z|':>8}{interval:>24}")
    lines.append("-" * (width + 1) + "+" + "-" * 66)
    for row in rows:
        _, low, high = row.intervals[0]
        tested = f"{statistic(row.z):>8}{probability(row.p):>8}" if row.z == row.z else " " * 16
        cells = f"{number(row.observed):>12}{number(row.std_err):>12}{tested}{number(low):>12}{number(high):>12}"
        lines.append(f"{row.label:>{width}} |{cells}")
    return "\n".join(lines)


def interval_table(head: Sequence[tuple[str, str]], rows: Sequence[ReplicateRow], level: float) -> str:
    """Write the table of ``estat bootstrap``: observed, bias, standard error, one interval or several."""
    width = max(12, *(len(row.label) for row in rows))
    interval = f"[{level * 100:g}% conf. interval]"
    lines = [*_head(head, width), "-" * (width + 2) + "-" * 70]
    lines.append(f"{'':>{width}} |{'':>12}{'':>12}{'Bootstrap':>12}")
    lines.append(f"{'':>{width}} |{'Observed':>12}{'Bias':>12}{'std. err.':>12}{interval:>24}")
    lines.append("-" * (width + 1) + "+" + "-" * 70)
    for row in rows:
        cells = f"{number(row.observed):>12}{number(row.bias):>12}{number(row.std_err):>12}"
        for i, (kind, low, high) in enumerate(row.intervals):
            start = f"{row.label:>{width}} |{cells}" if i == 0 else f"{'':>{width}} |{'':>36}"
            lines.append(f"{start}{number(low):>12}{number(high):>12}  ({KIND_WORDS[kind]})")
    lines.append("-" * (width + 2) + "-" * 70)
    lines += [f"({KIND_WORDS[kind]}) {KIND_NOTES[kind]}" for kind, _, _ in rows[0].intervals]
    return "\n".join(lines)


def _head(pairs: Sequence[tuple[str, str]], width: int) -> list[str]:
    title, *rest = pairs
    total = width + 68
    longest = max(len(label) for label, _ in rest)
    right = [f"{label:<{longest}} = {value:>8}" for label, value in rest]
    left = [*([title[0]] + ([title[1]] if title[1] else [])), *[""] * len(right)][: len(right)]
    return [f"{a}{b:>{total - len(a)}}" for a, b in zip(left, right, strict=True)]


@contextmanager
def replicate_display(progress: bool | None, reps: int) -> Iterator[Callable[[int], None] | None]:
    """Give a function to call after each replicate, or None where nothing is to be shown.

    Parameters
    ----------
    progress : bool or None
        False: nothing. True: a bar on standard error. None: the same if standard error is a terminal, and only once
        the work has lasted a second.
    reps : int
    """
    if progress is False or (progress is None and not (sys.stderr is not None and sys.stderr.isatty())):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=progress is None,
    )
    task = bar.add_task("Bootstrap", total=reps)
    begin, started = time.monotonic(), progress is True
    if started:
        bar.start()

    def show(done: int) -> None:
        nonlocal started
        if not started and time.monotonic() - begin > DELAY:
            bar.start()
            started = True
        bar.update(task, completed=done)

    try:
        yield show
    finally:
        if started:
            bar.stop()


def replicate_notes(
    reps: int, done: int, failed: int, warned: Sequence[tuple[str, int]], seed: int, draws: str
) -> list[str]:
    """Say in sentences how the samples were drawn and what became of them."""
    notes = [f"{draws} Seed {seed}."]
    if done < reps:
        notes.append(f"Interrupted: {count(done)} of {count(reps)} replicates were made.")
    if failed:
        notes.append(f"{count(failed)} of {count(done)} replicates failed and are left out; .failed tells why.")
    for name, times in warned:
        notes.append(f"In {count(times)} of {count(done)} replicates: {WARNED.get(name, name)}.")
    return notes
