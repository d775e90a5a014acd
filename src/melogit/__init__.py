"""Mixed-effects logistic regression: maximum-likelihood answers certified to a stated accuracy.

>>> import melogit as me
>>> fit = me.melogit("remission ~ Age + CancerStage + (1 | HID/DID)", me.load_dataset("hospital"))
>>> table = fit.summary(odds_ratios=True)  # print(table), or let a notebook show it
"""

from importlib.metadata import PackageNotFoundError, version

from melogit.api import load, melogit
from melogit.components import principal_components
from melogit.datasets import load_dataset
from melogit.describe import describe
from melogit.errors import (
    BoundaryWarning,
    ConvergenceWarning,
    DataError,
    DataWarning,
    FormulaError,
    IntegrationWarning,
    MelogitError,
    MelogitWarning,
    ModelError,
    SeparationWarning,
)
from melogit.results import Power, Results, compare, lrtest, model_table, power, simulate, variance_change
from melogit.stata import StataResults, stata, to_formula, to_stata

try:
    __version__ = version("melogit")
except PackageNotFoundError:
    __version__ = "unknown (not installed, imported from its source folder)"

__all__ = [
    "BoundaryWarning",
    "ConvergenceWarning",
    "DataError",
    "DataWarning",
    "FormulaError",
    "IntegrationWarning",
    "MelogitError",
    "MelogitWarning",
    "ModelError",
    "Power",
    "Results",
    "SeparationWarning",
    "StataResults",
    "__version__",
    "compare",
    "describe",
    "load",
    "load_dataset",
    "lrtest",
    "melogit",
    "model_table",
    "power",
    "principal_components",
    "simulate",
    "stata",
    "to_formula",
    "to_stata",
    "variance_change",
]
