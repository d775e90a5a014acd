"""Small data that every command can be tried on."""

import numpy as np
import pandas as pd
import pytest

from melogit.stata.data import Dataset


@pytest.fixture(scope="session")
def small() -> pd.DataFrame:
    """240 rows in 24 groups of 6 areas, with every kind of column."""
    rng = np.random.default_rng(7)
    n = 240
    did = np.repeat(np.arange(1, 25), 10)
    x = rng.normal(size=n).round(3)
    effect = rng.normal(size=25)[did]
    y = (rng.random(n) < 1 / (1 + np.exp(-(0.4 * x + effect)))).astype(int)
    return pd.DataFrame(
        {
            "Y": y,
            "X": x,
            "Age": rng.integers(20, 60, n),
            "Stage": rng.choice(["I", "II", "III"], n),
            "Sex": rng.choice(["male", "female"], n),
            "Arm": rng.integers(1, 4, n),
            "DID": did,
            "HID": (did - 1) // 4 + 1,
            "Rater": np.tile(np.arange(1, 11), 24),
            "N": rng.integers(3, 9, n),
            "W": rng.integers(1, 3, n),
            "Date": pd.date_range("2020-01-01", periods=n),
        }
    )


@pytest.fixture(scope="session")
def dataset(small) -> Dataset:
    return Dataset(small)
