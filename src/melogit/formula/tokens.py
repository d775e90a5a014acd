"""Cut a formula into tokens that know where they stand, and point at the place that an error is about."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from melogit.errors import FormulaError

MAX_LENGTH = 20_000
MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d][\w.]*)
      | (?P<quoted>`[^`]*`)
      | (?P<string>"[^"\\]*"|'[^'\\]*')
      | (?P<operator>\|\||\*\*|==|!=|<=|>=|//|[-+*/:^~|(),<>=%&\[\]])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the formula: ``kind`` is number, name, string or operator; backticked names have kind ``name``."""

    kind: str
    text: str  # a backticked name without its backticks
    start: int
    end: int

    @property
    def is_operand(self) -> bool:
        """Stands for a value (and so must be separated from its neighbour by an operator)."""
        return self.kind != "operator"


def formula_error(formula: str, position: int, message: str) -> FormulaError:
    """Build a ``FormulaError`` that quotes the formula and marks the position with a caret."""
    flat = re.sub(r"\s", " ", formula)
    if len(flat) > 100:
        first = max(0, position - 60)
        last = min(len(flat), first + 100)
        shown = ("..." if first else "") + flat[first:last] + ("..." if last < len(flat) else "")
        position = position - first + (3 if first else 0)
    else:
        shown = flat
    return FormulaError(f"In '{shown}': {message}\n    {shown}\n    {' ' * position}^")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` with the known name nearest to ``name``, or nothing."""
    names = [text for text in known if isinstance(text, str)]
    if len(names) > 5000:
        return ""
    same_letters = [text for text in names if text.lower() == name.lower()]
    close = same_letters or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def tokenize(formula: str) -> tuple[Token, ...]:
    """Split a formula into tokens; unknown characters, unbalanced brackets and formula bombs are refused."""
    if len(formula) > MAX_LENGTH:
        raise FormulaError(f"The formula has {len(formula):,} characters; at most {MAX_LENGTH:,} are read.")
    tokens = []
    position = 0
    while position < len(formula):
        match = _TOKEN.match(formula, position)
        if match is None and formula[position] == "." and tokens and tokens[-1].text in (")", "]"):
            tokens.append(Token("operator", ".", position, position + 1))  # refused later, with its expression
            position += 1
            continue
        if match is None:
            raise _unreadable(formula, position)
        kind, text = str(match.lastgroup), match.group()
        if kind == "quoted":
            kind, text = "name", text[1:-1]
            if not text:
                raise formula_error(formula, position, "there is no name between the backticks.")
        if kind != "space":
            tokens.append(Token(kind, text, position, match.end()))
        position = match.end()
    _check_brackets(formula, tokens)
    return tuple(tokens)


def _unreadable(formula: str, position: int) -> FormulaError:
    character = formula[position]
    if character in "\"'`":
        return formula_error(formula, position, f"the quote {character} is not closed (or holds a backslash).")
    if character == ".":
        return formula_error(formula, position, "'.' (all other columns) is not supported; name the columns.")
    return formula_error(
        formula, position, f"the character {character!r} has no meaning here. Put unusual column names in backticks."
    )


def _check_brackets(formula: str, tokens: list[Token]) -> None:
    closes = {")": "(", "]": "["}
    open_brackets: list[Token] = []
    for token in tokens:
        if token.kind != "operator":
            continue
        if token.text in "([":
            open_brackets.append(token)
            if len(open_brackets) > MAX_DEPTH:
                raise formula_error(formula, token.start, f"brackets are nested more than {MAX_DEPTH} deep.")
        elif token.text in closes:
            if not open_brackets or open_brackets[-1].text != closes[token.text]:
                raise formula_error(formula, token.start, f"this '{token.text}' closes nothing.")
            open_brackets.pop()
    if open_brackets:
        bracket = open_brackets[-1]
        raise formula_error(formula, bracket.start, f"the bracket '{bracket.text}' is not closed.")
