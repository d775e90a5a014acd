"""From starting values to the maximum of the Laplace approximation for crossed factors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.fit import messages
from melogit.fit.climb import Log, Summit
from melogit.fit.integrate import Integrator
from melogit.fit.posterior import crossed_effects
from melogit.fit.settings import Settings
from melogit.fit.start import ATTENUATION, Logistic, in_search_scale, standard_deviations
from melogit.fit.types import Integration, TraceRow
from melogit.likelihood import crossed as likelihood
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.covariance import lambdas
from melogit.likelihood.crossed import LaplacePoint
from melogit.optimize import Ending, Iterate, Maximum, maximise

FloatArray = NDArray[np.float64]

# Steps of the differences of the exact gradient: for a first idea of the curvature, and for the last word. Predictors
# are scaled, so one step suits all; the error of the second is below 1e-5 of the curvature.
ROUGH_STEP, FINE_STEP = 1e-4, 1e-6
# So many steps of the EM algorithm at most lead to the start, and fewer where one gains less than this.
EM_STEPS, EM_GAIN = 4, 2.0
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
    if not point.ok:
        raise ModelError(messages.no_joint_mode())

    def watch(k: int, it: Iterate, decrement: float, step: float) -> None:
        log(TraceRow("full", k, it.value, decrement, step, time.perf_counter() - began))

    best = maximise(
        lambda at, carried: quasi_newton(crossed, at, carried),
        _iterate(x, point, first_hessian(crossed, x, point)),
        tolerance=TIGHT,
        max_iterations=settings.max_iterations,
        watch=watch,
    )
    carried: Carried = best.at.payload
    hessian = hessian_by_differences(crossed, best.at.x, carried.point)
    # At a maximum the exact curvature changes hardly at all over what is left to go; elsewhere it is needed anew.
    near = best.ending is Ending.CONVERGED and np.linalg.eigvalsh(hessian)[-1] < 0
    best = maximise(
        lambda at, payload: _evaluated(
            crossed, at, payload, lambda point: hessian if near else hessian_by_differences(crossed, at, point)
        ),
        Iterate(best.at.x, best.at.value, best.at.gradient, hessian, payload=carried),
        tolerance=TIGHT,
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
    """The start that the settings give, or a few steps of the EM algorithm in the variances from a total of 1."""
    u0, u1 = np.zeros((crossed.problem.groups, crossed.problem.q)), np.zeros(crossed.problem.rest)
    if settings.start is not None:
        x = in_search_scale(settings.start, crossed.to_user, crossed.covariance)
        return x, likelihood.laplace(crossed, x, u0, u1)
    began = time.perf_counter()
    deviations = standard_deviations(crossed.covariance)
    theta = np.where(deviations, np.sqrt(1.0 / sum(crossed.covariance.sizes)), 0.0)
    x = np.concatenate([logistic.beta * np.sqrt(1 + ATTENUATION), theta])
    point = likelihood.laplace(crossed, x, u0, u1)
    log(TraceRow("start", 0, point.loglik, np.nan, 0.0, time.perf_counter() - began))
    for k in range(1, EM_STEPS + 1):
        if not point.ok:
            break
        moved = np.concatenate([x[: crossed.p], _em_step(crossed, x, point)])
        there = _from(crossed, moved, point)
        log(TraceRow("start", k, there.loglik, np.nan, float(np.linalg.norm(moved - x)), time.perf_counter() - began))
        gain = there.loglik - point.loglik
        if not there.ok or gain <= 0:
            break
        x, point = moved, there
        if gain < EM_GAIN:
            break
    return x, point


def _em_step(crossed: Crossed, x: FloatArray, point: LaplacePoint) -> FloatArray:
    """Scale every row of Lambda so that the variances become the mean squares of the posterior of the effects.

    With much data per group that is nearly the answer. Rows of a block that shares its variance are scaled alike.
    """
    assert point.mode is not None and point.inverse is not None
    means, covs = crossed_effects(crossed, point.mode, point.inverse)
    theta = x[crossed.p :].copy()
    factors = []
    for level, L in enumerate(lambdas(crossed.covariance, theta)):
        u, V = means[level], covs[level]
        second = (u.T @ u + V.sum(axis=0)) / len(u)
        factors.append(np.sqrt(np.diag(L @ second @ L.T) / np.maximum(np.diag(L @ L.T), 1e-300)))
    for t in range(crossed.m):
        mine = crossed.covariance.entries[np.flatnonzero(crossed.covariance.basis[:, t])]
        theta[t] *= np.mean([factors[level][i] for level, i, _ in mine])
    return theta


def _from(crossed: Crossed, x: FloatArray, near: LaplacePoint) -> LaplacePoint:
    """Evaluate at ``x``, starting from the mode at a point nearby."""
    assert near.mode is not None
    return likelihood.laplace(crossed, x, near.mode.u0, near.mode.u1, near.mode.curvature)


def _iterate(x: FloatArray, point: LaplacePoint, hessian: FloatArray) -> Iterate:
    return Iterate(x, point.loglik, point.score, hessian, point.ok, payload=Carried(point, x, hessian))


def quasi_newton(crossed: Crossed, x: FloatArray, carried: Carried) -> Iterate:
    """Evaluate, with the curvature learnt from the change since the point before."""

    def learnt(point: LaplacePoint) -> FloatArray:
        return rank_one(carried.hessian, x - carried.x, point.score - carried.point.score)

    return _evaluated(crossed, x, carried, learnt)


def _evaluated(
    crossed: Crossed, x: FloatArray, carried: Carried, curvature: Callable[[LaplacePoint], FloatArray]
) -> Iterate:
    point = _from(crossed, x, carried.point)
    if not point.ok:
        return Iterate(x, -np.inf, point.score, carried.hessian, ok=False, payload=carried)
    return _iterate(x, point, curvature(point))


def rank_one(hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """Symmetric rank-one update of a Hessian from a step and the change of the gradient that it brought.

    Unlike the usual BFGS it copes with the negative curvature near variances of 0 (Conn, Gould & Toint 1991, Math.
    Program. 50, 177-195).
    """
    rest = change - hessian @ step
    bend, surprise = float(step @ rest), np.linalg.norm(rest)
    # Where the prediction was good there is little to learn, and the update would be mostly noise.
    if surprise <= 0.05 * np.linalg.norm(change) or abs(bend) <= 1e-2 * np.linalg.norm(step) * surprise:
        return hessian
    return hessian + np.outer(rest, rest) / bend


def first_hessian(crossed: Crossed, x: FloatArray, point: LaplacePoint) -> FloatArray:
    """Roughly the curvature.

    In the fixed effects that of the joint log density at its mode, which is most of it; in the variance parameters
    differences of the exact gradient.
    """
    p = crossed.p
    out = np.zeros((len(x), len(x)))
    mode = point.mode
    assert mode is not None
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
    """Differences of the exact gradient."""
    out = np.empty((len(x), len(x)))
    for j in range(len(x)):
        shifted = x.copy()
        shifted[j] += FINE_STEP
        out[j] = (_from(crossed, shifted, point).score - point.score) / FINE_STEP
    return (out + out.T) / 2
