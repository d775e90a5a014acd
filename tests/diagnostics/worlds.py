"""Small data sets with something wrong or nothing, for the tests of the checks."""

from __future__ import annotations

import numpy as np
import pandas as pd


def sound_world(seed: int, groups: int = 50, rows: int = 12) -> pd.DataFrame:
    """Patients of clinics: log odds linear in age and dose, a sex, three stages, clinic variance 1."""
    rng = np.random.default_rng(seed)
    clinic = np.repeat(np.arange(groups), rows)
    n = len(clinic)
    data = pd.DataFrame(
        {
            "clinic": clinic,
            "age": rng.uniform(20, 80, n),
            "dose": rng.gamma(3.0, 1.5, n),
            "sex": rng.choice(["f", "m"], n),
            "stage": rng.choice(["I", "II", "III"], n),
        }
    )
    eta = -1.0 + 0.02 * (data["age"] - 50) + 0.2 * data["dose"] + 0.5 * (data["sex"] == "m")
    return with_outcome(data, eta, rng)


def with_outcome(data: pd.DataFrame, eta, rng: np.random.Generator, sd: float = 1.0) -> pd.DataFrame:
    """Add y, drawn at these log odds plus a normal effect of each clinic."""
    effect = sd * rng.normal(size=data["clinic"].max() + 1)[data["clinic"]]
    return data.assign(y=(rng.random(len(data)) < 1 / (1 + np.exp(-(np.asarray(eta) + effect)))).astype(int))


FORMULA = "y ~ age + dose + sex + stage + (1 | clinic)"
