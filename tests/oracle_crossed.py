"""Brute force for crossed effects in plain NumPy: designs, exact integrals of small ones, simulation of larger ones.

The joint mode and the Laplace approximation by dense algebra stand in ``oracle.py`` and hold for any structure.

What makes references possible: given the effects of all other factors, the groups of one factor are independent, so
their integrals are sums over a short grid. Only the others have to be integrated together: over a full grid where they
are few (``exact``), by randomised quasi-Monte Carlo around the joint mode where they are many (``simulated``). Parts of
the data that no group connects are integrated apart.

Letters as in ``oracle.py``; ``D`` outer effects (of all factors but the last), ``M`` their nodes, ``K`` inner nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit
from scipy.stats import chi2, norm, qmc

import oracle
from melogit.design import Design

Array = np.ndarray


# ---- designs ----------------------------------------------------------------------------------------------------
def make_crossed(y: Array, X: Array, groups: Sequence[Array], Z: Sequence[Array], **options) -> Design:
    """``oracle.make_design`` for factors that cross."""
    return replace(oracle.make_design(y, X, groups, Z, **options), nested=False)


def random_crossed(
    rng: np.random.Generator,
    levels: Sequence[int],
    effects: Sequence[int],
    *,
    n: int = 40,
    p: int = 2,
    binomial: bool = False,
    weights: bool = False,
    offset: bool = False,
) -> tuple[Design, Array, list[Array]]:
    """Random model of crossed factors, all levels seen: design, beta (p,) and one Lambda (q, q) per factor."""
    groups = [rng.permutation(np.arange(n) % g) if g <= n else np.arange(n) for g in levels]
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    Z = [np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))]) for q in effects]
    trials = rng.integers(0, 6, n).astype(float) if binomial else np.ones(n)
    design = make_crossed(
        rng.binomial(trials.astype(int), 0.5),
        X,
        groups,
        Z,
        trials=trials,
        weights=rng.integers(1, 4, n).astype(float) if weights else None,
        offset=rng.normal(scale=0.5, size=n) if offset else None,
    )
    Lambdas = [np.tril(rng.normal(scale=0.3, size=(q, q)), -1) + np.diag(rng.uniform(0.3, 0.9, q)) for q in effects]
    return design, rng.normal(scale=0.5, size=p), Lambdas


def components(design: Design) -> list[Array]:
    """Rows of each part of the data that shares no group with the other parts."""
    n, at = design.n_rows, design.n_rows
    rows, nodes = [], []
    for term in design.terms:
        rows.append(np.arange(n))
        nodes.append(at + term.factor.codes)
        at += term.factor.n_levels
    i, j = np.concatenate(rows), np.concatenate(nodes)
    _, label = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(at, at)), directed=False)
    return [np.flatnonzero(label[:n] == k) for k in np.unique(label[:n])]


# ---- the integral over the last factor, the others given ----------------------------------------------------------
@dataclass(frozen=True)
class Given:
    """Log of the integral over the last factor at M nodes of the other effects, and its gradient in ``pack``."""

    log_value: Array  # (M,), prior of the outer effects not included
    score: Array  # (M, P)


def grid(q: int) -> tuple[Array, Array]:
    """Equally spaced u (q, K) and the log weights with which their sum is an integral against N(0, I)."""
    nodes = oracle.trapezoid(q, *((0.3, 9.0) if q == 1 else (0.45, 7.2)))
    return nodes.z, nodes.log_weights - 0.5 * (nodes.z**2).sum(axis=0)


def given_others(design: Design, beta: Array, Lambdas: Sequence[Array], rows: Array, outer: list[Array]) -> Given:
    """Integrate the last factor out of ``rows``; ``outer`` holds u (G, q, M) of each other factor."""
    *others, last = design.terms
    M, P = outer[0].shape[2], len(oracle.pack(beta, Lambdas))
    u, log_w = grid(last.Z.shape[1])
    value, score = np.zeros(M), np.zeros((M, P))
    for group in np.unique(last.factor.codes[rows]):
        own = rows[last.factor.codes[rows] == group]
        eta = np.repeat((design.offset[own] + design.X[own] @ beta)[:, None], M, axis=1)
        here = [at[term.factor.codes[own]] for term, at in zip(others, outer, strict=True)]  # (rows, q, M)
        for term, L, at in zip(others, Lambdas, here, strict=False):
            eta += np.einsum("ij,ijm->im", term.Z[own] @ L, at)
        eta = eta[:, :, None] + (last.Z[own] @ Lambdas[-1] @ u)[:, None, :]  # (rows, M, K)
        terms = oracle.row_loglik(design, own, eta).sum(axis=0) + log_w
        total = oracle.log_sum_exp(terms, axis=1)
        value += total
        share = np.exp(terms - total[:, None])
        residual = design.weights[own][:, None, None] * (
            design.y[own][:, None, None] - design.trials[own][:, None, None] * expit(eta)
        )
        mean = np.einsum("imk,mk->im", residual, share)
        parts = [mean.T @ design.X[own]]
        for term, at in zip(others, here, strict=True):
            i, j = np.tril_indices(term.Z.shape[1])
            parts.append(np.einsum("im,ip,ipm->mp", mean, term.Z[own][:, i], at[:, j]))
        i, j = np.tril_indices(last.Z.shape[1])
        parts.append(np.einsum("imk,mk,ip,pk->mp", residual, share, last.Z[own][:, i], u[j], optimize=True))
        score += np.concatenate(parts, axis=1)
    return Given(value, score)


# ---- where the outer nodes go -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Outer:
    """Gaussian picture of the outer effects that matter to one component."""

    index: Array  # (D,) positions in the stacked u
    mean: Array  # (D,)
    root: Array  # (D, D), root @ root.T the posterior covariance at the mode


def picture(design: Design, beta: Array, Lambdas: Sequence[Array], rows: Array) -> Outer:
    mode, H, _ = oracle.joint_mode(design, beta, Lambdas)
    _, where = oracle.dense_effects(design, Lambdas)
    keys = [(level, g) for level, t in enumerate(design.terms[:-1]) for g in np.unique(t.factor.codes[rows])]
    index = np.concatenate([np.arange(where[k].start, where[k].stop) for k in keys])
    return Outer(index, mode[index], np.linalg.cholesky(np.linalg.inv(H)[np.ix_(index, index)]))


def by_factor(design: Design, place: Outer, u: Array) -> list[Array]:
    """From the stacked outer effects (D, M) to one (G, q, M) per factor; effects of other components are 0."""
    sizes = [(t.factor.n_levels, t.Z.shape[1]) for t in design.terms[:-1]]
    stacked = np.zeros((sum(g * q for g, q in sizes), u.shape[1]))
    stacked[place.index] = u
    ends = np.cumsum([g * q for g, q in sizes])
    return [stacked[e - g * q : e].reshape(g, q, -1) for (g, q), e in zip(sizes, ends, strict=True)]


def log_prior(u: Array) -> Array:
    """Log density of N(0, I) at the columns of u (D, M)."""
    return -0.5 * (u**2).sum(axis=0) - 0.5 * len(u) * np.log(2 * np.pi)


def exact(
    design: Design, beta: Array, Lambdas: Sequence[Array], *, step: float = 0.6, half_width: float = 7.2
) -> tuple[float, Array]:
    """Log-likelihood and its gradient in ``pack`` by a full grid over all factors but the last.

    For at most about four outer effects in each connected part. Equally spaced nodes around the joint mode: the error
    falls like ``exp(-2 pi d / step)``, about 1e-10 here with variances near 1.
    """
    total, score = oracle.row_constants(design).sum(), 0.0
    for rows in components(design):
        place = picture(design, beta, Lambdas, rows)
        nodes = oracle.trapezoid(len(place.mean), step, half_width)
        u = place.mean[:, None] + place.root @ nodes.z
        # the rule's weights are those of N(0, I): only the step is wanted here
        log_step = nodes.log_weights[0] + 0.5 * len(u) * np.log(2 * np.pi)
        inside = given_others(design, beta, Lambdas, rows, by_factor(design, place, u))
        log_w = inside.log_value + log_prior(u) + log_step + np.linalg.slogdet(place.root)[1]
        value = oracle.log_sum_exp(log_w, axis=0)
        total += value
        score = score + np.exp(log_w - value) @ inside.score
    return float(total), np.asarray(score)


@dataclass(frozen=True)
class Simulated:
    """A simulated log-likelihood and gradient with their Monte Carlo standard errors."""

    loglik: float
    error: float
    score: Array
    score_error: Array


def simulated(
    design: Design,
    beta: Array,
    Lambdas: Sequence[Array],
    *,
    points: int = 1024,
    repeats: int = 8,
    df: float = 12.0,
    seed: int = 0,
    at: tuple[Array, Sequence[Array]] | None = None,
) -> Simulated:
    """Log-likelihood by importance sampling of all factors but the last, the last integrated out.

    Scrambled Sobol points (``repeats`` independent scramblings give the error) through a multivariate t around the
    joint mode: a Gaussian there has thinner tails than the posterior, so that its weights have no variance. ``at``
    places the nodes at other parameters, so that the value is a smooth function of ``beta`` and ``Lambdas``.
    """
    total, score = oracle.row_constants(design).sum(), 0.0
    variance, score_variance = 0.0, 0.0
    for number, rows in enumerate(components(design)):
        place = picture(design, *(at or (beta, Lambdas)), rows)
        D = len(place.mean)
        values, scores = [], []
        for k in range(repeats):
            sobol = qmc.Sobol(D + 1, scramble=True, rng=np.random.default_rng([seed, number, k])).random(points)
            z = norm.ppf(np.clip(sobol[:, :D], 1e-15, 1 - 1e-15)).T
            stretch = np.sqrt(df / chi2.ppf(sobol[:, D], df))
            u = place.mean[:, None] + place.root @ (z * stretch)
            log_w = log_prior(u) - log_t(z * stretch, df) + np.linalg.slogdet(place.root)[1]
            inside = given_others(design, beta, Lambdas, rows, by_factor(design, place, u))
            value = oracle.log_sum_exp(log_w + inside.log_value, axis=0)
            values.append(value - np.log(points))
            scores.append(np.exp(log_w + inside.log_value - value) @ inside.score)
        weight = np.exp(np.array(values) - max(values))
        total += np.log(weight.mean()) + max(values)
        variance += (weight.std(ddof=1) / weight.mean()) ** 2 / repeats
        score = score + weight @ np.array(scores) / weight.sum()
        score_variance = score_variance + np.var(scores, axis=0, ddof=1) / repeats
    return Simulated(float(total), float(np.sqrt(variance)), np.asarray(score), np.sqrt(score_variance))


def log_t(z: Array, df: float) -> Array:
    """Log density of the standard multivariate t at the columns of z (D, M)."""
    from scipy.special import gammaln

    D = len(z)
    constant = gammaln((df + D) / 2) - gammaln(df / 2) - 0.5 * D * np.log(df * np.pi)
    return constant - 0.5 * (df + D) * np.log1p((z**2).sum(axis=0) / df)
