"""A summary as HTML: one self-contained element that takes the colours of the page around it."""

from __future__ import annotations

from html import escape

from melogit.report.numbers import count, number, probability, statistic
from melogit.report.rows import Row, Section
from melogit.report.summary import Summary

N_COLUMNS = 7

# Colours come from the surrounding page (currentColor), so that light and dark themes both work.
STYLE = """\
.melogit{font:14px/1.45 system-ui,sans-serif;color:inherit;max-width:60em}
.melogit table{border-collapse:collapse;margin:.8em 0;color:inherit;font-variant-numeric:tabular-nums}
.melogit caption{text-align:left;font-weight:600;font-size:1.15em;padding-bottom:.3em;color:inherit}
.melogit th,.melogit td{padding:.12em .7em;border:0;text-align:right;font-weight:400;color:inherit}
.melogit th[scope=row],.melogit th[scope=rowgroup],.melogit th:first-child{text-align:left}
.melogit th[scope=col],.melogit th[scope=colgroup],.melogit th[scope=rowgroup]{font-weight:600}
.melogit th.level{padding-left:2em}
.melogit .estimates{border-top:2px solid;border-bottom:2px solid}
.melogit .estimates tbody{border-top:1px solid}
.melogit .alert{border-left:4px solid #c43;padding:.3em .8em;font-weight:600}
.melogit .note{margin:.15em 0}"""


def render_html(summary: Summary) -> str:
    """Write a summary as an HTML fragment; every text from the data is escaped."""
    parts = [f"<style>\n{STYLE}\n</style>", '<div class="melogit">']
    if summary.alert:
        parts.append(f'<p class="alert" role="alert">{escape(summary.alert)}</p>')
    parts += [*_facts(summary), *_groups(summary), *_estimates(summary)]
    parts += [f'<p class="note">{escape(line)}</p>' for line in (", ".join(summary.test), *summary.notes)]
    return "\n".join([*parts, "</div>"])


def _facts(summary: Summary) -> list[str]:
    facts = [
        ("Observations", count(summary.n_obs)),
        ("Log likelihood", number(summary.loglik)),
        ("Integration", f"{summary.method}, points: {summary.points}"),
    ]
    if summary.wald is not None:
        stat, df, p = summary.wald
        facts.append((f"Wald chi2({df})", f"{statistic(stat)} (p = {probability(p, 4)})"))
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in facts)
    return ["<table>", f"<caption>{escape(summary.title)}</caption>", "<tbody>", *rows, "</tbody>", "</table>"]


def _groups(summary: Summary) -> list[str]:
    heads = ("Group variable", "Groups", "Min per group", "Average", "Max")
    lines = ["<table>", "<thead>", _head_row(heads), "</thead>", "<tbody>"]
    for group in summary.groups:
        cells = (count(group.groups), count(group.min), count(group.mean, 1), count(group.max))
        lines.append(_data_row(group.name, cells))
    return [*lines, "</tbody>", "</table>"]


def _estimates(summary: Summary) -> list[str]:
    interval = f"{summary.level * 100:g}% conf. interval"
    heads = (summary.response, summary.estimate_label, "Std. err.", "z", "P>|z|")
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    lines = ['<table class="estimates">', "<thead>"]
    lines.append(f'<tr>{head}<th scope="colgroup" colspan="2">{escape(interval)}</th></tr>')
    lines.append("</thead>")
    for section in summary.sections:
        lines += ["<tbody>", *_section(section), "</tbody>"]
    return [*lines, "</table>"]


def _section(section: Section) -> list[str]:
    heading = f'<tr><th scope="rowgroup" colspan="{N_COLUMNS}">{{}}</th></tr>'
    lines = [heading.format(escape(section.title))] if section.title else []
    for row in section.rows:
        if row.values:
            level = row.level or bool(section.title)
            lines.append(_data_row(row.label, _cells(row), level))
        else:
            lines.append(heading.format(escape(row.label)))
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    if row.remark:
        return (f"{row.values[0]:g}", row.remark, "", "", "", "")
    written = (number, number, statistic, probability, number, number)
    return tuple("" if value is None else write(value) for value, write in zip(row.values, written, strict=False))


def _head_row(heads: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f'<th scope="col">{escape(text)}</th>' for text in heads) + "</tr>"


def _data_row(label: str, cells: tuple[str, ...], level: bool = False) -> str:
    mark = ' class="level"' if level else ""
    data = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row"{mark}>{escape(label)}</th>{data}</tr>'
