"""Call a function for many numbers, by whatever workers there are; an answer never depends on who gave it.

A worker process that ends or takes too long is replaced and its numbers are given out again, each on its own, so that
one number that kills its worker is found and costs no other. Answers arrive in any order, always in the calling thread.
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from melogit.errors import ModelError
from melogit.parallel.workers import Workers

Task = Callable[[int], Any]
Done = Callable[[int, Any], None]

TRIES = 3
# How many numbers go to a worker at a time: handing over costs little, and what is handed over is lost with the worker.
PORTION = {"processes": 4, "dask": 16}
AHEAD = 3  # how many numbers wait for each thread
PATIENCE = 5.0  # seconds in which a worker process has to end when asked to


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of an answer: the workers that were to give it ended, or took too long, ``TRIES`` times."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Raised:
    """An exception on its way from a worker."""

    error: BaseException


def run(task: Task, numbers: Sequence[int], workers: Workers, done: Done, *, timeout: float | None = None) -> None:
    """Call ``task`` for every number and ``done(number, answer)``, in the calling thread, as answers come.

    Parameters
    ----------
    task : callable
        Must be fit for several threads at once, or for pickling, as the workers demand.
    numbers : sequence of int
    workers : Workers
    done : callable
        Gets a ``Lost`` in place of an answer where workers ended ``TRIES`` times over it.
    timeout : float, optional
        Seconds that a number may take in a worker process.

    Raises
    ------
    ModelError
        A timeout where a worker cannot be ended; a task that cannot be sent to another process; processes that do not
        start. What ``task`` and ``done`` raise is passed on, after all workers have stopped; so is Ctrl-C, after
        what was finished by then has been given to ``done``.
    """
    if timeout is not None and workers.kind != "processes":
        raise ModelError(
            f'timeout={timeout:g} needs workers that can be ended and replaced: workers="processes". A thread cannot '
            "be stopped from outside, and a Dask cluster has limits of its own."
        )
    if workers.kind == "serial":
        for number in numbers:
            _deliver(done, number, task(number))
    elif workers.kind == "threads":
        _threads(task, numbers, workers.count, done)
    elif workers.kind == "processes":
        _processes(task, numbers, workers.count, done, timeout)
    else:
        _dask(task, numbers, workers.client, done)


def _portions(numbers: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    for begin in range(0, len(numbers), size):
        yield tuple(numbers[begin : begin + size])


# -------------------------------------------------------------------------------------------------------- threads


def _threads(task: Task, numbers: Sequence[int], count: int, done: Done) -> None:
    left = iter(numbers)
    busy: dict[Future, int] = {}
    with ThreadPoolExecutor(count, thread_name_prefix="melogit") as pool:
        try:
            while True:
                for number in itertools.islice(left, AHEAD * count - len(busy)):
                    busy[pool.submit(task, number)] = number
                if not busy:
                    return
                for future in wait_for_futures(busy, return_when=FIRST_COMPLETED).done:
                    answer = future.result()
                    _deliver(done, busy.pop(future), answer)
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                for future, number in busy.items():
                    if not future.cancelled() and not future.exception():
                        _deliver(done, number, future.result())
            raise


def _deliver(done: Done, number: int, answer: Any) -> None:
    """Hand over an answer; Ctrl-C waits until that is over, so that it cannot be half done."""
    pressed = []
    ours = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if ours else None
    if not callable(before):
        done(number, answer)
        return
    signal.signal(signal.SIGINT, lambda *how: pressed.append(how))
    try:
        done(number, answer)
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(*pressed[0])


# ------------------------------------------------------------------------------------------------------ processes


@dataclass(slots=True)
class _Hand:
    """A worker process and what it is busy with."""

    process: Any
    line: Connection
    numbers: tuple[int, ...] = ()
    since: float = 0.0


def _processes(task: Task, numbers: Sequence[int], count: int, done: Done, timeout: float | None) -> None:
    left = deque(_portions(numbers, PORTION["processes"]))
    hands = [_hire(task) for _ in range(min(count, len(left)))]
    losses: Counter[int] = Counter()
    answered = False
    try:
        while left or any(hand.numbers for hand in hands):
            for k, hand in enumerate(hands):
                if left and not hand.numbers:
                    if not _give(hand, left[0]):
                        _dismiss(hand)
                        hands[k] = _hire(task)  # it ended while idle; the portion stays where it is
                    else:
                        left.popleft()
            for k, hand in _ready(hands, timeout):
                try:
                    answers = hand.line.recv() if hand.line.poll() else None
                except (EOFError, OSError):
                    answers = None
                if answers is None:
                    reason = _how_it_ended(hand, timeout)
                    hands[k] = _hire(task)
                    _again(hand.numbers, reason, losses, left, done, answered)
                    continue
                if isinstance(answers, _Raised):
                    raise answers.error
                given, hand.numbers, answered = hand.numbers, (), True
                for number, answer in zip(given, answers, strict=True):
                    _deliver(done, number, answer)
    finally:
        for hand in hands:
            _dismiss(hand)


def _again(
    numbers: tuple[int, ...], reason: str, losses: Counter[int], left: deque, done: Done, answered: bool
) -> None:
    """Give out again what a lost worker had, number by number; give up a number that was lost too often."""
    for number in reversed(numbers):
        losses[number] += 1
        if losses[number] < TRIES:
            left.appendleft((number,))
        elif answered:
            done(number, Lost(f"{reason}, {TRIES} times"))
        else:
            raise ModelError(
                f"The worker processes end before they have done anything ({reason}). In a script, start the work "
                'under if __name__ == "__main__": (new processes read the script once more), or use workers="threads".'
            )


def _ready(hands: Sequence[_Hand], timeout: float | None) -> list[tuple[int, _Hand]]:
    """Wait until a busy worker has answered, ended, or used up its time."""
    busy = [(k, hand) for k, hand in enumerate(hands) if hand.numbers]
    pause = None
    if timeout is not None:
        pause = max(0.0, min(hand.since + timeout * len(hand.numbers) for _, hand in busy) - time.monotonic())
    ready = set(wait([part for _, hand in busy for part in (hand.line, hand.process.sentinel)], pause))
    return [
        (k, hand) for k, hand in busy if hand.line in ready or hand.process.sentinel in ready or _overdue(hand, timeout)
    ]


def _overdue(hand: _Hand, timeout: float | None) -> bool:
    return timeout is not None and time.monotonic() - hand.since >= timeout * len(hand.numbers)


def _how_it_ended(hand: _Hand, timeout: float | None) -> str:
    """End a worker for good, and say what had become of it."""
    hand.process.join(0 if _overdue(hand, timeout) else PATIENCE)
    late = hand.process.is_alive()
    hand.process.kill()
    hand.process.join()
    hand.line.close()
    if late:
        return f"its worker took longer than {timeout or 0:g} seconds"
    code = hand.process.exitcode
    if code is not None and code < 0:
        return f"its worker was ended by signal {signal.Signals(-code).name}"
    return f"its worker ended with exit code {code}"


def _hire(task: Task) -> _Hand:
    # A forked process has the task already, whatever it holds; elsewhere it has to be sent.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, task), daemon=True, name="melogit worker")
    try:
        with warnings.catch_warnings():
            # Newer Pythons warn of forking beside threads; the workers touch nothing that a thread of ours holds.
            warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ModelError(
            f"The statistic cannot be sent to other processes ({error}). Define it as a function in a module of its "
            'own, or use workers="threads".'
        ) from error
    theirs.close()
    return _Hand(process, ours)


def _give(hand: _Hand, numbers: tuple[int, ...]) -> bool:
    try:
        hand.line.send(numbers)
    except (BrokenPipeError, OSError):
        return False
    hand.numbers, hand.since = numbers, time.monotonic()
    return True


def _dismiss(hand: _Hand) -> None:
    if not hand.numbers:
        try:
            hand.line.send(())
            hand.process.join(PATIENCE)
        except (BrokenPipeError, OSError):
            pass
    hand.process.kill()
    hand.process.join()
    hand.line.close()


def _work(line: Connection, task: Task) -> None:
    """Body of a worker process. Ctrl-C is the parent's business; when the parent is gone, so is the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        numbers = line.recv()
        if not numbers:
            return
        try:
            answers: Any = [task(number) for number in numbers]
        except Exception as error:
            answers = _Raised(error)
        line.send(answers)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


# ----------------------------------------------------------------------------------------------------------- Dask


def _dask(task: Task, numbers: Sequence[int], client: Any, done: Done) -> None:
    """The scheduler itself gives the work of a lost worker to another one."""
    distributed = importlib.import_module("distributed")  # an extra; whoever has a client has it
    held = client.scatter(task, broadcast=True, hash=False)
    futures = {
        client.submit(_portion, held, portion, pure=False, retries=TRIES - 1): portion
        for portion in _portions(numbers, PORTION["dask"])
    }
    try:
        for future in distributed.as_completed(list(futures)):
            portion = futures[future]
            error = future.exception()
            if isinstance(error, distributed.KilledWorker):
                for number in portion:
                    done(number, Lost("every Dask worker that tried it was lost"))
            elif error is not None:
                raise error
            else:
                for number, answer in zip(portion, future.result(), strict=True):
                    _deliver(done, number, answer)
            future.release()
    finally:
        client.cancel(list(futures), force=True)


def _portion(task: Task, portion: tuple[int, ...]) -> list[Any]:
    return [task(number) for number in portion]
