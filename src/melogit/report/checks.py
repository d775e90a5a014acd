"""What a check of the model's assumptions says: a verdict, numbers, tables, pictures and plain words.

The checks are worked out in ``melogit.diagnostics``; these classes hold their answers as plain values, so that the
page, the text and the pictures can be made without a fit, a design or a table of data.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from melogit.report.summary import Summary


class Verdict(enum.Enum):
    """How a check came out.

    ``FINE``: nothing in the data speaks against the assumption. ``LOOK``: something deserves a look before the
    results are used. ``PROBLEM``: the assumption is broken, or a result rests on it badly. ``SKIPPED``: the check
    could not be made; its ``meaning`` says why.
    """

    FINE = "fine"
    LOOK = "look"
    PROBLEM = "problem"
    SKIPPED = "not checked"

    @property
    def rank(self) -> int:
        """0 for fine, 1 for not checked, 2 for look, 3 for problem: for the worst of several."""
        return {Verdict.FINE: 0, Verdict.SKIPPED: 1, Verdict.LOOK: 2, Verdict.PROBLEM: 3}[self]


@dataclass(frozen=True, slots=True)
class CheckTable:
    """A table of a check: a caption, column names, and rows of text and numbers (formatted where they are shown)."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture shows, before it is drawn.

    ``kind`` names the drawing function of ``melogit.plots.checks``; ``data`` holds its plain arrays and texts;
    ``alt`` says in words what the picture shows, for readers who cannot see it.
    """

    kind: str
    title: str
    alt: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a check: a statistic with its degrees of freedom and p-value, or a measure without them."""

    name: str
    value: float
    df: float | None = None
    p: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """The answer of one check.

    Attributes
    ----------
    key
        Short name for ``checks["linearity"]``.
    title
        Heading.
    verdict
        How it came out.
    tested
        What was tested, in one or two sentences.
    measures
        Statistics, p-values and measures, most important first.
    tables
        Tables, most important first.
    meaning
        What it means for this model, in plain words with the names of the user's variables.
    advice
        What to do, one sentence each.
    code
        Python code that does it, to be pasted; empty when there is nothing to do.
    pictures
        What to draw.
    references
        The sources of the method.
    seconds
        Time the check took.
    """

    key: str
    title: str
    verdict: Verdict
    tested: str
    measures: tuple[Measure, ...]
    tables: tuple[CheckTable, ...]
    meaning: str
    advice: tuple[str, ...]
    code: str = ""
    pictures: tuple[Picture, ...] = ()
    references: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        """The whole check as text."""
        from melogit.report.checks_text import check_text  # which reads these classes

        return check_text(self)


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page about a fit's checks is made from.

    Attributes
    ----------
    title
        Heading of the page.
    formula
        The model as written.
    model
        The table of results, with odds ratios.
    full
        The same with coefficients and variances.
    checks
        In their order.
    verdict
        About ten lines, whole sentences: the outcome for readers in a hurry. A line about one check begins with its
        title and a colon.
    facts
        Versions, seed, date, time taken: name and value.
    """

    title: str
    formula: str
    model: Summary
    full: Summary
    checks: tuple[Check, ...]
    verdict: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
