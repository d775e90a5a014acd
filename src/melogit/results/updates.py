"""What new rows with outcomes say of their groups, the estimates left as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from melogit.design import Design, GroupingFactor, RandomTerm
from melogit.effects.levels import Level, Posterior
from melogit.effects.parameters import empty_terms
from melogit.effects.posterior import find_posterior, spread
from melogit.errors import DataError, ModelError
from melogit.formula.given import read_weights
from melogit.formula.newdata import NewRows, read_outcomes
from melogit.results.after import Model, new_rows, posterior_of, recipe_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Same = TypeVar("Same", bound="Any")


@dataclass(frozen=True, slots=True)
class Given:
    """A call of update, as it was made."""

    trials: str | int | None
    weights: str | ArrayLike | None
    offset: ArrayLike | None


def updated(results: Same, model: Model, newdata: Any, given: Given) -> Same:
    """Answer a call of update."""
    if not model.fit.nested:
        names = " and ".join(f"'{term.name}'" for term in model.fit.terms)
        raise ModelError(
            f"update() learns about new groups from their own rows alone, and {names} cross each other: new groups of "
            "one change what is known of the other. Fit the model again with all data; predict() takes new groups of "
            "either as they are, averaged over."
        )
    new, design = _read(model, newdata, given)
    codes, levels = _numbered(model, new)
    if (new.codes[0] >= 0).any():
        return _with_known(results, model, new, design, codes, levels)
    return _with_new(results, model, design, codes, levels)


def _read(model: Model, newdata: Any, given: Given) -> tuple[NewRows, Design]:
    """Read the new rows; the terms of the design are those of the fit, its groups not yet numbered."""
    recipe = recipe_of(model, "New groups")
    wording = model.fit.wording
    weights = given.weights
    if weights is None and wording.weights is not None and wording.weights != "given as numbers":
        weights = wording.weights
    if isinstance(weights, int | float) and not isinstance(weights, bool):
        weights = None if weights == 1 else weights
    extra = [weights] if isinstance(weights, str) else []
    new, rows = new_rows(model, newdata, groups=True, what="New groups", extra=extra, offset=given.offset)
    trials = given.trials
    if trials is None and wording.trials is not None:
        trials = int(wording.trials) if wording.trials.isdigit() else wording.trials
    found = read_outcomes(recipe, wording, new, newdata, trials, model.fit.names[: model.fit.n_fixed])
    terms = tuple(
        RandomTerm(shape.factor, np.ascontiguousarray(Z), shape.names, shape.blocks)
        for shape, Z in zip(empty_terms(model.fit), rows.Z, strict=True)
    )
    return new, replace(found, terms=terms, weights=read_weights(weights, new.extra, new.rows))


def _numbered(model: Model, new: NewRows) -> tuple[list[IntArray], list[NDArray]]:
    """Number of every row's group, groups of the fit first; and the labels of the groups that it did not have."""
    codes, levels = [], []
    for code, labels, term in zip(new.codes, new.labels, model.fit.terms, strict=True):
        others = np.flatnonzero(code < 0)
        found, place = np.unique(labels[others].astype(str), return_inverse=True)
        number = np.array(code, dtype=np.int64)
        number[others] = len(term.levels) + place
        codes.append(number)
        levels.append(found.astype(object))
    for level in range(1, len(codes)):
        moved = (new.codes[level] >= 0) & (codes[level - 1] != _above(model, level, codes[level], codes[level - 1]))
        if moved.any():
            raise DataError(
                f"{model.fit.terms[level].name} '{new.labels[level][int(moved.argmax())]}' was in the fitted data "
                "already, in another group. Give it a new label."
            )
        parent = np.zeros(int(codes[level].max()) + 1, dtype=np.int64)
        parent[codes[level]] = codes[level - 1]
        if (parent[codes[level]] != codes[level - 1]).any():
            raise DataError(
                f"In the new data a group of '{model.fit.terms[level].name}' lies in several groups of "
                f"'{model.fit.terms[level - 1].name}'; in the fitted data it lay in one."
            )
    return codes, levels


def _above(model: Model, level: int, code: IntArray, given: IntArray) -> IntArray:
    """The group above that each row's group had in the fit; what is given where that is not known."""
    if model.posterior is not None:
        parent = model.posterior[level].parent
    elif model.design is not None:
        upper, lower = (model.design.terms[k].factor for k in (level - 1, level))
        parent = np.full(lower.n_levels, -1, dtype=np.int64)
        parent[lower.codes] = upper.codes
    else:
        return given
    out = given.copy()
    old = np.flatnonzero(code < len(parent))
    known = old[parent[code[old]] >= 0]
    out[known] = parent[code[known]]
    return out


# --------------------------------------------------------------------------------------- groups that are all new


def _with_new(results: Same, model: Model, design: Design, codes: list[IntArray], levels: list[NDArray]) -> Same:
    """The new groups by themselves, put behind the old ones."""
    counts = [len(term.levels) for term in model.fit.terms]
    alone = [code - count for code, count in zip(codes, counts, strict=True)]
    design = replace(design, terms=_terms(design, alone, levels))
    added = find_posterior(design, model.fit)
    old = posterior_of(model, "New groups", slopes=True)
    posterior = Posterior(
        tuple(_joined(a, b, len(old[k - 1].mean) if k else 0) for k, (a, b) in enumerate(zip(old, added, strict=True)))
    )
    fits = tuple(
        replace(
            term,
            levels=np.concatenate([term.levels, labels]),
            means=np.concatenate([term.means, level.mean]),
            modes=np.concatenate([term.modes, level.mode]),
            std_err=np.concatenate([term.std_err, _std_err(added, k)]),
            group_sizes=np.concatenate([term.group_sizes, np.bincount(code, design.weights, len(labels))]),
        )
        for k, (term, labels, level, code) in enumerate(zip(model.fit.terms, levels, added, alone, strict=True))
    )
    return replace(results, fit=replace(model.fit, terms=fits), posterior=posterior)


def _terms(design: Design, codes: list[IntArray], levels: list[NDArray]) -> tuple[RandomTerm, ...]:
    terms = []
    for term, code, labels in zip(design.terms, codes, levels, strict=True):
        factor = GroupingFactor(term.factor.name, term.factor.columns, code.astype(np.int32), labels)
        terms.append(replace(term, factor=factor))
    return tuple(terms)


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


# --------------------------------------------------------------------------------- more rows of groups of the fit


def _with_known(
    results: Same, model: Model, new: NewRows, design: Design, codes: list[IntArray], levels: list[NDArray]
) -> Same:
    """Old and new rows together, for the groups that have both; the others stay as they are."""
    old = _with_data(model, new)
    all_levels = [np.concatenate([term.levels, more]) for term, more in zip(model.fit.terms, levels, strict=True)]
    joined = _stacked(old, design, codes, all_levels)
    posterior = find_posterior(joined, model.fit)
    touched = np.unique(codes[0])
    fits = []
    for k, (term, data) in enumerate(zip(model.fit.terms, joined.terms, strict=True)):
        now = np.unique(data.factor.codes[np.isin(joined.terms[0].factor.codes, touched)]).astype(np.int64)
        part = posterior[k]
        fits.append(
            replace(
                term,
                levels=all_levels[k],
                means=_replaced(term.means, part.mean, now),
                modes=_replaced(term.modes, part.mode, now),
                std_err=_replaced(term.std_err, _std_err(posterior, k), now),
                group_sizes=np.bincount(data.factor.codes, joined.weights, len(all_levels[k])),
            )
        )
    return replace(results, fit=replace(model.fit, terms=tuple(fits)), posterior=posterior)


def _with_data(model: Model, new: NewRows) -> Design:
    """The data of the fit, or why what is known of a group cannot be put together with its new rows."""
    name, first = model.fit.terms[0].name, new.labels[0][int(np.argmax(new.codes[0] >= 0))]
    if model.design is None:
        raise ModelError(
            f"{name} '{first}' was in the fitted data already, and its new rows have to be taken together with the old "
            "ones, which a model read from a file does not hold. Fit the model again with melogit(formula, data), or "
            "leave these groups out."
        )
    top = model.design.terms[0].factor
    counts = np.bincount(top.codes, model.design.weights, top.n_levels)
    if len(model.fit.terms[0].levels) != top.n_levels or not np.array_equal(model.fit.terms[0].group_sizes, counts):
        raise ModelError(
            f"This model was updated before, and {name} '{first}' was known to it already: what was learnt then would "
            "be lost. Update the model as it was fitted once, with all new rows together."
        )
    return model.design


def _stacked(old: Design, new: Design, codes: list[IntArray], levels: list[NDArray]) -> Design:
    """The old rows, then the new ones."""
    terms = []
    for before, after, code, labels in zip(old.terms, new.terms, codes, levels, strict=True):
        both = np.concatenate([before.factor.codes, code]).astype(np.int32)
        factor = GroupingFactor(before.factor.name, before.factor.columns, both, labels)
        terms.append(RandomTerm(factor, np.concatenate([before.Z, after.Z]), before.names, before.blocks))
    together = {
        name: np.concatenate([getattr(old, name), getattr(new, name)])
        for name in ("y", "trials", "weights", "offset", "X")
    }
    return replace(old, **together, terms=tuple(terms), row_labels=np.empty(0, dtype=object))


def _replaced(before: FloatArray, after: FloatArray, rows: IntArray) -> FloatArray:
    out = np.concatenate([before, after[len(before) :]])
    out[rows] = after[rows]
    return out


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
