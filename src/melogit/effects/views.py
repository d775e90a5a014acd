"""Rows with some predictors set to values, and their derivative in one predictor, without copying the matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from melogit.effects.parameters import Parameters, check_defined, linear_predictor
from melogit.effects.posterior import Posterior
from melogit.effects.rows import EffectRows, Known, all_zero, fixed_part, nothing_known, partly_known
from melogit.errors import ModelError
from melogit.formula.recipe import Recipe, Values, changed_columns, constant, needed_for

FloatArray = NDArray[np.float64]
Patch = dict[int, FloatArray]

# Five-point derivative of a transformed predictor: its step relative to the predictor's range and to its size.
STEP = 1e-3
STENCIL = np.arange(-2, 3)


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows together with the predictors that they were made from.

    Attributes
    ----------
    recipe : Recipe
    rows : EffectRows
    columns : mapping of str to array or Categorical
    base : (n,)
        Linear predictor of the fixed part.
    """

    recipe: Recipe
    rows: EffectRows
    columns: Mapping[str, Values]
    base: FloatArray


def frame(recipe: Recipe, rows: EffectRows, columns: Mapping[str, Values], found: Parameters) -> Frame:
    """Put rows and predictors together."""
    return Frame(recipe, rows, columns, fixed_part(rows, found))


@dataclass(frozen=True, slots=True)
class View:
    """Rows as they would be with some predictors set.

    Attributes
    ----------
    X : (n, p)
        Of the rows as they are; ``x`` holds the columns that differ.
    x : column -> (n,) or (1,)
    Z : per term, (n, q)
    eta : (n,)
        Linear predictor, with what is known of the random effects.
    known : Known
    values : mapping
        The predictors that were set, for the derivative.
    """

    X: FloatArray
    x: Patch
    Z: tuple[FloatArray, ...]
    eta: FloatArray
    known: Known
    values: Mapping[str, Values] = field(default_factory=dict)


def columns_for(found: Frame, names: list[str], values: Mapping[str, Values]) -> tuple[dict[str, Values], int]:
    """Collect the predictors needed to compute again what depends on ``names``; one row where all are constant."""
    needed = needed_for(found.recipe, names)
    if needed <= set(values) and all(len(values[name]) == 1 for name in needed):
        return {name: values[name] for name in needed}, 1
    n = found.rows.n
    out = {}
    for name in needed:
        given = values.get(name, found.columns[name])
        out[name] = given if len(given) == n else given.take(np.zeros(n, dtype=np.intp))
    return out, n


def look(
    found: Frame, params: Parameters, values: Mapping[str, object], kind: str, posterior: Posterior | None
) -> View:
    """View the rows with predictors set to constants.

    Parameters
    ----------
    found : Frame
    params : Parameters
    values : mapping of str to value
    kind : {"marginal", "fixed", "conditional"}
    posterior : Posterior or None
        For ``conditional``.
    """
    rows = found.rows
    arrays = {name: constant(found.recipe.column(name), value, 1) for name, value in values.items()}
    x: Patch = {}
    Z = rows.Z
    eta = found.base
    if arrays:
        needed, n = columns_for(found, list(arrays), arrays)
        x, z = changed_columns(found.recipe, list(arrays), needed, n)
        eta = _changed(found, params, x)
        Z = patched(Z, z)
    check_defined(eta, params.beta, params.names)
    known = what_is_known(replace(rows, Z=Z), params, kind, posterior)
    return View(rows.X, x, Z, eta + known.shift, known, arrays)


def _changed(found: Frame, params: Parameters, x: Patch) -> FloatArray:
    """Linear predictor of the fixed part with some columns of X replaced."""
    rows = found.rows
    if np.isfinite(params.beta).all():
        eta = found.base.copy()
        for j, column in x.items():
            eta += (column - rows.X[:, j]) * params.beta[j]
        return eta
    X = rows.X.copy()
    for j, column in x.items():
        X[:, j] = column
    return linear_predictor(X, params.beta, rows.offset)


def patched(Z: tuple[FloatArray, ...], z: Mapping[tuple[int, int], FloatArray]) -> tuple[FloatArray, ...]:
    """Replace columns of Z."""
    out = list(Z)
    for term in {term for term, _ in z}:
        out[term] = out[term].copy()
        for (t, column), value in z.items():
            if t == term:
                out[term][:, column] = value
    return tuple(out)


def what_is_known(rows: EffectRows, params: Parameters, kind: str, posterior: Posterior | None) -> Known:
    """Match a kind of margin to what it knows of the random effects."""
    if kind == "marginal":
        return nothing_known(rows, params)
    if kind == "fixed":
        return all_zero(params)
    assert posterior is not None
    return partly_known(rows, params, posterior)


@dataclass(frozen=True, slots=True)
class Slope:
    """Derivative of a view in one continuous predictor.

    Attributes
    ----------
    x : column of X -> (n,) or (1,)
    z : per term, (n, q)
    eta : (n,)
        Derivative of the linear predictor.
    variance : (n,) or (1,)
        Derivative of the variance of the effects averaged over.
    by_parameter : (n, m) or (1, m)
        Derivative of that in the variance parameters.
    known : (n, p + m) or None
        Derivative of ``eta`` in the parameters through the known random effects.
    at : (n,) or (1,)
        The predictor itself.
    """

    x: Patch
    z: tuple[FloatArray, ...] | None
    eta: FloatArray
    variance: FloatArray
    by_parameter: FloatArray
    known: FloatArray | None
    at: FloatArray


def differentiate(
    found: Frame, view: View, params: Parameters, name: str, kind: str, posterior: Posterior | None
) -> Slope:
    """Differentiate a view in the continuous predictor ``name``."""
    x, z = _differences(found, view, name)
    rows = found.rows
    eta = np.zeros(rows.n)
    for j, column in x.items():
        if np.isfinite(params.beta[j]):
            eta += column * params.beta[j]
        elif (column != 0).any():
            raise ModelError(
                f"The coefficient of '{params.names[j]}' is infinite (separation), so the probability jumps with "
                f"'{name}' and has no derivative. Compare values of it by at=, or leave it out of the model."
            )
    at = np.asarray(view.values.get(name, found.columns[name]), dtype=np.float64)
    if not z:
        return Slope(x, None, eta, np.zeros(1), np.zeros((1, params.m)), None, at)
    dZ = patched(tuple(np.zeros_like(Z) for Z in view.Z), z)
    variance, by = np.zeros(rows.n), np.zeros((rows.n, params.m))
    slope = None
    for level, (Z, d) in enumerate(zip(view.Z, dZ, strict=True)):
        free = np.ones(rows.n) if kind == "marginal" else np.zeros(rows.n)
        if kind == "conditional":
            assert posterior is not None
            code = rows.codes[level]
            free = (code < 0).astype(np.float64)
            held = np.flatnonzero(code >= 0)
            part = posterior[level]
            eta[held] += np.einsum("ni,ni->n", d[held], part.mean[code[held]])
            if part.slope is not None:
                slope = np.zeros((rows.n, params.p + params.m)) if slope is None else slope
                slope[held] += np.einsum("ni,nij->nj", d[held], part.slope[code[held]], optimize=True)
        variance += free * 2 * np.einsum("ni,ij,nj->n", Z, params.Sigma[level], d)
        by += free[:, None] * 2 * np.einsum("ni,rij,nj->nr", Z, params.basis[level], d, optimize=True)
    return Slope(x, dZ, eta, variance, by, slope, at)


def _differences(found: Frame, view: View, name: str) -> tuple[Patch, dict[tuple[int, int], FloatArray]]:
    """Derivatives of the columns of X and Z: exact where the predictor stands as it is, five-point otherwise."""
    values = {k: v for k, v in view.values.items() if k != name}
    x0 = np.asarray(view.values.get(name, found.columns[name]), dtype=np.float64)
    if _stands_plain(found.recipe, name):
        sides = []
        for value in (0.0, 1.0):
            needed, n = columns_for(found, [name], {**values, name: np.full(1, value)})
            sides.append(changed_columns(found.recipe, [name], needed, n))
        x = {j: sides[1][0][j] - sides[0][0][j] for j in sides[0][0]}
        return x, {k: sides[1][1][k] - sides[0][1][k] for k in sides[0][1]}
    column = found.recipe.column(name)
    span = column.high - column.low or max(abs(column.high), 1.0)
    h = STEP * np.maximum(np.minimum(np.abs(x0), span), STEP / 10 * span)
    inside = (x0 >= column.low) & (x0 <= column.high)
    centre = np.where(inside, np.clip(x0, column.low + 2 * h, column.high - 2 * h), x0)
    weights = _stencil_weights((x0 - centre) / h) / h
    total_x: Patch = {}
    total_z: dict[tuple[int, int], FloatArray] = {}
    for k, weight in zip(STENCIL, weights, strict=True):
        needed, n = columns_for(found, [name], {**values, name: centre + k * h})
        x, z = changed_columns(found.recipe, [name], needed, n)
        for j, value in x.items():
            total_x[j] = total_x.get(j, 0.0) + weight * value
        for j, value in z.items():
            total_z[j] = total_z.get(j, 0.0) + weight * value
    return total_x, total_z


def _stands_plain(recipe: Recipe, name: str) -> bool:
    """Tell whether a predictor occurs only as itself, in products with other factors too."""
    for spec in (recipe.fixed, *recipe.random):
        if spec is not None:
            for factor in spec.factors:
                variables = {str(v) for v in spec.factor_variables[factor]}
                if name in variables and factor.expr != name:
                    return False
    return True


def _stencil_weights(s: FloatArray) -> FloatArray:
    """Derivative at ``s`` of the polynomial through the five points -2 .. 2, as weights of its values, (5, n)."""
    out = np.zeros((5, len(s)))
    for i, a in enumerate(STENCIL):
        others = [b for b in STENCIL if b != a]
        scale = np.prod([a - b for b in others])
        for skip in others:
            out[i] += np.prod([s - b for b in others if b != skip], axis=0) / scale
    return out


def collapse(found: Frame, view: View, params: Parameters, kind: str) -> View:
    """Turn the rows of a view into one, every column of X and Z at its weighted mean."""
    share = found.rows.weights / found.rows.weights.sum()
    X = (share @ view.X)[None]
    for j, column in view.x.items():
        X[0, j] = column[0] if len(column) == 1 else share @ column
    Z = tuple((share @ z)[None] for z in view.Z)
    offset = np.array([share @ found.rows.offset])
    known = what_is_known(EffectRows(X, Z, offset, np.ones(1)), params, kind, None)
    return View(X, {}, Z, offset + X @ params.beta, known, view.values)


def collapse_slope(found: Frame, view: View, slope: Slope, params: Parameters, kind: str) -> Slope:
    """Derivative of the collapsed view."""
    share = found.rows.weights / found.rows.weights.sum()

    def mean(column: FloatArray) -> FloatArray:
        return column if len(column) == 1 else np.array([share @ column])

    x = {j: mean(column) for j, column in slope.x.items()}
    eta = np.array([sum(float(column[0]) * params.beta[j] for j, column in x.items())])
    variance, by = np.zeros(1), np.zeros((1, params.m))
    if slope.z is not None and kind == "marginal":
        for Z, d, Sigma, basis in zip(view.Z, slope.z, params.Sigma, params.basis, strict=True):
            middle, moved = share @ Z, share @ d
            variance += 2 * middle @ Sigma @ moved
            by += 2 * np.einsum("i,rij,j->r", middle, basis, moved)
    return Slope(x, None, eta, variance, by, None, mean(slope.at))
