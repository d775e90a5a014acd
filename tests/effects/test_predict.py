"""Predictions, residuals and posteriors of new groups."""

import warnings

import numpy as np
import pandas as pd
import pytest
from cases import FORMULA, fitted
from scipy.special import expit, ndtr
from scipy.stats import kstest

import melogit as me
from melogit.errors import DataError, ModelError


def averaged(eta, sd) -> np.ndarray:
    z, w = np.polynomial.hermite_e.hermegauss(80)
    return expit(np.asarray(eta)[:, None] + np.asarray(sd)[:, None] * z) @ w / w.sum()


def test_known_groups(rich, data):
    augmented = rich.augment()
    np.testing.assert_allclose(rich.predict(), augmented["mu"], rtol=1e-12)
    np.testing.assert_allclose(rich.predict(kind="eta"), augmented["eta"], atol=1e-12)
    np.testing.assert_allclose(rich.predict(kind="xb"), augmented["eta_fixed"], atol=1e-12)
    np.testing.assert_allclose(rich.predict(kind="mu_fixed"), expit(augmented["eta_fixed"]), rtol=1e-12)
    for kind in ("mu", "mu_fixed", "marginal", "xb", "eta"):
        np.testing.assert_allclose(rich.predict(data, kind), rich.predict(kind=kind), rtol=1e-9)


def test_new_and_partly_known_groups(rich, data):
    rows = data.head(40)
    h, g = rich.fit.terms
    xb = rich.predict(rows, "xb").to_numpy()
    Z = np.column_stack([np.ones(40), rows.x])
    below = np.einsum("ni,ij,nj->n", Z, g.Sigma, Z)
    everyone_new = rich.predict(rows.assign(g=9_999, h=77))
    np.testing.assert_allclose(everyone_new, averaged(xb, np.sqrt(below + h.Sigma[0, 0])), atol=1e-10)
    np.testing.assert_allclose(everyone_new, rich.predict(rows, "marginal"), atol=1e-12)
    known = h.means[[list(h.levels).index(str(value)) for value in rows.h], 0]
    np.testing.assert_allclose(rich.predict(rows.assign(g=9_999)), averaged(xb + known, np.sqrt(below)), atol=1e-10)


def test_standard_errors_by_differences(simple, data):
    """Row by row, for every kind that needs no group; and for new groups of one that does."""
    from test_margins import moved

    rows = data.head(6).assign(g=-1)
    for kind in ("xb", "mu_fixed", "marginal", "mu"):
        found = simple.predict(rows, kind, std_err=True)
        J = []
        for j in range(len(simple.params)):
            high, low = (moved(simple, j, s).predict(rows, kind).to_numpy() for s in (1e-4, -1e-4))
            J.append((high - low) / 2e-4)
        expected = np.sqrt(np.einsum("jn,jk,kn->n", np.array(J), simple.fit.cov, np.array(J)))
        np.testing.assert_allclose(found["std_err"], expected, rtol=1e-6)
    inside = (found["ci_low"] > 0) & (found["ci_high"] < 1) & (found["ci_low"] < found["mu"])
    assert inside.all() and (found["mu"] < found["ci_high"]).all()


def test_uncertainty_of_the_groups_counts(simple, data):
    """At fixed parameters the variance of eta is the posterior variance; the parameters' uncertainty adds to it."""
    rows = data.drop_duplicates("g").sort_values("g")
    found = simple.predict(rows, "eta", std_err=True)["std_err"].to_numpy()
    posterior = simple.fit.terms[0].std_err[:, 0]
    assert (found > posterior * 0.999).all() and (found < 2 * posterior).all()


@pytest.mark.parametrize("kind", ["mu", "marginal", "eta"])
def test_draws_agree_with_standard_errors(rich, data, kind):
    rows = data.head(8)
    table = rich.predict(rows, "eta" if kind == "mu" else kind, std_err=True)
    draws = rich.predict(rows, kind, draws=1_500, seed=1)
    values = np.log(draws / (1 - draws)) if kind == "mu" else draws
    np.testing.assert_allclose(values.std(axis=1), table["std_err"], rtol=0.1)
    pd.testing.assert_frame_equal(draws, rich.predict(rows, kind, draws=1_500, seed=1))


def test_rows_that_lack_a_value(simple, data):
    rows = data.head(4).copy()
    rows.loc[rows.index[1], "x"] = np.nan
    rows.loc[rows.index[2], "g"] = np.nan
    found = simple.predict(rows)
    assert found.isna().tolist() == [False, True, True, False]
    assert simple.predict(rows, "marginal").isna().tolist() == [False, True, False, False]
    assert found.index.equals(rows.index)


def test_other_frames(simple, data):
    import polars as pl

    rows = data.head(5)
    expected = simple.predict(rows).to_numpy()
    np.testing.assert_allclose(simple.predict(pl.from_pandas(rows)), expected)
    np.testing.assert_allclose(simple.predict(rows.to_dict("list")), expected)
    labelled = rows.assign(g=rows.g.astype(float), c=rows.c.astype("category"))
    np.testing.assert_allclose(simple.predict(labelled), expected)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda d: d.drop(columns="x"), "mu", "The new data have no column 'x', which predictions need"),
        (lambda d: d.drop(columns="g"), "mu", "no column 'g'.*a new group.*kind='marginal'"),
        (lambda d: d.assign(c="best"), "mu", "'c' has the level 'best' in row 1 .*did not have.*'low', 'mid', 'top'"),
        (lambda d: d.assign(x="1.5"), "mu", "column 'x' is text in the new data, but held numbers"),
        (lambda d: d.assign(x=np.inf), "mu", "'x' has 3 infinite values"),
        (lambda d: d.head(0), "mu", "have no rows"),
        (lambda d: d.assign(x=np.nan), "mu", "No row of the new data has a value in all of x, c, g"),
    ],
)
def test_bad_new_data(simple, data, change, kind, words):
    with pytest.raises(DataError, match=words):
        simple.predict(change(data.head(3)), kind)


def test_bad_options(simple):
    with pytest.raises(ModelError, match=r"kind='prob' is not known. Use 'mu'"):
        simple.predict(kind="prob")
    with pytest.raises(ModelError, match="draws=0 must be a whole number"):
        simple.predict(draws=0)


def test_a_group_that_has_moved(rich, data):
    rows = data.head(1)
    with pytest.raises(DataError, match=r"lies in another higher-level group.*new label"):
        rich.predict(rows.assign(h=(rows.h + 1) % 12))


def test_offsets(data):
    shifted = data.assign(o=0.5)
    results = fitted("y ~ x + offset(o) + (1 | g)", shifted)
    np.testing.assert_allclose(
        results.predict(shifted.assign(o=1.5).head(3), "xb"), results.predict(shifted.head(3), "xb") + 1
    )
    given = fitted("y ~ x + (1 | g)", data, offset=np.full(len(data), 0.5))
    with pytest.raises(DataError, match=r"offset of this model was given as numbers.*Give offset="):
        given.predict(data.head(3), "xb")
    found = given.predict(data.head(3), "xb", offset=0.5)
    np.testing.assert_allclose(found, given.predict(kind="xb").head(3))
    with pytest.raises(ModelError, match="at= names 'o', which is also in the offset"):
        fitted("y ~ x + o + offset(0.5 * o) + (1 | g)", shifted.assign(o=data.z)).margins(at={"o": 1})


# ----------------------------------------------------------------------------------------------- residuals


def test_residuals_by_hand(simple, data):
    y, mu = data.y.to_numpy(), simple.predict().to_numpy()
    np.testing.assert_allclose(simple.residuals(), y - mu)
    np.testing.assert_allclose(simple.residuals("pearson"), (y - mu) / np.sqrt(mu * (1 - mu)))
    deviance = np.sign(y - mu) * np.sqrt(-2 * np.where(y == 1, np.log(mu), np.log(1 - mu)))
    np.testing.assert_allclose(simple.residuals("deviance"), deviance)
    assert simple.residuals().index.equals(data.index)


def test_anscombe_residuals_by_integration(simple, data):
    from scipy.integrate import quad

    found = simple.residuals("anscombe", fitted="marginal").to_numpy()
    y, mu = data.y.to_numpy(), simple.predict(kind="marginal").to_numpy()
    for i in (0, 1, 2, 3):
        area = quad(lambda t: (t * (1 - t)) ** (-1 / 3), mu[i], y[i])[0]
        np.testing.assert_allclose(found[i], area / (mu[i] * (1 - mu[i])) ** (1 / 6), rtol=1e-6)


def test_quantile_residuals_are_normal():
    """Marginal probabilities describe single rows of a model that is right: one row per group."""
    rng = np.random.default_rng(0)
    big = pd.DataFrame({"x": rng.normal(size=6_000), "g": np.repeat(np.arange(1_500), 4)})
    big["y"] = (rng.random(6_000) < expit(rng.normal(size=1_500)[big.g] + big.x)).astype(int)
    results = fitted("y ~ x + (1 | g)", big)
    found = results.residuals("quantile", fitted="marginal", seed=4)
    assert kstest(found[::4], ndtr).pvalue > 0.01
    pd.testing.assert_series_equal(found, results.residuals("quantile", fitted="marginal", seed=4))
    assert not found.equals(results.residuals("quantile", fitted="marginal", seed=5))


def test_residuals_of_counts():
    rng = np.random.default_rng(7)
    counts = pd.DataFrame({"g": np.repeat(np.arange(30), 3), "n": rng.integers(0, 9, size=90)})
    counts["s"] = rng.binomial(counts.n, expit(rng.normal(size=30)[counts.g]))
    results = fitted("cbind(s, n - s) ~ 1 + (1 | g)", counts)
    empty = counts.n == 0
    assert empty.any()
    for kind in ("response", "pearson", "deviance", "anscombe", "quantile"):
        found = results.residuals(kind, seed=1)
        assert found[empty].isna().all() and found[~empty].notna().all()
    with pytest.raises(ModelError, match="kind='raw' is not a kind of residual"):
        results.residuals("raw")
    with pytest.raises(ModelError, match="fitted='eta' is not a kind of probability"):
        results.residuals(fitted="eta")


# -------------------------------------------------------------------------------------------------- update


def test_a_new_group_with_the_data_of_an_old_one(rich, data):
    rows = data[data.h == 3]
    updated = rich.update(rows.assign(h=500, g=rows.g + 10_000))
    old, new = rich.random_effects(), updated.random_effects()
    np.testing.assert_allclose(new.loc[("h", "500")].dropna(), old.loc[("h", "3")].dropna(), atol=1e-3)
    for g in rows.g.unique():
        np.testing.assert_allclose(new.loc[("g", str(g + 10_000))], old.loc[("g", str(g))], atol=2e-3)
    moved = rows.assign(h=500, g=rows.g + 10_000)
    a, b = updated.predict(moved, std_err=True), rich.predict(rows, std_err=True)
    np.testing.assert_allclose(a, b, atol=2e-3)
    pd.testing.assert_series_equal(updated.params, rich.params)
    np.testing.assert_allclose(updated.predict(data), rich.predict(data), rtol=1e-9)


def test_all_outcomes_alike_and_words_as_outcomes(data):
    worded = data.assign(y=np.where(data.y == 1, "yes", "no"))
    results = fitted("y ~ x + (1 | g)", worded)
    new = pd.DataFrame({"x": [0.0, 0.1, -0.2], "g": "new", "y": "yes"})
    up = results.update(new).random_effects().loc["new", "Intercept"]
    down = results.update(new.assign(y="no")).random_effects().loc["new", "Intercept"]
    assert up > 0.2 and down < -0.2
    with pytest.raises(
        DataError, match=r"row 1: the outcome y is 'Yes', which the fitted data did not have.*'no', 'yes'"
    ):
        results.update(new.assign(y="Yes"))


def test_update_refuses(rich, data):
    rows = data.head(5)
    with pytest.raises(DataError, match=r"g '\d+' was in the fitted data already, in another group"):
        rich.update(rows.assign(h=500))
    with pytest.raises(DataError, match="no column 'y', which the groups' own outcomes need"):
        rich.update(rows.assign(h=500, g=7_000).drop(columns="y"))
    with pytest.raises(DataError, match="'y' is missing in 1 of the new rows"):
        rich.update(rows.assign(h=500, g=7_000, y=[1, 0, np.nan, 1, 0]))


# --------------------------------------------------------------------------------------------- saved models


@pytest.mark.parametrize(
    "formula",
    [
        FORMULA,
        "y ~ bs(x, df=4) + scale(z) + c:x + I(x**2) + (1 | h/g)",
        "y ~ C(h, Sum) + C(x > 0) + center(x) + cr(z, df=3) + (1 | g)",
        "y ~ C(c, Treatment('mid')) * x + (0 + x | g) + (1 | g)",
        "y ~ 1 + (1 | g)",
    ],
)
def test_a_loaded_model_predicts_the_same(formula, data, tmp_path):
    results = fitted(formula, data)
    results.save(tmp_path / "model.json")
    loaded = me.load(tmp_path / "model.json")
    rows = data.head(30).copy()
    rows.loc[rows.index[:4], "g"] = 99_999
    if "1 | h/g" in formula:
        rows = data.head(30)
    for kind in ("mu", "mu_fixed", "marginal", "xb", "eta"):
        np.testing.assert_allclose(
            loaded.predict(rows, kind, std_err=True), results.predict(rows, kind, std_err=True), rtol=1e-9
        )
    a, b = (r.margins(over="c", data=data) for r in (results, loaded))
    pd.testing.assert_frame_equal(a.table, b.table)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "model.json").read_text()


def test_a_loaded_model_says_what_it_lacks(simple, tmp_path):
    simple.save(tmp_path / "model.json")
    loaded = me.load(tmp_path / "model.json")
    with pytest.raises(ModelError, match=r"loaded from a file.*Predictions need rows: give them, as newdata"):
        loaded.predict()
    with pytest.raises(ModelError, match=r"loaded from a file.*Margins need rows"):
        loaded.margins()
    with pytest.raises(ModelError, match="Residuals need the outcomes"):
        loaded.residuals()


@pytest.mark.parametrize("section", ["recipe", "posterior"])
def test_damage_to_what_predictions_need(simple, tmp_path, section):
    import json

    from melogit.storage import _checksum

    simple.save(tmp_path / "model.json")
    content = json.loads((tmp_path / "model.json").read_text())
    content[section]["surprise"] = 1
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"damaged at section '{section}': the checksum"):
        me.load(tmp_path / "bad.json")
    key = "formula" if section == "recipe" else "levels"
    content[section][key] = "y ~ __import__('os').getcwd() + (1 | g)" if key == "formula" else [{}]
    content["sha256"][section] = _checksum(content[section])
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"damaged at section '{section}': its content is not what it should be"):
        me.load(tmp_path / "bad.json")
    del content[section]
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"section '{section}': it is missing"):
        me.load(tmp_path / "bad.json")


def test_changing_the_data_afterwards_changes_nothing(data):
    mine = data.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = me.melogit("y ~ log(z) + c + (1 | g)", mine)
    before = results.margins(dydx="z").table.margin[0]
    mine["z"] = 1.0
    assert results.margins(dydx="z").table.margin[0] == before
