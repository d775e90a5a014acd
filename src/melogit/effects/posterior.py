r"""What is known of the random effects of each group, and how it moves with the parameters.

Given the parameters $\psi$, the effects of a top-level group and of all that is nested in it have an approximately
normal posterior with the chain structure of the quadrature nodes: $u_{own} = m + K (u_{above} - m_{above}) + C z$.
The uncertainty of a conditional prediction is that posterior's spread plus what the uncertainty of $\psi$ adds
through $d E[b | y, \psi] / d\psi$ (Kass & Steffey 1989, J. Amer. Statist. Assoc. 84, 717-726; Booth & Hobert 1998,
ibid. 93, 262-272).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.design import Design
from melogit.effects.crossed import crossed_posterior
from melogit.effects.levels import Level, Posterior, slopes_by_differences
from melogit.fit.integrate import Integrator, evaluate_on, place
from melogit.fit.types import Fit
from melogit.kernel import Nodes
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested, arrange
from melogit.likelihood.covariance import lambdas

FloatArray = NDArray[np.float64]

MIN_POINTS = {1: 15, 2: 9}  # by number of dimensions; 7 beyond


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
    if not design.nested:
        return crossed_posterior(design, fit, slopes=slopes)
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
    slope = (
        slopes_by_differences(nested.covariance, fit, lambda value: [u for u, _, _ in at(value, modes)[0]])
        if slopes
        else [None] * len(Lambda)
    )
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
    return Posterior(tuple(out))


def spread(posterior: Posterior, codes: list[NDArray[np.int64]], Z: tuple[FloatArray, ...]) -> FloatArray:
    """Posterior variance of the sum of z'b over the known groups of each row, at fixed parameters.

    Parameters
    ----------
    codes : per level, (n,)
        Group of each row; -1 for one that is not known (then, where nested, all below it are not known either).
    Z : per level, (n, q)

    Returns
    -------
    (n,)
    """
    if posterior.joint is not None:
        return posterior.joint.variance(codes, [z @ part.Lambda for z, part in zip(Z, posterior, strict=True)])
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
    if posterior.joint is not None:
        drawn = posterior.joint.draw(rng)
        return [_moved(part, u, moved) for part, u in zip(posterior, drawn, strict=True)]
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
        out.append(_moved(part, own, moved))
    return out


def _moved(part: Level, u: FloatArray, moved: FloatArray | None) -> FloatArray:
    """The effects b at a deviation u from their means, which move with the parameters."""
    b = part.mean + u @ part.Lambda.T
    return b if part.slope is None or moved is None else b + part.slope @ moved
