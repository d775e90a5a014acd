"""Profile likelihoods of crossed fits, against fits with the parameter held by an offset."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

import melogit as me
from melogit.errors import ModelError
from quiet import quietly

F = "correct ~ hours + kind + (1 | student) + (1 | question)"


@pytest.fixture(scope="module")
def data():
    return me.load_dataset("exam").head(1500)


@pytest.fixture(scope="module")
def fit(data):
    return quietly(me.melogit, F, data).result


def test_the_likelihood_falls_by_the_quantile_at_each_limit_of_a_coefficient(data, fit):
    low, high = fit.confint("profile").loc["hours"]
    assert low < fit.params["hours"] < high
    for limit in (low, high):
        held = data.assign(fixed=limit * data.hours)
        other = quietly(me.melogit, F.replace("hours + ", ""), held, offset="fixed").result
        assert 2 * (fit.llf - other.llf) == pytest.approx(chi2.ppf(0.95, 1), abs=2e-4)


def test_a_variance_without_its_factor_is_the_end_of_its_profile(data, fit):
    """Where the profile of a variance reaches 0 it is the model without the factor."""
    curve = fit.profile("question:var(Intercept)", level=1 - 1e-12)
    assert curve.ci_low > 0
    found = quietly(me.melogit, "correct ~ hours + kind + (1 | student)", data, method="laplace").result
    assert np.all(curve.table.loglik > found.llf)
    assert np.all(np.diff(curve.table.zeta) > 0)


def test_another_maximum_has_no_laplace_profile(data):
    exact = quietly(me.melogit, F, data, method="simulated").result
    with pytest.raises(ModelError, match=r'Laplace approximation, and this fit has another maximum.*method="laplace"'):
        exact.profile("hours")
