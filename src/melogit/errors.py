"""Every exception and warning that melogit raises.

A message has three parts: the fact, with the user's own names and numbers; why it matters, where that is not
plain; and the next move.
"""

from __future__ import annotations

import sys
import warnings


class MelogitError(Exception):
    """Base of every error that melogit raises on purpose."""


class FormulaError(MelogitError, ValueError):
    """The model formula cannot be read or names something that does not exist."""


class DataError(MelogitError, ValueError):
    """The data cannot be used as asked: wrong type, impossible value, nothing left."""


class ModelError(MelogitError, ValueError):
    """The model and the data do not go together, or an option does not fit the model."""


class MelogitWarning(UserWarning):
    """Base of every warning that melogit gives."""


class ConvergenceWarning(MelogitWarning):
    """The optimiser stopped before it reached a maximum."""


class BoundaryWarning(MelogitWarning):
    """A variance is estimated as zero, or a correlation as plus or minus one."""


class SeparationWarning(MelogitWarning):
    """A predictor separates the response; its coefficient is infinite."""


class IntegrationWarning(MelogitWarning):
    """The integral over the random effects is less accurate than was asked for."""


class DataWarning(MelogitWarning):
    """The data can be used, but something in them deserves a look."""


def warn(text: str, category: type[MelogitWarning]) -> None:
    """Give a warning that points at the user's own line, however deep inside the package it arises."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "melogit":
        frame = frame.f_back
        level += 1
    warnings.warn(text, category, stacklevel=level - 1)
