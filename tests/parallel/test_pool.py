"""Workers of every kind give the same answers; lost and slow ones are replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from melogit.errors import ModelError
from melogit.machine import cores
from melogit.parallel import Lost, Workers, available_bytes, gigabytes, read_workers, run
from melogit.parallel.pool import TRIES

linux = pytest.mark.skipif(sys.platform != "linux", reason="the tasks here are made on the spot, and need fork")
EVERY = [Workers("serial", 1), Workers("threads", 3), pytest.param(Workers("processes", 2), marks=linux)]


def collected(task, numbers, workers, **options):
    answers = {}
    run(task, numbers, workers, answers.__setitem__, **options)
    return answers


@pytest.mark.parametrize("workers", EVERY)
def test_every_number_is_answered_once(workers):
    calls = []

    def done(number, answer):
        assert threading.current_thread() is threading.main_thread()
        calls.append((number, answer))

    run(lambda number: number**2, range(1, 24), workers, done)
    assert sorted(calls) == [(number, number**2) for number in range(1, 24)]
    run(lambda number: number, [], workers, done)


@pytest.mark.parametrize("workers", EVERY)
def test_what_the_task_raises_is_passed_on(workers):
    def task(number):
        if number == 5:
            raise KeyError("five")
        return number

    with pytest.raises(KeyError, match="five"):
        collected(task, range(1, 12), workers)


@pytest.mark.parametrize("workers", EVERY)
def test_what_the_receiver_raises_is_passed_on(workers):
    def done(number, answer):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(lambda number: number, range(12), workers, done)


@linux
def test_a_killed_worker_costs_nothing(tmp_path):
    """One number kills its worker at the first try, another one always; all others are answered."""
    mark = tmp_path / "tried"

    def task(number):
        if number == 7 or (number == 3 and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    answers = collected(task, range(1, 16), Workers("processes", 2))
    assert {number: answer for number, answer in answers.items() if number != 7} == {
        number: number for number in range(1, 16) if number != 7
    }
    assert answers[7] == Lost(f"its worker was ended by signal SIGKILL, {TRIES} times")


@linux
def test_a_slow_worker_is_replaced(tmp_path):
    def task(number):
        here = tmp_path / str(number)
        if number == 2 and not here.exists():  # hangs once
            here.touch()
            time.sleep(60)
        if number == 6:
            time.sleep(60)
        return number

    began = time.monotonic()
    answers = collected(task, range(1, 9), Workers("processes", 2), timeout=0.2)
    assert time.monotonic() - began < 20
    assert answers.pop(6) == Lost(f"its worker took longer than 0.2 seconds, {TRIES} times")
    assert answers == {number: number for number in (1, 2, 3, 4, 5, 7, 8)}


@linux
def test_workers_that_never_start_are_said_to():
    with pytest.raises(ModelError, match=r"end before they have done anything \(its worker ended with exit code 9"):
        collected(lambda number: os._exit(9), range(1, 4), Workers("processes", 1))


@linux
def test_no_worker_outlives_the_work(tmp_path):
    def task(number):
        (tmp_path / str(os.getpid())).touch()
        return number

    collected(task, range(1, 20), Workers("processes", 2))
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert workers and os.getpid() not in workers
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@linux
def test_busy_workers_end_with_their_parent(tmp_path):
    script = """if True:
        import os, time
        from melogit.parallel import read_workers, run

        def task(number):
            open(f"{os.getpid()}.pid", "w").close()
            time.sleep(60)

        run(task, range(4), read_workers("processes:1"), print)
    """
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (started := list(tmp_path.glob("*.pid"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    while Path(f"/proc/{started[0].stem}/exe").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("workers", EVERY[1:])
def test_ctrl_c_hands_over_what_is_finished_and_stops_the_rest(workers, tmp_path):
    answers = {}

    def task(number):
        (tmp_path / str(number)).touch()
        time.sleep(0.05)
        return number

    def done(number, answer):
        answers[number] = answer
        if len(answers) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(task, range(1, 400), workers, done)
    assert 4 <= len(answers) < 30
    begun = len(list(tmp_path.iterdir()))
    time.sleep(0.2)
    assert len(list(tmp_path.iterdir())) == begun < 60


def test_a_timeout_needs_processes():
    for workers in (Workers("serial", 1), Workers("threads", 2)):
        with pytest.raises(ModelError, match='needs workers that can be ended and replaced: workers="processes"'):
            run(lambda number: number, [1], workers, print, timeout=1)


@pytest.mark.parametrize(
    ("given", "kind", "count"),
    [
        (None, "threads" if cores() > 1 else "serial", cores()),
        (1, "serial", 1),
        (3, "threads", 3),
        ("threads:2", "threads", 2),
        ("processes", "processes", cores()),
        ("processes:5", "processes", 5),
    ],
)
def test_workers_are_read(given, kind, count):
    assert read_workers(given) == Workers(kind, count)


@pytest.mark.parametrize("given", [0, -1, True, "cores", "threads:x", "processes:0", 2.5, [], 10**6])
def test_workers_that_mean_nothing(given):
    with pytest.raises(ModelError, match=r"is not understood\. Give a number of threads from 1 to"):
        read_workers(given)


def test_memory():
    free = available_bytes()
    if sys.platform == "linux":
        assert free is not None and 2**20 < free < 2**50
    assert gigabytes(3 * 2**30) == "3.0 GiB"


def test_a_dask_cluster_gives_the_same_answers():
    distributed = pytest.importorskip("distributed", reason="Dask is an extra")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = read_workers(client)
        assert (workers.kind, workers.count) == ("dask", 2)
        assert collected(abs, range(-40, 0), workers) == {number: -number for number in range(-40, 0)}
        with pytest.raises(ZeroDivisionError):
            collected(lambda number: 1 // number, range(-3, 3), workers)
