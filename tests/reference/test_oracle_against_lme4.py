"""The brute-force oracle at given parameters against lme4's deviance function: no optimiser, so 1e-8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import oracle

HERE = Path(__file__).resolve().parent


def dummies(column: pd.Series) -> np.ndarray:
    return pd.get_dummies(column, drop_first=True).to_numpy(float)


def columns(case: str, data: pd.DataFrame) -> tuple:
    """y, trials, X, groups (top first), Z per level."""
    one = np.ones(len(data))
    if case == "cbpp":
        X = np.column_stack([one, dummies(data.period)])
        return data.incidence, data["size"], X, [data.herd], [one]
    if case == "verbagg":
        X = np.column_stack([one, data.Anger, *(dummies(data[c]) for c in ("Gender", "btype", "situ"))])
        return data.said, one, X, [data.id], [one]
    if case == "bacteria":
        return data.present, one, np.column_stack([one, dummies(data.trt), data.week]), [data.ID], [one]
    if case == "ticks_nested":
        X = np.column_stack([one, dummies(data.YEAR), data.height])
        below = data.LOCATION.astype(str) + ":" + data.BROOD.astype(str)
        return data["any"], one, X, [data.LOCATION, below], [one, one]
    Z = np.column_stack([one, data.t])
    return data.y, one, np.column_stack([one, data.t, data.x]), [data.g], [Z]


def lambdas(case: str, theta: list[float]) -> list[np.ndarray]:
    """lme4's order: factor with more groups first; lower triangle by columns."""
    if case == "ticks_nested":
        return [np.array([[theta[1]]]), np.array([[theta[0]]])]
    if case == "slopes_correlated":
        return [np.array([[theta[0], 0.0], [theta[1], theta[2]]])]
    return [np.diag(theta)]


CASES = ["cbpp", "verbagg", "bacteria", "ticks_nested", "slopes_correlated", "slopes_independent"]


@pytest.mark.parametrize("case", CASES)
def test_log_likelihood_at_given_parameters_equals_lme4(case, recorded):
    record = recorded["cases"][case]
    y, trials, X, groups, Z = columns(case, pd.read_csv(HERE / record["data"]))
    design = oracle.make_design(y, X, groups, Z, trials=trials)
    tolerance = recorded["tolerance"]
    for at in record["fixed"]:
        if case == "verbagg" and at["nAGQ"] not in (1, 7):
            continue
        beta, Lambda = np.array(at["beta"], dtype=float), lambdas(case, at["theta"])
        if at["nAGQ"] == 1:
            value = np.real(oracle.laplace(design, beta, Lambda))
            assert value == pytest.approx(at["loglik_glmmTMB"], abs=tolerance["loglik_at_fixed_parameters"])
            assert value == pytest.approx(at["loglik"], abs=tolerance["loglik_at_fixed_parameters_one_point_lme4"])
        else:
            value = oracle.agq_mode_curvature(design, beta, Lambda, at["nAGQ"])
            assert value == pytest.approx(at["loglik"], abs=tolerance["loglik_at_fixed_parameters"])
