"""From starting values to the maximum of the Laplace approximation for crossed factors."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.fit.climb import Log, Summit
from melogit.fit.integrate import Integrator
from melogit.fit.settings import Settings
from melogit.fit.start import ATTENUATION, TOTAL_VARIANCES, Logistic, in_search_scale, standard_deviations
from melogit.fit.types import Integration, TraceRow
from melogit.likelihood import crossed as likelihood
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.crossed import LaplacePoint
from melogit.optimize import Iterate, Maximum, maximise

FloatArray = NDArray[np.float64]

# Steps of the differences of the exact gradient: for a first idea of the curvature, and (central) for the last word.
ROUGH_STEP, FINE_STEP = 1e-4, 1e-4
# Where the dense part is large, one-sided differences with so small a step: half the evaluations, for an error of about
# the step instead of its square.
ONE_SIDED_STEP = 1e-5
# Newton decrement at which to stop.
TIGHT = 1e-10


@dataclass(frozen=True, slots=True)
class Carried:
    """What an evaluation hands to the next: where it was, and its curvature by quasi-Newton updates."""

    point: LaplacePoint
    x: FloatArray
    hessian: FloatArray


def climb_crossed(crossed: Crossed, settings: Settings, logistic: Logistic, log: Log) -> Summit:
    """Maximise by quasi-Newton steps on the exact gradient, then make sure of the maximum by the exact curvature."""
    began = time.perf_counter()
    x, point = _begin(crossed, settings, logistic, log)

    def watch(k: int, it: Iterate, decrement: float, step: float) -> None:
        log(TraceRow("full", k, it.value, decrement, step, time.perf_counter() - began))

    best = maximise(
        lambda at, carried: _quasi_newton(crossed, at, carried),
        _iterate(x, point, first_hessian(crossed, x, point)),
        tolerance=TIGHT,
        max_iterations=settings.max_iterations,
        watch=watch,
    )
    carried: Carried = best.at.payload
    hessian = hessian_by_differences(crossed, best.at.x, carried.point)
    best = maximise(
        lambda at, payload: _newton(crossed, at, payload),
        Iterate(best.at.x, best.at.value, best.at.gradient, hessian, payload=carried),
        tolerance=1e-9,
        max_iterations=max(0, settings.max_iterations - best.iterations),
        watch=lambda k, *rest: watch(best.iterations + k, *rest) if k else None,
    )
    return _summit(crossed, settings, best)


def _summit(crossed: Crossed, settings: Settings, best: Maximum) -> Summit:
    carried: Carried = best.at.payload
    levels = len(crossed.levels)
    by = Integrator("laplace", (1,) * levels)
    integration = Integration("laplace", by.points, np.nan, np.nan, (), False, settings.tolerance)
    nodes = (carried.point.mode, carried.point.inverse)
    return Summit(best.at.x, best.at.value, best.at.hessian, nodes, best.ending, by, integration)


def _begin(crossed: Crossed, settings: Settings, logistic: Logistic, log: Log) -> tuple[FloatArray, LaplacePoint]:
    """The start that the settings give, or the best of a small grid over the variances."""
    u0, u1 = np.zeros((crossed.problem.groups, crossed.problem.q)), np.zeros(crossed.problem.rest)
    if settings.start is not None:
        x = in_search_scale(settings.start, crossed.to_user, crossed.covariance)
        return x, likelihood.laplace(crossed, x, u0, u1)
    began = time.perf_counter()
    deviations = standard_deviations(crossed.covariance)
    best: tuple[int, FloatArray, LaplacePoint] | None = None
    # Where every try is costly, the first is good enough.
    totals = TOTAL_VARIANCES[:1] if crossed.problem.rest >= kernel.LARGE else TOTAL_VARIANCES
    for k, total in enumerate(totals):
        if best is not None and ((k == 2 and best[0] == 0) or (k == 3 and best[0] > 0)):
            continue
        theta = np.where(deviations, np.sqrt(total / sum(crossed.covariance.sizes)), 0.0)
        x = np.concatenate([logistic.beta * np.sqrt(1 + ATTENUATION * total), theta])
        near = best[2].mode if best is not None else None
        if near is not None:
            u0, u1 = near.u0, near.u1
        point = likelihood.laplace(crossed, x, u0, u1, score=False)
        log(TraceRow("start", k, point.loglik, np.nan, total, time.perf_counter() - began))
        if point.ok and (best is None or point.loglik > best[2].loglik):
            best = (k, x, point)
    if best is None:
        x = np.concatenate([logistic.beta, np.where(deviations, 0.5, 0.0)])
        return x, likelihood.laplace(crossed, x, np.zeros_like(u0), np.zeros_like(u1))
    return best[1], _from(crossed, best[1], best[2])


def _from(crossed: Crossed, x: FloatArray, near: LaplacePoint) -> LaplacePoint:
    """Evaluate at ``x``, starting from the mode at a point nearby."""
    assert near.mode is not None
    return likelihood.laplace(crossed, x, near.mode.u0, near.mode.u1, near.mode.curvature)


def _iterate(x: FloatArray, point: LaplacePoint, hessian: FloatArray) -> Iterate:
    return Iterate(x, point.loglik, point.score, hessian, point.ok, payload=Carried(point, x, hessian))


def _quasi_newton(crossed: Crossed, x: FloatArray, carried: Carried) -> Iterate:
    """Evaluate, with the curvature by a symmetric rank-one update from the point before.

    That update, unlike the usual BFGS, copes with the negative curvature near variances of 0 (Conn, Gould & Toint 1991,
    Math. Program. 50, 177-195).
    """
    point = _from(crossed, x, carried.point)
    if not point.ok:
        return Iterate(x, -np.inf, point.score, carried.hessian, ok=False, payload=carried)
    step, change = x - carried.x, point.score - carried.point.score
    rest = change - carried.hessian @ step
    bend = float(step @ rest)
    hessian = carried.hessian
    if abs(bend) > 1e-8 * np.linalg.norm(step) * np.linalg.norm(rest):
        hessian = hessian + np.outer(rest, rest) / bend
    return _iterate(x, point, hessian)


def _newton(crossed: Crossed, x: FloatArray, carried: Carried) -> Iterate:
    point = _from(crossed, x, carried.point)
    if not point.ok:
        return Iterate(x, -np.inf, point.score, carried.hessian, ok=False, payload=carried)
    return _iterate(x, point, hessian_by_differences(crossed, x, point))


def first_hessian(crossed: Crossed, x: FloatArray, point: LaplacePoint) -> FloatArray:
    """Roughly the curvature.

    In the fixed effects that of the joint log density at its mode, which is most of it; in the variance parameters
    differences of the exact gradient.
    """
    p = crossed.p
    out = np.zeros((len(x), len(x)))
    if not point.ok or point.mode is None:
        return -np.eye(len(x))
    mode = point.mode
    X, A, weight = crossed.X, mode.curvature.A, mode.rows.weight
    for j in range(p):
        wx = weight * X[:, j]
        q0, q1 = likelihood.solve(crossed.problem, mode.curvature, *crossed.gathered(wx[:, None] * A))
        out[:p, j] = -X.T @ (wx - weight * np.einsum("ij,ij->i", A, crossed.spread(q0, q1)))
    out[:p, :p] = (out[:p, :p] + out[:p, :p].T) / 2
    for j in range(p, len(x)):
        shifted = x.copy()
        shifted[j] += ROUGH_STEP
        there = _from(crossed, shifted, point)
        if not there.ok:
            out[j, j] = -1.0
            continue
        out[j, :] = out[:, j] = (there.score - point.score) / ROUGH_STEP
    return out


def hessian_by_differences(crossed: Crossed, x: FloatArray, point: LaplacePoint) -> FloatArray:
    """Differences of the exact gradient: predictors are scaled, so one step suits all."""
    large = crossed.problem.rest >= kernel.LARGE
    step = ONE_SIDED_STEP if large else FINE_STEP
    out = np.empty((len(x), len(x)))
    for j in range(len(x)):
        shifted = x.copy()
        shifted[j] += step
        ahead = _from(crossed, shifted, point).score
        shifted[j] -= 2 * step
        behind = point.score if large else _from(crossed, shifted, point).score
        out[j] = (ahead - behind) / (step if large else 2 * step)
    return (out + out.T) / 2
