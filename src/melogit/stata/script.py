"""Do-files: statements without comments, lines joined, ``foreach`` taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from melogit.errors import FormulaError
from melogit.stata.words import MAX_DEPTH

MAX_SCRIPT = 1_000_000
MACRO = re.compile(r"`(\w+)'")
_FOREACH = re.compile(r"\s*foreach\s+(?P<name>\w+)\s+(?P<how>of\s+varlist|in)\s+(?P<items>[^{}]*?)\s*\{\s*")


@dataclass(frozen=True, slots=True)
class Statement:
    """One command, where it stands, and for ``foreach`` what it repeats.

    Attributes
    ----------
    text : str
        Without comments; for ``foreach`` its list.
    line : int
        From 1.
    loop : str
        The macro of ``foreach``; empty for a command.
    varlist : bool
        ``of varlist`` rather than ``in``.
    body : tuple of Statement
    """

    text: str
    line: int
    loop: str = ""
    varlist: bool = False
    body: tuple[Statement, ...] = ()


def read_script(text: str) -> tuple[Statement, ...]:
    r"""Cut a do-file into statements.

    Raises
    ------
    FormulaError
        A comment, quote or brace that is not closed; a control word that is not supported.

    Examples
    --------
    >>> [statement.text.split() for statement in read_script("use a // data\nsummarize x ///\n  y\n* done")]
    [['use', 'a'], ['summarize', 'x', 'y']]
    """
    if not isinstance(text, str):
        raise FormulaError(f"A do-file is text, not {type(text).__name__}.")
    if len(text) > MAX_SCRIPT:
        raise FormulaError(f"The do-file has {len(text):,} characters; at most {MAX_SCRIPT:,} are read.")
    lines = [(number, line.strip()) for number, line in _logical_lines(_without_blocks(text)) if line.strip()]
    statements, rest = _block(lines, 0, 0)
    if rest < len(lines):
        raise _error(lines[rest][0], "this '}' closes nothing.")
    return tuple(statements)


def _error(line: int, message: str) -> FormulaError:
    return FormulaError(f"Line {line} of the do-file: {message}")


def _without_blocks(text: str) -> str:
    """Blank ``/* */`` out; lines keep their numbers."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    pieces, i = [], 0
    quoted = False
    while i < len(text):
        two = text[i : i + 2]
        line_start = text.rfind("\n", 0, i) + 1
        if not quoted and two == "//" and (i == line_start or text[i - 1].isspace()):
            end = text.find("\n", i)
            end = len(text) if end < 0 else end
            continued = text[i : i + 3] == "///"
            pieces.append("\0" if continued else "")
            i = end
            continue
        if not quoted and two == "/*":
            end = text.find("*/", i + 2)
            if end < 0:
                raise _error(text.count("\n", 0, i) + 1, "the comment /* is not closed.")
            pieces.append("".join(c if c == "\n" else " " for c in text[i : end + 2]))
            i = end + 2
            continue
        quoted = not quoted if text[i] == '"' else quoted and text[i] != "\n"
        pieces.append(text[i])
        i += 1
    return "".join(pieces)


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Join continued lines, leave out comment lines."""
    found: list[tuple[int, str]] = []
    current, start = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if not current and line.lstrip().startswith("*"):
            continue
        start = start if current else number
        if line.endswith("\0"):
            current += line[:-1].rstrip() + "     "
            continue
        found.append((start, current + line))
        current = ""
    if current:
        found.append((start, current))
    return found


def _block(lines: list[tuple[int, str]], i: int, depth: int) -> tuple[list[Statement], int]:
    """Read statements up to a closing brace or the end."""
    if depth > MAX_DEPTH // 5:
        raise _error(lines[i - 1][0], "foreach is nested too deeply.")
    found: list[Statement] = []
    while i < len(lines):
        number, line = lines[i]
        if line.startswith("}"):
            if line[1:].strip():
                raise _error(number, "'}' stands on a line of its own.")
            return found, i
        word = line.split()[0]
        if word == "foreach":
            statement, i = _foreach(lines, i, depth)
            found.append(statement)
            continue
        if word in ("forvalues", "while", "if", "else", "program", "mata", "local", "global", "tempvar", "#delimit"):
            message = f"'{word}' is not supported; of the control words, foreach ... of varlist and foreach ... in are."
            raise _error(number, message)
        if line.endswith("{"):
            raise _error(number, "'{' opens a block here, which only foreach has.")
        found.append(Statement(line, number))
        i += 1
    return found, i


def _foreach(lines: list[tuple[int, str]], i: int, depth: int) -> tuple[Statement, int]:
    number, line = lines[i]
    match = _FOREACH.fullmatch(line)
    if match is None:
        raise _error(number, "write: foreach x of varlist a b c {   or   foreach x in 1 2 3 {   and then its lines.")
    body, end = _block(lines, i + 1, depth + 1)
    if end >= len(lines):
        raise _error(number, "the '{' of foreach is not closed.")
    varlist = match["how"].startswith("of")
    return Statement(match["items"], number, match["name"], varlist, tuple(body)), end + 1


def substituted(text: str, macros: dict[str, str], line: int) -> str:
    """Put values in the place of `` `name' ``.

    Raises
    ------
    FormulaError
        A macro that no ``foreach`` around it sets (Stata would silently leave it out).
    """
    for name in MACRO.findall(text):
        if name not in macros:
            raise _error(line, f"`{name}' is not set here; macros come from a foreach around the line.")
    return MACRO.sub(lambda match: macros[match[1]], text)
