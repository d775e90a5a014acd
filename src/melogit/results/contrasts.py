"""Comparisons of a factor's levels, on the log-odds scale: tables of contrasts and of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.effects.cells import Cells, interacting, level_cells
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.formula.recipe import Recipe, factor_levels
from melogit.inference import critical_value
from melogit.inference.contrasts import factor_levels as coefficients_of
from melogit.inference.contrasts import pairs_of, rows_of
from melogit.inference.limit import estimable
from melogit.inference.multiple import adjusted_p, check_adjustment, critical_z
from melogit.results.inferences import estimate_table, exponentiated

FloatArray = NDArray[np.float64]
Weigh = Callable[[Sequence[str]], tuple[list[str], FloatArray]]


@dataclass(frozen=True, slots=True)
class Compared:
    """A call of contrast or pwcompare, as it was made."""

    term: str
    at: Mapping[str, Any] | None
    by: str | Sequence[str] | None
    level: float
    adjust: str
    odds_ratios: bool


def contrast_table(fit: Fit, recipe: Recipe | None, kind: str, asked: Compared) -> pd.DataFrame:
    """Contrasts of a factor's levels, with adjusted p-values and intervals."""
    return _table(fit, recipe, asked, lambda levels: rows_of(kind, levels))


def pairwise_table(fit: Fit, recipe: Recipe | None, asked: Compared) -> pd.DataFrame:
    """All differences between two levels of a factor."""
    return _table(fit, recipe, asked, pairs_of)


def _table(fit: Fit, recipe: Recipe | None, asked: Compared, weigh: Weigh) -> pd.DataFrame:
    check_adjustment(asked.adjust)
    critical_value(asked.level)
    cells = _cells(fit, recipe, asked)
    labels, weights = weigh(cells.levels)
    parts = []
    for k, group in enumerate(cells.groups):
        _check_estimable(weights @ cells.lost[k], asked, fit)
        names = [f"{name} | {group}" if group else name for name in labels]
        parts.append(_compared(fit, weights @ cells.rows[k], names, len(cells.levels), asked))
    table = pd.concat(parts)
    return exponentiated(table) if asked.odds_ratios else table


def _cells(fit: Fit, recipe: Recipe | None, asked: Compared) -> Cells:
    """The coefficients of every level: by name where the factor stands alone, else averaged over what it meets."""
    names, bases = fit.names[: fit.n_fixed], dict(fit.wording.base_levels)
    column = None if recipe is None else _column(recipe, asked.term)
    if recipe is not None and column is not None and interacting(recipe, column):
        return level_cells(recipe, column, bases.get(asked.term), asked.at, asked.by)
    found = coefficients_of(asked.term, names, fit.wording.base_levels)
    tied = [name for name in names if ":" in name and asked.term in name.replace("[", ":").split(":")]
    if tied:
        raise ModelError(
            f"'{asked.term}' is part of an interaction ({tied[0]}), and this model, loaded from a file of an older "
            "version or put together by hand, does not hold the formula's matrices. Fit it again."
        )
    if asked.at or asked.by:
        raise ModelError(
            f"'{asked.term}' is in no interaction: differences between its levels do not depend on anything. Leave "
            "at= and by= out."
        )
    rows = np.zeros((1, len(found), len(names)))
    for k, (_, at) in enumerate(found):
        if at is not None:
            rows[0, k, at] = 1.0
    return Cells(tuple(name for name, _ in found), ("",), rows, np.zeros((1, len(found), 0)))


def _column(recipe: Recipe, term: str) -> str | None:
    """The predictor behind a factor's name: ``stage`` itself, or ``ward`` of ``C(ward)``."""
    known = [column.name for column in recipe.columns]
    name = term if term in known else None
    if name is None and recipe.fixed is not None:
        for factor, variables in recipe.fixed.factor_variables.items():
            inside = [str(v) for v in variables if str(v) in known]
            if factor.expr == term and len(inside) == 1:
                name = inside[0]
    return name if name is not None and factor_levels(recipe, name) is not None else None


def _check_estimable(lost: FloatArray, asked: Compared, fit: Fit) -> None:
    if np.abs(lost).max(initial=0.0) > 1e-12:
        gone = ", ".join(name for name, _ in fit.wording.dropped_columns)
        raise ModelError(
            f"Levels of '{asked.term}' cannot be compared over all combinations, because some do not occur in the data "
            f"(left out of the model: {gone}). Compare at values that occur, with at= or by=, or fit the model without "
            "the interaction."
        )


def _compared(fit: Fit, rows: FloatArray, labels: list[str], levels: int, asked: Compared) -> pd.DataFrame:
    values, std_err = np.array([_difference(fit, row) for row in rows]).T
    if not np.any(np.isfinite(values)):
        raise ModelError(
            "All of these comparisons are with a level of this factor whose coefficient is infinite (separation). "
            "pwcompare() shows those between the other levels, if there are several; else merge the level with another."
        )
    table = estimate_table(values, std_err, labels, asked.level)
    size = {"df": levels - 1, "groups": levels}
    half = critical_z(asked.level, asked.adjust, len(labels), **size) * std_err
    table["p"] = adjusted_p(table["z"].to_numpy(), asked.adjust, **size)
    table["ci_low"], table["ci_high"] = values - half, values + half
    return table


def _difference(fit: Fit, row: FloatArray) -> tuple[float, float]:
    """Value and standard error of a combination of fixed effects; infinite (or unknown) without an error."""
    weights = np.concatenate([row, np.zeros(len(fit.params) - len(row))])
    params, cov = estimable(fit, weights[None])
    used = np.flatnonzero(weights)
    endless = [j for j in used if not np.isfinite(params[j])]
    if endless:
        signs = {float(np.sign(weights[j] * params[j])) for j in endless}
        return (signs.pop() * np.inf if len(signs) == 1 else np.nan), np.nan
    return float(weights[used] @ params[used]), float(np.sqrt(weights[used] @ cov[np.ix_(used, used)] @ weights[used]))
