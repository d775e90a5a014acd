"""What the user holds after a fit."""

from melogit.results.comparisons import compare, lrtest, variance_change
from melogit.results.models import model_table
from melogit.results.planning import power
from melogit.results.power_analysis import Power
from melogit.results.results import Results
from melogit.results.simulation import simulate

__all__ = ["Power", "Results", "compare", "lrtest", "model_table", "power", "simulate", "variance_change"]
