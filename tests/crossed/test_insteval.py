"""A large crossed data set, where R is there to hand it over: 73,421 ratings of 1,128 lecturers by 2,972 students."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

import melogit as me
from quiet import quietly

REFERENCE = Path(__file__).resolve().parents[1] / "reference"


@pytest.mark.slow
def test_instructor_evaluations_are_glmmtmbs(tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("needs R with lme4, whose data these are")
    file = tmp_path / "ratings.csv"
    done = subprocess.run(["Rscript", "insteval.R", str(file)], cwd=REFERENCE, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("needs the R packages lme4, glmmTMB and jsonlite")
    record = json.loads((REFERENCE / "insteval.json").read_text())
    fit = quietly(me.melogit, "good ~ service + (1 | s) + (1 | d)", pd.read_csv(file)).result
    assert fit.converged
    assert fit.nobs == 73_421
    assert fit.llf == pytest.approx(record["loglik"], abs=1e-4)
    for theirs, ours in (("(Intercept)", "Intercept"), ("service", "service")):
        assert abs(fit.params[ours] - record["fixed"][theirs]) < 1e-3 * fit.bse[ours]
        assert fit.bse[ours] == pytest.approx(record["std_err"][theirs], rel=2e-3)
    for group, variance in record["variance"].items():
        name = f"{group}:var(Intercept)"
        assert abs(fit.params[name] - variance) < 1e-3 * fit.bse[name]
