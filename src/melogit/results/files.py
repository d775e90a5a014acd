"""Results to a file and back, with what predictions need."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from melogit.effects.posterior import Level, Posterior, find_posterior
from melogit.fit.types import Fit
from melogit.formula.stored import recipe_as_plain, recipe_from_plain
from melogit.results.results import Results
from melogit.storage import array, load_sections, read_array, read_further, save_fit

# Beyond this the posterior of the groups is left out: it takes passes over the data to compute, and disk to hold.
MAX_POSTERIOR = 2_000_000
MAX_ROWS = 2_000_000


def save_results(results: Results, path: str | os.PathLike[str]) -> None:
    """Write a model: estimates, how new data are read, and the posterior of its groups."""
    further: dict[str, dict[str, Any]] = {}
    if results.recipe is not None:
        further["recipe"] = recipe_as_plain(results.recipe)
    posterior = _posterior(results)
    if posterior is not None:
        further["posterior"] = {"levels": [_as_plain(level) for level in posterior]}
    save_fit(results.fit, results.level, path, further)


def load_results(path: str | os.PathLike[str]) -> Results:
    """Read what ``save_results`` wrote."""
    fit, level, further = load_sections(path)
    recipe = posterior = None
    if "recipe" in further:
        recipe = read_further(path, "recipe", lambda: recipe_from_plain(further["recipe"]))
    if "posterior" in further:
        posterior = read_further(path, "posterior", lambda: _from_plain(further["posterior"]["levels"], fit))
    return Results(fit, None, level, recipe=recipe, posterior=posterior)


def _posterior(results: Results) -> Posterior | None:
    fit, design = results.fit, results.design
    if results.posterior is not None or design is None:
        return results.posterior
    size = sum(term.means.size * len(fit.names) for term in fit.terms)
    if size > MAX_POSTERIOR or design.n_rows > MAX_ROWS or not np.isfinite(fit.params[: fit.n_fixed]).all():
        return None
    return find_posterior(design, fit)


def _as_plain(level: Level) -> dict[str, Any]:
    arrays = {name: array(getattr(level, name)) for name in ("mean", "mode", "K", "C", "Lambda")}
    return {
        **arrays,
        "parent": [int(group) for group in level.parent],
        "slope": None if level.slope is None else array(level.slope),
    }


def _from_plain(levels: list[dict[str, Any]], fit: Fit) -> Posterior:
    out, above = [], 0
    for content, term in zip(levels, fit.terms, strict=True):
        G, q = term.means.shape
        parent = np.array(content["parent"], dtype=np.int64)
        if parent.shape != (G,):
            raise ValueError(f"{len(parent)} groups in place of {G}")
        slope = content["slope"]
        out.append(
            Level(
                read_array(content["mean"], G, q),
                read_array(content["mode"], G, q),
                read_array(content["K"], G, q, above),
                read_array(content["C"], G, q, q),
                read_array(content["Lambda"], q, q),
                parent,
                None if slope is None else read_array(slope, G, q, len(fit.names)),
            )
        )
        above += q
    return tuple(out)
