"""``margins`` and ``marginsplot``: what is asked, in the words of ``Results.margins``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from melogit.errors import DataError, ModelError
from melogit.report import count
from melogit.stata.after import available, laid_out, own_options, prediction_kind
from melogit.stata.data import Dataset, kind_of
from melogit.stata.data_commands import Step
from melogit.stata.factors import Term, Variable, find_column, read_names, read_terms
from melogit.stata.fitted import StataResults
from melogit.stata.grammar import Command, Option, read_options
from melogit.stata.model import percent
from melogit.stata.references import as_level
from melogit.stata.state import State, data_of, fit_of
from melogit.stata.words import Token, is_operator

MARGINS = {
    "at(text)": "values of predictors: at(age=(40(10)60) stage=2)",
    "dydx(text)": "average effects of these predictors, * for all",
    "eyex(text)": "elasticities",
    "eydx(text)": "semi-elasticities",
    "dyex(text)": "semi-elasticities",
    "over(text)": "within groups of these variables",
    "atmeans": "all other predictors at their means",
    "PREDict(text)": "mu, mu fixedonly, mu conditional(ebmeans)",
    "Level(#)": "confidence level in percent",
    "vsquish": "no effect",
    "noatlegend": "no effect",
}
PLOT = {"saving(text)": "file to write: .png, .pdf or .svg", "XDIMension(text)": "the predictor on the horizontal axis"}
MAX_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class Shown:
    """A table of margins, and the names of its columns as Stata shows them."""

    result: Any
    fit: StataResults


def margins(state: State, command: Command) -> Step:
    """``margins``, with ``at()``, ``dydx()``, ``over()``, a list of factors: averaged over the random effects.

    Integrated with the points of the fit, as Stata does.
    """
    fit, data = fit_of(state, command), data_of(state, command)
    available(fit, "margins", command)
    given = own_options(command, MARGINS)
    asked: dict[str, Any] = {}
    grids = [_factors(command, term, data) for term in read_terms(command.text, command.main.body)]
    fixed = _at(command, given["at"], data) if "at" in given else {}
    if grids or fixed:
        asked["at"] = [{**grid, **fixed} for grid in grids] if grids else fixed
    for name in ("dydx", "eyex", "eydx", "dyex", "over"):
        if name in given:
            asked[name] = _names(command, given[name], data)
    if "atmeans" in given:
        asked["atmeans"] = True
    asked["kind"] = _kind(command, given)
    points = set(fit.integration.points)
    if asked["kind"] == "marginal" and len(points) == 1 and fit.integration.method != "laplace":
        asked["intpoints"] = next(iter(points))
    asked["level"] = percent(command, given["level"]) if "level" in given else fit.level
    found = fit.margins(**asked)
    return replace(state, margins=Shown(found, fit)), _table(found, fit)


def _kind(command: Command, given: dict[str, Option]) -> str:
    if "predict" not in given:
        return "marginal"
    option = given["predict"]
    inner = read_options(command.text, option.argument or ())
    kinds = {"mu": "marginal", "pr": "marginal", "mu_fixed": "fixed", "marginal": "marginal"}
    names = [name for name in inner if name not in ("mu", "pr")]
    if names == ["conditional"] and inner["conditional"].text == "ebmeans":
        return "conditional"
    kind = prediction_kind(command, {name: inner[name] for name in inner if name != "pr"})
    if kind not in kinds:
        raise command.error(
            option.start, f"margins of {kind} are not supported; predict(mu) and predict(mu fixedonly) are."
        )
    return kinds[kind]


def _factors(command: Command, term: Term, data: Dataset) -> dict[str, Any]:
    """``margins stage#sex``: every combination of their levels."""
    return {find_column(command.text, v, data.names): "levels" for v in term.variables}


def _names(command: Command, option: Option, data: Dataset) -> Any:
    tokens = option.argument or ()
    if len(tokens) == 1 and is_operator(tokens[0], "*"):
        return "*"
    terms = read_terms(command.text, tokens)
    return [find_column(command.text, term.variables[0], data.names) for term in terms]


def _at(command: Command, option: Option, data: Dataset) -> dict[str, Any]:
    """Read ``x=(1(1)10) stage=2 (mean) age``."""
    tokens = option.argument or ()
    found: dict[str, Any] = {}
    i = 0
    while i < len(tokens):
        if is_operator(tokens[i], "("):
            i = _statistic(command, tokens, i, data, found)
            continue
        if i + 2 >= len(tokens) or not is_operator(tokens[i + 1], "="):
            raise command.error(tokens[i].start, "at() is written as at(x=(1(1)10) z=2).")
        name = find_column(command.text, read_names(command.text, [tokens[i]])[0], data.names)
        values, i = _values(command, tokens, i + 2)
        category = kind_of(data.column(name)) == "category"
        found[name] = [as_level(data, name, value) for value in values] if category else values
    return found


def _statistic(command: Command, tokens: Sequence[Token], i: int, data: Dataset, found: dict[str, Any]) -> int:
    """Read ``(mean) age il6`` and return the position after it."""
    statistics = ("mean", "median", "min", "max", *(f"p{k}" for k in range(1, 100)))
    if i + 2 >= len(tokens) or tokens[i + 1].text not in statistics or not is_operator(tokens[i + 2], ")"):
        raise command.error(tokens[i].start, "supported here: (mean), (median), (min), (max), (p25) and the like.")
    start = i + 3
    end = start
    while end < len(tokens) and tokens[end].kind == "name":
        if end + 1 < len(tokens) and is_operator(tokens[end + 1], "="):
            break
        end += 1
    if end == start:
        raise command.error(tokens[i].start, "the names of variables follow this.")
    for token in tokens[start:end]:
        found[find_column(command.text, Variable(token.text, token.start), data.names)] = tokens[i + 1].text
    return end


def _values(command: Command, tokens: Sequence[Token], i: int) -> tuple[list[float], int]:
    """Read a number or a list in brackets: ``(1(1)10)``, ``(1/5)``, ``(1 2 5)``."""
    if not is_operator(tokens[i], "("):
        value, i = _number(command, tokens, i)
        return [value], i
    depth, j = 0, i
    while True:
        depth += is_operator(tokens[j], "(") - is_operator(tokens[j], ")")
        if depth == 0:
            break
        j += 1
    return number_list(command, tokens[i + 1 : j]), j + 1


def _number(command: Command, tokens: Sequence[Token], i: int) -> tuple[float, int]:
    sign = -1.0 if i < len(tokens) and is_operator(tokens[i], "-") else 1.0
    i += sign < 0
    if i >= len(tokens) or tokens[i].kind != "number":
        place = tokens[i].start if i < len(tokens) else command.main.end
        raise command.error(place, "a number is expected here.")
    return sign * float(tokens[i].text), i + 1


def number_list(command: Command, tokens: Sequence[Token]) -> list[float]:
    """Read Stata's lists of numbers: ``1 2 5``, ``1/5``, ``0(10)50``."""
    found: list[float] = []
    i = 0
    while i < len(tokens):
        first, start = tokens[i], i
        value, i = _number(command, tokens, i)
        step, last = 0.0, value
        if i < len(tokens) and is_operator(tokens[i], "/"):
            last, i = _number(command, tokens, i + 1)
            step = 1.0 if last >= value else -1.0
        elif i < len(tokens) and is_operator(tokens[i], "("):
            step, i = _number(command, tokens, i + 1)
            if i >= len(tokens) or not is_operator(tokens[i], ")"):
                raise command.error(tokens[start].start, "a list with steps is written as 0(10)50.")
            last, i = _number(command, tokens, i + 1)
            if step == 0 or (last - value) * step < 0:
                raise command.error(first.start, f"steps of {step:g} do not lead from {value:g} to {last:g}.")
        n = 0 if step == 0 else int((last - value) / step + 1e-9)
        if n + len(found) > MAX_VALUES:
            raise command.error(first.start, f"this makes more than {MAX_VALUES:,} values.")
        found += [value + k * step for k in range(n + 1)]
    if not found:
        raise command.error(command.main.end, "a list of numbers is missing.")
    return found


def _table(found: Any, fit: StataResults) -> str:
    """Lay margins out like Stata."""
    effects = found.measure != "probability"
    title = "Average marginal effects" if effects else "Predictive margins"
    words = {"marginal": "Marginal predicted mean", "fixed": "Predicted mean, fixed portion only"}
    what = words.get(found.kind, "Predicted mean, given the groups' own effects")
    table = found.table.copy()
    labels = [
        ", ".join(f"{str(n).lower()}={_text(row[n])}" for n in found.settings) for row in table.to_dict("records")
    ]
    if list(found.settings) == ["margin of"]:
        labels = ["_cons"]
    numbers = table[["margin", "std_err", "z", "p", "ci_low", "ci_high"]].set_axis(labels)
    heads = ["dy/dx" if effects else "Margin", "Std. err.", "z", "P>|z|"]
    lines = [f"{title:<48}Number of obs     = {count(fit.nobs):>10}", f"Expression: {what}", ""]
    lines.append(laid_out(numbers, "", heads, found.level))
    return "\n".join([*lines, *(["", *found.notes] if found.notes else [])])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def marginsplot(state: State, command: Command) -> Step:
    """Draw the last table of margins; ``saving(file.png)`` says where to."""
    if state.margins is None:
        raise ModelError("'marginsplot' draws the last margins, and there are none yet.")
    shown = state.margins
    if not hasattr(shown.result, "plot"):
        raise ModelError("'marginsplot' is not available in this version.")
    given = own_options(command, PLOT)
    option = given.get("saving")
    name = "marginsplot.png"
    if option is not None and option.argument:
        comma = next((i for i, t in enumerate(option.argument) if is_operator(t, ",")), len(option.argument))
        tokens = option.argument[:comma]
        name = tokens[0].text if len(tokens) == 1 else command.raw(tokens)
    path = Path(name)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise command.error(command.start, f"'{name}' is no picture: write saving(name.png), .pdf or .svg.")
    options = {"x": _names(command, given["xdimension"], data_of(state, command))[0]} if "xdimension" in given else {}
    axes = shown.result.plot(**options)
    try:
        axes.figure.savefig(path, bbox_inches="tight")
    except OSError as error:
        raise DataError(f"'{name}' cannot be written: {error.strerror or error}.") from error
    return state, f"(file {name} written)"
