"""Names of coefficients as Stata writes them (``2.cancerstage``, ``c.age#c.age``, ``_cons``) -> names of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from melogit.errors import FormulaError
from melogit.stata.data import Dataset, code_labels
from melogit.stata.factors import Term, Variable, find_column
from melogit.stata.fitted import StataResults, split_colons
from melogit.stata.words import Token, error_at, is_operator

Key = tuple[tuple[str, str], ...]  # (variable in lower case, level or "") of each factor, sorted


def coefficient_keys(fit: StataResults) -> dict[Key, str]:
    """Every fixed effect by its variables and levels."""
    labels = fit.wording.labels
    found: dict[Key, str] = {}
    for name in fit.fit.names[: fit.fit.n_fixed]:
        key: list[tuple[str, str]] = []
        for piece in [] if name == "Intercept" else split_colons(name):
            term, _, level = piece.removesuffix("]").rpartition("[") if piece.endswith("]") else (piece, "", "")
            shown = labels.get(term, (term.lower(), False))[0]
            key += [(part.removeprefix("c."), level) for part in shown.split("#")]
        found[tuple(sorted(key))] = name
    return found


class References:
    """Reads references to coefficients out of the tokens of one command."""

    def __init__(self, text: str, fit: StataResults, data: Dataset) -> None:
        self.text, self.fit, self.data = text, fit, data
        self.known = coefficient_keys(fit)
        self.variables = tuple(dict.fromkeys(name for key in self.known for name, _ in key))

    def error(self, token: Token, message: str) -> FormulaError:
        """Point at a token."""
        return error_at(self.text, token.start, message)

    def translated(self, tokens: Sequence[Token]) -> str:
        """Rewrite an expression such as ``2*il6 - 3.stage = 0`` with the names of the parameters."""
        written: list[str] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token.text == "_b" and i + 1 < len(tokens) and is_operator(tokens[i + 1], "["):
                name, i = self.read(tokens, i + 2)
                if i >= len(tokens) or not is_operator(tokens[i], "]"):
                    raise self.error(token, "after _b stands the name of a coefficient in square brackets.")
                written.append(name)
                i += 1
            elif token.kind == "name" or self.starts_level(tokens, i):
                name, i = self.read(tokens, i)
                written.append(name)
            elif token.kind == "number" or is_operator(token, "+", "-", "*", "/", "=", "==", "(", ")"):
                written.append("=" if token.text == "==" else token.text)
                i += 1
            else:
                raise self.error(token, f"'{token.text}' cannot stand here; combinations are linear, with + - * / =.")
        return " ".join(written)

    def listed(self, tokens: Sequence[Token]) -> list[str]:
        """Read a list of coefficients."""
        found, i = [], 0
        while i < len(tokens):
            name, i = self.read(tokens, i)
            found.append(name)
        return found

    def starts_level(self, tokens: Sequence[Token], i: int) -> bool:
        """A number followed by a dot and a name, without blanks: ``2.stage``."""
        return (
            i + 2 < len(tokens)
            and tokens[i].kind in ("number", "name")
            and is_operator(tokens[i + 1], ".")
            and tokens[i + 2].kind == "name"
            and tokens[i].end == tokens[i + 1].start
            and tokens[i + 1].end == tokens[i + 2].start
        )

    def read(self, tokens: Sequence[Token], i: int) -> tuple[str, int]:
        """Read one coefficient, and return its name and the position after it."""
        first = tokens[i]
        key: list[tuple[str, str]] = []
        while True:
            factor, i = self.factor(tokens, i)
            key += [factor] if factor is not None else []
            if i >= len(tokens) or not is_operator(tokens[i], "#"):
                break
            i += 1
        name = self.known.get(tuple(sorted(key)))
        if name is None:
            last = tokens[i - 1]
            written = self.text[first.start : last.end]
            raise self.error(first, f"the model has no coefficient '{written}'.{self.hint(key)}")
        return name, i

    def factor(self, tokens: Sequence[Token], i: int) -> tuple[tuple[str, str] | None, int]:
        """Read one factor of a coefficient; None for the constant."""
        if i >= len(tokens) or tokens[i].kind not in ("name", "number"):
            place = tokens[min(i, len(tokens) - 1)]
            raise self.error(place, "the name of a coefficient is expected here, such as il6, 2.stage or _cons.")
        if tokens[i].text == "_cons":
            return None, i + 1
        if self.starts_level(tokens, i):
            name = self.variable(tokens[i + 2])
            prefix = tokens[i].text
            return (name, "" if prefix == "c" else self.level(name, prefix, tokens[i])), i + 3
        return (self.variable(tokens[i]), ""), i + 1

    def variable(self, token: Token) -> str:
        """Find the variable of the model that a name stands for."""
        if token.kind != "name":
            raise self.error(token, f"'{token.text}' is not the name of a coefficient.")
        return find_column(self.text, Variable(token.text, token.start), self.variables).lower()

    def level(self, name: str, prefix: str, token: Token) -> str:
        """The label of a level that is given by its number (or by its label)."""
        labels = self.labels(name)
        number = prefix.removesuffix("b").removesuffix("o")
        if number.isdecimal() and int(number) in labels:
            return labels[int(number)]
        if prefix in labels.values():
            return prefix
        shown = ", ".join(f"{code} ({label})" if str(code) != label else label for code, label in labels.items())
        raise self.error(token, f"'{name}' has no level {prefix}. Its levels: {shown}.")

    def labels(self, name: str) -> Mapping[int, str]:
        """Number -> label of a factor's levels."""
        column = next((c for c in self.data.names if c.lower() == name), None)
        shown = {label for label, (text, category) in self.fit.wording.labels.items() if text == name and category}
        own = {level for key in self.known for variable, level in key if variable == name and level}
        own |= {base for factor, base in self.fit.fit.wording.base_levels if factor in shown}
        if own and all(level.lstrip("-").isdecimal() for level in own):
            return {int(level): level for level in sorted(own, key=int)}
        if column is not None:
            return {int(code): str(label) for code, label in code_labels(self.data, column).items()}
        return dict(enumerate(sorted(own), 1))

    def hint(self, key: Sequence[tuple[str, str]]) -> str:
        """Say what the model has in place of a coefficient that it does not have."""
        names = {name for name, _ in key}
        bases = {text: base for factor, base in self.fit.fit.wording.base_levels for text in [self.shown(factor)]}
        for name, level in key:
            if level and bases.get(name) == level:
                return f" {level} is the base level of '{name}', whose coefficient is 0."
        if any(set(v for v, _ in known) == names and any(level for _, level in known) for known in self.known):
            first = sorted(names)[0]
            return f" '{first}' has one for each level, such as 2.{first}; testparm takes all."
        return f" It has: {', '.join(self.variables)}, _cons."

    def shown(self, factor: str) -> str:
        """A factor of the formula as the table shows it."""
        return self.fit.wording.labels.get(factor, (factor.lower(), False))[0]

    def of_terms(self, terms: Sequence[Term]) -> list[str]:
        """All coefficients of terms such as ``i.stage``, for ``testparm``."""
        found: dict[str, None] = {}
        for term in terms:
            wanted = sorted(find_column(self.text, v, self.variables).lower() for v in term.variables)
            names = [name for key, name in self.known.items() if sorted(v for v, _ in key) == wanted]
            if not names:
                raise error_at(self.text, term.variables[0].start, "the model has no coefficient of this.")
            found.update(dict.fromkeys(names))
        return list(found)


def as_level(data: Dataset, column: str, value: Any) -> Any:
    """A number in ``at()`` as the label it stands for in the data."""
    labels = code_labels(data, column)
    return labels.get(int(value), value) if float(value).is_integer() else value
