"""What the user holds after a fit."""

from melogit.results.comparisons import compare, lrtest, variance_change
from melogit.results.models import model_table
from melogit.results.results import Results
from melogit.results.simulate import simulate

__all__ = ["Results", "compare", "lrtest", "model_table", "simulate", "variance_change"]
