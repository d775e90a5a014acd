"""The posterior of random effects as predictions use it: nested factors as a chain, crossed ones by a joint factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from melogit.effects.joint import Joint
from melogit.fit.types import Fit
from melogit.likelihood.covariance import CovarianceMap, lambdas, reported_variances

FloatArray = NDArray[np.float64]

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
        Regression of u on the effects of all levels above; d is 0 where the factors cross.
    C : (G, q, q)
        Root of the covariance of u given those above.
    Lambda : (q, q)
        b = Lambda u.
    parent : (G,)
        The group of the level above; zeros at the top; -1 where that is not remembered or there is none.
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


@dataclass(frozen=True, slots=True)
class Posterior(Sequence[Level]):
    """The posterior of all random effects.

    Attributes
    ----------
    levels : tuple of Level
        Per factor; top first where nested.
    joint : Joint, optional
        How the effects of crossed factors vary together. Nested ones depend on each other through ``Level.K``.
    """

    levels: tuple[Level, ...]
    joint: Joint | None = None

    @overload
    def __getitem__(self, index: int) -> Level: ...
    @overload
    def __getitem__(self, index: slice) -> Posterior: ...
    def __getitem__(self, index: int | slice) -> Level | Posterior:
        """One factor; or some levels of nested ones, from the top."""
        return self.levels[index] if isinstance(index, int) else Posterior(self.levels[index])

    def __len__(self) -> int:
        return len(self.levels)


def slopes_by_differences(
    covariance: CovarianceMap, fit: Fit, means: Callable[[FloatArray], Sequence[FloatArray]]
) -> list[FloatArray]:
    """Derivative of the posterior means of b in (beta, reported variances), by central differences: (G, q, p + m).

    Parameters
    ----------
    means : function
        From (beta, theta) in the user's units to the means of u, (G, q) per factor.
    """
    p, m = fit.n_fixed, covariance.m
    centre = np.concatenate([fit.params[:p], fit.theta])
    sd = np.sqrt(np.diag(fit.cov_theta))
    slopes = [np.zeros((*u.shape, p + m)) for u in means(centre)]
    for j in np.flatnonzero(np.isfinite(sd) & (sd > 0)):
        sides = []
        for sign in (1.0, -1.0):
            value = centre.copy()
            value[j] += sign * DIFFERENCE * sd[j]
            moved = lambdas(covariance, value[p:])
            sides.append([u @ L.T for u, L in zip(means(value), moved, strict=True)])
        for slope, up, down in zip(slopes, *sides, strict=True):
            slope[:, :, j] = (up - down) / (2 * DIFFERENCE * sd[j])
    _, jacobian = reported_variances(covariance, fit.theta)
    inverse = np.linalg.pinv(jacobian)
    for slope in slopes:
        slope[:, :, p:] = slope[:, :, p:] @ inverse
    return slopes
