"""Prediction quality: scikit-learn's recorded numbers, and cross-validation that holds out what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import melogit as me
from melogit.errors import ModelError
from melogit.quality import confusion, metrics
from melogit.quality.metrics import calibration

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
FORMULA = "remission ~ Age + CancerStage + (1 | HID/DID)"


@pytest.fixture(scope="module")
def sklearn():
    """See reference/sklearn_quality.py."""
    return json.loads((REFERENCE / "sklearn_quality.json").read_text())


@pytest.fixture(scope="module")
def fit():
    return me.melogit(FORMULA, me.load_dataset("hospital"))


@pytest.mark.parametrize("case", ["plain", "weighted"])
def test_numbers_of_scikit_learn(sklearn, case):
    p, y = np.array(sklearn["p"]), np.array(sklearn["y"], dtype=float)
    w = np.array(sklearn["w"], dtype=float) if case == "weighted" else np.ones(len(y))
    found = metrics(w * y, w * (1 - y), p)
    theirs = dict(sklearn[case])
    (tn, fp), (fn, tp) = theirs.pop("confusion_matrix")
    for name, value in theirs.items():
        assert found[name] == pytest.approx(value, rel=1e-5 if name == "calibration_slope" else 1e-12), name
    counts = confusion(w * y, w * (1 - y), p, 0.5)
    assert (counts.true_negative, counts.false_positive, counts.false_negative, counts.true_positive) == (
        tn,
        fp,
        fn,
        tp,
    )


def test_grouped_counts_are_rows_written_out():
    p = np.array([0.2, 0.5, 0.9])
    events, others = np.array([1.0, 3, 4]), np.array([5.0, 2, 0])
    long_p = np.repeat(p, (events + others).astype(int))
    long_y = np.concatenate([[1.0] * int(e) + [0.0] * int(o) for e, o in zip(events, others, strict=True)])
    assert metrics(events, others, p) == pytest.approx(metrics(long_y, 1 - long_y, long_p))


def test_calibration_of_true_probabilities():
    rng = np.random.default_rng(3)
    line = rng.normal(size=200_000)
    y = (rng.random(len(line)) < expit(line)).astype(float)
    assert calibration(y, 1 - y, expit(line)) == pytest.approx((0, 1), abs=0.03)
    assert calibration(y, 1 - y, expit(2 * line - 0.5))[1] == pytest.approx(0.5, abs=0.03)  # too extreme by half
    assert calibration(y, 1 - y, expit(line - 0.5))[0] == pytest.approx(0.5, abs=0.03)  # too low


def test_no_event_predicted_has_no_precision():
    found = metrics(np.array([1.0, 0]), np.array([0.0, 1]), np.array([0.2, 0.1]))
    assert np.isnan(found["precision"])
    assert found["recall"] == 0


def test_in_sample(fit):
    quality = fit.quality(threshold=0.4)
    rows = quality.predictions
    np.testing.assert_allclose(rows["with_group_effects"], fit.augment()["mu"])
    eta = fit.augment()["eta_fixed"].to_numpy()
    sd = np.sqrt(fit.params.iloc[-2:].sum())
    z = np.linspace(-9, 9, 2001)
    weight = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    np.testing.assert_allclose(
        rows["without_group_effects"].iloc[:50], expit(eta[:50, None] + sd * z) @ weight, rtol=1e-9
    )
    y, p = rows["observed"], rows["with_group_effects"]
    assert quality.confusion.loc["with_group_effects", "true_positive"] == ((p >= 0.4) & (y == 1)).sum()
    assert quality.table.loc["accuracy", "with_group_effects"] == pytest.approx(((p >= 0.4) == (y == 1)).mean())
    assert "In-sample" in str(quality)
    assert "roc_auc" in quality._repr_html_()


def test_whole_groups_held_out(fit):
    quality = fit.quality(folds=4, seed=2)
    rows = quality.predictions.assign(HID=fit.augment()["HID"])
    assert (rows.groupby("HID")["fold"].nunique() == 1).all()
    assert rows.groupby("fold")["HID"].nunique().tolist() == [5, 5, 5, 5]
    assert list(quality.table.columns) == ["without_group_effects"]
    data = me.load_dataset("hospital")
    out = (rows["fold"] == 1).to_numpy()
    trained = me.melogit(FORMULA, data[~out])
    sd = np.sqrt(trained.params.iloc[-2:].sum())
    X = pd.get_dummies(data["CancerStage"])[["II", "III", "IV"]].to_numpy(float)
    beta = trained.fe_params
    eta = beta["Intercept"] + beta["Age"] * data["Age"] + X @ beta[[f"CancerStage[{k}]" for k in ("II", "III", "IV")]]
    z = np.linspace(-9, 9, 2001)
    weight = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    expected = expit(eta[out].to_numpy()[:, None] + sd * z) @ weight
    np.testing.assert_allclose(rows["without_group_effects"][out], expected, rtol=1e-6)


def test_rows_within_groups_held_out(fit):
    quality = fit.quality(folds=5, hold="rows", seed=2)
    rows = quality.predictions.assign(DID=fit.augment()["HID:DID"])
    spread = rows.groupby("DID")["fold"].value_counts().unstack(fill_value=0)
    assert (spread.max(axis=1) - spread.min(axis=1) <= 1).all()
    table = quality.table
    assert table.loc["roc_auc", "with_group_effects"] > table.loc["roc_auc", "without_group_effects"] + 0.05
    assert table.loc["log_loss", "with_group_effects"] > fit.quality().table.loc["log_loss", "with_group_effects"]
    pd.testing.assert_frame_equal(table, fit.quality(folds=5, hold="rows", seed=2).table)


def test_a_group_that_training_has_not_seen_is_averaged_over():
    """One row per group in a fold: where a group's only rows are held out, both probabilities agree."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(120), [1] * 60 + [8] * 60)
    y = (rng.random(len(g)) < expit(rng.normal(0, 1.5, 120)[g])).astype(int)
    fit = me.melogit("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}))
    rows = fit.quality(folds=3, hold="rows").predictions
    single = g < 60
    np.testing.assert_allclose(rows["with_group_effects"][single], rows["without_group_effects"][single], rtol=1e-12)
    assert (rows["with_group_effects"] != rows["without_group_effects"])[~single].mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 50}, "threshold=50 must lie between 0 and 1"),
        ({"folds": 1}, "folds=1 must be a whole number, 2 or more"),
        ({"folds": 21}, "There are 20 groups of HID, too few for 21 folds"),
        ({"hold": "hospitals"}, "hold='hospitals' is not one of 'groups'"),
    ],
)
def test_options_that_cannot_be(fit, options, message):
    with pytest.raises(ModelError, match=message):
        fit.quality(**options)


def test_a_rare_level_in_one_fold_is_named():
    data = me.load_dataset("hospital").assign(rare=lambda d: (d["HID"] == d["HID"].iloc[0]).astype(int))
    fit = me.melogit("remission ~ Age + rare + (1 | HID)", data)
    with pytest.raises(ModelError, match=r"Without fold \d of 5 .* predictors are collinear"):
        fit.quality(folds=5)
