"""``python -m benchmarks.coverage``: how often each bootstrap interval holds the truth, in simulated worlds.

Every world is a data set from a known model, its fit and a bootstrap of it; world w depends on (seed, w) alone. The
table gives shares of worlds in percent; the Monte Carlo error of a share near 95 % is in its last line. Written to
``results/bootstrap_coverage.json``, from which the table in ``docs/bootstrap.md`` was made.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import melogit as me
from melogit.errors import MelogitError
from melogit.parallel import Lost, read_workers, run

TRUTH = {"Intercept": -0.5, "x": 0.5, "z": 0.5, "g:var(Intercept)": 1.0}
FORMULA = "y ~ x + z + (1 | g)"
POINTS = 9
LEVEL = 0.95
OWN = "the model's own"  # Wald, variances on the log scale


@dataclass(frozen=True)
class Plan:
    """One column of the table: groups of 4 to 12 rows, x by row, z by group."""

    groups: int
    reps: int
    resample: str
    seed: int


def world(number: int, plan: Plan) -> pd.DataFrame:
    """The data of one world."""
    rng = np.random.default_rng([plan.seed, plan.groups, number])
    g = np.repeat(np.arange(plan.groups), rng.integers(4, 13, plan.groups))
    x, z = rng.normal(size=len(g)), rng.normal(size=plan.groups)[g]
    eta = TRUTH["Intercept"] + TRUTH["x"] * x + TRUTH["z"] * z
    eta = eta + np.sqrt(TRUTH["g:var(Intercept)"]) * rng.normal(size=plan.groups)[g]
    return pd.DataFrame({"y": (rng.random(len(g)) < 1 / (1 + np.exp(-eta))).astype(int), "x": x, "z": z, "g": g})


def limits(number: int, plan: Plan) -> dict[str, Any]:
    """Whether each interval of a world holds the truth: 1 or 0, None where there is no interval; and its width."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = me.melogit(FORMULA, world(number, plan), intpoints=POINTS)
            boot = fit.bootstrap(plan.reps, resample=plan.resample, seed=number, workers=1)
        except MelogitError as error:
            return {"failed": str(error)}
        tables = {OWN: fit.conf_int(LEVEL), **{kind: boot.table(kind, LEVEL) for kind in boot.kinds}}
    truth = pd.Series(TRUTH)
    out: dict[str, Any] = {"replicates_failed": len(boot.failed)}
    for kind, table in tables.items():
        low, high = table["ci_low"], table["ci_high"]
        held = ((low <= truth) & (truth <= high)).astype(float).where(low.notna() & high.notna())
        out[kind] = {name: None if np.isnan(value) else int(value) for name, value in held.items()}
        out[f"{kind} width"] = {name: float(value) for name, value in (high - low).items()}
    return out


def summarise(answers: dict[int, Any], plan: Plan) -> dict[str, Any]:
    """Shares of worlds by kind and parameter; a missing interval does not hold the truth."""
    good = [a for a in answers.values() if not isinstance(a, Lost) and "failed" not in a]
    kinds = [key for key in good[0] if key != "replicates_failed" and not key.endswith(" width")]
    cells = {}
    for kind in kinds:
        cells[kind] = {
            name: {
                "coverage": float(np.mean([a[kind][name] == 1 for a in good])),
                "missing": float(np.mean([a[kind][name] is None for a in good])),
                "median_width": float(np.nanmedian([a[f"{kind} width"][name] for a in good])),
            }
            for name in TRUTH
        }
    return {
        "groups": plan.groups,
        "resample": plan.resample,
        "replicates": plan.reps,
        "worlds": len(good),
        "worlds_failed": len(answers) - len(good),
        "replicates_failed": int(sum(a["replicates_failed"] for a in good)),
        "monte_carlo_error": float(np.sqrt(LEVEL * (1 - LEVEL) / len(good))),
        "kinds": cells,
    }


def markdown(found: dict[str, Any]) -> str:
    """One table: a row per kind, a column per parameter."""
    lines = [f"| {found['groups']} groups | {' | '.join(TRUTH)} |", "|---|" + "---|" * len(TRUTH)]
    for kind, row in found["kinds"].items():
        lines.append(f"| {kind} | " + " | ".join(f"{100 * row[name]['coverage']:.1f}" for name in TRUTH) + " |")
    lines.append(
        f"\n{found['resample']}, {found['worlds']:,} worlds, {found['replicates']:,} replicates each; Monte Carlo "
        f"error of a share near 95 %: {100 * found['monte_carlo_error']:.1f}"
    )
    return "\n".join(lines)


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--groups", type=int, nargs="+", default=[30, 200])
    parser.add_argument("--resample", nargs="+", default=["cluster"])
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--reps", type=int, default=299)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", default="processes")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "bootstrap_coverage.json")
    args = parser.parse_args()
    report: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "formula": FORMULA,
        "truth": TRUTH,
        "points": POINTS,
        "level": LEVEL,
        "seed": args.seed,
        "tables": [],
    }
    for groups in args.groups:
        for resample in args.resample:
            plan, began = Plan(groups, args.reps, resample, args.seed), time.perf_counter()
            answers: dict[int, Any] = {}
            run(partial(limits, plan=plan), range(1, args.worlds + 1), read_workers(args.workers), answers.__setitem__)
            found = summarise(answers, plan) | {"seconds": time.perf_counter() - began}
            report["tables"].append(found)
            print(f"{markdown(found)} ({found['seconds']:.0f} s)\n", flush=True)
            args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
