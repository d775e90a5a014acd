"""Predictions, residuals and updates as pandas objects, with the index of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from melogit.design import GroupingFactor, RandomTerm
from melogit.effects.levels import Level, Posterior
from melogit.effects.parameters import empty_terms
from melogit.effects.posterior import find_posterior, spread
from melogit.effects.predict import NEEDS_GROUPS, check_kind, draw, predict
from melogit.effects.residuals import residuals
from melogit.errors import DataError, ModelError
from melogit.fit.types import TermFit
from melogit.formula.newdata import read_outcomes
from melogit.inference import critical_value
from melogit.results.after import Model, new_rows, posterior_of, recipe_of, rows_of_fit

FloatArray = NDArray[np.float64]
Any_ = TypeVar("Any_", bound="Any")


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


# ------------------------------------------------------------------------------------------------ update


def with_new_groups(results: Any_, model: Model, newdata: Any, trials: str | int | None, offset: Any) -> Any_:
    """Answer a call of update."""
    recipe = recipe_of(model, "New groups")
    if not model.fit.nested:
        names = " and ".join(f"'{term.name}'" for term in model.fit.terms)
        raise ModelError(
            f"update() learns about new groups from their own rows alone, and {names} cross each other: new groups of "
            "one change what is known of the other. Fit the model again with all data; predict() takes new groups of "
            "either as they are, averaged over."
        )
    new, rows = new_rows(model, newdata, groups=True, what="New groups", offset=offset)
    known = np.flatnonzero(new.codes[0] >= 0)
    if len(known):
        name = model.fit.terms[0].name
        raise DataError(
            f"{name} '{new.labels[0][known[0]]}' was in the fitted data already. update() is for new groups of "
            f"'{name}': for known ones the old rows would have to be counted again. Leave them out, or fit the model "
            "again with all data."
        )
    names = model.fit.names[: model.fit.n_fixed]
    trials = trials if trials is not None else _trials(model)
    found = read_outcomes(recipe, model.fit.wording, new, newdata, trials, names)
    terms = []
    for level, (shape, read) in enumerate(zip(empty_terms(model.fit), found.terms, strict=True)):
        clash = np.isin(read.factor.levels.astype(str), shape.factor.levels.astype(str))
        if level and clash.any():
            raise DataError(
                f"{shape.factor.name} '{read.factor.levels[int(clash.argmax())]}' was in the fitted data already, in "
                "another group. Give it a new label."
            )
        factor = GroupingFactor(shape.factor.name, read.factor.columns, read.factor.codes, read.factor.levels)
        terms.append(RandomTerm(factor, np.ascontiguousarray(rows.Z[level]), shape.names, shape.blocks))
    _check_nested(terms)
    added = find_posterior(replace(found, terms=tuple(terms)), model.fit)
    old = posterior_of(model, "New groups", slopes=True)
    posterior = Posterior(
        tuple(_joined(a, b, len(old[k - 1].mean) if k else 0) for k, (a, b) in enumerate(zip(old, added, strict=True)))
    )
    sizes = [np.bincount(term.factor.codes, minlength=term.factor.n_levels).astype(float) for term in terms]
    fits = tuple(
        replace(
            term,
            levels=np.concatenate([term.levels, more.factor.levels]),
            means=np.concatenate([term.means, level.mean]),
            modes=np.concatenate([term.modes, level.mode]),
            std_err=np.concatenate([term.std_err, _std_err(added, k)]),
            group_sizes=np.concatenate([term.group_sizes, size]),
        )
        for k, (term, more, level, size) in enumerate(zip(model.fit.terms, terms, added, sizes, strict=True))
    )
    return replace(results, fit=replace(model.fit, terms=fits), posterior=posterior)


def _trials(model: Model) -> str | int | None:
    """The trials as they were given to the fit."""
    text = model.fit.wording.trials
    return text if text is None or not text.isdigit() else int(text)


def _check_nested(terms: list[RandomTerm]) -> None:
    for above, below in pairwise(terms):
        parent = np.zeros(below.factor.n_levels, dtype=np.int64)
        parent[below.factor.codes] = above.factor.codes
        if (parent[below.factor.codes] != above.factor.codes).any():
            raise DataError(
                f"In the new data a group of '{below.factor.name}' lies in several groups of '{above.factor.name}'; in "
                "the fitted data it lay in one."
            )


def _joined(old: Level, new: Level, above: int) -> Level:
    slope = None if old.slope is None or new.slope is None else np.concatenate([old.slope, new.slope])
    return Level(
        np.concatenate([old.mean, new.mean]),
        np.concatenate([old.mode, new.mode]),
        np.concatenate([old.K, new.K]),
        np.concatenate([old.C, new.C]),
        old.Lambda,
        np.concatenate([old.parent, new.parent + above]),
        slope,
    )


def _std_err(posterior: Posterior, level: int) -> FloatArray:
    """Posterior standard deviations of one level's effects, with the uncertainty of the levels above, (G, q)."""
    part = posterior[level]
    G, q = part.mean.shape
    out = np.empty((G, q))
    chain = [np.arange(G)]
    for k in range(level, 0, -1):
        chain.insert(0, posterior[k].parent[chain[0]])
    for effect in range(q):
        Z = [np.zeros((G, p.mean.shape[1])) for p in posterior[: level + 1]]
        Z[level][:, effect] = 1.0
        out[:, effect] = np.sqrt(spread(posterior[: level + 1], chain, tuple(Z)))
    return out
