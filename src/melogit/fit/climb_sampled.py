"""Crossed factors beyond Laplace: how far its answer is from the exact one, and the maximum of the exact likelihood."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.fit import messages
from melogit.fit.climb import Log, Summit, newton_moves
from melogit.fit.climb_crossed import rank_one
from melogit.fit.settings import Settings
from melogit.fit.types import Integration, TraceRow
from melogit.likelihood import crossed as laplace
from melogit.likelihood import sampled as likelihood
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.sampled import CUBES, Centre, Sample, Sampler
from melogit.optimize import Ending, Iterate, maximise

FloatArray = NDArray[np.float64]

# The numbers are drawn from this seed: the same data give the same answer.
SEED = 20_260_101
# Draws per hypercube: for the certificate; for the maximum from the first to the most.
CHECK_POINTS, FIRST_POINTS, MOST_POINTS = 4, 32, 1024
# Log-likelihood evaluations of a row that a certificate may cost.
CHECK_BUDGET = 3e8
# The maximum is good enough when its Monte Carlo error is below so many standard errors and units of log-likelihood.
NOISE = 0.02
# Newton decrement at which to stop, for one set of draws; step of the differences for the curvature.
SETTLED, STEP = 1e-7, 1e-3


@dataclass(frozen=True, slots=True)
class Carried:
    """What an evaluation hands to the next."""

    mode: laplace.Mode
    centre: Centre
    sample: Sample
    x: FloatArray
    hessian: FloatArray


def certify_crossed(crossed: Crossed, summit: Summit, settings: Settings) -> Integration:
    """Compare a Laplace fit with the sampled likelihood: difference at the estimates, and Newton step from there."""
    known = summit.integration
    if likelihood.nodes(crossed) == 1:  # no quadrature for the largest factor, so nothing exact to compare with
        return known
    mode: laplace.Mode = summit.nodes[0]
    points = CHECK_POINTS
    while points > 1 and CUBES * points * crossed.problem.n_rows * likelihood.nodes(crossed) > CHECK_BUDGET:
        points //= 2
    draws = likelihood.sampler(crossed, points, SEED)
    found = _evaluate(crossed, draws, summit.x, mode, None)
    if found is None:
        return known
    sample = found[2]
    error = sample.loglik - summit.loglik
    shift, noise = _largest_move(crossed, summit.x, summit.hessian, sample)
    return replace(
        known,
        loglik_error=error,
        max_shift_in_se=shift,
        loglik_noise=sample.error,
        shift_noise=noise,
        draws=CUBES * points,
        effective=sample.effective,
    )


def climb_sampled(crossed: Crossed, settings: Settings, summit: Summit, log: Log) -> Summit:
    """From the maximum of the Laplace approximation to that of the sampled likelihood.

    The same numbers are drawn at all parameters; their count is doubled until the answer hardly depends on them.
    """
    began = time.perf_counter()
    if likelihood.nodes(crossed) == 1:
        raise ModelError(messages.too_many_to_simulate(crossed.problem.q))
    points, near = FIRST_POINTS, (summit.nodes[0], None)
    x, hessian = summit.x, summit.hessian

    def watch(k: int, it: Iterate, decrement: float, step: float) -> None:
        log(TraceRow("sampled", k, it.value, decrement, step, time.perf_counter() - began))

    while True:
        draws = likelihood.sampler(crossed, points, SEED)
        first = _iterate(crossed, draws, x, hessian, *near)
        best = maximise(
            lambda at, carried, draws=draws: _next(crossed, draws, at, carried),
            first,
            tolerance=SETTLED,
            max_iterations=settings.max_iterations,
            watch=watch,
        )
        carried: Carried | None = best.at.payload
        if carried is None:
            return replace(summit, ending=best.ending)
        x, hessian, near = best.at.x, best.at.hessian, (carried.mode, carried.centre)
        noise = _noises(crossed, x, hessian, carried.sample)
        enough = max(noise.max(initial=0.0), carried.sample.error) < NOISE
        if enough or points >= MOST_POINTS or best.ending is not Ending.CONVERGED:
            break
        points *= 2
    hessian = _hessian(crossed, draws, x, carried)
    _, _, inverse = laplace.invert(crossed, carried.mode)
    integration = _accuracy(crossed, x, hessian, carried.sample, CUBES * points)
    by = replace(summit.by, method="simulated")
    return Summit(x, best.at.value, hessian, (carried.mode, inverse), best.ending, by, integration)


def _accuracy(crossed: Crossed, x: FloatArray, hessian: FloatArray, sample: Sample, draws: int) -> Integration:
    """The errors of the method are its Monte Carlo errors."""
    noise = float(_noises(crossed, x, hessian, sample).max(initial=0.0))
    return Integration(
        "simulated",
        (),
        sample.error,
        noise,
        (),
        False,
        NOISE,
        loglik_noise=sample.error,
        shift_noise=noise,
        draws=draws,
        effective=sample.effective,
    )


def _evaluate(
    crossed: Crossed, draws: Sampler, x: FloatArray, near: laplace.Mode, centre: Centre | None
) -> tuple[laplace.Mode, Centre, Sample] | None:
    mode = laplace.find_mode(crossed, x, near.u0, near.u1, near.curvature)
    if mode is None:
        return None
    at = likelihood.centre(crossed, x, mode, centre)
    found = None if at is None else likelihood.sample(crossed, draws, x, mode, at)
    return None if at is None or found is None else (mode, at, found)


def _iterate(
    crossed: Crossed,
    draws: Sampler,
    x: FloatArray,
    hessian: FloatArray,
    near: laplace.Mode,
    centre: Centre | None,
    last: Carried | None = None,
) -> Iterate:
    found = _evaluate(crossed, draws, x, near, centre)
    if found is None or not np.isfinite(found[2].loglik):
        return Iterate(x, -np.inf, np.zeros_like(x), hessian, ok=False, payload=last)
    mode, at, sample = found
    if last is not None:
        hessian = rank_one(hessian, x - last.x, sample.score - last.sample.score)
    # The value moves with the draws' places, the score does not: they agree within the error of either.
    carried = Carried(mode, at, sample, x, hessian)
    return Iterate(x, sample.loglik, sample.score, hessian, noise=3 * sample.error, payload=carried)


def _next(crossed: Crossed, draws: Sampler, x: FloatArray, last: Carried) -> Iterate:
    """Evaluate, with the curvature learnt from the change since the point before."""
    return _iterate(crossed, draws, x, last.hessian, last.mode, last.centre, last)


def _hessian(crossed: Crossed, draws: Sampler, x: FloatArray, carried: Carried) -> FloatArray:
    """Central differences of the score, with the same draws."""
    out = np.full((len(x), len(x)), np.nan)
    for j in range(len(x)):
        ends = []
        for sign in (1.0, -1.0):
            shifted = x.copy()
            shifted[j] += sign * STEP
            found = _evaluate(crossed, draws, shifted, carried.mode, carried.centre)
            ends.append(np.full(len(x), np.nan) if found is None else found[2].score)
        out[j] = (ends[0] - ends[1]) / (2 * STEP)
    return (out + out.T) / 2


def _noises(crossed: Crossed, x: FloatArray, hessian: FloatArray, sample: Sample) -> FloatArray:
    """Monte Carlo error of every estimate in its standard errors: spread of the hypercubes' Newton moves."""
    moves = np.array([newton_moves(crossed, x, hessian, score) for score in sample.scores])
    return moves.std(axis=0, ddof=1) / np.sqrt(len(moves))


def _largest_move(crossed: Crossed, x: FloatArray, hessian: FloatArray, sample: Sample) -> tuple[float, float]:
    """Largest Newton move of an estimate in its standard errors, and the Monte Carlo error of that move."""
    moves = np.abs(newton_moves(crossed, x, hessian, sample.score))
    worst = int(np.argmax(moves)) if len(moves) else 0
    return float(moves[worst]), float(_noises(crossed, x, hessian, sample)[worst])
