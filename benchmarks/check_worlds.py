"""Simulated worlds for the checks of fit.diagnose(): how often they speak where something is wrong, and where not.

``python -m benchmarks.check_worlds [--worlds 200] [--only linearity]`` prints the table of docs/diagnostics.md.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

import melogit as me

SEED = 20260101
Rng = np.random.Generator
Made = tuple[str, pd.DataFrame, dict[str, Any]]


@dataclass(frozen=True)
class World:
    """What is simulated, and the check that is to speak (or, in a sound world, to stay quiet)."""

    key: str
    what: str
    make: Callable[[Rng], Made]
    broken: bool
    threads: int = field(default=1)


def base(rng: Rng, groups: int = 60, rows: int = 15) -> pd.DataFrame:
    """Patients in clinics, with predictors of every kind."""
    clinic = np.repeat(np.arange(groups), rows)
    n = len(clinic)
    return pd.DataFrame(
        {
            "clinic": clinic,
            "age": rng.uniform(20, 80, n),
            "dose": rng.gamma(3.0, 1.5, n),
            "score": rng.normal(size=n),
            "sex": rng.choice(["f", "m"], n),
            "stage": rng.choice(["I", "II", "III"], n, p=[0.5, 0.3, 0.2]),
            "size": rng.normal(size=groups)[clinic],
        }
    )


def by_clinic(rng: Rng, data: pd.DataFrame, sd: float) -> np.ndarray:
    """A normal effect of each clinic, at its rows."""
    clinic = data["clinic"].to_numpy()
    return sd * rng.normal(size=int(clinic.max()) + 1)[clinic]


def outcome(rng: Rng, data: pd.DataFrame, eta: Any, variance: float = 1.0) -> pd.DataFrame:
    """Draw events at these log odds plus a normal effect of each clinic."""
    effect = by_clinic(rng, data, variance**0.5)
    data["y"] = (rng.random(len(data)) < 1 / (1 + np.exp(-(np.asarray(eta) + effect)))).astype(int)
    return data


def linear(data: pd.DataFrame) -> Any:
    """Log odds that the model of the sound world has right."""
    male, late = (data["sex"] == "m") * 0.4, (data["stage"] == "III") * 0.7
    return -1.2 + 0.02 * (data["age"] - 50) + 0.2 * data["dose"] + 0.4 * data["score"] + male - late


FORMULA = "y ~ age + dose + score + sex + stage + size + (1 | clinic)"


def sound(rng: Rng) -> Made:
    data = base(rng)
    return FORMULA, outcome(rng, data, linear(data)), {}


def sound_slope(rng: Rng) -> Made:
    data = base(rng)
    slope = by_clinic(rng, data, 0.7)
    data = outcome(rng, data, linear(data) + slope * data["score"])
    return "y ~ age + dose + score + sex + stage + size + (1 + score || clinic)", data, {}


def logarithmic(rng: Rng) -> Made:
    data = base(rng)
    eta = -1.2 + 1.0 * np.log(data["dose"]) + 0.02 * (data["age"] - 50)
    return FORMULA, outcome(rng, data, eta), {}


def twice_logarithmic(rng: Rng) -> Made:
    data = base(rng)
    eta = -3.0 + 2.0 * np.log(data["dose"]) + 0.02 * (data["age"] - 50)
    return FORMULA, outcome(rng, data, eta), {}


def u_shaped(rng: Rng) -> Made:
    data = base(rng)
    return FORMULA, outcome(rng, data, linear(data) + 0.0012 * (data["age"] - 50) ** 2 - 0.3), {}


def collinear(rng: Rng) -> Made:
    data = base(rng)
    data["weight"] = data["score"] + 0.25 * rng.normal(size=len(data))
    return FORMULA.replace("score", "score + weight"), outcome(rng, data, linear(data)), {}


def separated(rng: Rng) -> Made:
    data = base(rng)
    data = outcome(rng, data, linear(data))
    rare = rng.choice(len(data), 12, replace=False)
    data.loc[rare, "stage"] = "IV"
    data.loc[rare, "y"] = 1
    return FORMULA, data, {}


def few_events(rng: Rng) -> Made:
    data = base(rng)
    return FORMULA, outcome(rng, data, linear(data) - 4.5, 0.5), {}


def few_groups(rng: Rng) -> Made:
    data = base(rng, groups=8, rows=100)
    return FORMULA.replace(" + size", ""), outcome(rng, data, linear(data)), {}


def off_centre(rng: Rng) -> Made:
    data = base(rng, groups=100, rows=20)
    slope = by_clinic(rng, data, 0.4)
    data = outcome(rng, data, linear(data) + slope * (data["dose"] - 4.5))
    return "y ~ age + dose + score + sex + stage + (1 + dose || clinic)", data, {}


def slope_without_variation(rng: Rng) -> Made:
    data = base(rng)
    data = outcome(rng, data, linear(data) + 0.5 * data["size"])
    return "y ~ age + score + size + (1 + size || clinic)", data, {}


def group_predictors(rng: Rng) -> Made:
    data = base(rng, groups=24, rows=40)
    for name in ("beds", "budget", "staff"):
        data[name] = rng.normal(size=24)[data["clinic"]]
    return FORMULA.replace("size", "size + beds + budget + staff"), outcome(rng, data, linear(data)), {}


def reused_ids(rng: Rng) -> Made:
    data = base(rng)
    data["hospital"] = data["clinic"] % 12
    data = outcome(rng, data, linear(data))
    data["clinic"] = data["clinic"] // 12 + 1
    return "y ~ age + score + (1 | hospital) + (1 | clinic)", data, {"method": "laplace"}


def no_clustering(rng: Rng) -> Made:
    data = base(rng)
    return FORMULA, outcome(rng, data, linear(data), 0.0), {}


def several_values(rng: Rng) -> Made:
    data = base(rng)
    data = outcome(rng, data, linear(data))
    data["y"] = np.where(data["y"] == 1, "severe", rng.choice(["none", "mild"], len(data)))
    return FORMULA, data, {"event": "severe"}


def stopped_early(rng: Rng) -> Made:
    data = base(rng)
    return FORMULA, outcome(rng, data, linear(data)), {"max_iterations": 1}


def few_points(rng: Rng) -> Made:
    data = base(rng, groups=150, rows=5)
    return FORMULA, outcome(rng, data, linear(data), 9.0), {"intpoints": 3}


KEYS = ("right_model", "convergence", "integration", "separation", "design", "linearity", "collinearity")
WORLDS = (
    *(World(key, "all well", sound, False) for key in KEYS),
    World("design", "all well, with a random slope", sound_slope, False),
    World("linearity", "effect of log(dose), fitted as a line", logarithmic, True),
    World("linearity", "effect of 2 log(dose), fitted as a line", twice_logarithmic, True),
    World("linearity", "effect of age U-shaped, fitted as a line", u_shaped, True),
    World("collinearity", "two measurements of one thing (correlation 0.97)", collinear, True),
    World("separation", "a level of 12 rows, all events", separated, True),
    World("separation", "about 30 events for 7 coefficients", few_events, True),
    World("design", "8 clinics", few_groups, True),
    World("design", "independent slope of an uncentred predictor", off_centre, True),
    World("design", "random slope of what does not vary within clinics", slope_without_variation, True),
    World("design", "4 predictors of 24 clinics", group_predictors, True),
    World("design", "ids that start anew in every hospital", reused_ids, True),
    World("right_model", "no clustering", no_clustering, True),
    World("right_model", "three values, one made the event", several_values, True),
    World("convergence", "one iteration allowed", stopped_early, True),
    World("integration", "3 points for a variance of 9", few_points, True),
)


def speaks(world: World, number: int) -> bool | None:
    """Whether the check is not fine in one world; None where the model could not be fitted or checked."""
    made = world.make(np.random.default_rng([SEED, number]))
    formula, data, options = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = me.melogit(formula, data, threads=world.threads, **options)
        except me.MelogitError:
            return None
        check = fit.diagnose(only=world.key, threads=world.threads, seed=number)[world.key]
    return None if check.verdict.value == "not checked" else check.verdict.value != "fine"


def main() -> None:
    """Print one line per world."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--worlds", type=int, default=200)
    reader.add_argument("--only", default="")
    asked = reader.parse_args()
    print("| check | world | worlds | spoke | seconds |\n|---|---|---|---|---|")
    for world in WORLDS:
        if asked.only and asked.only != world.key:
            continue
        began = time.perf_counter()
        found = [speaks(world, number) for number in range(asked.worlds)]
        told = [f for f in found if f is not None]
        share = f"{100 * np.mean(told):.1f} %" if told else "never fitted"
        print(f"| {world.key} | {world.what} | {len(told)} | {share} | {time.perf_counter() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main()
