"""Collinearity: car's numbers, Belsley's indices, which terms are named, and principal components."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from worlds import FORMULA, sound_world, with_outcome

import melogit as me
from melogit.diagnostics.collinearity import condition_indices, without
from melogit.report.checks import Verdict

RECORDED = json.loads((Path(__file__).parent / "car_vif.json").read_text())
BACTERIA = Path(__file__).parents[1] / "reference" / "data" / "bacteria.csv"


@pytest.mark.parametrize("name", ["bacteria", "hdp"])
def test_inflation_is_that_of_car(name, shared):
    data = pd.read_csv(BACTERIA if name == "bacteria" else shared("data/hdp.csv"))
    if name == "bacteria":
        data["week2"] = data["week"] ** 2
    check = me.melogit(RECORDED[name]["formula"], data).diagnose(only="collinearity")["collinearity"]
    ours = {row[0]: (row[1], row[2]) for row in check.tables[0].rows}
    assert list(ours) == list(RECORDED[name]["vif"])
    for term, (gvif, df) in RECORDED[name]["vif"].items():
        assert ours[term][1] == df
        assert ours[term][0] == pytest.approx(gvif, rel=2e-4)  # lme4's covariance is that accurate


@pytest.fixture(scope="module")
def twice():
    """The same thing measured twice, beside age."""
    rng = np.random.default_rng(4)
    data = sound_world(4)
    data["weight"] = rng.normal(70, 12, len(data))
    data["scale"] = data["weight"] * 2.2 + rng.normal(0, 3, len(data))
    return with_outcome(data, 0.03 * (data["weight"] - 70), rng)


def test_repetition_is_named_with_what_to_do(twice):
    check = me.melogit("y ~ age + weight + scale + sex + (1 | clinic)", twice).diagnose(only="collinearity")[
        "collinearity"
    ]
    assert check.verdict is Verdict.PROBLEM
    first = check.meaning.partition(" largely repeat")[0]
    assert "weight (VIF" in first and "scale (VIF" in first and "age" not in first
    assert "If weight, scale measure the same thing" in check.advice[0] or "If scale, weight" in check.advice[0]
    assert "me.principal_components(data, ['" in check.code
    assert "me.melogit(f'y ~ age + {pc.formula} + sex + (1 | clinic)', pc.data)" in check.code
    dropped = next(t for t in check.tables if t.caption.startswith("What leaving out"))
    for row in dropped.rows:
        assert row[1] < 1.1  # without either, nothing is inflated


def test_the_code_of_the_advice_runs(twice):
    fit = me.melogit("y ~ age + weight + scale + sex + (1 | clinic)", twice)
    code = fit.diagnose(only="collinearity")["collinearity"].code
    seen: dict[str, object] = {"me": me, "data": twice, "fit": fit}
    exec(code, seen)  # our own text, of a test
    better = seen["better"]
    assert isinstance(better, me.Results) and "PC1" in better.params.index
    assert better.diagnose(only="collinearity")["collinearity"].verdict is Verdict.FINE


def test_leaving_out_in_the_information_is_refitting_nearly(twice):
    full = me.melogit("y ~ age + weight + scale + sex + (1 | clinic)", twice)
    less = me.melogit("y ~ age + weight + sex + (1 | clinic)", twice)
    place = list(full.fe_params.index)
    cov = without(full.fit.cov[:5, :5], [place.index("scale")])
    ours = np.sqrt(np.diag(cov))[[place.index(n) for n in less.fe_params.index]]
    assert np.isnan(cov[place.index("scale")]).all()
    assert ours == pytest.approx(less.bse[list(less.fe_params.index)].to_numpy(), rel=0.03)


def test_a_product_is_no_fault_but_says_what_its_coefficients_mean():
    data = sound_world(2)
    data["year"] = 2000 + (data["age"] - 20) / 6
    data = data.assign(age=np.random.default_rng(1).permutation(data["age"]))
    check = me.melogit("y ~ dose * year + age + (1 | clinic)", data).diagnose(only="collinearity")["collinearity"]
    assert check.verdict is Verdict.LOOK
    assert "made of the same variable" in check.meaning and "dose:year" in check.meaning
    assert "centre the variables" in check.advice[0]


def test_far_origins_alone_are_no_fault():
    data = sound_world(2)
    data["year"] = 2000 + np.random.default_rng(1).uniform(0, 8, len(data))
    check = me.melogit("y ~ dose + year + (1 | clinic)", data).diagnose(only="collinearity")["collinearity"]
    assert check.verdict is Verdict.FINE
    assert check.measures[2].value > 30 > check.measures[1].value


def test_one_predictor_cannot_repeat_another():
    check = me.melogit("y ~ stage + (1 | clinic)", sound_world(2)).diagnose(only="collinearity")["collinearity"]
    assert check.verdict is Verdict.SKIPPED and "fewer than two predictors" in check.meaning


def test_without_a_constant_there_is_no_yardstick():
    check = me.melogit("y ~ 0 + age + stage + (1 | clinic)", sound_world(2)).diagnose(only="collinearity")
    assert check["collinearity"].verdict is Verdict.SKIPPED and "no constant" in check["collinearity"].meaning


def test_condition_indices_by_hand():
    """Two columns at unit length with cosine c: eigenvalues 1 + c and 1 - c."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(500, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    weights = rng.integers(1, 4, 500).astype(float)
    c = (X[:, 0] * weights) @ X[:, 1] / np.sqrt((X[:, 0] ** 2 @ weights) * (X[:, 1] ** 2 @ weights))
    indices, shares = condition_indices(X, weights)
    assert indices == pytest.approx([1.0, np.sqrt((1 + c) / (1 - c))])
    assert shares.sum(axis=0) == pytest.approx(1.0)
    assert shares[1] == pytest.approx((1 + c) / 2)  # 1/(1-c) over 1/(1-c) + 1/(1+c)


# ------------------------------------------------------------------------------------------ principal components


def test_components_are_uncorrelated_and_lead_back_to_the_columns(twice):
    pc = me.principal_components(twice, ["weight", "scale", "age"], components=3)
    scores = pc.data[pc.names].to_numpy()
    assert np.cov(scores.T) == pytest.approx(np.diag(pc.explained.to_numpy() * 3), abs=1e-10)
    assert pc.explained.sum() == pytest.approx(1.0) and (np.diff(pc.explained) < 0).all()
    assert (pc.loadings.to_numpy() ** 2).sum(axis=0) == pytest.approx(1.0)
    plain = me.melogit("y ~ weight + scale + age + (1 | clinic)", twice)
    turned = me.melogit(f"y ~ {pc.formula} + (1 | clinic)", pc.data)
    assert turned.llf == pytest.approx(plain.llf, abs=1e-6)
    back = pc.coefficients(turned)
    assert back.to_numpy() == pytest.approx(plain.fe_params[list(back.index)].to_numpy(), rel=1e-4)


def test_components_of_new_data_and_of_gaps(twice):
    gaps = twice.assign(weight=twice["weight"].where(twice.index % 50 != 0))
    pc = me.principal_components(gaps, ["weight", "scale"], share=0.9)
    assert pc.names == ["PC1"]  # one thing, measured twice
    assert pc.data["PC1"].isna().sum() == gaps["weight"].isna().sum()
    again = pc.transform(gaps.head(20))
    assert again["PC1"].to_numpy()[1:] == pytest.approx(pc.data["PC1"].head(20).to_numpy()[1:])
    assert "weight" not in again.columns and np.isnan(again["PC1"].iloc[0])
    assert repr(pc).startswith("<melogit.PrincipalComponents of weight, scale: PC1 ")


@pytest.mark.parametrize(
    ("columns", "options", "error", "text"),
    [
        (["weight"], {}, me.DataError, "need two or more columns"),
        (["weight", "wheight"], {}, me.DataError, "There is no column 'wheight'"),
        (["weight", "sex"], {}, me.DataError, "'sex' does not hold numbers"),
        (["weight", "one"], {}, me.DataError, "'one' does not vary"),
        (["weight", "age"], {"components": 3}, me.ModelError, "components=3 must be a whole number from 1 to 2"),
        (["weight", "age"], {"share": 0}, me.ModelError, "share=0 must lie between 0 and 1"),
        (["weight", "age"], {"prefix": "do"}, me.DataError, "have a column 'do1' already"),
    ],
)
def test_what_has_no_components(twice, columns, options, error, text):
    with pytest.raises(error, match=text):
        me.principal_components(twice.assign(one=1.0, do1=0), columns, **options)
    pc = me.principal_components(twice, ["weight", "scale"])
    with pytest.raises(me.ModelError, match="None of the components PC1"):
        pc.coefficients(me.melogit(FORMULA, twice))
