"""Runs the adapters of ``versus/``, each in a process of its own so that no peer can disturb another."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from .cases import Case

VERSUS = Path(__file__).resolve().parent / "versus"
PYTHON_PEERS = {"glmm": ("glmm", "glmm_agq.py"), "gpboost": ("gpboost", "gpboost_laplace.py")}
R_PEERS = {"lme4": ("lme4", "lme4_glmer.R"), "glmmTMB": ("glmmTMB", "glmmtmb_laplace.R")}
NOT_INSTALLED = "not installed"


def succeeds(*command: str) -> bool:
    """Whether a command runs and exits with 0."""
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


def command_for(peer: str, peers_python: str | None) -> list[str] | None:
    """The command that runs a peer's adapter, or None where the peer is not installed."""
    if peer in PYTHON_PEERS:
        module, script = PYTHON_PEERS[peer]
        there = peers_python is not None and succeeds(peers_python, "-c", f"import {module}, pandas")
        return [peers_python, str(VERSUS / script)] if peers_python and there else None
    package, script = R_PEERS[peer]
    there = succeeds("Rscript", "-e", f"library({package}); library(jsonlite)")
    return ["Rscript", str(VERSUS / script)] if there else None


def run_peer(
    peer: str, case: Case, data: pd.DataFrame, repeats: int, peers_python: str | None, limit: float
) -> dict[str, Any]:
    """One row: seconds of each repeat, log-likelihood, method, version; or the reason there are none."""
    row: dict[str, Any] = {"case": case.name, "contender": peer}
    command = command_for(peer, peers_python)
    if command is None:
        return row | {"skipped": NOT_INSTALLED}
    with tempfile.TemporaryDirectory() as folder:
        table, spec, out = (Path(folder) / name for name in ("data.csv", "spec.json", "out.json"))
        columns = {case.response, *case.predictors, *case.groups}
        data[[c for c in data.columns if c in columns]].to_csv(table, index=False)
        spec.write_text(json.dumps(case.to_json(table, repeats)))
        try:
            done = subprocess.run([*command, str(spec), str(out)], capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return row | {"skipped": f"took more than {limit:.0f} s"}
        if done.returncode != 0 or not out.exists():
            return row | {"skipped": "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
        return row | {k: v for k, v in json.loads(out.read_text()).items() if k != "peer"}
