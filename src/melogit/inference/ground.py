"""A fit's likelihood around its maximum, by whichever engine fitted it: what constrained maxima are sought on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.climb_crossed import Carried, hessian_by_differences, quasi_newton
from melogit.fit.integrate import Placed, objective
from melogit.fit.types import Fit
from melogit.inference.summit import check_reached, in_search, return_to
from melogit.likelihood.arrange_crossed import arrange_crossed
from melogit.likelihood.covariance import CovarianceMap
from melogit.likelihood.crossed import laplace
from melogit.optimize import Iterate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ground:
    """A fit's likelihood around its maximum, whichever engine computes it.

    Attributes
    ----------
    x : (p + m,)
        The estimates on the scale of the search.
    placed : Any
        What an evaluation near ``x`` starts from.
    evaluate : callable
        (x, what to start from) -> Iterate.
    to_user : (p + m, p + m)
    covariance : CovarianceMap
    noise : float
        How far the log-likelihood may be from the function whose gradient the score is.
    """

    x: FloatArray
    placed: Any
    evaluate: Callable[[FloatArray, Any], Iterate]
    to_user: FloatArray
    covariance: CovarianceMap
    noise: float


@dataclass(frozen=True, slots=True)
class Peak:
    """The summit, with its log-likelihood by the function that the profile uses."""

    summit: Ground
    loglik: float


def peak_of(design: Design, fit: Fit) -> Peak:
    """Return to the summit of a fit."""
    summit = _nested_ground(design, fit) if design.nested else _crossed_ground(design, fit)
    top = summit.evaluate(summit.x, summit.placed)
    if not top.ok:
        raise ModelError("The log-likelihood at the estimates is not a finite number. Fit the model once more.")
    return Peak(replace(summit, placed=top.payload), top.value)


def _nested_ground(design: Design, fit: Fit) -> Ground:
    summit = return_to(design, fit)
    nested, by = summit.nested, summit.by

    def evaluate(x: FloatArray, placed: Placed) -> Iterate:
        return objective(nested, by, x, placed)

    first = evaluate(summit.x, summit.placed)
    placed = replace(summit.placed, nodes=first.payload.nodes) if first.ok else summit.placed
    noise = by.noise(nested.problem.n_units[-1])
    return Ground(summit.x, placed, evaluate, nested.to_user, nested.covariance, noise)


def _crossed_ground(design: Design, fit: Fit) -> Ground:
    """Of the Laplace approximation; the curvature is learnt on the way."""
    check_reached(fit)
    if fit.integration.method != "laplace":
        raise ModelError(
            "Of crossed models this is computed from the Laplace approximation, and this fit has another maximum. Fit "
            'it with method="laplace".'
        )
    crossed = arrange_crossed(design)
    x = in_search(crossed.to_user, fit)
    u0, u1 = np.zeros((crossed.problem.groups, crossed.problem.q)), np.zeros(crossed.problem.rest)
    point = laplace(crossed, x, u0, u1)
    if not point.ok:
        raise ModelError("The joint mode could not be found again at the estimates. Fit the model once more.")
    carried = Carried(point, x, hessian_by_differences(crossed, x, point))

    def evaluate(at: FloatArray, near: Carried) -> Iterate:
        return quasi_newton(crossed, at, near)

    return Ground(x, carried, evaluate, crossed.to_user, crossed.covariance, 0.0)
