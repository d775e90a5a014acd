"""Median and interval odds ratios, explained variance and its change between models, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.formula.tokens import nearest
from melogit.inference import critical_value
from melogit.inference.measures import (
    CONSTANT,
    explained_shares,
    explained_variance,
    interval_odds_ratio,
    median_odds_ratio,
)
from melogit.inference.sandwich import shared_covariance
from melogit.inference.wald import logit_interval

FloatArray = NDArray[np.float64]


def intercept_variances(fit: Fit) -> dict[str, int]:
    """Position of each grouping factor's intercept variance among the parameters."""
    found = {}
    for term in fit.terms:
        for name in term.parameters:
            label = name.removeprefix(f"{term.name}:")
            inside = label.removeprefix("var(").removesuffix(")").split(",") if label.startswith("var(") else []
            if CONSTANT in inside:
                found[term.name] = fit.names.index(name, fit.n_fixed)
    if not found:
        raise ModelError(
            "This needs a random intercept, and the model has random slopes only. Add one, as in (1 | group)."
        )
    return found


def median_odds_ratios(fit: Fit, level: float) -> pd.DataFrame:
    """Median odds ratio of each grouping factor."""
    critical_value(level)
    at = intercept_variances(fit)
    positions = list(at.values())
    values = median_odds_ratio(fit.params[positions], np.sqrt(np.diag(fit.cov)[positions]), level)
    return pd.DataFrame(
        values, index=pd.Index(list(at), name="group"), columns=["median_odds_ratio", "std_err", "ci_low", "ci_high"]
    )


def interval_odds_ratios(fit: Fit, term: str, group: str | None, by: float, coverage: float) -> pd.DataFrame:
    """Interval odds ratio of one coefficient, for one grouping factor or each."""
    fixed = list(fit.names[: fit.n_fixed])
    if term not in fixed:
        raise ModelError(f"There is no coefficient '{term}' in this model.{nearest(str(term), fixed)}")
    column = fixed.index(term)
    effect = by * fit.params[column]
    if not np.isfinite(effect):
        raise ModelError(f"The coefficient of '{term}' is infinite (separation); it has no interval odds ratio.")
    at = intercept_variances(fit)
    if group is not None and group not in at:
        raise ModelError(f"There is no random intercept by '{group}'; the model has {', '.join(at)}.")
    chosen = [group] if group is not None else list(at)
    rows = []
    for name in chosen:
        found = interval_odds_ratio(float(effect), float(fit.params[at[name]]), coverage)
        gradient = np.zeros((4, len(fit.params)))
        gradient[:, [column, at[name]]] = found.gradients * [by, 1.0]
        values = (found.odds_ratio, found.low, found.high, found.opposed)
        rows.append(np.column_stack([values, delta_errors(gradient, fit.cov)]).ravel())
    names = ["odds_ratio", "ior_low", "ior_high", "opposed_share"]
    columns = [label for name in names for label in (name, f"{name}_se")]
    return pd.DataFrame(rows, index=pd.Index(chosen, name="group"), columns=columns)


def delta_errors(gradient: FloatArray, cov: FloatArray) -> FloatArray:
    """Delta method: standard errors (k,) of quantities with these gradients (k, n).

    Parameters at a boundary, which have no variance, count as known; NaN for what depends on nothing else.
    """
    free = np.isfinite(np.diag(cov))
    used = np.any(gradient[:, free] != 0, axis=1)
    inner = gradient[:, free]
    with np.errstate(invalid="ignore"):
        variance = np.einsum("ki,ij,kj->k", inner, cov[np.ix_(free, free)], inner)
    return np.where(used, np.sqrt(np.maximum(variance, 0.0)), np.nan)


def r_squared(design: Design, fit: Fit) -> pd.Series:
    """Marginal and conditional R2 on the latent and the observation scale, and McKelvey and Zavoina's."""
    names, values, _ = explained_shares(explained_variance(design, fit))
    return pd.Series(values, index=list(names), name="r2")


def r_squared_table(design: Design, fit: Fit, level: float) -> pd.DataFrame:
    """R2 with delta-method standard errors, and intervals on the logit scale."""
    critical_value(level)
    names, values, gradient = explained_shares(explained_variance(design, fit))
    std_err = delta_errors(gradient, fit.cov)
    low, high = logit_interval(values, std_err, level)
    table = {"r2": values, "std_err": std_err, "ci_low": low, "ci_high": high}
    return pd.DataFrame(table, index=pd.Index(names, name="definition"))


def variance_partition(design: Design, fit: Fit) -> pd.DataFrame:
    """Latent variance by source and its share of the total."""
    parts = explained_variance(design, fit)
    sources = ["fixed effects", *(term.name for term in fit.terms), "residual"]
    values = np.array([parts.fixed, *parts.random, parts.residual])
    return pd.DataFrame({"variance": values, "share": values / parts.total}, index=pd.Index(sources, name="source"))


def variance_change(before: Fit, after: Fit, designs: tuple[Design | None, Design | None]) -> pd.DataFrame:
    """Proportional change of each intercept variance from one model to the other."""
    first, second = intercept_variances(before), intercept_variances(after)
    shared = [name for name in first if name in second]
    if not shared:
        raise ModelError(
            f"The models have no random intercept by the same groups: {', '.join(first)} and {', '.join(second)}."
        )
    at = [first[name] for name in shared], [second[name] for name in shared]
    old, new = before.params[at[0]], after.params[at[1]]
    joint = shared_covariance(before, after, *designs)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(old > 0, (old - new) / old, np.nan)
        std_err = np.full(len(shared), np.nan)
        if joint is not None:
            places = np.column_stack([at[0], len(before.params) + np.array(at[1])])
            for k, place in enumerate(places):
                slope = np.array([new[k] / old[k] ** 2, -1 / old[k]])
                std_err[k] = np.sqrt(slope @ joint[np.ix_(place, place)] @ slope)
    table = {"before": old, "after": new, "proportional_change": change, "std_err": std_err}
    return pd.DataFrame(table, index=pd.Index(shared, name="group"))
