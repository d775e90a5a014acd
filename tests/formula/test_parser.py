"""Splitting a formula at its bars, and what it may not contain. No data are needed."""

from __future__ import annotations

import time

import pytest

from melogit.errors import FormulaError
from melogit.formula import build_design
from melogit.formula.parser import parse_formula
from melogit.formula.plan import plan_formula


def random_parts(formula: str) -> list[tuple[str, bool, tuple[str, ...]]]:
    return [(part.left.strip(), part.independent, part.group) for part in parse_formula(formula).random]


def fixed_terms(formula: str) -> list[str]:
    return [str(term) for term in plan_formula(formula).fixed.terms]


def caret(error: pytest.ExceptionInfo) -> str:
    """What stands above the caret, to the end of the formula."""
    *_, formula, pointer = str(error.value).split("\n")
    return formula[pointer.index("^") :]


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        ("y ~ x + (1 | g)", [("1", False, ("g",))]),
        ("y ~ (x|g)", [("x", False, ("g",))]),
        ("y ~ (x || g)", [("x", True, ("g",))]),
        ("y ~ (0 + x | g) + (1 | g)", [("0 + x", False, ("g",)), ("1", False, ("g",))]),
        ("y ~ (-1 + x | g)", [("-1 + x", False, ("g",))]),
        ("y ~ (1 | a/b)", [("1", False, ("a",)), ("1", False, ("a", "b"))]),
        ("y ~ (1 | a:b)", [("1", False, ("a", "b"))]),
        ("y ~ (1 | a/b/c)", [("1", False, ("a",)), ("1", False, ("a", "b")), ("1", False, ("a", "b", "c"))]),
        ("y ~ (1 | a:b/c)", [("1", False, ("a", "b")), ("1", False, ("a", "b", "c"))]),
        ("y ~ (1 | `my school`/b)", [("1", False, ("my school",)), ("1", False, ("my school", "b"))]),
        ("y ~ ((1 | g))", [("1", False, ("g",))]),
        ("y ~ (x + (1 | g) + z)", [("1", False, ("g",))]),
        ("y ~ (log(x) * z | g)", [("log(x) * z", False, ("g",))]),
    ],
)
def test_random_terms(formula, parts):
    assert random_parts(formula) == parts


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        ("y ~ (1 | g)", ["1"]),
        ("y ~ x + (1 | g) + z", ["1", "x", "z"]),
        ("y ~ (1 | g) + x", ["1", "x"]),
        ("y ~ (1 | g) - 1 + x", ["x"]),
        ("y ~ 0 + x + (1 | g)", ["x"]),
        ("y ~ 0 + (1 | g)", []),
        ("y ~ x*z + (1 | g)", ["1", "x", "z", "x:z"]),
        ("y ~ (x + z)^2 + (1 | g)", ["1", "x", "z", "x:z"]),
        ("y ~ (x + (1 | g) + z) + w", ["1", "x", "z", "w"]),
        ("y ~ ((1 | g)) + w", ["1", "w"]),
        ("y ~ I(a | b) + (1 | g)", ["1", "I(a | b)"]),
        ("y ~ offset(e) + x + (1 | g)", ["1", "x"]),
        ("y ~ x + (1 | g) + offset(log(e))", ["1", "x"]),
        ("y ~ a.b + (1 | g)", ["1", "a.b"]),
        ("y ~ x - x + (1 | g)", ["1"]),
    ],
)
def test_fixed_part_is_what_remains(formula, terms):
    assert fixed_terms(formula) == terms


def test_columns_are_found_wherever_they_stand():
    formula = "cbind(ill, size - ill) ~ poly(x, 2) + C(`my col`) + offset(log(e)) + (z | a/b)"
    assert list(plan_formula(formula).columns) == ["ill", "size", "x", "my col", "e", "z", "a", "b"]


@pytest.mark.parametrize(
    ("formula", "words", "place"),
    [
        ("y ~ x", "melogit is for grouped data. Write a random intercept", ""),
        ("y", "there is no '~'", ""),
        ("~ x + (1 | g)", "no response on the left", "~ x + (1 | g)"),
        ("y ~ x ~ z", "second '~'", "~ z"),
        ("y ~ ", "nothing on the right", ""),
        ("y ~ x + (1 | g", "bracket '(' is not closed", "(1 | g"),
        ("y ~ x) + (1 | g)", "closes nothing", ") + (1 | g)"),
        ("y ~ x + (1 | )", "no grouping column", " )"),
        ("y ~ x + ( | g)", "nothing stands before the bar", "| g)"),
        ("y ~ x + (1 | g | h)", "one bar", "| h)"),
        ("y ~ x + 1 | g", "in its own brackets", "| g"),
        ("y ~ x * (1 | g)", "in its own brackets", "| g)"),
        ("y ~ x (1 | g)", "in its own brackets", "| g)"),
        ("y ~ x - (1 | g)", "cannot be subtracted", "(1 | g)"),
        ("y ~ x - offset(e) + (1 | g)", "offset(-x)", "offset(e) + (1 | g)"),
        ("y ~ (1 | a + b)", "joined by : or /", "+ b)"),
        ("y ~ (1 | C(a))", "joined by : or /", "(a))"),
        ("y ~ (1 | a/)", "column name is missing", ")"),
        ("y ~ (0 | g)", "has no random effect", "(0 | g)"),
        ("y ~ x z + (1 | g)", "an operator such as + is missing before 'z'", "z + (1 | g)"),
        ("y ~ . + (1 | g)", "name the columns", ". + (1 | g)"),
        ("y ~ x == 2 + (1 | g)", "'==' can only be used inside a function", "== 2 + (1 | g)"),
        ("y ~ x $ z + (1 | g)", "'$' has no meaning", "$ z + (1 | g)"),
        ("y ~ 'abc + (1 | g)", "not closed", "'abc + (1 | g)"),
        ("y ~ x + (1 | g) +", "a term is missing", ""),
        ("y ~ x + + (1 | g)", "a term is missing before this '+'", "+ (1 | g)"),
        ("y ~ 3 + x + (1 | g)", "umeric literals other than `1`", "3 + x + (1 | g)"),
        ("y ~ y + (1 | g)", "the response 'y' is also a predictor", "y + (1 | g)"),
        ("y ~ log(y) + (1 | g)", "the response 'y' is also a predictor", "y) + (1 | g)"),
        ("y ~ (y | g)", "the response 'y' is also a random slope", "y | g)"),
        ("y ~ (1 | y)", "the response 'y' is also a grouping column", "y)"),
        ("cbind(a, b, c) ~ (1 | g)", "cbind() takes two", "cbind(a, b, c) ~ (1 | g)"),
        ("cbind(a) ~ (1 | g)", "cbind() takes two", "cbind(a) ~ (1 | g)"),
        ("", "there is no '~'", ""),
        ("(y ~ x) + (1 | g)", "cannot stand inside brackets", "~ x) + (1 | g)"),
    ],
)
def test_errors_say_what_and_where(formula, words, place):
    with pytest.raises(FormulaError) as error:
        plan_formula(formula)
    assert words in str(error.value)
    assert caret(error) == place


@pytest.mark.parametrize("formula", [None, 3, b"y ~ (1 | g)", ["y ~ x"]])
def test_a_formula_is_text(formula):
    with pytest.raises(FormulaError, match="must be text"):
        plan_formula(formula)


INJECTIONS = [
    'I(__import__("os").system("touch {marker}"))',
    "I(x.__class__)",
    "x.__class__.__mro__",
    "I((lambda: 1)())",
    "I([c for c in ().__class__.__bases__])",
    "I(x[0])",
    "I(eval('1'))",
    "eval('1')",
    "I(np.exp(x))",
    "np.load('a')",
    "I(open)",
    "log(x, out=y)",
    "poly(x, degree=3, _state=1)",
    "poly(x, *z)",
    "poly(x, **z)",
    "C(x, contr.custom(y))",
    "C(x, contr.__class__)",
    "C(x, Treatment.__init__)",
    "Q('x')",
    "{x}",
    "I(f'{x}')",
    "I(x if x else x)",
    "I(x := 3)",
    "I(x and x)",
    "I(not x)",
    "I(x @ x)",
    "I(x << 100)",
    "I(9**9**9)",
    "I('a' * 1000000000)",
    "bs(x, df=100000000)",
    "poly(x, degree=[10000000])",
    "hashed(x, levels=3)",
    "__builtins__",
    "I(__FORMULAIC_STATE__)",
    "`__import__`('os')",
    "I(1 < x < 3)",
    "I(yield x)",
    "I(await x)",
    "I(x; y)",
    "I(x\n)__import__('os')",
    "`x`.__class__",
    "I('a)' + __import__('os').getcwd())",
    "x %in% z",
    "[x ~ z]",
]


@pytest.mark.parametrize("term", INJECTIONS)
@pytest.mark.parametrize(
    "formula",
    ["y ~ {} + (1 | g)", "y ~ ({} | g)", "y ~ x + offset({}) + (1 | g)", "{} ~ (1 | g)", "cbind({}, z) ~ (1 | g)"],
)
def test_only_listed_expressions_are_accepted(term, formula, tmp_path):
    marker = tmp_path / "ran"
    data = {name: [0, 1, 1, 0] for name in ("y", "x", "z", "g", "s")}
    with pytest.raises(FormulaError):
        build_design(formula.replace("{}", term.replace("{marker}", str(marker))), data)
    assert not marker.exists()


def test_an_injection_is_pointed_at():
    with pytest.raises(FormulaError) as error:
        plan_formula('y ~ x + I(__import__("os").system("id")) + (1 | g)')
    assert "not a function that a formula may use" in str(error.value)
    assert caret(error).startswith('__import__("os")')


def test_unknown_function_lists_the_known_ones():
    with pytest.raises(FormulaError, match=r"'foo' is not a function.*Allowed: .*log.*poly.*make a new column"):
        plan_formula("y ~ foo(x) + (1 | g)")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("factor(x)", "C()"), ("as.factor(x)", "C()"), ("np.log(x)", "log()"), ("ns(x, df=3)", "cr()")],
)
def test_functions_of_other_dialects_are_translated(written, meant):
    with pytest.raises(FormulaError) as error:
        plan_formula(f"y ~ {written} + (1 | g)")
    assert f"write {meant} instead" in str(error.value)


@pytest.mark.parametrize(
    "bomb",
    [
        "y ~ (a+b+c+d+e+f)^20 + (1 | g)",
        "y ~ a^1000000000 + (1 | g)",
        "y ~ " + "*".join(f"x{i}" for i in range(40)) + " + (1 | g)",
        "y ~ (a+b)^12:(c+d)^12 + (1 | g)",
        "y ~ ((((a+b+c)^5)^5)^5)^5 + (1 | g)",
        "y ~ ((a+b+c+d)^20 | g)",
        "y ~ " + "(" * 100_000 + "x" + ")" * 100_000,
        "y ~ " + "(" * 60 + "x" + ")" * 60 + " + (1 | g)",
        "y ~ I(" + "-" * 15_000 + "x) + (1 | g)",
        "y ~ I(" + "+".join(["x"] * 5_000) + ") + (1 | g)",
        "y ~ " + " + ".join(f"x{i}" for i in range(200_000)) + " + (1 | g)",
        "x" * 1_000_000,
    ],
)
def test_formula_bombs_are_refused_at_once(bomb):
    start = time.perf_counter()
    with pytest.raises(FormulaError):
        plan_formula(bomb)
    assert time.perf_counter() - start < 5


def test_long_but_honest_formulas_are_read():
    formula = "y ~ " + " + ".join(f"x{i}" for i in range(1000)) + " + (1 | g)"
    assert len(fixed_terms(formula)) == 1001


def test_long_formulas_are_quoted_in_part():
    formula = "y ~ " + " + ".join(f"x{i}" for i in range(100)) + " + foo(x) + (1 | g)"
    with pytest.raises(FormulaError) as error:
        plan_formula(formula)
    assert caret(error).startswith("foo(x)")
    assert len(str(error.value).splitlines()[1]) < 120
