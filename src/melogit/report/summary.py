"""What a model summary says, as plain values; text and HTML are two ways of writing it."""

from __future__ import annotations

from dataclasses import dataclass

from melogit.report.rows import Section


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One grouping factor: number of groups, and observations per group."""

    name: str
    groups: int
    min: float
    mean: float
    max: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A fitted model as people read it: ``print`` it, or let a notebook show it.

    Attributes
    ----------
    title : str
    n_obs : float
    groups : tuple of GroupRow
    method, points : str
        How the random effects were integrated out.
    loglik : float
    wald : tuple of (stat, df, p) or None
        None where there is nothing but a constant.
    alert : str
        What must be read before the numbers (the fit did not converge), or nothing.
    response : str
    estimate_label : str
        ``Coefficient`` or ``Odds ratio``.
    level : float
        Confidence level of the intervals.
    sections : tuple of Section
        Fixed effects, then the variances of each grouping factor.
    test : tuple of str
        The line below the table, its left and its right half: the test against plain logistic regression.
    notes : tuple of str
        Whole sentences.
    """

    title: str
    n_obs: float
    groups: tuple[GroupRow, ...]
    method: str
    points: str
    loglik: float
    wald: tuple[float, int, float] | None
    alert: str
    response: str
    estimate_label: str
    level: float
    sections: tuple[Section, ...]
    test: tuple[str, str]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        from melogit.report.text import render_text

        return render_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from melogit.report.html import render_html

        return render_html(self)
