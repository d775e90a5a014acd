"""From starting values to the maximum, by one method or by raising the points until nothing moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.errors import ModelError
from melogit.fit import messages
from melogit.fit.integrate import (
    Integrator,
    Placed,
    evaluate_on,
    objective,
    place,
    settle,
)
from melogit.fit.settings import MAX_PATHS, Settings
from melogit.fit.start import Logistic, given_start, starting_point
from melogit.fit.types import Integration, TraceRow
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.covariance import reported_variances
from melogit.optimize import Ending, Maximum, maximise

FloatArray = NDArray[np.float64]
Log = Callable[[TraceRow], None]

# With several random effects per row, so many first steps are taken with so many points per dimension.
FIRST_POINTS, FIRST_STEPS = 3, 5
# "auto" takes at most so many steps with few points before it goes over to a better rule.
NEAR_STEPS = 8
# Newton decrement at which mean-variance nodes end: their adaptation, not Newton's method, sets the last digits.
SETTLED_DECREMENT = 1e-8
# Newton decrement at which "auto" ends: so small that different paths to the maximum give the same digits.
TIGHT = 1e-12
# Closer than this (relative to what the integrand needs) the trapezoidal rule gains nothing.
LEAST_SPACING = 0.3
# Rungs that "auto" climbs where the trapezoidal rule does not apply.
LADDER = (7, 11, 17, 25, 37, 55, 81, 121)
# The check of a rule uses twice its points; in several dimensions fewer, so that it takes at most this many times the
# node paths of the rule itself (or this many in all).
CHECK_FACTOR, CHECK_PATHS = 5, 1000


@dataclass(frozen=True, slots=True)
class Summit:
    """A maximum, in the scale in which it was sought.

    Attributes
    ----------
    x : (p + m,)
    loglik : float
    hessian : (p + m, p + m)
    nodes : placement to start from at ``x`` (modes, or settled nodes of ``mvaghermite``); of crossed factors, the
        joint mode and the inverse curvature there
    """

    x: FloatArray
    loglik: float
    hessian: FloatArray
    nodes: Any
    ending: Ending
    by: Integrator
    integration: Integration


def paths_per_row(nested: Nested, points: tuple[int, ...]) -> float:
    """Node paths that every row is evaluated at."""
    return float(np.prod([float(k) ** q for k, q in zip(points, nested.problem.n_effects, strict=True)]))


def climb(nested: Nested, settings: Settings, logistic: Logistic, log: Log) -> Summit:
    """Fit by the method and points that the settings ask for."""
    levels = len(nested.problem.n_units)
    points = settings.points(levels)
    if points is not None:
        method = settings.method or "mvaghermite"
        if method == "mvaghermite" and max(points) == 1:
            method = "laplace"  # one node at the mode: the same thing
        if paths_per_row(nested, points) > MAX_PATHS:
            raise ModelError(messages.too_many_paths(points, nested.problem.n_effects, MAX_PATHS))
        by = Integrator(method, points)
        x, placed = _near(nested, by, settings, logistic, log)
        return _finish(nested, by, _maximum(nested, by, x, placed, settings, log), settings, automatic=False)
    if settings.method in ("mvaghermite", "ghermite", "mcaghermite"):
        return _raise_points(nested, settings, logistic, log, settings.method)
    if nested.problem.n_effects[-1] == 1 and paths_per_row(nested, (LADDER[0],) * levels) <= MAX_PATHS / 10:
        return _by_trapezoid(nested, settings, logistic, log)
    if paths_per_row(nested, (LADDER[0],) * levels) > MAX_PATHS:
        by = Integrator("laplace", (1,) * levels)
        x, placed = _near(nested, by, settings, logistic, log)
        return _finish(nested, by, _maximum(nested, by, x, placed, settings, log), settings, automatic=True)
    return _climb_ladder(nested, settings, logistic, log)


def _near(
    nested: Nested, by: Integrator, settings: Settings, logistic: Logistic, log: Log
) -> tuple[FloatArray, Placed]:
    """Come near the maximum with few points where those of the rule itself are many."""
    if settings.start is not None:
        return given_start(nested, settings.start)
    coarse = Integrator("curvature", tuple(min(k, FIRST_POINTS) for k in by.points))
    if paths_per_row(nested, by.points) < 8 * paths_per_row(nested, coarse.points) or by.method == "ghermite":
        return starting_point(nested, by, logistic, log)
    x, placed = starting_point(nested, coarse, logistic, log)
    few = replace(settings, max_iterations=min(FIRST_STEPS, settings.max_iterations))
    rough = _maximum(nested, coarse, x, placed, few, log, tolerance=1.0, stage="start")
    return rough.at.x, Placed(rough.at.payload.nodes)


def _maximum(
    nested: Nested,
    by: Integrator,
    x: FloatArray,
    placed: Placed,
    settings: Settings,
    log: Log,
    tolerance: float | None = None,
    stage: str = "full",
) -> Maximum:
    began = time.perf_counter()
    if tolerance is None:
        tolerance = SETTLED_DECREMENT if by.method == "mvaghermite" else 1e-9
    if by.method == "mvaghermite":
        modes = placed.nodes
        placed = Placed(settle(nested, by, x, modes, rounds=1), modes=modes)
    first = objective(nested, by, x, placed)

    def watch(k: int, it, decrement: float, step: float) -> None:
        log(TraceRow(stage, k, it.value, decrement, step, time.perf_counter() - began))

    return maximise(
        lambda at, payload: objective(nested, by, at, payload),
        first,
        tolerance=tolerance,
        max_iterations=settings.max_iterations,
        watch=watch,
    )


def _raise_points(nested: Nested, settings: Settings, logistic: Logistic, log: Log, method: str) -> Summit:
    levels = len(nested.problem.n_units)
    rungs = [k for k in LADDER if paths_per_row(nested, (k,) * levels) <= MAX_PATHS]
    x, placed, summit = None, None, None
    for k in rungs:
        by = Integrator(method, (k,) * levels)
        if x is None or placed is None:
            x, placed = _near(nested, by, settings, logistic, log)
        best = _maximum(nested, by, x, placed, settings, log)
        summit = _finish(nested, by, best, settings, automatic=True)
        if summit.integration.accurate or best.ending is not Ending.CONVERGED:
            break
        x, placed = summit.x, Placed(summit.nodes)
    assert summit is not None
    return summit


def _climb_ladder(nested: Nested, settings: Settings, logistic: Logistic, log: Log) -> Summit:
    """Nodes at mode and curvature: one Newton step per rung until a rung changes nothing, then to the top.

    The lowest level climbs first: its groups have the fewest rows, so their integrands are the least Gaussian. The
    levels above follow only where the final check fails.
    """
    levels = len(nested.problem.n_units)
    by = Integrator("curvature", (LADDER[0],) * levels)
    x, placed = _near(nested, by, settings, logistic, log)
    few = replace(settings, max_iterations=min(NEAR_STEPS, settings.max_iterations))
    best = _maximum(nested, by, x, placed, few, log, tolerance=1e-2)
    here, step, errors = best.at, best.polish, (np.inf, np.inf)
    upper, lowest, summit = 0, 1, None
    while max(upper, lowest) < len(LADDER):
        rung = Integrator("curvature", (*(LADDER[upper],) * (levels - 1), LADDER[lowest]))
        if paths_per_row(nested, rung.points) > MAX_PATHS:
            break
        there = objective(nested, rung, here.x + step, here.payload)
        if not there.ok:
            break
        by = rung
        change = there.value - (here.value + here.gradient @ step + 0.5 * step @ here.hessian @ step)
        step = -np.linalg.lstsq(there.hessian, there.gradient, rcond=None)[0]
        moved = largest_shift(nested, there.x, there.hessian, there.gradient)
        # The error falls about geometrically: what is left at this rung is the last change times its own ratio.
        left = [new * min(1.0, new / old) for new, old in zip((abs(change), moved), errors, strict=True)]
        here, errors, lowest = there, (max(abs(change), 1e-300), max(moved, 1e-300)), lowest + 1
        if max(left) < settings.tolerance / 2:
            best = _maximum(nested, by, here.x, here.payload, settings, log, tolerance=1e-8)
            summit = _finish(nested, by, best, settings, automatic=True)
            if summit.integration.accurate or best.ending is not Ending.CONVERGED:
                return summit
            here, step, errors, upper = best.at, best.polish, (np.inf, np.inf), upper + 1
    if summit is not None and summit.by == by:
        return summit
    return _finish(nested, by, _maximum(nested, by, here.x, here.payload, settings, log), settings, automatic=True)


def _by_trapezoid(nested: Nested, settings: Settings, logistic: Logistic, log: Log) -> Summit:
    """Come near with few Gauss-Hermite points, finish with the trapezoidal rule at the lowest level.

    For one random effect per group there. Where the check fails, the levels above get more points and the lowest
    closer ones.
    """
    levels = len(nested.problem.n_units)
    near = Integrator("curvature", (LADDER[0],) * levels)
    x, placed = _near(nested, near, settings, logistic, log)
    few = replace(settings, max_iterations=min(NEAR_STEPS, settings.max_iterations))
    rough = _maximum(nested, near, x, placed, few, log, tolerance=1e-2)
    x, placed = rough.at.x + rough.polish, Placed(rough.at.payload.nodes)
    summit = None
    for upper in LADDER if levels > 1 else LADDER[:3]:
        spacing = likelihood.TRAPEZOID_SPACING * LADDER[0] / upper
        by = Integrator("trapezoid", (*(upper,) * (levels - 1), 0), max(spacing, LEAST_SPACING))
        best = _maximum(nested, by, x, placed, settings, log, tolerance=TIGHT)
        summit = _finish(nested, by, best, settings, automatic=True)
        x, placed = summit.x, Placed(summit.nodes)
        if summit.integration.accurate or best.ending is not Ending.CONVERGED:
            break
        cost = paths_per_row(nested, (*(2 * upper,) * (levels - 1), 2 * summit.integration.points[-1]))
        if cost > CHECK_FACTOR * MAX_PATHS:
            break
    assert summit is not None
    return summit


def _finish(nested: Nested, by: Integrator, best: Maximum, settings: Settings, *, automatic: bool) -> Summit:
    """Take the last, tiny Newton step; make the Hessian exact where it was not; check the integral."""
    nodes = best.at.payload.nodes if isinstance(best.at.payload, Placed) else kernel.new_nodes(nested.problem)
    # A search that took no step at all leaves no points.
    points = (best.at.payload.points if isinstance(best.at.payload, Placed) else ()) or by.points
    x = best.at.x + best.polish if best.ending is Ending.CONVERGED else best.at.x
    loglik = best.at.value + (0.5 * best.decrement if best.ending is Ending.CONVERGED else 0.0)
    hessian = best.at.hessian
    if by.method == "trapezoid":
        by = replace(by, points=points)
    if settings.lean and not automatic:
        integration = Integration(by.shown, points, np.nan, np.nan, (), False, settings.tolerance)
    else:
        integration = certify(nested, by, points, x, loglik, hessian, nodes, settings.tolerance, automatic)
    return Summit(x, loglik, hessian, nodes, best.ending, by, integration)


def certify(
    nested: Nested,
    by: Integrator,
    points: tuple[int, ...],
    x: FloatArray,
    loglik: float,
    hessian: FloatArray,
    nodes: kernel.Nodes,
    tolerance: float,
    automatic: bool,
) -> Integration:
    """How far the answer moves on going to about twice the points.

    The move of a parameter is that of one Newton step from the score at the finer rule; the log-likelihood is
    compared at the same parameters.
    """
    finer = _finer(nested, by, points)
    error, shift, check_points = np.nan, np.nan, ()
    if finer is not None:
        start = nodes
        if finer.method == "mvaghermite":
            start = settle(nested, finer, x, nodes, rounds=1, tolerance=1e-3)
        grid = place(nested, finer, x, start)
        point = None if grid is None else evaluate_on(nested, finer, x, grid, information=False)
        if grid is not None and point is not None and point.ok:
            check_points = grid.points
            error = point.loglik - loglik
            shift = largest_shift(nested, x, hessian, point.score)
    return Integration(by.shown, points, float(error), float(shift), check_points, automatic, tolerance)


def _finer(nested: Nested, by: Integrator, points: tuple[int, ...]) -> Integrator | None:
    if by.method == "trapezoid":
        return Integrator("trapezoid", (*(2 * k + 1 for k in points[:-1]), 0), by.spacing / 2)
    method = {"laplace": "curvature", "mcaghermite": "curvature"}.get(by.method, by.method)
    wanted = tuple(2 * k + 1 if k > 1 else 7 for k in points)
    least = tuple(k + 2 for k in points)
    most = max(CHECK_PATHS, CHECK_FACTOR * paths_per_row(nested, points))
    while paths_per_row(nested, wanted) > most and wanted != least:
        wanted = tuple(max(low, w - 2) for low, w in zip(least, wanted, strict=True))
    if paths_per_row(nested, wanted) > CHECK_FACTOR * MAX_PATHS:
        return None
    return Integrator(method, wanted)


def largest_shift(nested: Nested, x: FloatArray, hessian: FloatArray, score: FloatArray) -> float:
    """Largest Newton move of a reported parameter, in its standard errors, that ``score`` asks for."""
    return float(np.max(np.abs(newton_moves(nested, x, hessian, score)), initial=0.0))


def newton_moves(arranged: Nested | Crossed, x: FloatArray, hessian: FloatArray, score: FloatArray) -> FloatArray:
    """Newton moves of the reported parameters that have a standard error, in standard errors."""
    information = -hessian
    eigen, basis = np.linalg.eigh(information)
    keep = eigen > 1e-10 * max(float(eigen[-1]), 1e-300)
    inverse = (basis[:, keep] / eigen[keep]) @ basis[:, keep].T
    p = arranged.p
    jacobian = arranged.to_user.copy()
    user = arranged.to_user @ x
    jacobian[p:, p:] = reported_variances(arranged.covariance, user[p:])[1] @ jacobian[p:, p:]
    se = np.sqrt(np.maximum(np.diag(jacobian @ inverse @ jacobian.T), 0.0))
    move = jacobian @ (inverse @ score)
    free = se > 1e-12 * np.maximum(np.abs(np.concatenate([user[:p], np.ones(arranged.m)])), 1e-300)
    return move[free] / se[free]
