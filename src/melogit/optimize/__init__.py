"""Objective -> maximum. Knows no statistics."""

from melogit.optimize.newton import Ending, Iterate, Maximum, maximise

__all__ = ["Ending", "Iterate", "Maximum", "maximise"]
