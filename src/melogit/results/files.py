"""Results to a file and back, with what predictions need."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from melogit.effects.joint import Joint
from melogit.effects.levels import Level, Posterior
from melogit.effects.posterior import find_posterior
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
        if posterior.joint is not None:
            further["posterior"]["joint"] = _joint_as_plain(posterior.joint)
    save_fit(results.fit, results.level, path, further)


def load_results(path: str | os.PathLike[str]) -> Results:
    """Read what ``save_results`` wrote."""
    fit, level, further = load_sections(path)
    recipe = posterior = None
    if "recipe" in further:
        recipe = read_further(path, "recipe", lambda: recipe_from_plain(further["recipe"]))
    if "posterior" in further:
        posterior = read_further(path, "posterior", lambda: _from_plain(further["posterior"], fit))
    return Results(fit, None, level, recipe=recipe, posterior=posterior)


def _posterior(results: Results) -> Posterior | None:
    fit, design = results.fit, results.design
    if results.posterior is not None or design is None:
        return results.posterior
    size = sum(term.means.size * len(fit.names) for term in fit.terms)
    if size > MAX_POSTERIOR or design.n_rows > MAX_ROWS or not np.isfinite(fit.params[: fit.n_fixed]).all():
        return None
    if not design.nested:
        effects = sorted(term.means.size for term in fit.terms)
        if sum(effects[:-1]) ** 2 > MAX_POSTERIOR:
            return None
    return find_posterior(design, fit)


def _as_plain(level: Level) -> dict[str, Any]:
    arrays = {name: array(getattr(level, name)) for name in ("mean", "mode", "K", "C", "Lambda")}
    return {
        **arrays,
        "parent": [int(group) for group in level.parent],
        "slope": None if level.slope is None else array(level.slope),
    }


def _joint_as_plain(joint: Joint) -> dict[str, Any]:
    T = joint.T.tocoo()
    return {
        "eliminated": joint.eliminated,
        "unit": joint.unit.tolist(),
        "L": array(joint.L),
        "T": {"rows": T.row.tolist(), "columns": T.col.tolist(), "values": array(T.data)},
        "root": array(joint.root[np.tril_indices(len(joint.root))]),
        "places": [place.tolist() for place in joint.places],
    }


def _from_plain(content: dict[str, Any], fit: Fit) -> Posterior:
    joint = None if "joint" not in content else _joint_from_plain(content["joint"], fit)
    out, above = [], 0
    for level, term in zip(content["levels"], fit.terms, strict=True):
        G, q = term.means.shape
        parent = np.array(level["parent"], dtype=np.int64)
        if parent.shape != (G,):
            raise ValueError(f"{len(parent)} groups in place of {G}")
        slope = level["slope"]
        out.append(
            Level(
                read_array(level["mean"], G, q),
                read_array(level["mode"], G, q),
                read_array(level["K"], G, q, above),
                read_array(level["C"], G, q, q),
                read_array(level["Lambda"], q, q),
                parent,
                None if slope is None else read_array(slope, G, q, len(fit.names)),
            )
        )
        above += q if joint is None else 0
    return Posterior(tuple(out), joint)


def _joint_from_plain(content: dict[str, Any], fit: Fit) -> Joint:
    shapes = [term.means.shape for term in fit.terms]
    eliminated = int(content["eliminated"])
    G, q = shapes[eliminated]
    rest = sum(g * k for g, k in shapes) - G * q
    root = np.zeros((rest, rest))
    root[np.tril_indices(rest)] = read_array(content["root"], rest * (rest + 1) // 2)
    rows, columns = (np.array(content["T"][name], dtype=np.int64) for name in ("rows", "columns"))
    T = csr_array((read_array(content["T"]["values"], len(rows)), (rows, columns)), shape=(G * q, rest))
    places = [
        np.array(place, dtype=np.int64).reshape(-1, k) for place, (_, k) in zip(content["places"], shapes, strict=True)
    ]
    unit = np.array(content["unit"], dtype=np.int64)
    if sorted(unit) != list(range(G)) or sorted(np.concatenate([p.ravel() for p in places])) != list(range(rest)):
        raise ValueError("the joint posterior does not cover the groups")
    return Joint(eliminated, unit, read_array(content["L"], G, q, q), T, root, tuple(places))
