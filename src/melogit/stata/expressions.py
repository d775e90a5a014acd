"""Expressions of ``generate``, ``replace`` and ``if``: read and computed here, column by column.

Stata's rules hold: ``.`` is missing and larger than every number in comparisons, ``^`` binds tighter than a minus
sign, truth is 1 or 0, and whatever is not 0 is true. A result that is not defined is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.errors import FormulaError
from melogit.stata.data import Dataset, kind_of
from melogit.stata.factors import Variable, find_column
from melogit.stata.words import MAX_DEPTH, Token, error_at, is_operator

Numbers = NDArray[np.float64]
Texts = NDArray[np.object_]

FUNCTIONS: dict[str, tuple[int, int]] = {  # least and most arguments
    "ln": (1, 1),
    "log": (1, 1),
    "log10": (1, 1),
    "exp": (1, 1),
    "sqrt": (1, 1),
    "abs": (1, 1),
    "int": (1, 1),
    "floor": (1, 1),
    "ceil": (1, 1),
    "round": (1, 2),
    "min": (2, 20),
    "max": (2, 20),
    "mod": (2, 2),
    "cond": (3, 3),
    "missing": (1, 20),
    "inrange": (3, 3),
    "inlist": (2, 50),
}
_PLAIN: dict[str, Callable[[Numbers], Numbers]] = {
    "ln": np.log,
    "log": np.log,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "int": np.trunc,
    "floor": np.floor,
    "ceil": np.ceil,
}
_LEVELS = (("|",), ("&",), ("==", "!=", "~=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/"))


@dataclass(frozen=True, slots=True)
class Value:
    """Numbers (missing as NaN), or text, or both for labelled numbers; arrays of one value per row or of one."""

    numbers: Numbers | None
    texts: Texts | None = None
    name: str = ""


def compute(text: str, tokens: Sequence[Token], data: Dataset) -> Value:
    """Compute an expression for every row.

    Parameters
    ----------
    text : str
        The command, for messages.
    tokens : sequence of Token
    data : Dataset

    Returns
    -------
    Value
        Arrays of (n,).

    Raises
    ------
    FormulaError
        With a caret: an unknown column or function, text where a number belongs.

    Examples
    --------
    >>> import pandas as pd
    >>> from melogit.stata.words import tokenize
    >>> data = Dataset(pd.DataFrame({"age": [30.0, 50.0, float("nan")]}))
    >>> compute(t := "-2^2 + (age > 40)", tokenize(t), data).numbers.tolist()
    [-4.0, -3.0, -3.0]
    """
    reader = _Expression(text, tokens, data)
    with np.errstate(all="ignore"):
        value = reader.whole()
    n = len(data.frame)
    numbers = None if value.numbers is None else np.broadcast_to(_defined(value.numbers), (n,))
    texts = None if value.texts is None else np.broadcast_to(value.texts, (n,))
    return Value(numbers, texts, value.name)


def condition(text: str, tokens: Sequence[Token], data: Dataset) -> NDArray[np.bool_]:
    """Compute an ``if``: which rows it holds for (missing counts as true, as in Stata)."""
    value = compute(text, tokens, data)
    if value.numbers is None:
        raise error_at(text, tokens[0].start, "after 'if' stands a condition, such as age > 40; this is text.")
    return value.numbers != 0


def _defined(numbers: Numbers) -> Numbers:
    return np.where(np.isfinite(numbers), numbers, np.nan)


class _Expression:
    def __init__(self, text: str, tokens: Sequence[Token], data: Dataset) -> None:
        self.text, self.tokens, self.data = text, tokens, data
        self.i = self.depth = 0

    @property
    def token(self) -> Token | None:
        return self.tokens[self.i] if self.i < len(self.tokens) else None

    @property
    def place(self) -> int:
        if self.token is not None:
            return self.token.start
        return self.tokens[-1].end if self.tokens else len(self.text)

    def error(self, position: int, message: str) -> FormulaError:
        return error_at(self.text, position, message)

    def whole(self) -> Value:
        value = self.operation(0)
        if self.token is not None:
            raise self.error(self.place, f"'{self.token.text}' cannot stand here; an operator is expected.")
        return value

    def operation(self, level: int) -> Value:
        if level == len(_LEVELS):
            return self.negative()
        value = self.operation(level + 1)
        while is_operator(self.token, *_LEVELS[level]):
            operator = self.tokens[self.i]
            self.i += 1
            value = self.apply(operator, value, self.operation(level + 1))
        return value

    def negative(self) -> Value:
        signs = []
        while is_operator(self.token, "-", "+"):
            signs.append(self.tokens[self.i])
            self.i += 1
        value = self.power()
        for sign in reversed(signs):
            numbers = self.numbers(value, sign)
            value = Value(-numbers if sign.text == "-" else numbers)
        return value

    def power(self) -> Value:
        value = self.negation()
        while is_operator(self.token, "^"):
            operator = self.tokens[self.i]
            self.i += 1
            minus = is_operator(self.token, "-")
            self.i += minus
            exponent = self.numbers(self.negation(), operator)
            value = Value(_defined(np.power(self.numbers(value, operator), -exponent if minus else exponent)))
        return value

    def negation(self) -> Value:
        marks = []
        while is_operator(self.token, "!", "~"):
            marks.append(self.tokens[self.i])
            self.i += 1
        value = self.single()
        for mark in reversed(marks):
            value = Value((self.numbers(value, mark) == 0).astype(float))
        return value

    def single(self) -> Value:
        token = self.token
        if token is None:
            raise self.error(self.place, "the expression ends too early: a number, a column or a bracket is missing.")
        self.i += 1
        if token.kind == "number":
            return Value(np.array([float(token.text)]))
        if token.kind == "string":
            return Value(None, np.array([token.text], dtype=object))
        if is_operator(token, "("):
            return self.bracket()
        if is_operator(token, "."):
            return Value(np.array([np.nan]))
        if token.kind == "name":
            if is_operator(self.token, "(") and self.tokens[self.i].start == token.end:
                return self.call(token)
            return self.column(token)
        raise self.error(token.start, f"'{token.text}' cannot stand here; a number, a column or a bracket is expected.")

    def bracket(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(self.place, f"brackets are nested more than {MAX_DEPTH} deep.")
        value = self.operation(0)
        if not is_operator(self.token, ")"):
            raise self.error(self.place, "')' is missing here.")
        self.i += 1
        self.depth -= 1
        return value

    def column(self, token: Token) -> Value:
        n = len(self.data.frame)
        if token.text == "_n":
            return Value(np.arange(1.0, n + 1))
        if token.text == "_N":
            return Value(np.array([float(n)]))
        name = find_column(self.text, Variable(token.text, token.start), self.data.names)
        column = self.data.column(name)
        kind = kind_of(column)
        if kind == "number":
            return Value(column.to_numpy(dtype=float, na_value=np.nan), None, name)
        if kind == "other":
            raise self.error(token.start, f"column '{name}' holds dates or other values that cannot be used here.")
        texts = np.array(["" if missing else str(x) for x, missing in zip(column, column.isna(), strict=True)], object)
        codes = self.data.codes.get(name)
        if not codes:
            return Value(None, texts, name)
        back = {label: float(code) for code, label in codes.items()}
        return Value(np.array([back.get(label, np.nan) for label in texts]), texts, name)

    def call(self, token: Token) -> Value:
        if token.text not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise self.error(token.start, f"'{token.text}' is not a function that can be used here. Allowed: {known}.")
        self.i += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(token.start, f"brackets are nested more than {MAX_DEPTH} deep.")
        arguments = [] if is_operator(self.token, ")") else [self.operation(0)]
        while is_operator(self.token, ","):
            self.i += 1
            arguments.append(self.operation(0))
        if not is_operator(self.token, ")"):
            raise self.error(self.place, "')' or a comma is missing here.")
        self.i += 1
        self.depth -= 1
        least, most = FUNCTIONS[token.text]
        if not least <= len(arguments) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise self.error(token.start, f"{token.text}() takes {wanted} arguments, not {len(arguments)}.")
        return self.function(token, arguments)

    def function(self, token: Token, arguments: list[Value]) -> Value:
        name = token.text
        if name == "missing":
            return Value(np.logical_or.reduce(np.broadcast_arrays(*map(_is_missing, arguments))).astype(float))
        if name == "inlist":
            equal = [self.compare("==", arguments[0], other, token) for other in arguments[1:]]
            return Value(np.logical_or.reduce(np.broadcast_arrays(*equal)).astype(float))
        if name == "cond":
            return self.choose(token, arguments)
        values = [self.numbers(value, token) for value in arguments]
        if name in _PLAIN:
            return Value(_defined(_PLAIN[name](values[0])))
        if name == "round":
            unit = values[1] if len(values) > 1 else np.array([1.0])
            return Value(_defined(np.where(unit == 0, values[0], np.floor(values[0] / unit + 0.5) * unit)))
        if name == "mod":
            return Value(_defined(values[0] - values[1] * np.floor(values[0] / values[1])))
        if name == "inrange":
            x, low, high = values
            inside = (x >= np.where(np.isnan(low), -np.inf, low)) & (x <= np.where(np.isnan(high), np.inf, high))
            return Value(inside.astype(float))
        return Value((np.fmin if name == "min" else np.fmax).reduce(np.broadcast_arrays(*values)))

    def choose(self, token: Token, arguments: list[Value]) -> Value:
        test, yes, no = arguments
        where = self.numbers(test, token) != 0
        if yes.numbers is not None and no.numbers is not None:
            return Value(np.where(where, yes.numbers, no.numbers))
        if yes.texts is None or no.texts is None:
            raise self.error(token.start, "cond() gives a number in one case and text in the other.")
        return Value(None, np.where(where, yes.texts, no.texts))

    def apply(self, operator: Token, left: Value, right: Value) -> Value:
        sign = operator.text
        if sign in _LEVELS[2]:
            return Value(self.compare(sign, left, right, operator).astype(float))
        if sign == "+" and left.numbers is None and right.numbers is None:
            assert left.texts is not None and right.texts is not None
            return Value(None, left.texts + right.texts)
        a, b = self.numbers(left, operator), self.numbers(right, operator)
        if sign == "&":
            return Value(((a != 0) & (b != 0)).astype(float))
        if sign == "|":
            return Value(((a != 0) | (b != 0)).astype(float))
        results = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
        return Value(_defined(results[sign](a, b)))

    def compare(self, sign: str, left: Value, right: Value, place: Token) -> NDArray[np.bool_]:
        if left.numbers is not None and right.numbers is not None:
            a, b = (np.where(np.isnan(x), np.inf, x) for x in (left.numbers, right.numbers))
        elif left.texts is not None and right.texts is not None:
            a, b = left.texts, right.texts
        else:
            side = left if left.numbers is None else right
            what = f"column '{side.name}' holds text" if side.name else "one side is text"
            raise self.error(place.start, f"{what}, which can be compared with text in quotes only.")
        compare = {"==": np.equal, "!=": np.not_equal, "~=": np.not_equal}.get(sign)
        if compare is None:
            compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[sign]
        return np.asarray(compare(a, b), dtype=bool)

    def numbers(self, value: Value, place: Token) -> Numbers:
        if value.numbers is None:
            what = f"column '{value.name}' holds text" if value.name else "this is text"
            hint = f"; encode {value.name}, generate(newname) gives it numbers" if value.name else ""
            raise self.error(place.start, f"{what}, and '{place.text}' calculates with numbers{hint}.")
        return value.numbers


def _is_missing(value: Value) -> NDArray[np.bool_]:
    if value.numbers is not None:
        return np.isnan(value.numbers)
    assert value.texts is not None
    return np.asarray(value.texts == "", dtype=bool)


def as_column(value: Value, index: pd.Index) -> pd.Series:
    """Turn a computed value into a data column; empty text is missing, whole numbers are integers."""
    if value.numbers is None:
        assert value.texts is not None
        return pd.Series([text if text else None for text in value.texts], index=index, dtype="str")
    numbers = value.numbers
    if not np.isnan(numbers).any() and (numbers == np.floor(numbers)).all() and (np.abs(numbers) < 2**53).all():
        return pd.Series(numbers.astype(np.int64), index=index)
    return pd.Series(numbers.copy(), index=index)


def row_range(text: str, tokens: Sequence[Token], n: int) -> NDArray[np.bool_]:
    """Compute an ``in``: ``5``, ``1/100``, ``-10/l`` (counted from the end), ``f/50``."""
    pieces: list[list[str]] = [[]]
    for token in tokens:
        if is_operator(token, "/"):
            pieces.append([])
        else:
            pieces[-1].append(token.text)
    try:
        ends = [{"f": "1", "F": "1", "l": "-1", "L": "-1"}.get(word, word) for word in map("".join, pieces)]
        places = [int(word) for word in ends]
    except ValueError:
        places = []
    if not 1 <= len(places) <= 2 or not all(1 <= abs(place) <= n for place in places):
        message = f"'in' takes a row or a range such as 1/100, within the {n:,} rows of the data (f: first, l: last)."
        raise error_at(text, tokens[0].start, message)
    first, last = (place if place > 0 else n + 1 + place for place in (places[0], places[-1]))
    if first > last:
        raise error_at(text, tokens[0].start, f"the range ends (row {last}) before it begins (row {first}).")
    keep = np.zeros(n, dtype=bool)
    keep[first - 1 : last] = True
    return keep
