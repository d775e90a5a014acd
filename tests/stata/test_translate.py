"""What a command means, as a formula: the whole grammar, with and without data, and back."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import FormulaError, ModelError
from melogit.stata.data import open_data
from quiet import quietly

SEVEN = {"method": "mvaghermite", "intpoints": 7}


@pytest.mark.parametrize(
    ("command", "formula", "options"),
    [
        ("melogit y x || did:", "Y ~ X + (1 | DID)", SEVEN),
        ("melogit y || hid: || did:", "Y ~ (1 | HID) + (1 | HID:DID)", SEVEN),
        ("melogit y x i.stage || did:", "Y ~ X + Stage + (1 | DID)", SEVEN),
        ("melogit y i.arm || did:", "Y ~ C(Arm) + (1 | DID)", SEVEN),
        ("melogit y ib2.arm || did:", "Y ~ C(Arm, Treatment(reference=2)) + (1 | DID)", SEVEN),
        ("melogit y ib2.stage || did:", "Y ~ C(Stage, Treatment(reference='II')) + (1 | DID)", SEVEN),
        ("melogit y ib(last).stage || did:", "Y ~ C(Stage, Treatment(reference='III')) + (1 | DID)", SEVEN),
        ("melogit y i.arm ib2.arm#c.x || did:",
         "Y ~ C(Arm, Treatment(reference=2)) + C(Arm, Treatment(reference=2)):X + (1 | DID)", SEVEN),
        ("melogit y || did: i.stage", "Y ~ (1 + Stage || DID)", SEVEN),
        ("melogit y || did: ibn.sex, nocons", "Y ~ (0 + Sex || DID)", SEVEN),
        ("melogit y ibn.stage i.sex i.stage#c.x, nocons || did:", "Y ~ 0 + Stage + Sex + Stage:X + (1 | DID)", SEVEN),
        ("melogit y ag lo || did:", None, "there is no column 'lo'"),
        ("melogit y ag || did: x || did: age, nocons", "Y ~ Age + (0 + X + 1 || DID) + (0 + Age || DID)", SEVEN),
        ("melogit y i.stage##c.x || did:", "Y ~ Stage + X + Stage:X + (1 | DID)", SEVEN),
        ("melogit y i.sex##i.stage || did:", "Y ~ Sex + Stage + Sex:Stage + (1 | DID)", SEVEN),
        ("melogit y c.age##c.age || did:", "Y ~ Age + I(Age ** 2) + (1 | DID)", SEVEN),
        ("melogit y x-stage || did:", None, "holds text"),
        ("melogit y x-age || did:", "Y ~ X + Age + (1 | DID)", SEVEN),
        ("melogit y || did: x", "Y ~ (0 + X + 1 || DID)", SEVEN),
        ("melogit y || did: x, nocons", "Y ~ (0 + X || DID)", SEVEN),
        ("melogit y || did: x age, cov(un)", "Y ~ (0 + X + Age + 1 | DID)", SEVEN),
        (
            "melogit y || hid: x, cov(exch) || did: x, cov(id)",
            "Y ~ (0 + X + 1 | HID) + (0 + X + 1 | HID:DID)",
            SEVEN | {"covariance": {"HID": "exchangeable", "HID:DID": "identity"}},
        ),
        ("melogit y x || _all: R.rater || did:", "Y ~ X + (1 | Rater) + (1 | DID)", {"method": "laplace"}),
        ("melogit y x || _all: R.rater || did:, intp(1)", "Y ~ X + (1 | Rater) + (1 | DID)", {"method": "laplace"}),
        ("melogit y x, nocons || did:", "Y ~ 0 + X + (1 | DID)", SEVEN),
        ("meqrlogit y x || did:", "Y ~ X + (1 | DID)", {"method": "mcaghermite", "intpoints": 7}),
        ("xtmelogit y || hid: || did:, intp(5 3)", "Y ~ (1 | HID) + (1 | HID:DID)",
         {"method": "mcaghermite", "intpoints": (5, 3)}),
        ("meqrlogit y || did:, laplace", "Y ~ (1 | DID)", {"method": "laplace"}),
        ("melogit y || did:, intmethod(gh) intpoints(9)", "Y ~ (1 | DID)", {"method": "ghermite", "intpoints": 9}),
        ("melogit y [fw=w] || did:, binomial(n) offset(x) level(90) iterate(50)", "Y ~ (1 | DID)",
         SEVEN | {"trials": "N", "weights": "W", "offset": "X", "level": 0.9, "max_iterations": 50}),
        ("melogit y || did:, binomial(5)", "Y ~ (1 | DID)", SEVEN | {"trials": 5}),
        ("melogit y || did:, vce(cluster hid)", "Y ~ (1 | DID)", None),
    ],
)  # fmt: skip
def test_to_formula(small, command, formula, options):
    if formula is None:
        with pytest.raises(FormulaError, match=options):
            me.to_formula(command, small)
        return
    found = me.to_formula(command, small)
    assert found == formula
    if options is not None:
        assert found.options == options


def test_without_data_names_stay_as_written():
    found = me.to_formula("melogit remission il6 i.cancerstage || hid: || did: il6")
    assert found == "remission ~ il6 + C(cancerstage) + (1 | hid) + (0 + il6 + 1 || hid:did)"
    with pytest.raises(FormulaError, match="which ones is known with the data only"):
        me.to_formula("melogit y x* || g:")


@pytest.mark.parametrize(
    ("command", "word", "message"),
    [
        ("melogt y x || did:", "melogt", "Did you mean 'melogit'"),
        ("melogit y x || did:, inpoints(7)", "inpoints", "Did you mean 'intpoints'"),
        ("melogit y x || did:, intpoints(7.5)", "7.5", "not a whole number"),
        ("melogit y x || did:, or or", "or", "stands here twice"),
        ("melogit y x || did: x, cov(diagonal)", "diagonal", "independent, exchangeable, identity, unstructured"),
        ("melogit y x, cov(un) || did: x", "cov", "belongs to a level"),
        ("melogit y x || did", "did", "a colon"),
        ("melogit y x || _all:", "", "R. and a variable"),
        ("melogit y x", "", "needs at least one level"),
        ("melogit y stage || did:", "stage", "Write i.stage"),
        ("melogit y x i.dose || did:", "i.dose", "there is no column 'dose'"),
        ("melogit y i.x || did:", "i", "Did you mean c.?"),
        ("melogit y i.sex#i.stage || did:", "i.sex", "sex##stage"),
        ("melogit y i.sex, nocons || did:", "i.sex", "ibn.sex"),
        ("melogit y ibn.sex || did:", "ibn", "noconstant"),
        ("melogit y ibn.sex ibn.stage, nocons || did:", "ibn.stage", "no other factor before it"),
        ("melogit y ib2.arm ib3.arm#c.x || did:", "ib3", "two base levels"),
        ("melogit y || did: i.stage, nocons", "i.stage", "ibn.stage"),
        ("melogit y ib7.arm || did:", "ib7", "Its levels: 1, 2, 3"),
        ("melogit y x [pw=w] || did:", "pw", "[fw=variable]"),
        ("melogit y x || did:, vce(jackknife)", "jackknife", "vce(oim), vce(robust)"),
        ("melogit y x || did: if x > 1", "x > 1", "before the first ||"),
        ("melogit i.y x || did:", "i.y", "stands by itself"),
        ("melogit y (x age) || did:", "(x", "one by one"),
        ("melogit y x || did:, level(101)", "101", "from 10 to 99.99"),
        ("melogit y x || did:, laplace intpoints(3)", "intpoints", "one point"),
        ("melogit y date || did:", "date", "dates"),
        ("logit y x", "logit", "Supported: melogit"),
        ("melogit y x || did:, 'or", "'or", "not closed"),
    ],
)
def test_errors_point_at_the_word_and_name_what_is_supported(small, command, word, message):
    with pytest.raises(FormulaError) as caught:
        me.stata(command, small)
    said = str(caught.value)
    assert message in said
    shown, caret = said.splitlines()[-2:]
    assert shown.strip() == command.strip()
    if word:
        assert shown[caret.index("^") :].startswith(word.split(" ")[0][0]), said
        place = caret.index("^") - 4
        assert place in [i for i in range(len(command)) if command.startswith(word, i)], said


def test_numbers_besides_0_count_as_1_and_it_is_said(small):
    data = small.assign(Y=small.Y * small.Arm)
    fit = quietly(me.stata, "melogit y x || did:", data).result
    plain = quietly(me.stata, "melogit y x || did:", small).result
    np.testing.assert_allclose(fit.params.to_numpy(), plain.params.to_numpy(), rtol=1e-6)
    assert "y has the values 1, 2, 3 besides 0; each of them counts as 1, as in Stata." in str(fit)
    assert " y |" in str(fit)


def test_an_outcome_without_a_0_is_refused_as_in_stata(small):
    with pytest.raises(FormulaError, match=r"its values are 1, 2\. .* generate y01 = Y == 2"):
        me.stata("melogit y x || did:", small.assign(Y=small.Y + 1))


def test_if_and_in_choose_rows(small):
    fit = quietly(me.stata, 'melogit y x if sex == "male" & age < 50 in 11/240 || did:', small).result
    chosen = small.iloc[10:]
    chosen = chosen[(chosen.Sex == "male") & (chosen.Age < 50)]
    assert fit.nobs == len(chosen)
    assert list(fit.design.row_labels) == list(chosen.index)
    with pytest.raises(me.DataError, match="'if' of the command excludes all 240 rows"):
        me.stata("melogit y x if age > 100 || did:", small)


def test_crossed_groups_imply_the_laplace_approximation(small):
    fit = quietly(me.stata, "melogit y x || _all: R.rater || did:", small).result
    assert {"Rater", "DID"} == {term.name for term in fit.fit.terms}
    assert fit.integration.method == "laplace"
    assert "intmethod(laplace), is implied" in " ".join(str(fit).split())
    with pytest.raises(ModelError, match="'Rater' and 'DID' cross"):
        me.stata("melogit y x || _all: R.rater || did:, intpoints(7)", small)


def test_robust_standard_errors(small):
    fit = quietly(me.stata, "melogit y x || did:, vce(robust)", small).result
    plain = quietly(me.stata, "melogit y x || did:", small).result
    np.testing.assert_allclose(fit.params.to_numpy(), plain.params.to_numpy())
    assert not np.allclose(fit.bse.to_numpy(), plain.bse.to_numpy())
    clustered = quietly(me.stata, "melogit y x || did:, vce(cluster hid)", small).result
    assert "6 clusters in HID" in str(clustered)


def test_replay_needs_no_data_and_nothing_else(small):
    fit = quietly(me.stata, "melogit y x || did:", small).result
    assert "Odds ratio" in str(me.stata("melogit, or", fit))
    with pytest.raises(FormulaError, match="would have to be fitted anew"):
        me.stata("melogit, intpoints(9)", fit)
    with pytest.raises(FormulaError, match="a new model needs data"):
        me.stata("melogit y x || did:", fit)
    with pytest.raises(FormulaError, match="shows the last fit again"):
        me.stata("melogit, or", small)


def test_results_of_a_formula_can_be_replayed(small):
    fit = quietly(me.melogit, "Y ~ X + (1 | DID)", small, intpoints=7).result
    assert "_cons" in str(me.stata("melogit, or", fit))


def bootstrap(prefix, model, data):
    return me.stata(f"bootstrap, {prefix}: melogit {model}, intpoints(9)", data)


def test_bootstrap_without_cluster_resamples_rows_and_warns_in_one_sentence(small):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", me.DataWarning)
        fit = bootstrap("rep(5) seed(2)", "y x || did:", small)
    said = [str(w.message) for w in caught if "bootstrap" in str(w.message)]
    assert len(said) == 1 and said[0].count(". ") == 0
    assert re.search(r"resamples single rows .* write cluster\(did\) idcluster", said[0])
    assert fit.bootstrapped.resample == "rows"
    plain = quietly(me.melogit, "Y ~ X + (1 | DID)", small, method="mvaghermite", intpoints=9).result
    same = quietly(plain.bootstrap, 5, resample="rows", seed=2).result
    np.testing.assert_array_equal(fit.bootstrapped.replicates, same.replicates)


def test_bootstrap_of_whole_groups_is_that_of_the_results(small):
    fit = quietly(bootstrap, "reps(5) seed(2) cluster(did) idcluster(newdid)", "y x || newdid:", small)
    assert not fit.messages
    plain = quietly(me.melogit, "Y ~ X + (1 | DID)", small, method="mvaghermite", intpoints=9).result
    boot = plain.bootstrap(5, seed=2)
    np.testing.assert_array_equal(fit.result.bootstrapped.replicates, boot.replicates)
    text = str(fit.result)
    assert "Based on 24 clusters in DID, drawn whole. Seed 2." in text
    assert f"{boot.table().loc['X', 'std_err']:.7f}" in text
    assert "did: var(_cons) |" in text and "use the standard errors of the fit itself" in text
    assert "Odds ratio" not in text and "odds ratio" in str(me.stata("melogit, or", fit.result))
    assert "[90% conf. interval]" in str(me.stata("melogit, level(90)", fit.result))


def test_the_new_variable_may_stand_at_the_top_of_several_levels(small):
    fit = quietly(bootstrap, "reps(2) seed(1) cluster(hid) idcluster(new)", "y x || new: || did:", small).result
    assert fit.bootstrapped.group == ("HID",)
    assert [term.name for term in fit.fit.terms] == ["HID", "HID:DID"]


def test_cluster_without_new_ids_says_what_stata_would_do(small):
    fit = quietly(bootstrap, "reps(2) seed(1) cluster(did)", "y x || did:", small)
    assert any("Stata would merge the two into one" in message for message in fit.messages)
    assert fit.result.bootstrapped.resample == "cluster"


@pytest.mark.parametrize(
    ("prefix", "model", "message"),
    [
        ("cluster(did)", "y x || hid: || did:", r"the top level of this model is 'HID', not 'DID'.*cluster\(HID\)"),
        ("cluster(stage)", "y x || did:", "the top level of this model is 'DID', not 'Stage'"),
        ("cluster(nowhere)", "y x || did:", "no column 'nowhere'"),
        ("idcluster(new)", "y x || did:", r"cluster\(group\) is missing beside it"),
        ("cluster(did) idcluster(hid)", "y x || hid:", "names a new variable, and there is a variable 'hid'"),
        ("cluster(did hid)", "y x || did:", r"cluster\(\) takes one variable"),
        ("reps(1) cluster(did)", "y x || did:", r"reps\(\) takes one whole number, 2 or more"),
        ("reps(x) cluster(did)", "y x || did:", r"reps\(\) takes one whole number"),
    ],
)
def test_a_bootstrap_that_cannot_be(small, prefix, model, message):
    with pytest.raises(FormulaError, match=message):
        quietly(bootstrap, prefix, model, small)


@pytest.mark.parametrize(
    ("formula", "options", "command"),
    [
        ("Y ~ X + Stage + (1 | HID/DID)", {}, "melogit y x i.stage || hid: || did:"),
        ("Y ~ X + (1 | HID) + (1 | DID)", {}, "melogit y x || hid: || did:"),
        ("Y ~ X*Stage + (1 | DID)", {}, "melogit y x i.stage c.x#i.stage || did:"),
        ("Y ~ C(Arm) + I(Age**2) + (1 | DID)", {}, "melogit y i.arm c.age#c.age || did:"),
        ("Y ~ C(Arm, Treatment(2)) + (1 | DID)", {}, "melogit y ib2.arm || did:"),
        ("Y ~ C(Stage, Treatment(reference='II')) + (1 | DID)", {}, "melogit y ib2.stage || did:"),
        ("Y ~ 0 + Stage + Sex + (1 | DID)", {}, "melogit y ibn.stage i.sex, noconstant || did:"),
        ("Y ~ X + (X || DID)", {}, "melogit y x || did: x"),
        ("Y ~ X + (X | DID)", {}, "melogit y x || did: x, covariance(unstructured)"),
        ("Y ~ X + (0 + X | DID)", {}, "melogit y x || did: x, noconstant"),
        ("Y ~ X + (1 | Rater) + (1 | DID)", {}, "melogit y x || _all: R.rater || did:"),
        ("Y ~ X + (1 | DID)", {"trials": "N", "weights": "W", "offset": "Age", "level": 0.9, "odds_ratios": True},
         "melogit y x [fweight=w] || did:, binomial(n) offset(age) level(90) or"),
        ("Y ~ X + (1 | DID)", {"method": "mcaghermite", "intpoints": 9},
         "melogit y x || did:, intmethod(mcaghermite) intpoints(9)"),
        ("Y ~ X + (X | DID)", {"covariance": "identity", "odds_ratios": True},
         "melogit y x || did: x, covariance(identity) or"),
    ],
)  # fmt: skip
def test_to_stata_and_back(small, formula, options, command):
    written = me.to_stata(formula, small, **options)
    assert written == command
    me.to_formula(written, small)  # our own commands can be read


@pytest.mark.parametrize(
    "formula", ["Y ~ log(Age) + (1 | DID)", "Y ~ bs(X, 3) + (1 | DID)", "cbind(Y, N) ~ X + (1 | DID)"]
)
def test_to_stata_refuses_what_stata_cannot_say(small, formula):
    with pytest.raises(FormulaError):
        me.to_stata(formula, small)


def test_a_translated_formula_fits_the_same_model(small):
    command = "melogit y x i.stage##c.age || hid: || did: x"
    formula = me.to_formula(command, small)
    a, b = quietly(me.stata, command, small).result, quietly(me.melogit, formula, small, **formula.options).result
    pd.testing.assert_series_equal(a.params, b.params)
    assert "stage#c.age" in str(a) and "var(x)" in str(a)


def test_only_the_columns_that_are_needed_are_read(small, tmp_path):
    small.drop(columns="Date").to_parquet(tmp_path / "small.parquet")
    fit = quietly(me.stata, 'melogit y ag i.stage if sex == "male" || did:', tmp_path / "small.parquet").result
    assert fit.fit.wording.formula == "Y ~ Age + Stage + (1 | DID)"
    with pytest.raises(FormulaError, match="Did you mean 'Rater'"):
        me.stata("melogit y ratr || did:", tmp_path / "small.parquet")
    read = open_data(tmp_path / "small.parquet", "melogit y ag || did:")
    assert set(read.frame) == {"Y", "Age", "DID"} and "Rater" in read.names


def test_any_table(small):
    import polars as pl

    plain = quietly(me.stata, "melogit y x || did:", small).result
    other = quietly(me.stata, "melogit y x || did:", pl.from_pandas(small)).result
    pd.testing.assert_series_equal(plain.params, other.params)


def test_booleans_are_numbers_and_categories(small):
    data = small.assign(Flag=small.Age > 40, Y=small.Y == 1)
    fit = quietly(me.stata, "melogit y i.flag || did:", data).result
    same = quietly(me.stata, "melogit y flag || did:", data).result
    np.testing.assert_allclose(fit.params.to_numpy(), same.params.to_numpy())
    assert " flag |" in str(fit)


def test_the_table_as_a_web_page(small):
    html = quietly(me.stata, "melogit y x i.sex#c.age || hid: || did:", small).result._repr_html_()
    assert "hid&gt;did" in html and "var(_cons)" in html and "sex#c.age" in html


def test_a_saved_fit_can_be_read(small, tmp_path):
    fit = quietly(me.stata, "melogit y x i.stage || did:", small).result
    fit.save(tmp_path / "m.json")
    pd.testing.assert_series_equal(me.load(tmp_path / "m.json").params, fit.params)


@pytest.mark.parametrize(
    "formula",
    [
        "Y ~ X * Stage + (1 | HID/DID)",
        "Y ~ 0 + Stage + Sex + Stage:X + (1 | DID)",
        "Y ~ Stage * Sex + I(Age ** 2) + Age + (1 | DID)",
        "Y ~ Stage:X + C(Arm, Treatment(3)) + (0 + X + 1 || DID)",
        "Y ~ Stage + Sex:Stage + (X | HID) + (1 | DID)",
        "Y ~ Stage + (Sex || HID)",
    ],
)
def test_there_and_back_again_is_the_same_model(small, formula):
    there = me.to_stata(formula, small)
    a = quietly(me.stata, there, small).result
    b = quietly(me.melogit, formula, small, intpoints=7).result
    assert a.llf == pytest.approx(b.llf, abs=2e-3)  # at 7 points the order of slope and constant is felt
    assert a.df_model == b.df_model and a.llf_fixed_only == pytest.approx(b.llf_fixed_only, abs=1e-8)


def test_a_command_over_several_lines(small):
    assert me.to_formula("melogit y x ///  first\n  i.stage ///\n  || did:", small) == "Y ~ X + Stage + (1 | DID)"
