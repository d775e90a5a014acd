r"""A fit in which no top-level group has more than a bounded say, to hold against the maximum-likelihood fit.

It solves $\sum_g w_g s_g(\psi) = 0$ with $w_g = \min(1, b / \lVert s_g \rVert)$, where
$\lVert s_g \rVert^2 = s_g' A^{-1} s_g$ is the squared distance, in standard errors, by which the group moves the
estimates, and $b$ the bound: the self-standardised bounded-influence estimator (Hampel et al. 1986, sections 4.3 and
6.3) on the scores of groups. Standard errors are the sandwich of the weighted scores. It is no better an estimate where
the model holds, and slightly biased there (the weights depend on the outcomes); where the two fits agree, no few groups
make the result.

References
----------
Hampel, F. R., Ronchetti, E. M., Rousseeuw, P. J. and Stahel, W. A. (1986). Robust Statistics. Wiley.
Sinha, S. K. (2004). J. Amer. Statist. Assoc. 99, 451-460.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.diagnostics.deletion import delete_each
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.likelihood.covariance import covariance_map, reported_variances

FloatArray = NDArray[np.float64]
MAX_ITERATIONS = 50
SETTLED = 1e-4  # largest step, in standard errors, at which to stop
# The bound lies this many robust standard deviations above the median of the groups' influence.
BOUND = 2.0


@dataclass(frozen=True, slots=True)
class Bounded:
    """The downweighted fit.

    Attributes
    ----------
    params, std_err : (p + m,)
        Variances on their own scale; NaN at a boundary.
    weights : (G,)
        Of the top-level groups.
    """

    params: FloatArray
    std_err: FloatArray
    weights: FloatArray


def bounded_fit(design: Design, fit: Fit) -> Bounded:
    """Fit with every top-level group's influence bounded.

    Raises
    ------
    ModelError
        Crossed groups, or no solution was reached.
    """
    free = np.flatnonzero(np.isfinite(np.diag(fit.cov_theta)))
    covariance, p = covariance_map(design.terms), fit.n_fixed
    here = fit
    bound = 0.0
    for _ in range(MAX_ITERATIONS):
        each = delete_each(design, here, rows=False).groups[0]
        score, information = -each.score[:, free], each.hessian[:, free[:, None], free]
        bread = np.linalg.inv(fit.cov_theta[np.ix_(free, free)])
        distance = np.sqrt(np.einsum("gi,gi->g", score, np.linalg.solve(bread, score.T).T))
        if not bound:  # set once, at maximum likelihood
            middle = float(np.median(distance))
            bound = middle + BOUND * 1.4826 * float(np.median(np.abs(distance - middle)))
        weights = np.minimum(1.0, bound / np.maximum(distance, 1e-300))
        total = np.einsum("g,gij->ij", weights, information)
        step = np.linalg.solve(total, weights @ score)
        scale = np.sqrt(np.diag(np.linalg.inv(bread)))
        step *= min(1.0, 1.0 / max(float(np.max(np.abs(step / scale))), 1e-300))
        user = np.concatenate([here.params[:p], here.theta])
        user[free] += step
        params = np.concatenate([user[:p], reported_variances(covariance, user[p:])[0]])
        here = replace(here, params=params, theta=user[p:])
        if float(np.max(np.abs(step / scale))) < SETTLED:
            return _finished(fit, here, covariance, free, weights, score, total)
    raise ModelError(
        "The downweighted fit did not settle: the groups are too few or too different. Compare the fits with and "
        "without the most influential groups instead."
    )


def _finished(fit: Fit, here: Fit, covariance, free, weights: FloatArray, score: FloatArray, total) -> Bounded:
    p, P = fit.n_fixed, len(fit.params)
    half = np.linalg.solve(total, (weights[:, None] * score).T)
    G = len(weights)
    cov = np.full((P, P), 0.0)
    cov[np.ix_(free, free)] = G / (G - 1) * half @ half.T
    jacobian = np.eye(P)
    jacobian[p:, p:] = reported_variances(covariance, here.theta)[1]
    std_err = np.sqrt(np.diag(jacobian @ cov @ jacobian.T))
    gone = ~np.isfinite(np.diag(fit.cov))
    return Bounded(np.where(gone, fit.params, here.params), np.where(gone, np.nan, std_err), weights)
