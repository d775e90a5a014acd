"""GLMMadaptive's published output, at its own estimates: modes, fitted values, marginal coefficients.

Its maximum is .019 below ours (it stops early), so what is compared is what follows from given parameters. Marginal
coefficients are defined by Hedeker, du Toit, Demirtas and Gibbons (2018, Biometrics 74, 354-361): least squares of the
log odds of the marginal probabilities on the predictors.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import fitted
from scipy.special import expit, logit

from melogit.effects.parameters import covariance_layout
from melogit.inference.model_test import theta_of

RECORDED = json.loads((Path(__file__).parents[1] / "reference" / "glmmadaptive.json").read_text())


@pytest.fixture(scope="module")
def persons():
    return pd.DataFrame(RECORDED["data"])


@pytest.fixture(scope="module")
def ours(persons):
    return fitted("y ~ female * time + (1 + time | id)", persons)


@pytest.fixture(scope="module")
def theirs(ours):
    """Our fit with their estimates put in."""
    D = RECORDED["D"]
    Sigma = np.array([[D["var_intercept"], D["cov"]], [D["cov"], D["var_time"]]])
    fit = ours.fit
    values = {"id:var(Intercept)": Sigma[0, 0], "id:var(time)": Sigma[1, 1]}
    params = np.array([*RECORDED["fixef"], *(values.get(name, D["cov"]) for name in fit.names[4:])])
    theta = theta_of(covariance_layout(fit), [Sigma])
    terms = (replace(fit.terms[0], Sigma=Sigma),)
    return replace(ours, fit=replace(fit, params=params, theta=theta, terms=terms), posterior=None)


def test_our_maximum_is_not_below_theirs(ours):
    assert RECORDED["loglik"] - 1e-3 < ours.llf < RECORDED["loglik"] + 0.05


def test_fitted_values_of_the_mean_person(theirs):
    found = theirs.predict(kind="mu_fixed").to_numpy()[:6]
    np.testing.assert_allclose(found, RECORDED["fitted_mean_subject"], atol=6e-8)


def test_modes_and_the_persons_own_fitted_values(theirs, persons):
    from melogit.effects.posterior import find_posterior

    modes = find_posterior(theirs.design, theirs.fit, slopes=False)[0].mode
    order = [list(theirs.fit.terms[0].levels).index(str(k)) for k in range(1, 7)]
    expected = np.column_stack([RECORDED["ranef"]["intercept"], RECORDED["ranef"]["time"]])
    np.testing.assert_allclose(modes[order], expected, atol=2e-5)
    first = persons[persons["id"] == 1]
    own = theirs.predict(first, kind="xb") + modes[order[0], 0] + modes[order[0], 1] * first["time"]
    np.testing.assert_allclose(expit(own)[:6], RECORDED["fitted_subject_specific"], atol=2e-6)


def test_marginal_coefficients(theirs, ours):
    """Theirs are of 3,000 samples, whose error in a coefficient is some .003."""
    X = theirs.design.X
    coefficients = [
        np.linalg.lstsq(X, logit(fit.predict(kind="marginal").to_numpy()), rcond=None)[0] for fit in (theirs, ours)
    ]
    np.testing.assert_allclose(coefficients[0], RECORDED["marginal_coefs"], atol=0.012)
    np.testing.assert_allclose(coefficients[1], RECORDED["marginal_coefs"], atol=0.012)


def test_marginal_probabilities_by_a_sum_over_both_effects(theirs):
    """Not reduced to one dimension: a grid over intercept and slope."""
    D = theirs.fit.terms[0].Sigma
    z = np.linspace(-8, 8, 161)
    weight = np.exp(-(z[:, None] ** 2 + z**2) / 2)
    weight /= weight.sum()
    L = np.linalg.cholesky(D)
    b0 = L[0, 0] * z[:, None] + 0 * z
    b1 = L[1, 0] * z[:, None] + L[1, 1] * z
    rows = theirs.design.X[:24]
    beta = theirs.fit.params[:4]
    by_hand = [np.sum(weight * expit(x @ beta + b0 + b1 * x[2])) for x in rows]
    np.testing.assert_allclose(theirs.predict(kind="marginal").to_numpy()[:24], by_hand, atol=1e-11)
