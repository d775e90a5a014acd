"""Expressions of ``generate`` and ``if``: Stata's precedence, missing values, text; never anything but our errors."""

import math

import numpy as np
import pandas as pd
import pytest

from melogit.errors import FormulaError
from melogit.stata.data import Dataset
from melogit.stata.expressions import compute, condition, row_range
from melogit.stata.words import tokenize

FRAME = pd.DataFrame({"a": [1.0, 4.0, np.nan], "b": [2.0, -2.0, 5.0], "s": ["no", "yes", None]})
DATA = Dataset(FRAME.assign(c=pd.Categorical(["I", "II", "I"])), {"c": {1: "I", 2: "II"}})


def numbers(text):
    found = compute(text, tokenize(text), DATA)
    return [None if math.isnan(x) else round(float(x), 9) for x in found.numbers]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("-2^2", [-4, -4, -4]),
        ("2^3^2", [64, 64, 64]),
        ("2^-1", [0.5, 0.5, 0.5]),
        ("1 + 2*3 - 4/2", [5, 5, 5]),
        ("a + b", [3, 2, None]),
        ("a > 2", [0, 1, 1]),  # missing is larger than every number
        ("a > 2 & !missing(a)", [0, 1, 0]),
        ("a == .", [0, 0, 1]),
        ("!a == 0", [1, 1, 1]),  # (!a) == 0
        ("b < 0 | a == 1", [1, 1, 0]),
        ("~(b<0)", [1, 0, 1]),
        ("ln(b)", [round(math.log(2), 9), None, round(math.log(5), 9)]),
        ("1/0", [None, None, None]),
        ("sqrt(a)", [1, 2, None]),
        ("int(-2.7) + floor(-2.7) + ceil(2.1)", [-2, -2, -2]),
        ("round(2.5) + round(7, 4)", [11, 11, 11]),
        ("abs(b)", [2, 2, 5]),
        ("cond(a > 2, 10, b)", [2, 10, 10]),
        ("min(a, b) + max(a, b)", [3, 2, 10]),
        ("mod(-3, 5)", [2, 2, 2]),
        ("inrange(a, 1, 3)", [1, 0, 0]),
        ("inlist(a, 4, 9)", [0, 1, 0]),
        ('s == "yes"', [0, 1, 0]),
        ('s != "yes"', [1, 0, 1]),
        ("missing(s)", [0, 0, 1]),
        ("c == 2", [0, 1, 0]),
        ('c == "II"', [0, 1, 0]),
        ("_n", [1, 2, 3]),
        ("_N", [3, 3, 3]),
        ("A + B", [3, 2, None]),  # case does not matter
        ("exp(log10(100))", [round(math.exp(2), 9)] * 3),
    ],
)
def test_values(text, values):
    assert numbers(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a +", "ends too early"),
        ("a b", "an operator is expected"),
        ("foo(a)", "Allowed: ln, log"),
        ("__import__('os')", "closed"),
        ("eval(a)", "not a function"),
        ("a.b", "operator is expected"),
        ("s + 1", "column 's' holds text"),
        ("s > 1", "can be compared with text in quotes only"),
        ('a == "x"', "text"),
        ("z", "there is no column 'z'"),
        ("ln(a, b)", "takes 1 arguments, not 2"),
        ("cond(a, 1, s)", "a number in one case and text in the other"),
        ("((((a", "not closed"),
        ("a[1]", "operator is expected"),
    ],
)
def test_errors(text, message):
    with pytest.raises(FormulaError, match=message):
        compute(text, tokenize(text), DATA)


def test_condition_takes_missing_for_true_as_stata_does():
    assert condition("a", tokenize("a"), DATA).tolist() == [True, True, True]
    with pytest.raises(FormulaError, match="this is text"):
        condition("s", tokenize("s"), DATA)


@pytest.mark.parametrize(
    ("text", "rows"),
    [("2", [2]), ("1/2", [1, 2]), ("-2/l", [2, 3]), ("f/2", [1, 2]), ("2/-1", [2, 3])],
)
def test_ranges(text, rows):
    assert (np.flatnonzero(row_range(text, tokenize(text), 3)) + 1).tolist() == rows


@pytest.mark.parametrize("text", ["0", "4", "3/1", "1/2/3", "x", "1.5", "/"])
def test_ranges_outside_the_data(text):
    with pytest.raises(FormulaError):
        row_range(text, tokenize(text), 3)


def test_deep_nesting_is_refused():
    text = "(" * 60 + "a" + ")" * 60
    with pytest.raises(FormulaError, match="more than 50 deep"):
        compute(text, tokenize(text), DATA)
    assert numbers("-" * 2000 + "b") == [2, -2, 5]
    assert numbers("!" * 2001 + "b") == [0, 0, 0]
