"""A fit as pandas tables. Every function here is pure: a fit in, a table out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.types import Fit, TermFit
from melogit.inference import (
    Role,
    deviations_and_correlations,
    intraclass_correlations,
    normal_interval,
    parameter_roles,
    variance_intervals,
    z_and_p,
)

CONSTANT = "Intercept"
ESTIMATE_COLUMNS = ["estimate", "std_err", "ci_low", "ci_high"]


def standard_errors(fit: Fit) -> np.ndarray:
    """Compute the standard error of every parameter, (p + m,); NaN at a boundary or at infinity."""
    return np.sqrt(np.diag(fit.cov))


def _positions(fit: Fit, term: TermFit) -> list[int]:
    """Where a term's parameters stand in the joint parameter vector."""
    return [fit.names.index(name, fit.n_fixed) for name in term.parameters]


def _roles(term: TermFit) -> list[Role]:
    return parameter_roles(term.name, term.names, term.blocks, term.parameters)


def intervals(fit: Fit, level: float) -> pd.DataFrame:
    """Compute confidence intervals of all parameters: normal for fixed effects, on the log scale for variances."""
    std_err = standard_errors(fit)
    low, high = normal_interval(fit.params, std_err, level)
    for term in fit.terms:
        at = _positions(fit, term)
        low[at], high[at] = variance_intervals(_roles(term), fit.params[at], std_err[at], level)
    return pd.DataFrame({"ci_low": low, "ci_high": high}, index=list(fit.names))


def coefficients(fit: Fit, level: float) -> pd.DataFrame:
    """Tabulate the fixed effects: estimate, std_err, z, p, ci_low, ci_high."""
    estimate, std_err = fit.params[: fit.n_fixed], standard_errors(fit)[: fit.n_fixed]
    z, p = z_and_p(estimate, std_err)
    low, high = normal_interval(estimate, std_err, level)
    return pd.DataFrame(
        {"estimate": estimate, "std_err": std_err, "z": z, "p": p, "ci_low": low, "ci_high": high},
        index=list(fit.names[: fit.n_fixed]),
    )


def odds_ratios(fit: Fit, level: float) -> pd.DataFrame:
    """Exponentiate the fixed effects; standard errors by the delta method, z and p those of the coefficients."""
    table = coefficients(fit, level).rename(columns={"estimate": "odds_ratio"})
    with np.errstate(over="ignore", invalid="ignore"):
        table[["odds_ratio", "ci_low", "ci_high"]] = np.exp(table[["odds_ratio", "ci_low", "ci_high"]])
        table["std_err"] *= table["odds_ratio"]
    return table


def _by_group(rows: list[tuple[str, str]], values: np.ndarray) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(rows, names=["group", "term"])
    return pd.DataFrame(values, index=index, columns=ESTIMATE_COLUMNS)


def variance_components(fit: Fit, level: float) -> pd.DataFrame:
    """Tabulate variances and covariances of the random effects, by (group, term)."""
    std_err, limits = standard_errors(fit), intervals(fit, level).to_numpy()
    rows, values = [], []
    for term in fit.terms:
        for at, role in zip(_positions(fit, term), _roles(term), strict=True):
            rows.append((term.name, role.label))
            values.append([fit.params[at], std_err[at], *limits[at]])
    return _by_group(rows, np.array(values))


def standard_deviations(fit: Fit, level: float) -> pd.DataFrame:
    """Tabulate standard deviations and correlations of the random effects, by (group, term)."""
    rows, values = [], []
    for term in fit.terms:
        at = _positions(fit, term)
        labels, table = deviations_and_correlations(_roles(term), fit.params[at], fit.cov[np.ix_(at, at)], level)
        rows += [(term.name, label) for label in labels]
        values.append(table)
    return _by_group(rows, np.concatenate(values))


def group_counts(fit: Fit) -> pd.DataFrame:
    """Count the groups of each grouping factor, and find the fewest, average and most observations per group."""
    sizes = [term.group_sizes for term in fit.terms]
    return pd.DataFrame(
        {
            "groups": [len(size) for size in sizes],
            "min": [whole(size.min()) for size in sizes],
            "mean": [float(size.mean()) for size in sizes],
            "max": [whole(size.max()) for size in sizes],
        },
        index=pd.Index([term.name for term in fit.terms], name="group"),
    )


def whole(value: float) -> int | float:
    """Give an int where the number is one (counts are, unless frequency weights are fractional)."""
    return int(value) if float(value).is_integer() else float(value)


def iterations(fit: Fit) -> pd.DataFrame:
    """Tabulate the iteration log, one row per iteration."""
    columns = ["stage", "iteration", "loglik", "decrement", "step", "seconds"]
    return pd.DataFrame([[getattr(row, name) for name in columns] for row in fit.trace], columns=columns)


def intraclass(fit: Fit, level: float) -> pd.DataFrame:
    """Compute the intraclass correlations; random slopes held at 0.

    Nested factors: by level, cumulative from the top. Crossed ones: of rows that share a group of one factor (and of
    those that its name says it lies in), and of all.
    """
    names, at = [], []
    for term in fit.terms:
        for position, role in zip(_positions(fit, term), _roles(term), strict=True):
            if any(term.names[effect] == CONSTANT for effect in role.effects):
                names.append(term.name)
                at.append(position)
    if not at:
        raise ModelError(
            "The intraclass correlation needs a random intercept, and this model has random slopes only. "
            "Add one, as in (1 | group)."
        )
    labels, shared = (_nested_shares if fit.nested else _crossed_shares)(names)
    table = intraclass_correlations(fit.params[at], fit.cov[np.ix_(at, at)], level, shared)
    values = [[row.estimate, row.std_err, row.ci_low, row.ci_high] for row in table]
    return pd.DataFrame(values, index=pd.Index(labels, name="level"), columns=["icc", *ESTIMATE_COLUMNS[1:]])


def _nested_shares(names: list[str]) -> tuple[list[str], np.ndarray]:
    """Labels such as ``DID|HID``, and which groups two rows share: each level's and all above."""
    labels: list[str] = []
    above = ""
    for name in names:
        own = name.removeprefix(f"{above}:") if above else name
        labels.append("|".join([own, *(label.split("|")[0] for label in reversed(labels))]))
        above = name
    return labels, np.tri(len(names), dtype=bool)


def _crossed_shares(names: list[str]) -> tuple[list[str], np.ndarray]:
    """Each factor by itself, with those that its name lies in, and all together."""
    within = [[other == name or name.startswith(f"{other}:") for other in names] for name in names]
    everything = [] if len(names) == 1 else [" & ".join(names)]
    return [*names, *everything], np.array([*within, *([[True] * len(names)] if everything else [])])


def group_effects(fit: Fit, kind: Literal["mean", "mode"], group: str | None) -> pd.DataFrame:
    """Tabulate predicted random effects: one column per effect and one for its standard error."""
    if kind not in ("mean", "mode"):
        raise ModelError(f"kind={kind!r} is not known: write 'mean' (posterior means) or 'mode' (posterior modes).")
    tables = {term.name: _one_group(term, kind) for term in fit.terms}
    if group is not None:
        if group not in tables:
            known = ", ".join(f"'{name}'" for name in tables)
            raise ModelError(f"There is no grouping factor '{group}' in this model; it has {known}.")
        return tables[group]
    if len(tables) == 1:
        return next(iter(tables.values()))
    return pd.concat(tables, names=["group", "level"])


def _one_group(term: TermFit, kind: str) -> pd.DataFrame:
    values = term.means if kind == "mean" else term.modes
    columns: dict[str, np.ndarray] = {}
    for column, name in enumerate(term.names):
        columns[name] = values[:, column]
        columns[f"{name}_se"] = term.std_err[:, column]
    return pd.DataFrame(columns, index=pd.Index(term.levels, name=term.name))


def data_rows(fit: Fit, design: Design) -> pd.DataFrame:
    """Describe each row that entered the fit: response, linear predictor, fitted probability, residual, groups."""
    beta = fit.params[: fit.n_fixed]
    # An infinite coefficient says nothing about the rows where its column is 0: 0 * inf must count as 0.
    infinite = np.isinf(beta)
    eta_fixed = design.offset + design.X[:, ~infinite] @ beta[~infinite]
    for column in np.flatnonzero(infinite):
        shift = np.zeros(design.n_rows)
        np.multiply(design.X[:, column], beta[column], out=shift, where=design.X[:, column] != 0)
        with np.errstate(invalid="ignore"):
            eta_fixed = eta_fixed + shift
    eta = eta_fixed.copy()
    groups = {}
    for term, estimate in zip(design.terms, fit.terms, strict=True):
        eta += np.einsum("ij,ij->i", term.Z, estimate.means[term.factor.codes])
        groups[term.factor.name] = term.factor.levels[term.factor.codes]
    mu = expit(eta)
    share = np.full(design.n_rows, np.nan)
    np.divide(design.y, design.trials, out=share, where=design.trials > 0)
    columns = {fit.wording.response: share, "eta_fixed": eta_fixed, "eta": eta, "mu": mu, "residual": share - mu}
    if np.any(design.trials != 1):
        columns["trials"] = design.trials
    index = design.row_labels if len(design.row_labels) else None
    return pd.DataFrame({**columns, **groups}, index=index)
