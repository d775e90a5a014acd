"""Starting values, the outer loop, the boundary: a Design becomes a Fit."""

from melogit.fit.front import fit_design
from melogit.fit.settings import Settings
from melogit.fit.types import Fit, Integration, Status, TermFit, TraceRow

__all__ = ["Fit", "Integration", "Settings", "Status", "TermFit", "TraceRow", "fit_design"]
