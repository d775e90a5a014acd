"""What is computed from crossed fits: predictions, margins, robust variances, saved models, and clear refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import melogit as me
import oracle
from melogit.errors import ModelError
from melogit.inference.summit import crossed_scores
from quiet import quietly

F = "y ~ x + (1 + x | s) + (1 | r)"


def ratings(seed=3, schools=4, students=10, raters=4, each=14):
    """Students and raters who cross within schools."""
    rng = np.random.default_rng(seed)
    rows = []
    for c in range(schools):
        a, b = rng.normal(size=students), rng.normal(scale=0.8, size=raters)
        slope = rng.normal(size=students)
        for s in range(students):
            for r in rng.integers(0, raters, each):
                x = rng.normal()
                p = 1 / (1 + np.exp(-(0.2 - 0.5 * x + a[s] + slope[s] * x + b[r])))
                rows.append((int(rng.random() < p), x, f"s{c}-{s}", f"r{c}-{r}", f"c{c}"))
    return pd.DataFrame(rows, columns=["y", "x", "s", "r", "c"])


@pytest.fixture(scope="module")
def data():
    return ratings()


@pytest.fixture(scope="module")
def fit(data):
    return quietly(me.melogit, F, data, method="laplace").result


@pytest.fixture(scope="module")
def dense(fit):
    """The joint Gaussian posterior of b by dense algebra: mean, covariance, where each factor's effects are."""
    design = fit.design
    Lambdas = [np.linalg.cholesky(term.Sigma) for term in fit.fit.terms]
    u, H, _ = oracle.joint_mode(design, fit.fit.params[:2], Lambdas)
    _, where = oracle.dense_effects(design, Lambdas)
    big = np.zeros((len(u), len(u)))
    for (level, _), place in where.items():
        big[place, place] = Lambdas[level]
    return big @ u, big @ np.linalg.inv(H) @ big.T, where


def loading(fit, where, size, rows):
    """z of every row over all effects, (n, effects)."""
    a = np.zeros((len(rows), size))
    for level, term in enumerate(fit.fit.terms):
        at = {label: g for g, label in enumerate(term.levels)}
        for i, (_, row) in enumerate(rows.iterrows()):
            if row[term.name] in at:
                z = [1.0, row.x] if level == 0 else [1.0]
                a[i, where[level, at[row[term.name]]]] = z
    return a


def test_modes_are_the_means_and_their_errors_those_of_dense_algebra(fit, dense):
    mean, cov, where = dense
    for level, term in enumerate(fit.fit.terms):
        for g in range(len(term.levels)):
            place = where[level, g]
            np.testing.assert_allclose(term.means[g], mean[place], atol=1e-6)
            np.testing.assert_allclose(term.std_err[g], np.sqrt(np.diag(cov[place, place])), rtol=1e-5)


def test_conditional_predictions_and_their_errors(fit, data, dense):
    """Variance of x'beta + z'b: the delta method through the moving mode, and the posterior's own spread."""
    mean, cov, where = dense
    rows = data.iloc[[0, 7, 100, 300]]
    found = fit.predict(rows, kind="eta", std_err=True)
    a = loading(fit, where, len(mean), rows)
    X = np.column_stack([np.ones(4), rows.x])
    beta = fit.fit.params[:2]
    np.testing.assert_allclose(found["eta"], X @ beta + a @ mean, atol=1e-6)

    # how far the linear predictor moves with the parameters, by differences of dense modes
    def eta(value):
        theta = value[2:]
        Lambdas = [np.array([[theta[0], 0.0], [theta[1], theta[2]]]), np.array([[theta[3]]])]
        u, _, _ = oracle.joint_mode(fit.design, value[:2], Lambdas)
        b = np.zeros_like(u)
        for (level, _), place in where.items():
            b[place] = Lambdas[level] @ u[place]
        return X @ value[:2] + a @ b

    centre = np.concatenate([beta, fit.fit.theta])
    J = np.column_stack([(eta(centre + e) - eta(centre - e)) / 2e-4 for e in np.eye(len(centre)) * 1e-4])
    expected = np.einsum("ij,jk,ik->i", J, fit.fit.cov_theta, J) + np.einsum("ij,jk,ik->i", a, cov, a)
    np.testing.assert_allclose(found["std_err"], np.sqrt(expected), rtol=1e-4)


def test_new_levels_of_either_factor_are_averaged_over(fit, dense):
    mean, _, where = dense
    rows = pd.DataFrame({"x": 0.5, "s": ["s0-1", "new", "new", "s0-1"], "r": ["r0-2", "r0-2", "new", "new"]})
    found = fit.predict(rows, kind="mu", std_err=True)
    a = loading(fit, where, len(mean), rows)
    Sigma, v = fit.fit.terms[0].Sigma, fit.fit.terms[1].Sigma[0, 0]
    z = np.array([1.0, 0.5])
    left = np.array([0.0, z @ Sigma @ z, z @ Sigma @ z + v, v])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    centre = fit.fit.params[0] + 0.5 * fit.fit.params[1] + a @ mean
    expected = (1 / (1 + np.exp(-(centre[:, None] + np.sqrt(left)[:, None] * nodes)))) @ (weights / weights.sum())
    np.testing.assert_allclose(found["mu"], expected, atol=1e-6)
    assert (found["std_err"] > 0).all()
    marginal = fit.predict(rows.iloc[[2]], kind="marginal")
    assert found["mu"].iloc[2] == pytest.approx(marginal.iloc[0], abs=1e-12)


def test_draws_of_conditional_predictions_spread_as_their_errors(fit, data):
    rows = data.iloc[[0, 50, 200]]
    told = fit.predict(rows, kind="eta", std_err=True)
    drawn = fit.predict(rows, kind="eta", draws=2000, seed=1)
    np.testing.assert_allclose(drawn.std(axis=1), told["std_err"], rtol=0.08)
    np.testing.assert_allclose(drawn.mean(axis=1), told["eta"], atol=0.12)


def test_conditional_margins_know_the_joint_posterior(fit, data, dense):
    """The margin over all rows, its variance by brute force over draws of the joint posterior at fixed parameters."""
    mean, cov, where = dense
    table = fit.margins(at={"x": [0.0]}, kind="conditional").table
    rows = data.assign(x=0.0)
    a = loading(fit, where, len(mean), rows)
    eta = fit.fit.params[0] + a @ mean
    mu = 1 / (1 + np.exp(-eta))
    assert table["margin"].iloc[0] == pytest.approx(mu.mean(), abs=1e-6)
    pull = (mu * (1 - mu)) @ a / len(rows)
    assert table["std_err"].iloc[0] ** 2 > pull @ cov @ pull
    by_slopes = table["std_err"].iloc[0] ** 2 - pull @ cov @ pull
    assert by_slopes < fit.bse["Intercept"] ** 2


def test_residuals_and_augment_use_the_modes(fit, data):
    mu = fit.predict(kind="mu")
    np.testing.assert_allclose(fit.residuals("response"), data.y - mu, atol=1e-12)
    assert np.isfinite(fit.residuals("quantile", seed=2)).all()


def test_saved_and_loaded_it_predicts_the_same(fit, tmp_path):
    fit.save(tmp_path / "model.json")
    again = me.load(tmp_path / "model.json")
    rows = pd.DataFrame({"x": [0.5, 1.0], "s": ["s0-1", "new"], "r": ["r0-2", "r0-3"]})
    for kind in ("mu", "eta", "marginal"):
        first, second = (one.predict(rows, kind=kind, std_err=True) for one in (fit, again))
        np.testing.assert_array_equal(first, second)
    first, second = (one.predict(rows, kind="mu", draws=3, seed=1) for one in (fit, again))
    np.testing.assert_array_equal(first, second)
    assert str(again) == str(fit)
    pd.testing.assert_frame_equal(again.icc(), fit.icc())
    with pytest.raises(ModelError, match="cross"):
        again.update(rows)


def test_scores_of_outer_clusters_are_the_gradients_of_their_own_likelihoods(fit, data):
    from melogit.design import subset

    codes = np.unique(data.c, return_inverse=True)[1]
    found = crossed_scores(fit.design, fit.fit, codes)
    x = np.concatenate([fit.fit.params[:2], fit.fit.theta])
    for c in range(4):
        part = subset(fit.design, codes == c)
        slope = oracle.gradient(lambda v, part=part: oracle.laplace(part, *oracle.unpack(part, v)), x)
        np.testing.assert_allclose(found[c], slope, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-4)


def test_robust_errors_take_outer_clusters_and_refuse_anything_else(data):
    def vce(**options):
        return quietly(me.melogit, "y ~ x + (1 | s) + (1 | r)", data, method="laplace", **options).result

    robust = vce(vce="cluster", cluster="c")
    assert "4 clusters in c" in str(robust)
    plain = vce()
    scores = crossed_scores(plain.design, plain.fit, np.unique(data.c, return_inverse=True)[1])
    half = scores @ plain.fit.cov_theta
    np.testing.assert_allclose(robust.bse[:2], np.sqrt(np.diag(4 / 3 * half.T @ half))[:2], rtol=1e-6)
    with pytest.raises(ModelError, match=r"'s' and 'r' cross each other.*cluster=\"school\".*parametric bootstrap"):
        vce(vce="robust")
    with pytest.raises(ModelError, match=r"The clusters of 's' cut through the groups of 'r'.*every grouping factor"):
        vce(vce="cluster", cluster="s")


def test_what_rests_on_independent_groups_is_refused_with_the_reason(fit, data):
    with pytest.raises(ModelError, match=r"update\(\) learns.*'s' and 'r' cross"):
        fit.update(data.assign(s="new"))


def test_tests_between_models(fit, data):
    students = quietly(me.melogit, "y ~ x + (1 | s)", data, method="laplace").result
    both = quietly(me.melogit, "y ~ x + (1 | s) + (1 | r)", data, method="laplace").result
    one, two, three = me.lrtest(students, both), me.lrtest(both, fit), me.lrtest(students, fit)
    assert one.stat == pytest.approx(2 * (both.llf - students.llf), abs=1e-9)
    assert one.kind == "chibar2(01)"
    assert two.kind == "0.5 chi2(1) + 0.5 chi2(2)"
    assert three.kind == "chi2(3), conservative: the groups cross"


def test_intraclass_correlations_by_what_is_shared(data):
    rest = np.pi**2 / 3
    two = quietly(me.melogit, "y ~ x + (1 | s) + (1 | r)", data, method="laplace").result
    s, r = two.varcomp.estimate
    icc = two.icc()
    assert list(icc.index) == ["s", "r", "s & r"]
    np.testing.assert_allclose(icc["icc"], np.array([s, r, s + r]) / (s + r + rest))
    three = quietly(me.melogit, "y ~ x + (1 | c/s) + (1 | task)", data.assign(task=np.arange(len(data)) % 9)).result
    c, s, t = three.varcomp.estimate
    icc = three.icc()
    assert list(icc.index) == ["c", "c:s", "task", "c & c:s & task"]
    np.testing.assert_allclose(icc["icc"], np.array([c, c + s, t, c + s + t]) / (c + s + t + rest))
