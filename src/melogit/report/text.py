"""A summary as plain text, 78 columns wide unless a name needs more."""

from __future__ import annotations

import re
import textwrap

from melogit.report.numbers import count, number, probability, statistic
from melogit.report.rows import Row, Section
from melogit.report.summary import GroupRow, Summary

LEFT, VALUE = 48, 10  # widths in the header: the left half, and the value at the right edge
LABEL, LABEL_MOST = 12, 30  # width of the label column: at least, at most
COLUMNS = (12, 11, 8, 7, 12, 12)  # estimate, standard error, z, p, interval
RULE = "-"


def render_text(summary: Summary) -> str:
    """Write a summary for a terminal or a log file; ends without a line feed."""
    width = _label_width(summary)
    total = width + 2 + sum(COLUMNS)
    lines = [*_header(summary), *_table(summary, width)]
    if summary.alert:
        lines += ["", *textwrap.wrap(summary.alert, total), ""]
    left, right = summary.test
    lines.append(left + right.rjust(max(len(right) + 2, total - len(left))))
    if summary.notes:
        lines.append("")
    for note in summary.notes:
        lines += _wrapped(note, total)
    return "\n".join(printable(line.rstrip()) for line in lines)


def _wrapped(note: str, width: int) -> list[str]:
    """Break a note into lines, but not within ``(1 | group)``."""
    whole = re.sub(r"\([^()|]*\|[^()]*\)", lambda bars: bars[0].replace(" ", "\xa0"), note)
    lines = textwrap.wrap(whole, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]


def _label_width(summary: Summary) -> int:
    labels = [row.label for section in summary.sections for row in section.rows]
    labels += [section.title for section in summary.sections] + [summary.response]
    return min(max(LABEL, *(len(label) for label in labels)), LABEL_MOST)


def printable(line: str) -> str:
    r"""Escape what does not print: a name in the data must not break lines or command the terminal.

    Examples
    --------
    >>> print(printable("ward\x1b[2J"))
    ward\x1b[2J
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def shorten(label: str, width: int) -> str:
    """Cut the middle out of a label that is too wide, and mark the cut with ``~``.

    Examples
    --------
    >>> shorten("a_very_long_predictor_name", 12)
    'a_very_lo~me'
    """
    return label if len(label) <= width else f"{label[: width - 3]}~{label[-2:]}"


def _pair(left: str, label: str, value: str) -> str:
    return f"{left:<{LEFT}}{label:<18}= {value:>{VALUE}}"


def _header(summary: Summary) -> list[str]:
    lines = [_pair(summary.title, "Number of obs", count(summary.n_obs))]
    if len(summary.groups) == 1:
        lines += _one_group(summary.groups[0])
    else:
        lines += ["", *_group_table(summary.groups)]
    lines += ["", _pair(f"Integration method: {summary.method}", "Integration pts.", summary.points), ""]
    loglik = f"Log likelihood = {number(summary.loglik)}"
    if summary.wald is None:
        return [*lines, loglik]
    stat, df, p = summary.wald
    lines.append(_pair("", f"Wald chi2({df})", statistic(stat)))
    lines.append(_pair(loglik, "Prob > chi2", probability(p, 4)))
    return lines


def _one_group(group: GroupRow) -> list[str]:
    return [
        _pair(f"Group variable: {group.name}", "Number of groups", count(group.groups)),
        "",
        f"{'':<{LEFT}}Obs per group:",
        _pair("", f"{'min':>17}", count(group.min)),
        _pair("", f"{'avg':>17}", count(group.mean, 1)),
        _pair("", f"{'max':>17}", count(group.max)),
    ]


def _group_table(groups: tuple[GroupRow, ...]) -> list[str]:
    width = max(14, *(len(group.name) for group in groups))
    rule = RULE * (width + 47)
    lines = [
        f"{'':>{width}} |     No. of       Observations per group",
        f"{'Group variable':>{width}} |     groups    Minimum    Average    Maximum",
        RULE * (width + 1) + "+" + RULE * 45,
    ]
    for group in groups:
        cells = (count(group.groups), count(group.min), count(group.mean, 1), count(group.max))
        lines.append(f"{group.name:>{width}} |" + "".join(f"{cell:>11}" for cell in cells))
    return [f"    {line}" for line in (rule, *lines, rule)]


def _table(summary: Summary, width: int) -> list[str]:
    rule = RULE * (width + 2 + sum(COLUMNS))
    joint = RULE * (width + 1) + "+" + RULE * sum(COLUMNS)
    interval = f"[{summary.level * 100:g}% conf. interval]"
    heads = (summary.estimate_label, "Std. err.", "z", "P>|z|")
    head = "".join(f"{text:>{size}}" for text, size in zip(heads, COLUMNS, strict=False))
    lines = [rule, f"{shorten(summary.response, width):>{width}} |{head}{interval:>{sum(COLUMNS[4:])}}"]
    for section in summary.sections:
        lines += [joint, *_section(section, width)]
    return [*lines, rule]


def _section(section: Section, width: int) -> list[str]:
    lines = [f"{shorten(section.title, width):<{width}} |"] if section.title else []
    previous: Row | None = None
    for row in section.rows:
        # An empty line around each factor, as far as it is not next to a rule or another empty line.
        if previous is not None and (not row.values or (previous.level and not row.level)):
            lines.append(f"{'':>{width}} |")
        lines.append(f"{shorten(row.label, width):>{width}} |{_cells(row)}")
        previous = row
    return lines


def _cells(row: Row) -> str:
    if row.remark:
        return f"{row.values[0]:>{COLUMNS[0]}g}  {row.remark}"
    written = (number, number, statistic, probability, number, number)
    cells = ("" if value is None else write(value) for value, write in zip(row.values, written, strict=False))
    return "".join(f"{cell:>{size}}" for cell, size in zip(cells, COLUMNS, strict=False))
