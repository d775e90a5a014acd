"""Checks as plain text: the verdict in about ten lines, one line per check, and a check in full."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence

from melogit.report.checks import Check, CheckTable, Measure, Verdict
from melogit.report.numbers import count
from melogit.report.text import printable

WIDTH = 100
MOST_LETTERS = 160  # of a check's one line
MOST_FINDINGS = 7  # in the verdict; the others are named in one line
TABLE_ROWS = 30
WORDS = {Verdict.FINE: "fine", Verdict.LOOK: "LOOK", Verdict.PROBLEM: "PROBLEM", Verdict.SKIPPED: "not checked"}


def cell(value: object) -> str:
    """Write a cell of a check's table, or the value of a measure: four significant digits.

    Examples
    --------
    >>> cell(8525), cell(0.0012345), cell(12.3456), cell(float("nan")), cell("IL6"), cell(1.5e-9)
    ('8,525', '0.001234', '12.35', '.', 'IL6', '1.5e-09')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return count(value)
    if math.isnan(value):
        return "."
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def p_text(p: float) -> str:
    """Write a p-value for a sentence.

    Examples
    --------
    >>> p_text(0.0342), p_text(1e-9)
    ('p = 0.034', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def measure_text(measure: Measure) -> str:
    """Write a measure: ``chi2(2) = 5.1, p = 0.078``.

    Examples
    --------
    >>> measure_text(Measure("LR chi2", 5.1234, 2, 0.0772))
    'LR chi2(2) = 5.123, p = 0.077'
    """
    df = "" if measure.df is None else f"({measure.df:g})"
    p = "" if measure.p is None or math.isnan(measure.p) else f", {p_text(measure.p)}"
    return f"{measure.name}{df} = {cell(measure.value)}{p}"


def first_sentence(text: str) -> str:
    """The text up to its first full stop that ends a sentence.

    Examples
    --------
    >>> first_sentence("The odds of 2.5 days are high. Look at them.")
    'The odds of 2.5 days are high.'
    """
    return re.split(r"(?<=[.!?])\s+(?=[A-Z'\"(])", text.strip(), maxsplit=1)[0]


def verdict_lines(checks: Sequence[Check]) -> tuple[str, ...]:
    """Say in about ten lines what the checks found, worst first.

    Examples
    --------
    >>> fine = Check("a", "Collinearity", Verdict.FINE, "", (), (), "No predictor repeats the others.", ())
    >>> verdict_lines([fine])
    ('1 check was made: nothing speaks against this model.', 'Fine: Collinearity.')
    """
    by = {verdict: [c for c in checks if c.verdict is verdict] for verdict in Verdict}
    problems, looks, skipped = by[Verdict.PROBLEM], by[Verdict.LOOK], by[Verdict.SKIPPED]
    made = len(checks) - len(skipped)
    head = f"{made} check{'s were' if made != 1 else ' was'} made: "
    parts = [_counted(len(problems), "problem"), _counted(len(looks), "thing to look at", "things to look at")]
    found = " and ".join(part for part in parts if part)
    lines = [head + (f"{found}." if found else "nothing speaks against this model.")]
    findings = [*problems, *looks]
    for check in findings[:MOST_FINDINGS]:
        lines.append(f"{check.title}: {first_sentence(check.meaning)}")
    if len(findings) > MOST_FINDINGS:
        lines.append("Also: " + "; ".join(check.title for check in findings[MOST_FINDINGS:]) + ".")
    if by[Verdict.FINE]:
        lines.append("Fine: " + "; ".join(check.title for check in by[Verdict.FINE]) + ".")
    if skipped:
        lines.append("Not checked: " + "; ".join(check.title for check in skipped) + ".")
    return tuple(lines)


def _counted(number: int, one: str, many: str = "") -> str:
    return "" if not number else f"{number} {one if number == 1 else many or one + 's'}"


def summary_text(formula: str, checks: Sequence[Check], verdict: Sequence[str]) -> str:
    """Write the verdict, then one line per check."""
    lines = [f"Checks of {formula}", ""]
    marks = {check.title: f"{WORDS[check.verdict]}  " for check in checks}
    for line in verdict:
        text = marks.get(line.partition(": ")[0], "") + line
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False)
    titles = max((len(check.title) for check in checks), default=0)
    keys = max((len(check.key) for check in checks), default=0)
    lines += ["", f"{'verdict':<11}  {'check':<{titles}}  {'key':<{keys}}  main result"]
    lines.append("-" * (len(lines[-1]) + 12))
    for check in checks:
        result = measure_text(check.measures[0]) if check.measures else first_sentence(check.meaning)
        line = f"{WORDS[check.verdict]:<11}  {check.title:<{titles}}  {check.key:<{keys}}  {result}"
        lines.append(line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 4].rstrip()} ...")
    return "\n".join(printable(line.rstrip()) for line in lines)


def check_text(check: Check) -> str:
    """Write a check in full."""
    lines = [f"{check.title}: {WORDS[check.verdict]}", "=" * (len(check.title) + 2 + len(WORDS[check.verdict]))]
    lines += _paragraph(check.tested)
    lines += _paragraph(check.meaning)
    for sentence in check.advice:
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ")
    if check.code:
        lines += ["", *(f"    {line}" for line in check.code.splitlines())]
    if check.measures:
        lines.append("")
    for measure in check.measures:
        note = f"  ({measure.note})" if measure.note else ""
        lines.append(f"{measure_text(measure)}{note}")
    for table in check.tables:
        lines += ["", *table_lines(table)]
    if check.references:
        lines += ["", *check.references]
    return "\n".join(printable(line.rstrip()) for line in lines)


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(text, WIDTH, break_long_words=False), ""] if text else []


def table_lines(table: CheckTable) -> list[str]:
    """Lay a table out: text to the left, numbers to the right."""
    shown = [[cell(value) for value in row] for row in table.rows[:TABLE_ROWS]]
    widths = [
        max(len(head), *(len(row[j]) for row in shown)) if shown else len(head) for j, head in enumerate(table.columns)
    ]
    left = [bool(table.rows) and isinstance(table.rows[0][j], str) for j in range(len(table.columns))]

    def line(cells: Sequence[str]) -> str:
        parts = zip(cells, widths, left, strict=True)
        return "  ".join(f"{text:<{w}}" if is_text else f"{text:>{w}}" for text, w, is_text in parts)

    lines = [table.caption, line(table.columns), "-" * (sum(widths) + 2 * (len(widths) - 1))]
    lines += [line(row) for row in shown]
    if len(table.rows) > TABLE_ROWS:
        lines.append(f"... {count(len(table.rows) - TABLE_ROWS)} more rows")
    return lines
