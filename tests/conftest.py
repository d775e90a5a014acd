"""Fixtures for all tests. A reference model is fitted once per session, however many tests look at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from quiet import Fitted, quietly

TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parent / ".." / "shared"


def shared_path(name: str) -> Path:
    """A file of the folder beside the repository; the test skips where that folder is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}, which is not on this machine")
    return path


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    return shared_path


@pytest.fixture(scope="session")
def hdp() -> pd.DataFrame:
    return pd.read_csv(shared_path("data/hdp.csv"))


@pytest.fixture(scope="session")
def seed_tables() -> dict[str, Any]:
    return json.loads(shared_path("reference/seed_tables.json").read_text())


@pytest.fixture(scope="session")
def exact_answers() -> dict[str, Any]:
    return json.loads(shared_path("reference/exact.json").read_text())["cases"]


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    """Answers of lme4 and glmmTMB: see reference/lme4_glmmtmb.R."""
    return json.loads((TESTS / "reference" / "lme4_glmmtmb.json").read_text())


@pytest.fixture(scope="session")
def fit_once() -> Callable[..., Fitted]:
    """``fit_once(formula, data, **options)``: the same call twice in a session fits once."""
    from melogit import melogit

    cache: dict[Any, Fitted] = {}

    def fit(formula: str, data: Any, **options: Any) -> Fitted:
        key = (formula, id(data), tuple(sorted(options.items())))
        if key not in cache:
            cache[key] = quietly(melogit, formula, data, **options)
        return cache[key]

    return fit
