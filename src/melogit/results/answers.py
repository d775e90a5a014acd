"""Predictions and residuals as pandas objects, with the index of the data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from melogit.effects.levels import Level, Posterior
from melogit.effects.predict import NEEDS_GROUPS, check_kind, draw, predict
from melogit.effects.residuals import residuals
from melogit.errors import ModelError
from melogit.fit.types import TermFit
from melogit.inference import critical_value
from melogit.results.after import Model, new_rows, posterior_of, rows_of_fit

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A call of predict, as it was made."""

    kind: str
    std_err: bool
    level: float
    draws: int | None
    seed: int | None
    offset: ArrayLike | None


def predict_rows(model: Model, newdata: Any, how: Prediction) -> pd.Series | pd.DataFrame:
    """Answer a call of predict."""
    check_kind(how.kind)
    critical_value(how.level)
    if how.draws is not None and (isinstance(how.draws, bool) or not isinstance(how.draws, int) or how.draws < 1):
        raise ModelError(f"draws={how.draws!r} must be a whole number, 1 or more.")
    grouped = how.kind in NEEDS_GROUPS
    if newdata is None:
        if how.offset is not None:
            raise ModelError("offset= goes with newdata; the rows of the fit have their own.")
        design, rows = rows_of_fit(model, "Predictions")
        index, keep = pd.Index(design.row_labels) if len(design.row_labels) else None, None
        n = rows.n
    else:
        new, rows = new_rows(model, newdata, groups=grouped, what="Predictions", offset=how.offset)
        index, keep, n = new.rows.index, new.rows.keep, new.rows.n_read
    uncertain = how.std_err or how.draws is not None
    posterior = _posterior(model, uncertain) if grouped else None
    if how.draws is not None:
        drawn = draw(model.fit, rows, how.kind, posterior, how.draws, how.seed)
        return pd.DataFrame(_spread_out(drawn, keep, n), index=index)
    found = predict(model.fit, rows, how.kind, posterior, uncertain=uncertain, level=how.level)
    if not uncertain:
        return pd.Series(_spread_out(found.values, keep, n), index=index, name=how.kind)
    columns = {how.kind: found.values, "std_err": found.std_err, "ci_low": found.low, "ci_high": found.high}
    return pd.DataFrame({name: _spread_out(np.asarray(c), keep, n) for name, c in columns.items()}, index=index)


def _posterior(model: Model, uncertain: bool) -> Posterior:
    """For point predictions the means of the fit are enough."""
    if uncertain or model.posterior is not None:
        return posterior_of(model, "Standard errors of predictions with the groups' own effects", slopes=True)
    return means_of(model)


def means_of(model: Model) -> Posterior:
    """The posterior means of the fit, without their spread."""
    sizes = [len(term.names) for term in model.fit.terms]
    return Posterior(
        tuple(
            _means_only(term, parent, sum(sizes[:k]))
            for k, (term, parent) in enumerate(zip(model.fit.terms, _parents(model), strict=True))
        )
    )


def _parents(model: Model) -> list[NDArray[np.int64] | None]:
    if model.design is None or not model.design.nested:
        return [None] * len(model.fit.terms)
    out: list[NDArray[np.int64] | None] = [None]
    for above, below in pairwise(model.design.terms):
        parent = np.zeros(below.factor.n_levels, dtype=np.int64)
        parent[below.factor.codes] = above.factor.codes
        out.append(parent)
    return out


def _means_only(term: TermFit, parent: NDArray[np.int64] | None, above: int) -> Level:
    G, q = term.means.shape
    parent = np.full(G, -1, dtype=np.int64) if parent is None else parent
    Lambda = np.zeros((q, q))
    return Level(
        term.means,
        term.modes,
        np.zeros((G, q, above)),
        np.zeros((G, q, q)),
        Lambda,
        parent,
        None,
    )


def _spread_out(values: FloatArray, keep: NDArray[np.int64] | None, n: int) -> FloatArray:
    """Put NaN where rows lacked a value."""
    if keep is None:
        return values
    out = np.full((n, *values.shape[1:]), np.nan)
    out[keep] = values
    return out


def find_residuals(model: Model, kind: str, fitted: str, seed: int | None) -> pd.Series:
    """Answer a call of residuals."""
    if fitted not in ("mu", "mu_fixed", "marginal"):
        raise ModelError(f"fitted={fitted!r} is not a kind of probability. Use 'mu', 'mu_fixed' or 'marginal'.")
    if model.design is None:
        raise ModelError(
            "This model was loaded from a file, and model files do not hold the data. Residuals need the outcomes: fit "
            "the model again with melogit(formula, data)."
        )
    design, rows = rows_of_fit(model, "Residuals")
    posterior = _posterior(model, False) if fitted == "mu" else None
    mu = predict(model.fit, rows, fitted, posterior).values
    index = pd.Index(design.row_labels) if len(design.row_labels) else None
    return pd.Series(residuals(design.y, design.trials, mu, kind, seed), index=index, name=kind)
