"""One objective per integration method, all with the same face, and the check of what it gave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.kernel import Nodes, Rule
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested
from melogit.likelihood.nested import Point
from melogit.optimize import Iterate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Integrator:
    """An integration method and its points.

    Attributes
    ----------
    method : str
        ``mvaghermite``, ``mcaghermite``, ``ghermite``, ``laplace``; ``curvature`` (nodes at mode and curvature, but
        score and information at fixed nodes: what "auto" climbs with) or ``trapezoid``.
    points : tuple of int
        Per dimension, one entry per level. For ``trapezoid`` found at every evaluation.
    spacing : float
        Relative step of the trapezoidal rule.
    """

    method: str
    points: tuple[int, ...]
    spacing: float = likelihood.TRAPEZOID_SPACING

    @property
    def noise(self) -> float:
        """How far the value may be from the function whose gradient the score is."""
        return {"mvaghermite": 0.3, "curvature": 0.1, "trapezoid": 1e-3}.get(self.method, 0.0)


@dataclass(frozen=True, slots=True)
class Placed:
    """Nodes for the next evaluation, and the rule that the last one used."""

    nodes: Nodes
    points: tuple[int, ...] = ()


def evaluate_at(
    nested: Nested, by: Integrator, x: FloatArray, start: Nodes, *, information: bool = True, moments: bool = False
) -> tuple[Point | None, tuple[int, ...]]:
    """The likelihood at ``x`` with nodes placed for ``x`` (``mvaghermite``: with the nodes given).

    Returns
    -------
    The point (None where no nodes could be placed) and the points per level that were used.
    """
    points = by.points
    if by.method == "trapezoid":
        ok, nodes, k = likelihood.trapezoid_nodes(nested, x, start, by.spacing)
        if not ok or k > 4000:
            return None, points
        points, rules = (k,), likelihood.trapezoid_rules(k)
    else:
        rules = likelihood.hermite_rules(nested, points)
        if by.method == "ghermite":
            nodes = kernel.new_nodes(nested.problem, spread=True)
        elif by.method == "mvaghermite":
            nodes = start
        else:
            ok, nodes = likelihood.mode_nodes(nested, x, start)
            if not ok:
                return None, points
    moving = by.method in ("mcaghermite", "laplace")
    return (
        likelihood.evaluate(nested, x, rules, nodes, information=information, moments=moments, moving=moving),
        points,
    )


def objective(nested: Nested, by: Integrator, x: FloatArray, payload: Placed) -> Iterate:
    """What the optimiser sees."""
    adapts = by.method == "mvaghermite"
    point, points = evaluate_at(nested, by, x, payload.nodes, moments=adapts)
    if point is None or not point.ok:
        n = len(x)
        return Iterate(x, -np.inf, np.zeros(n), np.zeros((n, n)), ok=False, payload=payload)
    settled, nodes = True, point.nodes
    if adapts and point.evaluation.next_nodes is not None:
        nodes = point.evaluation.next_nodes
        settled = shift_of_nodes(point.nodes, nodes) < 1e-6
    elif by.method == "trapezoid":
        nodes = payload.nodes  # modes are sought from modes, not from the middle of a range
    hessian = point.hessian
    if by.method == "laplace":
        hessian = hessian_by_differences(nested, by, x, point)
    return Iterate(x, point.loglik, point.score, hessian, True, settled, by.noise, Placed(nodes, points))


def shift_of_nodes(old: Nodes, new: Nodes) -> float:
    """Largest change of a placement, in posterior standard deviations."""
    worst = 0.0
    for (m0, K0, C0), (m1, K1, C1) in zip(old, new, strict=True):
        sd = np.sqrt(np.einsum("gij,gij->gi", C1, C1))
        worst = max(worst, float(np.max(np.abs(m1 - m0) / sd)), float(np.max(np.abs(C1 - C0) / sd[:, :, None])))
        if K0.size:
            worst = max(worst, float(np.max(np.abs(K1 - K0) / np.maximum(sd[:, :, None], 1.0))))
    return worst


def settle(nested: Nested, by: Integrator, x: FloatArray, nodes: Nodes, rounds: int, tolerance: float = 1e-6) -> Nodes:
    """Mean-and-covariance adaptation at fixed parameters, until it settles or ``rounds`` are over.

    References
    ----------
    Naylor, J. C. and Smith, A. F. M. (1982). Appl. Statist. 31, 214-225.
    """
    rules = likelihood.hermite_rules(nested, by.points)
    for _ in range(rounds):
        point = likelihood.evaluate(nested, x, rules, nodes, information=False, score=False, moments=True)
        if not point.ok or point.evaluation.next_nodes is None:
            return nodes
        shift = shift_of_nodes(nodes, point.evaluation.next_nodes)
        nodes = point.evaluation.next_nodes
        if shift < tolerance:
            break
    return nodes


def hessian_by_differences(nested: Nested, by: Integrator, x: FloatArray, centre: Point, h: float = 1e-4) -> FloatArray:
    """Second derivatives of the approximated log-likelihood from central differences of its exact gradient."""
    n = len(x)
    out = np.empty((n, n))
    for j in range(n):
        ends = []
        for sign in (1.0, -1.0):
            shifted = x.copy()
            shifted[j] += sign * h
            point, _ = evaluate_at(nested, by, shifted, centre.nodes, information=False)
            ends.append(centre.score if point is None else point.score)
        out[j] = (ends[0] - ends[1]) / (2 * h)
    return (out + out.T) / 2


def rule_of(nested: Nested, by: Integrator, points: tuple[int, ...]) -> list[Rule]:
    """The rule that an evaluation with these points used."""
    return (
        likelihood.trapezoid_rules(points[0]) if by.method == "trapezoid" else likelihood.hermite_rules(nested, points)
    )
