"""The exact likelihood of crossed models by simulation: against brute force, and on the field's test data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melogit as me
import oracle
import oracle_crossed as brute
from melogit.errors import ModelError
from melogit.likelihood.arrange_crossed import arrange_crossed
from melogit.likelihood.crossed import find_mode
from melogit.likelihood.sampled import centre, sample, sampler
from quiet import quietly

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
CROSSES = ("RR", "RW", "WR", "WW")
F = "mated ~ 0 + cross + (1 | female) + (1 | male)"


def engine(design, beta, Lambdas, points=32, seed=1):
    """Sampled log-likelihood, and score and its error in the user's parameters."""
    crossed = arrange_crossed(design, threads=1)
    x = np.asarray(np.linalg.solve(crossed.to_user, oracle.pack(beta, Lambdas)), dtype=np.float64)
    mode = find_mode(crossed, x, np.zeros((crossed.problem.groups, crossed.problem.q)), np.zeros(crossed.problem.rest))
    assert mode is not None
    at = centre(crossed, x, mode)
    assert at is not None
    found = sample(crossed, sampler(crossed, points, seed), x, mode, at)
    assert found is not None
    each = np.linalg.solve(crossed.to_user.T, found.scores.T).T
    score = np.linalg.solve(crossed.to_user.T, found.score)
    return found, score, each.std(axis=0, ddof=1) / np.sqrt(len(each))


@pytest.mark.parametrize("sd", [0.7, 3.0])
@pytest.mark.parametrize(
    ("levels", "effects"), [((2, 6), (1, 1)), ((1, 5), (1, 2)), ((1, 1, 6), (1, 1, 1)), ((1, 5), (2, 1))]
)
def test_value_and_score_are_the_exact_ones_within_their_errors(levels, effects, sd):
    rng = np.random.default_rng(8)
    design, beta, Lambdas = brute.random_crossed(rng, levels, effects, n=30, weights=True, offset=True)
    Lambdas = [sd * L / L[0, 0] for L in Lambdas]
    eta = design.offset + design.X @ beta
    for term, L in zip(design.terms, Lambdas, strict=True):
        b = rng.normal(size=(term.factor.n_levels, len(L))) @ L.T
        eta = eta + np.einsum("ij,ij->i", term.Z, b[term.factor.codes])
    design = replace(design, y=(rng.random(30) < 1 / (1 + np.exp(-eta))).astype(float))
    value, score = brute.exact(design, beta, Lambdas, step=0.6)
    found, slopes, errors = engine(design, beta, Lambdas)
    quadrature = 1e-3 * sd**2  # of the eliminated factor, by 15 points, or 9 in two dimensions
    assert abs(found.loglik - value) < 4 * found.error + quadrature
    assert np.all(np.abs(slopes - score) < 5 * errors + 3 * quadrature)


@pytest.mark.parametrize("effects", [(1, 1), (1, 2)])
def test_errors_are_honest_and_controls_change_no_mean(effects):
    """Over many seeds: no bias, and the stated errors are those that occur."""
    rng = np.random.default_rng(9)
    part = np.arange(48) // 24  # two parts that share no group
    groups = [part * 2 + rng.integers(0, 2, 48), part * 4 + rng.integers(0, 4, 48)]
    X = np.column_stack([np.ones(48), rng.normal(size=48)])
    Z = [np.column_stack([np.ones(48), rng.normal(size=48)])[:, :q] for q in effects]
    trials = rng.integers(1, 4, 48).astype(float)
    y = rng.binomial(trials.astype(int), 0.5)
    design = brute.make_crossed(y, X, groups, Z, trials=trials, weights=rng.integers(1, 3, 48).astype(float))
    beta, Lambdas = np.array([0.2, -0.3]), [1.2 * np.eye(effects[0]), np.diag([1.0, 0.6][: effects[1]])]
    value, score = brute.exact(design, beta, Lambdas)
    logliks, scores, errors = [], [], []
    for seed in range(60):
        found, slopes, _ = engine(design, beta, Lambdas, points=8, seed=seed)
        logliks.append((found.loglik - value) / found.error)
        scores.append(slopes - score)
        errors.append(found.error)
    assert abs(np.mean(logliks)) < 4 * np.std(logliks) / np.sqrt(60) + 0.3
    assert 0.6 < np.std(logliks) < 1.6  # eight cubes: t with 7 degrees of freedom has 1.18
    spread = np.std(scores, axis=0)
    assert np.all(np.abs(np.mean(scores, axis=0)) < 4 * spread / np.sqrt(60) + 2e-3)


def test_nested_models_are_integrated_not_simulated(salamander):
    with pytest.raises(ModelError, match=r"simulated.*nested|nested.*simulated"):
        me.melogit("mated ~ cross + (1 | female)", salamander, method="simulated")


@pytest.fixture(scope="module")
def salamander():
    data = pd.read_csv(REFERENCE / "data" / "salamander.csv")
    return data.assign(cross=data.female_type + data.male_type)


@pytest.fixture(scope="module")
def exact():
    return json.loads((REFERENCE / "salamander_exact.json").read_text())


@pytest.fixture(scope="module")
def by_laplace(salamander):
    return quietly(me.melogit, F, salamander)


@pytest.fixture(scope="module")
def simulated(salamander):
    return quietly(me.melogit, F, salamander, method="simulated")


def test_the_recorded_maximum_is_the_published_one(exact):
    """Booth and Hobert (1999), within a tenth of a standard error: theirs is a simulation too."""
    ours = dict(zip(exact["names"], exact["estimate"], strict=True))
    error = dict(zip(exact["names"], exact["std_err"], strict=True))
    for cross in CROSSES:
        assert abs(ours[cross] - exact["published"][cross]) < 0.1 * error[cross]
    for sex in ("female", "male"):
        assert exact[f"variance_{sex}"] == pytest.approx(exact["published"][f"variance_{sex}"], abs=0.03)
    assert exact["loglik"] == pytest.approx(-207.60, abs=0.01)  # RELIABILITY's reference value


def test_the_certificate_of_laplace_is_honest(by_laplace, exact):
    """It foretells the distance to the exact maximum, and says it in words."""
    fit, integration = by_laplace.result, by_laplace.result.integration
    assert integration.method == "laplace"
    assert fit.llf == pytest.approx(-209.2766, abs=1e-4)
    # one Newton step from Laplace's maximum: 1.57, of which .11 are still to be climbed
    assert integration.loglik_error == pytest.approx(1.566, abs=4 * integration.loglik_noise + 0.01)
    variances = np.array([exact["variance_female"], exact["variance_male"]])
    farthest = np.max((variances - fit.varcomp.estimate) / fit.varcomp.std_err)
    assert integration.max_shift_in_se == pytest.approx(farthest, abs=0.08)
    assert any("not exact" in message and 'method="simulated"' in message for message in by_laplace.messages)


def test_simulated_is_the_exact_maximum(simulated, exact):
    fit, integration = simulated.result, simulated.result.integration
    assert fit.converged
    assert integration.method == "simulated"
    ours = dict(zip(exact["names"], exact["estimate"], strict=True))
    room = 4 * integration.shift_noise + 0.005  # in standard errors
    for cross in CROSSES:
        name = f"cross[{cross}]"
        assert abs(fit.params[name] - ours[cross]) < room * fit.bse[name], name
    for sex in ("female", "male"):
        name = f"{sex}:var(Intercept)"
        assert abs(fit.params[name] - exact[f"variance_{sex}"]) < room * fit.bse[name], name
    assert fit.llf == pytest.approx(exact["loglik"], abs=4 * integration.loglik_noise)
    theirs = dict(zip(exact["names"], exact["std_err"], strict=True))
    for cross in CROSSES:
        assert fit.bse[f"cross[{cross}]"] == pytest.approx(theirs[cross], rel=0.02)
    assert fit.bse["female:var(Intercept)"] == pytest.approx(2 * ours["sd(female)"] * theirs["sd(female)"], rel=0.03)


def test_the_same_data_give_the_same_numbers(simulated, salamander):
    again = quietly(me.melogit, F, salamander, method="simulated", threads=2).result
    assert again.llf == simulated.result.llf
    assert again.params.tolist() == simulated.result.params.tolist()


def test_fits_of_two_kinds_are_not_compared(by_laplace, simulated, salamander):
    smaller = quietly(me.melogit, "mated ~ 1 + (1 | female) + (1 | male)", salamander).result
    with pytest.raises(ModelError, match=r"laplace|integration|method"):
        me.lrtest(smaller, simulated.result)
    assert me.lrtest(smaller, by_laplace.result).df == 3


def test_after_a_simulated_fit(simulated, salamander):
    fit = simulated.result
    rows = salamander.head(3)
    assert np.isfinite(fit.predict(rows, kind="mu", std_err=True)).all(axis=None)
    assert "draws" in str(fit)
    with pytest.raises(ModelError, match="Laplace"):
        fit.cov_params(kind="cluster", cluster=salamander.experiment.to_numpy())


def test_a_bootstrap_refits_by_the_method_of_the_fit(simulated):
    """Or the approximation's bias would pass for that of the estimates."""

    def method(refit):
        return float(refit.integration.method == "simulated")

    boot = quietly(simulated.result.bootstrap, 2, seed=1, workers=1, statistic=method).result
    assert boot.replicates.to_numpy().ravel().tolist() == [1.0, 1.0]


def test_more_than_four_effects_per_group_are_refused_with_the_reason():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(900, 4)), columns=["a", "b", "c", "d"])
    data["s"], data["i"] = np.arange(900) // 15, rng.integers(0, 6, 900)
    data["y"] = (rng.random(900) < 0.5).astype(int)
    formula = "y ~ a + (a + b + c + d || s) + (1 | i)"
    with pytest.raises(ModelError, match=r"5 random effects.*the limit is 4"):
        quietly(me.melogit, formula, data, method="simulated")
    plain = quietly(me.melogit, formula, data).result
    assert np.isnan(plain.integration.loglik_error)
