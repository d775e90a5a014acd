"""Margins: published numbers, the delta method against differences and simulation, settings, contrasts, messages."""

from dataclasses import replace

import numpy as np
import pytest
from cases import fitted, moved_fit
from scipy.special import expit, ndtri
from scipy.stats import chi2, studentized_range

from melogit.errors import DataError, ModelError

M1 = "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)"


def moved(results, j: int, step: float):
    """The same results with one parameter changed: a fixed effect or a variance on its own scale."""
    return replace(results, fit=moved_fit(results.fit, j, step))


def differenced(results, call) -> np.ndarray:
    """Standard errors by central differences in every parameter."""
    columns = []
    for j in range(len(results.fit.params)):
        h = 1e-4 * max(1.0, abs(results.fit.params[j])) * 0.3
        high, low = call(moved(results, j, h)), call(moved(results, j, -h))
        columns.append((high.table.margin.to_numpy() - low.table.margin.to_numpy()) / (2 * h))
    J = np.array(columns).T
    return np.sqrt(np.einsum("ki,ij,kj->k", J, results.fit.cov, J))


# ------------------------------------------------------------------------------------------------ numbers


def test_published_margins(fit_once, hdp, seed_tables):
    printed = seed_tables["M1_margins_LengthofStay_1_to_10"]
    results = fit_once(M1, hdp, intpoints=7).result
    table = results.margins(at={"LengthofStay": range(1, 11)}, intpoints=7).table
    np.testing.assert_allclose(table.margin, [printed[str(k)]["margin"] for k in range(1, 11)], atol=5e-6)
    np.testing.assert_allclose(table.std_err, [printed[str(k)]["std_err"] for k in range(1, 11)], atol=5e-6)
    np.testing.assert_allclose(results.margins(at={"LengthofStay": 1}).table.margin[0], 0.3621494, atol=5e-6)


CALLS = {
    "predictions": {"at": {"x": [-1, 1.5]}},
    "by group": {"over": "h"},
    "derivative": {"dydx": ["x", "z"]},
    "factor": {"dydx": "c"},
    "elasticity": {"eyex": ["x", "z"], "at": {"c": ["low", "top"]}},
    "semi-elasticity": {"eydx": ["x", "c"]},
    "other semi-elasticity": {"dyex": "z"},
    "means": {"at": {"c": "levels"}, "atmeans": True},
    "derivative at means": {"dydx": ["x", "z", "c"], "atmeans": True},
    "seven points": {"at": {"x": 1}, "intpoints": 7},
    "derivative, seven points": {"dydx": ["x", "z"], "intpoints": 7},
    "fixed": {"dydx": "*", "kind": "fixed"},
}


@pytest.mark.parametrize("options", CALLS.values(), ids=CALLS)
def test_delta_method_against_differences(rich, options):
    found = rich.margins(**options)
    np.testing.assert_allclose(found.table.std_err, differenced(rich, lambda r: r.margins(**options)), rtol=1e-6)


def test_derivatives_are_derivatives(rich, data):
    h = 1e-4
    up, down = (rich.margins(data=data.assign(z=data.z + s)).table.margin[0] for s in (h, -h))
    np.testing.assert_allclose(rich.margins(dydx="z").table.margin[0], (up - down) / (2 * h), rtol=1e-7)
    up, down = (rich.margins(data=data.assign(x=data.x + s)).table.margin[0] for s in (h, -h))
    np.testing.assert_allclose(rich.margins(dydx="x").table.margin[0], (up - down) / (2 * h), rtol=1e-7)


def test_conditional_margins_against_differences(data):
    """The posterior moves with the parameters: refit nothing, recompute everything."""
    results = fitted("y ~ x + (1 | g)", data)
    found = results.margins(at={"x": 1.0}, kind="conditional")
    columns = []
    for j in range(3):
        h = 1e-4
        now = moved(results, j, h), moved(results, j, -h)
        now = [replace(r, fit=replace(r.fit, theta=np.sqrt(r.fit.params[2:]))) for r in now]
        high, low = (r.margins(at={"x": 1.0}, kind="conditional").table.margin[0] for r in now)
        columns.append((high - low) / (2 * h))
    by_parameters = np.array(columns) @ results.fit.cov @ np.array(columns)
    term, design = results.fit.terms[0], results.design
    eta = np.array([1.0, 1.0]) @ results.fit.params[:2] + term.means[design.terms[0].factor.codes, 0]
    weight = expit(eta) * expit(-eta) / len(eta)
    by_group = np.bincount(design.terms[0].factor.codes, weights=weight) * term.std_err[:, 0]
    np.testing.assert_allclose(found.table.std_err[0], np.sqrt(by_parameters + by_group @ by_group), rtol=1e-5)


def test_delta_method_against_simulation(simple, data):
    """10,000 draws of the parameters; the Monte Carlo error of a standard deviation is 0.7 %."""
    rows = data.head(150)
    rng = np.random.default_rng(3)
    draws = rng.multivariate_normal(simple.fit.params, simple.fit.cov, size=10_000)
    X = np.column_stack([np.ones(150), np.ones(150), rows.c == "mid", rows.c == "top"]).astype(float)
    z, w = np.polynomial.hermite_e.hermegauss(21)
    means = np.empty((10_000, 2))
    for k, x in enumerate((1.0, -0.5)):
        X[:, 1] = x
        eta = draws[:, :4] @ X.T
        sd = np.sqrt(np.maximum(draws[:, 4], 0))
        total = sum(wk * expit(eta + sd[:, None] * zk) for zk, wk in zip(z, w, strict=True))
        means[:, k] = total.mean(axis=1) / w.sum()
    found = simple.margins(at={"x": [1.0, -0.5]}, data=rows)
    np.testing.assert_allclose(found.table.std_err, means.std(axis=0), rtol=0.03)
    difference = found.contrast()
    np.testing.assert_allclose(difference.table.std_err, (means[:, 1] - means[:, 0]).std(), rtol=0.03)


def test_means_by_hand(simple, data):
    share = data.c.value_counts(normalize=True)
    beta, v = simple.fe_params.to_numpy(), simple.params.iloc[-1]
    eta = beta @ [1.0, 0.5, share["mid"], share["top"]]
    z, w = np.polynomial.hermite_e.hermegauss(60)
    expected = expit(eta + np.sqrt(v) * z) @ w / w.sum()
    np.testing.assert_allclose(simple.margins(at={"x": 0.5}, atmeans=True).table.margin[0], expected, atol=1e-10)


def test_over_is_the_margin_of_those_rows(simple, data):
    by_level = simple.margins(at={"x": [0, 1]}, over="c").table
    for _, row in by_level.iterrows():
        alone = simple.margins(at={"x": row["x"]}, data=data[data.c == row["c"]]).table.iloc[0]
        np.testing.assert_allclose([row.margin, row.std_err], [alone.margin, alone.std_err], rtol=1e-9)
    means = simple.margins(at={"x": [0, 1]}, over="c", atmeans=True).table
    assert list(means.c) == ["low", "mid", "top"] * 2
    one = simple.margins(at={"x": 1}, atmeans=True, data=data[data.c == "mid"]).table.iloc[0]
    np.testing.assert_allclose(means.margin[4], one.margin, rtol=1e-9)


def test_frequency_weights_stand_for_rows(data):
    counted = data.assign(n=np.where(data.x > 0, 3, 1))
    weighted = fitted("y ~ x + c + (1 | g)", counted, weights="n")
    repeated = counted.loc[counted.index.repeat(counted.n)]
    np.testing.assert_allclose(
        weighted.margins(dydx="*").table.margin, weighted.margins(dydx="*", data=repeated).table.margin, rtol=1e-9
    )
    same = weighted.margins(data=counted, weights="n").table.margin
    np.testing.assert_allclose(weighted.margins().table.margin, same, rtol=1e-9)


def test_many_rows_agree_with_few(simple, data):
    """From some thousand rows on a table replaces the integral."""
    repeated = data.loc[data.index.repeat(8)]
    few, many = simple.margins(dydx="*", data=data), simple.margins(dydx="*", data=repeated)
    np.testing.assert_allclose(few.table.margin, many.table.margin, rtol=1e-10)
    np.testing.assert_allclose(few.cov, many.cov, rtol=1e-9)


def test_settings(simple, data):
    table = simple.margins(at=[{"x": [0, 1], "c": "levels"}, {"x": "p25"}]).table
    assert len(table) == 7 and table.c.iloc[-1] == "as observed"
    np.testing.assert_allclose(table.x.iloc[-1], np.percentile(data.x, 25))
    assert "extrapolation" in str(simple.margins(at={"x": 99}))


# ----------------------------------------------------------------------------------------------- contrasts


def test_adjustments(simple):
    margins = simple.margins(at={"c": "levels"})
    plain = margins.contrast().table
    m = margins.table.margin
    np.testing.assert_allclose(plain.margin, [m[1] - m[0], m[2] - m[0], m[2] - m[1]])
    L = np.array([[-1, 1, 0], [-1, 0, 1], [0, -1, 1]])
    np.testing.assert_allclose(plain.std_err, np.sqrt(np.diag(L @ margins.cov @ L.T)), rtol=1e-9)
    z, p = np.abs(plain.z), plain.p

    def adjusted(name):
        return margins.contrast(adjust=name).table

    np.testing.assert_allclose(adjusted("bonferroni").p, np.minimum(1, 3 * p))
    np.testing.assert_allclose(adjusted("sidak").p, 1 - (1 - p) ** 3)
    np.testing.assert_allclose(adjusted("scheffe").p, chi2.sf(z**2, 2))
    np.testing.assert_allclose(adjusted("tukey").p, studentized_range.sf(z * np.sqrt(2), 3, np.inf), atol=1e-9)
    order = np.argsort(p)
    stepped = np.minimum(1, np.maximum.accumulate(p.to_numpy()[order] * [3, 2, 1]))
    np.testing.assert_allclose(adjusted("holm").p.to_numpy()[order], stepped)
    wide = adjusted("bonferroni")
    np.testing.assert_allclose((wide.ci_high - wide.margin) / wide.std_err, -ndtri(0.05 / 6))
    assert list(margins.contrast("reference").table.contrast) == ["mid - low", "top - low"]
    assert list(margins.contrast("adjacent").table.contrast) == ["mid - low", "top - mid"]
    by = simple.margins(at={"c": "levels", "x": [0, 1]}).contrast("reference", by="x").table
    assert list(by.contrast) == ["mid - low", "top - low"] * 2


def test_measures_of_effect(simple):
    margins = simple.margins(at={"x": [0.0, 2.0]})
    a, b = margins.table.margin
    table = margins.effect()
    np.testing.assert_allclose(table.estimate, [b - a, b / a, b / (1 - b) * (1 - a) / a, 1 / (b - a)], rtol=1e-12)
    reverse = margins.effect(1, 0)
    np.testing.assert_allclose(reverse.estimate["risk ratio"], 1 / table.estimate["risk ratio"])
    np.testing.assert_allclose(reverse.ci_low["odds ratio"], 1 / table.ci_high["odds ratio"])
    low, high = table.loc["risk difference", ["ci_low", "ci_high"]]
    np.testing.assert_allclose(table.loc["number needed to treat", ["ci_low", "ci_high"]], [1 / high, 1 / low])


# ------------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"at": {"xx": 1}}, DataError, "'xx' is not a predictor of this model. Did you mean 'x'?"),
        ({"at": {"c": "best"}}, DataError, "'c' has no level 'best' in the fitted data.* 'low', 'mid', 'top'"),
        ({"at": {"x": "high"}}, DataError, "cannot be set to 'high'.*'median'"),
        ({"at": {"x": [np.nan]}}, DataError, "'x' is a number in this model and cannot be set to nan"),
        ({"at": 3}, ModelError, "at=3 cannot be read"),
        ({"dydx": "q"}, DataError, "'q' is not a predictor"),
        ({"eyex": "c"}, ModelError, "needs a continuous predictor, and 'c' is a factor"),
        ({"dydx": "x", "eyex": "x"}, ModelError, "dydx= and eyex= cannot be given together"),
        ({"over": "day"}, DataError, "over='day' is not in the model, whose columns are g, x, c"),
        ({"kind": "mu"}, ModelError, "kind='mu' is not known"),
        ({"kind": "conditional", "atmeans": True}, ModelError, "atmeans=True has no group"),
        ({"contrast": "pairwise"}, ModelError, "at least two margins, and there is one"),
        ({"at": {"x": [1, 2]}, "contrast": "all"}, ModelError, "contrast='all' is not known"),
        ({"at": {"x": [1, 2]}, "contrast": "reference", "adjust": "tukey"}, ModelError, "for all pairwise contrasts"),
        ({"at": {"x": [1, 2]}, "contrast": "pairwise", "adjust": "lsd"}, ModelError, "adjust='lsd' is not one of"),
        ({"weights": [1, 2]}, DataError, "2 numbers, but there are 900 rows"),
        ({"intpoints": 0}, ModelError, "intpoints=0 must be a whole number"),
    ],
)
def test_messages(simple, options, error, words):
    with pytest.raises(error, match=words):
        simple.margins(**options)


def test_jumps_have_no_derivative(data):
    results = fitted("y ~ C(x > 0) + z + (1 | g)", data)
    with pytest.raises(ModelError, match=r"'x' stands in 'C\(x > 0\)', which has jumps"):
        results.margins(dydx="x")
    both = results.margins(at={"x": [-1, 1]}, contrast="pairwise").table
    assert abs(both.margin[0]) > 0.05


def test_numbers_as_factors(data):
    results = fitted("y ~ C(h) + (1 | g)", data[data.h < 4])
    table = results.margins(dydx="h").table
    assert list(table.contrast) == ["1 - 0", "2 - 0", "3 - 0"]
    two = results.margins(at={"h": [0, 2]}, contrast="pairwise").table
    np.testing.assert_allclose(two.margin[0], table.margin[1])
