"""The report on a model and its checks as one HTML file: no script, no network, for screen, phone and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.resources import files
from math import isfinite, log, nan

from melogit.report.checks import Check, CheckTable, Measure, Picture, Report, Verdict
from melogit.report.checks_text import cell, first_sentence, measure_text, p_text
from melogit.report.html import render_html
from melogit.report.numbers import count
from melogit.report.rows import CONSTANT, Row
from melogit.report.summary import Summary

Draw = Callable[[Picture], str]

FOLDED = 12  # tables with more rows are folded
MEANINGS = (
    (Verdict.FINE, "nothing in the data speaks against the assumption."),
    (Verdict.LOOK, "something deserves a look before the results are used."),
    (Verdict.PROBLEM, "the assumption is broken, or a result rests on it badly."),
    (Verdict.SKIPPED, "the check could not be made; the reason is given."),
)
MARKS = {Verdict.FINE: "✓", Verdict.LOOK: "!", Verdict.PROBLEM: "✕", Verdict.SKIPPED: "–"}
CLASSES = {Verdict.FINE: "fine", Verdict.LOOK: "look", Verdict.PROBLEM: "problem", Verdict.SKIPPED: "skipped"}
LISTS = ("Fine", "Not checked", "Also")  # lines of the verdict that name several checks


def build_page(report: Report, draw: Draw) -> str:
    """Write the report as one self-contained HTML page.

    Parameters
    ----------
    report : Report
    draw : callable
        Takes a ``Picture`` and returns an inline ``<svg>`` or ``<img>``; ``melogit.plots.checks.as_svg`` does.

    Returns
    -------
    str
        HTML without scripts; nothing in it is fetched from elsewhere.
    """
    numbers = {text: k for k, text in enumerate(references(report.checks), start=1)}
    body = [
        '<a class="skip" href="#main">Skip to the content</a>',
        f"<header><h1>{escape(report.title)}</h1>",
        f'<p class="formula"><code>{escape(report.formula)}</code></p></header>',
        '<main id="main" tabindex="-1">',
        *_verdict(report),
        *_model(report, draw),
        *_glance(report.checks),
        '<section id="checks"><h2>The checks, one by one</h2>',
        *(line for check in report.checks for line in _check(check, draw, numbers)),
        "</section>",
        *_methods(report, numbers),
        *_about(report),
        "</main>",
    ]
    style = files("melogit.report").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            # Whatever a name in the data may contain: nothing is run, nothing is fetched.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
            '<link rel="icon" href="data:,">',
            f"<title>{escape(report.title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>\n",
        ]
    )


def references(checks: Iterable[Check]) -> tuple[str, ...]:
    """The distinct sources of all checks, in alphabetical order."""
    return tuple(sorted({text for check in checks for text in check.references}, key=str.casefold))


# ------------------------------------------------------------------------------------------------------ verdict


def _verdict(report: Report) -> list[str]:
    head, *lines = report.verdict or ("No check was made.",)
    by_title = {check.title: check for check in report.checks}
    items = [f"<li>{_verdict_line(line, by_title)}</li>" for line in lines]
    alert = [f'<p class="alert">{escape(report.model.alert)}</p>'] if report.model.alert else []
    parts = ['<section id="verdict" class="verdict"><h2>In short</h2>', *alert, f'<p class="lead">{escape(head)}</p>']
    return [*parts, *(["<ul>", *items, "</ul>"] if items else []), "</section>"]


def _verdict_line(line: str, by_title: dict[str, Check]) -> str:
    """One line: with the badge of the check that it is about, and links to the checks that it names."""
    title, colon, rest = line.partition(": ")
    if colon and title in by_title:
        check = by_title[title]
        return f"{_badge(check.verdict)} {_link(check)}: {escape(rest)}"
    if colon and title in LISTS:
        names = rest.removesuffix(".").split("; ")
        linked = [_link(by_title[name]) if name in by_title else escape(name) for name in names]
        return f"<strong>{escape(title)}:</strong> {'; '.join(linked)}."
    return escape(line)


def _badge(verdict: Verdict) -> str:
    mark = f'<span aria-hidden="true">{MARKS[verdict]}</span>'
    return f'<span class="badge {CLASSES[verdict]}">{mark} {escape(verdict.value)}</span>'


def _link(check: Check) -> str:
    return f'<a href="#{_anchor(check)}">{escape(check.title)}</a>'


def _anchor(check: Check) -> str:
    return "check-" + "".join(letter if letter.isalnum() else "-" for letter in check.key)


# -------------------------------------------------------------------------------------------------------- model


def _model(report: Report, draw: Draw) -> list[str]:
    model = report.model
    groups = " and ".join(f"{count(group.groups)} groups of {group.name}" for group in model.groups)
    facts = f"{count(model.n_obs)} observations of {model.response} in {groups}."
    return [
        '<section id="model"><h2>The model</h2>',
        f"<p>{escape(facts)}</p>",
        '<div class="pictures">',
        *_effects(model),
        *_forest(model, draw),
        "</div>",
        *_variances(model),
        f'<p class="small">{escape(", ".join(model.test))}</p>',
        "<details><summary>Coefficients, standard errors and notes</summary>",
        f"{_scrolled('Full table of the model')}{render_html(report.full)}</div>",
        "</details></section>",
    ]


def _effects(model: Summary) -> list[str]:
    """Odds ratio, interval and p: narrow enough for a phone."""
    heads = (model.response, model.estimate_label, f"{model.level * 100:g}% interval", "p")
    lines = ['<div class="scroll" role="region" tabindex="0" aria-label="Fixed effects">', "<table>"]
    lines += [
        f"<caption>{escape(model.estimate_label)}s of {escape(model.response)}</caption>",
        _head(heads),
        "<tbody>",
    ]
    for row in model.sections[0].rows if model.sections else ():
        mark = ' class="level"' if row.level else ""
        if not row.values:
            lines.append(f'<tr><th scope="colgroup" colspan="4">{escape(row.label)}</th></tr>')
        else:
            cells = "".join(f"<td>{escape(text)}</td>" for text in _effect_cells(row))
            lines.append(f'<tr><th scope="row"{mark}>{escape(row.label)}</th>{cells}</tr>')
    return [*lines, "</tbody></table></div>"]


def _effect_cells(row: Row) -> tuple[str, str, str]:
    if row.remark:
        return three(row.values[0]), row.remark, ""
    estimate, _, _, p, low, high = row.values
    tested = "" if p is None or p != p else p_text(p).removeprefix("p ").removeprefix("= ")
    return three(estimate), _interval(low, high), tested


def _forest(model: Summary, draw: Draw) -> list[str]:
    """A picture of the odds ratios beside their table."""
    heading, rows = "", []
    for row in model.sections[0].rows if model.sections else ():
        heading = heading if row.level else row.label
        estimate, low, high = (*row.values[:1], *row.values[4:6]) if len(row.values) == 6 else (None, None, None)
        limits = [value for value in (estimate, low, high) if value is not None and isfinite(log(value or nan))]
        if row.label != CONSTANT and len(limits) == 3:
            rows.append((f"{heading}: {row.label}" if row.level else row.label, *limits))
    if not rows:
        return []
    names, estimates, lows, highs = zip(*rows, strict=True)
    words = "; ".join(f"{name} {three(one)} ({_interval(low, high)})" for name, one, low, high in rows)
    title = f"{model.estimate_label}s with {model.level * 100:g}% intervals"
    data = {"names": names, "estimate": estimates, "low": lows, "high": highs, "reference": 1.0, "log": True}
    return [_figure(Picture("forest", title, words, {**data, "xlabel": f"{model.estimate_label} (log scale)"}), draw)]


def _variances(model: Summary) -> list[str]:
    heads = ("Random effect", "Estimate", f"{model.level * 100:g}% interval")
    caption = "<caption>Variances of the random effects</caption>"
    lines = [_scrolled("Random effects"), f"<table>{caption}", _head(heads), "<tbody>"]
    for section in model.sections[1:]:
        lines.append(f'<tr><th scope="colgroup" colspan="3">{escape(section.title)}</th></tr>')
        for row in section.rows:
            estimate, low, high = row.values[0], row.values[4], row.values[5]
            first = f'<th scope="row" class="level">{escape(row.label)}</th>'
            lines.append(f"<tr>{first}<td>{three(estimate)}</td><td>{_interval(low, high)}</td></tr>")
    return [*lines, "</tbody></table></div>"]


def three(value: float | None) -> str:
    """Write three significant digits, for reading rather than for copying.

    Examples
    --------
    >>> three(0.94482), three(1.0), three(23.456), three(2_345.6), three(float("nan")), three(1.2e-7)
    ('0.945', '1.00', '23.5', '2,346', '.', '1.2e-07')
    """
    if value is None:
        return ""
    if 1e-3 <= abs(value) < 1000:
        return f"{value:#.3g}".removesuffix(".")
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else cell(float(f"{value:.2g}"))


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None or low != low or high != high:
        return ""
    return f"{three(low)} to {three(high)}"


# ------------------------------------------------------------------------------------------------------- checks


def _glance(checks: Sequence[Check]) -> list[str]:
    lines = ['<section id="glance"><h2>All checks at a glance</h2>', '<table class="glance">']
    lines += ["<caption>Every check, its verdict and its main number</caption>"]
    lines += [_head(("Check", "Verdict", "Main number"), texts=3), "<tbody>"]
    for check in checks:
        result = measure_text(check.measures[0]) if check.measures else first_sentence(check.meaning)
        lines.append(
            f'<tr><th scope="row">{_link(check)}</th><td class="text">{_badge(check.verdict)}</td>'
            f'<td class="text">{escape(result)}</td></tr>'
        )
    return [*lines, "</tbody></table></section>"]


def _check(check: Check, draw: Draw, numbers: dict[str, int]) -> list[str]:
    lines = [f'<section class="check {CLASSES[check.verdict]}" id="{_anchor(check)}">']
    lines += [f"<h3>{escape(check.title)} {_badge(check.verdict)}</h3>", *_paragraphs(check.meaning)]
    if check.pictures:
        lines += [
            '<div class="pictures">',
            *(_figure(picture, draw, picture.alt) for picture in check.pictures),
            "</div>",
        ]
    if check.advice or check.code:
        lines.append("<h4>What to do</h4>")
        lines += ["<ul>", *(f"<li>{escape(sentence)}</li>" for sentence in check.advice), "</ul>"] * bool(check.advice)
        lines += [_code(check)] * bool(check.code)
    lines += _details(check, numbers)
    return [*lines, "</section>"]


def _code(check: Check) -> str:
    label = escape(f"Code: {check.title}")
    return f'<pre tabindex="0" role="region" aria-label="{label}"><code>{escape(check.code.strip())}</code></pre>'


def _figure(picture: Picture, draw: Draw, words: str = "") -> str:
    """A picture under its title, with what it shows in words; these are the name of the picture for screen readers."""
    below = f'<p class="words" aria-hidden="true">{escape(words)}</p>' if words else ""
    return f"<figure><figcaption>{escape(picture.title)}</figcaption>{draw(picture)}{below}</figure>"


def _paragraphs(text: str, mark: str = "") -> list[str]:
    return [f"<p{mark}>{escape(part.strip())}</p>" for part in text.split("\n") if part.strip()]


def _details(check: Check, numbers: dict[str, int]) -> list[str]:
    """How it was tested, and the numbers: open where there is something to look at."""
    inside = _paragraphs(check.tested)
    inside += _measures(check.measures)
    for table in check.tables:
        inside += _table(table)
    if check.references:
        marks = sorted(numbers[text] for text in check.references)
        links = ", ".join(f'<a href="#source-{k}">source {k}</a>' for k in marks)
        inside.append(f'<p class="small">More in {links}.</p>')
    if not inside:
        return []
    opened = " open" if check.verdict in (Verdict.LOOK, Verdict.PROBLEM) else ""
    return [f"<details{opened}><summary>How it was tested, and the numbers</summary>", *inside, "</details>"]


def _measures(measures: Sequence[Measure]) -> list[str]:
    items = []
    for measure in measures:
        note = f' <span class="note">{escape(measure.note)}</span>' if measure.note else ""
        items.append(f"<li>{escape(measure_text(measure))}{note}</li>")
    return ['<ul class="measures">', *items, "</ul>"] if items else []


def _table(table: CheckTable) -> list[str]:
    """A table with its caption; long ones are folded."""
    texts = [all(isinstance(row[j], str) for row in table.rows) and bool(table.rows) for j in range(len(table.columns))]
    label = escape(table.caption)
    lines = [
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">',
        f"<table><caption>{label}</caption>",
    ]
    heads = (f'<th scope="col"{_text(texts[j])}>{escape(head)}</th>' for j, head in enumerate(table.columns))
    lines += [f"<thead><tr>{''.join(heads)}</tr></thead>", "<tbody>"]
    for row in table.rows:
        first, *others = [escape(cell(value)) for value in row]
        cells = "".join(f"<td{_text(texts[j])}>{value}</td>" for j, value in enumerate(others, start=1))
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    lines.append("</tbody></table></div>")
    if len(table.rows) <= FOLDED:
        return lines
    return [f"<details><summary>{label} ({count(len(table.rows))} rows)</summary>", *lines, "</details>"]


def _scrolled(label: str) -> str:
    """Open a box that scrolls sideways, by touch and by keyboard, where a table is wider than the screen."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'


def _text(is_text: bool) -> str:
    return ' class="text"' if is_text else ""


def _head(heads: Sequence[str], texts: int = 1) -> str:
    cells = (f'<th scope="col"{_text(j < texts)}>{escape(head)}</th>' for j, head in enumerate(heads))
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


# ------------------------------------------------------------------------------------------------------ the end


def _methods(report: Report, numbers: dict[str, int]) -> list[str]:
    model = report.full
    fitted = (
        f"The model is a mixed-effects logistic regression, fitted by maximum likelihood; the random effects are "
        f"integrated out ({model.method}, points: {model.points})."
    )
    lines = ['<section id="methods"><h2>Methods and sources</h2>', f"<p>{escape(fitted)}</p>"]
    lines += [f"<p>{escape(note)}</p>" for note in model.notes]
    lines += ["<h3>What the verdicts mean</h3>", '<ul class="verdicts">']
    lines += [f"<li>{_badge(verdict)} {escape(words)}</li>" for verdict, words in MEANINGS]
    lines.append("</ul>")
    if numbers:
        lines += ["<h3>Sources</h3>", '<ol class="sources">']
        lines += [f'<li id="source-{k}">{escape(text)}</li>' for text, k in numbers.items()]
        lines.append("</ol>")
    return [*lines, "</section>"]


def _about(report: Report) -> list[str]:
    facts = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in report.facts)
    return ['<section id="about"><h2>Versions and settings</h2>', "<dl>", *facts, "</dl></section>"]
