"""Stata's published tables from Stata's own commands, verbatim, at its seven points."""

import pytest

import melogit as me
from quiet import quietly

PRINTED = 5e-4  # relative to the printed value
STOPPED_EARLY = 2e-3  # M2's hospital variance: Stata's own stopping tolerance shows there


@pytest.fixture(scope="module", params=["M1", "M2", "M3"])
def model(request, hdp, seed_tables):
    table = seed_tables[request.param]
    return request.param, quietly(me.stata, table["stata"], hdp).result, table


def test_whole_model(model):
    name, fit, table = model
    assert fit.llf == pytest.approx(table["llf"], abs=5e-4 if name == "M3" else 1e-3)
    assert fit.nobs == table["nobs"]
    assert fit.wald.df == table["wald_df"]
    assert fit.wald.stat == pytest.approx(table["wald_chi2"], abs=0.02)
    assert fit.lr_test.stat == pytest.approx(table["lr_vs_logistic"]["stat"], abs=0.02)
    for printed, (groups, smallest, mean, largest) in table["groups"].items():
        row = fit.groups.loc[next(g for g in fit.groups.index if g.split(":")[-1] == printed)]
        assert (row["groups"], row["min"], row["max"]) == (groups, smallest, largest)
        assert row["mean"] == pytest.approx(mean, abs=0.05)


def test_fixed_effects(model):
    _, fit, table = model
    for term, row in table["fixed"].items():
        assert fit.fe_params[term] == pytest.approx(row["estimate"], rel=PRINTED), term
        assert fit.bse[term] == pytest.approx(row["std_err"], rel=PRINTED), term
        assert fit.pvalues[term] == pytest.approx(row["p"], abs=6e-4), term


def test_variances(model):
    """All within 0.2 %, M3's nearly flat doctor variance included."""
    _, fit, table = model
    for printed, row in table["variance"].items():
        ours = printed.replace(">", ":")
        assert fit.params[ours] == pytest.approx(row["estimate"], rel=STOPPED_EARLY), printed
        assert fit.bse[ours] == pytest.approx(row["std_err"], rel=STOPPED_EARLY), printed


def test_groups_are_named_as_nested_and_slopes_come_first(model):
    name, fit, _ = model
    names = {
        "M1": ["DID:var(Intercept)"],
        "M2": ["HID:var(Intercept)", "HID:DID:var(Intercept)"],
        "M3": ["HID:var(Intercept)", "HID:DID:var(LengthofStay)", "HID:DID:var(Intercept)"],
    }
    assert list(fit.params.index[fit.fit.n_fixed :]) == names[name]


def test_odds_ratios_and_replay(hdp, seed_tables):
    command = seed_tables["M1"]["stata"]
    fit = quietly(me.stata, command, hdp).result
    again = me.stata("melogit, or level(90)", fit)
    assert again.fit is fit.fit
    assert again.level == 0.9
    assert "Odds ratio" in str(again) and "[90% conf. interval]" in str(again)
    assert "Coefficient" in str(fit)
    for term, row in seed_tables["M1_odds_ratios"].items():
        assert fit.odds_ratios().loc[term, "odds_ratio"] == pytest.approx(row["estimate"], rel=PRINTED)
    shown = str(quietly(me.stata, command + ", or", hdp).result)
    for printed in ("0.9447", "0.9787", "0.6610", "1.1276", "_cons estimates baseline odds"):
        assert printed in shown
