"""Expressions over a model's parameters, read by a small parser of our own: nothing in them is ever executed.

Grammar, loosest first: ``+ -``, ``* /``, unary ``-``, ``^`` (or ``**``), then numbers, parameter names, function calls
and parentheses. Parameter names are matched as they are printed, longest first: ``CancerStage[II]``,
``DID:var(Intercept)``; any name may stand between backticks or in Stata's ``_b[...]``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr

from melogit.errors import FormulaError

FloatArray = NDArray[np.float64]
MAX_LENGTH = 10_000
MAX_DEPTH = 100

# Value and derivative of each function.
FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda x: 1 / x),
    "ln": (np.log, lambda x: 1 / x),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "expit": (expit, lambda x: expit(x) * expit(-x)),
    "invlogit": (expit, lambda x: expit(x) * expit(-x)),
    "logit": (logit, lambda x: 1 / (x * (1 - x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "atanh": (np.arctanh, lambda x: 1 / (1 - x * x)),
    "normal": (ndtr, lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)),
}

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of an expression.

    Attributes
    ----------
    kind : str
        ``number``, ``parameter``, ``call``, or an operator ``+ - * / ^ neg``.
    parts : tuple of Node
    value : float
        Of a number.
    index : int
        Of a parameter.
    name : str
        Of a function.
    """

    kind: str
    parts: tuple[Node, ...] = ()
    value: float = 0.0
    index: int = -1
    name: str = ""


def parse(text: str, names: Sequence[str]) -> Node:
    """Read an expression.

    Parameters
    ----------
    text : str
    names : sequence of str
        The parameters that may occur in it.

    Raises
    ------
    FormulaError
        With the text and a mark under the place.

    Examples
    --------
    >>> parse("2 * IL6 - CRP", ["IL6", "CRP"]).kind
    '-'
    """
    if not isinstance(text, str):
        raise FormulaError(f"{text!r} is not an expression: write it as text, as in 'exp(age)'.")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"The expression has {len(text):,} characters; at most {MAX_LENGTH:,} are read.")
    reader = _Reader(text, tuple(sorted(enumerate(names), key=lambda pair: -len(pair[1]))))
    node = reader.sum()
    if reader.peek():
        raise reader.fault(f"'{text[reader.at]}' is not expected here.")
    return node


@dataclass(slots=True)
class _Reader:
    text: str
    names: tuple[tuple[int, str], ...]
    at: int = 0
    depth: int = 0

    def fault(self, what: str) -> FormulaError:
        return FormulaError(f"In the expression, {what}\n  {self.text}\n  {' ' * self.at}^")

    def peek(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fault(f"parentheses are nested more than {MAX_DEPTH} deep.")
        node = self.product()
        while (sign := self.peek()) and sign in "+-":
            self.at += 1
            node = Node(sign, (node, self.product()))
        self.depth -= 1
        return node

    def product(self) -> Node:
        node = self.signed()
        while (sign := self.peek()) and sign in "*/":
            self.at += 1
            node = Node(sign, (node, self.signed()))
        return node

    def signed(self) -> Node:
        negative = False
        while (sign := self.peek()) and sign in "+-":
            self.at += 1
            negative ^= sign == "-"
        node = self.power()
        return Node("neg", (node,)) if negative else node

    def power(self) -> Node:
        base = self.atom()
        self.peek()
        width = 2 if self.text.startswith("**", self.at) else 1 if self.text.startswith("^", self.at) else 0
        if not width:
            return base
        self.at += width
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fault(f"powers are nested more than {MAX_DEPTH} deep.")
        node = Node("^", (base, self.signed()))
        self.depth -= 1
        return node

    def atom(self) -> Node:
        letter = self.peek()
        if not letter:
            raise self.fault("something is missing at the end.")
        if letter == "(":
            return self.bracketed()
        found = self.parameter()
        if found is not None:
            return found
        if number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
            return Node("number", value=float(number.group()))
        word = _WORD.match(self.text, self.at)
        if word is None:
            raise self.fault(f"'{letter}' is not expected here.")
        name = word.group()
        if name in FUNCTIONS and self.text[word.end() :].lstrip().startswith("("):
            self.at = word.end()
            self.peek()
            return Node("call", (self.bracketed(),), name=name)
        raise self.fault(self._unknown(name, word.end()))

    def _unknown(self, name: str, end: int) -> str:
        if self.text[end:].lstrip().startswith("("):
            return f"there is no function '{name}'; known are {', '.join(FUNCTIONS)}."
        known = [known for _, known in sorted(self.names)]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"Did you mean '{close[0]}'?" if close else f"The parameters are {', '.join(known)}."
        return f"there is no parameter '{name}'. {hint}"

    def bracketed(self) -> Node:
        opened = self.at
        self.at += 1
        node = self.sum()
        if self.peek() != ")":
            self.at = opened
            raise self.fault("this '(' is not closed.")
        self.at += 1
        return node

    def parameter(self) -> Node | None:
        for before, after in (("`", "`"), ("_b[", "]"), ("", "")):
            if not self.text.startswith(before, self.at):
                continue
            start = self.at + len(before)
            for index, name in self.names:
                end = start + len(name)
                if self.text.startswith(name + after, start) and (after or not _runs_on(self.text, end, name)):
                    self.at = end + len(after)
                    return Node("parameter", index=index)
            if before:
                raise self.fault(f"no parameter has this name; they are {', '.join(n for _, n in sorted(self.names))}.")
        return None


def _runs_on(text: str, end: int, name: str) -> bool:
    """Whether the word goes on after the name, so that it is another word."""
    following = text[end : end + 1]
    return (following.isalnum() or following == "_") and (name[-1].isalnum() or name[-1] == "_")


def evaluate(node: Node, params: FloatArray) -> tuple[float, FloatArray]:
    """Value and exact gradient at ``params`` (k,), by forward differentiation.

    Examples
    --------
    >>> value, gradient = evaluate(parse("exp(a) * b", ["a", "b"]), np.array([0.0, 3.0]))
    >>> float(value), gradient.tolist()
    (3.0, [3.0, 1.0])
    """
    with np.errstate(all="ignore"):
        return _evaluate(node, np.asarray(params, dtype=float))


def _evaluate(node: Node, params: FloatArray) -> tuple[float, FloatArray]:
    if node.kind == "number":
        return node.value, np.zeros(len(params))
    if node.kind == "parameter":
        unit = np.zeros(len(params))
        unit[node.index] = 1.0
        return float(params[node.index]), unit
    parts = [_evaluate(part, params) for part in node.parts]
    a, da = parts[0]
    if node.kind == "neg":
        return -a, -da
    if node.kind == "call":
        function, slope = FUNCTIONS[node.name]
        return float(function(a)), _times(float(slope(a)), da)
    b, db = parts[1]
    if node.kind == "+":
        return a + b, da + db
    if node.kind == "-":
        return a - b, da - db
    if node.kind == "*":
        return a * b, _times(b, da) + _times(a, db)
    if node.kind == "/":
        b = np.float64(b)
        return float(a / b), _times(float(1 / b), da) - _times(float(a / b / b), db)
    value = float(np.power(np.float64(a), b))
    gradient = _times(float(b * np.power(np.float64(a), b - 1)), da)
    if np.any(db):
        gradient = gradient + _times(float(value * np.log(np.float64(a))), db)
    return value, gradient


def _times(factor: float, gradient: FloatArray) -> FloatArray:
    """Multiply where the gradient is not 0: an infinite factor must not reach parameters that do not occur."""
    out = np.zeros_like(gradient)
    return np.multiply(factor, gradient, out=out, where=gradient != 0)


def affine(node: Node, n: int) -> tuple[float, FloatArray] | None:
    """Constant and coefficients of an expression that is linear in the parameters; None where it is not.

    Examples
    --------
    >>> constant, row = affine(parse("2 * a - (b + 1) / 2", ["a", "b"]), 2)
    >>> constant, row.tolist()
    (-0.5, [2.0, -0.5])
    """
    if node.kind in ("number", "parameter"):
        return _evaluate(node, np.zeros(n))
    parts = [affine(part, n) for part in node.parts]
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    fixed = [not np.any(row) for _, row in known]
    linear = (
        node.kind in ("+", "-", "neg")
        or (node.kind == "*" and any(fixed))
        or (node.kind == "/" and fixed[1])
        or all(fixed)
    )
    # A linear expression is evaluated at 0: its value there is the constant, its gradient the coefficients.
    return evaluate(node, np.zeros(n)) if linear else None
