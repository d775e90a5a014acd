"""The rows of a coefficient table: factors under their name, base levels named, constant last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONSTANT = "Intercept"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    label : str
    values : tuple of (float or None), or empty
        Estimate, standard error, z, p, lower and upper limit; None leaves a cell empty. Empty for a heading.
    remark : str
        Stands in the place of the numbers after the estimate: ``(base)``.
    level : bool
        The row belongs to the heading above it.
    """

    label: str
    values: tuple[float | None, ...] = ()
    remark: str = ""
    level: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Rows between two rules, with an optional title (the name of a grouping factor)."""

    title: str
    rows: tuple[Row, ...]


def split_levels(name: str) -> tuple[str, str]:
    """Take the levels in square brackets out of a coefficient's name: the heading, and the level.

    Brackets within brackets or parentheses belong to the text around them.

    Examples
    --------
    >>> split_levels("CancerStage[II]"), split_levels("Age")
    (('CancerStage', 'II'), ('Age', ''))
    >>> split_levels("CancerStage[II]:Sex[male]:Age")
    ('CancerStage:Sex:Age', 'II, male')
    """
    heading, levels, level = "", [], ""
    parentheses = brackets = 0
    for letter in name:
        opens_level = letter == "[" and parentheses == 0 and brackets == 0
        closes_level = letter == "]" and parentheses == 0 and brackets == 1
        if brackets == 0:
            parentheses = max(0, parentheses + (letter == "(") - (letter == ")"))
        brackets = max(0, brackets + (letter == "[") - (letter == "]")) if parentheses == 0 else brackets
        if closes_level:
            levels.append(level)
            level = ""
        elif opens_level:
            continue
        elif brackets:
            level += letter
        else:
            heading += letter
    if level or brackets:  # unbalanced: not a name of ours, leave it alone
        return name, ""
    return heading, ", ".join(levels)


def coefficient_rows(
    table: Mapping[str, Sequence[float]],
    base_levels: Sequence[tuple[str, str]] = (),
    omitted: Sequence[str] = (),
    base_value: float = 0.0,
) -> tuple[Row, ...]:
    """Lay the fixed effects out for reading.

    Parameters
    ----------
    table : mapping of str to sequence of float
        Coefficient name to its estimate, standard error, z, p, lower and upper limit, in model order.
    base_levels : sequence of (factor, level)
    omitted : sequence of str
        Columns that were left out of the model and get a line that says so.
    base_value : float
        What a base level or an omitted column stands at: 0 for coefficients, 1 for odds ratios.

    Examples
    --------
    >>> rows = coefficient_rows({"Intercept": [1.0], "stage[II]": [2.0]}, [("stage", "I")])
    >>> [row.label for row in rows]
    ['stage', 'I', 'II', 'Intercept']
    """
    bases = dict(base_levels)
    rows: list[Row] = []
    current = ""
    for name, values in table.items():
        if name == CONSTANT:
            continue
        heading, level = split_levels(name)
        if level and heading != current:
            rows.append(Row(heading))
            if heading in bases:
                rows.append(Row(bases[heading], (base_value,), remark="(base)", level=True))
        current = heading if level else ""
        rows.append(Row(level or name, tuple(values), level=bool(level)))
    rows += [Row(name, (base_value,), remark="(omitted)") for name in omitted]
    if CONSTANT in table:
        rows.append(Row(CONSTANT, tuple(table[CONSTANT])))
    return tuple(rows)
