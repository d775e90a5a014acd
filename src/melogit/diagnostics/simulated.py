"""One set of worlds for all checks that judge by them, drawn and fitted once per diagnosis."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics import fit_statistics, group_statistics
from melogit.diagnostics.context import Context
from melogit.diagnostics.worlds import Compared, Statistic, compare


def compared(context: Context) -> Compared:
    """Statistics of the data and of the worlds, for every check.

    Raises
    ------
    NotChecked
        Worlds cannot be drawn from this model.
    """
    known = context.memory.get("worlds")
    if isinstance(known, Exception):
        raise known
    if known is None:
        try:
            known = compare(context, _statistics(context))
        except Exception as error:
            context.memory["worlds"] = error
            raise
        context.memory["worlds"] = known
    return known


def _statistics(context: Context) -> dict[str, Statistic]:
    wanted: dict[str, Statistic] = {
        "shape": group_statistics.shape_of_effects,
        "quantiles": group_statistics.quantiles_of_effects,
        "influence": group_statistics.largest_influence,
        "bins": fit_statistics.by_probability,
        "residuals": fit_statistics.residual_tests,
    }
    places = predictor_bins(context)
    if places:
        wanted["predictors"] = partial(fit_statistics.by_predictors, places=[(p, b) for _, p, b in places])
    if len(context.design.terms) > 1 and context.design.nested:
        wanted["levels"] = group_statistics.ties_between_levels
    if context.time is not None:
        order, follows = in_order(context)
        if follows.any():
            wanted["serial"] = partial(group_statistics.serial, order=order, follows=follows)
    return wanted


def predictor_bins(context: Context) -> list[tuple[str, NDArray[np.int64], int]]:
    """Name, bin of every row, and number of bins, of every predictor."""
    out = []
    for predictor in context.predictors:
        if predictor.levels:
            out.append((predictor.name, predictor.values.astype(np.int64), len(predictor.levels)))
        else:
            place = fit_statistics.bins_by(predictor.values, context.design.trials)
            out.append((predictor.name, place, fit_statistics.BINS))
    return out


def in_order(context: Context) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows by lowest group and time, and whether the next one is of the same group."""
    assert context.time is not None
    codes = context.design.terms[-1].factor.codes
    order = np.lexsort((context.time, codes))
    return order, codes[order][1:] == codes[order][:-1]
