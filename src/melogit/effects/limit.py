"""The posterior of the groups where some coefficients are infinite."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.effects.levels import Level, Posterior
from melogit.effects.posterior import find_posterior
from melogit.fit.types import Fit
from melogit.inference.limit import finite_part

FloatArray = NDArray[np.float64]


def posterior_in_the_limit(design: Design, fit: Fit, what: str, *, slopes: bool) -> Posterior:
    """Posterior of all groups from the rows that are not fitted perfectly; groups without such rows keep their prior.

    Raises
    ------
    ModelError
        See ``finite_part``.
    """
    limit = finite_part(design, fit, what)
    found = find_posterior(limit.design, limit.fit, slopes=slopes)
    out, above = [], np.zeros(1, dtype=np.int64)
    for level, (part, term) in enumerate(zip(found, design.terms, strict=True)):
        seen = np.unique(term.factor.codes[limit.rows]).astype(np.int64)
        G = term.factor.n_levels
        parent = np.zeros(G, dtype=np.int64)
        if level:
            parent[term.factor.codes] = above
        slope = None
        if part.slope is not None:
            slope = np.zeros((G, part.mean.shape[1], len(fit.params)))
            slope[np.ix_(seen, np.arange(part.mean.shape[1]), limit.kept)] = part.slope
        C = np.tile(np.eye(part.mean.shape[1]), (G, 1, 1))
        C[seen] = part.C
        filled = [_filled(values, seen, G) for values in (part.mean, part.mode, part.K)]
        out.append(Level(filled[0], filled[1], filled[2], C, part.Lambda, parent, slope))
        above = term.factor.codes
    return Posterior(tuple(out))


def _filled(values: FloatArray, seen: NDArray[np.int64], count: int) -> FloatArray:
    out = np.zeros((count, *values.shape[1:]))
    out[seen] = values
    return out
