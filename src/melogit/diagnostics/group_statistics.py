"""Numbers that tell how the groups of a world look: shape of their effects, spread by size, ties between levels, order.

Each function takes a ``World`` (the data and its fit, or drawn data and theirs) and returns an array of the same length
in every world, so that data and worlds can be compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from melogit.design import Design
from melogit.diagnostics.worlds import World
from melogit.inference.summit import cluster_scores, crossed_scores

FloatArray = NDArray[np.float64]
SHAPE = ("straightness of the QQ plot", "skewness", "kurtosis", "largest effect", "spread by size", "effect by size")
# Points of a QQ plot that are kept of every world.
MOST_POINTS = 401
LEAST_GROUPS = 8


def effect_names(design: Design) -> list[tuple[int, int, str]]:
    """(level, effect, name) of every random effect."""
    return [
        (level, k, f"{term.factor.name}: {name}")
        for level, term in enumerate(design.terms)
        for k, name in enumerate(term.names)
    ]


def ranks(x: FloatArray) -> FloatArray:
    """Ranks from 1, ties sharing their mean."""
    _, at, times = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    return np.asarray((last - (times - 1) / 2)[at], dtype=np.float64)


def correlation(x: FloatArray, y: FloatArray) -> float:
    """Pearson's correlation; NaN where one does not vary."""
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 1e-300 else np.nan


def normal_scores(count: int) -> FloatArray:
    """Expected order statistics of a normal sample (Blom 1958)."""
    return ndtri((np.arange(1, count + 1) - 0.375) / (count + 0.25))


def shape_of_effects(world: World) -> FloatArray:
    """Six numbers per random effect (``SHAPE``), large ones speaking against a normal one: (6 x effects,)."""
    out = []
    for level, k, _ in effect_names(world.design):
        codes = world.design.terms[level].factor.codes
        size = np.bincount(codes, weights=world.design.trials).astype(np.float64)
        out.append(_shape(world.effects[level].z[:, k], size))
    return np.concatenate(out)


def _shape(z: FloatArray, size: FloatArray) -> FloatArray:
    known = np.isfinite(z)
    z, size = z[known], size[known]
    if len(z) < LEAST_GROUPS:
        return np.full(len(SHAPE), np.nan)
    centred = z - z.mean()
    sd = float(np.sqrt(np.mean(centred**2)))
    if sd < 1e-12:
        return np.full(len(SHAPE), np.nan)
    straight = 1 - correlation(np.sort(z), normal_scores(len(z)))
    by_size = [abs(correlation(ranks(v), ranks(size))) for v in (z**2, z)]
    return np.array(
        [
            np.log(max(straight, 1e-12)),
            abs(np.mean((centred / sd) ** 3)),
            abs(np.mean((centred / sd) ** 4) - 3),
            np.max(np.abs(z)),
            *np.nan_to_num(by_size),  # groups of one size: nothing to see
        ]
    )


def quantiles_of_effects(world: World) -> FloatArray:
    """Order statistics of the standardised effects of every random effect, (effects x points,)."""
    out = []
    for level, k, _ in effect_names(world.design):
        z = world.effects[level].z[:, k]
        points = qq_points(len(z))
        known = np.sort(z[np.isfinite(z)])
        middle = (np.arange(1, len(known) + 1) - 0.375) / (len(known) + 0.25)
        out.append(np.interp(points, middle, known) if len(known) else np.full(len(points), np.nan))
    return np.concatenate(out)


def qq_points(groups: int) -> FloatArray:
    """The probabilities of a QQ plot for so many groups."""
    count = min(groups, MOST_POINTS)
    return np.asarray((np.arange(1, count + 1) - 0.375) / (count + 0.25), dtype=np.float64)


# ------------------------------------------------------------------------------------------------ between levels


def ties_between_levels(world: World) -> FloatArray:
    """Rank correlations between a group's effect and what lies in it, for every pair of neighbouring levels.

    Four each: of the upper effect with the mean, with the spread of the lower effects in it, and with the number of
    lower groups; of the number of lower groups with their spread.
    """
    out = []
    terms = world.design.terms
    for level in range(len(terms) - 1):
        upper, lower = world.effects[level].z[:, 0], world.effects[level + 1].z[:, 0]
        parent = np.zeros(len(lower), dtype=np.int64)
        parent[terms[level + 1].factor.codes] = terms[level].factor.codes
        known = np.isfinite(lower)
        number = np.bincount(parent[known], minlength=len(upper)).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.bincount(parent[known], weights=lower[known], minlength=len(upper)) / number
            square = np.bincount(parent[known], weights=lower[known] ** 2, minlength=len(upper)) / number
        use = np.isfinite(upper) & (number >= 2)
        if use.sum() < LEAST_GROUPS:
            out.append(np.full(4, np.nan))
            continue
        a, m, s, c = (ranks(v[use]) for v in (upper, mean, square - mean**2, number))
        out.append(np.nan_to_num([correlation(a, m), correlation(a, s), correlation(a, c), correlation(c, s)]))
    return np.concatenate(out)


# ------------------------------------------------------------------------------------------------------ in order


def serial(world: World, order: NDArray[np.int64], follows: NDArray[np.bool_]) -> FloatArray:
    """Correlation of the Pearson residuals of rows that follow each other in their group.

    Parameters
    ----------
    order : (n,)
        Rows by group and time.
    follows : (n - 1,)
        Whether the next row (in that order) is of the same group.
    """
    design, mu = world.design, world.mu
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = (design.y - design.trials * mu) / np.sqrt(design.trials * mu * (1 - mu))
    e = np.nan_to_num(residual)[order]
    pairs = (e[:-1] * e[1:])[follows]
    return np.array(
        [pairs.sum() / max(float(np.sqrt((e[:-1][follows] ** 2).sum() * (e[1:][follows] ** 2).sum())), 1e-300)]
    )


# ------------------------------------------------------------------------------------------------- influence


def largest_influence(world: World) -> FloatArray:
    """Logs of the largest Cook's distance of a group, to first order: of fixed effects, and of variances.

    Of the top level; of every factor where factors cross, two numbers each.
    """
    return np.concatenate([_largest(world, score) for score in group_scores(world)])


def group_scores(world: World) -> list[FloatArray]:
    """Score of every group of the top level, or share of the score of every group of each crossed factor: (G, P)."""
    if world.summit is None:
        factors = [term.factor.codes.astype(np.int64) for term in world.design.terms]
        return [crossed_scores(world.design, world.fit, codes) for codes in factors]
    to_user = world.summit.nested.to_user
    return [np.asarray(np.linalg.solve(to_user.T, cluster_scores(world.summit).T).T, dtype=np.float64)]


def _largest(world: World, score: FloatArray) -> FloatArray:
    free = np.flatnonzero(np.isfinite(np.diag(world.fit.cov_theta)))
    cov = world.fit.cov_theta[np.ix_(free, free)]
    step = score[:, free] @ cov
    p = world.fit.n_fixed
    out = []
    for block in (np.flatnonzero(free < p), np.flatnonzero(free >= p)):
        if not len(block):
            out.append(np.nan)
            continue
        part = step[:, block]
        try:
            scaled = np.linalg.solve(cov[np.ix_(block, block)], part.T).T
        except np.linalg.LinAlgError:  # a variance next to 0, about which there is no information
            out.append(np.nan)
            continue
        distance = np.einsum("gi,gi->g", part, scaled) / len(block)
        out.append(np.log(max(float(distance.max()), 1e-300)))
    return np.array(out)
