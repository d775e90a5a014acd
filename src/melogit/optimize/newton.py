"""Newton's method made safe by a trust region, for functions whose Hessian is known and may be indefinite."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Ending(enum.Enum):
    """Why the iterations ended."""

    CONVERGED = enum.auto()
    MAX_ITERATIONS = enum.auto()
    STALLED = enum.auto()
    NOT_FINITE = enum.auto()


@dataclass(frozen=True, slots=True)
class Iterate:
    """The objective at one point.

    Attributes
    ----------
    x, gradient : (n,)
    hessian : (n, n)
    value : float
    ok : bool
        The value is a finite number.
    settled : bool
        The approximation behind the value has settled; where not, the point is evaluated again before the end.
    noise : float
        By how much ``value`` may disagree with ``gradient`` (an approximated objective).
    payload : Any
        Passed on to the evaluation at the next point.
    """

    x: FloatArray
    value: float
    gradient: FloatArray
    hessian: FloatArray
    ok: bool = True
    settled: bool = True
    noise: float = 0.0
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Maximum:
    """Where ``maximise`` ended.

    ``decrement`` is g' |H|^-1 g there; ``polish`` the last Newton step, not taken, which leads closer still.
    """

    at: Iterate
    ending: Ending
    decrement: float
    polish: FloatArray
    iterations: int


def maximise(
    objective: Callable[[FloatArray, Any], Iterate],
    start: Iterate,
    *,
    tolerance: float = 1e-9,
    max_iterations: int = 100,
    radius: float = 2.0,
    watch: Callable[[int, Iterate, float, float], None] | None = None,
) -> Maximum:
    """Climb to a local maximum.

    Each iteration diagonalises the Hessian, steps by Newton with negative curvature turned round, no further than the
    trust radius, and accepts the step if the value rises as it should, or, within the noise of the value, if the
    decrement falls. Where the gradient vanishes but the curvature does not bend down (a saddle), it steps along that
    direction.

    Parameters
    ----------
    objective : callable
        (x, payload of the last accepted iterate) -> Iterate.
    tolerance : float
        Stop when the Newton decrement is below it, the Hessian bends down everywhere and the iterate has settled.
    watch : callable, optional
        Called with (iteration, iterate, decrement, length of the step that led there).
    """
    here = start
    step_length = 0.0
    stalls = 0
    polish = np.zeros_like(here.x)
    decrement = np.inf
    for iteration in range(max_iterations + 1):
        eigen, basis = np.linalg.eigh(-here.hessian)
        along = basis.T @ here.gradient
        size = np.maximum(np.abs(eigen), 1e-14 * max(float(np.max(np.abs(eigen))), 1e-300))
        decrement = float(np.sum(along**2 / size))
        if watch is not None:
            watch(iteration, here, decrement, step_length)
        saddle = eigen[0] < -1e-7 * abs(eigen[-1])
        if decrement < tolerance and not saddle:
            polish = basis @ (along / size)
            if here.settled:
                return Maximum(here, Ending.CONVERGED, decrement, polish, iteration)
            again = objective(here.x + polish, here.payload)
            if not again.ok:
                return Maximum(here, Ending.NOT_FINITE, decrement, polish, iteration)
            here, step_length = again, float(np.linalg.norm(polish))
            continue
        if iteration == max_iterations:
            break
        step = _step(eigen, basis, along, radius, saddle and decrement < tolerance)
        while True:
            there = objective(here.x + step, here.payload)
            verdict = _verdict(here, there, step, decrement)
            length = float(np.linalg.norm(step))
            if verdict > 0:
                if verdict > 1 and length > 0.8 * radius:
                    radius *= 2.0
                elif verdict < 1:
                    radius = max(0.5 * length, 1e-12)
                here, step_length, stalls = there, length, 0
                break
            stalls += 1
            radius = 0.25 * length
            if stalls > 30 or radius < 1e-10:
                ending = Ending.STALLED if there.ok else Ending.NOT_FINITE
                return Maximum(here, ending, decrement, polish, iteration)
            step = _step(eigen, basis, along, radius, saddle and decrement < tolerance)
    return Maximum(here, Ending.MAX_ITERATIONS, decrement, polish, max_iterations)


def _step(eigen: FloatArray, basis: FloatArray, along: FloatArray, radius: float, at_saddle: bool) -> FloatArray:
    """Newton step with |curvature|, shortened to the radius by adding to the curvature."""
    if at_saddle:
        return basis[:, 0] * min(radius, 0.5)
    size = np.maximum(np.abs(eigen), 1e-12 * float(np.max(np.abs(eigen))))
    coordinates = along / size
    if np.linalg.norm(coordinates) > radius:
        low, high = 0.0, float(np.linalg.norm(along)) / radius
        for _ in range(60):
            extra = 0.5 * (low + high)
            if np.linalg.norm(along / (size + extra)) > radius:
                low = extra
            else:
                high = extra
        coordinates = along / (size + high)
    return basis @ coordinates


def _verdict(here: Iterate, there: Iterate, step: FloatArray, decrement: float) -> int:
    """0 reject, 1 accept, 2 accept and trust more."""
    if not there.ok:
        return 0
    predicted = float(here.gradient @ step + 0.5 * step @ here.hessian @ step)
    actual = there.value - here.value
    rounding = 1e-11 * abs(here.value) + 1e-13
    if predicted > 10 * here.noise and predicted > rounding:
        ratio = actual / predicted
        return 2 if ratio > 0.75 else 1 if ratio > 0.05 else 0
    return 2 if actual >= -(here.noise + there.noise + rounding + 0.5 * decrement) else 0
