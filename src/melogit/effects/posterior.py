r"""What is known of the random effects of each group, and how it moves with the parameters.

Given the parameters $\psi$, the effects of a top-level group and of all that is nested in it have an approximately
normal posterior with the chain structure of the quadrature nodes: $u_{own} = m + K (u_{above} - m_{above}) + C z$.
The uncertainty of a conditional prediction is that posterior's spread plus what the uncertainty of $\psi$ adds
through $d E[b | y, \psi] / d\psi$ (Kass & Steffey 1989, J. Amer. Statist. Assoc. 84, 717-726; Booth & Hobert 1998,
ibid. 93, 262-272).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.design import Design
from melogit.fit.integrate import Integrator, evaluate_on, place
from melogit.fit.types import Fit
from melogit.kernel import Nodes
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested, arrange
from melogit.likelihood.covariance import lambdas, reported_variances

FloatArray = NDArray[np.float64]

MIN_POINTS = {1: 15, 2: 9}  # by number of dimensions; 7 beyond
DIFFERENCE = 1e-4  # step of the derivatives in the parameters, in standard errors


@dataclass(frozen=True, slots=True)
class Level:
    """The posterior of the effects of one grouping factor.

    Attributes
    ----------
    mean : (G, q)
        Of b.
    mode : (G, q)
    K : (G, q, d)
        Regression of u on the effects of all levels above.
    C : (G, q, q)
        Root of the covariance of u given those above.
    Lambda : (q, q)
        b = Lambda u.
    parent : (G,)
        The group of the level above; zeros at the top; -1 where that is not remembered.
    slope : (G, q, p + m) or None
        Derivative of the mean in the parameters.
    """

    mean: FloatArray
    mode: FloatArray
    K: FloatArray
    C: FloatArray
    Lambda: FloatArray
    parent: NDArray[np.int64]
    slope: FloatArray | None

    @property
    def covariance(self) -> FloatArray:
        """Covariance of b given the levels above, (G, q, q)."""
        root = self.Lambda @ self.C
        return root @ root.transpose(0, 2, 1)


Posterior = tuple[Level, ...]


def _moments(nested: Nested, x: FloatArray, method: str, points: tuple[int, ...], start: Nodes) -> tuple[Nodes, Nodes]:
    """Chain of posterior means and covariances, and that of the modes, at the parameters ``x``."""
    ok, modes = likelihood.mode_nodes(nested, x, start)
    if not ok or method == "laplace":
        return modes, modes
    by = Integrator("trapezoid" if nested.problem.n_effects[-1] == 1 else "curvature", points)
    grid = place(nested, by, x, modes)
    if grid is None:
        return modes, modes
    found = evaluate_on(nested, by, x, grid, information=False, moments=True).evaluation
    return (modes if found.next_nodes is None or not found.ok else found.next_nodes), modes


def _points(nested: Nested, fit: Fit) -> tuple[int, ...]:
    least = MIN_POINTS.get(sum(nested.problem.n_effects), 7)
    given = fit.integration.points
    asked = given if len(given) == len(nested.problem.n_units) else (least,) * len(nested.problem.n_units)
    chosen = tuple(min(max(k, least), 25) for k in asked)
    total = float(np.prod([float(k) ** q for k, q in zip(chosen, nested.problem.n_effects, strict=True)]))
    return chosen if total <= 20_000 else asked


def find_posterior(design: Design, fit: Fit, *, slopes: bool = True) -> Posterior:
    """Posterior of all groups of a design at the estimates of a fit.

    Parameters
    ----------
    design : Design
        Rows with outcomes; its terms are those of the fit, its groups need not be.
    fit : Fit
    slopes : bool
        Also the derivative in the parameters, by central differences (two passes for each parameter).
    """
    nested = arrange(design)
    p = nested.p
    user = np.concatenate([fit.params[:p], fit.theta])
    method, points = fit.integration.method, _points(nested, fit)

    def at(value: FloatArray, start: Nodes) -> tuple[Nodes, Nodes]:
        x = np.asarray(np.linalg.solve(nested.to_user, value), dtype=np.float64)
        return _moments(nested, x, method, points, start)

    chain, modes = at(user, kernel.new_nodes(nested.problem, spread=True))
    Lambda = lambdas(nested.covariance, fit.theta)
    # b = Lambda u holds in the user's units and in the scaled ones with the same u.
    slope = _slopes(nested, fit, user, at, modes, Lambda) if slopes else [None] * len(Lambda)
    out = []
    for level, (m, K, C) in enumerate(chain):
        units = nested.unit_of_code[level]
        parent = np.zeros(len(units), dtype=np.int64)
        if level:
            code_of_unit = np.argsort(nested.unit_of_code[level - 1])
            parent = code_of_unit[nested.parents[level][units]]
        found = slope[level]
        out.append(
            Level(
                m[units] @ Lambda[level].T,
                modes[level][0][units] @ Lambda[level].T,
                K[units],
                C[units],
                Lambda[level],
                parent,
                None if found is None else found[units],
            )
        )
    return tuple(out)


def _slopes(nested: Nested, fit: Fit, user: FloatArray, at, modes: Nodes, Lambda) -> list[FloatArray]:
    """Derivative of the posterior means of b in (beta, reported variances), in the kernel's order of groups."""
    p, m = nested.p, nested.m
    sd = np.sqrt(np.diag(fit.cov_theta))
    slopes = [np.zeros((len(mean), L.shape[0], p + m)) for (mean, _, _), L in zip(modes, Lambda, strict=True)]
    for j in np.flatnonzero(np.isfinite(sd) & (sd > 0)):
        sides = []
        for sign in (1.0, -1.0):
            value = user.copy()
            value[j] += sign * DIFFERENCE * sd[j]
            moved = lambdas(nested.covariance, value[p:])
            sides.append([c[0] @ L.T for c, L in zip(at(value, modes)[0], moved, strict=True)])
        for level in range(len(slopes)):
            slopes[level][:, :, j] = (sides[0][level] - sides[1][level]) / (2 * DIFFERENCE * sd[j])
    _, jacobian = reported_variances(nested.covariance, fit.theta)
    inverse = np.linalg.pinv(jacobian)
    for slope in slopes:
        slope[:, :, p:] = slope[:, :, p:] @ inverse
    return slopes


def spread(posterior: Posterior, codes: list[NDArray[np.int64]], Z: tuple[FloatArray, ...]) -> FloatArray:
    """Posterior variance of the sum of z'b over the known groups of each row, at fixed parameters.

    Parameters
    ----------
    codes : per level, (n,)
        Group of each row; -1 for one that is not known (then all below it are not known either).
    Z : per level, (n, q)

    Returns
    -------
    (n,)
    """
    n = len(codes[0])
    total = np.zeros(n)
    sizes = [level.mean.shape[1] for level in posterior]
    below = np.zeros((n, sum(sizes)))  # weight of each u so far, top level first
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for level in range(len(posterior) - 1, -1, -1):
        known = np.flatnonzero(codes[level] >= 0)
        part, at = posterior[level], codes[level][known]
        own = slice(starts[level], starts[level + 1])
        weight = below[known][:, own] + Z[level][known] @ part.Lambda
        root = np.einsum("nij,ni->nj", part.C[at], weight)
        total[known] += np.einsum("nj,nj->n", root, root)
        below[known, : starts[level]] += np.einsum("nij,ni->nj", part.K[at], weight)
    return total


def draw_effects(posterior: Posterior, rng: np.random.Generator, moved: FloatArray | None = None) -> list[FloatArray]:
    """One draw of the effects b of every known group, top level first: (G, q) each.

    Parameters
    ----------
    posterior : Posterior
    rng : Generator
    moved : (p + m,), optional
        How far the parameters are from the estimates; the means move with them.
    """
    out: list[FloatArray] = []
    above: FloatArray | None = None  # deviations of u, all levels above, by group of the level above
    for part in posterior:
        G, q = part.mean.shape
        own = np.einsum("gij,gj->gi", part.C, rng.standard_normal((G, q)))
        if above is not None:
            path = above[part.parent]
            own = own + np.einsum("gij,gj->gi", part.K, path)
            above = np.concatenate([path, own], axis=1)
        else:
            above = own
        b = part.mean + own @ part.Lambda.T
        if part.slope is not None and moved is not None:
            b = b + part.slope @ moved
        out.append(b)
    return out
