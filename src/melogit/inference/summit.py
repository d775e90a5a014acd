"""Back to the summit: the likelihood of a finished fit, ready to be evaluated again without refitting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.integrate import Grid, Integrator, Placed, place, settle
from melogit.fit.types import Fit, Status
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested, arrange
from melogit.likelihood.arrange_crossed import arrange_crossed
from melogit.likelihood.crossed import cluster_scores as crossed_cluster_scores
from melogit.likelihood.crossed import find_mode

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summit:
    """A fit's likelihood at its estimates.

    Attributes
    ----------
    nested : Nested
    x : (p + m,)
        The estimates on the scale of the search (scaled predictors, Cholesky entries).
    by : Integrator
    placed : Placed
        Nodes for ``x``.
    """

    nested: Nested
    x: FloatArray
    by: Integrator
    placed: Placed


def return_to(design: Design, fit: Fit, *, threads: int | None = None) -> Summit:
    """Arrange the data again and place the nodes as they were at the end of the fit.

    Raises
    ------
    ModelError
        The factors cross; the fit has infinite coefficients, or did not converge.
    """
    check_reached(fit)
    nested = arrange(design, threads=threads)
    x = in_search(nested.to_user, fit)
    ok, nodes = likelihood.mode_nodes(nested, x, kernel.new_nodes(nested.problem, spread=True))
    if not ok:
        raise ModelError("The posterior modes could not be found again at the estimates. Fit the model once more.")
    by = _integrator(nested, fit, x, Placed(nodes))
    if by.method == "mvaghermite":
        return Summit(nested, x, by, Placed(settle(nested, by, x, nodes, rounds=50), modes=nodes))
    return Summit(nested, x, by, Placed(nodes))


def check_reached(fit: Fit) -> None:
    """Refuse a fit that has no finite maximum to return to."""
    if fit.status is Status.SEPARATED or not np.all(np.isfinite(fit.params)):
        endless = [name for name, value in zip(fit.names, fit.params, strict=True) if not np.isfinite(value)]
        raise ModelError(
            f"This needs the likelihood at finite estimates, and {', '.join(endless)} cannot be estimated (separation: "
            "an infinite coefficient). Leave the column out of the model, or merge the levels concerned."
        )
    if not fit.converged:
        raise ModelError(
            f"The fit did not reach a maximum ({fit.status.value}), so this cannot be computed from it. "
            "Raise max_iterations= or simplify the model."
        )


def in_search(to_user: FloatArray, fit: Fit) -> FloatArray:
    """The estimates on the scale of the search, (p + m,)."""
    user = np.concatenate([fit.params[: fit.n_fixed], fit.theta])
    return np.asarray(np.linalg.solve(to_user, user), dtype=np.float64)


def _integrator(nested: Nested, fit: Fit, x: FloatArray, placed: Placed) -> Integrator:
    """The integrator that a fit ended with."""
    method, points = fit.integration.method, fit.integration.points
    if method == "mcaghermite" and fit.integration.automatic:
        return Integrator("curvature", points)  # what "auto" climbs with: many points, score at fixed nodes
    if method != "trapezoid":
        return Integrator(method, points)
    by = Integrator("trapezoid", (*points[:-1], 0))
    usual = _grid(nested, by, x, placed).points[-1]
    # The points are 1 + width / step, rounded up, for the group that needs most.
    return Integrator("trapezoid", by.points, by.spacing * max(usual - 1.5, 1.0) / max(points[-1] - 1.5, 1.0))


def _grid(nested: Nested, by: Integrator, x: FloatArray, placed: Placed) -> Grid:
    grid = place(nested, by, x, placed.nodes)
    if grid is None:
        raise ModelError("The integration points could not be placed again at the estimates. Fit the model once more.")
    return grid


def cluster_scores(summit: Summit) -> FloatArray:
    """Score of every top-level group at the summit, in ``x``: (G, p + m), in the order of the design's groups.

    By Fisher's identity it is the posterior mean of the complete-data score, in the same quadrature as the fit's own.
    """
    nested, by = summit.nested, summit.by
    grid = _grid(nested, by, summit.x, summit.placed)
    found = likelihood.evaluate(
        nested,
        summit.x,
        grid.rules,
        grid.nodes,
        information=False,
        clusters=True,
        moving=by.method in ("mcaghermite", "laplace"),
        ranged=by.method == "trapezoid",
    ).evaluation.cluster_score
    assert found is not None
    p = nested.p
    scores = np.concatenate([found[:, :p], found[:, p:] @ nested.covariance.basis], axis=1)
    return scores[nested.unit_of_code[0]]


def crossed_scores(design: Design, fit: Fit, cluster: NDArray[np.int64]) -> FloatArray:
    """Score of every cluster of a crossed fit, in coefficients and Cholesky entries, user's units: (G, p + m).

    Parameters
    ----------
    cluster : (n,)
        ``0 .. G-1`` for every row; no group of any factor may lie in two.
    """
    check_reached(fit)
    if fit.integration.method != "laplace":
        raise ModelError(
            "Robust standard errors of crossed models are computed from the Laplace approximation, and this fit has "
            'another maximum. Fit it with method="laplace", or use a parametric bootstrap.'
        )
    crossed = arrange_crossed(design)
    start = np.zeros((crossed.problem.groups, crossed.problem.q)), np.zeros(crossed.problem.rest)
    mode = find_mode(crossed, in_search(crossed.to_user, fit), *start)
    if mode is None:
        raise ModelError("The posterior modes could not be found again at the estimates. Fit the model once more.")
    scores = crossed_cluster_scores(crossed, mode, cluster[crossed.order], int(cluster.max()) + 1)
    return np.asarray(np.linalg.solve(crossed.to_user.T, scores.T).T, dtype=np.float64)
