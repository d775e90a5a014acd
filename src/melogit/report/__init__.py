"""Plain tables and sentences to text and HTML. Knows nothing of models, fits or likelihoods."""

from melogit.report.numbers import count, number, probability
from melogit.report.rows import Row, Section, coefficient_rows
from melogit.report.summary import GroupRow, Summary

__all__ = ["GroupRow", "Row", "Section", "Summary", "coefficient_rows", "count", "number", "probability"]
