"""Split a formula at its bars: response, fixed part, random terms. What lies between goes to formulaic.

The grammar is lme4's on top of Wilkinson's: ``y ~ x * z + (1 + x | a/b) + (z || c)``. Every part keeps the
place it has in the formula, because the other parts are blanked out rather than cut out; so an error in any
part can point at its place.

``(x | g)`` has an intercept unless it starts with ``0`` or ``-1``, and it comes first; ``(0 + x + 1 | g)`` puts it
last. ``||`` makes all columns of the term independent, those of one factor too: ``(f || g)`` has a diagonal
covariance matrix, whereas lme4 before version 2 leaves the levels of ``f`` correlated. ``(1 | a/b)`` is
``(1 | a) + (1 | a:b)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from melogit.formula.tokens import Token, formula_error, tokenize

MAX_TERMS = 5_000

_HOW = "Write a random intercept for each group as (1 | group), a random slope of x as (x | group)."


@dataclass(frozen=True, slots=True)
class RandomPart:
    """One written random term: ``left | group`` or ``left || group``, after ``a/b`` is multiplied out.

    Attributes
    ----------
    text : str
        As written, with its brackets.
    start : int
        Its place in the formula.
    left : str
        The formula with all but the left-hand side blanked out.
    independent : bool
        Written with ``||``.
    group : tuple of str
        The columns whose combination makes the groups.
    """

    text: str
    start: int
    left: str
    independent: bool
    group: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A formula in pieces; ``response`` and ``fixed`` are the formula with all else blanked out."""

    text: str
    response: str
    fixed: str
    offsets: tuple[str, ...]
    random: tuple[RandomPart, ...]
    group_positions: tuple[tuple[str, int], ...]


@lru_cache(maxsize=128)
def parse_formula(formula: str) -> Parsed:
    """Split a formula into response, fixed part, offsets and random terms.

    Parameters
    ----------
    formula : str
        For example ``"y ~ x + (1 + x | school/class)"``.

    Returns
    -------
    Parsed

    Raises
    ------
    FormulaError
        With a caret under the place.

    Examples
    --------
    >>> parse_formula("y ~ x + (1 | a/b)").random[1].group
    ('a', 'b')
    """
    return _Splitter(formula).parsed()


class _Splitter:
    """One pass over the tokens of one formula; collects what is to be blanked out of the fixed part."""

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.tokens = tokenize(formula)
        self.fixed = [" "] * len(formula)
        self.offsets: list[str] = []
        self.random: list[RandomPart] = []
        self.group_positions: dict[str, int] = {}

    def parsed(self) -> Parsed:
        tildes = [i for i, token in enumerate(self.tokens) if _is(token, "~")]
        if not tildes:
            raise self.error(len(self.formula), "there is no '~'. Write response ~ predictors + (1 | group).")
        if len(tildes) > 1:
            raise self.error(self.tokens[tildes[1]].start, "there is a second '~'.")
        if _depth(self.tokens, self.tokens[tildes[0]]):
            raise self.error(self.tokens[tildes[0]].start, "'~' cannot stand inside brackets.")
        left, right = self.tokens[: tildes[0]], self.tokens[tildes[0] + 1 :]
        if not left:
            raise self.error(0, "there is no response on the left of '~'.")
        self.check_operators(left)
        end = self.tokens[tildes[0]].end
        self.fixed[end:] = self.formula[end:]
        self.read_sum(right)
        if not self.random:
            raise self.error(
                len(self.formula),
                f"there is no random term; melogit is for grouped data. {_HOW} "
                "For ungrouped data use an ordinary logistic regression.",
            )
        fixed_tokens = tuple(token for token in right if self.fixed[token.start] != " ")
        self.check_size(fixed_tokens)
        return Parsed(
            text=self.formula,
            response=self.keep(left[0].start, left[-1].end),
            fixed="".join(self.fixed),
            offsets=tuple(self.offsets),
            random=tuple(self.random),
            group_positions=tuple(self.group_positions.items()),
        )

    def error(self, position: int, message: str) -> Exception:
        return formula_error(self.formula, position, message)

    def keep(self, start: int, end: int) -> str:
        """Return the formula with all but ``start:end`` blanked out."""
        return " " * start + self.formula[start:end] + " " * (len(self.formula) - end)

    def blank(self, start: int, end: int) -> None:
        self.fixed[start:end] = " " * (end - start)

    def read_sum(self, tokens: Sequence[Token]) -> None:
        """Read the terms of a sum; random terms and offsets are taken out of the fixed part."""
        if not tokens:
            raise self.error(len(self.formula), f"there is nothing on the right of '~'. {_HOW}")
        addends = list(_addends(tokens))
        taken = []
        for sign, addend in addends:
            if not addend:
                position = sign.end if sign is not None else tokens[0].start
                raise self.error(min(position, len(self.formula)), "a term is missing here.")
            taken.append(self.read_addend(sign, addend))
        for i, (sign, addend) in enumerate(addends):
            if taken[i]:
                self.blank(addend[0].start, addend[-1].end)
                if sign is not None:
                    self.blank(sign.start, sign.end)
        first_kept = next((i for i, out in enumerate(taken) if not out), None)
        if first_kept is not None and first_kept > 0:
            sign = addends[first_kept][0]
            if sign is not None and sign.text == "+":
                self.blank(sign.start, sign.end)

    def read_addend(self, sign: Token | None, addend: Sequence[Token]) -> bool:
        """Read one term; return whether it is to be taken out of the fixed part."""
        minus = sign is not None and sign.text == "-"
        if addend[0].kind == "name" and addend[0].text == "offset" and len(addend) > 2 and _is(addend[1], "("):
            if _closing(addend, 1) == len(addend) - 1:
                if minus:
                    raise self.error(addend[0].start, "an offset cannot be subtracted; write offset(-x).")
                if len(addend) == 3:
                    raise self.error(addend[2].start, "offset() needs a column or an expression.")
                self.offsets.append(self.keep(addend[2].start, addend[-2].end))
                self.check_operators(addend[2:-1])
                return True
        if _is(addend[0], "+") or (len(addend) > 1 and _is(addend[0], "-") and _is(addend[1], "-")):
            raise self.error(addend[0].start, f"a term is missing before this '{addend[0].text}'.")
        bars = _bars(addend)
        if not bars:
            self.check_operators(addend)
            return False
        whole = _is(addend[0], "(") and _closing(addend, 0) == len(addend) - 1
        if not whole:
            raise self.error(
                bars[0].start,
                "a random term stands by itself between plus signs, in its own brackets, such as ... + (1 | group).",
            )
        if minus:
            raise self.error(addend[0].start, "a random term cannot be subtracted; leave it out.")
        inner = addend[1:-1]
        direct = [token for token in bars if _depth(inner, token) == 0]
        if not direct:  # brackets around a sum that holds random terms, or doubled brackets
            self.blank(addend[0].start, addend[0].end)
            self.blank(addend[-1].start, addend[-1].end)
            self.read_sum(inner)
            return all(self.fixed[t.start] == " " for t in inner)
        if len(bars) > 1:
            raise self.error(bars[1].start, "a random term has one bar: (1 | group).")
        self.read_random(addend, inner, direct[0])
        return True

    def read_random(self, addend: Sequence[Token], inner: Sequence[Token], bar: Token) -> None:
        place = inner.index(bar)
        left, right = inner[:place], inner[place + 1 :]
        if not left:
            raise self.error(bar.start, f"nothing stands before the bar. {_HOW}")
        if not right:
            raise self.error(bar.end, f"no grouping column stands after the bar. {_HOW}")
        self.check_operators(left)
        self.check_size(left)
        for group in self.read_groups(right):
            part = RandomPart(
                text=self.formula[addend[0].start : addend[-1].end],
                start=addend[0].start,
                left=self.keep(left[0].start, left[-1].end),
                independent=bar.text == "||",
                group=group,
            )
            self.random.append(part)

    def read_groups(self, tokens: Sequence[Token]) -> list[tuple[str, ...]]:
        """Multiply out ``a/b`` to ``a`` and ``a:b``."""
        groups: list[tuple[str, ...]] = []
        current: list[str] = []
        for i, token in enumerate(tokens):
            expected_name = i % 2 == 0
            if expected_name != (token.kind == "name") or not (expected_name or token.text in ("/", ":")):
                raise self.error(
                    token.start,
                    "after the bar stand names of columns, joined by : or / where needed, such as (1 | a/b). "
                    "Groups of any type are taken as categories; several groupings are several terms.",
                )
            if expected_name:
                self.group_positions.setdefault(token.text, token.start)
                if token.text not in current:
                    current.append(token.text)
            elif token.text == "/":
                groups.append(tuple(current))
        if len(tokens) % 2 == 0:
            raise self.error(tokens[-1].end, "a column name is missing after this.")
        groups.append(tuple(current))
        return list(dict.fromkeys(groups))

    def check_operators(self, tokens: Sequence[Token]) -> None:
        """Refuse two operands side by side (a forgotten ``+``) and operators that the grammar does not have."""
        calls: list[bool] = []
        before: Token | None = None
        for token in tokens:
            opens = _is(token, "(") or _is(token, "[")
            if before is not None and (before.is_operand or before.text in (")", "]")) and before.kind != "string":
                call = before.kind == "name" and _is(token, "(") and before.end == token.start
                if token.is_operand or (opens and not call):
                    if not any(calls) or token.is_operand:
                        raise self.error(token.start, f"an operator such as + is missing before '{token.text}'.")
            if opens:
                calls.append(any(calls) or (before is not None and before.kind == "name"))
            elif token.text in (")", "]") and token.kind == "operator":
                calls.pop()
            elif token.kind == "operator" and not any(calls) and token.text in _ONLY_IN_CALLS:
                raise self.error(
                    token.start, f"'{token.text}' can only be used inside a function, such as I(x {token.text} 2)."
                )
            before = token

    def check_size(self, tokens: Sequence[Token]) -> None:
        """Refuse formulas whose products and powers multiply out to very many terms."""
        _count_terms(self, tuple(tokens))


_ONLY_IN_CALLS = frozenset(("==", "!=", "<=", ">=", "<", ">", "=", "%", "//", "&", ",", "|", "||", "[", "."))


def _is(token: Token, text: str) -> bool:
    return token.kind == "operator" and token.text == text


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for i in range(opening, len(tokens)):
        if _is(tokens[i], "(") or _is(tokens[i], "["):
            depth += 1
        elif _is(tokens[i], ")") or _is(tokens[i], "]"):
            depth -= 1
            if depth == 0:
                return i
    return -1


def _depth(tokens: Sequence[Token], target: Token) -> int:
    depth = 0
    for token in tokens:
        if token is target:
            break
        depth += (_is(token, "(") or _is(token, "[")) - (_is(token, ")") or _is(token, "]"))
    return depth


def _bars(tokens: Sequence[Token]) -> list[Token]:
    """Bars that are not inside the call of a function."""
    calls: list[bool] = []
    found = []
    before: Token | None = None
    for token in tokens:
        if _is(token, "(") or _is(token, "["):
            calls.append(before is not None and before.kind == "name" and before.end == token.start)
        elif _is(token, ")") or _is(token, "]"):
            calls.pop()
        elif token.kind == "operator" and token.text in ("|", "||") and not any(calls):
            found.append(token)
        before = token
    return found


def _addends(tokens: Sequence[Token]) -> Iterator[tuple[Token | None, Sequence[Token]]]:
    """Cut a sum at its plus and minus signs: (sign, term), the first without a sign unless one is written."""
    depth = 0
    sign: Token | None = None
    first = 0
    for i, token in enumerate(tokens):
        if depth == 0 and token.kind == "operator" and token.text in ("+", "-"):
            after_operator = i > first and tokens[i - 1].kind == "operator" and tokens[i - 1].text not in (")", "]")
            if after_operator:  # a sign inside a product, left to the grammar of the fixed part
                continue
            if i > 0:
                if i == first:  # two signs in a row: the term between them is missing unless the second is unary
                    continue
                yield sign, tokens[first:i]
            sign, first = token, i + 1
        depth += (_is(token, "(") or _is(token, "[")) - (_is(token, ")") or _is(token, "]"))
    yield sign, tokens[first:]


def _count_terms(splitter: _Splitter, tokens: tuple[Token, ...]) -> int:
    """Upper bound of the number of terms that a sum multiplies out to."""
    total = sum(_count_product(splitter, addend) for _, addend in _addends(tokens)) if tokens else 0
    if total > MAX_TERMS:
        raise splitter.error(tokens[0].start, f"this multiplies out to more than {MAX_TERMS:,} terms.")
    return total


def _count_product(splitter: _Splitter, tokens: Sequence[Token]) -> int:
    total, i, operator = 0, 0, ""
    while i < len(tokens):
        token = tokens[i]
        if _is(token, "("):
            end = _closing(tokens, i)
            count = _count_terms(splitter, tuple(tokens[i + 1 : end]))
            i = end + 1
        elif token.is_operand:
            count = 1
            i += 1
            if i < len(tokens) and _is(tokens[i], "("):
                i = _closing(tokens, i) + 1
        else:
            operator = token.text
            i += 1
            continue
        if operator in ("^", "**"):
            power = int(token.text) if token.kind == "number" and token.text.isdigit() and len(token.text) < 4 else 0
            if not 1 <= power <= 20:
                raise splitter.error(token.start, f"the power after '{operator}' is a whole number from 1 to 20.")
            count, total = total**power, 0
        total = total + count + total * count if operator else count
        if total > MAX_TERMS:
            raise splitter.error(tokens[0].start, f"this multiplies out to more than {MAX_TERMS:,} terms.")
    return total
