"""A fit as one long table, with the column names of R's broom.mixed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference import normal_interval
from melogit.results import tables

NAMES = {
    "odds_ratio": "estimate",
    "std_err": "std.error",
    "z": "statistic",
    "p": "p.value",
    "ci_low": "conf.low",
    "ci_high": "conf.high",
}


def tidy_table(
    fit: Fit, level: float, conf_int: bool, exponentiate: bool, effects: str | Sequence[str]
) -> pd.DataFrame:
    """Rows for the kinds of effects asked for; cells that a kind does not have are missing."""
    makers = {
        "fixed": lambda: _fixed(fit, level, exponentiate),
        "ran_pars": lambda: _variances(fit, level),
        "ran_vals": lambda: _values(fit, level),
    }
    wanted = (effects,) if isinstance(effects, str) else tuple(effects)
    unknown = [kind for kind in wanted if kind not in makers]
    if unknown or not wanted:
        raise ModelError(f"effects={effects!r} is not known: name any of 'fixed', 'ran_pars' and 'ran_vals'.")
    columns = ["effect", "group", "level", "term", "estimate", "std.error", "statistic", "p.value"]
    columns += ["conf.low", "conf.high"] if conf_int else []
    columns = [name for name in columns if name != "level" or "ran_vals" in wanted]
    records = [record for kind in wanted for record in makers[kind]().to_dict("records")]
    return pd.DataFrame(records, columns=columns)


def _fixed(fit: Fit, level: float, exponentiate: bool) -> pd.DataFrame:
    table = tables.odds_ratios(fit, level) if exponentiate else tables.coefficients(fit, level)
    return table.rename(columns=NAMES).assign(effect="fixed", group=None, level=None, term=table.index)


def _variances(fit: Fit, level: float) -> pd.DataFrame:
    table = tables.variance_components(fit, level).reset_index()
    return table.rename(columns=NAMES).assign(effect="ran_pars", level=None)


def _values(fit: Fit, level: float) -> pd.DataFrame:
    parts = []
    for term in fit.terms:
        for column, name in enumerate(term.names):
            estimate, std_err = term.means[:, column], term.std_err[:, column]
            low, high = normal_interval(estimate, std_err, level)
            values = {"estimate": estimate, "std.error": std_err, "conf.low": low, "conf.high": high}
            parts.append(pd.DataFrame({**values, "group": term.name, "level": term.levels, "term": name}))
    return pd.concat(parts).assign(effect="ran_vals")
