"""A recipe as plain lists, texts and numbers, and back.

The formula is read again, and what was learnt from the data (levels, knots, polynomial bases, means and scales) is put
back in its place. Nothing is evaluated that a formula may not hold, so a file from a stranger can do no harm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from formulaic import ModelSpec
from formulaic.parser.types import Factor

from melogit.formula.fixed import is_constant, spec_again
from melogit.formula.plan import Matrix, plan_formula
from melogit.formula.recipe import Column, Recipe, Values, from_codes


def recipe_as_plain(recipe: Recipe) -> dict[str, Any]:
    """Turn a recipe into what JSON can hold; the fitted rows are left out."""
    return {
        "formula": recipe.formula,
        "kept": list(recipe.kept),
        "columns": [
            [c.name, c.kind, list(c.levels), _plain(c.low), _plain(c.high), _plain(c.middle)] for c in recipe.columns
        ],
        "terms": [[list(columns), list(parts)] for columns, parts in recipe.terms],
        "offset": recipe.offset,
        "outcomes": list(recipe.outcomes),
        "fixed": _spec_as_plain(recipe.fixed),
        "random": [_spec_as_plain(spec) for spec in recipe.random],
    }


def recipe_from_plain(content: Mapping[str, Any]) -> Recipe:
    """Build the recipe again.

    Raises
    ------
    ValueError
        The columns that come out are not those that were recorded.
    """
    plan = plan_formula(content["formula"])
    columns = tuple(
        Column(name, kind, tuple(levels), *(_read(value) for value in numbers))
        for name, kind, levels, *numbers in content["columns"]
    )
    typical: dict[str, Values] = {
        c.name: np.array([c.middle]) if c.kind == "number" else from_codes(c, c.levels, np.zeros(1, dtype=np.intp))
        for c in columns
    }
    return Recipe(
        formula=content["formula"],
        fixed=_spec_from_plain(content["fixed"], plan.fixed, typical),
        kept=tuple(content["kept"]),
        random=tuple(
            _spec_from_plain(spec, matrix, typical)
            for spec, (_, matrix) in zip(content["random"], plan.random, strict=True)
        ),
        columns=columns,
        terms=tuple((tuple(names), tuple(parts)) for names, parts in content["terms"]),
        offset=content["offset"],
        outcomes=tuple(content["outcomes"]),
    )


def _spec_as_plain(spec: ModelSpec | None) -> dict[str, Any] | None:
    if spec is None:
        return None
    levels = {
        expression: [_plain(level) for level in state["categories"]]
        for expression, (kind, state) in spec.encoder_state.items()
        if kind is Factor.Kind.CATEGORICAL and "categories" in state
    }
    return {"transforms": _plain(spec.transform_state), "levels": levels, "names": list(spec.column_names)}


def _spec_from_plain(content: Any, matrix: Matrix, typical: Mapping[str, Values]) -> ModelSpec | None:
    if content is None:
        if not is_constant(matrix):
            raise ValueError("the formula and the record of its columns differ")
        return None
    needed = set(matrix.plain).union(*(e.columns.values() for e in matrix.expressions.values()))
    values = {name: typical[name] for name in sorted(needed)}
    spec = spec_again(matrix, _read(content["transforms"]), dict(content["levels"]), values)
    if list(spec.column_names) != content["names"]:
        raise ValueError("the formula makes other columns than were recorded")
    return spec


def _plain(value: Any) -> Any:
    """Plain objects for what a transformation may remember; keys of mappings may be numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return {"array": [_plain(v) for v in value.ravel()], "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {"mapping": [[_plain(k), _plain(v)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a transformation remembers {value!r}, which has no place in a model file")


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(v) for v in value]
    if isinstance(value, dict):
        if "array" in value:
            return np.array([_read(v) for v in value["array"]]).reshape(value["shape"])
        if "number" in value:
            return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value["number"]]
        return {_read(k): _read(v) for k, v in value["mapping"]}
    return value
