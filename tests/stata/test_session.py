"""Do-files: data in memory, commands around the fit, and what they print."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import DataError, FormulaError, MelogitError, ModelError
from melogit.report import number
from melogit.stata.script import read_script
from melogit.stata.session import begin, run_script, step
from quiet import quietly

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "hospital.do"

TEXTBOOK = """
insheet using "{path}", comma clear
foreach i of varlist familyhx smokinghx sex cancerstage school {{
  encode `i', gen(`i'2)
  drop `i'
  rename `i'2 `i'
}}
summarize il6 crp
tab1 remission cancerstage lengthofstay
correlate il6 crp lengthofstay experience
melogit remission il6 crp i.cancerstage lengthofstay experience || did:   /* one
  level */
estimates store m1
melogit, or
margins, at(lengthofstay=(1(1)10)) vsquish
melogit remission age lengthofstay i.familyhx il6 crp i.cancerstage ///  next line
   experience || hid: || did:
estimates store m2
meqrlogit remission age lengthofstay i.familyhx il6 crp i.cancerstage experience || hid: || did: lengthofstay
estat sd
"""


def run(lines, data=None):
    """The state after some lines, and what was printed."""
    said = []
    state = quietly(run_script, lines, begin(data), said.append).result
    return state, "\n".join(said)


def one(state, text):
    return quietly(step, state, text).result


@pytest.fixture(scope="module")
def fitted(small):
    return one(begin(small), "melogit y x i.stage || did:")[0]


def test_the_textbook_session(shared, seed_tables):
    state, said = run(TEXTBOOK.format(path=shared("data/hdp.csv")))
    m1, m2, m3 = state.stored["m1"], state.stored["m2"], state.fit
    for name, fit in (("M1", m1), ("M2", m2), ("M3", m3)):
        table = seed_tables[name]
        assert fit.llf == pytest.approx(table["llf"], abs=1e-3), name
        for term, row in table["fixed"].items():
            ours = term.lower().replace("[ii]", "[II]").replace("[iii]", "[III]").replace("[iv]", "[IV]")
            ours = ours.replace("intercept", "Intercept")
            assert fit.fe_params[ours] == pytest.approx(row["estimate"], rel=5e-4), (name, term)
        for term, row in table["variance"].items():
            ours = term.replace("HID>DID", "hid:did").replace("HID", "hid").replace("DID", "did")
            ours = ours.replace("LengthofStay", "lengthofstay")
            assert fit.params[ours] == pytest.approx(row["estimate"], rel=2e-3), (name, term)
    margins = state_after(said, "Predictive margins")
    for days, row in seed_tables["M1_margins_LengthofStay_1_to_10"].items():
        cells = (
            next(line for line in margins if line.strip().startswith(f"lengthofstay={days} |")).split("|")[1].split()
        )
        assert float(cells[0]) == pytest.approx(row["margin"], abs=5e-6)
        assert float(cells[1]) == pytest.approx(row["std_err"], abs=5e-6)
    describe = seed_tables["describe"]
    for stage, count in describe["tabulate"]["CancerStage"].items():
        assert f"{stage} |{count:>11,}" in said
    assert "0.0024" in said and "(27 vars, 8,525 obs)" in said
    assert "hid>did      |" in said and "did: Independent" in said and "Grid node 0:" in said


def state_after(said, heading):
    lines = said.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith(heading)) :]


def test_the_example_runs():
    state, said = run(EXAMPLE.read_text(encoding="utf-8"))
    assert list(state.stored) == ["m1", "m2"]
    assert said.count("Mixed-effects logistic regression") == 4
    assert {"re1", "re2"} <= set(state.data.names)


def test_the_layout_of_a_table(fitted):
    """Word for word; numbers up to a relative 1e-4, because the last digits belong to the processor."""
    number = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]\d+)?")
    golden = (Path(__file__).parent / "golden_table.txt").read_text(encoding="utf-8")
    shown = f"{fitted.fit}\n"
    assert number.sub("#", shown) == number.sub("#", golden)
    for ours, expected in zip(number.findall(shown), number.findall(golden), strict=True):
        ours, expected = (float(text.replace(",", "")) for text in (ours, expected))
        assert ours == pytest.approx(expected, rel=1e-4, abs=5e-5)


def test_data_commands(small, tmp_path):
    small.to_csv(tmp_path / "small.csv", index=False)
    state, said = run(
        f"""
        insheet using "{tmp_path / "small.csv"}"
        gen byte old = age > 40 if sex == "male"
        replace old = 0 if missing(old)
        generate ln_age = ln(age)
        encode stage, gen(stage2)
        rename stage2 phase
        drop n w
        keep if area_ok | 1 == 1
        """.replace("area_ok | ", "")
    )
    names = ["y", "x", "age", "stage", "sex", "arm", "did", "hid", "rater", "date", "old", "ln_age", "phase"]
    assert list(state.data.names) == names
    expected = ((small.Age > 40) & (small.Sex == "male")).astype(int)
    assert state.data.column("old").tolist() == expected.tolist()
    assert "missing values generated" in said and "real changes made" in said
    np.testing.assert_allclose(state.data.column("ln_age"), np.log(small.Age))
    assert state.data.codes["phase"] == {1: "I", 2: "II", 3: "III"}
    state, said = one(state, "tabulate phase sex if old == 1")
    assert "Total" in said and f"{expected.sum():>11,}" in said
    state, _ = one(state, "drop if phase == 1")
    assert len(state.data.frame) == (small.Stage != "I").sum()
    assert one(state, "drop in 1/5")[1] == "(5 observations deleted)"
    state, _ = one(state, 'replace sex = "m" if sex == "male"')
    assert set(state.data.column("sex")) == {"m", "female"}
    assert "Std. dev." in one(state, "su x age")[1]
    assert "(obs=" in one(state, "cor x age")[1]


def test_text_that_stands_for_numbers_in_stata_is_told_from_text(small):
    state = begin(small)
    state, _ = one(state, "encode stage, gen(s)")
    with pytest.raises(FormulaError, match=r"column 's' holds text .*Write i\.s"):
        one(state, "melogit y s || did:")
    state, _ = one(state, "melogit y ib2.s || did:")
    assert state.fit.fit.wording.base_levels == (("C(s, Treatment(reference='II'))", "II"),)
    assert " s |" in str(state.fit)
    assert one(state, "test 1.s = 3.s")[1].count("chi2") == 2


def test_labels_of_dta_files_keep_their_numbers(small, tmp_path):
    data = small[["Y", "X", "DID"]].assign(G=small.Arm.map({1: 0, 2: 1, 3: 5}))
    labels = {"G": {0: "none", 1: "low", 5: "high"}}
    data.to_stata(tmp_path / "small.dta", write_index=False, value_labels=labels)
    state, _ = one(begin(), f"use {tmp_path / 'small.dta'}")
    assert state.data.codes == {"G": {0: "none", 1: "low", 5: "high"}}
    fit = quietly(me.stata, "melogit y ib5.g || did:", str(tmp_path / "small.dta")).result
    assert fit.fit.wording.base_levels[0][1] == "high"
    assert (
        quietly(me.stata, "melogit y x if g == 5 || did:", str(tmp_path / "small.dta")).result.nobs
        == (data.G == 5).sum()
    )


def test_tests_and_combinations(fitted):
    fit = fitted.fit
    assert f"{fit.test('Stage').stat:.2f}" in one(fitted, "testparm i.stage")[1]
    assert f"{fit.test('Stage[II] = Stage[III]').stat:.2f}" in one(fitted, "test 2.stage = 3.stage")[1]
    assert f"{fit.test('X', 'Stage[II]').stat:.2f}" in one(fitted, "test x 2.stage")[1]
    assert f"{fit.test('X = 0.5', 'Stage[II] = 0').stat:.2f}" in one(fitted, "test (x = 0.5) (_b[2.stage] = 0)")[1]
    said = one(fitted, "lincom _cons + 2*x - 3.stage, level(90)")[1]
    row = fit.lincom("Intercept + 2*X - Stage[III]", level=0.9).iloc[0]
    assert number(row["estimate"]) in said and "[90% conf. interval]" in said
    for text, message in [
        ("test 1.stage", "I is the base level"),
        ("test stage", "one for each level"),
        ("test 9.stage", "no level 9"),
        ("test z", "no column 'z'"),
        ("lincom x * ", None),
        ("lincom exp(x)", None),
    ]:
        with pytest.raises(MelogitError, match=message):
            one(fitted, text)


def test_estat_and_stored_fits(fitted):
    assert "did |" in one(fitted, "estat icc")[1]
    assert "24" in one(fitted, "estat group")[1]
    assert number(fitted.fit.aic) in one(fitted, "estat ic")[1]
    assert "sd(_cons)" in one(fitted, "estat sd")[1]
    state, _ = one(fitted, "estimates store small")
    state, _ = one(state, "quietly melogit y x i.stage || hid: || did:")
    assert "LR chibar2(01)" in one(state, "lrtest small .")[1]
    state, said = one(state, "estimates restore small")
    assert state.fit is fitted.fit and "active" in said
    with pytest.raises(FormulaError, match=r"no fit is stored as 'm9' \(stored: small\)"):
        one(state, "lrtest m9")
    with pytest.raises(ModelError, match="none has been fitted yet"):
        one(begin(fitted.data), "estat icc")
    with pytest.raises(FormulaError, match="supported: estat icc, estat group, estat ic, estat sd"):
        one(fitted, "estat recovariance")


def test_predictions(fitted, small):
    state, _ = one(fitted, "predict re, reffects reses(se)")
    fit = fitted.fit
    effects = fit.random_effects()
    rows = effects.loc[[str(d) for d in small.DID]]
    np.testing.assert_allclose(state.data.column("re"), rows["Intercept"])
    np.testing.assert_allclose(state.data.column("se"), rows["Intercept_se"])
    state, _ = one(state, "predict p")
    np.testing.assert_allclose(state.data.column("p"), fit.predict(kind="mu"))
    state, _ = one(state, "predict fixed, mu fixedonly")
    np.testing.assert_allclose(state.data.column("fixed"), fit.predict(kind="mu_fixed"))
    state, _ = one(state, "predict average, marginal")
    state, _ = one(state, "predict lin, xb")
    np.testing.assert_allclose(1 / (1 + np.exp(-state.data.column("lin"))), state.data.column("fixed"))
    state, _ = one(state, "predict res, pearson")
    np.testing.assert_allclose(state.data.column("res"), fit.residuals("pearson"))
    with pytest.raises(FormulaError, match="there is a variable 'p' already"):
        one(state, "predict p")
    with pytest.raises(FormulaError, match="has no option 'scores'"):
        one(state, "predict q, scores")


def test_rows_outside_the_fit_are_missing_in_predictions(small):
    state, _ = one(begin(small), "melogit y x if age < 50 || did:")
    state, _ = one(state, "predict p")
    assert state.data.column("p").isna().to_numpy().tolist() == (small.Age >= 50).tolist()
    state, _ = one(state, "drop if age < 30")
    with pytest.raises(ModelError, match="have been dropped"):
        one(state, "predict q")


def test_margins(fitted):
    fit = fitted.fit
    said = one(fitted, "margins, at(x=(-1 0 1))")[1]
    table = fit.margins(at={"X": [-1, 0, 1]}, intpoints=7).table
    for value in table["margin"]:
        assert number(value) in said
    assert "stage=II |" in one(fitted, "margins stage")[1]
    said = one(fitted, "margins, dydx(x)")[1]
    assert "dy/dx" in said and number(fit.margins(dydx="X", intpoints=7).table["margin"][0]) in said
    said = one(fitted, "margins i.stage, at(x=0) predict(mu fixedonly) level(90)")[1]
    assert "fixed portion only" in said and "[90% conf. interval]" in said
    assert "stage=III" in one(fitted, "margins, at(stage=3)")[1]
    assert "Margin" in one(fitted, "margins, at((mean) x)")[1]
    for text, message in [
        ("margins, at(x=(1(0)5))", "steps of 0"),
        ("margins, at(x)", "written as"),
        ("margins, at(z=1)", "there is no column 'z'"),
        ("margins, foo", "no option 'foo'"),
        ("margins, predict(xb)", "not supported"),
        ("margins, at(x=(1/100000))", "more than 10,000"),
    ]:
        with pytest.raises(FormulaError, match=message):
            one(fitted, text)


def test_marginsplot_writes_a_picture(fitted, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    state, _ = one(fitted, "margins stage")
    said = one(state, f'marginsplot, saving("{tmp_path / "m.png"}", replace)')[1]
    pyplot.close("all")
    assert said.endswith("written)") and (tmp_path / "m.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(FormulaError, match="is no picture"):
        one(state, "marginsplot, saving(m.gph)")


def test_the_data_of_the_tutorial_by_their_address(shared, monkeypatch):
    monkeypatch.setenv("MELOGIT_DATA", str(shared("data")))
    assert one(begin(), "insheet using https://example.org/stat/data/hdp.csv, comma")[1] == "(27 vars, 8,525 obs)"


def test_marginsplot_needs_margins(fitted):
    with pytest.raises(ModelError, match="there are none yet"):
        one(fitted, "marginsplot")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("use nothing_here.dta", "Line 1 of the do-file: There is no file"),
        ("\n\nsummarize x", "Line 3 of the do-file: 'summarize' needs data"),
        ("use https://example.org/x.dta", "not fetched from the network"),
        ("insheet using retail\ninsheet using retail", "Add the option clear"),
        ("foreach x of varlist a {\n sum `x'\n", "Line 1 .*not closed"),
        ("}", "closes nothing"),
        ("/* open", "comment"),
        ("use retail\nsum `x'", "`x' is not set here"),
        ("forvalues i = 1/3 {\n}", "foreach ... of varlist"),
        ("use retail\nreshape wide x", "'reshape' is not a command"),
        ("use retail\ngen x = 1", "there is a variable"),
        ("use retail\nencode minutes, gen(m)", "does not hold text"),
        ("melogit, or", "no fit to show again"),
        ("use retail\nset obs 5", "supported: set seed"),
        ("import excel x.xls", "only 'import delimited'"),
        ("shell ls", "'shell' is not a command"),
        ("use retail\ndrop", "takes variables, or rows"),
    ],
)
def test_errors_in_do_files_name_the_line(script, message):
    script = script.replace("gen x = 1", "gen minutes = 1")
    with pytest.raises(MelogitError, match=message):
        run(script)


def test_names_that_become_one_by_lowering_are_refused(tmp_path):
    pd.DataFrame({"Age": [1], "age": [2]}).to_csv(tmp_path / "two.csv", index=False)
    with pytest.raises(DataError, match="'Age' and 'age' would both be called 'age'"):
        one(begin(), f"insheet using {tmp_path / 'two.csv'}")
    state, _ = one(begin(), f"insheet using {tmp_path / 'two.csv'}, case")
    with pytest.raises(FormulaError, match="'AGE' may be Age, age"):
        one(state, "su AGE")


def test_comments_and_continuations():
    text = 'a // x\n* comment\nb /* in */ c ///\n  d\n// all\ne "http://x" // y\n'
    assert [s.text.split() for s in read_script(text)] == [["a"], ["b", "c", "d"], ["e", '"http://x"']]
    assert [s.line for s in read_script(text)] == [1, 3, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("summarize x [fw=w]", "'[weight]' cannot stand here with summarize. It takes if, in."),
        ("predict p if x > 0", "'if' cannot stand here with predict"),
        ("margins in 1/10", "'in' cannot stand here with margins"),
        ("test x if x > 0", "'if' cannot stand here with test"),
        ("use x using y", "'using' cannot stand here with use"),
        ("melogit y x using z || did:", "'using' cannot stand here with melogit"),
        ("encode stage if x > 0, gen(s)", "'if' cannot stand here with encode"),
        ("tabulate stage, missing", "has no option 'missing'"),
        ("summarize x, detail", "has no option 'detail'"),
    ],
)
def test_what_a_command_would_not_heed_is_refused(fitted, text, message):
    with pytest.raises(FormulaError, match=re.escape(message)):
        one(fitted, text)


def test_set_seed_and_settings(small):
    state, _ = run("version 16\nset more off\nset seed 42\n", small)
    assert state.seed == 42 and state.data is not None
    state, _ = one(state, "clear")
    assert state.data is None and state.fit is None


def test_bootstrap_and_estat_bootstrap(small):
    line = "bootstrap, reps(6) cluster(did) idcluster(new): melogit y x i.stage || new:, nolog"
    state, said = run(f"set seed 9\n{line}\nestat bootstrap\nestat bootstrap, all", small)
    boot = state.fit.bootstrapped
    assert boot.seed == 9 and len(boot.replicates) == 6
    assert "(N)" in said.split("estat bootstrap, all")[1] and "II.stage |" in said
    only = said.split(". estat bootstrap\n")[1].split("estat bootstrap, all")[0]
    cells = next(row for row in only.splitlines() if row.strip().startswith("x |")).split("|")[1].split()
    assert cells == [*(number(value) for value in boot.table("bc").iloc[1]), "(BC)"]
    with pytest.raises(FormulaError, match="choose one of normal and bc"):
        step(state, "estat bootstrap, bc normal")
    assert run(line.replace("reps(6)", "reps(2) seed(4)"), small)[0].fit.bootstrapped.seed == 4


def test_estat_bootstrap_bca(small):
    line = "bootstrap, reps(20) cluster(did) idcluster(new) bca nodots seed(4): melogit y x || new:, nolog"
    state, said = run(f"{line}\nestat bootstrap, bca\nestat bootstrap, all", small)
    table = state.fit.bootstrapped.table("bca")
    only, everything = said.split(". estat bootstrap, bca\n")[1].split(". estat bootstrap, all")
    assert only.count("(BCa)") == 4 and "(N)" not in only
    assert number(table["ci_low"].iloc[1]) in only
    assert [f"({kind})" in everything for kind in ("N", "P", "BC", "BCa", "basic", "t")] == [True] * 4 + [False] * 2
    rows, _ = run(line.replace("cluster(did) idcluster(new) ", "").replace("new:", "did:"), small)
    with pytest.raises(ModelError, match="no bca intervals here: single rows were drawn"):
        step(rows, "estat bootstrap, bca")


def test_estat_bootstrap_needs_a_bootstrap(fitted):
    with pytest.raises(ModelError, match="'estat bootstrap' needs a fit with the prefix bootstrap"):
        step(fitted, "estat bootstrap")


def test_crossed_effects_are_those_of_the_formula():
    exam, formula = me.load_dataset("exam"), "correct ~ hours + kind + (1 | student) + (1 | question)"
    fit = quietly(me.stata, "melogit correct hours i.kind || _all: R.student || question:", exam).result
    same = quietly(me.melogit, formula, exam).result
    np.testing.assert_allclose(fit.params, same.params, rtol=1e-6)
    np.testing.assert_allclose(fit.bse, same.bse, rtol=1e-5)
    text = " ".join(str(fit).split())
    assert "the Laplace approximation, intmethod(laplace), is implied." in text
    assert f"In formula notation: {formula}" in text
    np.testing.assert_allclose(fit.margins(dydx="*").table["margin"], same.margins(dydx="*").table["margin"], rtol=1e-5)
    state = begin(exam)
    for command in ("melogit correct hours || _all: R.student || question:", "estat icc", "margins, dydx(hours)"):
        state, said = quietly(step, state, command).result
    assert "hours" in said
