"""Cut a Stata command into words that know where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from melogit.errors import FormulaError
from melogit.formula.tokens import MAX_DEPTH, MAX_LENGTH, Token, formula_error, nearest

__all__ = ["Token", "cut", "error_at", "find_top", "is_operator", "match_word", "nearest", "tokenize"]

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>`"[^"]*"'|"[^"]*")
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![^\W\d])|\.\d+(?:[eE][+-]?\d+)?(?![^\W\d])|\d+)
      | (?P<name>[^\W\d]\w*)
      | (?P<operator>\|\||\#\#|==|!=|~=|<=|>=|[-+*/^&|!~<>=(),.:\#\[\]?%])
      | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {")": "(", "]": "["}


def error_at(text: str, position: int, message: str) -> FormulaError:
    """Build an error that quotes the command and marks the position with a caret."""
    return formula_error(text, position, message)


def tokenize(text: str) -> tuple[Token, ...]:
    """Split a command into tokens (kinds name, number, string, operator, other); brackets must match.

    Examples
    --------
    >>> [token.text for token in tokenize("ib2.stage##c.age")]
    ['ib2', '.', 'stage', '##', 'c', '.', 'age']
    """
    if not isinstance(text, str):
        raise FormulaError(f"A Stata command is text, not {type(text).__name__}.")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"The command has {len(text):,} characters; at most {MAX_LENGTH:,} are read.")
    tokens: list[Token] = []
    opened: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "space":
            continue
        written = match.group()
        value = written.strip("`'").strip('"') if kind == "string" else written
        token = Token(kind, value, match.start(), match.end())
        tokens.append(token)
        if kind == "other" and written in "\"'`":
            raise error_at(text, token.start, f"the quote {written} is not closed.")
        if kind == "operator":
            _balance(text, token, opened)
    if opened:
        raise error_at(text, opened[-1].start, f"the bracket '{opened[-1].text}' is not closed.")
    return tuple(tokens)


def _balance(text: str, token: Token, opened: list[Token]) -> None:
    if token.text in "([":
        opened.append(token)
        if len(opened) > MAX_DEPTH:
            raise error_at(text, token.start, f"brackets are nested more than {MAX_DEPTH} deep.")
    elif token.text in _CLOSES:
        if not opened or opened[-1].text != _CLOSES[token.text]:
            raise error_at(text, token.start, f"this '{token.text}' closes nothing.")
        opened.pop()


def is_operator(token: Token | None, *texts: str) -> bool:
    """Tell whether the token is one of these operators."""
    return token is not None and token.kind == "operator" and token.text in texts


def find_top(tokens: Sequence[Token], *operators: str) -> list[int]:
    """Positions of these operators outside all brackets."""
    depth, found = 0, []
    for i, token in enumerate(tokens):
        if token.kind != "operator":
            continue
        depth -= token.text in _CLOSES
        if depth == 0 and token.text in operators:
            found.append(i)
        depth += token.text in ("(", "[")
    return found


def cut(tokens: Sequence[Token], operator: str) -> list[Sequence[Token]]:
    """Cut the tokens at an operator outside all brackets."""
    pieces, start = [], 0
    for i in find_top(tokens, operator):
        pieces.append(tokens[start:i])
        start = i + 1
    return [*pieces, tokens[start:]]


def match_word(word: str, spellings: Iterable[str]) -> str | None:
    """Find the entry of a table that a word, possibly shortened, stands for; entries are spelt as in Stata's manuals.

    Capital letters are the shortest form: ``INTPoints`` may be shortened to ``intp``. What follows a bracket in an
    entry is not part of the word.

    Examples
    --------
    >>> match_word("intp", ["or", "INTPoints(numbers)"]), match_word("o", ["or"])
    ('INTPoints(numbers)', None)
    """
    shortened: Mapping[str, str] = {entry.partition("(")[0]: entry for entry in spellings}
    for spelling, entry in shortened.items():
        if word == spelling.lower():
            return entry
    for spelling, entry in shortened.items():
        least = len(spelling) - len(spelling.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        if least and len(word) >= least and spelling.lower().startswith(word):
            return entry
    return None
