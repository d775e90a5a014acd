r"""The exact likelihood of crossed factors, by importance sampling.

Given the effects u1 of all factors but the eliminated one, the groups of that one are independent, and their integrals
are taken by quadrature. Only u1 is drawn: around its marginal mode, with the covariance that the Laplace approximation
gives, by Latin hypercubes. With several connected components of the data (groups that never meet) the
likelihood is a product, and each factor of it is estimated by itself, which makes the weights far less variable.

References
----------
Durbin, J. and Koopman, S. J. (1997). Biometrika 84, 669-684 (importance sampling at the mode).
Geweke, J. (1989). Econometrica 57, 1317-1339 (self-normalised weights; a multivariate t for safe tails).
Owen, A. B. (1992). J. R. Statist. Soc. B 54, 541-551 (Latin hypercubes: sums of functions of one variable each are
integrated with hardly any error; the error is read off independent copies).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import chdtri, gammaln, ndtri

from melogit import kernel
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.controls import at_draw, by_component, effect_scores, prepare
from melogit.likelihood.crossed import Mode, linear_predictor
from melogit.likelihood.quadrature import gauss_hermite

FloatArray = NDArray[np.float64]

# Points per dimension for the eliminated factor's integrals: as many as stay below the limit in all.
POINTS, MOST_NODES = (15, 9, 7, 5, 3), 130
# Independent hypercubes, from whose spread the error is read.
CUBES = 8
# Degrees of freedom of the t distribution that is drawn from where a component has at most so many effects; beyond,
# its radius would vary far more than the integrand's, and a Gaussian does better.
DEGREES, FEW_EFFECTS = 100.0, 60
CENTRED, MOST_ROUNDS = 1e-6, 50


@dataclass(frozen=True, slots=True)
class Sampler:
    """Numbers drawn once, and which effects belong together.

    Attributes
    ----------
    z : (cubes, points, N)
        What is drawn, before it is scaled and placed.
    log_density : (cubes, points, components)
        Its log density, with -(d/2) log(2 pi) left out.
    of_group, of_effect : int
        Connected component of each group of the eliminated factor and of each effect of the rest.
    components : int
    """

    z: FloatArray
    log_density: FloatArray
    of_group: NDArray[np.int64]
    of_effect: NDArray[np.int64]
    components: int


@dataclass(frozen=True, slots=True)
class Centre:
    """Where the draws are placed: the marginal mode of u1, and the modes of u0 there."""

    u0: FloatArray
    u1: FloatArray


@dataclass(frozen=True, slots=True)
class Sample:
    """What the draws gave at one parameter vector.

    Attributes
    ----------
    loglik : float
        Estimated log-likelihood, binomial constant included.
    error : float
        Its Monte Carlo standard error.
    score : (p + m,)
        Estimated derivative.
    scores : (cubes, p + m)
        The same from each cube alone.
    effective : float
        What the draws are worth, as a share: the least over components.
    """

    loglik: float
    error: float
    score: FloatArray
    scores: FloatArray
    effective: float


def sampler(crossed: Crossed, points: int, seed: int) -> Sampler:
    """Draw ``points`` per hypercube."""
    of_group, of_effect, count = _components(crossed)
    size = np.bincount(of_effect, minlength=count)
    heavy = np.flatnonzero(size <= FEW_EFFECTS)
    rest = crossed.problem.rest
    z = np.empty((CUBES, points, rest))
    log_density = np.empty((CUBES, points, count))
    for k in range(CUBES):
        rng = np.random.default_rng([seed, k])
        strata = rng.permuted(np.tile(np.arange(points), (rest + len(heavy), 1)), axis=1).T
        uniform = (strata + rng.random(strata.shape)) / points
        z[k] = ndtri(uniform[:, :rest])
        stretch = np.ones((points, count))
        stretch[:, heavy] = np.sqrt(DEGREES / chdtri(DEGREES, uniform[:, rest:]))
        z[k] *= stretch[:, of_effect]
        squares = by_component(of_effect, count, z[k] ** 2)
        log_density[k] = -0.5 * squares
        d, nu = size[heavy], DEGREES
        constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - 0.5 * d * np.log(nu / 2)
        log_density[k][:, heavy] = constant - 0.5 * (nu + d) * np.log1p(squares[:, heavy] / nu)
    return Sampler(z, log_density, of_group, of_effect, count)


def _components(crossed: Crossed) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Connected components of the graph whose nodes are groups and effects, and whose edges are rows."""
    problem = crossed.problem
    group = np.repeat(np.arange(problem.groups), np.diff(crossed.first))
    size = problem.groups + problem.rest
    a = np.repeat(group, problem.r)
    b = problem.groups + crossed.column.ravel().astype(np.int64)
    graph = csr_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(size, size))
    count, label = connected_components(graph, directed=False)
    return label[: problem.groups].astype(np.int64), label[problem.groups :].astype(np.int64), int(count)


def _rule(crossed: Crossed) -> kernel.Rule:
    q = crossed.problem.q
    return gauss_hermite(next((k for k in POINTS if k**q <= MOST_NODES), 1), q)


def nodes(crossed: Crossed) -> int:
    """Quadrature points per row and draw."""
    return _rule(crossed)[2]


def centre(crossed: Crossed, x: FloatArray, mode: Mode, start: Centre | None = None) -> Centre | None:
    """Marginal mode of u1, by Newton steps with the Laplace approximation's curvature."""
    A, eta0 = mode.curvature.A, linear_predictor(crossed, x[: crossed.p])
    here = start or Centre(mode.u0, mode.u1)
    for _ in range(MOST_ROUNDS):
        given = kernel.crossed_given(crossed.problem, A, eta0, here.u1, here.u0, _rule(crossed), moments=True)
        if not given.ok or given.moments is None:
            return None
        slope = effect_scores(crossed, A, given.moments[:, 0]) - here.u1
        step = kernel.solve_dense(mode.curvature.rest, slope, crossed.problem.isa)
        here = Centre(given.modes, here.u1 + step)
        if slope @ step < CENTRED * len(slope):
            return here
    return None


def sample(crossed: Crossed, draws: Sampler, x: FloatArray, mode: Mode, at: Centre) -> Sample | None:
    """Estimate log-likelihood and score at ``x`` (p + m,); None where a number is not finite.

    The score is the average, under the weights, of the derivative of the log density with the draws held fixed.
    """
    A, eta0, rule = mode.curvature.A, linear_predictor(crossed, x[: crossed.p]), _rule(crossed)
    root = kernel.invert_dense(mode.curvature.rest, crossed.problem.isa)  # the covariance of u1, at first
    controls = prepare(crossed, x, mode, at.u1, np.diagonal(root).copy())
    kernel.factor_dense(root, crossed.problem.isa)
    root = np.tril(root)
    cubes, points, _ = draws.z.shape
    logs = np.empty((cubes, points, draws.components))
    scores = np.empty((cubes, points, draws.components, len(x)))
    for k in range(cubes):
        u1 = at.u1 + draws.z[k] @ root.T
        logs[k] = -0.5 * by_component(draws.of_effect, draws.components, u1**2) - draws.log_density[k]
        for s in range(points):
            given = kernel.crossed_given(crossed.problem, A, eta0, u1[s], at.u0, rule, moments=True)
            if not given.ok or given.moments is None:
                return None
            logs[k, s] += np.bincount(draws.of_group, weights=given.loglik, minlength=draws.components)
            slope = effect_scores(crossed, A, given.moments[:, 0]) - u1[s]
            zero_mean = by_component(draws.of_effect, draws.components, at_draw(controls, u1[s], slope))
            scores[k, s] = _complete_score(crossed, draws, given.moments, u1[s]) - zero_mean.T
    return _averaged(logs, scores, crossed.constant + float(np.log(np.diagonal(root)).sum()))


def _complete_score(crossed: Crossed, draws: Sampler, moments: FloatArray, u1: FloatArray) -> FloatArray:
    """Derivative of the log density in (beta, theta) with u1 given, by component: (components, p + m)."""
    q = crossed.problem.q
    residual = np.ascontiguousarray(moments[:, 0])
    entries = []
    for z, b in crossed.entry_columns:
        slope = moments[:, 1 + b] if b < q else residual * u1[crossed.column[:, b - q]]
        entries.append(slope if z is None else z * slope)
    if draws.components == 1:
        sums = np.array([slope.sum() for slope in entries])
        return np.concatenate([crossed.X.T @ residual, crossed.covariance.basis.T @ sums])[None, :]
    rows = np.column_stack(entries) @ crossed.covariance.basis
    everything = np.concatenate([crossed.X * moments[:, :1], rows], axis=1)
    by_group = np.add.reduceat(everything, crossed.first[:-1], axis=0)
    return by_component(draws.of_group, draws.components, by_group.T).T


def _averaged(logs: FloatArray, scores: FloatArray, constant: float) -> Sample:
    """Averages under the weights over all draws; the error from the spread of the cubes."""
    cubes, points, _ = logs.shape
    top = logs.max(axis=(0, 1))
    weights = np.exp(logs - top)
    means = weights.mean(axis=1)
    mean = means.mean(axis=0)
    spread = means.std(axis=0, ddof=1) / np.sqrt(cubes) / mean
    # The log of a mean is too low by half its relative variance.
    loglik = float((top + np.log(mean) + 0.5 * spread**2).sum()) + constant
    # The components' errors are independent.
    error = float(np.sqrt((spread**2).sum()))
    effective = float((weights.sum(axis=(0, 1)) ** 2 / (weights**2).sum(axis=(0, 1))).min() / (cubes * points))
    each = np.einsum("ksc,kscp->kp", weights / weights.sum(axis=1, keepdims=True), scores)
    score = np.einsum("ksc,kscp->p", weights / weights.sum(axis=(0, 1)), scores)
    return Sample(loglik, error, score, each, effective)
