"""Influence: against a likelihood by hand, against lme4's refits, against our own refits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logsumexp

import melogit as me
from melogit.design import subset
from melogit.diagnostics.context import Context
from melogit.diagnostics.deletion import delete_each, moved, one_step
from melogit.diagnostics.exact import delete_exactly
from melogit.diagnostics.influence import influence
from melogit.diagnostics.robust import bounded_fit
from melogit.diagnostics.row_influence import surprises
from melogit.errors import DataError, ModelError
from melogit.likelihood.covariance import covariance_map
from quiet import quietly


def fitted(*args, **kwargs):
    """A fit without its warnings."""
    return quietly(me.melogit, *args, **kwargs).result


HERE = Path(__file__).resolve().parent
BACTERIA = HERE.parent / "reference" / "data" / "bacteria.csv"


@pytest.fixture(scope="module")
def recorded():
    return json.loads((HERE / "influence_and_residuals.json").read_text())


@pytest.fixture(scope="module")
def bacteria():
    return pd.read_csv(BACTERIA)


@pytest.fixture(scope="module")
def fit(bacteria):
    return fitted("present ~ week + (1 | ID)", bacteria, tolerance=1e-7)


@pytest.fixture(scope="module")
def tree():
    """Three small hospitals with doctors, slopes at the lower level."""
    rng = np.random.default_rng(4)
    doctor = np.repeat(np.arange(30), 9)
    data = pd.DataFrame({"doctor": doctor, "hospital": doctor // 3, "x": rng.normal(size=270)})
    b = rng.normal(0, 0.9, 10)[data["hospital"]] + rng.normal(0, 1.1, 30)[doctor]
    data["y"] = rng.binomial(1, expit(0.3 + (0.8 + rng.normal(0, 0.6, 30)[doctor]) * data["x"] + b))
    return data, fitted("y ~ x + (1 | hospital) + (x || doctor)", data, tolerance=1e-6)


def left_out(fit):
    """Deletions of a fit, rows included."""
    found = delete_each(fit.design, fit.fit)
    assert found.rows is not None
    return found, found.rows


def loglik_by_hand(data: pd.DataFrame, user: np.ndarray, points: int = 41) -> float:
    """Log-likelihood of the tree's model: a grid over hospital x doctor constant x doctor slope."""
    z = np.linspace(-5.5, 5.5, points)
    log_w = -0.5 * z * z - 0.5 * np.log(2 * np.pi) + np.log(z[1] - z[0])
    b0, b1, sd_h, sd_0, sd_1 = user
    u, v = (a.ravel() for a in np.meshgrid(z, z))
    log_uv = (log_w[:, None] + log_w).ravel()
    total = 0.0
    for _, hospital in data.groupby("hospital"):
        upper = log_w.copy()
        for _, doctor in hospital.groupby("doctor"):
            x, y = doctor["x"].to_numpy(), doctor["y"].to_numpy()
            eta = (b0 + b1 * x)[:, None, None] + sd_h * z[:, None] + sd_0 * u + sd_1 * x[:, None, None] * v
            logp = (y[:, None, None] * eta - np.logaddexp(0, eta)).sum(axis=0)
            upper += logsumexp(logp + log_uv, axis=1)
        total += logsumexp(upper)
    return total


@pytest.mark.parametrize("what", ["row", "doctor", "hospital"])
def test_score_and_hessian_without_a_unit_are_those_of_the_rest(tree, what):
    data, fit = tree
    found, rows = left_out(fit)
    user = np.concatenate([fit.fit.params[:2], fit.fit.theta])
    order = [t.factor.name for t in fit.design.terms]
    if what == "row":
        deleted, unit, cluster = rows.deleted, 47, data[data["hospital"] == data["hospital"][47]]
        rest = cluster.drop(index=47)
    else:
        deleted, unit = found.groups[order.index(what)], 5
        hospital = data["hospital"] if what == "hospital" else data.loc[data["doctor"] == 5, "hospital"].iloc[0]
        cluster = data[data["hospital"] == (5 if what == "hospital" else hospital)]
        rest = cluster[cluster[what] != 5]

    def difference(at: np.ndarray) -> float:
        return (loglik_by_hand(rest, at) if len(rest) else 0.0) - loglik_by_hand(cluster, at)

    h = 1e-3
    steps = np.eye(5) * h
    score = np.array([(difference(user + s) - difference(user - s)) / (2 * h) for s in steps])
    names = [int(t.split(":")[0] == "doctor") for t in fit.fit.names[2:]]
    assert names == [0, 1, 1]
    # The order of the doctor's effects is that of the formula: the constant, then the slope.
    assert fit.design.terms[1].names == ("Intercept", "x")
    np.testing.assert_allclose(deleted.score[unit], score, atol=2e-3 * max(1, np.abs(score).max()))
    here = difference(user)
    curvature = (difference(user + steps[1] * 10) - 2 * here + difference(user - steps[1] * 10)) / (100 * h * h)
    assert deleted.hessian[unit][1, 1] == pytest.approx(curvature, rel=0.02, abs=0.02)
    assert deleted.loglik[unit] == pytest.approx(-here, abs=2e-3)


def test_groups_left_out_exactly_as_lme4_does(fit, recorded):
    found = fit.influence("ID", exact=True, progress=False)
    change = found.change.loc[recorded["ids"]].to_numpy()
    se = fit.bse.to_numpy()
    np.testing.assert_allclose(change / se, np.array(recorded["groups"]) / se, atol=2e-3)
    assert found.table["exact"].all() and not found.failures


def test_one_step_for_groups_is_close_to_lme4s_refits(fit, recorded):
    exact = np.array(recorded["groups"])
    step = fit.influence("ID", progress=False).change.loc[recorded["ids"]].to_numpy()
    se = fit.bse.to_numpy()
    size = np.linalg.norm(exact / se, axis=1)
    error = np.linalg.norm((step - exact) / se, axis=1)
    large = size > np.quantile(size, 0.5)
    assert np.all(error[large] < 0.15 * size[large])  # 50 groups of 2 to 5 rows: each is a fiftieth of the data
    assert np.median(error / size) < 0.08


def test_one_step_for_rows_is_within_a_few_percent_of_lme4s_refits(fit, recorded):
    rows = np.array(recorded["rows"]) - 1
    exact = np.array(recorded["deleted"])
    found = fit.influence(progress=False)
    se = fit.bse.to_numpy()
    step = found.change.to_numpy()[rows]
    for a, b in zip(step / se, exact / se, strict=True):
        assert np.linalg.norm(a - b) < 0.04 * np.linalg.norm(b)


def test_one_step_for_the_most_influential_rows_is_close_to_refits(tree):
    _, fit = tree
    context = Context(fit.fit, fit.design, ())
    base = influence(context, None)
    exact = influence(context, None, 6)
    worst = base.order[:6]
    assert exact.exact[worst].all()
    assert exact.exact.sum() == 6
    se = fit.bse.to_numpy()
    a, b = base.moved.change[worst] / se, exact.moved.change[worst] / se
    # Three variances from 270 rows: a single row moves them by a third of a standard error, and Newton's step by less.
    assert np.all(np.linalg.norm(a - b, axis=1) < 0.12 * np.linalg.norm(b, axis=1))


def test_one_step_for_rows_of_the_hospital_data_is_within_a_few_percent_of_refits(hdp):
    formula = "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)"
    fit = fitted(formula, hdp, tolerance=1e-5)
    context = Context(fit.fit, fit.design, ())
    base = influence(context, None)
    sample = [*base.order[:6], *np.argsort(-base.moved.cook_fixed)[:6], 17, 4033, 8000]
    exact = delete_exactly(context, None, [int(k) for k in sample]).change
    se, p = fit.bse.to_numpy(), fit.fit.n_fixed
    a, b = base.moved.change[sample] / se, exact / se
    fixed = np.linalg.norm((a - b)[:, :p], axis=1) / np.linalg.norm(b[:, :p], axis=1)
    variance = np.abs((a - b)[:, p] / b[:, p])
    assert np.all(fixed < 0.01)
    assert np.all(variance < 0.05)


def test_leverage_is_the_hat_matrix_of_penalised_least_squares_where_that_is_accurate():
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(12), 60)
    x = rng.normal(size=720)
    y = rng.binomial(1, expit(0.2 + 0.7 * x + rng.normal(size=12)[g]))
    fit = fitted("y ~ x + (1 | g)", pd.DataFrame({"g": g, "x": x, "y": y}))
    Z = (g[:, None] == np.arange(12)).astype(float)
    C = np.column_stack([np.ones(720), x, Z])
    penalty = np.diag(np.r_[0.0, 0.0, np.full(12, 1 / fit.params["g:var(Intercept)"])])
    mu = fit.predict(kind="mu").to_numpy()
    root = np.sqrt(mu * (1 - mu))[:, None] * C
    by_hand = np.einsum("ni,ij,nj->n", root, np.linalg.inv(root.T @ root + penalty), root)
    ours = fit.influence(progress=False).table["leverage"].to_numpy()
    np.testing.assert_allclose(ours, by_hand, rtol=0.05)
    assert ours.sum() == pytest.approx(by_hand.sum(), rel=0.02)


def test_frequency_weights_and_portions_change_nothing(tree, monkeypatch):
    data, fit = tree
    whole = left_out(fit)[1]
    monkeypatch.setattr("melogit.diagnostics.paths.PORTION", 1)
    one_by_one = left_out(fit)[1]
    np.testing.assert_allclose(whole.deleted.score, one_by_one.deleted.score, atol=1e-12)
    double = pd.concat([data.assign(n=2).iloc[:9], data.assign(n=1).iloc[9:]])
    long = pd.concat([data.iloc[:9], data])
    a = fitted("y ~ x + (1 | hospital)", double, weights="n", tolerance=1e-8)
    b = fitted("y ~ x + (1 | hospital)", long, tolerance=1e-8)
    np.testing.assert_allclose(
        a.influence("hospital", progress=False).dfbetas, b.influence("hospital", progress=False).dfbetas, atol=1e-4
    )


def test_a_model_on_the_boundary_still_has_influence(bacteria):
    rng = np.random.default_rng(0)
    data = bacteria.assign(g=rng.permutation(len(bacteria)) % 20, y=rng.permutation(np.tile([0, 1], 110)))
    fit = fitted("y ~ week + (1 | g)", data)
    found = fit.influence("g", progress=False)
    assert fit.status.startswith("converged; a variance")
    assert found.change["g:var(Intercept)"].isna().all()
    assert np.isfinite(found.table["cook_fixed"]).all()


def test_with_and_without_side_by_side(fit, bacteria):
    found = fit.influence("ID", progress=False)
    out = list(found.top(2).index)
    table = found.without(out)
    again = fitted("present ~ week + (1 | ID)", bacteria[~bacteria["ID"].isin(out)], tolerance=1e-7)
    np.testing.assert_allclose(table["estimate_without"], again.params, rtol=1e-4)
    np.testing.assert_allclose(table["std_err_without"], again.bse, rtol=1e-3)
    pd.testing.assert_frame_equal(table, found.without(top=2))
    assert "Influence of 50 groups of ID" in repr(found)


def test_what_cannot_be_asked_is_named(fit, bacteria):
    found = fit.influence("ID", progress=False)
    with pytest.raises(DataError, match=r"There is no ID 'X99' in this table; its index shows what there is"):
        found.without(["X99"])
    with pytest.raises(ModelError, match=r"Say which units to leave out: without\(\['150', '230'\]\)"):
        found.without()
    with pytest.raises(ModelError, match=r"'SCHOOL' is no grouping factor of this model. It has 'ID'"):
        fit.influence("SCHOOL")
    with pytest.raises(ModelError, match="exact=0 must be True, False, or a number"):
        fit.influence("ID", exact=0)
    with pytest.raises(ModelError, match=r"influence\(\)"):
        replace(fit, design=None).influence()


def test_a_group_that_alone_tells_a_level_apart_is_named(bacteria):
    data = bacteria.assign(rare=np.where(bacteria["ID"] == "X07", "a", "b"))
    fit = fitted("present ~ week + rare + (1 | ID)", data)
    found = fit.influence("ID", exact=True, progress=False)
    assert "without these rows 'rare[b]' can no longer be told apart" in found.failures["X07"]
    assert found.change.loc["X07"].isna().all()
    assert len(found.failures) == 1


def test_infinite_coefficients_are_refused_in_words(bacteria):
    data = bacteria.assign(rare=np.where(bacteria["ID"] == "X04", "a", "b"))
    fit = fitted("present ~ week + rare + (1 | ID)", data)
    for ask in (fit.influence, fit.robust_fit):
        with pytest.raises(ModelError, match="infinite"):
            ask()


def test_the_bounded_fit_keeps_a_contrary_group_down():
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(40), 20)
    x = rng.normal(size=800)
    slope = np.where(g == 3, -6.0, 1.0)
    y = rng.binomial(1, expit(slope * x + rng.normal(size=40)[g]))
    data = pd.DataFrame({"g": g, "x": x, "y": y})
    fit = fitted("y ~ x + (1 | g)", data)
    clean = fitted("y ~ x + (1 | g)", data[data["g"] != 3])
    found = bounded_fit(fit.design, fit.fit)
    assert found.weights[3] < 0.5
    assert abs(found.params[1] - clean.params["x"]) < 0.6 * abs(fit.params["x"] - clean.params["x"])
    table = fit.robust_fit()
    assert list(table.attrs["weights"])[0:] == [str(k) for k in np.flatnonzero(found.weights < 1)]


def test_the_bounded_fit_of_equal_groups_is_maximum_likelihood(fit):
    """With no bound (all weights 1) it solves the likelihood equations."""
    each = delete_each(fit.design, fit.fit, rows=False).groups[0]
    se = np.sqrt(np.diag(fit.fit.cov_theta))
    assert np.abs(each.score.sum(axis=0) * se).max() < 1e-2
    np.testing.assert_allclose(np.linalg.inv(each.hessian.sum(axis=0)), fit.fit.cov_theta, rtol=2e-2)


def test_surprises_of_a_right_model_are_as_many_as_expected():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(80), 25)
    x = rng.normal(size=2000)
    y = rng.binomial(1, expit(-1 + 1.5 * x + rng.normal(size=80)[g]))
    fit = fitted("y ~ x + (1 | g)", pd.DataFrame({"g": g, "x": x, "y": y}))
    odd = surprises(fit.design, left_out(fit)[1])
    assert odd.expected >= 5
    assert abs(odd.found - odd.expected) < 3 * np.sqrt(odd.expected)
    assert odd.p > 0.05


def test_a_row_s_own_probability_is_that_given_all_other_rows(fit):
    """By refitting nothing: the ratio of likelihoods with and without the row, at the same estimates."""
    own = fit.influence(progress=False).table["own_probability"].to_numpy()
    keep = np.ones(fit.design.n_rows, dtype=bool)
    keep[17] = False
    with_row = delete_each(fit.design, fit.fit, rows=False).groups[0].loglik.sum()
    without = delete_each(subset(fit.design, keep), fit.fit, rows=False).groups[0].loglik.sum()
    assert own[17] == pytest.approx(np.exp(with_row - without), rel=1e-5)


@pytest.mark.slow
def test_all_doctors_left_out_exactly(hdp):
    formula = "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)"
    fit = fitted(formula, hdp)
    exact = fit.influence("DID", exact=True, progress=False)
    step = one_step(fit.fit, delete_each(fit.design, fit.fit, rows=False).groups[0])
    quick = moved(fit.fit, covariance_map(fit.design.terms), step)
    se = fit.bse.to_numpy()
    size = np.linalg.norm(exact.change / se, axis=1)
    error = np.linalg.norm((quick.change - exact.change.to_numpy()) / se, axis=1)
    assert len(exact.table) == 407 and not exact.failures
    assert np.median(error / size) < 0.02
    assert np.max(error[size > 0.05] / size[size > 0.05]) < 0.10
