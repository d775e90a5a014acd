"""Several models side by side: coefficients, variances and fit statistics in one table, for paper and screen."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

from melogit.report.text import printable


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: a label and, for each model, an estimate and what stands below it.

    Attributes
    ----------
    label : str
    cells : tuple of str
        Empty for a heading, and where a model does not have the term.
    below : tuple of str
        Standard errors or intervals; empty where there is no second line.
    level : bool
        The line belongs to the heading above it.
    """

    label: str
    cells: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    level: bool = False


@dataclass(frozen=True, slots=True)
class ModelTable:
    """Models in columns. ``print`` it, let a notebook show it, or write it with ``to_...``.

    Attributes
    ----------
    title : str
    models : tuple of str
        Heads of the columns.
    responses : tuple of str
        Second head.
    panels : tuple of (str, tuple of Line)
        Fixed effects, variances, fit statistics: each with a title, which may be empty.
    notes : tuple of str
    """

    title: str
    models: tuple[str, ...]
    responses: tuple[str, ...]
    panels: tuple[tuple[str, tuple[Line, ...]], ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()

    # ------------------------------------------------------------------------------------------------- formats

    def to_text(self) -> str:
        """Plain text, columns aligned."""
        rows = list(_grid(self))
        widths = [max(len(row[k]) for row in rows) for k in range(len(self.models) + 1)]
        widths = [widths[0], *[max(10, width) for width in widths[1:]]]
        total = sum(widths) + 3 * len(self.models)
        lines = [self.title, "=" * total] if self.title else ["=" * total]

        def laid(row: tuple[str, ...]) -> str:
            cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            return "   ".join([f"{row[0]:<{widths[0]}}", *cells]).rstrip()

        lines += [laid(row) for row in rows[:2]]
        for title, panel in self.panels:
            lines.append("-" * total)
            lines += [title] if title else []
            lines += [laid(row) for line in panel for row in _rows(line, len(self.models))]
        return "\n".join(printable(line) for line in [*lines, "=" * total, *self.notes])

    def to_markdown(self) -> str:
        """A Markdown pipe table."""

        def cell(text: str) -> str:
            safe = text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
            spaces = len(safe) - len(safe.lstrip(" "))
            return "&nbsp;" * spaces + safe.lstrip(" ").replace("<", "&lt;")

        def laid(row: Sequence[str]) -> str:
            return "| " + " | ".join(row) + " |"

        heads = [
            f"{cell(model)}<br/>{cell(response)}" for model, response in zip(self.models, self.responses, strict=True)
        ]
        lines = [laid(["", *heads]), laid([":--", *["--:"] * len(self.models)])]
        for title, panel in self.panels:
            lines += [laid([f"**{cell(title)}**", *[""] * len(self.models)])] if title else []
            for line in panel:
                cells = line.cells or ("",) * len(self.models)
                below = line.below or ("",) * len(self.models)
                joined = [cell(a) + (f"<br/>{cell(b)}" if b else "") for a, b in zip(cells, below, strict=True)]
                label = cell(("    " if line.level else "") + line.label)
                lines.append(laid([label, *joined]))
        notes = [f"*{cell(note)}*" for note in self.notes]
        head = [f"**{cell(self.title)}**", ""] if self.title else []
        return "\n".join([*head, *lines, "", "  \n".join(notes)])

    def to_html(self) -> str:
        """A self-contained HTML table that takes the colours of the page around it."""
        span = len(self.models) + 1
        parts = ['<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">']
        parts += [f'<caption style="text-align:left;font-weight:600">{escape(self.title)}</caption>'] * bool(self.title)
        rule = "border-top:2px solid"
        heads = "".join(
            f'<th scope="col" style="{_RIGHT};{rule}">{escape(m)}<br/>'
            f'<span style="font-weight:400">{escape(r)}</span></th>'
            for m, r in zip(self.models, self.responses, strict=True)
        )
        parts.append(f'<thead><tr><td style="{rule}"></td>{heads}</tr></thead>')
        for title, panel in self.panels:
            parts.append('<tbody style="border-top:1px solid">')
            if title:
                parts.append(f'<tr><th scope="rowgroup" colspan="{span}" style="{_LEFT}">{escape(title)}</th></tr>')
            parts += [_html_row(line, len(self.models)) for line in panel]
            parts.append("</tbody>")
        notes = "<br/>".join(escape(note) for note in self.notes)
        parts.append(f'<tfoot><tr><td colspan="{span}" style="{_LEFT};{rule}">{notes}</td></tr></tfoot></table>')
        return "\n".join(parts)

    def to_latex(self) -> str:
        r"""A LaTeX ``tabular`` with booktabs rules, in a ``table``."""
        columns = len(self.models)
        lines = [r"\begin{table}", r"\centering"]
        lines += [rf"\caption{{{_tex(self.title)}}}"] * bool(self.title)
        lines += [rf"\begin{{tabular}}{{l{'r' * columns}}}", r"\toprule"]
        lines += [" & ".join(["", *(_tex(text) for text in heads)]) + r" \\" for heads in (self.models, self.responses)]
        for title, panel in self.panels:
            lines.append(r"\midrule")
            lines += [rf"\multicolumn{{{columns + 1}}}{{l}}{{\textit{{{_tex(title)}}}}} \\"] * bool(title)
            for line in panel:
                for label, *cells in _rows(line, columns):
                    text = (r"\quad " if line.level and label else "") + _tex(label.strip())
                    lines.append(" & ".join([text, *map(_tex, cells)]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        notes = r" \\ ".join(_tex(note) for note in self.notes)
        lines += [rf"\par\smallskip\footnotesize \parbox{{\linewidth}}{{{notes}}}"] * bool(notes)
        return "\n".join([*lines, r"\end{table}"])

    def to_docx(self) -> bytes:
        """The bytes of a Word document with the table: ``open("table.docx", "wb").write(table.to_docx())``."""
        body = [_word_paragraph(self.title, bold=True)] if self.title else []
        body += [_word_table(self), *(_word_paragraph(note, small=True) for note in self.notes)]
        return _word_file("".join(body))


_RIGHT, _LEFT = "text-align:right;padding:.1em .8em", "text-align:left;padding:.1em .8em"


def _grid(table: ModelTable):
    """Every row of the table as texts."""
    yield ("", *table.models)
    yield ("", *table.responses)
    for _, panel in table.panels:
        for line in panel:
            yield from _rows(line, len(table.models))


def _rows(line: Line, columns: int):
    """The one or two rows of a line."""
    yield (("    " if line.level else "") + line.label, *(line.cells or ("",) * columns))
    if any(line.below):
        yield ("", *line.below)


def _html_row(line: Line, columns: int) -> str:
    cells = line.cells or ("",) * columns
    below = line.below or ("",) * columns
    indent = ";padding-left:2em" if line.level else ""
    data = "".join(
        f'<td style="{_RIGHT}">{escape(a)}{"<br/>" + escape(b) if b else ""}</td>'
        for a, b in zip(cells, below, strict=True)
    )
    label = f'<th scope="row" style="{_LEFT};font-weight:400;vertical-align:top{indent}">{escape(line.label)}</th>'
    return f"<tr>{label}{data}</tr>"


def _tex(text: str) -> str:
    r"""Escape for LaTeX.

    Examples
    --------
    >>> print(_tex("a_b & 5%"))
    a\_b \& 5\%
    """
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    }  # fmt: skip
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


# --------------------------------------------------------------------------------------------------------- Word

_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def _word_paragraph(text: str, *, bold: bool = False, small: bool = False, right: bool = False, more: str = "") -> str:
    style = ("<w:b/>" if bold else "") + ('<w:sz w:val="18"/>' if small else "")
    pieces = [piece for piece in (text, more) if piece]
    inside = "<w:br/>".join(f'<w:t xml:space="preserve">{escape(piece)}</w:t>' for piece in pieces)
    align = '<w:jc w:val="right"/>' if right else ""
    return (
        f'<w:p><w:pPr><w:spacing w:before="0" w:after="20"/>{align}</w:pPr>'
        f"<w:r><w:rPr>{style}</w:rPr>{inside}</w:r></w:p>"
    )


def _word_row(cells: Sequence[str], *, rule: str = "") -> str:
    border = f'<w:tcBorders><w:top w:val="single" w:sz="{rule}" w:color="auto"/></w:tcBorders>' if rule else ""
    inside = "".join(f"<w:tc><w:tcPr>{border}</w:tcPr>{cell}</w:tc>" for cell in cells)
    return f"<w:tr>{inside}</w:tr>"


def _word_table(table: ModelTable) -> str:
    columns = len(table.models)
    heads = [
        _word_paragraph(m, bold=True, right=True, more=r)
        for m, r in zip(table.models, table.responses, strict=True)
    ]  # fmt: skip
    rows = [_word_row([_word_paragraph(""), *heads], rule="12")]
    for title, panel in table.panels:
        rule = "6"
        if title:
            rows.append(_word_row([_word_paragraph(title, bold=True), *[_word_paragraph("")] * columns], rule=rule))
            rule = ""
        for line in panel:
            cells = line.cells or ("",) * columns
            below = line.below or ("",) * columns
            label = _word_paragraph(("    " if line.level else "") + line.label)
            data = [_word_paragraph(a, right=True, more=b) for a, b in zip(cells, below, strict=True)]
            rows.append(_word_row([label, *data], rule=rule))
            rule = ""
    rows.append(_word_row([_word_paragraph("")] * (columns + 1), rule="12"))
    grid = "<w:tblGrid>" + "<w:gridCol/>" * (columns + 1) + "</w:tblGrid>"
    return f'<w:tbl><w:tblPr><w:tblW w:w="5000" w:type="pct"/></w:tblPr>{grid}{"".join(rows)}</w:tbl>'


def _word_file(body: str) -> bytes:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    files = {
        "[Content_Types].xml": (
            f'{head}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>'
        ),
        "_rels/.rels": (
            f'{head}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="rId1" Type="{relation}" Target="word/document.xml"/></Relationships>'
        ),
        "word/document.xml": f"{head}<w:document {_W}><w:body>{body}<w:sectPr/></w:body></w:document>",
    }
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return buffer.getvalue()
