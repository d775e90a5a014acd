"""How often each check of influence, random effects and fit speaks: in good worlds, and in worlds broken on purpose.

Run ``python benchmarks/checks_by_simulation.py [--worlds 200] [--only random_effects ...]``. Every world is a data set
with a seed of its own; the model is fitted and checked as a user would. Prints, as JSON, the share of worlds in which
each check says look or problem.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

import melogit as me

Rng = np.random.Generator
FORMULA = "y ~ x + w + (1 | g)"
KEYS = (
    "row_influence",
    "group_influence",
    "random_effects",
    "shape",
    "between_within",
    "levels",
    "time",
    "residuals",
    "calibration",
)


def drawn(eta: ArrayLike, rng: Rng, trials: int = 1) -> np.ndarray:
    return rng.binomial(trials, 1 / (1 + np.exp(-np.asarray(eta))))


def two_levels(rng: Rng, groups: int = 60, size: int = 15, effects: np.ndarray | None = None) -> pd.DataFrame:
    """Rows in groups; x varies within, w between groups. ``eta`` is right for the model."""
    g = np.repeat(np.arange(groups), size)
    b = rng.normal(0, 1.2, groups) if effects is None else effects
    data = pd.DataFrame({"g": g, "t": np.tile(np.arange(size), groups), "x": rng.normal(size=len(g))})
    data["w"] = rng.normal(size=groups)[g]
    data["b"] = b[g]
    data["eta"] = -0.4 + 0.8 * data["x"] + 0.5 * data["w"] + data["b"]
    return data


def three_levels(rng: Rng) -> pd.DataFrame:
    """Groups g in upper groups h, of different numbers."""
    number = rng.integers(3, 9, 40)
    h = np.repeat(np.arange(40), number)
    rows = np.repeat(np.arange(len(h)), 8)
    data = pd.DataFrame({"g": rows, "h": h[rows], "x": rng.normal(size=len(rows))})
    data["w"] = rng.normal(size=len(h))[rows]
    data["upper"] = rng.normal(0, 1.0, 40)[data["h"]]
    data["lower"] = rng.normal(0, 1.0, len(h))[rows]
    data["eta"] = -0.4 + 0.8 * data["x"] + 0.5 * data["w"] + data["upper"] + data["lower"]
    return data


def good(rng: Rng) -> pd.DataFrame:
    data = two_levels(rng)
    return data.assign(y=drawn(data["eta"], rng))


def good_levels(rng: Rng) -> pd.DataFrame:
    data = three_levels(rng)
    return data.assign(y=drawn(data["eta"], rng))


def flipped_rows(rng: Rng) -> pd.DataFrame:
    """4 in 100 outcomes are recorded the wrong way round, where the predictor is strong."""
    data = two_levels(rng)
    y = drawn(data["eta"] + 3.2 * data["x"], rng)
    return data.assign(y=np.where(rng.random(len(data)) < 0.04, 1 - y, y))


def typing_error(rng: Rng) -> pd.DataFrame:
    """One value of x is 15 (all others lie between -4 and 4), with an outcome that does not go with it."""
    data = two_levels(rng)
    y, x = drawn(data["eta"], rng), data["x"].to_numpy().copy()
    x[100], y[100] = 15.0, 0
    return data.assign(x=x, y=y)


def contrary_group(rng: Rng) -> pd.DataFrame:
    """One group of 60 has an effect of x of its own, of the other sign."""
    data = two_levels(rng, 60, 30)
    return data.assign(y=drawn(data["eta"] - np.where(data["g"] == 7, 6.0, 0.0) * data["x"], rng))


def skewed_effects(rng: Rng) -> pd.DataFrame:
    """Most groups are alike, one in eight lies far above."""
    data = two_levels(rng, 120, 15, np.where(rng.random(120) < 0.125, 4.0, -0.5) + rng.normal(0, 0.4, 120))
    return data.assign(y=drawn(data["eta"], rng))


def spread_by_kind(rng: Rng) -> pd.DataFrame:
    """The groups with w = 1 differ much more than those with w = 0 (Heagerty & Kurland 2001, Biometrika 88)."""
    w = (rng.random(200) < 0.5).astype(float)
    data = two_levels(rng, 200, 10, rng.normal(size=200) * np.where(w > 0, 3.0, 0.3))
    data["w"] = w[data["g"]]
    return data.assign(y=drawn(-1.5 + 0.8 * data["x"] + data["w"] + data["b"], rng))


def related_effects(rng: Rng) -> pd.DataFrame:
    """The groups' effects go with the means of x."""
    data = two_levels(rng)
    x = data["x"] + 0.6 * data["b"]
    return data.assign(x=x, y=drawn(data["eta"] + 0.8 * 0.6 * data["b"], rng))


def tied_levels(rng: Rng) -> pd.DataFrame:
    """Upper groups with high effects have more lower groups (correlation about 0.8)."""
    data = three_levels(rng)
    number = data.groupby("h")["g"].nunique().to_numpy()
    new = 0.8 * (number - number.mean()) / number.std() + 0.6 * rng.normal(size=len(number))
    return data.assign(y=drawn(data["eta"] - data["upper"] + new[data["h"]], rng))


def serial_rows(rng: Rng) -> pd.DataFrame:
    """What a row is like besides its group fades only slowly: correlation 0.8 from row to row."""
    data = two_levels(rng)
    z = rng.normal(size=(60, 15))
    for t in range(1, 15):
        z[:, t] = 0.8 * z[:, t - 1] + 0.6 * z[:, t]
    return data.assign(y=drawn(data["eta"] + 1.5 * z.ravel(), rng))


def spread_counts(rng: Rng) -> pd.DataFrame:
    """Counts of 10 that vary more than binomial ones."""
    data = two_levels(rng)
    return data.assign(y=drawn(data["eta"] + rng.normal(0, 0.7, len(data)), rng, 10), n=10)


def curved(rng: Rng) -> pd.DataFrame:
    """The log-odds bend in x."""
    data = two_levels(rng)
    return data.assign(y=drawn(data["eta"] + 0.6 * (data["x"] ** 2 - 1), rng))


def ceiling(rng: Rng) -> pd.DataFrame:
    """However high the log-odds, no probability is above 0.6."""
    data = two_levels(rng, 60, 25)
    p = 0.6 / (1 + np.exp(-(data["eta"] + 2 * data["x"] + 0.5)))
    return data.assign(y=rng.binomial(1, p))


def crossed(rng: Rng) -> pd.DataFrame:
    """Every person of 40 answers every item of 20; s is how much x matters for the item."""
    person, item = (part.ravel() for part in np.meshgrid(np.arange(40), np.arange(20), indexing="ij"))
    data = pd.DataFrame({"person": person, "item": item, "x": rng.normal(size=len(item))})
    data["w"] = rng.normal(size=40)[person]
    data["eta"] = -0.3 + 0.8 * data["x"] + 0.4 * data["w"] + rng.normal(size=40)[person] + rng.normal(size=20)[item]
    return data


def good_crossed(rng: Rng) -> pd.DataFrame:
    data = crossed(rng)
    return data.assign(y=drawn(data["eta"], rng))


def contrary_item(rng: Rng) -> pd.DataFrame:
    """For one item of 20 the effect of x has the other sign."""
    data = crossed(rng)
    return data.assign(y=drawn(data["eta"] - np.where(data["item"] == 7, 4.0, 0.0) * data["x"], rng))


def good_counts(rng: Rng) -> pd.DataFrame:
    data = two_levels(rng)
    return data.assign(y=drawn(data["eta"], rng, 10), n=10)


def look(data: pd.DataFrame, keys: tuple[str, ...]) -> dict[str, bool]:
    """Fit and check as a user would; which checks speak."""
    random = "(1 | h/g)" if "h" in data else "(1 | person) + (1 | item)" if "item" in data else "(1 | g)"
    formula = FORMULA.replace("(1 | g)", random)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = me.melogit(formula, data, trials="n" if "n" in data else None)
        checks = fit.diagnose(only=list(keys), progress=False, time=np.asarray(data["t"]) if "t" in data else None)
    return {check.key: check.verdict.value in ("look", "problem") for check in checks}


TRIALS: dict[str, tuple[Callable[[Rng], pd.DataFrame], tuple[str, ...]]] = {
    "good, two levels": (good, tuple(k for k in KEYS if k != "levels")),
    "good, three levels": (good_levels, ("levels", "random_effects", "group_influence", "between_within")),
    "good, counts": (good_counts, ("row_influence", "residuals", "calibration")),
    "good, crossed": (
        good_crossed,
        ("row_influence", "group_influence", "random_effects", "between_within", "residuals", "calibration"),
    ),
    "one contrary item": (contrary_item, ("group_influence",)),
    "4 % of outcomes flipped": (flipped_rows, ("row_influence",)),
    "one typing error": (typing_error, ("row_influence",)),
    "one contrary group": (contrary_group, ("group_influence",)),
    "one group in eight far above": (skewed_effects, ("random_effects",)),
    "spread of effects depends on w": (spread_by_kind, ("shape", "random_effects")),
    "effects related to x": (related_effects, ("between_within",)),
    "upper effect goes with number of lower groups": (tied_levels, ("levels",)),
    "slowly fading disturbances": (serial_rows, ("time",)),
    "counts vary too much": (spread_counts, ("residuals",)),
    "no probability above 0.6": (ceiling, ("calibration", "residuals")),
    "log-odds bend in x": (curved, ("residuals", "calibration")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=200, help="good worlds of each kind")
    parser.add_argument("--broken", type=int, default=40, help="broken worlds of each kind")
    parser.add_argument("--only", nargs="*", help="names of trials, in part")
    chosen = parser.parse_args()
    for name, (draw, keys) in TRIALS.items():
        if chosen.only and not any(part in name for part in chosen.only):
            continue
        count = chosen.worlds if name.startswith("good") else chosen.broken
        began = time.perf_counter()
        found = [look(draw(np.random.default_rng([seed, len(name)])), keys) for seed in range(count)]
        shares = {key: float(np.mean([one[key] for one in found])) for key in keys}
        seconds = round(time.perf_counter() - began, 1)
        print(json.dumps({"world": name, "worlds": count, "speaks": shares, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
