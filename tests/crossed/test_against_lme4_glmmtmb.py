"""Whole fits of crossed models against recorded answers of lme4 (nAGQ = 1) and glmmTMB: reference/lme4_crossed.R."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
RECORD = json.loads((REFERENCE / "lme4_crossed.json").read_text())
CASES, TOLERANCE = RECORD["cases"], RECORD["tolerance"]


@pytest.fixture(scope="module")
def tables():
    read = {case["data"]: pd.read_csv(REFERENCE / case["data"]) for case in CASES.values()}
    salamander = read["data/salamander.csv"]
    salamander["cross"] = salamander.female_type + salamander.male_type
    return read


@pytest.fixture
def fitted(tables, fit_once):
    def fit(name):
        case = CASES[name]
        return fit_once(case["melogit"], tables[case["data"]], **dict(case["options"]), method="laplace").result

    return fit


def recorded(name, software):
    return next(f for f in CASES[name]["fits"] if f["software"] == software)


def our_name(theirs):
    if theirs == "(Intercept)":
        return "Intercept"
    for factor in ("cross", "Gender", "btype", "situ"):
        if theirs.startswith(factor):
            return f"{factor}[{theirs.removeprefix(factor)}]"
    return theirs


def covariances(record):
    """(our name, value) of the variances and covariances; terms of one factor written apart are its blocks."""
    for written, matrix in record["covariance"].items():
        group = written.removesuffix(".1")
        names = [our_name(e) for e in record["effects"][written]]
        for i in range(len(matrix)):
            yield f"{group}:var({names[i]})", matrix[i][i]
            for j in range(i):
                if matrix[i][j] != 0:
                    yield f"{group}:cov({names[j]},{names[i]})", matrix[i][j]


@pytest.mark.parametrize("name", list(CASES))
def test_log_likelihood_and_estimates(name, fitted):
    fit = fitted(name)
    assert fit.integration.method == "laplace"
    assert fit.converged
    for software in ("lme4", "glmmTMB"):
        record = recorded(name, software)
        assert fit.llf == pytest.approx(record["loglik"], abs=TOLERANCE["loglik"])
        for theirs, value in record["fixed"].items():
            ours = our_name(theirs)
            assert abs(fit.params[ours] - value) <= TOLERANCE["estimate_in_std_err"] * fit.bse[ours], (software, ours)
        for ours, value in covariances(record):
            assert abs(fit.params[ours] - value) <= TOLERANCE["estimate_in_std_err"] * fit.bse[ours], (software, ours)


@pytest.mark.parametrize("name", list(CASES))
def test_standard_errors_are_glmmtmbs(name, fitted):
    fit, record = fitted(name), recorded(name, "glmmTMB")
    for theirs, value in record["std_err"].items():
        assert fit.bse[our_name(theirs)] == pytest.approx(value, rel=TOLERANCE["std_err_relative"])
    if "unstructured" in name or "verbagg_slope" in name:
        return  # its parameters are then log standard deviations and a transformed correlation
    names = [name for name, _ in covariances(record)]
    for ours, log_sd, std_err in zip(names, record["theta"], record["theta_std_err"], strict=True):
        expected = 2 * np.exp(2 * log_sd) * std_err
        assert fit.bse[ours] == pytest.approx(expected, rel=TOLERANCE["std_err_relative"]), ours


@pytest.mark.parametrize("name", list(CASES))
def test_modes_and_conditional_standard_deviations_are_lme4s(name, fitted):
    fit, record = fitted(name), recorded(name, "lme4")
    terms = {term.name: term for term in fit.fit.terms}
    for group, levels in record["levels"].items():
        term = terms[group]
        at = {str(level): i for i, level in enumerate(term.levels)}
        order = [at[level] for level in levels]
        sd = np.array(record["mode_sd"][group])
        scale = np.sqrt(np.diag(term.Sigma))
        np.testing.assert_allclose(term.modes[order] / scale, np.array(record["modes"][group]) / scale, atol=2e-3)
        np.testing.assert_allclose(term.std_err[order], sd, rtol=1e-3)


def test_intervals_of_effects_come_with_the_table(fitted):
    effects = fitted("salamander").random_effects()
    assert len(effects) == 120
