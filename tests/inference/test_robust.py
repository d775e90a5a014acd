"""Robust and cluster variances against a sandwich written by hand: brute-force likelihoods, differenced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logsumexp

import melogit as me
from melogit.errors import ModelError
from quiet import quietly

DATA = Path(__file__).resolve().parents[1] / "reference" / "data"


@pytest.fixture(scope="module")
def bacteria():
    return pd.read_csv(DATA / "bacteria.csv")


@pytest.fixture(scope="module")
def fit(bacteria):
    return me.melogit("present ~ week + (1 | ID)", bacteria, tolerance=1e-9)


def by_hand(data: pd.DataFrame, params: np.ndarray) -> np.ndarray:
    """Log-likelihood of every group, by the trapezoidal rule over the whole line."""
    z = np.linspace(-9, 9, 601)
    log_w = -0.5 * z * z - 0.5 * np.log(2 * np.pi) + np.log(z[1] - z[0])
    eta = params[0] + params[1] * data["week"].to_numpy()[:, None] + np.sqrt(params[2]) * z
    y = data["present"].to_numpy()[:, None]
    rows = pd.DataFrame(np.log(np.where(y == 1, expit(eta), expit(-eta))))
    return logsumexp(rows.groupby(data["ID"].to_numpy()).sum().to_numpy() + log_w, axis=1)


def hand_written_sandwich(data, params, clusters=None):
    steps = np.diag([1e-4, 1e-5, 1e-4])
    scores = np.array([(by_hand(data, params + h) - by_hand(data, params - h)) / (2 * h.max()) for h in steps]).T
    information = -np.array(
        [
            [
                (
                    by_hand(data, params + a + b).sum()
                    - by_hand(data, params + a - b).sum()
                    - by_hand(data, params - a + b).sum()
                    + by_hand(data, params - a - b).sum()
                )
                / (4 * a.max() * b.max())
                for b in steps * 30
            ]
            for a in steps * 30
        ]
    )
    bread = np.linalg.inv(information)
    if clusters is not None:
        scores = pd.DataFrame(scores).groupby(clusters).sum().to_numpy()
    g = len(scores)
    return g / (g - 1) * bread @ scores.T @ scores @ bread, scores


def test_robust_is_the_hand_written_sandwich(bacteria, fit):
    expected, scores = hand_written_sandwich(bacteria, fit.params.to_numpy())
    np.testing.assert_allclose(fit.scores().to_numpy(), scores, atol=2e-5)
    found = fit.cov_params(kind="robust").to_numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    assert np.abs(fit.scores().sum() * fit.bse).max() < 1e-5


def test_clusters_above_the_groups(bacteria, fit):
    groups = fit.scores().index.to_numpy()
    of_group = np.array([int(label[1:]) % 7 for label in groups])
    expected, _ = hand_written_sandwich(bacteria, fit.params.to_numpy(), of_group)
    column = bacteria["ID"].str[1:].astype(int) % 7
    found = fit.cov_params(kind="cluster", cluster=column.rename("ward")).to_numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    shuffled = column.sample(frac=1, random_state=3)  # a Series is matched by its index
    np.testing.assert_allclose(fit.cov_params(kind="cluster", cluster=shuffled), found, rtol=1e-12)


def test_clusters_that_are_the_groups_are_robust(fit):
    same = fit.cov_params(kind="cluster", cluster="ID")
    np.testing.assert_allclose(same, fit.cov_params(kind="robust"), rtol=1e-10)


@pytest.mark.parametrize(
    "options", [{}, {"intpoints": 7}, {"method": "mcaghermite", "intpoints": 7}, {"method": "laplace"}]
)
def test_scores_add_to_zero_in_every_method(options):
    data = me.load_dataset("hospital")
    fit = quietly(me.melogit, "remission ~ Age + CancerStage + (1 | HID/DID)", data, **options).result
    assert np.abs(fit.scores().sum() * fit.bse).max() < 1e-3
    assert len(fit.scores()) == data["HID"].nunique()


def test_the_fit_with_robust_errors(bacteria, fit, tmp_path):
    robust = me.melogit("present ~ week + (1 | ID)", bacteria, vce="robust", tolerance=1e-9)
    np.testing.assert_allclose(robust.cov_params(), fit.cov_params(kind="robust"), rtol=1e-10)
    np.testing.assert_allclose(robust.cov_params(kind="oim"), fit.cov_params(), rtol=1e-10)
    assert robust.bse["week"] == pytest.approx(np.sqrt(robust.cov_params().loc["week", "week"]))
    assert "Robust standard errors, adjusted for 50 clusters in ID" in str(robust)
    assert robust.wald.stat == pytest.approx((robust.params["week"] / robust.bse["week"]) ** 2)
    robust.save(tmp_path / "m.json")
    loaded = me.load(tmp_path / "m.json")
    np.testing.assert_allclose(loaded.bse, robust.bse)
    with pytest.raises(ModelError, match="saved with robust standard errors only"):
        loaded.cov_params(kind="oim")


def test_a_column_name_is_read_from_the_data():
    data = me.load_dataset("hospital")
    fit = me.melogit("remission ~ Age + (1 | DID)", data, vce="cluster", cluster="HID")
    after = me.melogit("remission ~ Age + (1 | DID)", data).cov_params(kind="cluster", cluster=data["HID"])
    np.testing.assert_allclose(fit.cov_params(), after, rtol=1e-10)


def test_rows_that_were_dropped_have_no_cluster():
    data = me.load_dataset("hospital")
    gaps = data.copy()
    gaps["Age"] = gaps["Age"].where(np.arange(len(gaps)) % 10 > 0)
    with_gaps = me.melogit("remission ~ Age + (1 | DID)", gaps)
    whole = me.melogit("remission ~ Age + (1 | DID)", gaps.dropna().reset_index(drop=True))
    a = with_gaps.cov_params(kind="cluster", cluster=gaps["HID"])
    b = whole.cov_params(kind="cluster", cluster=gaps.dropna()["HID"].to_numpy())
    np.testing.assert_allclose(a, b, rtol=1e-8)


def test_a_variance_at_zero_has_no_robust_error_and_the_rest_has():
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(60), 6), "x": rng.normal(size=360)})
    data["y"] = (np.arange(360) % 2 == 0).astype(int)  # less alike within groups than by chance
    with pytest.warns(me.BoundaryWarning):
        fit = me.melogit("y ~ x + (1 | g)", data)
    robust = fit.cov_params(kind="robust")
    assert robust.isna().iloc[-1].all()
    assert np.isfinite(robust.iloc[:2, :2]).all().all()


@pytest.mark.parametrize(
    ("kind", "cluster", "message"),
    [
        ("hc3", None, "kind='hc3' is not one of 'oim', 'robust', 'cluster'"),
        ("cluster", None, "go together"),
        ("robust", "ID", "go together"),
        ("cluster", "ward", r"'ward' is not a grouping factor of this model \('ID'\).*cluster=data\['ward'\]"),
        ("cluster", np.arange(5), "has 5 values for 220 rows used"),
        ("cluster", np.arange(220) % 9, "cut through the groups of 'ID': group X01 lies in several"),
        ("cluster", np.zeros(220), "single cluster"),
        ("cluster", pd.Series([np.nan] * 220, name="ward"), "'ward' is missing in 220 of the rows used"),
    ],
)
def test_clusters_that_cannot_be(fit, kind, cluster, message):
    with pytest.raises(ModelError, match=message):
        fit.cov_params(kind=kind, cluster=cluster)


def test_options_of_the_fit(bacteria):
    with pytest.raises(ModelError, match="go together"):
        me.melogit("present ~ week + (1 | ID)", bacteria, vce="cluster")
    with pytest.raises(me.FormulaError, match=r"cluster='weeek': there is no column 'weeek'. Did you mean 'week'"):
        me.melogit("present ~ week + (1 | ID)", bacteria, vce="cluster", cluster="weeek")
