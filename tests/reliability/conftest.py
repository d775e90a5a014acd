"""Small clean data to spoil, and ways to read what is said about it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import melogit as me


def simulate(groups: int = 40, size: int = 10, variance: float = 1.0, seed: int = 1, intercept: float = -0.3):
    """0/1 response ``y``, predictors ``x`` and ``z``, groups ``g``."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(1, groups + 1), size)
    x, z = rng.normal(size=(2, groups * size))
    eta = intercept + 0.8 * x + np.repeat(rng.normal(scale=np.sqrt(variance), size=groups), size)
    return pd.DataFrame({"y": (rng.random(len(g)) < 1 / (1 + np.exp(-eta))).astype(int), "x": x, "z": z, "g": g})


@pytest.fixture
def clean() -> pd.DataFrame:
    """40 groups of 10 rows that every model here fits well."""
    return simulate()


def has_all(text: str, words: tuple[str, ...]) -> None:
    """Each word is a regular expression, looked for without regard to case."""
    for word in words:
        assert re.search(word, text, re.IGNORECASE), f"{word!r} is not in: {text}"


@pytest.fixture
def refuses() -> Callable[..., str]:
    """``refuses(error, words, formula, data, **options)``: the fit ends in this error, and its text has the words."""

    def check(error: type[Exception], words: tuple[str, ...], formula: str, data, **options) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(error) as caught:
                me.melogit(formula, data, **options)
        assert type(caught.value) is error, f"{type(caught.value).__name__}: {caught.value}"
        has_all(str(caught.value), words)
        return str(caught.value)

    return check


@pytest.fixture
def warns() -> Callable[..., me.Results]:
    """``warns(category, words, formula, data, **options)``: fits, with such a warning; returns the results."""

    def check(category: type[Warning], words: tuple[str, ...], formula: str, data, **options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = me.melogit(formula, data, **options)
        said = [str(w.message) for w in caught if issubclass(w.category, category)]
        assert said, f"no {category.__name__} among {[f'{w.category.__name__}: {w.message}' for w in caught]}"
        fitting = [t for t in said if all(re.search(word, t, re.IGNORECASE) for word in words)]
        assert fitting, f"{words} not together in any of {said}"
        return result

    return check
