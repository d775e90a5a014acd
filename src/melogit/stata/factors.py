"""Lists of variables: ``x1-x5``, ``x*``, and the factor notation ``i.x``, ``c.x``, ``ib2.x``, ``a##b``, ``a#c.x``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from melogit.errors import FormulaError
from melogit.stata.words import Token, error_at, is_operator, nearest

_PREFIX = re.compile(r"(?P<kind>[ic]?)(?P<base>b\d+|b|bn)?")
MAX_TERMS = 1_000


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as written.

    Attributes
    ----------
    pattern : str
        A name, or several by ``*``, ``?`` or ``first-last``.
    start : int
    kind : str
        ``i`` or ``c``, or nothing where neither is written.
    base : str
        Of ``i``: nothing, a number, ``first``, ``last``, ``freq`` or ``none``.
    """

    pattern: str
    start: int
    kind: str = ""
    base: str = ""

    @property
    def single(self) -> bool:
        """Names exactly one variable."""
        return not re.search(r"[*?-]", self.pattern)


@dataclass(frozen=True, slots=True)
class Term:
    """An addend: one variable, or several joined by ``#``; ``##`` is already multiplied out."""

    variables: tuple[Variable, ...]


class _Reader:
    def __init__(self, text: str, tokens: Sequence[Token], factors: bool) -> None:
        self.text, self.tokens, self.factors, self.i = text, tokens, factors, 0

    def error(self, position: int, message: str) -> FormulaError:
        return error_at(self.text, position, message)

    @property
    def token(self) -> Token | None:
        return self.tokens[self.i] if self.i < len(self.tokens) else None

    def touches(self) -> bool:
        """The current token follows the one before it without a blank."""
        return 0 < self.i < len(self.tokens) and self.tokens[self.i].start == self.tokens[self.i - 1].end

    def variable(self) -> Variable:
        token = self.token
        if token is None:
            raise self.error(self.tokens[-1].end, "the name of a variable is missing after this.")
        if token.kind not in ("name", "number") and not is_operator(token, "*", "?"):
            hint = " Brackets around several variables are not supported; write them one by one."
            message = f"'{token.text}' stands where the name of a variable is expected."
            raise self.error(token.start, message + (hint if token.text == "(" else ""))
        kind, base = self.prefix()
        start = token.start
        pattern = self.pattern()
        if is_operator(self.token, "-"):
            self.i += 1
            pattern += "-" + self.pattern()
        return Variable(pattern, start, kind, base)

    def prefix(self) -> tuple[str, str]:
        """Read ``i.``, ``c.``, ``ib2.``, ``ib(last).``; nothing where there is none."""
        first = self.token
        assert first is not None
        dot = self.find_dot()
        if dot is None:
            return "", ""
        if not self.factors:
            raise self.error(first.start, f"'{first.text}.' cannot stand here; a plain list of variables is expected.")
        written = "".join(token.text for token in self.tokens[self.i : dot])
        base = {"(first)": "first", "(last)": "last", "(freq)": "freq", "(none)": "none"}
        match = _PREFIX.fullmatch(first.text) if first.kind == "name" else None
        if first.text == "ibn" or first.text == "bn":
            kind, chosen = "i", "none"
        elif match and match["base"] == "b" and written[len(first.text) :] in base:
            kind, chosen = "i", base[written[len(first.text) :]]
        elif match and written == first.text and match["base"] != "b" and not (match["kind"] == "c" and match["base"]):
            kind, chosen = match["kind"] or "i", (match["base"] or "").removeprefix("b")
        else:
            raise self.error(
                first.start,
                f"'{written}.' is not understood. Supported: i.x, c.x, ib2.x, ib(first).x, ib(last).x, ib(freq).x, "
                "ibn.x, a#b, a##b, and R.x after _all:.",
            )
        self.i = dot + 1
        if not self.touches():
            raise self.error(self.tokens[dot].end, "the name of a variable follows the dot without a blank.")
        return kind, chosen

    def find_dot(self) -> int | None:
        """Position of the dot that ends a prefix starting here."""
        j = self.i + 1
        if j < len(self.tokens) and is_operator(self.tokens[j], "(") and self.tokens[j].start == self.tokens[j - 1].end:
            while j < len(self.tokens) and not is_operator(self.tokens[j], ")"):
                j += 1
            j += 1
        if j < len(self.tokens) and is_operator(self.tokens[j], ".") and self.tokens[j].start == self.tokens[j - 1].end:
            return j
        return None

    def pattern(self) -> str:
        token = self.token
        if token is None or not (token.kind == "name" or is_operator(token, "*", "?")):
            position = token.start if token is not None else self.tokens[-1].end
            raise self.error(position, "the name of a variable is expected here.")
        pieces = [token.text]
        self.i += 1
        while self.touches() and (
            is_operator(self.token, "*", "?") or (pieces[-1] in "*?" and self.tokens[self.i].kind in ("name", "number"))
        ):
            pieces.append(self.tokens[self.i].text)
            self.i += 1
        return "".join(pieces)


def read_terms(text: str, tokens: Sequence[Token]) -> tuple[Term, ...]:
    """Read the predictors of a model; ``a##b`` becomes ``a b a#b``, and a repeated term counts once.

    Examples
    --------
    >>> from melogit.stata.words import tokenize
    >>> for term in read_terms(t := "age i.sex##c.age", tokenize(t)):
    ...     print([variable.kind + "." + variable.pattern for variable in term.variables])
    ['.age']
    ['i.sex']
    ['i.sex', 'c.age']
    """
    reader = _Reader(text, tokens, factors=True)
    terms: dict[tuple, Term] = {}
    while reader.token is not None:
        product = [(reader.variable(),)]
        full: list[bool] = []
        while is_operator(reader.token, "#", "##"):
            full.append(is_operator(reader.token, "##"))
            reader.i += 1
            product.append((reader.variable(),))
        variables = [v for piece in product for v in piece]
        if len(variables) > 6:
            raise error_at(text, variables[6].start, "more than six variables are multiplied here.")
        if len(variables) > 1 and not all(v.single for v in variables):
            raise error_at(text, variables[0].start, "name the variables one by one where they are multiplied.")
        for chosen in _multiply(variables, full):
            if len(variables) > 1:  # in a product a bare name is a factor
                chosen = tuple(Variable(v.pattern, v.start, v.kind or "i", v.base) for v in chosen)
            key = tuple(sorted((v.pattern.lower(), (v.kind or "c")) for v in chosen))
            terms.setdefault(key, Term(chosen))
        if len(terms) > MAX_TERMS:
            raise error_at(text, variables[0].start, f"this makes more than {MAX_TERMS:,} terms.")
    return tuple(terms.values())


def _multiply(variables: Sequence[Variable], full: Sequence[bool]) -> list[tuple[Variable, ...]]:
    """Multiply ``a##b`` out: a, b, a#b. Where ``#`` and ``##`` are mixed, pieces joined by ``#`` stay together."""
    pieces: list[tuple[Variable, ...]] = [(variables[0],)]
    for variable, expand in zip(variables[1:], full, strict=True):
        if expand:
            pieces.append((variable,))
        else:
            pieces[-1] = (*pieces[-1], variable)
    found = []
    for size in range(1, len(pieces) + 1):
        found += [sum(chosen, ()) for chosen in combinations(pieces, size)]
    return found


def read_names(text: str, tokens: Sequence[Token]) -> tuple[Variable, ...]:
    """Read a plain list of variables."""
    reader = _Reader(text, tokens, factors=False)
    found = []
    while reader.token is not None:
        found.append(reader.variable())
    return tuple(found)


def find_columns(text: str, variable: Variable, names: Sequence[str]) -> list[str]:
    """Find the data columns that a variable stands for.

    Upper and lower case do not matter, a name may be shortened as long as it is unique, ``*`` and ``?`` stand for
    any letters, and ``first-last`` for all columns between.

    Raises
    ------
    FormulaError
        There is no such column, or several.
    """
    if variable.pattern == "_all":
        return list(names)
    if "-" in variable.pattern:
        ends = [find_column(text, Variable(end, variable.start), names) for end in variable.pattern.split("-")]
        first, last = (list(names).index(end) for end in ends)
        if first > last:
            raise error_at(text, variable.start, f"'{ends[0]}' stands after '{ends[1]}' in the data.")
        return list(names[first : last + 1])
    if variable.single:
        return [find_column(text, variable, names)]
    wanted = re.compile(re.escape(variable.pattern).replace(r"\*", ".*").replace(r"\?", "."), re.IGNORECASE)
    found = [name for name in names if wanted.fullmatch(name)]
    if not found:
        raise error_at(text, variable.start, f"no column fits '{variable.pattern}'.")
    return found


def find_column(text: str, variable: Variable, names: Sequence[str]) -> str:
    """Find the one column that a name stands for."""
    written = variable.pattern
    if not variable.single:
        raise error_at(text, variable.start, f"one variable is expected here, and '{written}' may be several.")
    if written in names:
        return written
    lowered = written.lower()
    for fits in (lambda name: name.lower() == lowered, lambda name: name.lower().startswith(lowered)):
        found = [name for name in names if fits(name)]
        if len(found) > 1:
            shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
            raise error_at(text, variable.start, f"'{written}' may be {shown}. Write the whole name.")
        if found:
            return found[0]
    raise error_at(text, variable.start, f"there is no column '{written}'.{nearest(written, names)}")
