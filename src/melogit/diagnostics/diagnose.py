"""The list of checks, and how they are run: one that fails says so and never takes the others down."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from melogit.diagnostics import (
    between_within,
    calibration,
    collinearity,
    group_influence,
    levels,
    linearity,
    random_effects,
    residual_checks,
    right_model,
    row_influence,
    serial,
    settled,
    shape,
    sparse,
    structure,
)
from melogit.diagnostics.context import Context, NotChecked
from melogit.errors import MelogitError, MelogitWarning, ModelError
from melogit.report.checks import Check, Verdict

UNDETERMINED = (
    "The data tell too little about some parameters of this model (their covariance matrix cannot be inverted), and "
    "the check cannot be computed without it. See the checks 'design' and 'separation': there may be too few groups, "
    "or too few events, for so many parameters."
)
CheckFunction = Callable[[Context], Check]


def all_checks() -> Mapping[str, tuple[str, CheckFunction]]:
    """Every check by its key, with its title, in the order of the report."""
    return {
        "right_model": ("Is this the right model", right_model.check),
        "convergence": ("Convergence and boundary", settled.check_convergence),
        "integration": ("Accuracy of the integral", settled.check_integration),
        "separation": ("Separation and sparse data", sparse.check),
        "design": ("Design of groups and slopes", structure.check),
        "linearity": ("Linearity of the log-odds", linearity.check),
        "collinearity": ("Collinearity", collinearity.check),
        row_influence.KEY: (row_influence.TITLE, row_influence.check),
        group_influence.KEY: (group_influence.TITLE, group_influence.check),
        random_effects.KEY: (random_effects.TITLE, random_effects.check),
        shape.KEY: (shape.TITLE, shape.check),
        between_within.KEY: (between_within.TITLE, between_within.check),
        levels.KEY: (levels.TITLE, levels.check),
        serial.KEY: (serial.TITLE, serial.check),
        residual_checks.KEY: (residual_checks.TITLE, residual_checks.check),
        calibration.KEY: (calibration.TITLE, calibration.check),
    }


def chosen(only: str | Sequence[str] | None) -> list[str]:
    """Read which checks are asked for.

    Raises
    ------
    ModelError
        A name that is not that of a check, with the nearest.
    """
    known = list(all_checks())
    if only is None:
        return known
    asked = [only] if isinstance(only, str) else list(only)
    for key in asked:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ModelError(f"There is no check {key!r}.{hint} The checks are {', '.join(known)}.")
    if not asked:
        raise ModelError(f"only= names no check. The checks are {', '.join(known)}.")
    return [key for key in known if key in asked]


def run(context: Context, keys: Sequence[str]) -> list[Check]:
    """Make the checks named, in the order of the report.

    Parameters
    ----------
    context : Context
    keys : sequence of str
    """
    table = all_checks()
    done = []
    for place, key in enumerate(keys, start=1):
        title, function = table[key]
        context.tell(f"Check {place} of {len(keys)}: {title}")
        done.append(run_one(context, key, title, function))
    return done


def run_one(context: Context, key: str, title: str, function: CheckFunction) -> Check:
    """Make one check; what keeps it from being made becomes its answer."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MelogitWarning)  # of refits: the check says in its own words what they mean
        try:
            check = function(context)
        except NotChecked as why:
            check = skipped(key, title, str(why))
        except np.linalg.LinAlgError:
            check = skipped(key, title, UNDETERMINED)
        except (MelogitError, ArithmeticError, MemoryError, ValueError, IndexError) as error:
            text = str(error) or type(error).__name__
            check = skipped(key, title, f"This check could not be made: {text}")
    return replace(check, seconds=time.perf_counter() - began)


def skipped(key: str, title: str, why: str) -> Check:
    """Say that a check was not made, and why."""
    return Check(key, title, Verdict.SKIPPED, "", (), (), why, ())
