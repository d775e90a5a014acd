"""Maximum likelihood of the salamander model by long simulation: writes salamander_exact.json. Run from this folder.

The parts of the data that no animal connects (six, of ten females and ten males each) are integrated apart: the
males by randomised quasi-Monte Carlo around the joint mode, the females exactly (``../oracle_crossed.py``). The
simulated log-likelihood, its nodes held still, is a smooth function; Newton's method finds its maximum, the nodes are
put around the new mode, and so on until nothing moves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import oracle  # noqa: E402
import oracle_crossed as crossed  # noqa: E402

CROSSES = ("RR", "RW", "WR", "WW")  # female's type, then male's
NAMES = [*CROSSES, "sd(male)", "sd(female)"]
ABOUT = """Maximum likelihood of mated ~ 0 + cross + (1 | female) + (1 | male) on the salamander data (McCullagh &
Nelder 1989, section 14.5), by simulation: see salamander_exact.py. 'error' is the Monte Carlo standard error.
'published' are the Monte Carlo maximum likelihood estimates of Booth & Hobert (1999), J. R. Statist. Soc. B 61,
265-285, as quoted in the examples of Geyer's R package bernor; they carry a Monte Carlo error of their own."""


def salamander_design():
    data = pd.read_csv(HERE / "data" / "salamander.csv")
    cross = data.female_type + data.male_type
    X = np.column_stack([cross == c for c in CROSSES]).astype(float)
    one = np.ones(len(data))
    return crossed.make_crossed(data.mated, X, [data.male, data.female], [one, one])


def simulate(design, x, points, repeats, seed, at=None):
    """Simulated log-likelihood at x, its nodes around the mode at ``at``."""
    where = None if at is None else oracle.unpack(design, at)
    return crossed.simulated(design, *oracle.unpack(design, x), points=points, repeats=repeats, seed=seed, at=where)


def information(design, x, points, repeats, seed):
    """Negative second derivatives of the simulated log-likelihood, nodes held still at x."""
    columns = []
    for e in np.eye(len(x)) * 1e-3:
        up, down = (simulate(design, x + s * e, points, repeats, seed, x).score for s in (1, -1))
        columns.append((down - up) / 2e-3)
    H = np.array(columns)
    return (H + H.T) / 2


def main() -> None:
    design = salamander_design()
    x, H = np.array([1.0, 0.3, -1.9, 1.0, 1.0, 1.1]), np.eye(6)
    for _ in range(3):
        H = information(design, x, 1024, 2, 1)
        x = x + np.linalg.solve(H, simulate(design, x, 1024, 2, 1).score)
        print(x, flush=True)
    for _ in range(2):
        found = simulate(design, x, 8192, 8, 2)
        x = x + np.linalg.solve(H, found.score)
        print(x, found.loglik, found.error, flush=True)
    H = information(design, x, 4096, 2, 3)
    found = simulate(design, x, 8192, 8, 4)
    covariance = np.linalg.inv(H)
    record = {
        "about": " ".join(ABOUT.split()),
        "names": NAMES,
        "estimate": x.tolist(),
        "std_err": np.sqrt(np.diag(covariance)).tolist(),
        "error": np.sqrt(np.diag(covariance @ np.diag(found.score_error**2) @ covariance)).tolist(),
        "variance_male": x[4] ** 2,
        "variance_female": x[5] ** 2,
        "loglik": found.loglik,
        "loglik_error": found.error,
        "laplace_there": float(np.real(oracle.laplace(design, *oracle.unpack(design, x)))),
        "published": {"RR": 1.03, "RW": 0.32, "WR": -1.95, "WW": 0.99, "variance_female": 1.40, "variance_male": 1.25},
    }
    (HERE / "salamander_exact.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
