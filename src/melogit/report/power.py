"""The table of a power analysis as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from melogit.report.numbers import count
from melogit.report.text import printable

WIDTH = 78
SHARES = ("power", "ci_low", "ci_high")


@dataclass(frozen=True, slots=True)
class PowerColumn:
    """One column: its name in the table, its heading, its values."""

    name: str
    heading: str
    values: Sequence[float]


def power_text(title: str, about: Sequence[str], columns: Sequence[PowerColumn], level: float) -> str:
    """Write a power analysis: title, what was planned, one line per study.

    Examples
    --------
    >>> columns = [PowerColumn("clusters", "clusters", [20]), PowerColumn("power", "power", [0.8123])]
    >>> print(power_text("Power", ["20 rows per cluster"], columns, 0.95))
    Power
    20 rows per cluster
    ------------------
     clusters    power
    ------------------
           20    0.812
    ------------------
    """
    headings = {"ci_low": f"[{level * 100:g}% Monte Carlo", "ci_high": "interval]", "clusters_low": "[at least",
                "clusters_high": "at most]"}  # fmt: skip
    heads = [headings.get(column.name, column.heading) for column in columns]
    cells = [[_cell(column.name, value) for value in column.values] for column in columns]
    widths = [max(len(head), *map(len, body)) + 1 for head, body in zip(heads, cells, strict=True)]
    widths = [max(width, 9) for width in widths]
    rule = "-" * sum(widths)
    lines = [title]
    for text in about:
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False)
    lines += [rule, "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)), rule]
    for row in zip(*cells, strict=True):
        lines.append("".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    return "\n".join(printable(line) for line in [*lines, rule])


def _cell(name: str, value: float) -> str:
    if name in SHARES:
        return f"{value:.3f}"
    return count(value) if (value == round(value) and abs(value) >= 2) or name == "failed" else f"{value:.4g}"
