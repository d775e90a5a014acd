"""What a formula asks for before any data are seen: the terms, the checked expressions, the columns needed."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import cast

from formulaic import Formula, SimpleFormula
from formulaic.errors import FormulaicError
from formulaic.parser.types import Factor

from melogit.errors import FormulaError
from melogit.formula.parser import Parsed, RandomPart, parse_formula
from melogit.formula.tokens import formula_error
from melogit.formula.whitelist import INSTEAD, Expression, check_expression

_QUOTED = re.compile(r"`([^`]*)`")
_ORDERED = re.compile(r"\s*0\s*\+.*\+\s*1\s*", re.DOTALL)  # (0 + x + 1 | g): the constant last, as Stata has it


@dataclass(frozen=True, slots=True)
class Matrix:
    """A side of the formula that becomes a matrix: formulaic's terms and their checked expressions."""

    terms: SimpleFormula
    expressions: Mapping[str, Expression]  # by formulaic's spelling of the factor; plain columns are not in it
    plain: tuple[str, ...]  # columns that stand by themselves


@dataclass(frozen=True, slots=True)
class Plan:
    """A formula, read and checked.

    Attributes
    ----------
    response : tuple of Expression
        One, or two for ``cbind(successes, failures)``.
    columns : dict
        Every data column that the formula names -> its first place in the formula.
    """

    parsed: Parsed
    response: tuple[Expression, ...]
    fixed: Matrix
    offsets: tuple[Expression, ...]
    random: tuple[tuple[RandomPart, Matrix], ...]
    columns: Mapping[str, int]

    @property
    def response_text(self) -> str:
        """The response as written."""
        return self.parsed.response.strip()


def plan_formula(formula: str) -> Plan:
    """Read and check a formula; nothing in it is evaluated.

    Parameters
    ----------
    formula : str

    Returns
    -------
    Plan

    Raises
    ------
    FormulaError
        With a caret under the place.

    Examples
    --------
    >>> list(plan_formula("y ~ log(x) + (1 | g)").columns)
    ['y', 'x', 'g']
    """
    if not isinstance(formula, str):
        raise FormulaError(f"The formula must be text such as 'y ~ x + (1 | g)', not {type(formula).__name__}.")
    return _plan(formula)


@lru_cache(maxsize=128)
def _plan(formula: str) -> Plan:
    parsed = parse_formula(formula)
    columns: dict[str, int] = {}
    response = _response(parsed)
    for expression in response:
        _add_columns(columns, formula, expression)
    fixed = _matrix(parsed, parsed.fixed, columns)
    offsets = tuple(check_expression(formula, text, _start(text), transforms=False) for text in parsed.offsets)
    for expression in offsets:
        _add_columns(columns, formula, expression)
    random = tuple((part, _matrix(parsed, part.left, columns, _ORDERED.fullmatch(part.left))) for part in parsed.random)
    for part, matrix in random:
        if not len(matrix.terms):
            raise formula_error(formula, part.start, f"{part.text} has no random effect: nothing but 0 before the bar.")
    for name, position in parsed.group_positions:
        columns.setdefault(name, position)
    _check_response_unused(parsed, response, fixed, random)
    return Plan(parsed, response, fixed, offsets, random, columns)


def _response(parsed: Parsed) -> tuple[Expression, ...]:
    text, start = parsed.response, _start(parsed.response)
    stripped = text.strip()
    if not (stripped.startswith("cbind") and stripped[5:].lstrip().startswith("(") and stripped.endswith(")")):
        return (check_expression(parsed.text, text, start, transforms=False),)
    inner = text.index("(", start) + 1
    cuts = [inner - 1, *_commas(text, inner, len(text.rstrip()) - 1), len(text.rstrip()) - 1]
    if len(cuts) != 3:
        raise formula_error(
            parsed.text,
            start,
            "cbind() takes two expressions: cbind(successes, failures), such as cbind(ill, n - ill).",
        )
    pieces = [" " * (a + 1) + text[a + 1 : b] for a, b in pairwise(cuts)]
    if not all(piece.strip() for piece in pieces):
        raise formula_error(parsed.text, start, "cbind() takes two expressions: cbind(successes, failures).")
    return tuple(check_expression(parsed.text, piece, _start(piece), transforms=False) for piece in pieces)


def _commas(text: str, start: int, end: int) -> list[int]:
    depth, quote, found = 0, "", []
    for i in range(start, end):
        character = text[i]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "," and depth == 0:
            found.append(i)
    return found


def _matrix(parsed: Parsed, text: str, columns: dict[str, int], as_written: object = None) -> Matrix:
    """Let formulaic multiply out one side of the formula, then check every factor that came out.

    The constant comes first and interactions last, unless ``as_written``.
    """
    for name in _QUOTED.findall(text):
        if keyword.iskeyword(name) and f"(`{name}`" in text.replace(" ", ""):
            place = text.index(f"`{name}`")
            raise formula_error(
                parsed.text,
                place,
                f"'{name}' is a word of Python and cannot stand inside a function; rename the column.",
            )
    try:
        order = "none" if as_written else "degree"
        terms = cast(SimpleFormula, Formula(text, _ordering=order))  # pyright: ignore[reportAbstractUsage]
    except FormulaicError as error:
        raise _readable(parsed, text, error) from error
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, AttributeError) as error:
        for name, ours in INSTEAD.items():
            if f"{name}(" in text:
                message = f"'{name}' is not a function of formulas; write {ours}() instead."
                raise formula_error(parsed.text, text.index(f"{name}("), message) from error
        raise formula_error(parsed.text, _start(text), f"'{text.strip()}' cannot be read.") from error
    expressions: dict[str, Expression] = {}
    plain: dict[str, None] = {}
    for factor, start in _factors(terms, _start(text)):
        if factor.eval_method is Factor.EvalMethod.LOOKUP:
            plain[factor.expr] = None
            columns.setdefault(factor.expr, start)
        elif factor.eval_method is Factor.EvalMethod.PYTHON:
            expression = check_expression(parsed.text, factor.expr, start)
            expressions[factor.expr] = expression
            _add_columns(columns, parsed.text, expression)
    return Matrix(terms, expressions, tuple(plain))


def _factors(terms: SimpleFormula, start: int) -> Iterator[tuple[Factor, int]]:
    for term in terms:
        for factor in term.factors:
            place = factor.token.source_start if factor.token is not None else None
            yield factor, start if place is None else place


def _readable(parsed: Parsed, text: str, error: FormulaicError) -> FormulaError:
    """Turn formulaic's complaint into ours: its first line, without terminal colours."""
    message = str(error).splitlines()[0].strip() or "this cannot be read."
    return formula_error(parsed.text, _start(text), message[0].lower() + message[1:])


def _add_columns(columns: dict[str, int], formula: str, expression: Expression) -> None:
    for name in expression.columns.values():
        place = formula.find(name, expression.start)
        columns.setdefault(name, place if place >= 0 else expression.start)


def _check_response_unused(
    parsed: Parsed, response: tuple[Expression, ...], fixed: Matrix, random: tuple[tuple[RandomPart, Matrix], ...]
) -> None:
    """Refuse an outcome that explains itself; the size in ``cbind(ill, size - ill)`` may stand on the right."""
    outcome = set(response[0].columns.values())
    for matrix, where in [(fixed, "predictor"), *((matrix, "random slope") for _, matrix in random)]:
        used = set(matrix.plain).union(*(e.columns.values() for e in matrix.expressions.values()))
        if outcome & used:
            name = sorted(outcome & used)[0]
            place = parsed.text.find(name, parsed.text.index("~"))
            raise formula_error(parsed.text, place, f"the response '{name}' is also a {where}. Leave it out.")
    for part, _ in random:
        for name in sorted(outcome & set(part.group)):
            place = dict(parsed.group_positions)[name]
            raise formula_error(parsed.text, place, f"the response '{name}' is also a grouping column.")


def is_category_call(expression: Expression) -> bool:
    """Tell whether the whole expression is ``C(...)``, which takes numbers as categories."""
    tree = expression.tree
    return isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "C"


def _start(text: str) -> int:
    return len(text) - len(text.lstrip())
