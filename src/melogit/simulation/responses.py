"""New responses of rows, drawn from a fitted model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from melogit.effects.parameters import check_defined, linear_predictor
from melogit.effects.posterior import Posterior, draw_effects
from melogit.effects.rows import EffectRows, check_parents
from melogit.fit.types import Fit
from melogit.inference.model_test import normal_effects

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def draw_responses(
    rows: EffectRows,
    trials: IntArray,
    groups: Sequence[IntArray],
    fit: Fit,
    posterior: Posterior | None,
    seed: int,
    count: int,
) -> IntArray:
    """Draw responses: the successes of every row, ``count`` times.

    Parameters
    ----------
    rows : EffectRows
        Its ``codes`` are used with a posterior only.
    trials : (n,)
    groups : per term, (n,)
        Number of the group of each row, 0 upwards, whether the group was fitted or not.
    fit : Fit
    posterior : Posterior or None
        Effects of fitted groups are drawn from it, those of other groups from their normal distribution. Without it
        the effects of all groups are drawn from that.
    seed : int
        Draw j depends on ``(seed, j)`` alone, counted from 1.
    count : int

    Returns
    -------
    (n, count)

    Raises
    ------
    ModelError
        Two infinite coefficients pull a row in opposite directions.
    """
    fixed = linear_predictor(rows.X, fit.params[: fit.n_fixed], rows.offset)
    check_defined(fixed, fit.params, fit.names)
    if posterior is not None:
        check_parents(rows, posterior)
    out = np.empty((rows.n, count), dtype=np.int64)
    for j in range(count):
        rng = np.random.default_rng([seed, j + 1])
        eta = fixed.copy()
        known = None if posterior is None else draw_effects(posterior, rng)
        for level, (Z, group, term) in enumerate(zip(rows.Z, groups, fit.terms, strict=True)):
            effects = normal_effects(term.Sigma, int(group.max()) + 1, rng)[group]
            if known is not None:
                fitted = rows.codes[level] >= 0
                effects[fitted] = known[level][rows.codes[level][fitted]]
            eta += np.einsum("ij,ij->i", Z, effects)
        out[:, j] = rng.binomial(trials, expit(eta))
    return out
