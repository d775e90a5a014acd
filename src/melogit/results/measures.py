"""Median and interval odds ratios, explained variance and its change between models, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.formula.tokens import nearest
from melogit.inference import critical_value
from melogit.inference.measures import CONSTANT, explained_variance, interval_odds_ratio, median_odds_ratio


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
    effect = by * fit.params[fixed.index(term)]
    if not np.isfinite(effect):
        raise ModelError(f"The coefficient of '{term}' is infinite (separation); it has no interval odds ratio.")
    at = intercept_variances(fit)
    if group is not None and group not in at:
        raise ModelError(f"There is no random intercept by '{group}'; the model has {', '.join(at)}.")
    chosen = [group] if group is not None else list(at)
    rows = [interval_odds_ratio(float(effect), float(fit.params[at[name]]), coverage) for name in chosen]
    return pd.DataFrame(
        [[row.odds_ratio, row.low, row.high, row.opposed] for row in rows],
        index=pd.Index(chosen, name="group"),
        columns=["odds_ratio", "ior_low", "ior_high", "opposed_share"],
    )


def r_squared(design: Design, fit: Fit) -> pd.Series:
    """Marginal and conditional R2 on the latent and the observation scale, and McKelvey and Zavoina's."""
    parts = explained_variance(design, fit)
    random = float(parts.random.sum())
    observed = parts.fixed + random + parts.observation
    return pd.Series(
        {
            "marginal": parts.fixed / parts.total,
            "conditional": (parts.fixed + random) / parts.total,
            "mckelvey_zavoina": parts.fixed / (parts.fixed + parts.residual),
            "marginal_delta": parts.fixed / observed,
            "conditional_delta": (parts.fixed + random) / observed,
        },
        name="r2",
    )


def variance_partition(design: Design, fit: Fit) -> pd.DataFrame:
    """Latent variance by source and its share of the total."""
    parts = explained_variance(design, fit)
    sources = ["fixed effects", *(term.name for term in fit.terms), "residual"]
    values = np.array([parts.fixed, *parts.random, parts.residual])
    return pd.DataFrame({"variance": values, "share": values / parts.total}, index=pd.Index(sources, name="source"))


def variance_change(before: Fit, after: Fit) -> pd.DataFrame:
    """Proportional change of each intercept variance from one model to the other."""
    first, second = intercept_variances(before), intercept_variances(after)
    shared = [name for name in first if name in second]
    if not shared:
        raise ModelError(
            f"The models have no random intercept by the same groups: {', '.join(first)} and {', '.join(second)}."
        )
    old = before.params[[first[name] for name in shared]]
    new = after.params[[second[name] for name in shared]]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(old > 0, (old - new) / old, np.nan)
    return pd.DataFrame(
        {"before": old, "after": new, "proportional_change": change}, index=pd.Index(shared, name="group")
    )
