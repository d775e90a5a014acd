"""A formula -> the same model as a Stata command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from formulaic.parser.types import Factor

from melogit.errors import FormulaError, ModelError
from melogit.formula.build import build_design
from melogit.formula.plan import Matrix, Plan, plan_formula
from melogit.formula.tokens import formula_error
from melogit.stata.data import Dataset, code_labels, kind_of, open_data
from melogit.stata.options import DEFAULT_POINTS

_CALL_ADVICE = "Stata has no functions inside a command. Make a column first, such as: generate logx = log(x)"


def to_stata(
    formula: str,
    data: Any = None,
    *,
    method: str | None = None,
    intpoints: int | Sequence[int] | str = "auto",
    vce: str = "oim",
    covariance: str | Mapping[str, str] | None = None,
    trials: str | int | None = None,
    weights: str | None = None,
    offset: str | None = None,
    level: float = 0.95,
    odds_ratios: bool = False,
) -> str:
    """Write a model as a Stata command.

    Parameters
    ----------
    formula : str
        As for ``melogit.melogit``.
    data : data frame or path, optional
        Tells which columns are categories (``i.stage``) and which groups lie within which (``|| hid: || did:``).
        Without data, ``C(x)`` marks categories, and separately written groups become crossed ones
        (``|| _all: R.hid || did:``): the same model, as Stata writes it where it does not know of the nesting.
    method, intpoints, vce, covariance, trials, weights, offset, level
        As for ``melogit.melogit``. ``intpoints="auto"`` has no counterpart; Stata then takes seven points.
    odds_ratios : bool
        Add the option ``or``.

    Returns
    -------
    str
        With names in lower case, as a Stata import shows them.

    Raises
    ------
    FormulaError
        The formula holds something that a Stata command cannot say: a function, a spline, a power of a sum.

    Examples
    --------
    >>> to_stata("remission ~ IL6 + C(CancerStage) + (1 | HID/DID)", odds_ratios=True)
    'melogit remission il6 i.cancerstage || hid: || did:, or'
    """
    plan = plan_formula(formula)
    table = None if data is None else open_data(data)
    words = _Words(plan, table)
    outcome = words.response(trials)
    fixed = words.fixed()
    levels = words.levels(data, covariance)
    own = [f"{outcome} {' '.join(fixed)}".rstrip()]
    if weights is not None:
        own.append(f"[fweight={weights.lower()}]")
    head = " ".join(own) + ("" if words.has_constant(plan.fixed) else ", noconstant")
    options = _options(method, intpoints, vce, words.trials or trials, offset, level, odds_ratios)
    command = " || ".join([f"melogit {head}", *levels])
    if not options:
        return command
    last = levels[-1] if levels else head
    return command + (" " if ", " in last else ", ") + " ".join(options)


class _Words:
    def __init__(self, plan: Plan, data: Dataset | None) -> None:
        self.plan, self.data = plan, data
        self.trials: str | int | None = None

    def error(self, text: str, message: str) -> FormulaError:
        place = self.plan.parsed.text.find(text)
        return formula_error(self.plan.parsed.text, max(place, 0), message)

    def response(self, trials: str | int | None) -> str:
        if len(self.plan.response) == 2:
            raise self.error("cbind", "Stata's outcome is one variable. Give the successes, and trials= beside them.")
        expression = self.plan.response[0]
        names = list(expression.columns.values())
        if len(names) != 1 or expression.text.strip("`") != names[0]:
            raise self.error(expression.text, _CALL_ADVICE)
        if self.plan.offsets:
            raise self.error("offset", "write offset= in place of offset() in the formula.")
        return names[0].lower()

    def fixed(self) -> list[str]:
        return self.terms(self.plan.fixed)

    def has_constant(self, matrix: Matrix) -> bool:
        return any(
            not [f for f in term.factors if f.eval_method is not Factor.EvalMethod.LITERAL] for term in matrix.terms
        )

    def terms(self, matrix: Matrix) -> list[str]:
        written = []
        constant = self.has_constant(matrix)
        for term in matrix.terms:
            factors = [f.expr for f in term.factors if f.eval_method is not Factor.EvalMethod.LITERAL]
            if not factors:
                continue
            pieces = [self.factor(matrix, text) for text in factors]
            several = len(pieces) > 1 or pieces[0].startswith("c.")
            shown = [p if not several or p.startswith(("i", "c.")) else f"c.{p}" for p in pieces]
            if not constant and len(shown) == 1 and shown[0].startswith("i."):
                shown = [f"ibn.{shown[0][2:]}"]  # the first factor has all its levels
                constant = True
            written.append("#".join(shown))
        return written

    def factor(self, matrix: Matrix, text: str) -> str:
        if text not in matrix.expressions:
            name = text
            category = self.data is not None and kind_of(self.data.column(self.found(name))) == "category"
            return f"i.{name.lower()}" if category else name.lower()
        expression = matrix.expressions[text]
        names = list(expression.columns.values())
        squeezed = expression.text.replace(" ", "").replace("`", "")
        if len(names) == 1:
            name = names[0]
            if squeezed == f"C({name})":
                return f"i.{name.lower()}"
            for head in (f"C({name},Treatment(reference=", f"C({name},Treatment("):
                if squeezed.startswith(head):
                    return f"ib{self.code(name, squeezed[len(head) : -2], text)}.{name.lower()}"
            for sign in ("**", "^"):
                power = squeezed.removeprefix(f"I({name}{sign}").removesuffix(")")
                if squeezed == f"I({name}{sign}{power})" and power.isdecimal() and 2 <= int(power) <= 6:
                    return "#".join([f"c.{name.lower()}"] * int(power))
        raise self.error(text, _CALL_ADVICE)

    def found(self, name: str) -> str:
        assert self.data is not None
        if name not in self.data.names:
            raise self.error(name, f"there is no column '{name}'.")
        return name

    def code(self, name: str, level: str, text: str) -> int:
        """The number that Stata knows a level by."""
        label = level.strip("'\"")
        if label == level and level.isdecimal():
            return int(level)
        if self.data is None:
            raise self.error(text, f"the number that Stata gives the level {level} is known with data= only.")
        for code, known in code_labels(self.data, self.found(name)).items():
            if str(known) == label:
                return code
        raise self.error(text, f"'{name}' has no level {level}.")

    def levels(self, source: Any, covariance: str | Mapping[str, str] | None) -> list[str]:
        """Write the random terms as levels, from the top."""
        parts = [(part.group, self.effects(matrix), part.independent) for part, matrix in self.plan.random]
        if source is not None:
            order = [term.factor.columns for term in build_design(self.plan.parsed.text, source).terms]
            parts.sort(key=lambda part: [set(columns) for columns in order].index(set(part[0])))
            nested = all(set(a) < set(b) or len(b) == 1 for a, b in pairwise(order)) and self.is_nested(source)
        else:
            parts.sort(key=lambda part: len(part[0]))
            nested = all(set(a[0]) <= set(b[0]) for a, b in pairwise(parts))
        written: list[str] = []
        above: set[str] = set()
        for i, (group, effects, independent) in enumerate(parts):
            new = [name for name in group if name not in above] or [group[-1]]
            if nested and len(new) > 1:
                raise self.error(":".join(group), f"Stata needs a level of its own for '{new[0]}' above '{new[-1]}'.")
            options = self.structure(group, effects, independent, covariance)
            if nested or i == len(parts) - 1:
                if len(group) > 1 and not nested:
                    raise self.error(":".join(group), "crossed groups made of several columns: make one column first.")
                written.append(f"{new[-1].lower()}:{effects[0]}{options}")
                above |= set(group)
            else:
                if ":" in (name := ":".join(group)) or effects[0] or not effects[1]:
                    raise self.error(name, "groups that are not nested can only have a random intercept (_all: R.x).")
                written.append(f"_all: R.{name.lower()}")
        return written

    def is_nested(self, source: Any) -> bool:
        return build_design(self.plan.parsed.text, source).nested

    def effects(self, matrix: Matrix) -> tuple[str, bool, int]:
        """Slopes as text, whether there is a constant, and how many effects."""
        slopes = self.terms(matrix)
        constant = self.has_constant(matrix)
        return "".join(f" {slope}" for slope in slopes), constant, len(slopes) + constant

    def structure(
        self,
        group: tuple[str, ...],
        effects: tuple[str, bool, int],
        independent: bool,
        covariance: str | Mapping[str, str] | None,
    ) -> str:
        words = [] if effects[1] else ["noconstant"]
        asked = covariance.get(":".join(group)) if isinstance(covariance, Mapping) else covariance
        kind = asked or ("independent" if independent else "unstructured")
        if effects[2] > 1 and kind != "independent":
            words.append(f"covariance({kind})")
        return f", {' '.join(words)}" if words else ""


def _options(
    method: str | None,
    intpoints: int | Sequence[int] | str,
    vce: str,
    trials: str | int | None,
    offset: str | None,
    level: float,
    odds_ratios: bool,
) -> list[str]:
    words = []
    if method == "laplace":
        words.append("intmethod(laplace)")
    elif method not in (None, "mvaghermite"):
        words.append(f"intmethod({method})")
    if not isinstance(intpoints, str) and method != "laplace":
        points = [intpoints] if isinstance(intpoints, int) else list(intpoints)
        if len(set(points)) > 1:
            raise ModelError(f"Stata's melogit takes one number of points for all levels, not {tuple(points)}.")
        if points[0] != DEFAULT_POINTS:
            words.append(f"intpoints({points[0]})")
    if trials is not None:
        words.append(f"binomial({str(trials).lower()})")
    if offset is not None:
        words.append(f"offset({offset.lower()})")
    if vce != "oim":
        words.append(f"vce({vce})")
    if level != 0.95:
        words.append(f"level({100 * level:g})")
    return [*words, "or"] if odds_ratios else words
