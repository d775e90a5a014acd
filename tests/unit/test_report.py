"""The written table: every line as it should stand, in text and HTML."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from invented_fit import covariance, invented_fit, invented_term, two_level_fit

from melogit.fit.messages import inaccurate
from melogit.fit.types import Status
from melogit.report import count, number, probability
from melogit.report.rows import coefficient_rows, split_levels
from melogit.results import Results
from melogit.results.overview import certificate

NAN, INF = float("nan"), float("inf")

ONE_LEVEL = """\
Mixed-effects logistic regression               Number of obs     =         14
Group variable: doctor                          Number of groups  =          4

                                                Obs per group:
                                                              min =          2
                                                              avg =        3.5
                                                              max =          5

Integration method: mvaghermite                 Integration pts.  =          7

                                                Wald chi2(3)      =     136.75
Log likelihood = -3689.408                      Prob > chi2       =     0.0000
------------------------------------------------------------------------------
   cured = yes | Coefficient  Std. err.       z  P>|z|    [95% conf. interval]
---------------+--------------------------------------------------------------
           age |  -0.0567853  0.0115183   -4.93  0.000  -0.0793608  -0.0342098
               |
         stage |
             I |           0  (base)
            II |  -0.4139656  0.0757585   -5.46  0.000  -0.5624495  -0.2654817
           III |   -1.003766  0.0982874  -10.21  0.000   -1.196406  -0.8111262
               |
     Intercept |   -2.056954  0.5198763   -3.96  0.000   -3.075893   -1.038015
---------------+--------------------------------------------------------------
doctor         |
var(Intercept) |    2.250000  0.5000000                   1.455548    3.478071
------------------------------------------------------------------------------
LR test vs. logistic model: chibar2(01) = 2435.74     Prob >= chibar2 = 0.0000

Model: cured ~ age + stage + (1 | doctor)
Modelling P(cured = yes).
Accuracy: going from 7 to 15 points moves the log-likelihood by -0.21 and no
  parameter by more than 0.081 standard errors. The accuracy asked for is
  0.001: fit with intpoints="auto" to reach it."""

TWO_LEVEL_HEADER = """\
Mixed-effects logistic regression               Number of obs     =         14

    --------------------------------------------------------------
                    |     No. of       Observations per group
     Group variable |     groups    Minimum    Average    Maximum
    ----------------+---------------------------------------------
           hospital |          2          6        7.0          8
    hospital:doctor |          4          2        3.5          5
    --------------------------------------------------------------

Integration method: mvaghermite                 Integration pts.  =      15, 9
"""

TWO_LEVEL_VARIANCES = """\
-------------------+--------------------------------------------------------------
hospital           |
    var(Intercept) |   0.5000000  0.2000000                  0.2282913    1.095092
-------------------+--------------------------------------------------------------
hospital:doctor    |
          var(age) |   0.2500000  0.0500000                  0.1689272   0.3699818
cov(age,Intercept) |   0.2000000  0.1000000                  0.0040036   0.3959964
    var(Intercept) |    4.000000  0.4000000                   3.288061    4.866090
----------------------------------------------------------------------------------
LR test vs. logistic model: chi2(4) = 2435.74                 Prob > chi2 = 0.0000

The LR test is conservative and provided only for reference.
"""


def text(fit, **options) -> str:
    return str(Results(fit).summary(**options))


def test_one_level_to_the_letter():
    assert text(invented_fit()) == ONE_LEVEL


def test_two_levels_to_the_letter():
    written = text(two_level_fit())
    assert written.startswith(TWO_LEVEL_HEADER)
    assert TWO_LEVEL_VARIANCES in written
    assert "going from 15, 9 to 31, 19 points" in written


def test_a_table_of_usual_names_is_78_columns_wide():
    assert {len(line) for line in ONE_LEVEL.splitlines() if line.startswith("---")} == {78}
    assert max(map(len, ONE_LEVEL.splitlines())) == 78


def test_odds_ratios():
    written = text(invented_fit(), odds_ratios=True)
    assert "   cured = yes |  Odds ratio  Std. err." in written
    assert "           age |   0.9447969  0.0108825   -4.93  0.000   0.9237066   0.9663687" in written
    assert "             I |           1  (base)" in written
    assert "Intercept is the odds at the base levels" in written
    assert "var(Intercept) |    2.250000  0.5000000                   1.455548    3.478071" in written


def test_confidence_level_in_the_heading():
    assert "[99.9% conf. interval]" in str(Results(invented_fit(), level=0.999))


def test_infinite_coefficients_and_a_variance_at_zero():
    std_err = [0.5, NAN, NAN, 0.1, NAN]
    fit = invented_fit(status=Status.SEPARATED, messages=("'age' separates the response.",))
    fit = replace(fit, params=fit.params.copy(), cov=covariance(std_err))
    fit.params[[1, 2, 4]] = [INF, -INF, 0.0]
    written = text(fit)
    assert "           age |        +Inf          .       .      .           .           .\n" in written
    assert "            II |        -Inf          .       .      .           .           .\n" in written
    assert "var(Intercept) |           0          .                          .           .\n" in written
    assert "Wald chi2(1) " in written
    assert "'age' separates the response." in written
    odds = text(fit, odds_ratios=True)
    assert "           age |        +Inf          .       .      .           .           .\n" in odds
    assert "            II |           0          .       .      .           .           .\n" in odds
    assert "+Inf" in Results(fit)._repr_html_()


def test_no_convergence_stands_out():
    fit = invented_fit(status=Status.MAX_ITERATIONS)
    written = text(fit)
    assert "NOT CONVERGED: stopped at the limit of iterations" in written
    assert "raise max_iterations=" in written
    assert 'role="alert">NOT CONVERGED' in Results(fit)._repr_html_()
    assert "NOT CONVERGED" not in text(invented_fit())
    assert "NOT CONVERGED" not in text(invented_fit(status=Status.BOUNDARY))


def test_laplace_is_always_labelled():
    fit = invented_fit()
    fit = replace(fit, integration=replace(fit.integration, method="laplace", points=(1,), check_points=(7,)))
    written = text(fit)
    assert "Integration method: Laplace approximation" in written
    assert "Laplace approximation: going from 1 to 7 points" in written
    assert "Laplace approximation" in Results(fit)._repr_html_()


def test_long_names_widen_the_table_and_very_long_ones_are_cut_in_the_middle():
    names = ("Intercept", "a_name_of_exactly_thirty_chars", "x" * 60 + "_end", "[odd")
    fit = invented_fit()
    fit = replace(fit, names=names + fit.names[4:])
    lines = text(fit).splitlines()
    at = [line.index(" |") + 1 for line in lines if " |" in line and not line.startswith("Model:")]
    assert set(at) == {31}
    assert any(line.startswith("a_name_of_exactly_thirty_chars |") for line in lines)
    assert any(line.startswith("x" * 27 + "~nd |") for line in lines)
    assert len({len(line) for line in lines if line.startswith("---")}) == 1


def test_a_model_with_a_constant_only():
    fit = invented_fit()
    keep = [0, 4]
    fit = replace(fit, names=("Intercept", fit.names[4]), n_fixed=1, params=fit.params[keep], cov=fit.cov[:2, :2])
    written = text(fit)
    assert "Wald" not in written and "Log likelihood = -3689.408" in written


def test_notes_name_what_was_given_and_left_out():
    wording = replace(
        invented_fit().wording,
        event=None,
        trials="n",
        weights="w",
        offset="log(t)",
        dropped_columns=(("twin", "collinear with 'age'"),),
        notes=("3 of 17 rows dropped because of missing values: age (3).",),
    )
    written = text(invented_fit(wording=wording))
    for note in ("Trials: n.", "Frequency weights: w.", "Offset: log(t).", "Omitted 'twin': collinear with 'age'."):
        assert f"\n{note}\n" in written
    assert "\n3 of 17 rows dropped because of missing values: age (3).\n" in written
    assert "          twin |           0  (omitted)\n" in written
    assert "Modelling" not in written


def test_a_message_already_in_the_notes_is_not_said_twice():
    fit = invented_fit(messages=("A note.",))
    fit = replace(fit, wording=replace(fit.wording, notes=("A note.",)))
    assert text(fit).count("A note.") == 1


def test_a_warning_about_the_integration_is_said_once_as_the_certificate():
    fit = invented_fit()
    fit = replace(fit, messages=(inaccurate(fit.integration, 0.02), "Another message."))
    written = text(fit)
    assert written.count("log-likelihood by -0.21") == 1 and "changes by -0.21" not in " ".join(written.split())
    assert "Another message." in written


def test_a_formula_is_not_broken_within_its_bars():
    wording = replace(invented_fit().wording, formula=" + ".join(["y ~ x"] + ["abcdefg"] * 6) + " + (1 | doctor)")
    assert "\n  (1 | doctor)\n" in text(invented_fit(wording=wording))


def test_names_from_the_data_cannot_break_lines_or_command_the_terminal():
    fit = invented_fit((invented_term("ward\x1b[2J"),))
    fit = replace(fit, names=("Intercept", "a\nb", "stage[\r]", "日本", *fit.names[4:]))
    written = text(fit)
    assert "\x1b" not in written and "\r" not in written
    assert "ward\\x1b[2J" in written and "a\\nb |" in written and "日本 |" in written


# ------------------------------------------------------------------------------------------------ certificate


def with_integration(**changes):
    return certificate(replace(invented_fit().integration, **changes))


def test_certificate_of_an_accurate_fit():
    sentence = with_integration(loglik_error=2.1e-5, max_shift_in_se=3.2e-4, automatic=True)
    assert sentence == (
        "Accuracy: going from 7 to 15 points moves the log-likelihood by 0.00002 "
        "and no parameter by more than 0.0003 standard errors."
    )


def test_certificate_of_an_inaccurate_fit_says_what_to_do():
    assert with_integration().endswith('The accuracy asked for is 0.001: fit with intpoints="auto" to reach it.')
    assert "could not be reached" in with_integration(automatic=True)
    assert 'leave method= out and fit with intpoints="auto"' in with_integration(method="laplace")


def test_certificate_that_is_not_known():
    assert "is not known for this fit" in with_integration(loglik_error=NAN)
    assert "is not known for this fit" in with_integration(max_shift_in_se=NAN)


# ---------------------------------------------------------------------------------------------- small pieces


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1.000000"),
        (-0.0567853, "-0.0567853"),
        (0.9999999999, "1.0000000"),
        (9.99999999, "10.000000"),
        (1234567.4, "1234567"),
        (12345678.0, "1.2346e+07"),
        (9.99e-5, "9.9900e-05"),
        (-1.5e-300, "-1.5000e-300"),
        (NAN, "."),
        (INF, "+Inf"),
        (-INF, "-Inf"),
    ],
)
def test_numbers(value, written):
    assert number(value) == written


def test_counts_and_probabilities():
    assert count(1_000_000) == "1,000,000"
    assert count(1234.5) == "1,234.5"
    assert probability(NAN) == "."
    assert probability(0.9996) == "1.000"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("age", ("age", "")),
        ("stage[II]", ("stage", "II")),
        ("a[x]:b[y]", ("a:b", "x, y")),
        ("a[x]:age", ("a:age", "x")),
        ("bs(x, df=4)[2]", ("bs(x, df=4)", "2")),
        ("C(x[1])[2]", ("C(x[1])", "2")),
        ("ward[3[b]:c (d]", ("ward", "3[b]:c (d")),
        ("ward[b [c] d]", ("ward", "b [c] d")),
        ("ward[a:b]", ("ward", "a:b")),
        ("odd[", ("odd[", "")),
        ("I(x > 2)", ("I(x > 2)", "")),
    ],
)
def test_levels_are_taken_out_of_names(name, parts):
    assert split_levels(name) == parts


def test_rows_of_factors_and_interactions():
    names = ["Intercept", "a[2]", "a[3]", "x", "a[2]:x", "a[3]:x", "b[u]"]
    rows = coefficient_rows({name: [1.0] for name in names}, [("a", "1"), ("b", "t")])
    assert [row.label for row in rows] == ["a", "1", "2", "3", "x", "a:x", "2", "3", "b", "t", "u", "Intercept"]
    assert [row.label for row in rows if row.remark == "(base)"] == ["1", "t"]


# ------------------------------------------------------------------------------------------------------ HTML


class Outline(HTMLParser):
    """Checks that tags nest, and collects what matters."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.headers: list[str | None] = []
        self.tags: set[str] = set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "th":
            self.headers.append(dict(attrs).get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("fit", [invented_fit(), two_level_fit()], ids=["one", "two"])
def test_html_is_well_formed_accessible_and_self_contained(fit):
    html = Results(fit).summary(odds_ratios=True)._repr_html_()
    outline = Outline(html)
    assert None not in outline.headers
    assert "caption" in outline.tags
    assert not outline.tags & {"script", "link", "img", "iframe"}
    assert "http" not in html and "url(" not in html
    for shown in ("0.9447969", "(base)", "var(Intercept)", "Odds ratio", "95% conf. interval"):
        assert shown in html


def test_html_escapes_what_comes_from_the_data():
    evil = "<script>alert(1)</script>"
    fit = invented_fit((invented_term(evil),), messages=(evil,))
    wording = replace(fit.wording, response=evil, event=evil, formula=evil, base_levels=(("stage", evil),))
    html = Results(replace(fit, wording=wording))._repr_html_()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 6
