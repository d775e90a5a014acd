"""What can be asked of a finished fit: tests, combinations, robust variances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.design import Design
from melogit.errors import FormulaError, ModelError
from melogit.fit.types import Fit
from melogit.formula.reading import open_table
from melogit.formula.tokens import nearest
from melogit.inference import Wald, normal_interval, z_and_p
from melogit.inference.hypotheses import delta_method, linear_combination, read_hypotheses, wald_test
from melogit.inference.limit import estimable, finite_part, infinite_names, spread_out
from melogit.inference.sandwich import Robust, reported_scores, sandwich

COLUMNS = ["estimate", "std_err", "z", "p", "ci_low", "ci_high"]
ROBUST = "Robust standard errors"


def needs_data(design: Design | None, what: str) -> Design:
    """The design, or an error where a model was loaded from a file."""
    if design is None:
        raise ModelError(
            f"This model was loaded from a file, and model files do not hold the data. {what} needs them: "
            "fit the model again with melogit(formula, data)."
        )
    return design


# ------------------------------------------------------------------------------------------------------- tests


def test_hypotheses(fit: Fit, hypotheses: tuple[Any, ...]) -> Wald:
    """Joint Wald test of terms, restrictions in text, or a matrix."""
    texts = [text for given in hypotheses for text in ([given] if isinstance(given, str) else given)]
    read = read_hypotheses(texts, fit.names, fit.n_fixed)
    params, cov = estimable(fit, read.R)
    return wald_test(read, params, cov, fit.names, fit.n_fixed)


def combination_table(
    fit: Fit, expressions: Any, named: Mapping[str, str], level: float, *, linear: bool, odds_ratios: bool = False
) -> pd.DataFrame:
    """Estimate, standard error, z, p and interval of expressions in the parameters."""
    labels, texts = _labelled(expressions, named)
    params, cov = fit.params, fit.cov
    if linear:
        params, cov = estimable(fit, np.array([linear_combination(text, fit.names)[1] for text in texts]))
    values, cov = delta_method(texts, params, cov, fit.names, linear=linear)
    table = estimate_table(values, np.sqrt(np.maximum(np.diag(cov), 0.0)), labels, level)
    return exponentiated(table) if odds_ratios else table


def combination_covariance(fit: Fit, expressions: Any, named: Mapping[str, str]) -> pd.DataFrame:
    """Joint covariance matrix of several expressions."""
    labels, texts = _labelled(expressions, named)
    _, cov = delta_method(texts, fit.params, fit.cov, fit.names, linear=False)
    return pd.DataFrame(cov, index=labels, columns=labels)


def _labelled(expressions: Any, named: Mapping[str, str]) -> tuple[list[str], list[str]]:
    given: dict[str, str] = {}
    for item in expressions:
        if isinstance(item, Mapping):
            given.update(item)
        else:
            given.update({text: text for text in ([item] if isinstance(item, str) else item)})
    given.update(named)
    if not given:
        raise ModelError(
            "Give an expression in the parameters, such as 'age + 2*weight', or several, each with a name."
        )
    return list(given), list(given.values())


def estimate_table(
    values: NDArray[np.float64], std_err: NDArray[np.float64], labels: Sequence[str], level: float
) -> pd.DataFrame:
    """Lay estimates out with z, p and a normal interval."""
    z, p = z_and_p(values, std_err)
    low, high = normal_interval(values, std_err, level)
    return pd.DataFrame(dict(zip(COLUMNS, (values, std_err, z, p, low, high), strict=True)), index=list(labels))


def exponentiated(table: pd.DataFrame) -> pd.DataFrame:
    """Odds ratios from log odds: standard errors by the delta method, z and p unchanged."""
    table = table.rename(columns={"estimate": "odds_ratio"})
    with np.errstate(over="ignore"):
        table[["odds_ratio", "ci_low", "ci_high"]] = np.exp(table[["odds_ratio", "ci_low", "ci_high"]])
    table["std_err"] *= table["odds_ratio"]
    return table


# -------------------------------------------------------------------------------------------- robust variances


def covariance_table(fit: Fit, oim: Fit | None, design: Design | None, kind: Any, cluster: Any) -> pd.DataFrame:
    """Covariance matrix of the reported parameters, of the kind asked for."""
    if kind not in (None, "oim", "robust", "cluster"):
        raise ModelError(f"kind={kind!r} is not one of 'oim', 'robust', 'cluster'.")
    if (cluster is None) == (kind == "cluster"):
        raise ModelError(
            'cluster= and kind="cluster" go together: cov_params(kind="cluster", cluster=...) with a grouping factor '
            "or a column of the data."
        )
    plain = oim or fit
    if kind in ("robust", "cluster"):
        cov = robust_covariance(needs_data(design, f'cov_params(kind="{kind}")'), plain, cluster).cov
    elif kind == "oim" and oim is None and is_robust(fit):
        raise ModelError(
            "This model was saved with robust standard errors only. Fit it again for those from the information."
        )
    else:
        cov = fit.cov if kind is None else plain.cov
    return pd.DataFrame(cov.copy(), index=list(fit.names), columns=list(fit.names))


def robust_covariance(design: Design, fit: Fit, cluster: Any) -> Robust:
    """Sandwich by top-level groups, or by a variable with one value per row used."""
    name, codes = ("", None) if cluster is None else cluster_codes(design, cluster)
    if not infinite_names(fit):
        return sandwich(design, fit, codes, name)
    limit = finite_part(design, fit, "Robust standard errors")
    small = sandwich(limit.design, limit.fit, None if codes is None else codes[limit.rows], name)
    size = len(fit.names)
    return replace(
        small,
        cov=spread_out(small.cov, limit.kept, size),
        cov_theta=spread_out(small.cov_theta, limit.kept, size),
    )


def cluster_codes(design: Design, cluster: Any) -> tuple[str, NDArray[np.int64]]:
    """Cluster number of every row used: from a grouping factor's name, a Series (by its index), or an array."""
    if isinstance(cluster, str):
        for term in design.terms:
            if term.factor.name == cluster or (cluster in term.factor.columns and len(term.factor.columns) == 1):
                return cluster, term.factor.codes.astype(np.int64)
        known = ", ".join(f"'{term.factor.name}'" for term in design.terms)
        raise ModelError(
            f"cluster='{cluster}' is not a grouping factor of this model ({known}), and the fit does not keep other "
            f"columns. Give the column itself: cluster=data['{cluster}']."
        )
    values = cluster if isinstance(cluster, pd.Series) else pd.Series(np.asarray(cluster))
    name = str(cluster.name) if isinstance(cluster, pd.Series) and cluster.name is not None else "cluster"
    if len(values) != design.n_rows:
        values = _aligned(values, design, name)
    elif isinstance(cluster, pd.Series) and values.index.is_unique and len(design.row_labels):
        values = values.reindex(design.row_labels) if set(values.index) == set(design.row_labels) else values
    if values.isna().any():
        raise ModelError(
            f"The cluster variable '{name}' is missing in {int(values.isna().sum()):,} of the rows used. Every row "
            "must belong to a cluster: fill it in, or leave those rows out before the fit."
        )
    return name, pd.factorize(values)[0].astype(np.int64)


def _aligned(values: pd.Series, design: Design, name: str) -> pd.Series:
    """The rows that entered the fit, found by the data's index."""
    labels = pd.Index(design.row_labels)
    if not values.index.is_unique or not labels.isin(values.index).all():
        raise ModelError(
            f"The cluster variable '{name}' has {len(values):,} values for {design.n_rows:,} rows used, and its index "
            "does not tell which belong to them. Give one value for each row used, or a column of the same data frame "
            "(with an index without repeats)."
        )
    return values.loc[labels]


def column_of(data: Any, cluster: Any) -> Any:
    """The cluster column where it is given by name, with the data's index; anything else as it is."""
    if not isinstance(cluster, str):
        return cluster
    table = open_table(data)
    if cluster not in table.names:
        raise FormulaError(f"cluster='{cluster}': there is no column '{cluster}'.{nearest(cluster, table.names)}")
    return table.load([cluster])[cluster]


def with_vce(results: Any, cluster: Any) -> Any:
    """The same results with robust standard errors in every table."""
    design = needs_data(results.design, "A robust variance")
    robust = robust_covariance(design, results.fit, cluster)
    return replace(results, fit=with_robust(results.fit, robust), oim=results.fit)


def with_robust(fit: Fit, robust: Robust) -> Fit:
    """The fit with robust standard errors in all of its tables, and a sentence that says so."""
    note = f"{ROBUST}, adjusted for {robust.clusters:,} clusters in {robust.cluster}; the LR test does not use them."
    wording = replace(fit.wording, notes=(*fit.wording.notes, note))
    return replace(fit, cov=robust.cov, cov_theta=robust.cov_theta, wording=wording)


def is_robust(fit: Fit) -> bool:
    """Whether the fit's own covariance matrix is a robust one (kept in its notes, hence in its file too)."""
    return any(note.startswith(ROBUST) for note in fit.wording.notes)


def _reported_scores(design: Design, fit: Fit) -> NDArray[np.float64]:
    if not infinite_names(fit):
        return reported_scores(design, fit)
    limit = finite_part(design, fit, "Scores")
    out = np.full((design.terms[0].factor.n_levels, len(fit.names)), np.nan)
    out[:, limit.kept] = 0.0  # groups that are fitted perfectly
    seen = np.unique(design.terms[0].factor.codes[limit.rows])
    out[np.ix_(seen, limit.kept)] = reported_scores(limit.design, limit.fit)
    return out


def score_table(design: Design, fit: Fit) -> pd.DataFrame:
    """Score of every top-level group in the reported parameters."""
    factor = design.terms[0].factor
    return pd.DataFrame(
        _reported_scores(design, fit), index=pd.Index(factor.levels, name=factor.name), columns=list(fit.names)
    )
