"""Tests of quantile residuals against the same draws in R, by DHARMa's definitions (influence_and_residuals.R)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from melogit.diagnostics.quantile_residuals import binomial_p, dispersion, outliers, scaled_residuals, uniformity

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def recorded():
    return json.loads((HERE / "influence_and_residuals.json").read_text())


@pytest.mark.parametrize(("part", "rows"), [("all", 150), ("few", 40)])
def test_residuals_and_their_tests_agree_with_r_on_the_same_draws(recorded, part, rows):
    observed = np.array(recorded["observed"], dtype=float)[:rows]
    drawn = np.array(recorded["drawn"], dtype=float)[:rows]
    fitted = np.array(recorded["fitted"])[:rows]
    expected = recorded[part]
    values = scaled_residuals(observed, drawn, np.array(recorded["uniform"])[:rows])
    np.testing.assert_allclose(values, expected["residuals"], atol=1e-12)
    found = uniformity(values)
    # R takes the exact distribution below 100 rows, as we do, and the limiting one above.
    np.testing.assert_allclose([found.statistic, found.p], expected["ks"], rtol=1e-6)
    found = dispersion(observed, drawn, fitted)
    np.testing.assert_allclose([found.statistic, found.p], expected["dispersion"], rtol=1e-10)
    found = outliers(values, drawn.shape[1])
    np.testing.assert_allclose([found.statistic, found.p], expected["outliers"], rtol=1e-6)


def test_the_draws_of_the_recorded_case_vary_too_little(recorded):
    """A check of the case itself: the observed counts were made to vary more than the draws."""
    assert recorded["all"]["dispersion"][0] > 1.2
    assert recorded["all"]["dispersion"][1] < 0.05


def test_the_binomial_test_is_rs(recorded):
    ours = [binomial_p(k, 150, 0.05) for k in range(31)]
    np.testing.assert_allclose(ours, recorded["binomial"], rtol=1e-8)
