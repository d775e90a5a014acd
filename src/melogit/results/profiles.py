"""Profile-likelihood curves and intervals as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.formula.tokens import nearest
from melogit.inference import critical_value
from melogit.inference.ground import peak_of
from melogit.inference.limit import finite_part, infinite_names
from melogit.inference.profile import profile_curve, profile_interval
from melogit.results import tables


@dataclass(frozen=True, slots=True)
class ProfileCurve:
    """The profile likelihood of one parameter.

    Attributes
    ----------
    name : str
    estimate, ci_low, ci_high : float
        The limits are where the log-likelihood has fallen by half a chi-squared quantile; 0 for a variance and
        infinity elsewhere mean that it does not fall that far.
    level : float
    table : DataFrame
        ``value``, ``zeta`` (signed root of twice the fall of the log-likelihood: a straight line where the Wald
        interval is right) and ``loglik``.
    """

    name: str
    estimate: float
    ci_low: float
    ci_high: float
    level: float
    table: pd.DataFrame

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the log-likelihood over the parameter, with the interval; returns the matplotlib Axes."""
        from melogit.plots.estimates import profile_plot

        return profile_plot(
            self.table["value"].to_numpy(),
            self.table["loglik"].to_numpy(),
            name=self.name,
            interval=(self.ci_low, self.ci_high),
            level=self.level,
            ax=ax,
            **options,
        )


def _index(fit: Fit, name: str) -> int:
    if name not in fit.names:
        raise ModelError(f"There is no parameter '{name}' in this model.{nearest(str(name), list(fit.names))}")
    return fit.names.index(name)


def _check_estimated(fit: Fit, index: int) -> None:
    if ":cov(" in fit.names[index] and not np.isfinite(fit.cov[index, index]):
        raise ModelError(
            f"'{fit.names[index]}' belongs to a variance at 0 or a correlation of +-1 and has no profile of its own. "
            "Profile the variance instead."
        )


def curve(design: Design, fit: Fit, name: str, level: float, points: int) -> ProfileCurve:
    """Profile one parameter."""
    critical_value(level)
    design, fit = _finite(design, fit, [fit.names[_index(fit, name)]])
    index = _index(fit, name)
    _check_estimated(fit, index)
    if isinstance(points, bool) or int(points) != points or points < 2:
        raise ModelError(f"points={points!r} must be a whole number, 2 or more: points on each side.")
    found = profile_curve(peak_of(design, fit), fit, index, level, int(points))
    table = pd.DataFrame({"value": found.values, "zeta": found.zeta, "loglik": found.loglik})
    return ProfileCurve(name, found.estimate, found.low, found.high, level, table)


def profile_intervals(design: Design, fit: Fit, names: str | Sequence[str] | None, level: float) -> pd.DataFrame:
    """Profile-likelihood intervals of the parameters named, or of all; missing where there is no profile."""
    critical_value(level)
    chosen = list(fit.names) if names is None else [names] if isinstance(names, str) else list(names)
    for name in chosen:
        _index(fit, name)
    design, fit = _finite(design, fit, [] if names is None else chosen)
    at = [fit.names.index(name) for name in chosen if name in fit.names]
    if names is not None:
        for index in at:
            _check_estimated(fit, index)
    peak = peak_of(design, fit)
    limits = []
    for index in at:
        boundary = ":cov(" in fit.names[index] and not np.isfinite(fit.cov[index, index])
        limits.append((np.nan, np.nan) if boundary else profile_interval(peak, fit, index, level))
    table = pd.DataFrame(limits, index=[fit.names[index] for index in at], columns=["ci_low", "ci_high"])
    return table.reindex(chosen)  # infinite coefficients have no interval


def _finite(design: Design, fit: Fit, wanted: Sequence[str]) -> tuple[Design, Fit]:
    """The model without infinite coefficients, which has the same profiles of all others."""
    endless = infinite_names(fit)
    if not endless:
        return design, fit
    for name in wanted:
        if name in endless:
            raise ModelError(
                f"The coefficient of '{name}' is infinite (separation): its likelihood rises for ever and has no peak "
                "to profile. The other parameters have profiles."
            )
    limit = finite_part(design, fit, "The profile likelihood")
    return limit.design, limit.fit


def wald_intervals(fit: Fit, names: str | Sequence[str] | None, level: float) -> pd.DataFrame:
    """Wald intervals of the parameters named, or of all."""
    table = tables.intervals(fit, level)
    if names is None:
        return table
    chosen = [names] if isinstance(names, str) else list(names)
    return table.iloc[[_index(fit, name) for name in chosen]]
