"""test, lincom, nlcom, contrast and pwcompare: numbers, derivatives, and the words of every refusal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

import melogit as me
from melogit.errors import FormulaError, ModelError
from melogit.inference.expressions import affine, evaluate, parse
from melogit.inference.multiple import adjusted_p, critical_z

FORMULA = "remission ~ Age + CancerStage + (1 | DID)"
NAMES = ["a", "b", "g:var(Intercept)", "stage[II]", "log(x)"]
AT = np.array([0.7, 1.9, 2.3, 0.4, -0.8])


@pytest.fixture(scope="module")
def fit():
    return me.melogit(FORMULA, me.load_dataset("hospital"))


@pytest.mark.parametrize(
    "text",
    [
        "a + 2*b - 3",
        "-a^2 / (1 + b)",
        "2 ** -a ** 2",
        "a^b",
        "exp(a) * log(b) - ln(b + 1)",
        "sqrt(g:var(Intercept)) * stage[II]",
        "g:var(Intercept) / (g:var(Intercept) + 3.2898681)",
        "expit(a - b) + invlogit(log(x))",
        "logit(stage[II]) + tanh(a) * atanh(stage[II])",
        "normal(a) / exp(`log(x)`)",
        "_b[a] * _b[stage[II]] + 1e-1 * .5",
        "--a + +b",
    ],
)
def test_gradients_are_those_of_differences(text):
    node = parse(text, NAMES)
    value, gradient = evaluate(node, AT)
    steps = np.eye(len(AT)) * 1e-6
    differences = [(evaluate(node, AT + h)[0] - evaluate(node, AT - h)[0]) / 2e-6 for h in steps]
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient, differences, rtol=1e-7, atol=1e-9)


def test_precedence_is_that_of_mathematics():
    assert evaluate(parse("-2^2", []), np.zeros(0))[0] == -4
    assert evaluate(parse("2^3^2", []), np.zeros(0))[0] == 512
    assert evaluate(parse("8/4/2", []), np.zeros(0))[0] == 1
    assert evaluate(parse("1 - 2 - 3", []), np.zeros(0))[0] == -4


def test_a_name_is_read_whole():
    """``age`` within ``ages`` and ``log(x)`` as a coefficient are the whole names."""
    names = ["age", "ages", "log(x)", "x"]
    _, gradient = evaluate(parse("ages + log(x)", names), np.ones(4))
    assert gradient.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("text", "linear"),
    [
        ("a + 2*b", True),
        ("(a - b)/4 + exp(1)", True),
        ("a*b", False),
        ("a^2", False),
        ("1/a", False),
        ("exp(a)", False),
    ],
)
def test_linear_or_not(text, linear):
    assert (affine(parse(text, NAMES), len(NAMES)) is not None) == linear


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2*", "something is missing at the end"),
        ("(a", r"this '\(' is not closed"),
        ("a b", "'b' is not expected here"),
        ("a ++* b", r"'\*' is not expected here"),
        ("aa", "there is no parameter 'aa'. Did you mean 'a'"),
        ("sin(a)", "there is no function 'sin'; known are exp, log"),
        ("a; import os", "';' is not expected here"),
        ("__import__('os')", "there is no function '__import__'"),
        ("`zz`", "no parameter has this name"),
        ("(" * 200 + "a" + ")" * 200, "nested more than 100 deep"),
    ],
)
def test_what_cannot_be_read_is_marked(text, message):
    with pytest.raises(FormulaError, match=message):
        parse(text, NAMES)


def test_wald_test_of_a_term_is_the_quadratic_form(fit):
    at = [2, 3, 4] if list(fit.params.index)[1] == "Age" else None
    assert at is not None
    names = [name for name in fit.params.index if name.startswith("CancerStage")]
    b, V = fit.params[names].to_numpy(), fit.cov_params().loc[names, names].to_numpy()
    test = fit.test("CancerStage")
    assert test.df == 3
    assert test.stat == pytest.approx(b @ np.linalg.solve(V, b), rel=1e-10)
    assert test.p == pytest.approx(chi2.sf(test.stat, 3), rel=1e-8)


def test_restrictions_in_text(fit):
    R = np.zeros((2, 6))
    R[0, 1], R[0, 0] = 2, -1
    R[1, 2], R[1, 3] = 1, -1
    r = np.array([0.3, 0.0])
    gap = R @ fit.params.to_numpy() - r
    stat = gap @ np.linalg.solve(R @ fit.cov_params().to_numpy() @ R.T, gap)
    test = fit.test("2*Age - Intercept = 0.3", "CancerStage[II] = CancerStage[III]")
    assert (test.stat, test.df) == (pytest.approx(stat, rel=1e-9), 2)
    again = fit.test("2*Age - Intercept = 0.3, CancerStage[II] = CancerStage[III], CancerStage[III] - CancerStage[II]")
    assert (again.stat, again.df) == (pytest.approx(stat, rel=1e-9), 2)  # what repeats another does not count
    chain = fit.test("CancerStage[II] = CancerStage[III] = CancerStage[IV]")
    assert chain.df == 2
    assert fit.test("Age").stat == pytest.approx(fit.zvalues["Age"] ** 2, rel=1e-9)


@pytest.mark.parametrize(
    ("hypothesis", "message"),
    [
        ("Agee", "no term or parameter 'Agee' in this model. Did you mean 'Age'"),
        ("exp(Age) = 1", r"not linear in the parameters. For functions of them use nlcom"),
        ("DID:var(Intercept)", r"puts a variance on the boundary.*me.lrtest\(smaller, larger\)"),
        ("Age = 1, Age = 2", "contradict each other: Age = 1; Age = 2"),
        ("Age = Age", "the parameters cancel"),
        ("3 = 3", "has no parameter in it"),
        ("", "Name what is to be tested"),
    ],
)
def test_hypotheses_that_make_no_sense(fit, hypothesis, message):
    with pytest.raises((FormulaError, ModelError), match=message):
        fit.test(hypothesis)


def test_lincom_and_odds_ratios(fit):
    table = fit.lincom("CancerStage[III] - CancerStage[II] + 1", ten_years="10*Age")
    V = fit.cov_params()
    a, b = "CancerStage[III]", "CancerStage[II]"
    assert table["estimate"].iloc[0] == pytest.approx(fit.params[a] - fit.params[b] + 1)
    assert table["std_err"].iloc[0] == pytest.approx(np.sqrt(V.loc[a, a] + V.loc[b, b] - 2 * V.loc[a, b]))
    ratio = fit.lincom(ten_years="10*Age", odds_ratios=True).loc["ten_years"]
    assert ratio["odds_ratio"] == pytest.approx(np.exp(10 * fit.params["Age"]))
    assert ratio["std_err"] == pytest.approx(ratio["odds_ratio"] * 10 * fit.bse["Age"])
    assert np.log(ratio["ci_low"]) == pytest.approx(10 * fit.conf_int().loc["Age", "ci_low"])
    with pytest.raises(FormulaError, match="not linear"):
        fit.lincom("Age * Intercept")


def test_nlcom_against_simulation_and_differences(fit):
    expressions = {
        "sd": "sqrt(DID:var(Intercept))",
        "ratio": "CancerStage[III] / CancerStage[II]",
        "icc": "DID:var(Intercept) / (DID:var(Intercept) + 3.289868133696453)",
    }
    table = fit.nlcom(expressions)
    rng = np.random.default_rng(1)
    V = fit.cov_params().to_numpy()
    nodes = [parse(text, list(fit.params.index)) for text in expressions.values()]
    for label, node in zip(expressions, nodes, strict=True):
        gradient = [
            (evaluate(node, fit.params + h)[0] - evaluate(node, fit.params - h)[0]) / 2e-5
            for h in np.eye(len(V)) * 1e-5
        ]
        assert table.loc[label, "std_err"] == pytest.approx(np.sqrt(gradient @ V @ gradient), rel=1e-6)
        # Near the estimates every function is a straight line: draws with errors ten times smaller.
        draws = rng.multivariate_normal(fit.params, V / 100, size=10_000)
        spread = 10 * np.std([evaluate(node, draw)[0] for draw in draws])
        assert table.loc[label, "std_err"] == pytest.approx(spread, rel=0.03)
    assert table.loc["icc", "std_err"] == pytest.approx(fit.icc().loc["DID", "std_err"], rel=1e-9)


def test_nlcom_without_a_value(fit):
    with pytest.raises(ModelError, match=r"nan at the estimates.*logarithm or root of a negative"):
        fit.nlcom("log(Age)")


def test_contrasts(fit):
    b = np.array([0, *fit.params[["CancerStage[II]", "CancerStage[III]", "CancerStage[IV]"]]])
    assert fit.contrast("CancerStage")["estimate"].tolist() == pytest.approx(b[1:])
    assert fit.contrast("CancerStage", "adjacent")["estimate"].tolist() == pytest.approx(np.diff(b))
    assert fit.contrast("CancerStage", "mean")["estimate"].tolist() == pytest.approx(b - b.mean())
    helmert = [b[k] - b[:k].mean() for k in (1, 2, 3)]
    assert fit.contrast("CancerStage", "helmert")["estimate"].tolist() == pytest.approx(helmert)
    trends = fit.contrast("CancerStage", "polynomial")["estimate"]
    assert trends["linear"] == pytest.approx(b @ np.array([-3, -1, 1, 3]) / np.sqrt(20))  # as contr.poly(4) has it
    assert trends["quadratic"] == pytest.approx(b @ np.array([1, -1, -1, 1]) / 2)
    assert trends["cubic"] == pytest.approx(b @ np.array([-1, 3, -3, 1]) / np.sqrt(20))


def test_all_pairs(fit):
    table = fit.pwcompare("CancerStage", adjust="tukey", odds_ratios=True)
    assert list(table.index) == ["II vs I", "III vs I", "IV vs I", "III vs II", "IV vs II", "IV vs III"]
    one = fit.lincom("CancerStage[IV] - CancerStage[III]", odds_ratios=True).iloc[0]
    assert table.loc["IV vs III", "odds_ratio"] == pytest.approx(one["odds_ratio"])
    assert table.loc["IV vs III", "p"] == pytest.approx(adjusted_p(table["z"].to_numpy(), "tukey", groups=4)[5])
    assert table.loc["IV vs III", "ci_low"] < one["ci_low"]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("Age", "'Age' is a single column, not a factor"),
        ("CancerStage[II]", "is one level, and a contrast compares at least two"),
        ("CancrStage", "no factor 'CancrStage' in this model. Did you mean 'CancerStage'"),
    ],
)
def test_contrasts_of_what_is_no_factor(fit, term, message):
    with pytest.raises(ModelError, match=message):
        fit.contrast(term)


def test_a_factor_that_meets_a_number_needs_its_value():
    tied = me.melogit("remission ~ Age * CancerStage + (1 | DID)", me.load_dataset("hospital"))
    with pytest.raises(ModelError, match=r"in an interaction with 'Age', a number.*Say at which value: at="):
        tied.pwcompare("CancerStage")


# R 4: p.adjust, 1 - (1 - p)^6, ptukey(sqrt(2) * z, 4, Inf), pchisq(z^2, 3); and the matching quantiles.
Z = np.array([0.5, 1.5, 2.2, 2.9, 3.3, 4.1])
FROM_R = {
    "holm": [0.617075077452, 0.267228805075, 0.083420685081, 0.014926506403, 0.004834241424, 0.000247890083],
    "bonferroni": [1.0, 0.801686415226, 0.166841370162, 0.022389759605, 0.005801089709, 0.000247890083],
    "sidak": [0.996847306153, 0.577071117762, 0.155664169012, 0.022181920405, 0.005787085838, 0.00024786448],
    "tukey": [0.959082400878, 0.437451835158, 0.123185486249, 0.019532715561, 0.005344317105, 0.000241528076],
    "scheffe": [0.969140404216, 0.522167189535, 0.183895103550, 0.038256314635, 0.012335803283, 0.000773260603],
}
QUANTILES = {"tukey": 2.56903177742, "bonferroni": 2.63825727348, "scheffe": 2.79548348292, "sidak": 2.63103828454}


@pytest.mark.parametrize("adjust", FROM_R)
def test_adjusted_p_values_are_those_of_r(adjust):
    np.testing.assert_allclose(adjusted_p(Z, adjust, df=3, groups=4), FROM_R[adjust], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("adjust", QUANTILES)
def test_simultaneous_intervals_are_those_of_r(adjust):
    assert critical_z(0.95, adjust, 6, df=3, groups=4) == pytest.approx(QUANTILES[adjust], rel=1e-6)
