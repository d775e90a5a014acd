"""The models and data that every contender fits, as plain descriptions that survive a trip through JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

HDP = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "hdp.csv"


@dataclass(frozen=True)
class Case:
    """One model. ``groups`` is top level first; ``slope`` is a column whose slope varies in the last group."""

    name: str
    response: str
    predictors: tuple[str, ...]
    groups: tuple[str, ...]
    slope: str | None = None
    method: Literal["mvaghermite", "mcaghermite"] | None = "mvaghermite"
    points: int | Literal["auto"] = 7

    @property
    def formula(self) -> str:
        """In lme4's notation; slope and intercept independent, slope first (their order matters at 7 points)."""
        terms = [f"(1 | {g})" for g in self.groups]
        if self.slope:
            terms.insert(-1, f"(0 + {self.slope} | {self.groups[-1]})")
        return f"{self.response} ~ {' + '.join(self.predictors)} + {' + '.join(terms)}"

    def to_json(self, data: Path, repeats: int) -> dict[str, Any]:
        """What an adapter reads."""
        return {**asdict(self), "formula": self.formula, "data": str(data), "repeats": repeats}


VERBAGG = Path(__file__).resolve().parents[1] / "tests" / "reference" / "data" / "verbagg.csv"


def verbal_aggression() -> tuple[Case, pd.DataFrame]:
    """Persons and items, crossed: 316 x 24 (lme4's VerbAgg)."""
    case = Case("VerbAgg", "said", ("Anger", "Gender", "btype", "situ"), ("id", "item"), None, None, "auto")
    return case, pd.read_csv(VERBAGG)


def crossed_case(rows: int) -> Case:
    """Two covariates; raters and rated, crossed."""
    return Case(f"{rows:,} crossed rows", "y", ("x1", "x2"), ("g", "h"), None, None, "auto")


def crossed_data(rows: int) -> pd.DataFrame:
    """Seeded: 20 rows for each of the first factor's groups, 500 for each of the second's; variances 1 and 0.5."""
    rng = np.random.default_rng(21)
    g, h = np.arange(rows) // 20, rng.integers(0, rows // 500, rows)
    X = rng.normal(size=(rows, 2))
    eta = -0.5 + 0.3 * X.sum(axis=1) + rng.normal(size=rows // 20)[g] + rng.normal(scale=0.5**0.5, size=rows // 500)[h]
    y = (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(int)
    return pd.DataFrame(X, columns=["x1", "x2"]).assign(y=y, g=g, h=h)


FIVE = ("IL6", "CRP", "CancerStage", "LengthofStay", "Experience")
SEVEN = ("Age", "LengthofStay", "FamilyHx", "IL6", "CRP", "CancerStage", "Experience")


def hospital_cases() -> tuple[Case, ...]:
    """M1: doctors. M2: doctors in hospitals. M3: and each doctor's own slope of the length of stay."""
    return (
        Case("M1", "remission", FIVE, ("DID",)),
        Case("M2", "remission", SEVEN, ("HID", "DID")),
        Case("M3", "remission", SEVEN, ("HID", "DID"), "LengthofStay", "mcaghermite"),
    )


def hospital_data() -> tuple[pd.DataFrame, str]:
    """The public teaching data where present, else the simulated data that the package ships; and which it is."""
    if HDP.exists():
        return pd.read_csv(HDP), "hdp.csv (public teaching data, 8,525 rows)"
    from melogit import load_dataset

    data = load_dataset("hospital")
    return data, f"bundled simulated hospital data, {len(data):,} rows"


def growth_case(rows: int) -> Case:
    """Five covariates, groups of 20 rows, one variance."""
    return Case(f"{rows:,} rows", "y", ("x1", "x2", "x3", "x4", "x5"), ("g",))


def growth_data(rows: int) -> pd.DataFrame:
    """Seeded; true intercept -0.5, slopes 0.3, variance 1."""
    rng = np.random.default_rng(20)
    g = np.arange(rows) // 20
    X = rng.normal(size=(rows, 5))
    eta = -0.5 + 0.3 * X.sum(axis=1) + rng.normal(size=g[-1] + 1)[g]
    data = pd.DataFrame(X, columns=["x1", "x2", "x3", "x4", "x5"])
    return data.assign(y=(rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(int), g=g)
