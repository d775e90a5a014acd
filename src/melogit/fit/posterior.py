"""What is known of the groups' effects at the summit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.fit.climb import Summit
from melogit.fit.integrate import place
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.crossed import Inverse, Mode

FloatArray = NDArray[np.float64]
Effects = tuple[list[FloatArray], list[FloatArray], list[FloatArray]]


def posterior(nested: Nested, summit: Summit) -> Effects:
    """Posterior means, covariances and modes of u, per level in the design's order of groups.

    For the Laplace approximation the mean is the mode and the covariance the inverse curvature.
    """
    means, covs, modes = _in_kernel_order(nested, summit)

    def by_code(part: list[FloatArray]) -> list[FloatArray]:
        return [a[units] for a, units in zip(part, nested.unit_of_code, strict=True)]

    return by_code(means), by_code(covs), by_code(modes)


def crossed_posterior(crossed: Crossed, summit: Summit) -> Effects:
    """The same for crossed factors: the joint mode, and its inverse curvature's blocks."""
    means, covs = crossed_effects(crossed, *summit.nodes)
    return means, covs, means


def crossed_effects(crossed: Crossed, mode: Mode, inverse: Inverse) -> tuple[list[FloatArray], list[FloatArray]]:
    """Modes and covariances of u of every group by itself, per factor."""
    means, covs = [], []
    for k, (q, start) in enumerate(zip(crossed.covariance.sizes, crossed.starts, strict=True)):
        if k == crossed.eliminated:
            means.append(mode.u0)
            covs.append(inverse.block)
            continue
        end = start + crossed.levels[k] * q
        means.append(mode.u1[start:end].reshape(-1, q))
        span = np.arange(start, end).reshape(-1, q)
        high = np.maximum(span[:, :, None], span[:, None, :])
        low = np.minimum(span[:, :, None], span[:, None, :])
        covs.append(inverse.rest[high, low])
    return means, covs


def no_effects(sizes: tuple[int, ...]) -> Effects:
    """Empty arrays, one per grouping factor, where the effects are not wanted."""
    return [np.empty((0, q)) for q in sizes], [np.empty((0, q, q)) for q in sizes], [np.empty((0, q)) for q in sizes]


def _in_kernel_order(nested: Nested, summit: Summit) -> Effects:
    x = summit.x
    _, mode_nodes = likelihood.mode_nodes(nested, x, summit.nodes)
    modes = [m for m, _, _ in mode_nodes]
    if summit.by.method == "laplace":
        return modes, _chain_covariances(nested, mode_nodes), modes
    start = summit.nodes if summit.by.method == "mvaghermite" else mode_nodes
    grid = place(nested, summit.by, x, start)
    if grid is not None:
        found = likelihood.evaluate(
            nested,
            x,
            grid.rules,
            grid.nodes,
            score=False,
            information=False,
            moments=True,
            ranged=summit.by.method == "trapezoid",
        ).evaluation
        if found.means is not None and found.covs is not None and np.isfinite(found.loglik):
            return found.means, found.covs, modes
    return modes, _chain_covariances(nested, mode_nodes), modes


def _chain_covariances(nested: Nested, nodes: kernel.Nodes) -> list[FloatArray]:
    """Covariance of each group's own effects under the Gaussian chain u_own = m + K (u_above - m_above) + C z."""
    out: list[FloatArray] = []
    joint: FloatArray | None = None  # covariance of all effects down to the level above, per group there
    for level, (_, K, C) in enumerate(nodes):
        own = C @ C.transpose(0, 2, 1)
        if joint is None:
            joint = own
        else:
            above = joint[nested.parents[level]]
            cross = K @ above
            own = own + cross @ K.transpose(0, 2, 1)
            joint = np.concatenate(
                [
                    np.concatenate([above, cross.transpose(0, 2, 1)], axis=2),
                    np.concatenate([cross, own], axis=2),
                ],
                axis=1,
            )
        out.append(own)
    return out
