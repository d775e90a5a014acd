"""Contrasts of factors inside interactions: averaged over the other factors, or by their levels."""

import numpy as np
import pandas as pd
import pytest

import melogit as me
from quiet import quietly


@pytest.fixture(scope="module")
def hospital():
    return me.load_dataset("hospital")


@pytest.fixture(scope="module")
def fit(hospital):
    return me.melogit("remission ~ CancerStage * FamilyHx + CancerStage:Age + Age + (1 | DID)", hospital)


def agree(found, expected):
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-9, atol=1e-12)


def test_averaged_over_the_other_factor_with_equal_weights(fit):
    """By hand: half of the interaction with the one non-base level, and the slope at the age given."""
    found = fit.contrast("CancerStage", at={"Age": 50})
    written = [
        f"CancerStage[{s}] + 0.5 * CancerStage[{s}]:FamilyHx[yes] + 50 * CancerStage[{s}]:Age"
        for s in ("II", "III", "IV")
    ]
    agree(found, fit.lincom(*written))
    assert list(found.index) == ["II vs I", "III vs I", "IV vs I"]
    agree(fit.contrast("CancerStage", at={"Age": 50}, odds_ratios=True), fit.lincom(*written, odds_ratios=True))


def test_by_the_levels_of_the_other_factor(fit):
    found = fit.pwcompare("CancerStage", at={"Age": 50}, by="FamilyHx")
    assert list(found.index[[0, 6]]) == ["II vs I | FamilyHx=no", "II vs I | FamilyHx=yes"]
    one = "CancerStage[III] - CancerStage[II] + 50*CancerStage[III]:Age - 50*CancerStage[II]:Age"
    two = f"{one} + CancerStage[III]:FamilyHx[yes] - CancerStage[II]:FamilyHx[yes]"
    agree(found.loc[["III vs II | FamilyHx=no", "III vs II | FamilyHx=yes"]], fit.lincom(one, two))
    set_to = fit.pwcompare("CancerStage", at={"Age": 50, "FamilyHx": "yes"})
    agree(set_to, found.iloc[6:])


def test_differences_of_predictions_are_the_same(fit, hospital):
    """The linear predictor of rows that differ in the stage alone, averaged over family history."""
    rows = pd.DataFrame(
        [(s, f, 41.0) for s in ("I", "III") for f in ("no", "yes")], columns=["CancerStage", "FamilyHx", "Age"]
    )
    xb = fit.predict(rows, kind="xb").to_numpy().reshape(2, 2).mean(axis=1)
    found = fit.contrast("CancerStage", at={"Age": 41}).loc["III vs I", "estimate"]
    assert found == pytest.approx(xb[1] - xb[0], abs=1e-12)


def test_adjusted_within_each_group(fit):
    plain = fit.pwcompare("CancerStage", at={"Age": 50}, by="FamilyHx")
    adjusted = fit.pwcompare("CancerStage", "bonferroni", at={"Age": 50}, by="FamilyHx")
    np.testing.assert_allclose(adjusted["p"], np.minimum(1, 6 * plain["p"]), rtol=1e-9)


def test_other_kinds_other_codings_and_three_factors(hospital):
    visit = 1 + np.arange(len(hospital)) % 3
    data = hospital.assign(long=hospital["LengthofStay"] > 5, visit=visit)
    fit = quietly(me.melogit, "remission ~ C(visit) * long * FamilyHx + (1 | DID)", data).result
    levels = sorted(data["visit"].unique())
    rows = pd.DataFrame(
        [(v, b, f) for v in levels for b in (False, True) for f in ("no", "yes")], columns=["visit", "long", "FamilyHx"]
    )
    xb = fit.predict(rows, kind="xb").to_numpy().reshape(3, 2, 2)
    means = xb.mean(axis=(1, 2))
    found = fit.contrast("C(visit)", "adjacent")
    np.testing.assert_allclose(found["estimate"], np.diff(means), atol=1e-10)
    assert found.index.equals(fit.contrast("visit", "adjacent").index)
    np.testing.assert_allclose(
        fit.contrast("C(visit)", "polynomial", by=["long", "FamilyHx"])["estimate"].to_numpy()[::2],
        (xb[2] - xb[0]).ravel() / np.sqrt(2),
        atol=1e-10,
    )
    np.testing.assert_allclose(
        fit.contrast("long", by="visit")["estimate"], (xb[:, 1] - xb[:, 0]).mean(axis=1), atol=1e-10
    )


def test_a_saved_model_compares_too(fit, tmp_path):
    fit.save(tmp_path / "model.json")
    agree(
        me.load(tmp_path / "model.json").contrast("CancerStage", at={"Age": 50}),
        fit.contrast("CancerStage", at={"Age": 50}),
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "'CancerStage' is in an interaction with 'Age', a number, so that differences .* at={'Age': "),
        (
            {"at": {"Age": 50, "IL6": 2}},
            "at= names 'IL6', on which the differences between levels of 'CancerStage' do not",
        ),
        ({"at": {"Age": 50}, "by": "DID"}, "by= names 'DID'"),
        ({"by": "Age"}, "by='Age' needs a factor, and 'Age' is a number"),
        ({"at": {"Age": 50, "FamilyHx": "yes"}, "by": "FamilyHx"}, "'FamilyHx' is in by= and in at="),
        ({"at": {"Age": "old"}}, "'Age' is a number in this model and cannot be set to 'old'"),
        ({"at": {"Age": 50, "FamilyHx": "maybe"}}, "'FamilyHx' has no level 'maybe'"),
    ],
)
def test_bad_input(fit, options, text):
    with pytest.raises(me.MelogitError, match=text):
        fit.contrast("CancerStage", **options)


def test_at_without_an_interaction_is_refused(hospital):
    fit = me.melogit("remission ~ Age + CancerStage + (1 | DID)", hospital)
    with pytest.raises(me.ModelError, match="'CancerStage' is in no interaction"):
        fit.contrast("CancerStage", at={"Age": 50})


def test_cells_that_do_not_occur_are_not_averaged_over(hospital):
    data = hospital[(hospital["CancerStage"] != "IV") | (hospital["FamilyHx"] == "no")]
    fit = quietly(me.melogit, "remission ~ CancerStage * FamilyHx + (1 | DID)", data).result
    with pytest.raises(me.ModelError, match=r"some do not occur in the data \(left out of the model: .*IV.*yes"):
        fit.contrast("CancerStage")
    found = fit.contrast("CancerStage", at={"FamilyHx": "no"})
    agree(found, fit.lincom("CancerStage[II]", "CancerStage[III]", "CancerStage[IV]"))
