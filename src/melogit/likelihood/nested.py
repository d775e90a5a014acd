"""(beta, theta) -> log-likelihood, score and information of a nested model, by any of the quadrature rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.kernel import Nodes, Rule
from melogit.likelihood.arrange import Nested
from melogit.likelihood.covariance import lambdas
from melogit.likelihood.quadrature import equally_spaced, gauss_hermite

FloatArray = NDArray[np.float64]

# Where trapezoidal nodes begin and end, and how close they lie: the log integrand has fallen by `drop`; the step is
# `spacing` times the smaller of a Gaussian's need and the distance of the logistic's poles, i pi / sigma (the error of
# the rule falls like exp(-2 pi distance / step)). On the reference data these values give errors of the log-likelihood
# below 6e-5, and half the spacing errors below 1e-6.
TRAPEZOID_DROP = 24.0
TRAPEZOID_SPACING = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """The likelihood at one parameter vector.

    Attributes
    ----------
    ok : bool
        The log-likelihood is a finite number.
    loglik : float
        Binomial constant included.
    score : (p + m,)
    hessian : (p + m, p + m)
        Second derivatives of the log-likelihood (negative definite at a maximum).
    nodes : placement used
    evaluation : kernel.Evaluation
    """

    ok: bool
    loglik: float
    score: FloatArray
    hessian: FloatArray
    nodes: Nodes
    evaluation: kernel.Evaluation


def linear_predictor(nested: Nested, beta: FloatArray) -> FloatArray:
    """Offset + X beta, with room at the end for the kernel's vectors.

    Modes and likelihood are asked for at the same beta one after the other, so the last answer is kept.
    """
    key = beta.tobytes()
    known = nested.last_predictor.get(key)
    if known is not None:
        return known
    eta = np.zeros(nested.problem.n_rows + kernel.SLACK)
    np.dot(nested.X, beta, out=eta[: -kernel.SLACK])
    if nested.has_offset:
        eta += nested.offset
    nested.last_predictor.clear()
    nested.last_predictor[key] = eta
    return eta


def without_effects(nested: Nested, beta: FloatArray) -> tuple[bool, float, FloatArray, FloatArray]:
    """The model without random effects: finite or not, log-likelihood, score (p,) and Hessian (p, p)."""
    found = kernel.fixed_effects(nested.problem, linear_predictor(nested, beta), nested.p)
    return found[0], found[1] + nested.constant, found[2], found[3]


def hermite_rules(nested: Nested, points: tuple[int, ...]) -> list[Rule]:
    """Gauss-Hermite rules, ``points`` per dimension at each level."""
    return [gauss_hermite(k, q) for k, q in zip(points, nested.problem.n_effects, strict=True)]


def mode_nodes(nested: Nested, x: FloatArray, start: Nodes, tolerance: float = 1e-20) -> tuple[bool, Nodes]:
    """Placement by joint posterior mode and curvature at the parameters ``x``.

    ``tolerance`` is the squared distance from the mode, in posterior standard deviations, at which to stop.
    """
    eta = linear_predictor(nested, x[: nested.p])
    ok, nodes, _ = kernel.modes(
        nested.problem, eta, lambdas(nested.covariance, x[nested.p :]), start, tolerance=tolerance
    )
    return ok, nodes


@dataclass(frozen=True, slots=True)
class Trapezoid:
    """The trapezoidal rule at the lowest level: points per group, and modes from which its ranges are found."""

    points: int
    modes: Nodes


def trapezoid(nested: Nested, x: FloatArray, start: Nodes, spacing: float = TRAPEZOID_SPACING) -> Trapezoid | None:
    """How many equally spaced points the lowest level needs, where it has one random effect per group.

    The nodes of a group span the range over which its log integrand is within ``TRAPEZOID_DROP`` of the top, found
    anew for every choice of nodes at the levels above. Every group gets the number of points that the neediest does.
    None where a mode or a range could not be found.
    """
    Lambda = lambdas(nested.covariance, x[nested.p :])
    drop = TRAPEZOID_DROP
    ok, modes, extent = kernel.modes(nested.problem, linear_predictor(nested, x[: nested.p]), Lambda, start, drop=drop)
    if not ok or extent is None or not np.all(np.isfinite(extent)):
        return None
    width = extent[:, 1] - extent[:, 0]
    sigma = max(abs(float(Lambda[-1][0, 0])), 1e-8)
    step = spacing * np.minimum(width / (2 * np.sqrt(2 * drop)), 1.1 / sigma)
    return Trapezoid(int(np.ceil(np.max(width / step))) + 1, modes)


def trapezoid_rules(nested: Nested, points: tuple[int, ...]) -> list[Rule]:
    """Gauss-Hermite rules for the upper levels, equally spaced points for the lowest."""
    upper = zip(points[:-1], nested.problem.n_effects[:-1], strict=True)
    return [*(gauss_hermite(k, q) for k, q in upper), equally_spaced(points[-1])]


def evaluate(
    nested: Nested,
    x: FloatArray,
    rules: list[Rule],
    nodes: Nodes,
    *,
    information: bool = True,
    score: bool = True,
    moments: bool = False,
    moving: bool = False,
    clusters: bool = False,
    ranged: bool = False,
) -> Point:
    """Log-likelihood, score and Hessian at the parameters ``x`` (p + m,) with the nodes held fixed in u.

    By Fisher's and Louis' identities these are exact derivatives of the sum over fixed nodes. With ``moving`` the
    score includes what the movement of mode-and-curvature nodes adds, so that it is the exact gradient of the
    approximated log-likelihood; the Hessian stays that of fixed nodes. ``ranged``: the lowest level's rule is the
    trapezoidal one.

    References
    ----------
    Louis, T. A. (1982). J. R. Statist. Soc. B 44, 226-233.
    """
    p = nested.p
    eta = linear_predictor(nested, x[:p])
    Lambda = lambdas(nested.covariance, x[p:])
    found = kernel.evaluate(
        nested.problem,
        eta,
        Lambda,
        rules,
        nodes,
        score=score,
        information=information,
        moments=moments,
        placement=moving,
        clusters=clusters,
        drop=TRAPEZOID_DROP if ranged else 0.0,
    )
    raw = found.score
    if moving and found.ok and found.bar is not None:
        raw = raw + kernel.movement(nested.problem, eta, Lambda, nodes, found.bar, found.cluster_score)
    gradient, hessian = in_theta(nested, raw, found.hessian)
    ok = found.ok and bool(np.isfinite(found.loglik)) and (not score or bool(np.all(np.isfinite(gradient))))
    return Point(ok, found.loglik + nested.constant, gradient, hessian, nodes, found)


def in_theta(nested: Nested, score: FloatArray, hessian: FloatArray) -> tuple[FloatArray, FloatArray]:
    """From derivatives in the entries of Lambda to those in theta (of which the entries are linear functions)."""
    jacobian = nested.entries_by_parameter
    if jacobian is None:
        return score, hessian
    return jacobian.T @ score, jacobian.T @ hessian @ jacobian
