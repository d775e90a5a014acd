"""``Results`` over fits put together by hand: names, orders, scales, and what is missing."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
from invented_fit import covariance, invented_fit, invented_term, two_level_fit

from melogit.design import Block, Design, GroupingFactor, RandomTerm
from melogit.errors import ModelError
from melogit.fit.types import Status
from melogit.inference import critical_value
from melogit.results import Results

NAN, INF = float("nan"), float("inf")
Z = critical_value(0.95)


@pytest.fixture
def one() -> Results:
    return Results(invented_fit())


@pytest.fixture
def two() -> Results:
    return Results(two_level_fit())


def frozen(values, dtype=float):
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def design_for(fit, X, codes, y, trials=None, offset=None) -> Design:
    n = len(y)
    terms = tuple(
        RandomTerm(
            GroupingFactor(term.name, (term.name,), frozen(code, np.int32), term.levels),
            frozen(np.ones((n, len(term.names)))),
            term.names,
            term.blocks,
        )
        for term, code in zip(fit.terms, codes, strict=True)
    )
    return Design(
        y=frozen(y),
        trials=frozen(np.ones(n) if trials is None else trials),
        weights=frozen(np.ones(n)),
        offset=frozen(np.zeros(n) if offset is None else offset),
        X=frozen(X),
        x_names=fit.names[: fit.n_fixed],
        terms=terms,
        nested=True,
        wording=fit.wording,
        row_labels=np.array([10, 12, 13, 17][:n]),
    )


# ------------------------------------------------------------------------------------------------- estimates


def test_parameters_their_errors_and_covariance_share_one_order(two):
    names = list(two.fit.names)
    assert names[:4] == ["Intercept", "age", "stage[II]", "stage[III]"]
    assert names[4:] == [
        "hospital:var(Intercept)",
        "hospital:doctor:var(age)",
        "hospital:doctor:cov(age,Intercept)",
        "hospital:doctor:var(Intercept)",
    ]
    assert list(two.params.index) == list(two.bse.index) == list(two.conf_int().index) == names
    cov = two.cov_params()
    assert list(cov.index) == list(cov.columns) == names
    assert np.sqrt(np.diag(cov)) == pytest.approx(two.bse.to_numpy())


def test_fixed_effects_are_the_first_block(one):
    assert list(one.fe_params.index) == ["Intercept", "age", "stage[II]", "stage[III]"]
    assert one.zvalues["age"] == pytest.approx(-0.0567853 / 0.0115183)
    assert list(one.zvalues.index) == list(one.pvalues.index) == list(one.fe_params.index)
    assert one.pvalues["age"] == pytest.approx(8.2e-7, rel=0.01)


def test_changing_a_returned_table_does_not_change_the_fit(one):
    before = one.fit.params.copy()
    for table in (one.params, one.fe_params, one.cov_params(), one.conf_int(), one.random_effects()):
        table.iloc[:] = 99.0
    assert (one.fit.params == before).all() and not (one.fit.cov == 99).any()
    assert not (one.fit.terms[0].means == 99).any()


def test_intervals_are_normal_for_coefficients_and_logarithmic_for_variances(one):
    table = one.conf_int()
    assert list(table.columns) == ["ci_low", "ci_high"]
    assert table.loc["age"].tolist() == pytest.approx([-0.0567853 - Z * 0.0115183, -0.0567853 + Z * 0.0115183])
    ratio = np.exp(Z * 0.5 / 2.25)
    assert table.loc["doctor:var(Intercept)"].tolist() == pytest.approx([2.25 / ratio, 2.25 * ratio])


def test_levels_of_confidence(one):
    wide, narrow = one.conf_int(0.99), Results(one.fit, None, 0.5).conf_int()
    usual = one.conf_int()
    assert (wide["ci_low"] < usual["ci_low"]).all() and (usual["ci_low"] < narrow["ci_low"]).all()
    assert (wide["ci_high"] > usual["ci_high"]).all() and (usual["ci_high"] > narrow["ci_high"]).all()
    with pytest.raises(ModelError, match="level=95 is not a confidence level"):
        one.conf_int(95)
    with pytest.raises(ModelError, match="level=0 is not a confidence level"):
        one.odds_ratios(level=0)
    with pytest.raises(ModelError, match="level=2 is not"):
        Results(one.fit, None, 2)


def test_odds_ratios_by_the_delta_method(one):
    table = one.odds_ratios()
    assert list(table.columns) == ["odds_ratio", "std_err", "z", "p", "ci_low", "ci_high"]
    row = table.loc["age"]
    assert row["odds_ratio"] == pytest.approx(np.exp(-0.0567853))
    assert row["std_err"] == pytest.approx(np.exp(-0.0567853) * 0.0115183)
    assert row["z"] == one.zvalues["age"] and row["p"] == one.pvalues["age"]
    assert np.log(row[["ci_low", "ci_high"]].tolist()) == pytest.approx(one.conf_int().loc["age"].tolist())


def test_variance_components_by_group_and_term(two):
    table = two.varcomp
    assert table.index.names == ["group", "term"]
    assert list(table.columns) == ["estimate", "std_err", "ci_low", "ci_high"]
    assert table.loc[("hospital:doctor", "var(Intercept)"), "estimate"] == 4.0
    assert table.loc[("hospital:doctor", "cov(age,Intercept)")].tolist() == pytest.approx(
        [0.2, 0.1, 0.2 - Z * 0.1, 0.2 + Z * 0.1]
    )
    assert len(table) == 4


def test_standard_deviations_and_correlations(two):
    table = two.sdcorr
    assert list(table.loc["hospital:doctor"].index) == ["sd(age)", "corr(age,Intercept)", "sd(Intercept)"]
    assert table["estimate"].tolist() == pytest.approx([np.sqrt(0.5), 0.5, 0.2, 2.0])
    assert table.loc[("hospital", "sd(Intercept)"), "std_err"] == pytest.approx(0.2 / (2 * np.sqrt(0.5)))


# -------------------------------------------------------------------------------------------- fit as a whole


def test_information_criteria(one):
    assert one.aic == pytest.approx(2 * 3689.40796 + 2 * 5)
    assert one.bic == pytest.approx(2 * 3689.40796 + np.log(14) * 5)
    assert (one.llf, one.llf_fixed_only, one.df_model) == (-3689.40796, -4907.2771, 5)


def test_observations_and_groups_are_counts(two):
    assert two.nobs == 14 and isinstance(two.nobs, int)
    assert two.groups.loc["hospital"].tolist() == [2, 6, 7.0, 8]
    assert list(two.groups.columns) == ["groups", "min", "mean", "max"]
    assert Results(replace(two.fit, n_obs=2.5)).nobs == 2.5


def test_wald_test_is_of_everything_but_the_constant(one):
    at = slice(1, 4)
    beta = one.fit.params[at]
    assert one.wald.stat == pytest.approx(beta @ np.linalg.inv(one.fit.cov[at, at]) @ beta)
    assert one.wald.df == 3


def test_likelihood_ratio_test(one, two):
    assert one.lr_test.stat == pytest.approx(2435.738, abs=1e-3)
    assert (one.lr_test.df, one.lr_test.kind) == (1, "chibar2(01)")
    assert (two.lr_test.df, two.lr_test.kind) == (4, "chi2(4), conservative")


def test_status_and_iterations(one):
    assert one.converged is True and one.status == "converged"
    assert one.trace["stage"].tolist() == ["fixed", "full"]
    assert one.trace["loglik"].iloc[-1] == one.llf
    stopped = Results(invented_fit(status=Status.MAX_ITERATIONS))
    assert stopped.converged is False and stopped.status.startswith("stopped at the limit of iterations")
    assert "not converged: stopped at the limit" in repr(stopped)


def test_the_result_cannot_be_changed(one):
    with pytest.raises(FrozenInstanceError):
        one.level = 0.5


def test_repr_is_one_line(one):
    assert repr(one) == (
        "<melogit.Results: cured ~ age + stage + (1 | doctor); 14 observations, 4 doctor; "
        "log-likelihood -3689.408; converged>"
    )


# -------------------------------------------------------------------------------- boundary and separation


def test_undefined_standard_errors_stay_undefined_everywhere():
    fit = invented_fit(status=Status.BOUNDARY)
    fit = replace(fit, params=np.array([-1.0, 0.5, INF, -INF, 0.0]), cov=covariance([0.1, 0.2, NAN, NAN, NAN]))
    results = Results(fit)
    assert results.converged
    assert results.bse.isna().tolist() == [False, False, True, True, True]
    assert results.conf_int().isna().all(axis=1).tolist() == [False, False, True, True, True]
    assert results.odds_ratios()["odds_ratio"].tolist()[2:] == [INF, 0.0]
    assert results.wald.df == 1
    assert results.varcomp.loc[("doctor", "var(Intercept)")].isna().tolist() == [False, True, True, True]
    assert results.sdcorr.loc[("doctor", "sd(Intercept)"), "estimate"] == 0
    assert results.icc()["icc"].tolist() == [0.0]
    assert len(results.tidy()) == 5 and len(results.glance()) == 1


# ------------------------------------------------------------------------------------------- random effects


def test_random_effects_of_one_factor(one):
    table = one.random_effects()
    assert table.index.name == "doctor" and list(table.index) == ["d0", "d1", "d2", "d3"]
    assert list(table.columns) == ["Intercept", "Intercept_se"]
    assert table["Intercept"].tolist() == pytest.approx(one.fit.terms[0].means[:, 0].tolist())
    modes = one.random_effects("mode")
    assert modes["Intercept"].tolist() == pytest.approx((one.fit.terms[0].means[:, 0] / 3).tolist())


def test_random_effects_of_several_factors(two):
    table = two.random_effects(group="hospital:doctor")
    assert list(table.columns) == ["age", "age_se", "Intercept", "Intercept_se"]
    together = two.random_effects()
    assert together.index.names == ["group", "level"] and len(together) == 6
    assert together.loc["hospital", "age"].isna().all()


def test_random_effects_that_do_not_exist(two):
    with pytest.raises(ModelError, match="no grouping factor 'ward' in this model; it has 'hospital', 'hospital:doc"):
        two.random_effects(group="ward")
    with pytest.raises(ModelError, match="kind='median' is not known: write 'mean'"):
        two.random_effects("median")


def test_intraclass_correlation_labels_and_values(two):
    table = two.icc()
    total = 0.5 + 4.0 + np.pi**2 / 3  # the slope's variance does not count: slopes at 0
    assert list(table.index) == ["hospital", "doctor|hospital"]
    assert table["icc"].tolist() == pytest.approx([0.5 / total, 4.5 / total])
    assert list(table.columns) == ["icc", "std_err", "ci_low", "ci_high"]


def test_intraclass_correlation_of_three_levels():
    terms = tuple(invented_term(name) for name in ("a", "a:b", "c"))
    table = Results(invented_fit(terms, (1.0, 2.0, 3.0), (0.1, 0.2, 0.3))).icc()
    assert list(table.index) == ["a", "b|a", "c|b|a"]


def test_intraclass_correlation_with_a_shared_variance():
    term = invented_term(names=("age", "Intercept"), blocks=(Block(0, 2, "identity"),))
    assert Results(invented_fit((term,))).icc()["icc"].tolist() == pytest.approx([2.25 / (2.25 + np.pi**2 / 3)])


def test_intraclass_correlation_needs_an_intercept():
    with pytest.raises(ModelError, match="needs a random intercept"):
        Results(invented_fit((invented_term(names=("age",)),))).icc()


# ---------------------------------------------------------------------------------------------- long tables


def test_tidy_has_the_columns_of_broom(two):
    table = two.tidy()
    assert list(table.columns) == [
        *["effect", "group", "term", "estimate", "std.error", "statistic", "p.value"],
        *["conf.low", "conf.high"],
    ]
    assert table["effect"].tolist() == ["fixed"] * 4 + ["ran_pars"] * 4
    assert table["estimate"].tolist() == pytest.approx(two.params.tolist())
    assert table["std.error"].tolist() == pytest.approx(two.bse.tolist())
    assert table["conf.low"].tolist() == pytest.approx(two.conf_int()["ci_low"].tolist())
    assert "conf.low" not in two.tidy(conf_int=False)


def test_tidy_odds_ratios_and_random_effects(two):
    table = two.tidy(exponentiate=True, effects="fixed")
    assert table["estimate"].tolist() == pytest.approx(two.odds_ratios()["odds_ratio"].tolist())
    values = two.tidy(effects=["ran_vals"])
    assert len(values) == 2 + 4 * 2
    assert values["estimate"].tolist()[:2] == pytest.approx(two.fit.terms[0].means[:, 0].tolist())
    assert values["level"].tolist()[:2] == ["h0", "h1"]


@pytest.mark.parametrize("effects", ["random", ["fixed", "x"], []])
def test_tidy_of_unknown_effects(two, effects):
    with pytest.raises(ModelError, match="name any of 'fixed', 'ran_pars' and 'ran_vals'"):
        two.tidy(effects=effects)


def test_glance_is_one_row(two):
    row = two.glance()
    assert len(row) == 1
    assert row.loc[0, ["nobs", "n.hospital", "n.hospital:doctor", "df"]].tolist() == [14, 2, 4, 8]
    assert row.loc[0, "logLik"] == two.llf and row.loc[0, "converged"]


def test_augment_rows():
    fit = two_level_fit()
    X = [[1, 50, 0, 0], [1, 60, 1, 0], [1, 40, 0, 1], [1, 50, 0, 0]]
    design = design_for(fit, X, ([0, 0, 1, 1], [0, 1, 2, 3]), [1, 0, 2, 0], [1, 1, 4, 0], [0, 0.5, 0, 0])
    table = Results(fit, design).augment()
    assert list(table.index) == [10, 12, 13, 17]
    eta = np.array(X) @ fit.params[:4] + [0, 0.5, 0, 0]
    assert table["eta_fixed"].tolist() == pytest.approx(eta.tolist())
    full = eta + fit.terms[0].means[[0, 0, 1, 1], 0] + fit.terms[1].means.sum(axis=1)
    assert table["mu"].tolist() == pytest.approx((1 / (1 + np.exp(-full))).tolist())
    assert table["cured"].tolist()[:3] == [1, 0, 0.5]
    assert table["residual"].tolist()[:3] == pytest.approx((np.array([1, 0, 0.5]) - table["mu"][:3]).tolist())
    assert np.isnan(table["residual"].iloc[3])  # no trials, no residual
    assert table["hospital"].tolist() == ["h0", "h0", "h1", "h1"]
    assert table["trials"].tolist() == [1, 1, 4, 0]


def test_augment_with_an_infinite_coefficient_counts_it_only_where_its_column_is_not_zero():
    fit = invented_fit()
    fit = replace(fit, params=np.array([-1.0, 0.01, INF, -INF, 2.25]))
    X = [[1, 50, 0, 0], [1, 60, 1, 0], [1, 40, 0, 1]]
    table = Results(fit, design_for(fit, X, ([0, 1, 2],), [1, 1, 0])).augment()
    assert table["eta_fixed"].tolist() == [-0.5, INF, -INF]
    assert table["mu"].tolist()[1:] == [1.0, 0.0]


def test_augment_after_load_says_that_the_data_are_not_there(one, tmp_path):
    with pytest.raises(ModelError, match="loaded from a file, and model files do not hold the data"):
        one.augment()


def test_tables_are_pandas(one):
    assert isinstance(one.params, pd.Series) and isinstance(one.bse, pd.Series)
    assert isinstance(one.zvalues, pd.Series) and isinstance(one.pvalues, pd.Series)
