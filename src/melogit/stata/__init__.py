"""Stata commands in, the same model objects and Stata's tables out."""

from melogit.stata.back import to_stata
from melogit.stata.fitted import StataResults
from melogit.stata.front import stata, to_formula

__all__ = ["StataResults", "stata", "to_formula", "to_stata"]
