"""Fits against recorded answers of lme4 (nAGQ 1, 7, 15, 25) and glmmTMB: see lme4_glmmtmb.R.

lme4 leaves the binomial constant out of its log-likelihood when nAGQ > 1; the recorded ``loglik`` has it put back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

HERE = Path(__file__).resolve().parent
SCALAR = ["cbpp", "verbagg", "bacteria"]
FORMULAS = {
    "cbpp": "cbind(incidence, size - incidence) ~ C(period) + (1 | herd)",
    "verbagg": "said ~ Anger + Gender + btype + situ + (1 | id)",
    "bacteria": "present ~ trt + week + (1 | ID)",
    "ticks_nested": "any ~ YEAR + height + (1 | LOCATION/BROOD)",
    "slopes_correlated": "y ~ t + x + (t | g)",
    "slopes_independent": "y ~ t + x + (t || g)",
}


@pytest.fixture(scope="session")
def tables(recorded):
    read = {name: pd.read_csv(HERE / case["data"]) for name, case in recorded["cases"].items()}
    return read


def our_name(theirs: str) -> str:
    if theirs == "(Intercept)":
        return "Intercept"
    for factor in ("period", "Gender", "btype", "situ", "trt", "YEAR"):
        if theirs.startswith(factor):
            shown = "C(period)" if factor == "period" else factor  # numbers in the data, made a factor in the formula
            return f"{shown}[{theirs.removeprefix(factor)}]"
    return theirs


def fits(recorded, case, software, nAGQ=None):
    found = [f for f in recorded["cases"][case]["fits"] if f["software"] == software and f.get("nAGQ") == nAGQ]
    assert len(found) == 1
    return found[0]


def covariances(record):
    """(our name, value) of the variances and covariances that glmmTMB or lme4 report."""
    for group, matrix in record["covariance"].items():
        group = group.removesuffix(".1")
        names = [our_name(e) for e in record["effects"][group]]
        for i in range(len(matrix)):
            for j in range(i + 1):
                if i == j:
                    yield f"{group}:var({names[i]})", matrix[i][i]
                elif matrix[i][j] != 0:
                    yield f"{group}:cov({names[j]},{names[i]})", matrix[i][j]


@pytest.mark.parametrize("nAGQ", [1, 7, 15, 25])
@pytest.mark.parametrize("case", SCALAR)
def test_mcaghermite_with_one_scalar_effect_is_lme4s_nagq(case, nAGQ, recorded, tables, fit_once):
    tolerance = recorded["tolerance"]
    record = fits(recorded, case, "lme4", nAGQ)
    fit = fit_once(FORMULAS[case], tables[case], method="mcaghermite", intpoints=nAGQ).result
    assert fit.llf == pytest.approx(record["loglik"], abs=tolerance["loglik_at_optimum"])
    for theirs, value in record["fixed"].items():
        name = our_name(theirs)
        assert abs(fit.params[name] - value) <= tolerance["estimate_in_std_err"] * fit.bse[name], name
    for name, value in covariances(record):
        assert abs(fit.params[name] - value) <= tolerance["estimate_in_std_err"] * fit.bse[name], name


@pytest.mark.parametrize("case", list(FORMULAS))
def test_laplace_is_lme4s_and_glmmtmbs(case, recorded, tables, fit_once):
    tolerance = recorded["tolerance"]
    record = fits(recorded, case, "glmmTMB")
    fit = fit_once(FORMULAS[case], tables[case], method="laplace").result
    assert fit.llf == pytest.approx(record["loglik"], abs=tolerance["loglik_at_optimum"])
    assert fit.llf == pytest.approx(fits(recorded, case, "lme4", 1)["loglik"], abs=tolerance["loglik_at_optimum"])
    for theirs, value in record["fixed"].items():
        name = our_name(theirs)
        std_err = record["std_err"][theirs]
        assert abs(fit.params[name] - value) <= tolerance["estimate_in_std_err"] * std_err, name
        assert fit.bse[name] == pytest.approx(std_err, rel=tolerance["std_err_relative"]), name
    for name, value in covariances(record):
        assert abs(fit.params[name] - value) <= tolerance["estimate_in_std_err"] * fit.bse[name], name


@pytest.mark.parametrize("case", [*SCALAR, "ticks_nested", "slopes_independent"])
def test_standard_errors_of_variances_are_glmmtmbs(case, recorded, tables, fit_once):
    """glmmTMB's parameter is log sd, so se(variance) = 2 variance se(log sd)."""
    record = fits(recorded, case, "glmmTMB")
    fit = fit_once(FORMULAS[case], tables[case], method="laplace").result
    names = [name for name, _ in covariances(record)]
    assert len(names) == len(record["theta_std_err"])
    for name, log_sd, std_err in zip(names, record["theta"], record["theta_std_err"], strict=True):
        expected = 2 * np.exp(2 * log_sd) * std_err
        assert fit.bse[name] == pytest.approx(expected, rel=recorded["tolerance"]["std_err_relative"]), name


@pytest.mark.parametrize("case", SCALAR)
def test_one_point_is_laplace(case, tables, fit_once):
    one = fit_once(FORMULAS[case], tables[case], method="mcaghermite", intpoints=1).result
    laplace = fit_once(FORMULAS[case], tables[case], method="laplace").result
    # two searches that stop within 3e-5 standard errors of the same maximum
    assert one.llf == pytest.approx(laplace.llf, abs=1e-8)
    np.testing.assert_allclose((one.params - laplace.params) / laplace.bse, 0, atol=1e-4)


def test_log_likelihood_has_the_binomial_constant_at_every_number_of_points(recorded, tables, fit_once):
    """lme4 jumps by 41.98 between nAGQ=1 and nAGQ=7 on this data; here the scale is one."""
    values = [
        fit_once(FORMULAS["cbpp"], tables["cbpp"], method="mcaghermite", intpoints=k).result.llf for k in (1, 7, 15)
    ]
    assert max(values) - min(values) < 0.1
    theirs = [fits(recorded, "cbpp", "lme4", k)["as_reported"] for k in (1, 7)]
    assert theirs[1] - theirs[0] == pytest.approx(42.0, abs=0.1)
