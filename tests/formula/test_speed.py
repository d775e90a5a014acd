"""Building a design must never be what a user waits for. Limits are several times what a quiet machine needs."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from melogit.formula import build_design


def best(function, runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def test_textbook_model_takes_milliseconds(hdp):
    formula = "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)"
    assert best(lambda: build_design(formula, hdp), 10) < 0.03


@pytest.fixture(scope="module")
def million() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 1_000_000
    data = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    return data.assign(g=rng.integers(0, 50_000, n), y=rng.integers(0, 2, n))


@pytest.mark.slow
def test_a_million_rows_take_less_than_a_second(million):
    assert best(lambda: build_design("y ~ a + b + c + d + e + (1 | g)", million), 3) < 1.0


@pytest.mark.slow
def test_a_million_rows_need_little_more_memory_than_the_design_itself(million):
    tracemalloc.start()
    design = build_design("y ~ a + b + c + d + e + (1 | g)", million)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    held = sum(a.nbytes for a in (design.X, design.y, design.trials, design.weights, design.offset, design.terms[0].Z))
    assert peak < 1.6 * held
