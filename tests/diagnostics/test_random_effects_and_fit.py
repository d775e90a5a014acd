"""Checks of random effects and of fit: their numbers by hand; that they speak, and keep quiet, where they should."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import kstest, spearmanr

import melogit as me
from melogit.diagnostics import mass_points as free
from melogit.diagnostics.between_within import comparable_columns, group_means
from melogit.diagnostics.calibration import roc_curve
from melogit.diagnostics.context import Context
from melogit.diagnostics.fit_statistics import bins_by, uniform_distance
from melogit.diagnostics.group_statistics import correlation, normal_scores, ranks
from melogit.diagnostics.worlds import how_many, joint_p, look_at, simulated_p
from quiet import quietly


def fitted(*args, **kwargs):
    """A fit without its warnings."""
    return quietly(me.melogit, *args, **kwargs).result


def world(seed: int, groups: int = 60, size: int = 12, effects=None) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), size)
    data = pd.DataFrame({"g": g, "t": np.tile(np.arange(size), groups), "x": rng.normal(size=len(g))})
    data["w"] = rng.normal(size=groups)[g]
    b = rng.normal(size=groups) if effects is None else effects(rng)
    data["b"] = b[g]
    data["eta"] = -0.3 + 0.8 * data["x"] + 0.5 * data["w"] + data["b"]
    return data.assign(y=rng.binomial(1, expit(data["eta"])))


@pytest.fixture(scope="module")
def good():
    return fitted("y ~ x + w + (1 | g)", world(1))


KEYS = ["row_influence", "group_influence", "random_effects", "shape", "between_within", "time", "residuals"]


@pytest.fixture(scope="module")
def checks(good):
    return good.diagnose(only=[*KEYS, "levels", "calibration"], time=world(1)["t"], seed=3, progress=False)


def test_a_good_world_is_quiet(checks):
    assert {c.key: c.verdict.value for c in checks if c.verdict.value != "fine"} == {"levels": "not checked"}
    assert "one level of groups, so there are no levels" in checks["levels"].meaning


def test_every_check_is_told_in_full_and_drawn(checks):
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    for check in checks:
        if check.key == "levels":
            continue
        assert check.meaning.endswith(".") and check.tested.endswith((".", ".)")) and check.references
        assert "nan" not in check.meaning
        assert check.pictures
        assert checks.plot(check.key)
        plt.close("all")
        for picture in check.pictures:
            assert picture.alt.endswith(".")


def test_the_same_seed_gives_the_same_answers_and_checks_do_not_depend_on_others(good, checks):
    again = good.diagnose(only="residuals", time=world(1)["t"], seed=3, progress=False)["residuals"]
    assert [m.value for m in again.measures] == [m.value for m in checks["residuals"].measures]
    assert [m.p for m in again.measures] == [m.p for m in checks["residuals"].measures]


def broken(kind: str) -> tuple[pd.DataFrame, dict]:
    rng = np.random.default_rng(8)
    if kind == "random_effects":
        return world(2, 120, 12, lambda r: np.where(r.random(120) < 0.12, 4.5, -0.6)), {}
    data = world(3, 60, 20)
    if kind == "row_influence":
        data.loc[100, ["x", "y"]] = [25.0, 0]
    elif kind == "group_influence":
        eta = data["eta"] - np.where(data["g"] == 5, 8.0, 0.0) * data["x"]
        data["y"] = rng.binomial(1, expit(eta))
    elif kind == "between_within":
        data["x"] += data["b"]
        data["y"] = rng.binomial(1, expit(data["eta"] + 0.8 * data["b"] - data["b"] * 0.0))
    elif kind == "time":
        z = rng.normal(size=(60, 20))
        for t in range(1, 20):
            z[:, t] = 0.9 * z[:, t - 1] + np.sqrt(1 - 0.81) * z[:, t]
        data["y"] = rng.binomial(1, expit(data["eta"] + 2 * z.ravel()))
    elif kind == "residuals":
        data["n"] = 10
        data["y"] = rng.binomial(10, expit(data["eta"] + rng.normal(0, 0.9, len(data))))
        return data, {"trials": "n"}
    elif kind == "calibration":
        data["y"] = rng.binomial(1, 0.6 * expit(data["eta"] + 3 * data["x"] + 0.5))
    elif kind == "shape":
        w = np.repeat(rng.random(150) < 0.5, 10).astype(float)
        data = world(4, 150, 10).assign(w=w)
        b = np.repeat(rng.normal(size=150), 10) * np.where(w > 0, 4.0, 0.3)
        data["y"] = rng.binomial(1, expit(-1.5 + 0.8 * data["x"] + w + b))
    return data, {}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("row_influence", "Row 100 alone moves the coefficient of x"),
        pytest.param("group_influence", "the first is group 5.", marks=pytest.mark.slow),
        ("random_effects", "do not look like draws from one normal distribution"),
        ("between_within", "related to the predictors"),
        pytest.param("time", "more alike than the model says", marks=pytest.mark.slow),
        pytest.param("residuals", "vary more than the model says", marks=pytest.mark.slow),
        pytest.param("calibration", "do not agree with what was observed", marks=pytest.mark.slow),
        ("shape", "w depends on the effects of 'g' being normal"),
    ],
)
def test_a_broken_world_is_named(key, words):
    data, options = broken(key)
    fit = fitted("y ~ x + w + (1 | g)", data, **options)
    time = {"time": data["t"]} if key == "time" else {}
    check = fit.diagnose(only=key, progress=False, **time)[key]
    assert check.verdict.value in ("look", "problem"), check
    assert words in check.meaning
    assert check.advice


@pytest.mark.slow
def test_ties_between_levels_are_named():
    rng = np.random.default_rng(6)
    number = rng.integers(2, 9, 40)
    parent = np.repeat(np.arange(40), number)
    lower = np.repeat(np.arange(len(parent)), 8)
    upper = parent[lower]
    a = (number - 5) / 2 + 0.4 * rng.normal(size=40)
    data = pd.DataFrame({"h": upper, "g": lower, "x": rng.normal(size=len(lower))})
    data["y"] = rng.binomial(1, expit(0.8 * data["x"] + a[upper] + rng.normal(size=len(parent))[lower]))
    check = fitted("y ~ x + (1 | h/g)", data).diagnose(only="levels", progress=False)["levels"]
    assert check.verdict.value == "look"
    assert "the effect of h and the number of h:g in it are correlated" in check.meaning


def test_weights_are_refused_where_worlds_cannot_be_drawn(good):
    data = world(1).assign(n=2)
    check = fitted("y ~ x + (1 | g)", data, weights="n").diagnose(only="random_effects")["random_effects"]
    assert check.verdict.value == "not checked"
    assert "rows with frequency weights would be drawn alike. Write the rows out" in check.meaning


# ------------------------------------------------------------------------------------------- numbers by hand


def test_standardised_effects_have_variance_one_if_the_model_is_right():
    """E over groups of posterior mean squared + posterior variance is the prior variance."""
    fit = fitted("y ~ x + w + (1 | g)", world(5, 400, 15))
    effects = look_at(fit.design, fit.fit).effects[0]
    assert np.var(effects.z[:, 0]) == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(effects.mean[:, 0], fit.random_effects()["Intercept"], rtol=1e-6)


def test_ranks_and_correlations_are_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 40).astype(float), rng.normal(size=40)
    assert correlation(ranks(x), ranks(y)) == pytest.approx(spearmanr(x, y)[0])
    assert np.isnan(correlation(np.ones(4), y[:4]))
    assert normal_scores(3)[1] == pytest.approx(0.0)


def test_simulated_p_values_are_uniform_under_the_model():
    rng = np.random.default_rng(2)
    p = [joint_p(z[0], z[1:]) for z in rng.normal(size=(400, 20, 3)) ** 2]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert set(np.round(np.array(p) * 20, 6)) <= set(range(1, 21))
    assert simulated_p(2.0, np.array([1.0, 3.0, np.nan])) == pytest.approx(2 / 3)


def test_the_uniform_distance_is_the_limit_of_randomised_residuals():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 0.9, 400)
    y = rng.random(400) < p**2
    low, high = np.where(y, 1 - p, 0.0), np.where(y, 1.0, 1 - p)
    many = np.concatenate([low + rng.random(400) * (high - low) for _ in range(2000)])
    assert uniform_distance(low, high) == pytest.approx(kstest(many, "uniform")[0], abs=2e-3)


def test_bins_hold_equal_shares_and_keep_ties_together():
    place = bins_by(np.arange(100.0), np.ones(100))
    np.testing.assert_array_equal(np.bincount(place), np.full(10, 10))
    tied = bins_by(np.repeat([1.0, 2.0], [70, 30]), np.ones(100))
    assert len(np.unique(tied)) == 2


def test_between_and_within_are_those_of_a_model_with_the_means():
    data = world(7)
    fit = fitted("y ~ x + w + (1 | g)", data)
    assert comparable_columns(fit.design, 0) == [1]  # x; w is constant in groups, the constant has no mean
    np.testing.assert_allclose(group_means(fit.design, 0, fit.design.X[:, 1]), data.groupby("g")["x"].transform("mean"))
    check = fit.diagnose(only="between_within", progress=False)["between_within"]
    again = fitted("y ~ x + w + m + (1 | g)", data.assign(m=data.groupby("g")["x"].transform("mean")))
    _, within, se_within, between, _, p = check.tables[0].rows[0]
    assert within == pytest.approx(again.params["x"], rel=1e-4)
    assert se_within == pytest.approx(again.bse["x"], rel=1e-3)
    assert between == pytest.approx(again.params["x"] + again.params["m"], rel=1e-3)
    assert p == pytest.approx(again.pvalues["m"], rel=1e-2)
    assert check.measures[0].value == pytest.approx(2 * (again.llf - fit.llf), abs=1e-3)


def test_roc_curve_encloses_the_area():
    rng = np.random.default_rng(3)
    p, y = rng.random(300), rng.integers(0, 2, 300).astype(float)
    x, t = roc_curve(y, 1 - y, p)
    area = np.sum(np.diff(x) * (t[1:] + t[:-1]) / 2)
    assert area == pytest.approx(np.mean(p[y > 0][:, None] > p[y == 0]), abs=1e-12)


def test_worlds_depend_on_size_alone(good):
    context = Context(good.fit, good.design, ())
    assert how_many(context) == 99


# --------------------------------------------------------------------------------------------------- mass points


def loglik_of_points(data: pd.DataFrame, beta: np.ndarray, points: np.ndarray, masses: np.ndarray) -> float:
    eta = (data[["x", "w"]].to_numpy() @ beta)[:, None] + points
    logp = np.asarray(data["y"], dtype=float)[:, None] * eta - np.logaddexp(0, eta)
    by_group = logp.reshape(len(np.unique(data["g"])), -1, len(points)).sum(axis=1)  # groups of one size, in order
    return float(np.sum(np.asarray(logsumexp(by_group, b=masses, axis=1))))


def test_mass_points_maximise_a_likelihood_written_by_hand():
    data = world(2, 40, 10, lambda r: np.where(r.random(40) < 0.3, 2.0, -1.5))
    fit = fitted("y ~ x + w + (1 | g)", data)
    found = free.fit_mass_points(fit.design, fit.fit.params[:3], 1.5)
    assert found.converged
    assert found.masses.sum() == pytest.approx(1.0)
    here = loglik_of_points(data, found.beta, found.points, found.masses)
    assert found.loglik == pytest.approx(here, abs=1e-8)
    assert here > fit.llf - 1e-3  # no distribution fits better, so no normal one does
    rng = np.random.default_rng(0)
    inner = (found.points > found.limits[0]) & (found.points < found.limits[1])
    for _ in range(40):  # nothing nearby is better
        beta = found.beta + rng.normal(0, 0.03, 2)
        points = found.points + inner * rng.normal(0, 0.03, len(found.points))
        masses = found.masses * np.exp(rng.normal(0, 0.03, len(found.masses)))
        assert loglik_of_points(data, beta, points, masses / masses.sum()) < here + 1e-4
    # Lindsay's condition: no further point helps.
    for point in np.linspace(*found.limits, 50):
        more = loglik_of_points(
            data, found.beta, np.append(found.points, point), np.append(0.999 * found.masses, 0.001)
        )
        assert more < here + 0.01


def test_mass_points_find_two_kinds_of_groups():
    data = world(6, 150, 40, lambda r: np.where(r.random(150) < 0.3, 2.0, -1.5))
    fit = fitted("y ~ x + w + (1 | g)", data)
    found = free.fit_mass_points(fit.design, fit.fit.params[:3], 1.5)
    high = found.points > 0
    assert found.masses[high].sum() == pytest.approx(0.3, abs=0.1)
    assert np.average(found.points[high], weights=found.masses[high]) == pytest.approx(1.7, abs=0.3)
    assert np.average(found.points[~high], weights=found.masses[~high]) == pytest.approx(-1.8, abs=0.3)
    np.testing.assert_allclose(found.beta, [0.8, 0.5], atol=4 * np.nanmax(found.std_err))


def test_derivatives_of_mass_points_are_differences():
    data = world(9, 15, 8)
    design = fitted("y ~ x + w + (1 | g)", data).design
    order = np.argsort(data["g"], kind="stable")
    rows = free._Rows(
        data[["x", "w"]].to_numpy()[order],
        np.zeros(120),
        design.y,
        design.trials,
        design.weights,
        np.arange(0, 120, 8),
        (-6.0, 6.0),
    )
    x = np.array([0.7, 0.3, -1.2, 0.4, 1.9, 0.5, -0.4])
    at = free._objective(rows, x, 2)
    step = 1e-5 * np.eye(7)
    ahead = [free._objective(rows, x + h, 2) for h in step]
    back = [free._objective(rows, x - h, 2) for h in step]
    slope = [(a.value - b.value) / 2e-5 for a, b in zip(ahead, back, strict=True)]
    curve = [(a.gradient - b.gradient) / 2e-5 for a, b in zip(ahead, back, strict=True)]
    np.testing.assert_allclose(at.gradient, slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(at.hessian, curve, rtol=1e-5, atol=1e-5)
