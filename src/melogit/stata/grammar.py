"""The grammar of a command: prefix, name, what it is about, ``if``, ``in``, weights, ``||`` levels, options.

One pass over the words, nothing is looked up in data. What a command means is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from melogit.errors import FormulaError
from melogit.stata import options as tables
from melogit.stata.words import Token, cut, error_at, find_top, is_operator, match_word, nearest, tokenize

ESTIMATION = ("melogit", "meqrlogit", "xtmelogit")


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its full name, where it stands, and the tokens between its brackets (None without brackets)."""

    name: str
    start: int
    argument: tuple[Token, ...] | None

    @property
    def text(self) -> str:
        """The argument, its words joined by blanks."""
        return " ".join(token.text for token in self.argument or ())


@dataclass(frozen=True, slots=True)
class Part:
    """What stands between two ``||``: tokens, qualifiers and options.

    Attributes
    ----------
    body : tuple of Token
        Before ``if``, ``in``, ``[weight]``, ``using`` and the comma.
    condition, within, weight, using : tuple of Token
        After those words; empty where they do not occur.
    options : dict of str to Option
    """

    start: int
    end: int
    body: tuple[Token, ...] = ()
    condition: tuple[Token, ...] = ()
    within: tuple[Token, ...] = ()
    weight: tuple[Token, ...] = ()
    using: tuple[Token, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A command, cut to pieces; ``levels`` are the parts after the first ``||``, ``bootstrap`` the options of that
    prefix (None without it), ``quietly`` the prefix of that name.
    """  # noqa: D205

    text: str
    name: str
    start: int
    main: Part
    levels: tuple[Part, ...] = ()
    bootstrap: Mapping[str, Option] | None = None
    quietly: bool = False

    def error(self, position: int, message: str) -> FormulaError:
        """Build an error that points into this command."""
        return error_at(self.text, position, message)

    def raw(self, tokens: Sequence[Token]) -> str:
        """The text that these tokens were cut from, blanks included."""
        return self.text[tokens[0].start : tokens[-1].end] if tokens else ""


def parse_command(text: str) -> Command:
    """Cut a command to pieces.

    Raises
    ------
    FormulaError
        With a caret under the offending word.

    Examples
    --------
    >>> command = parse_command("melogit y x if x > 1 || g: x, cov(un) or")
    >>> command.name, [token.text for token in command.main.body], list(command.levels[0].options)
    ('melogit', ['y', 'x'], ['covariance', 'or'])
    """
    tokens = tokenize(text)
    return _with_prefixes(text, tokens, None, False)


def _with_prefixes(
    text: str, tokens: tuple[Token, ...], bootstrap: Mapping[str, Option] | None, quietly: bool
) -> Command:
    while tokens:
        prefix = match_word(tokens[0].text, tables.PREFIXES) if tokens[0].kind == "name" else None
        if prefix is None:
            break
        if prefix in ("bootstrap", "bs"):
            colons = find_top(tokens, ":")
            if not colons:
                message = "after the options of bootstrap stands a colon, and then the command to repeat."
                raise error_at(text, tokens[-1].end, message)
            if bootstrap is not None:
                raise error_at(text, tokens[0].start, "bootstrap stands here twice.")
            bootstrap = _bootstrap_options(text, tokens[1 : colons[0]])
            tokens = tokens[colons[0] + 1 :]
        else:
            quietly = quietly or prefix == "QUIetly"
            tokens = tokens[1:]
            tokens = tokens[1:] if tokens and is_operator(tokens[0], ":") else tokens
    if not tokens:
        raise error_at(text, len(text), f"there is no command. Supported: {tables.listed(tables.COMMANDS)}.")
    return _command(text, tokens, bootstrap, quietly)


def _bootstrap_options(text: str, tokens: Sequence[Token]) -> Mapping[str, Option]:
    pieces = cut(tokens, ",")
    if pieces[0]:
        message = "a list of expressions to bootstrap is not supported; all coefficients and variances are."
        raise error_at(text, pieces[0][0].start, message)
    if len(pieces) > 2:
        raise error_at(text, pieces[2][0].start if pieces[2] else len(text), _ONE_COMMA)
    return _options(text, pieces[1], "bootstrap", tables.PREFIXES["bootstrap"]) if len(pieces) == 2 else {}


_ONE_COMMA = "options follow one comma and are separated by blanks."


def _command(text: str, tokens: tuple[Token, ...], bootstrap: Mapping[str, Option] | None, quietly: bool) -> Command:
    first, rest = tokens[0], tokens[1:]
    entry = match_word(first.text, tables.COMMANDS) if first.kind == "name" else None
    if entry is None:
        known = [name.lower() for name in (*tables.COMMANDS, *tables.PREFIXES)]
        raise error_at(
            text,
            first.start,
            f"'{first.text}' is not a command that is understood here.{nearest(first.text, known)} "
            f"Supported: {', '.join(known)}.",
        )
    name = entry.lower()
    if bootstrap is not None and name not in ESTIMATION:
        raise error_at(text, first.start, f"bootstrap repeats {', '.join(ESTIMATION)} only.")
    pieces = cut(rest, "||") if name in ESTIMATION else [rest]
    rules = tables.COMMANDS[entry]
    starts = [first.end, *(rest[i].end for i in (find_top(rest, "||") if name in ESTIMATION else []))]
    parts = [_part(text, piece, start, name, rules) for piece, start in zip(pieces, starts, strict=True)]
    for part in parts:
        _check_qualifiers(text, part, name)
    return Command(text, name, first.start, parts[0], tuple(parts[1:]), bootstrap, quietly)


# The commands that read their own options, from tokens: their names mean different things after each word.
_OWN_OPTIONS = frozenset(("estat", "predict", "test", "testparm", "lincom", "lrtest", "margins", "marginsplot"))


def _part(text: str, tokens: Sequence[Token], start: int, name: str, rules: Mapping[str, str]) -> Part:
    pieces = cut(tokens, ",")
    if len(pieces) > 2:
        place = pieces[2][0].start if pieces[2] else pieces[1][-1].end if pieces[1] else start
        raise error_at(text, place, _ONE_COMMA)
    given: Mapping[str, Option] = {}
    if len(pieces) == 2:
        given = _options(text, pieces[1], name, None if name in _OWN_OPTIONS else rules)
    end = pieces[0][-1].end if pieces[0] else start
    return Part(start, end, options=given, **_qualifiers(text, tuple(pieces[0]), name))


def _qualifiers(text: str, tokens: tuple[Token, ...], name: str) -> dict[str, tuple[Token, ...]]:
    """Cut at the words ``if``, ``in``, ``using`` and at the bracket of a weight."""
    found: dict[str, tuple[Token, ...]] = {"body": tokens}
    marks = []
    depth = 0
    for i, token in enumerate(tokens):
        depth -= is_operator(token, ")", "]")
        key = {"if": "condition", "in": "within", "using": "using"}.get(token.text) if token.kind == "name" else None
        key = "weight" if is_operator(token, "[") else key
        if depth == 0 and key is not None:
            if key in dict(marks):
                raise error_at(text, token.start, f"'{token.text}' stands here twice.")
            marks.append((key, i))
        depth += is_operator(token, "(", "[")
    ends = [i for _, i in marks[1:]] + [len(tokens)]
    for (key, i), end in zip(marks, ends[: len(marks)], strict=True):
        found[key] = tokens[i + 1 : end]
        if not found[key]:
            raise error_at(text, tokens[i].end, f"nothing follows '{tokens[i].text}'.")
    if marks:
        found["body"] = tokens[: marks[0][1]]
    return found


def _check_qualifiers(text: str, part: Part, name: str) -> None:
    """Refuse ``if``, ``in``, weights and ``using`` where the command would not heed them."""
    found = {"if": part.condition, "in": part.within, "[weight]": part.weight, "using": part.using}
    allowed = tables.QUALIFIERS.get(name, ())
    for word, tokens in found.items():
        if tokens and word not in allowed:
            known = f"It takes {', '.join(allowed)}." if allowed else "It takes neither if, in, weights nor using."
            raise error_at(text, tokens[0].start, f"'{word}' cannot stand here with {name}. {known}")


def _options(text: str, tokens: Sequence[Token], name: str, rules: Mapping[str, str] | None) -> Mapping[str, Option]:
    """Read options; with ``rules`` None any name is taken, for commands that check their own."""
    found: dict[str, Option] = {}
    i = 0
    while i < len(tokens):
        token = tokens[i]
        argument, following = _argument(tokens, i + 1)
        full = _option_name(text, token, name, rules, argument)
        if full in found:
            raise error_at(text, token.start, f"the option '{full}' stands here twice.")
        found[full] = Option(full, token.start, argument)
        i = following
    return found


def _argument(tokens: Sequence[Token], i: int) -> tuple[tuple[Token, ...] | None, int]:
    if i >= len(tokens) or not is_operator(tokens[i], "("):
        return None, i
    depth = 0
    for j in range(i, len(tokens)):
        depth += is_operator(tokens[j], "(", "[") - is_operator(tokens[j], ")", "]")
        if depth == 0:
            return tuple(tokens[i + 1 : j]), j + 1
    raise AssertionError("brackets were checked")


def _option_name(
    text: str, token: Token, name: str, rules: Mapping[str, str] | None, argument: tuple[Token, ...] | None
) -> str:
    if token.kind != "name":
        raise error_at(text, token.start, f"'{token.text}' is not an option of {name}.")
    if rules is None:
        return token.text
    entry = match_word(token.text, rules)
    if entry is None:
        close = nearest(token.text, [rule.lower().partition("(")[0] for rule in rules])
        raise error_at(
            text,
            token.start,
            f"{name} has no option '{token.text}' here.{close} Supported: {tables.listed(rules)}.",
        )
    spelling, takes, _ = entry.partition("(")
    if takes and not argument:
        raise error_at(text, token.end, f"the option {entry.lower()} needs something in brackets.")
    if not takes and argument is not None:
        raise error_at(text, token.end, f"the option {entry.lower()} takes nothing in brackets.")
    return spelling.lower()


def read_options(text: str, tokens: Sequence[Token]) -> Mapping[str, Option]:
    """Read the options inside an option, such as ``mu fixedonly`` in ``predict(mu fixedonly)``; any name is taken."""
    return _options(text, tokens, "", None)
