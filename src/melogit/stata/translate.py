"""A model as a Stata command -> the same model as a formula and options of ``melogit.melogit``."""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from melogit.errors import DataError, FormulaError
from melogit.stata.data import Dataset, code_labels, kind_of, levels_of
from melogit.stata.factors import Term, Variable, find_column, find_columns
from melogit.stata.model import Level, Model
from melogit.stata.words import error_at


@dataclass(frozen=True, slots=True)
class Translation:
    """A model in the words of ``melogit.melogit``.

    Attributes
    ----------
    formula : str
    options : dict
        Keyword arguments beside it.
    labels : dict of str to (str, bool)
        How the table shows each factor of the formula: ``C(Married)`` as ``married``; True for categories.
    notes : tuple of str
        What deserves to be said about the translation.
    """

    formula: str
    options: Mapping[str, Any]
    labels: Mapping[str, tuple[str, bool]]
    notes: tuple[str, ...] = ()


@dataclass
class _Translator:
    """Looks names up in the data, or takes them as written where there are none."""

    text: str
    data: Dataset | None
    labels: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def error(self, position: int, message: str) -> FormulaError:
        return error_at(self.text, position, message)

    def name(self, variable: Variable) -> str:
        """The one column that is meant."""
        if self.data is not None:
            return find_column(self.text, variable, self.data.names)
        if not variable.single or variable.pattern == "_all":
            message = f"'{variable.pattern}' stands for several variables; which ones is known with the data only."
            raise self.error(variable.start, message)
        return variable.pattern

    def quoted(self, variable: Variable) -> str:
        return quote(self.name(variable))

    def terms(self, terms: Sequence[Term], constant: bool) -> list[str]:
        """Write the terms in the formula's notation, for a side with or without a constant."""
        found: dict[str, None] = {}
        factors = 0
        for term in terms:
            if len(term.variables) == 1:
                for variable in self.expanded(term.variables[0]):
                    if variable.kind == "i":
                        self.check_constant(variable, self.name(variable), not constant and not factors)
                        factors += 1
                    found[self.factor(self.with_base(variable, terms))] = None
            else:
                found[self.product(term, terms, constant)] = None
        return list(found)

    def expanded(self, variable: Variable) -> list[Variable]:
        if variable.single and variable.pattern != "_all":
            return [variable]
        if self.data is None:
            self.name(variable)
            return []
        names = find_columns(self.text, variable, self.data.names)
        return [Variable(name, variable.start, variable.kind, variable.base) for name in names]

    def factor(self, variable: Variable) -> str:
        """Write one variable: as a number, or as categories with their base."""
        name = self.name(variable)
        if variable.kind != "i":
            self.check_number(name, variable)
            self.labels[name] = (name.lower(), False)
            return quote(name)
        written = self.category(name, variable)
        self.labels[written.replace("`", "")] = (name.lower(), True)
        self.labels[written] = (name.lower(), True)
        return written

    def check_number(self, name: str, variable: Variable) -> None:
        if self.data is None or kind_of(self.data.column(name)) == "number":
            return
        raise self.error(
            variable.start,
            f"column '{name}' holds {_content(self.data, name)}, not numbers. Write i.{variable.pattern} to use its "
            "categories.",
        )

    def check_constant(self, variable: Variable, name: str, full: bool) -> None:
        """Without a constant the first factor, and no other, has all its levels: that is how formulas read."""
        shown = name.lower()
        if variable.base == "none" and not full:
            message = f"ibn.{shown} has no base level, which needs noconstant and no other factor before it."
            raise self.error(variable.start, message)
        if variable.base != "none" and full:
            raise self.error(
                variable.start,
                f"with noconstant, i.{shown} would leave its base level without an effect. Write ibn.{shown} for all "
                "its levels; factors after it may have a base.",
            )

    def category(self, name: str, variable: Variable) -> str:
        """Write a column as categories: by its plain name where the formula takes it for one anyway."""
        column = None if self.data is None else self.data.column(name)
        kind = "number" if column is None else kind_of(column)
        if kind == "other":
            raise self.error(variable.start, f"column '{name}' holds dates or other values that cannot be categories.")
        if column is not None and kind == "number":
            values = column.to_numpy(dtype=float, na_value=np.nan)
            values = values[np.isfinite(values)]
            if (values != np.floor(values)).any():
                bad = values[values != np.floor(values)][0]
                message = f"column '{name}' has values such as {bad:g}; categories are whole numbers. Did you mean c.?"
                raise self.error(variable.start, message)
        plain = kind == "category" and not _looks_numeric(levels_of(self.data, name)) if self.data else False
        if variable.base in ("", "none", "first"):
            return quote(name) if plain else f"C({quote(name)})"
        return f"C({quote(name)}, Treatment(reference={self.base(name, variable)!r}))"

    def base(self, name: str, variable: Variable) -> str | int:
        """Find the base level that ``ib2.``, ``ib(last).`` or ``ib(freq).`` names."""
        if self.data is None:
            if variable.base.isdigit():
                return int(variable.base)
            raise self.error(variable.start, f"which level ib({variable.base}). is, is known with the data only.")
        levels = levels_of(self.data, name)
        if variable.base.isdigit():
            code = int(variable.base)
            numeric = kind_of(self.data.column(name)) == "number"
            known = {int(level): level for level in levels} if numeric else code_labels(self.data, name)
            if code not in known or known[code] not in levels:
                shown = ", ".join(f"{k}" if numeric else f"{k} ({v})" for k, v in list(known.items())[:10])
                raise self.error(variable.start, f"'{name}' has no level {code}. Its levels: {shown}.")
            return _plain(known[code])
        if not levels:
            raise DataError(f"column '{name}' has no values in the rows used.")
        if variable.base == "freq":
            counts = self.data.column(name).value_counts()
            return _plain(max(levels, key=lambda level: counts[level]))
        return _plain(levels[-1])

    def product(self, term: Term, all_terms: Sequence[Term], constant: bool) -> str:
        """Write a product; several times the same number is a power."""
        categories = [v for v in term.variables if v.kind == "i"]
        numbers = Counter(self.name(v) for v in term.variables if v.kind == "c")
        for variable in term.variables:
            if variable.kind == "c":
                self.check_number(self.name(variable), variable)
            elif variable.base == "none" or (not constant and len(categories) > 1):
                raise self.error(variable.start, "products of categories without a constant or base are not supported.")
        self.check_main_effects(categories, all_terms)
        written: dict[str, None] = {}
        for variable in categories:
            written[self.factor(self.with_base(variable, all_terms))] = None
        for name, power in numbers.items():
            if power == 1:
                written[self.factor(Variable(name, 0, "c"))] = None
            else:
                text = f"I({quote(name)} ** {power})"
                self.labels[text.replace("`", "")] = ("#".join([f"c.{name.lower()}"] * power), False)
                written[text] = None
        return ":".join(written)

    def with_base(self, variable: Variable, all_terms: Sequence[Term]) -> Variable:
        """A base given once, such as in ``ib2.x i.x#c.z``, holds for the variable everywhere."""
        own = self.name(variable)
        others = [v for term in all_terms for v in term.variables if v.base not in ("", "none")]
        bases = {other.base: other.start for other in others if other.single and self.name(other) == own}
        if len(bases) > 1:
            raise self.error(max(bases.values()), f"'{own}' is given two base levels.")
        if variable.kind != "i" or not bases:
            return variable
        return Variable(variable.pattern, variable.start, "i", next(iter(bases)))

    def check_main_effects(self, categories: Sequence[Variable], all_terms: Sequence[Term]) -> None:
        """Refuse the product of categories none of which stands by itself: formulas number its cells differently."""
        if len(categories) < 2:
            return
        alone = {t.variables[0].pattern.lower() for t in all_terms if len(t.variables) == 1}
        if not any(variable.pattern.lower() in alone for variable in categories):
            names = [variable.pattern for variable in categories]
            raise self.error(
                categories[0].start,
                f"the product {'#'.join(names)} stands here without its main effects, which is not supported. Write "
                f"{'##'.join(names)}: the same model with other coefficients.",
            )

    def response(self, variable: Variable, grouped: bool) -> tuple[str, tuple[str, ...]]:
        """Write the outcome; as in Stata, every number that is not 0 counts as 1, and a note says so."""
        name = self.name(variable)
        if grouped or self.data is None or kind_of(self.data.column(name)) != "number":
            return quote(name), ()
        levels = levels_of(self.data, name)
        others = [level for level in levels if level not in (0, 1)]
        if not others:
            return quote(name), ()
        shown = ", ".join(f"{level:g}" for level in levels[:6] if level != 0) + (", ..." if len(levels) > 6 else "")
        if 0 not in levels:
            raise self.error(
                variable.start,
                f"the outcome '{name}' does not vary: 0 is the negative outcome, every other number the positive one, "
                f"and its values are {shown}. Make a new one, such as: generate y01 = {name} == {levels[-1]:g}",
            )
        note = f"{name.lower()} has the values {shown} besides 0; each of them counts as 1, as in Stata."
        written = f"I(({quote(name)} != 0) * 1)"
        self.labels[written] = (name.lower(), False)
        return written, (note,)

    def levels(self, levels: Sequence[Level]) -> tuple[list[str], dict[str, str]]:
        """Write the random terms and their covariance structures, by group."""
        above: tuple[str, ...] = ()
        written: list[str] = []
        structures: dict[str, str] = {}
        for level in levels:
            group = above
            if level.group is not None:
                own = self.name(level.group)
                above = group = above if own in above else (*above, own)
            if level.crossed is not None:
                group = (*group, self.name(level.crossed))
            named = [self.name(v) for v in (level.group, level.crossed) if v is not None]
            for name in named:
                self.labels[name] = (name.lower(), True)
            slopes = self.terms(level.terms, level.constant)
            bar = "|" if not slopes or level.structure != "independent" else "||"
            written.append(f"({self.effects(level, slopes)} {bar} {':'.join(map(quote, group))})")
            if bar == "|" and len(slopes) + level.constant > 1 and level.structure != "unstructured":
                structures[":".join(group)] = level.structure
        return written, structures

    def effects(self, level: Level, slopes: Sequence[str]) -> str:
        """Write what varies between groups: slopes as written, the constant last."""
        if not slopes:
            return "1"
        if not level.constant:
            return " + ".join(["0", *slopes])
        if any(v.kind == "i" for term in level.terms for v in term.variables):
            return " + ".join(["1", *slopes])  # the base level is left out only beside a constant that comes first
        return " + ".join(["0", *slopes, "1"])


def translate(model: Model, data: Dataset | None) -> Translation:
    """Write the model as a formula.

    Parameters
    ----------
    model : Model
    data : Dataset or None
        To look names and types up. Without data names are taken as written, and ``i.x`` becomes ``C(x)``.

    Returns
    -------
    Translation

    Raises
    ------
    FormulaError
        An unknown name; something that formulas cannot say.
    """
    worker = _Translator(model.command.text, data)
    response, notes = worker.response(model.response, model.trials is not None)
    fixed = worker.terms(model.terms, model.constant)
    random, structures = worker.levels(model.levels)
    start = [] if model.constant else ["0"]
    addends = [*start, *fixed, *random]
    options: dict[str, Any] = {"method": model.method}
    if model.method != "laplace":
        options["intpoints"] = model.points
    elif any(level.crossed for level in model.levels):
        notes = (*notes, "Crossed random effects: the Laplace approximation, intmethod(laplace), is implied.")
    if structures:
        options["covariance"] = structures
    for word, variable in (("trials", model.trials), ("weights", model.weight), ("offset", model.offset)):
        if variable is not None:
            options[word] = variable if isinstance(variable, int) else worker.name(variable)
    if model.level is not None:
        options["level"] = model.level
    if model.iterations is not None:
        options["max_iterations"] = model.iterations
    return Translation(f"{response} ~ {' + '.join(addends)}", options, worker.labels, notes)


def quote(name: str) -> str:
    """Put a name in backticks where the formula could not read it otherwise."""
    plain = name.isidentifier() and not keyword.iskeyword(name)
    return name if plain else f"`{name}`"


def _looks_numeric(levels: Sequence[Any]) -> bool:
    for level in levels:
        try:
            float(level)
        except (TypeError, ValueError):
            continue
        return True
    return False


def _plain(level: Any) -> str | int:
    return level if isinstance(level, str) else int(level)


def _content(data: Dataset, name: str) -> str:
    levels = levels_of(data, name) if kind_of(data.column(name)) == "category" else []
    shown = ", ".join(f"'{level}'" for level in levels[:4]) + (", ..." if len(levels) > 4 else "")
    return f"text ({shown})" if levels else "dates or other values"
