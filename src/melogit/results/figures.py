"""From a fit to the numbers of a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melogit.fit.types import Fit
from melogit.report import coefficient_rows
from melogit.results import tables


def odds_ratios(fit: Fit, level: float, ax: Any, intercept: bool) -> Any:
    """Forest plot of the fixed effects, factors under their name with their base level."""
    from melogit.plots.estimates import odds_ratio_forest

    table = tables.odds_ratios(fit, level)
    if not intercept:
        table = table.drop(index="Intercept", errors="ignore")
    columns = table[["odds_ratio", "ci_low", "ci_high"]].to_numpy(dtype=float).tolist()
    cells = {str(name): row for name, row in zip(table.index, columns, strict=True)}
    rows = coefficient_rows(cells, fit.wording.base_levels, (), 1.0)
    values = np.array([[*row.values, np.nan, np.nan, np.nan][:3] for row in rows], dtype=float)
    values[np.isinf(values).any(axis=1) | (values == 0).any(axis=1)] = np.nan  # infinite coefficients have no mark
    return odds_ratio_forest(
        [row.label for row in rows],
        *values.T,
        headings=[not row.values for row in rows],
        indented=[row.level for row in rows],
        level=level,
        ax=ax,
    )


def partition(table: pd.DataFrame, ax: Any) -> Any:
    """Bar of the latent variance by source."""
    from melogit.plots.estimates import variance_bar

    return variance_bar([str(source) for source in table.index], table["share"].to_numpy(), ax=ax)
