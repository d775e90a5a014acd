"""The report on a model and its checks as Markdown, its pictures in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from melogit.report.checks import Check, CheckTable, Report
from melogit.report.checks_text import cell, first_sentence, measure_text
from melogit.report.page import references

SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def build_markdown(report: Report) -> str:
    """Write the report as Markdown.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
        Pictures are described by their alternative text.
    """
    sources = references(report.checks)
    numbers = {text: k for k, text in enumerate(sources, start=1)}
    head, *lines = report.verdict or ("No check was made.",)
    parts = [f"# {plain(report.title)}", _fence(report.formula), "## In short"]
    parts += [f"**{plain(report.model.alert)}**"] * bool(report.model.alert)
    parts += [f"**{plain(head)}**", "\n".join(f"- {_marked(line, report.checks)}" for line in lines)]
    parts += ["## The model", _fence(str(report.model)), "## All checks at a glance", _glance(report.checks)]
    parts.append("## The checks, one by one")
    for check in report.checks:
        parts += _check(check, numbers)
    parts.append("## Methods and sources")
    parts += ["\n".join(f"{k}. {plain(text)}" for text, k in numbers.items())]
    parts += ["## Versions and settings", "\n".join(f"- {plain(a)}: {plain(b)}" for a, b in report.facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    r"""Escape what Markdown would take for markup.

    Examples
    --------
    >>> print(plain("a_b * <c>"))
    a\_b \* \<c\>
    """
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _fence(text: str) -> str:
    """Text as it is, between fences longer than any within."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def _marked(line: str, checks: Sequence[Check]) -> str:
    title = line.partition(": ")[0]
    marks = [f"**{check.verdict.value}** " for check in checks if check.title == title]
    return "".join(marks[:1]) + plain(line)


def _glance(checks: Sequence[Check]) -> str:
    rows = [
        (plain(check.title), check.verdict.value, plain(result))
        for check in checks
        for result in [measure_text(check.measures[0]) if check.measures else first_sentence(check.meaning)]
    ]
    return _grid(("Check", "Verdict", "Main number"), rows, [True, True, True])


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[bool]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(":--" if text else "--:" for text in texts) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _check(check: Check, numbers: dict[str, int]) -> list[str]:
    parts = [f"### {plain(check.title)}: {check.verdict.value}", plain(check.meaning)]
    parts += [f"*Picture: {plain(picture.title)}.* {plain(picture.alt)}" for picture in check.pictures]
    if check.advice or check.code:
        parts += ["#### What to do", "\n".join(f"- {plain(sentence)}" for sentence in check.advice)]
        parts += [_fence(check.code).replace("\n", "python\n", 1)] * bool(check.code)
    if check.tested or check.measures or check.tables:
        parts += ["#### How it was tested, and the numbers", plain(check.tested)]
    notes = ((plain(measure_text(one)), f" ({plain(one.note)})" if one.note else "") for one in check.measures)
    parts.append("\n".join(f"- {words}{note}" for words, note in notes))
    parts += [part for table in check.tables for part in _table(table)]
    if check.references:
        parts.append("More in " + ", ".join(f"source {k}" for k in sorted(numbers[t] for t in check.references)) + ".")
    return parts


def _table(table: CheckTable) -> list[str]:
    texts = [bool(table.rows) and isinstance(table.rows[0][j], str) for j in range(len(table.columns))]
    rows = [[plain(cell(value)) for value in row] for row in table.rows]
    return [f"**{plain(table.caption)}**", _grid([plain(head) for head in table.columns], rows, texts)]
