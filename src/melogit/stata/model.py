"""What an estimation command asks for, before any data are seen."""

from __future__ import annotations

from dataclasses import dataclass

from melogit.errors import FormulaError
from melogit.stata import options as tables
from melogit.stata.factors import Term, Variable, read_names, read_terms
from melogit.stata.grammar import Command, Option, Part
from melogit.stata.words import Token, find_top, is_operator, nearest


@dataclass(frozen=True, slots=True)
class Level:
    """One level: ``did: x, covariance(unstructured)``.

    Attributes
    ----------
    group : Variable or None
        None for ``_all``.
    crossed : Variable or None
        Of ``R.variable``.
    terms : tuple of Term
        Slopes, in the order written.
    constant : bool
    structure : str
    """

    group: Variable | None
    crossed: Variable | None
    terms: tuple[Term, ...]
    constant: bool
    structure: str


@dataclass(frozen=True, slots=True)
class Model:
    """An estimation command, read."""

    command: Command
    response: Variable
    terms: tuple[Term, ...]
    constant: bool
    levels: tuple[Level, ...]
    weight: Variable | None
    trials: Variable | int | None
    offset: Variable | None
    method: str
    points: int | tuple[int, ...]
    level: float | None
    vce: str
    cluster: Variable | None
    iterations: int | None
    odds_ratios: bool
    log: bool


def read_model(command: Command) -> Model:
    """Read an estimation command.

    Raises
    ------
    FormulaError
        With a caret under the offending word.
    """
    main = command.main
    if not main.body:
        raise command.error(main.start, f"{command.name} needs an outcome: {command.name} outcome predictors || group:")
    terms = read_terms(command.text, main.body)
    response, terms = _response(command, terms)
    for part in command.levels:
        for tokens, word in ((part.condition, "if"), (part.within, "in"), (part.weight, "[weight]")):
            if tokens:
                raise command.error(tokens[0].start, f"'{word}' stands before the first ||.")
    if not command.levels:
        raise command.error(
            main.end,
            f"{command.name} needs at least one level here, such as || group: after the predictors. Without one this "
            "is plain logistic regression (logit), which is not a part of this program.",
        )
    given = _model_options(command)
    levels = tuple(_level(command, part) for part in command.levels)
    method, points = _integration(command, given, levels)
    cluster, vce = _vce(command, given)
    return Model(
        command=command,
        response=response,
        terms=terms,
        constant="noconstant" not in main.options,
        levels=levels,
        weight=_weight(command, main),
        trials=_trials(command, given.get("binomial")),
        offset=_one(command, given["offset"]) if "offset" in given else None,
        method=method,
        points=points,
        level=percent(command, given["level"]) if "level" in given else None,
        vce=vce,
        cluster=cluster,
        iterations=_whole(command, given["iterate"]) if "iterate" in given else None,
        odds_ratios="or" in given,
        log="nolog" not in given,
    )


def _response(command: Command, terms: tuple[Term, ...]) -> tuple[Variable, tuple[Term, ...]]:
    first, *others = terms[0].variables
    if others or first.kind or not first.single:
        raise command.error(first.start, "the first variable is the outcome; it stands by itself.")
    return first, terms[1:]


def _model_options(command: Command) -> dict[str, Option]:
    """All options but those that belong to one level; they may stand after any part."""
    found: dict[str, Option] = {}
    for part in (command.main, *command.levels):
        for name, option in part.options.items():
            if name == "noconstant":
                continue
            if name == "covariance":
                if part is command.main:
                    message = "covariance() belongs to a level: || group: x, covariance(unstructured)."
                    raise command.error(option.start, message)
                continue
            if name in found:
                raise command.error(option.start, f"the option '{name}' stands here twice.")
            found[name] = option
    return found


def _level(command: Command, part: Part) -> Level:
    colons = find_top(part.body, ":")
    if colons != [1] or part.body[0].kind != "name":
        place = part.body[0].start if part.body else part.start
        raise command.error(place, "a level starts with the group's variable and a colon, such as || school: x.")
    name, rest = part.body[0], part.body[2:]
    crossed = None
    if len(rest) > 1 and rest[0].text == "R" and is_operator(rest[1], ".") and rest[0].end == rest[1].start:
        found = read_names(command.text, rest[2:])
        if len(found) != 1:
            place = found[1].start if found else rest[1].end
            raise command.error(place, "one variable follows R., and nothing else.")
        crossed, rest = found[0], ()
    if name.text == "_all" and crossed is None:
        raise command.error(name.end, "after _all: stands R. and a variable, such as || _all: R.rater.")
    constant = "noconstant" not in part.options and crossed is None
    terms = read_terms(command.text, rest)
    if not terms and not constant and crossed is None:
        raise command.error(part.options["noconstant"].start, f"the level '{name.text}' has no random effect left.")
    structure = "independent"
    if "covariance" in part.options:
        structure = _choose(command, part.options["covariance"], tables.STRUCTURES)
    group = None if name.text == "_all" else Variable(name.text, name.start)
    return Level(group, crossed, terms, constant, structure)


def _choose(command: Command, option: Option, choices: tuple[str, ...]) -> str:
    """Read a word that may be shortened."""
    assert option.argument
    word = option.text
    fits = [choice for choice in choices if choice.startswith(word)] if len(word) > 1 else []
    if len(fits) != 1:
        raise command.error(
            option.argument[0].start,
            f"{option.name}({word}) is not supported.{nearest(word, choices)} Choose one of {', '.join(choices)}.",
        )
    return fits[0]


def _integration(
    command: Command, given: dict[str, Option], levels: tuple[Level, ...]
) -> tuple[str, int | tuple[int, ...]]:
    method = tables.DEFAULT_METHOD[command.name]
    if not {"intmethod", "intpoints", "laplace"} & set(given) and any(level.crossed for level in levels):
        return "laplace", 1  # R.variable implies it
    if "intmethod" in given:
        method = _choose(command, given["intmethod"], tables.METHODS)
    if "laplace" in given:
        if "intmethod" in given and method != "laplace":
            raise command.error(given["laplace"].start, f"laplace and intmethod({method}) are two different things.")
        method = "laplace"
    if "intpoints" not in given:
        return method, 1 if method == "laplace" else tables.DEFAULT_POINTS
    option = given["intpoints"]
    points = tuple(_number(command, token) for token in option.argument or ())
    if method == "laplace" and set(points) != {1}:
        raise command.error(option.start, "the Laplace approximation has one point; leave intpoints() out.")
    if "intmethod" not in given and set(points) == {1} and any(level.crossed for level in levels):
        return "laplace", 1
    return method, points[0] if len(points) == 1 else points


def _number(command: Command, token: Token) -> int:
    if token.kind != "number" or not token.text.isdecimal() or not 1 <= len(token.text) <= 9:
        raise command.error(token.start, f"'{token.text}' is not a whole number.")
    return int(token.text)


def _whole(command: Command, option: Option) -> int:
    assert option.argument
    only, *others = option.argument
    if others:
        raise command.error(others[0].start, f"{option.name}() takes one number.")
    return _number(command, only)


def percent(command: Command, option: Option) -> float:
    """Read ``level(90)`` as 0.9."""
    assert option.argument
    try:
        value = float(option.text)
    except ValueError:
        value = -1.0
    if not 10 <= value <= 99.99:
        raise command.error(option.argument[0].start, "level() takes a percentage from 10 to 99.99, such as level(90).")
    return value / 100


def _one(command: Command, option: Option) -> Variable:
    assert option.argument
    found = read_names(command.text, option.argument)
    if len(found) != 1:
        raise command.error(option.start, f"{option.name}() takes one variable.")
    return found[0]


def _trials(command: Command, option: Option | None) -> Variable | int | None:
    if option is None:
        return None
    assert option.argument
    return _whole(command, option) if option.argument[0].kind == "number" else _one(command, option)


def _vce(command: Command, given: dict[str, Option]) -> tuple[Variable | None, str]:
    kinds = [name for name in ("vce", "robust", "cluster") if name in given]
    if len(kinds) > 1:
        raise command.error(given[kinds[1]].start, f"{kinds[0]} and {kinds[1]} exclude each other.")
    if not kinds:
        return None, "oim"
    option = given[kinds[0]]
    if option.name == "robust":
        return None, "robust"
    if option.name == "cluster":
        return _one(command, option), "cluster"
    assert option.argument
    word, rest = option.argument[0], option.argument[1:]
    if word.text == "oim" and not rest:
        return None, "oim"
    if len(word.text) > 0 and "robust".startswith(word.text) and not rest:
        return None, "robust"
    if len(word.text) > 1 and "cluster".startswith(word.text) and len(rest) == 1:
        return read_names(command.text, rest)[0], "cluster"
    raise command.error(
        word.start, f"vce({option.text}) is not supported. Write vce(oim), vce(robust) or vce(cluster x)."
    )


def _weight(command: Command, main: Part) -> Variable | None:
    if not main.weight:
        return None
    kind, *rest = main.weight
    if len(rest) < 3 or not is_operator(rest[-1], "]") or not is_operator(rest[0], "="):
        raise command.error(kind.start, "a weight is written as [fw=variable].")
    if kind.text not in ("fw", "fweight", "freq", "frequency", "w", "weight"):
        raise _other_weight(command, kind)
    found = read_names(command.text, rest[1:-1])
    if len(found) != 1:
        raise command.error(kind.start, "a weight is one variable: [fw=variable].")
    return found[0]


def _other_weight(command: Command, token: Token) -> FormulaError:
    return command.error(
        token.start,
        f"weights of the kind '{token.text}' are not supported; [fw=variable] is: how many rows each row stands for.",
    )
