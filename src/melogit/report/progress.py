"""What is going on, on standard error, while a fit or another long task runs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from melogit.report.numbers import number

DELAY = 1.0  # seconds before a fit is long enough to talk about

STAGES = {"fixed": "Fixed-effects model", "start": "Starting values", "full": "Full model"}


class Iteration(Protocol):
    """What is shown of one iteration."""

    @property
    def stage(self) -> str: ...  # noqa: D102
    @property
    def iteration(self) -> int: ...  # noqa: D102
    @property
    def loglik(self) -> float: ...  # noqa: D102


def iteration_line(row: Iteration) -> str:
    """Write one line of the log.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> iteration_line(SimpleNamespace(stage="full", iteration=3, loglik=-3689.40796))
    'Full model, iteration 3: log-likelihood = -3689.408'
    """
    return f"{STAGES.get(row.stage, row.stage)}, iteration {row.iteration}: log-likelihood = {number(row.loglik)}"


@contextmanager
def iteration_display(progress: bool | None) -> Iterator[Callable[[Iteration], None] | None]:
    """Give a function to call at each iteration, or None where nothing is to be shown.

    Parameters
    ----------
    progress : bool or None
        False: nothing. True: every iteration, from the first on. None: if standard error is a terminal, a
        status line that appears when the fit has lasted a second and leaves nothing behind.
    """
    if progress is False or (progress is None and not _is_terminal()):
        yield None
    elif progress is True:
        yield lambda row: print(iteration_line(row), file=sys.stderr, flush=True)
    else:
        with _status_line("Fitting") as show:
            yield lambda row: show(iteration_line(row))


@contextmanager
def step_display(progress: bool | None, first: str) -> Iterator[Callable[[str], None]]:
    """Give a function to call with the name of each step of a long task.

    Parameters
    ----------
    progress : bool or None
        As in ``iteration_display``: True prints every step; None shows a status line in a terminal.
    first : str
        Shown until the first step has a name.
    """
    if progress is False or (progress is None and not _is_terminal()):
        yield lambda _: None
    elif progress is True:
        yield lambda text: print(text, file=sys.stderr, flush=True)
    else:
        with _status_line(first) as show:
            yield show


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def _status_line(first: str) -> Iterator[Callable[[str], None]]:
    """Show a line with a spinner and the last step, started by a timer: even a long first step is seen."""
    begin, lock = time.monotonic(), threading.Lock()
    last, status, ended = first, None, False

    def start() -> None:
        nonlocal status
        from rich.console import Console

        with lock:
            if not ended:
                status = Console(stderr=True).status(last)
                status.start()

    def show(step: str) -> None:
        nonlocal last
        with lock:
            last = f"{step} ({time.monotonic() - begin:.0f} s)"
            if status is not None:
                status.update(last)

    timer = threading.Timer(DELAY, start)
    timer.daemon = True
    timer.start()
    try:
        yield show
    finally:
        timer.cancel()
        with lock:
            ended = True
            if status is not None:
                status.stop()
