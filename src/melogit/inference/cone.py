r"""The distribution of a likelihood-ratio statistic whose null hypothesis lies on the edge of the parameter space.

Near the null the estimates are a Gaussian projected onto a cone: covariance matrices that stay non-negative definite,
times free directions. The statistic is then the squared length of the projection, a mixture of chi-squared
distributions whose weights depend on the information.

References
----------
Self, S. G. and Liang, K.-Y. (1987). J. Am. Stat. Assoc. 82, 605-610.
Stram, D. O. and Lee, J. W. (1994). Biometrics 50, 1171-1177.
Shapiro, A. (1988). Int. Stat. Rev. 56, 49-62.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

FloatArray = NDArray[np.float64]
DRAWS = 10_000
MAX_STEPS = 2_000


def mixture_p(stat: float, free: int) -> float:
    """P-value when one variance and ``free`` unrestricted parameters are tested: half chi2(free), half chi2(free + 1).

    Examples
    --------
    >>> round(mixture_p(2.705543, 0), 6), round(mixture_p(5.138, 1), 3)
    (0.05, 0.05)
    """
    if stat <= 0:
        return 1.0
    below = float(chdtrc(free, stat)) if free else 0.0
    return 0.5 * below + 0.5 * float(chdtrc(free + 1, stat))


def cone_p(
    stat: float, information: FloatArray, blocks: Sequence[tuple[int, ...]], seed: int = 0, draws: int = DRAWS
) -> tuple[float, FloatArray | None]:
    """P-value by simulating directions and projecting them onto the cone.

    The squared length of the Gaussian is independent of its direction, so each direction contributes an exact
    chi-squared tail: p-values far below 1 / draws are right.

    Parameters
    ----------
    stat : float
    information : (k, k)
        Of the tested parameters, nuisance parameters taken into account.
    blocks : sequence of tuple of int
        Each a non-negative definite matrix, as the positions of its lower triangle, row by row (one position: a
        variance). Positions in no block are unrestricted.
    seed : int
    draws : int

    Returns
    -------
    p : float
    weights : (k + 1,) or None
        Shares of the draws by the number of positive dimensions, where every block is a single variance.

    Examples
    --------
    >>> p, weights = cone_p(4.0, np.eye(2), [(0,), (1,)], draws=4000)
    >>> abs(p - (0.5 * 0.0455 + 0.25 * 0.1353)) < 0.004, bool(abs(weights - [0.25, 0.5, 0.25]).max() < 0.02)
    (True, True)
    """
    k = len(information)
    scale = 1 / np.sqrt(np.maximum(np.diag(information), 1e-300))
    for block in blocks:
        size = _side(block)
        own = np.sqrt(scale[[block[_at(i, i)] for i in range(size)]])
        for i in range(size):
            for j in range(i + 1):
                scale[block[_at(i, j)]] = own[i] * own[j]
    metric = information * np.outer(scale, scale)
    root = np.linalg.cholesky(metric + 1e-12 * np.trace(metric) * np.eye(k))
    draw = np.random.default_rng(seed).standard_normal((draws, k))
    points = np.linalg.solve(root.T, draw.T).T
    projected = project(points, metric, blocks)
    share = np.einsum("ni,ij,nj->n", projected, metric, projected) / np.sum(draw**2, axis=1)
    share = np.clip(share, 1e-300, 1.0)
    p = 1.0 if stat <= 0 else float(np.mean(chdtrc(k, stat / share)))
    if any(len(block) > 1 for block in blocks):
        return p, None
    inside = [block[0] for block in blocks]
    count = k - len(inside) + np.sum(projected[:, inside] > 1e-7, axis=1)
    weights = np.bincount(count, minlength=k + 1) / draws
    if stat > 0:
        p = float(sum(w * (chdtrc(j, stat) if j else 0.0) for j, w in enumerate(weights)))
    return p, weights


def _at(i: int, j: int) -> int:
    """Position of (i, j), i >= j, in a lower triangle listed row by row."""
    return i * (i + 1) // 2 + j


def _side(block: tuple[int, ...]) -> int:
    """Rows of the matrix whose lower triangle has this many entries."""
    return round((np.sqrt(8 * len(block) + 1) - 1) / 2)


def project(points: FloatArray, metric: FloatArray, blocks: Sequence[tuple[int, ...]]) -> FloatArray:
    """Nearest points of the cone (N, k) in the metric, by accelerated projected gradient with restarts."""
    # Dropping negative eigenvalues is the nearest matrix where off-diagonal entries count twice: so they do here.
    twice = np.ones(points.shape[1])
    for block in blocks:
        for i in range(_side(block)):
            twice[[block[_at(i, j)] for j in range(i)]] = np.sqrt(2)
    return _project(points * twice, metric / np.outer(twice, twice), blocks, twice) / twice


def _project(
    points: FloatArray, metric: FloatArray, blocks: Sequence[tuple[int, ...]], twice: FloatArray
) -> FloatArray:
    def into(at: FloatArray) -> FloatArray:
        return _into_cone(at / twice, blocks) * twice

    step = 1 / float(np.linalg.eigvalsh(metric)[-1])
    here = into(points)
    ahead, momentum = here.copy(), 1.0
    for _ in range(MAX_STEPS):
        there = into(ahead - step * (ahead - points) @ metric)
        if np.max(np.abs(there - here)) < 1e-9:
            return there
        if np.sum((ahead - there) * (there - here)) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = there + (momentum - 1) / following * (there - here)
        here, momentum = there, following
    return here


def _into_cone(points: FloatArray, blocks: Sequence[tuple[int, ...]]) -> FloatArray:
    """Make each block non-negative definite, by dropping negative eigenvalues (in place)."""
    for block in blocks:
        if len(block) == 1:
            np.maximum(points[:, block[0]], 0.0, out=points[:, block[0]])
            continue
        size = _side(block)
        matrix = np.empty((len(points), size, size))
        for i in range(size):
            for j in range(i + 1):
                matrix[:, i, j] = matrix[:, j, i] = points[:, block[_at(i, j)]]
        eigen, basis = np.linalg.eigh(matrix)
        matrix = (basis * np.maximum(eigen, 0.0)[:, None, :]) @ basis.transpose(0, 2, 1)
        for i in range(size):
            for j in range(i + 1):
                points[:, block[_at(i, j)]] = matrix[:, i, j]
    return points
