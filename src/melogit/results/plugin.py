"""What the package maketables asks of a fitted model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melogit.fit.types import Fit
from melogit.inference import z_and_p
from melogit.results import tables

KEYS = {"N": "nobs", "ll": "logLik", "aic": "AIC", "bic": "BIC", "df": "df"}
LABELS = {"N": "Observations", "groups": "Groups", "ll": "Log-likelihood", "aic": "AIC", "bic": "BIC"}
DEFAULT = ["N", "groups", "ll", "aic", "bic"]


def coefficient_table(fit: Fit) -> pd.DataFrame:
    """Coefficients, then variances (which have no t and p)."""
    std_err = tables.standard_errors(fit)
    z, p = z_and_p(fit.params, std_err)
    z[fit.n_fixed :] = p[fit.n_fixed :] = np.nan
    limits = tables.intervals(fit, 0.95)
    columns = {"b": fit.params, "se": std_err, "t": z, "p": p}
    table = pd.DataFrame(columns, index=pd.Index(list(fit.names), name="Coefficient"))
    return table.assign(ci95l=limits["ci_low"].to_numpy(), ci95u=limits["ci_high"].to_numpy())


def statistic(fit: Fit, glance: dict[str, Any], key: str) -> Any:
    """A statistic of the whole fit by maketables' key; None where there is no such thing."""
    if key == "groups":
        return ", ".join(f"{len(term.levels):,} {term.name}" for term in fit.terms)
    return glance.get(KEYS.get(key, key))
