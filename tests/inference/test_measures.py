"""Median and interval odds ratios, explained variance, change of variance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import melogit as me
from melogit.errors import ModelError
from quiet import quietly


@pytest.fixture(scope="module")
def data():
    return me.load_dataset("hospital")


@pytest.fixture(scope="module")
def fit(data):
    return me.melogit("remission ~ Age + CancerStage + (1 | HID/DID)", data)


def test_median_odds_ratio_is_a_median(fit):
    """Half of all pairs of doctors differ by at least this much."""
    mor = fit.median_odds_ratio()
    assert list(mor.index) == ["HID", "HID:DID"]
    variance = fit.params["HID:DID:var(Intercept)"]
    u = np.sqrt(variance) * np.random.default_rng(0).standard_normal((400_000, 2))
    assert mor.loc["HID:DID", "median_odds_ratio"] == pytest.approx(
        np.exp(np.median(np.abs(u[:, 0] - u[:, 1]))), rel=0.01
    )
    again = fit.nlcom("exp(0.9538725524 * sqrt(HID:DID:var(Intercept)))")  # sqrt(2) * norm.ppf(0.75)
    assert mor.loc["HID:DID", "std_err"] == pytest.approx(again["std_err"].iloc[0], rel=1e-8)
    limits = fit.conf_int().loc["HID:DID:var(Intercept)"]
    expected = np.exp(np.sqrt(2 * limits) * norm.ppf(0.75))
    assert mor.loc["HID:DID", ["ci_low", "ci_high"]].tolist() == pytest.approx(expected.tolist())


def test_interval_odds_ratio_covers_what_it_says(fit):
    table = fit.interval_odds_ratio("Age", group="HID:DID", by=10, coverage=0.8)
    effect = 10 * fit.params["Age"]
    spread = np.sqrt(2 * fit.params["HID:DID:var(Intercept)"])
    ratios = np.exp(effect + spread * np.random.default_rng(0).standard_normal(400_000))
    assert table["odds_ratio"].iloc[0] == pytest.approx(np.exp(effect))
    inside = np.mean((ratios > table["ior_low"].iloc[0]) & (ratios < table["ior_high"].iloc[0]))
    assert inside == pytest.approx(0.8, abs=0.005)
    assert table["opposed_share"].iloc[0] == pytest.approx(np.mean(ratios > 1), abs=0.005)
    assert len(fit.interval_odds_ratio("Age")) == 2
    with pytest.raises(ModelError, match=r"no coefficient 'age' in this model. Did you mean 'Age'"):
        fit.interval_odds_ratio("age")
    with pytest.raises(ModelError, match="no random intercept by 'DID'; the model has HID, HID:DID"):
        fit.interval_odds_ratio("Age", group="DID")


def test_r2_by_hand(data, fit):
    eta = fit.augment()["eta_fixed"].to_numpy()
    random = fit.params[["HID:var(Intercept)", "HID:DID:var(Intercept)"]].sum()
    total = np.var(eta, ddof=1) + random + np.pi**2 / 3
    r2 = fit.r2()
    assert r2["marginal"] == pytest.approx(np.var(eta, ddof=1) / total)
    assert r2["conditional"] == pytest.approx((np.var(eta, ddof=1) + random) / total)
    share = fit.design.y.mean()
    with_delta = np.var(eta, ddof=1) + random + 1 / (share * (1 - share))
    assert r2["marginal_delta"] == pytest.approx(np.var(eta, ddof=1) / with_delta)
    assert r2["conditional_delta"] == pytest.approx((np.var(eta, ddof=1) + random) / with_delta)
    assert r2["mckelvey_zavoina"] == pytest.approx(np.var(eta, ddof=1) / (np.var(eta, ddof=1) + np.pi**2 / 3))
    partition = fit.variance_partition()
    assert list(partition.index) == ["fixed effects", "HID", "HID:DID", "residual"]
    assert partition["share"].sum() == pytest.approx(1)
    assert partition.loc["fixed effects", "share"] == pytest.approx(r2["marginal"])


def test_random_slopes_count_by_their_mean_over_the_rows(data):
    """The split does not depend on where a predictor's zero is (Johnson 2014)."""
    fit = me.melogit("remission ~ Age + (Age | DID)", data)
    moved = me.melogit("remission ~ Years + (Years | DID)", data.assign(Years=(data["Age"] - 50) / 10))
    np.testing.assert_allclose(moved.variance_partition(), fit.variance_partition(), rtol=5e-3)


def test_change_of_variance(data, fit):
    before = me.melogit("remission ~ Age + (1 | HID/DID)", data)
    table = me.variance_change(before, fit)
    old, new = (m.params["HID:DID:var(Intercept)"] for m in (before, fit))
    assert table.loc["HID:DID", "proportional_change"] == pytest.approx((old - new) / old)
    # The same sandwich by hand, from what users see.
    parts = [(m.scores() @ m.cov_params().to_numpy()).to_numpy()[:, -1] for m in (before, fit)]
    groups = len(parts[0])
    moved = parts[0] * new / old**2 - parts[1] / old
    by_hand = np.sqrt(groups / (groups - 1) * np.sum(moved**2))
    assert table.loc["HID:DID", "std_err"] == pytest.approx(by_hand, rel=1e-9)
    fewer = me.melogit("remission ~ Age + (1 | HID/DID)", data.iloc[:2000])
    with pytest.raises(ModelError, match="fitted to different rows: 2,000 and 3,083"):
        me.variance_change(fewer, fit)


def test_grouped_counts_and_weights_change_nothing(data):
    rows = me.melogit("remission ~ CancerStage + (1 | DID)", data)
    counts = data.groupby(["DID", "CancerStage"], as_index=False).agg(y=("remission", "sum"), n=("remission", "size"))
    grouped = me.melogit("y ~ CancerStage + (1 | DID)", counts, trials="n")
    copies = data.groupby(["DID", "CancerStage", "remission"], as_index=False).size()
    weighted = me.melogit("remission ~ CancerStage + (1 | DID)", copies, weights="size")
    for other in (grouped, weighted):
        np.testing.assert_allclose(other.r2(), rows.r2(), rtol=1e-6)
        np.testing.assert_allclose(other.cov_params(kind="robust"), rows.cov_params(kind="robust"), rtol=1e-6)
        np.testing.assert_allclose(other.confint("profile"), rows.confint("profile"), rtol=1e-4)
        np.testing.assert_allclose(other.quality().table, rows.quality().table, rtol=1e-3)


def test_change_of_variance_where_nothing_is_known_of_its_error(data, tmp_path):
    exam = me.load_dataset("exam").iloc[:1500]
    models = [
        quietly(me.melogit, f"correct ~ {fixed} + (1 | student) + (1 | question)", exam).result
        for fixed in ("1", "hours")
    ]
    table = me.variance_change(*models)
    assert table["std_err"].isna().all() and table["proportional_change"].notna().all()
    one, two = (me.melogit(f"remission ~ {fixed} + (1 | DID)", data) for fixed in ("1", "Age"))
    assert me.variance_change(one, two)["std_err"].notna().all()
    two.save(tmp_path / "model.json")
    assert me.variance_change(one, me.load(tmp_path / "model.json"))["std_err"].isna().all()


@pytest.mark.slow
def test_error_of_the_change_of_variance_is_that_of_resampled_groups():
    """250 samples of whole groups: 14 percent for their Monte Carlo error (3 of them) and what 300 groups leave."""
    rng = np.random.default_rng(5)
    level = rng.normal(size=300)  # a predictor of groups, which explains half of their variance
    rows = pd.DataFrame({"g": np.repeat(np.arange(300), 10)})
    rows["x"] = level[rows.g]
    eta = rows.x + rng.normal(size=300)[rows.g]
    rows["y"] = (rng.random(3000) < 1 / (1 + np.exp(-eta))).astype(int)

    def change(sample):
        one, two = (quietly(me.melogit, f"y ~ {fixed} + (1 | g)", sample, intpoints=7).result for fixed in ("1", "x"))
        return me.variance_change(one, two).iloc[0]

    found = change(rows)
    by_group = dict(tuple(rows.groupby("g")))
    values = []
    for _ in range(250):
        drawn = rng.integers(0, 300, 300)
        sample = pd.concat([by_group[g].assign(g=k) for k, g in enumerate(drawn)])
        values.append(change(sample)["proportional_change"])
    assert found["std_err"] == pytest.approx(np.std(values), rel=0.14)
