"""The posterior of crossed random effects: the joint mode, its curvature, and how it moves with the parameters.

Averages over the posterior are those of the normal distribution at the mode, the Laplace approximation of the fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from melogit.design import Design
from melogit.effects.joint import Joint
from melogit.effects.levels import Level, Posterior, slopes_by_differences
from melogit.errors import ModelError
from melogit.fit.posterior import crossed_effects
from melogit.fit.types import Fit
from melogit.likelihood.arrange_crossed import Crossed, arrange_crossed
from melogit.likelihood.covariance import lambdas
from melogit.likelihood.crossed import Mode, find_mode, invert

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def crossed_posterior(design: Design, fit: Fit, *, slopes: bool) -> Posterior:
    """Posterior of all groups of a crossed design at the estimates of a fit; see ``find_posterior``."""
    crossed = arrange_crossed(design)
    centre = np.concatenate([fit.params[: crossed.p], fit.theta])
    places = _places(crossed, design)
    here = _mode(crossed, centre, None)

    def means(value: FloatArray) -> list[FloatArray]:
        return _by_factor(crossed, places, _mode(crossed, value, here))

    found = slopes_by_differences(crossed.covariance, fit, means) if slopes else []
    Lambda = lambdas(crossed.covariance, fit.theta)
    levels = []
    for k, (u, cov) in enumerate(zip(*crossed_effects(crossed, here, invert(crossed, here)[2]), strict=True)):
        G, q = u.shape
        b = u @ Lambda[k].T
        C, nowhere = np.asarray(np.linalg.cholesky(cov), dtype=np.float64), np.full(G, -1, dtype=np.int64)
        levels.append(Level(b, b, np.zeros((G, q, 0)), C, Lambda[k], nowhere, found[k] if found else None))
    return Posterior(tuple(levels), _joint(crossed, places, here))


def _mode(crossed: Crossed, value: FloatArray, near: Mode | None) -> Mode:
    """Joint mode at (beta, theta) in the user's units."""
    x = np.asarray(np.linalg.solve(crossed.to_user, value), dtype=np.float64)
    u0 = np.zeros((crossed.problem.groups, crossed.problem.q)) if near is None else near.u0
    u1 = np.zeros(crossed.problem.rest) if near is None else near.u1
    mode = find_mode(crossed, x, u0, u1, None if near is None else near.curvature)
    if mode is None:
        raise ModelError("The posterior modes could not be found again at the estimates. Fit the model once more.")
    return mode


def _places(crossed: Crossed, design: Design) -> list[IntArray]:
    """Position of each effect in the rest, (G, q) per factor; none for the eliminated one."""
    out = []
    for k, (term, start) in enumerate(zip(design.terms, crossed.starts, strict=True)):
        G, q = term.factor.n_levels * (k != crossed.eliminated), len(term.names)
        out.append(start + np.arange(G * q).reshape(G, q))
    return out


def _by_factor(crossed: Crossed, places: list[IntArray], mode: Mode) -> list[FloatArray]:
    """The standardised effects u at the mode, (G, q) per factor."""
    return [mode.u0 if k == crossed.eliminated else mode.u1[place] for k, place in enumerate(places)]


def _joint(crossed: Crossed, places: list[IntArray], mode: Mode) -> Joint:
    G, q, rest = crossed.problem.groups, crossed.problem.q, crossed.problem.rest
    own = np.repeat(np.arange(G), np.diff(crossed.first))
    met = np.unique(own[:, None] * rest + crossed.column)  # in the kernel's order of ties
    rows = (met // rest)[:, None] * q + np.arange(q)
    columns = np.repeat(met % rest, q)
    T = csr_array((mode.curvature.factor.T.ravel(), (rows.ravel(), columns)), shape=(G * q, rest))
    return Joint(
        crossed.eliminated,
        np.arange(G),
        mode.curvature.factor.L,
        T,
        np.tril(mode.curvature.rest),
        tuple(places),
    )
