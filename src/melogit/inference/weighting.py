r"""The maximum of a likelihood in which whole top-level groups carry weights: $\sum_g w_g \ell_g(\psi)$.

A weight multiplies a group's log-likelihood, after the integral over its random effects; it is no frequency weight of
rows inside the integral. Values and scores of the groups are exact, so the maximum is; second derivatives are
differences of the exact score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.errors import BoundaryWarning, warn
from melogit.fit import messages
from melogit.fit.assemble import estimates
from melogit.fit.climb import Summit as Top
from melogit.fit.integrate import SETTLED, Grid, Integrator, Placed, carried_along, place, shift_of_nodes
from melogit.fit.types import Fit, Integration
from melogit.inference.summit import return_to
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested, arrange
from melogit.likelihood.covariance import lambdas
from melogit.optimize import Iterate, maximise

FloatArray = NDArray[np.float64]

STEP = 1e-5  # of the differences; parameters are scaled, so one suits all
NEAR = 0.05  # second derivatives are kept while no parameter moves further than this


@dataclass(frozen=True, slots=True)
class Weighting:
    """Where the search begins: the fit's own maximum, with its nodes.

    Attributes
    ----------
    design : Design
    fit : Fit
    x : (p + m,)
    by : Integrator
    placed : Placed
    """

    design: Design
    fit: Fit
    x: FloatArray
    by: Integrator
    placed: Placed


@dataclass(frozen=True, slots=True)
class _Carried:
    """What an evaluation hands to the next: nodes, and second derivatives with the place they belong to."""

    placed: Placed
    hessian: FloatArray
    at: FloatArray


def begin_weighting(design: Design, fit: Fit) -> Weighting:
    """Go back to the maximum of a fit."""
    summit = return_to(design, fit)
    return Weighting(design, fit, summit.x, summit.by, summit.placed)


def weighted_fit(begin: Weighting, weights: FloatArray, *, threads: int | None = None) -> Fit:
    """Maximise the weighted likelihood.

    Parameters
    ----------
    begin : Weighting
    weights : (G,)
        Of the top-level groups, in the design's order; all positive.
    threads : int, optional

    Returns
    -------
    Fit
        Estimates, and the inverse of the weighted information as their covariance. Effects of groups are left out
        (empty), log-likelihoods and the check of the integral are NaN.

    Warns
    -----
    BoundaryWarning

    References
    ----------
    Newton, M. A. and Raftery, A. E. (1994). Approximate Bayesian inference with the weighted likelihood bootstrap.
    J. R. Statist. Soc. B 56, 3-48.
    """
    nested = arrange(begin.design, threads=threads)
    ordered = np.empty_like(weights)
    ordered[nested.unit_of_code[0]] = weights
    none = np.full((len(begin.x), len(begin.x)), np.nan)
    first = _objective(nested, begin.by, ordered, begin.x, _Carried(begin.placed, none, np.full_like(begin.x, np.inf)))
    tolerance = 1e-8 if begin.by.method == "mvaghermite" else 1e-9
    best = maximise(lambda x, carried: _objective(nested, begin.by, ordered, x, carried), first, tolerance=tolerance)
    x = best.at.x + best.polish
    carried: _Carried = best.at.payload
    hessian = carried.hessian
    grid = place(nested, begin.by, x, carried.placed.nodes)
    if grid is not None:
        score = _evaluate(nested, begin.by, ordered, x, grid)[2]
        hessian = _hessian(nested, begin.by, ordered, x, grid, score)
    integration = Integration(
        begin.fit.integration.method, begin.fit.integration.points, np.nan, np.nan, (), False, np.nan
    )
    found = estimates(
        nested,
        begin.design,
        Top(x, best.at.value, hessian, carried.placed.nodes, best.ending, begin.by, integration),
    )
    said = []
    if found.zero:
        said.append(messages.zero_variance(found.zero))
    if found.perfect:
        said.append(messages.perfect_correlation(found.perfect))
    for text in said:
        warn(text, BoundaryWarning)
    q = [np.empty((0, len(term.names))) for term in begin.fit.terms]
    terms = tuple(
        replace(term, Sigma=L @ L.T, means=none_of, modes=none_of, std_err=none_of)
        for term, L, none_of in zip(begin.fit.terms, lambdas(nested.covariance, found.theta), q, strict=True)
    )
    return replace(
        begin.fit,
        params=found.params,
        cov=found.cov,
        theta=found.theta,
        cov_theta=found.cov_theta,
        status=found.status,
        loglik=np.nan,
        loglik_fixed_only=np.nan,
        terms=terms,
        trace=(),
        integration=integration,
        messages=tuple(said),
        seconds=np.nan,
    )


def _evaluate(
    nested: Nested, by: Integrator, weights: FloatArray, x: FloatArray, grid: Grid, *, moments: bool = False
) -> tuple[bool, float, FloatArray, likelihood.Point]:
    """Weighted log-likelihood (without its constant) and score."""
    point = likelihood.evaluate(
        nested,
        x,
        grid.rules,
        grid.nodes,
        information=False,
        moments=moments,
        moving=_moves(by),
        clusters=True,
        ranged=by.method == "trapezoid",
    )
    scores = point.evaluation.cluster_score
    assert scores is not None
    raw = weights @ scores
    score = np.concatenate([raw[: nested.p], raw[nested.p :] @ nested.covariance.basis])
    value = float(weights @ point.evaluation.cluster_loglik)
    return point.ok and bool(np.isfinite(value)) and bool(np.all(np.isfinite(score))), value, score, point


def _moves(by: Integrator) -> bool:
    """The score includes the movement of the nodes, as in the fit."""
    return by.method in ("mcaghermite", "laplace")


def _hessian(
    nested: Nested, by: Integrator, weights: FloatArray, x: FloatArray, grid: Grid, score: FloatArray
) -> FloatArray:
    """Second derivatives: at fixed nodes, as the fit's own, or with their movement where its score has it."""
    n = len(x)
    out = np.empty((n, n))
    for j in range(n):
        shifted = x.copy()
        shifted[j] += STEP
        there = place(nested, by, shifted, grid.restart) if _moves(by) else grid
        out[j] = (_evaluate(nested, by, weights, shifted, there or grid)[2] - score) / STEP
    return (out + out.T) / 2


def _objective(nested: Nested, by: Integrator, weights: FloatArray, x: FloatArray, carried: _Carried) -> Iterate:
    """What the optimiser sees: the twin of ``fit.integrate.objective``."""
    adapts = by.method == "mvaghermite"
    placed = carried.placed
    start, modes = carried_along(nested, by, x, placed) if adapts else (placed.nodes, None)
    if by.method == "trapezoid" and placed.points:
        by = replace(by, points=(*by.points[:-1], placed.points[-1]))
    grid = place(nested, by, x, start)
    n = len(x)
    if grid is None:
        return Iterate(x, -np.inf, np.zeros(n), np.zeros((n, n)), ok=False, payload=carried)
    ok, value, score, point = _evaluate(nested, by, weights, x, grid, moments=adapts)
    if not ok:
        return Iterate(x, -np.inf, np.zeros(n), np.zeros((n, n)), ok=False, payload=carried)
    nodes, shift = grid.restart, 0.0
    if adapts and point.evaluation.next_nodes is not None:
        nodes = point.evaluation.next_nodes
        shift = shift_of_nodes(grid.nodes, nodes)
    hessian, at = carried.hessian, carried.at
    if not np.max(np.abs(x - at)) < NEAR:
        hessian, at = _hessian(nested, by, weights, x, grid, score), x
    onward = _Carried(Placed(nodes, grid.points, modes=modes, shift=shift), hessian, at)
    return Iterate(x, value, score, hessian, True, shift < SETTLED, by.noise(nested.problem.n_units[-1]), onward)
