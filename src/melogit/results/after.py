"""What ``Results`` can do with rows: predictions, residuals, margins. Each method calls the rooms below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from melogit.design import Design
from melogit.effects.limit import posterior_in_the_limit
from melogit.effects.margins import margins
from melogit.effects.parameters import Parameters, parameters
from melogit.effects.posterior import Posterior, find_posterior
from melogit.effects.rows import EffectRows, fitted_rows
from melogit.effects.settings import level_text, mean_frame, read_at, read_targets
from melogit.effects.views import frame
from melogit.errors import DataError, ModelError
from melogit.fit.types import Fit
from melogit.formula.newdata import NewRows, read_new
from melogit.formula.recipe import Recipe, Values
from melogit.formula.response import label
from melogit.inference.limit import infinite_names
from melogit.results.margins import Margins, margins_table

FloatArray = NDArray[np.float64]
KINDS = ("marginal", "fixed", "conditional")


@dataclass(frozen=True, slots=True)
class Model:
    """The parts of ``Results`` that predictions are made from."""

    fit: Fit
    design: Design | None
    recipe: Recipe | None
    posterior: Posterior | None


def recipe_of(model: Model, what: str) -> Recipe:
    """Return the recipe, or say why there is none."""
    if model.recipe is None:
        raise ModelError(
            f"{what} need the model's formula as it was fitted, which this model does not hold (it was loaded from a "
            "file of an older version, or put together by hand). Fit the model again with melogit(formula, data)."
        )
    return model.recipe


def posterior_of(model: Model, what: str, *, slopes: bool) -> Posterior:
    """Return the posterior of the groups: as stored, or computed from the data."""
    if model.posterior is not None:
        return model.posterior
    if model.design is None:
        raise ModelError(
            f"{what} need the posterior of each group, which this file does not hold, nor the data to compute it from. "
            "Fit the model again with melogit(formula, data)."
        )
    if infinite_names(model.fit):
        return posterior_in_the_limit(model.design, model.fit, what, slopes=slopes)
    return find_posterior(model.design, model.fit, slopes=slopes)


def new_rows(
    model: Model, data: Any, *, groups: bool, what: str, extra: Sequence[str] = (), offset: ArrayLike | None = None
) -> tuple[NewRows, EffectRows]:
    """Read new data as rows for effects."""
    levels = [term.levels for term in model.fit.terms]
    new = read_new(
        recipe_of(model, what), levels, data, groups=groups, extra=extra, offset=offset, purpose=what.lower()
    )
    return new, EffectRows(new.X, new.Z, new.offset, np.ones(len(new.X)), new.codes)


def rows_of_fit(model: Model, what: str) -> tuple[Design, EffectRows]:
    """Return the fitted rows."""
    if model.design is None:
        raise ModelError(
            f"This model was loaded from a file, and model files do not hold the data. {what} need rows: give them, as "
            "newdata (predict) or data= (margins)."
        )
    return model.design, fitted_rows(model.design)


# ----------------------------------------------------------------------------------------------- margins


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of margins, as it was made."""

    at: Any
    measures: Mapping[str, Any]
    over: str | Sequence[str] | None
    kind: str
    atmeans: bool
    weights: str | ArrayLike | None
    data: Any
    intpoints: int | None
    level: float


def find_margins(model: Model, asked: Asked) -> Margins:
    """Answer a call of margins."""
    _check(asked)
    found = parameters(model.fit)
    endless = infinite_names(model.fit)
    if endless and asked.atmeans:
        raise ModelError(
            f"The coefficient of {', '.join(endless)} is infinite (separation), and a row at the means would have a "
            "probability of 0 or 1. Leave atmeans= out, or the predictor."
        )
    over = [asked.over] if isinstance(asked.over, str) else list(asked.over or ())
    rows, columns, extra = _rows(model, asked, over)
    recipe = recipe_of(model, "Margins")
    frame_ = frame(recipe, rows, columns, found)
    settings, notes = read_at(asked.at, frame_)
    targets = read_targets(asked.measures, recipe)
    groups, group_labels = _groups(over, extra, rows)
    posterior = posterior_of(model, "Conditional margins", slopes=True) if asked.kind == "conditional" else None
    blocks = []
    if asked.atmeans:
        for group in groups:
            blocks.append((mean_frame(frame_, group), [None]))
    else:
        blocks.append((frame_, groups))
    parts = [
        margins(f, found, settings, targets, g, asked.kind, posterior, asked.intpoints, asked.atmeans)
        for f, g in blocks
    ]
    order = _order(len(settings) * len(targets), len(groups), asked.atmeans)
    values = np.concatenate([part.values for part in parts])[order]
    cov = _joint(parts, found)[np.ix_(order, order)]
    labels = _labels(settings, targets, group_labels)
    varying = tuple(labels[0])
    measure = next((m for m, names in asked.measures.items() if names is not None), "probability")
    boundary = [n for n, v in zip(found.names, np.diag(model.fit.cov), strict=True) if not np.isfinite(v)]
    if boundary:
        notes.append(f"{', '.join(boundary)}: at the boundary, taken as known in the standard errors.")
    table = margins_table(labels, values, cov, asked.level)
    if endless:
        notes.append(
            f"The coefficient of {', '.join(endless)} is infinite (separation): rows that it decides count as exactly "
            "0 or 1, and standard errors leave that out."
        )
        table.loc[np.diag(cov) == 0, ["std_err", "z", "p", "ci_low", "ci_high"]] = np.nan
    return Margins(table, cov, asked.kind, measure, varying, asked.level, tuple(notes))


def _check(asked: Asked) -> None:
    if asked.kind not in KINDS:
        raise ModelError(
            f"kind={asked.kind!r} is not known. Use 'marginal' (averaged over the random effects), 'fixed' (random "
            "effects 0) or 'conditional' (the groups' own effects)."
        )
    if asked.atmeans and asked.kind == "conditional":
        raise ModelError("atmeans=True has no group, so kind='conditional' has no meaning with it.")
    if asked.intpoints is not None and (
        isinstance(asked.intpoints, bool) or not isinstance(asked.intpoints, int) or not 1 <= asked.intpoints <= 200
    ):
        raise ModelError(f"intpoints={asked.intpoints!r} must be a whole number from 1 to 200, or None for exact.")


def _joint(parts: Sequence[Any], found: Parameters) -> FloatArray:
    joined = replace(
        parts[0],
        values=np.concatenate([part.values for part in parts]),
        gradient=np.concatenate([part.gradient for part in parts]),
        loading=np.concatenate([part.loading for part in parts]),
    )
    return joined.covariance(found)


def _order(inner: int, groups: int, by_group: bool) -> NDArray[np.intp]:
    """Bring margins that were computed group by group into the order with settings outermost."""
    places = np.arange(inner * groups)
    return places.reshape(groups, inner).T.ravel() if by_group else places


def _rows(model: Model, asked: Asked, over: list[str]) -> tuple[EffectRows, Mapping[str, Values], dict[str, NDArray]]:
    """Rows to average over, their predictors, and the columns of ``over``."""
    if asked.data is not None:
        needed = [*over, *([asked.weights] if isinstance(asked.weights, str) else [])]
        new, rows = new_rows(model, asked.data, groups=asked.kind == "conditional", what="Margins", extra=needed)
        extra = {name: np.array([label(v) for v in new.extra[name]], dtype=object) for name in over}
        weights = asked.weights
        if isinstance(weights, str):
            weights = new.extra[weights].to_numpy(dtype=np.float64)
        elif weights is not None:
            weights = np.asarray(weights, dtype=np.float64)
            if len(weights) == new.rows.n_read and new.rows.keep is not None:
                weights = weights[new.rows.keep]
        return _weighted(rows, weights), new.columns, extra
    design, rows = rows_of_fit(model, "Margins")
    recipe = recipe_of(model, "Margins")
    if recipe.sample is None:
        raise ModelError("Margins need rows: give data=.")
    if isinstance(asked.weights, str):
        raise ModelError(f"weights='{asked.weights}' names a column; give data= with it, or the numbers themselves.")
    extra = {name: _over_column(name, design, recipe) for name in over}
    weights = None if asked.weights is None else np.asarray(asked.weights, dtype=np.float64)
    return _weighted(rows, weights), recipe.sample, extra


def _weighted(rows: EffectRows, weights: FloatArray | None) -> EffectRows:
    if weights is None:
        return rows
    if weights.shape != (rows.n,):
        raise DataError(f"weights= has {weights.size:,} numbers, but there are {rows.n:,} rows to average over.")
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise DataError("weights= must be finite numbers of 0 or more, not all 0.")
    return replace(rows, weights=weights)


def _over_column(name: str, design: Design, recipe: Recipe) -> NDArray:
    for term in design.terms:
        if term.factor.name == name:
            return term.factor.levels[term.factor.codes]
    assert recipe.sample is not None
    if name in recipe.sample:
        values = recipe.sample[name]
        distinct, codes = np.unique(np.asarray(values).astype(object), return_inverse=True)
        if isinstance(values, pd.Categorical):
            return np.array([label(v) for v in values.categories], dtype=object)[values.codes]
        return np.array([label(v) for v in distinct], dtype=object)[codes]
    known = [term.factor.name for term in design.terms] + list(recipe.sample)
    raise DataError(
        f"over='{name}' is not in the model, whose columns are {', '.join(known)}. For another column give data= "
        "as well."
    )


def _groups(
    over: list[str], extra: dict[str, NDArray], rows: EffectRows
) -> tuple[Sequence[NDArray[np.int64] | None], Sequence[Mapping[str, object]]]:
    if not over:
        return [None], [{}]
    table = pd.DataFrame({name: extra[name] for name in over})
    found = table.groupby(over if len(over) > 1 else over[0], sort=False).indices
    if len(found) > 2_000:
        raise DataError(f"over= makes {len(found):,} groups; the limit is 2,000.")
    keys = sorted(found, key=_sorting)
    labels = [dict(zip(over, key if isinstance(key, tuple) else (key,), strict=True)) for key in keys]
    chosen = [cast(NDArray[np.int64], np.sort(found[key])) for key in keys]
    kept = [k for k, at in enumerate(chosen) if rows.weights[at].sum() > 0]
    return [chosen[k] for k in kept], [labels[k] for k in kept]


def _sorting(key: Any) -> tuple:
    parts = key if isinstance(key, tuple) else (key,)
    out = []
    for part in parts:
        try:
            out.append((0, float(part), ""))
        except ValueError:
            out.append((1, 0.0, str(part)))
    return tuple(out)


def _labels(
    settings: list[dict[str, object]], targets: Sequence[Any], groups: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    out = []
    for setting in settings:
        for target in targets:
            for group in groups:
                row: dict[str, object] = {name: setting.get(name, "as observed") for name in names}
                if target.name is not None:
                    row["term"] = target.name
                    change = target.level is not None
                    row["contrast"] = (
                        f"{level_text(target.level)} - {level_text(target.base)}" if change else target.measure
                    )
                out.append({**row, **group} or {"margin of": "all rows"})
    return out
