"""One objective per integration method, all with the same face, and the check of what it gave."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        Per dimension, one entry per level. For ``trapezoid`` the last is the least number; where a group needs more at
        the parameters in question, all get more.
    spacing : float
        Relative step of the trapezoidal rule.
    """

    method: str
    points: tuple[int, ...]
    spacing: float = likelihood.TRAPEZOID_SPACING

    @property
    def shown(self) -> str:
        """The name that users know."""
        return "mcaghermite" if self.method == "curvature" else self.method

    def noise(self, groups: int) -> float:
        """How far the value may be from the function whose gradient the score is, for so many lowest groups."""
        least, each = {"mvaghermite": (0.3, 0.01), "curvature": (0.1, 0.0), "trapezoid": (1e-3, 0.0)}.get(
            self.method, (0.0, 0.0)
        )
        return max(least, each * groups)


# A trapezoidal rule that needs more points than this is not the right rule.
MOST_TRAPEZOID_POINTS = 4000
# A placement counts as settled when no node centre or spread moves by more posterior standard deviations than this;
# the log-likelihood then moves by about 1e-6, and every further round moves the nodes some five times less.
SETTLED, CLOSE = 1e-4, 0.1
# Newton decrement below which the curvature that moving nodes add is worked out (and kept from there on); with very
# few points, where it is large, it is worked out at every step until the decrement is below the second number.
NEAR, VERY_NEAR = 1e-4, 1e-6
FEW_POINTS = 3


@dataclass(frozen=True, slots=True)
class Placed:
    """What an evaluation hands to the next.

    Attributes
    ----------
    nodes : where to place, or to start looking for, the nodes
    points : the points per level that the evaluation used
    bend : (p + m, p + m), optional
        What the movement of the nodes adds to the Hessian.
    bend_decrement : float
        Newton decrement where ``bend`` was worked out.
    modes : placement, optional
        ``mvaghermite``: the modes at the parameters that ``nodes`` belong to.
    shift : float
        ``mvaghermite``: how far ``nodes`` are from those that the evaluation used.
    """

    nodes: Nodes
    points: tuple[int, ...] = ()
    bend: FloatArray | None = None
    bend_decrement: float = np.inf
    modes: Nodes | None = None
    shift: float = np.inf


@dataclass(frozen=True, slots=True)
class Grid:
    """Nodes and rules for one parameter vector; ``restart`` is where to look for nodes nearby."""

    nodes: Nodes
    rules: list[Rule]
    points: tuple[int, ...]
    restart: Nodes


def place(nested: Nested, by: Integrator, x: FloatArray, start: Nodes) -> Grid | None:
    """Place nodes for the parameters ``x`` (``mvaghermite``: take those given); None where it cannot be done."""
    if by.method == "trapezoid":
        found = likelihood.trapezoid(nested, x, start, by.spacing)
        if found is None or found.points > MOST_TRAPEZOID_POINTS:
            return None
        points = (*by.points[:-1], max(found.points, by.points[-1]))
        return Grid(found.modes, likelihood.trapezoid_rules(nested, points), points, found.modes)
    rules = likelihood.hermite_rules(nested, by.points)
    if by.method == "ghermite":
        start = kernel.new_nodes(nested.problem, spread=True)
    elif by.method != "mvaghermite":
        ok, start = likelihood.mode_nodes(nested, x, start)
        if not ok:
            return None
    return Grid(start, rules, by.points, start)


def evaluate_on(
    nested: Nested, by: Integrator, x: FloatArray, grid: Grid, *, information: bool = True, moments: bool = False
) -> Point:
    """Evaluate the likelihood at ``x`` on nodes that were placed for it."""
    return likelihood.evaluate(
        nested,
        x,
        grid.rules,
        grid.nodes,
        information=information,
        moments=moments,
        moving=by.method in ("mcaghermite", "laplace"),
        ranged=by.method == "trapezoid",
    )


def objective(nested: Nested, by: Integrator, x: FloatArray, payload: Placed) -> Iterate:
    """What the optimiser sees."""
    adapts = by.method == "mvaghermite"
    start, modes = carried_along(nested, by, x, payload) if adapts else (payload.nodes, None)
    if by.method == "trapezoid" and payload.points:
        # Never fewer than before: a rule that changes to and fro would keep the iterations from ending.
        by = replace(by, points=(*by.points[:-1], payload.points[-1]))
    grid = place(nested, by, x, start)
    point = None if grid is None else evaluate_on(nested, by, x, grid, moments=adapts)
    if grid is None or point is None or not point.ok:
        n = len(x)
        return Iterate(x, -np.inf, np.zeros(n), np.zeros((n, n)), ok=False, payload=payload)
    nodes, shift = grid.restart, 0.0
    if adapts and point.evaluation.next_nodes is not None:
        nodes = point.evaluation.next_nodes
        shift = shift_of_nodes(grid.nodes, nodes)
    placed = Placed(nodes, grid.points, payload.bend, payload.bend_decrement, modes, shift)
    hessian, noise = point.hessian, by.noise(nested.problem.n_units[-1])
    if by.method in ("mcaghermite", "laplace"):
        placed, hessian = _with_bend(nested, by, x, point, placed)
    return Iterate(x, point.loglik, point.score, hessian, True, shift < SETTLED, noise, placed)


def _with_bend(
    nested: Nested, by: Integrator, x: FloatArray, point: Point, placed: Placed
) -> tuple[Placed, FloatArray]:
    """Add to the Hessian of fixed nodes what their movement contributes.

    With several points that part is small and changes slowly, so it is worked out once, near the maximum.
    """
    if max(by.points) <= FEW_POINTS:
        stale, now = placed.bend_decrement > VERY_NEAR, 0.0
    else:
        stale, now = placed.bend_decrement > NEAR, _decrement(point, placed.bend)
    if stale and now < NEAR:
        bend = movement_hessian(nested, by, x, point)
        placed = replace(placed, bend=bend, bend_decrement=_decrement(point, bend))
    return placed, point.hessian if placed.bend is None else point.hessian + placed.bend


def _decrement(point: Point, bend: FloatArray | None) -> float:
    hessian = point.hessian if bend is None else point.hessian + bend
    return float(abs(point.score @ np.linalg.lstsq(hessian, point.score, rcond=None)[0]))


def carried_along(nested: Nested, by: Integrator, x: FloatArray, placed: Placed) -> tuple[Nodes, Nodes | None]:
    """Move mean-and-covariance nodes by as much as the modes have moved since, so that they do not lag behind.

    Without this, parameters that move by several posterior standard deviations of a large group leave its nodes
    where the integrand is not. Near the maximum, where adaptation is what takes time, two rounds of it alone cost
    less than two evaluations with information (with several effects per row; with one they cost the same).
    """
    begin = placed.modes if placed.modes is not None else placed.nodes
    ok, modes = likelihood.mode_nodes(nested, x, begin, tolerance=1e-10)
    if not ok or placed.modes is None:
        return placed.nodes, modes if ok else None
    moved = [
        [m + new - old, K, C]
        for (m, K, C), (new, _, _), (old, _, _) in zip(placed.nodes, modes, placed.modes, strict=True)
    ]
    if placed.shift < CLOSE and sum(nested.problem.n_effects) > 1:
        moved = settle(nested, by, x, moved, rounds=2)
    return moved, modes


def shift_of_nodes(old: Nodes, new: Nodes) -> float:
    """Largest change of a placement, in posterior standard deviations."""
    worst = 0.0
    for (m0, K0, C0), (m1, K1, C1) in zip(old, new, strict=True):
        sd = np.sqrt(np.einsum("gij,gij->gi", C1, C1))
        worst = max(worst, float(np.max(np.abs(m1 - m0) / sd)), float(np.max(np.abs(C1 - C0) / sd[:, :, None])))
        if K0.size:
            worst = max(worst, float(np.max(np.abs(K1 - K0) / np.maximum(sd[:, :, None], 1.0))))
    return worst


def settle(
    nested: Nested, by: Integrator, x: FloatArray, nodes: Nodes, rounds: int, tolerance: float = SETTLED
) -> Nodes:
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


def movement_hessian(nested: Nested, by: Integrator, x: FloatArray, centre: Point, h: float = 1e-5) -> FloatArray:
    """What the movement of the nodes adds to the Hessian of fixed nodes: differences of the exact gradient, less that.

    Predictors are scaled, so one step suits all parameters: its error is about 1e-5 of the Hessian.
    """
    n = len(x)
    out = np.empty((n, n))
    for j in range(n):
        shifted = x.copy()
        shifted[j] += h
        grid = place(nested, by, shifted, centre.nodes)
        if grid is None:
            return np.zeros((n, n))
        out[j] = (evaluate_on(nested, by, shifted, grid, information=False).score - centre.score) / h
    return (out + out.T) / 2 - centre.hessian
