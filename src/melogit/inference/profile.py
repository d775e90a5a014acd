"""Profile-likelihood intervals: one parameter is held, all others are re-estimated, from a warm start.

A parameter is held by eliminating one coordinate of the search space, so that the rest is a free maximisation with
exact derivatives. Coefficients are linear in the search space, variances and covariances quadratic.

References
----------
Venzon, D. J. and Moolgavkar, S. H. (1988). Appl. Statist. 37, 87-94.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference.ground import Ground, Peak
from melogit.inference.wald import critical_value
from melogit.optimize import Ending, Iterate, Maximum, maximise

FloatArray = NDArray[np.float64]

MAX_TRIES = 40
ZETA_TOLERANCE = 1e-5  # of a limit, in units of the signed root
CLOSE = 1e-4  # Newton decrement of a held maximum that could not be improved
HIGHER = 0.01  # a profile this much above the maximum means that the maximum was none


@dataclass(frozen=True, slots=True)
class Held:
    """A reported parameter as a function of the search space: ``x' Q x`` (variances) or ``a' x`` (coefficients).

    Attributes
    ----------
    name : str
    linear : (n,)
    quadratic : (n, n), symmetric
    variance : bool
        It has a lowest value, 0, which is reached where the coordinates ``gone`` are 0.
    gone : tuple of int
    """

    name: str
    linear: FloatArray
    quadratic: FloatArray
    variance: bool
    gone: tuple[int, ...]

    def value(self, x: FloatArray) -> float:
        """Value of the parameter at ``x``."""
        return float(self.linear @ x + x @ self.quadratic @ x)

    def gradient(self, x: FloatArray) -> FloatArray:
        """Derivatives of the parameter at ``x``."""
        return self.linear + 2 * self.quadratic @ x


@dataclass(frozen=True, slots=True)
class Constrained:
    """The maximum with a parameter held at ``value``.

    ``slope`` is the derivative of the profile log-likelihood in the parameter.
    """

    value: float
    loglik: float
    slope: float
    x: FloatArray
    payload: object


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of one parameter.

    Attributes
    ----------
    name : str
    estimate : float
    low, high : float
        Confidence limits; 0 or infinite where the likelihood does not fall far enough.
    values, zeta, loglik : (k,)
        Points of the curve: the parameter, the signed root of twice the fall of the log-likelihood, and the latter.
    """

    name: str
    estimate: float
    low: float
    high: float
    values: FloatArray
    zeta: FloatArray
    loglik: FloatArray


def held_parameter(summit: Ground, fit: Fit, index: int) -> Held:
    """Describe a reported parameter in the search space."""
    p = fit.n_fixed
    n = len(summit.x)
    linear, quadratic = np.zeros(n), np.zeros((n, n))
    if index < p:
        return Held(fit.names[index], summit.to_user[index].copy(), quadratic, False, ())
    cov = summit.covariance
    level, i, j = (int(k) for k in cov.reported[index - p])
    to_theta = summit.to_user[p:]
    rows = {(int(lv), int(r), int(c)): cov.basis[e] @ to_theta for e, (lv, r, c) in enumerate(cov.entries)}
    for column in range(cov.sizes[level]):
        one, two = rows.get((level, i, column)), rows.get((level, j, column))
        if one is not None and two is not None:
            quadratic += 0.5 * (np.outer(one, two) + np.outer(two, one))
    touching = [
        p + t
        for t in range(cov.m)
        if any(cov.entries[e][0] == level and i in cov.entries[e][1:] for e in np.flatnonzero(cov.basis[:, t]))
    ]
    return Held(fit.names[index], linear, quadratic, i == j, tuple(touching) if i == j else ())


# ------------------------------------------------------------------------------- maximum with a parameter held


def maximum_at(summit: Ground, held: Held, value: float, x: FloatArray, payload: object) -> Constrained | None:
    """Maximise with the parameter held at ``value``, from near ``x``; None where that does not end well."""
    if held.variance and value <= 0:
        return _maximum_without(summit, held, x, payload)
    here = _onto(held, value, x)
    for _ in range(6):
        if here is None:
            return None
        slopes = held.gradient(here)
        k = int(np.argmax(np.abs(slopes)))
        others = np.delete(np.arange(len(here)), k)
        root = here[k]

        def at(z: FloatArray, handed: object, k: int = k, others=others, root: float = root) -> Iterate:
            return _reduced(summit, held, value, z, handed, k, others, root)

        first = at(here[others], payload)
        if not first.ok:
            return None
        best = maximise(at, first, tolerance=1e-10, max_iterations=50)
        found = _lift(held, value, best.at.x, k, others, root)
        if found is None:
            return None
        slopes = np.abs(held.gradient(found))
        if _near_enough(best):
            full = summit.evaluate(found, best.at.payload)
            slope = float(full.gradient[k] / held.gradient(found)[k])
            return Constrained(value, best.at.value + 0.5 * best.decrement, slope, found, best.at.payload)
        if slopes[k] > 0.5 * slopes.max():
            return None
        here, payload = found, best.at.payload  # another coordinate describes the surroundings better
    return None


def _near_enough(best: Maximum) -> bool:
    """Converged, or so near that nodes placed anew at each step only make the last digits go back and forth."""
    return best.ending is Ending.CONVERGED or (best.at.ok and best.decrement < CLOSE)


def _onto(held: Held, value: float, x: FloatArray) -> FloatArray | None:
    """Move ``x`` to where the parameter has the value: variances by scaling, others along the gradient."""
    if held.variance:
        now = held.value(x)
        out = x.copy()
        at = list(held.gone)
        if now > 1e-12:
            own = held.gradient(x) != 0  # the rows that make this variance, and no other
            out[own] *= np.sqrt(value / now)
            return out
        diagonal = [t for t in at if held.quadratic[t, t] > 0]
        out[diagonal[-1]] = np.sqrt(value / held.quadratic[diagonal[-1], diagonal[-1]])
        return out
    out = x.copy()
    for _ in range(50):
        gap = value - held.value(out)
        if abs(gap) < 1e-12 * max(1.0, abs(value)):
            return out
        slope = held.gradient(out)
        out = out + gap * slope / max(float(slope @ slope), 1e-300)
    return out if abs(value - held.value(out)) < 1e-6 * max(1.0, abs(value)) else None


def _lift(held: Held, value: float, z: FloatArray, k: int, others: NDArray, near: float) -> FloatArray | None:
    """The point of the search space with coordinates ``z``, coordinate ``k`` solved for; None if there is none."""
    x = np.empty(len(z) + 1)
    x[others], x[k] = z, 0.0
    a, b = held.quadratic[k, k], held.gradient(x)[k]
    c = held.value(x) - value
    if abs(a) < 1e-14 * max(1.0, abs(b)):
        if b == 0:
            return None
        x[k] = -c / b
        return x
    inside = b * b - 4 * a * c
    if inside < 0:
        return None
    roots = (-b + np.array([-1.0, 1.0]) * np.sqrt(inside)) / (2 * a)
    # The root on the side of the middle on which the chart was made.
    x[k] = roots[np.argmax(roots)] if near > -b / (2 * a) else roots[np.argmin(roots)]
    return x


def _reduced(
    summit: Ground, held: Held, value: float, z: FloatArray, payload, k: int, others: NDArray, near: float
) -> Iterate:
    """The log-likelihood over the other coordinates, with exact derivatives through the eliminated one."""
    size = len(z)
    x = _lift(held, value, z, k, others, near)
    failed = Iterate(z, -np.inf, np.zeros(size), np.zeros((size, size)), ok=False, payload=payload)
    if x is None:
        return failed
    slopes = held.gradient(x)
    if abs(slopes[k]) < 1e-8 * max(1e-300, float(np.max(np.abs(slopes)))):
        return failed
    full = summit.evaluate(x, payload)
    if not full.ok:
        return replace(failed, payload=full.payload)
    w = -slopes[others] / slopes[k]
    bend = 2 * held.quadratic
    cross = np.outer(bend[others, k], w)
    curve = -(bend[np.ix_(others, others)] + cross + cross.T + bend[k, k] * np.outer(w, w)) / slopes[k]
    mixed = np.outer(full.hessian[others, k], w)
    hessian = full.hessian[np.ix_(others, others)] + mixed + mixed.T + full.hessian[k, k] * np.outer(w, w)
    gradient = full.gradient[others] + full.gradient[k] * w
    hessian = hessian + full.gradient[k] * curve
    return Iterate(z, full.value, gradient, hessian, True, full.settled, full.noise, full.payload)


def _maximum_without(summit: Ground, held: Held, x: FloatArray, payload: object) -> Constrained | None:
    """Maximise with a variance of 0: its coordinates are left out."""
    keep = np.array([t for t in range(len(x)) if t not in held.gone])
    start = x.copy()
    start[list(held.gone)] = 0.0

    def at(z: FloatArray, handed) -> Iterate:
        whole = start.copy()
        whole[keep] = z
        full = summit.evaluate(whole, handed)
        return replace(full, x=z, gradient=full.gradient[keep], hessian=full.hessian[np.ix_(keep, keep)])

    first = at(start[keep], payload)
    if not first.ok:
        return None
    best = maximise(at, first, tolerance=1e-10, max_iterations=50)
    if not _near_enough(best):
        return None
    whole = start.copy()
    whole[keep] = best.at.x
    return Constrained(0.0, best.at.value + 0.5 * best.decrement, 0.0, whole, best.at.payload)


# ------------------------------------------------------------------------------------------------------ limits


@dataclass(slots=True)
class _Side:
    """The profile on one side of the estimate, over t: the parameter itself, or the root of a variance."""

    peak: Peak
    held: Held
    sign: float
    here: Constrained  # the last point reached

    def to_t(self, value: float) -> float:
        return float(np.sqrt(max(value, 0.0))) if self.held.variance else value

    def zeta(self, point: Constrained) -> float:
        rise = point.loglik - self.peak.loglik
        allowed = HIGHER + 0.2 * self.peak.summit.noise
        if rise > allowed:
            raise ModelError(
                f"Holding {self.held.name} at {point.value:.6g} gives a log-likelihood {rise:.4g} above the fit's: "
                'the fit did not end at the highest peak. Fit again with intpoints="auto".'
            )
        return float(np.sqrt(max(0.0, -2 * rise)))

    def go(self, t: float) -> Constrained:
        """Go to ``t`` in one step, or in smaller ones where that fails."""
        begin = self.to_t(self.here.value)
        done, step = 0.0, 1.0
        while done < 1.0:
            aim = min(1.0, done + step)
            value = begin + aim * (t - begin)
            value = value**2 if self.held.variance else value
            found = maximum_at(self.peak.summit, self.held, value, self.here.x, self.here.payload)
            if found is None:
                step /= 3
                if step < 1e-3:
                    raise ModelError(
                        f"The profile of {self.held.name} could not be followed to {value:.6g}: no maximum was found "
                        "with it held there. Use the Wald interval, or a parametric bootstrap."
                    )
                continue
            self.here, done = found, aim
        return self.here


def limit(peak: Peak, held: Held, sign: float, target: float, std_err: float) -> float:
    """Where the profile has fallen by ``target`` squared over 2, on one side of the estimate."""
    estimate = held.value(peak.summit.x)
    side = _Side(peak, held, sign, Constrained(estimate, peak.loglik, 0.0, peak.summit.x, peak.summit.placed))
    top = side.to_t(estimate)
    if held.variance and sign < 0:
        if estimate <= 0:
            return 0.0
        nothing = maximum_at(peak.summit, held, 0.0, peak.summit.x, peak.summit.placed)
        if nothing is not None and side.zeta(nothing) <= target:
            return 0.0
    near, far = top, (0.0 if held.variance and sign < 0 else np.inf * sign)
    t = top + sign * target * _first_step(held, estimate, std_err, top)
    if held.variance and sign < 0:
        t = max(t, 0.2 * top)
    value = estimate
    for _ in range(MAX_TRIES):
        point = side.go(t)
        value = point.value
        zeta = side.zeta(point)
        if abs(zeta - target) < ZETA_TOLERANCE:
            return value
        near, far = (t, far) if zeta < target else (near, t)
        slope = -sign * point.slope * (2 * t if held.variance else 1.0)
        following = t + sign * (target - zeta) * zeta / slope if slope > 0 and zeta > 0 else np.nan
        t = _safe(following, near, far, top, sign)
        if not np.isfinite(t) or abs(t - top) > 1e6 * (abs(top) + _first_step(held, estimate, std_err, top)):
            return sign * np.inf
    return value if np.isfinite(far) else sign * np.inf


def _first_step(held: Held, estimate: float, std_err: float, top: float) -> float:
    """Standard error of t, or a guess at it."""
    if not np.isfinite(std_err) or std_err <= 0:
        return max(0.3, 0.3 * abs(top))
    return std_err / (2 * top) if held.variance and top > 0 else std_err


def _safe(following: float, near: float, far: float, top: float, sign: float) -> float:
    """The Newton step where it lies between the brackets and does not leap; half-way or twice as far otherwise."""
    if np.isfinite(far):
        inside = min(near, far) < following < max(near, far)
        return following if inside else 0.5 * (near + far)
    furthest = top + 3 * (near - top)
    if np.isfinite(following) and sign * (following - near) > 0:
        return following if sign * (following - furthest) < 0 else furthest
    return furthest


def profile_interval(peak: Peak, fit: Fit, index: int, level: float) -> tuple[float, float]:
    """Profile-likelihood confidence limits of a parameter."""
    held = held_parameter(peak.summit, fit, index)
    target = critical_value(level)
    std_err = float(np.sqrt(fit.cov[index, index]))
    return limit(peak, held, -1.0, target, std_err), limit(peak, held, 1.0, target, std_err)


def profile_curve(peak: Peak, fit: Fit, index: int, level: float, points: int) -> Profile:
    """Limits, and the curve as far as a little beyond them, ``points`` on each side."""
    held = held_parameter(peak.summit, fit, index)
    low, high = profile_interval(peak, fit, index, level)
    estimate = held.value(peak.summit.x)
    rows = [(estimate, 0.0, peak.loglik)]
    std_err = float(np.sqrt(fit.cov[index, index]))
    for sign, end in ((-1.0, low), (1.0, high)):
        side = _Side(peak, held, sign, Constrained(estimate, peak.loglik, 0.0, peak.summit.x, peak.summit.placed))
        top = side.to_t(estimate)
        if held.variance and sign < 0 and estimate <= 0:
            continue
        last = side.to_t(end) if np.isfinite(end) else top + sign * 4 * _first_step(held, estimate, std_err, top)
        beyond = last if held.variance and last == 0 else last + 0.2 * (last - top)
        if held.variance:
            beyond = max(beyond, 0.0)
        for t in np.linspace(top, beyond, points + 1)[1:]:
            point = side.go(float(t))
            rows.append((point.value, sign * side.zeta(point), point.loglik))
    values, zeta, loglik = np.array(sorted(rows)).T
    return Profile(held.name, estimate, low, high, values, zeta, loglik)
