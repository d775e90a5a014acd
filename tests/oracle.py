"""Brute force in plain NumPy: what the engine must agree with, written to be read rather than to be fast.

Nothing here uses the package's likelihood, kernel or optimiser; only the ``Design`` container is shared.

Letters: ``n`` rows, ``p`` fixed effects, ``q`` effects of a unit at its own level, ``D`` effects of its ancestors
(top level first), ``M`` ancestor nodes considered at once, ``K`` nodes of a unit. A *unit* is one group of one level
with everything nested in it. ``u`` are the standardised effects: ``b = Lambda u``, ``u ~ N(0, I)``.

Derivatives are complex steps (Squire & Trapp 1998, SIAM Review 40, 110-112), so every function of the parameters
below also takes complex numbers and never uses abs, max or a comparison on the imaginary part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import gammaln

from melogit.design import Block, Design, GroupingFactor, RandomTerm, Wording

Key = tuple[int, int]  # (level, group)
Array = np.ndarray


# ---- designs made by hand ---------------------------------------------------------------------------------------
def make_design(
    y: Array,
    X: Array,
    groups: Sequence[Array],
    Z: Sequence[Array],
    *,
    trials: Array | None = None,
    weights: Array | None = None,
    offset: Array | None = None,
    blocks: Sequence[tuple[Block, ...]] | None = None,
) -> Design:
    """Build a nested ``Design`` from arrays; ``groups`` and ``Z`` have one entry per level, top level first."""
    y = np.ascontiguousarray(y, dtype=np.float64)
    n = len(y)
    terms = []
    for level, (g, z) in enumerate(zip(groups, Z, strict=True)):
        labels, codes = np.unique(np.asarray(g), return_inverse=True)
        z = np.ascontiguousarray(np.reshape(z, (n, -1)), dtype=np.float64)
        factor = GroupingFactor(f"g{level}", (f"g{level}",), codes.astype(np.int32), labels.astype(str).astype(object))
        own = blocks[level] if blocks is not None else (Block(0, z.shape[1], "unstructured"),)
        terms.append(RandomTerm(factor, z, tuple(f"z{level}{j}" for j in range(z.shape[1])), own))
    ones, zeros = np.ones(n), np.zeros(n)
    X = np.ascontiguousarray(np.reshape(X, (n, -1)), dtype=np.float64)
    return Design(
        y=y,
        trials=ones if trials is None else np.ascontiguousarray(trials, dtype=np.float64),
        weights=ones if weights is None else np.ascontiguousarray(weights, dtype=np.float64),
        offset=zeros if offset is None else np.ascontiguousarray(offset, dtype=np.float64),
        X=X,
        x_names=tuple(f"x{j}" for j in range(X.shape[1])),
        terms=tuple(terms),
        nested=True,
        wording=Wording(formula="made by hand", response="y", rows_read=n, rows_used=n),
        row_labels=np.arange(n),
    )


def random_design(
    rng: np.random.Generator,
    effects: Sequence[int],
    *,
    tops: int = 3,
    children: int = 2,
    rows: int = 3,
    p: int = 2,
    binomial: bool = False,
    weights: bool = False,
    offset: bool = False,
) -> tuple[Design, Array, list[Array]]:
    """Random small nested model: design, beta (p,) and one Lambda (q, q) per level. Group sizes vary, 1 included."""
    groups: list[list[int]] = [[] for _ in effects]
    counters = [0] * len(effects)

    def grow(level: int, path: list[int]) -> None:
        counters[level] += 1
        path = [*path, counters[level]]
        if level == len(effects) - 1:
            for _ in range(int(rng.integers(1, rows + 1))):
                for at, code in zip(groups, path, strict=True):
                    at.append(code)
            return
        for _ in range(int(rng.integers(1, children + 1))):
            grow(level + 1, path)

    for _ in range(tops):
        grow(0, [])
    n = len(groups[0])
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    Z = [np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))]) for q in effects]
    trials = rng.integers(0 if n > 2 else 1, 6, n).astype(float) if binomial else np.ones(n)
    design = make_design(
        rng.binomial(trials.astype(int), 0.5),
        X,
        [np.array(g) for g in groups],
        Z,
        trials=trials,
        weights=rng.integers(1, 4, n).astype(float) if weights else None,
        offset=rng.normal(scale=0.5, size=n) if offset else None,
    )
    Lambdas = [np.tril(rng.normal(scale=0.3, size=(q, q)), -1) + np.diag(rng.uniform(0.3, 0.9, q)) for q in effects]
    return design, rng.normal(scale=0.5, size=p), Lambdas


# ---- the tree of groups -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Unit:
    level: int
    group: int
    rows: Array
    children: tuple[Unit, ...]

    @property
    def key(self) -> Key:
        return (self.level, self.group)


def forest(design: Design) -> list[Unit]:
    """Top-level units with everything nested in them."""

    def units(level: int, rows: Array) -> tuple[Unit, ...]:
        if level == len(design.terms):
            return ()
        codes = design.terms[level].factor.codes[rows]
        return tuple(
            Unit(level, int(g), rows[codes == g], units(level + 1, rows[codes == g])) for g in np.unique(codes)
        )

    return list(units(0, np.arange(design.n_rows)))


# ---- one row ----------------------------------------------------------------------------------------------------
def softplus(eta: Array) -> Array:
    """log(1 + exp(eta)) for real or complex eta, without overflow."""
    positive = np.real(eta) > 0
    small = np.exp(np.where(positive, -eta, eta))
    return np.where(positive, eta, 0) + np.log1p(small)


def row_constants(design: Design) -> Array:
    """(n,) weight times log of the binomial coefficient."""
    n, y = design.trials, design.y
    return design.weights * (gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1))


def row_loglik(design: Design, rows: Array, eta: Array) -> Array:
    """Weighted binomial log-likelihood of ``rows`` at ``eta`` (len(rows), ...), constant left out."""
    shape = (len(rows),) + (1,) * (eta.ndim - 1)
    y, n, w = (a[rows].reshape(shape) for a in (design.y, design.trials, design.weights))
    return w * (y * eta - n * softplus(eta))


def log_sum_exp(a: Array, axis: int) -> Array:
    """Log of the sum of exponentials, complex allowed (shifted by the largest real part)."""
    top = np.real(a).max(axis=axis, keepdims=True)
    return np.log(np.exp(a - top).sum(axis=axis)) + np.squeeze(top, axis)


# ---- nodes ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Nodes:
    """``z`` (q, K) and the log weights (K,) that go with ``exp(-u'u/2)``: see ``log_likelihood``."""

    z: Array
    log_weights: Array


@dataclass(frozen=True)
class Placement:
    """Nodes of one unit: ``u_own = m + K (u_ancestors - m_ancestors) + C z``; m (q,), K (q, D), C (q, q)."""

    m: Array
    K: Array
    C: Array


def tensor(z: Array, log_w: Array, q: int) -> Nodes:
    """All combinations of a one-dimensional rule over ``q`` dimensions, last dimension fastest."""
    index = np.array(list(product(range(len(z)), repeat=q)), dtype=int).reshape(-1, q)
    return Nodes(z[index].T.copy(), log_w[index].sum(axis=1))


def gauss_hermite(points: int, q: int) -> Nodes:
    """Gauss-Hermite rule for the standard normal; log weights are ``log w + z'z / 2``."""
    z, w = np.polynomial.hermite_e.hermegauss(points)
    return tensor(z, np.log(w / w.sum()) + z**2 / 2, q)


def trapezoid(q: int, step: float, half_width: float) -> Nodes:
    """Equally spaced nodes for ``integral of exp(-u'u/2) (2 pi)^(-q/2) f(u)``.

    The error falls like ``exp(-2 pi d / step)``, d the distance of the nearest pole: pi / Lambda for the logistic.
    """
    half = int(np.ceil(half_width / step))
    z = step * np.arange(-half, half + 1)
    return tensor(z, np.full(len(z), np.log(step) - 0.5 * np.log(2 * np.pi)), q)


def at_prior(design: Design) -> dict[Key, Placement]:
    """Nodes that do not move: the placement of ``ghermite`` and of the exact grids."""
    placements = {}
    above = 0
    for level, term in enumerate(design.terms):
        q = term.Z.shape[1]
        for group in range(term.factor.n_levels):
            placements[level, group] = Placement(np.zeros(q), np.zeros((q, above)), np.eye(q))
        above += q
    return placements


# ---- the nested sum ---------------------------------------------------------------------------------------------
def unit_log_integral(
    unit: Unit,
    design: Design,
    eta: Array,
    Lambdas: Sequence[Array],
    nodes: Sequence[Nodes],
    places: Mapping[Key, Placement],
    moved: Array,
    tilt: Mapping[Key, Array],
) -> Array:
    """Log of one unit's sum over its own nodes, for M ancestor nodes at once.

    ``eta`` (rows of the unit, M) holds offset, fixed part and ancestors' effects; ``moved`` (D, M) is u - m of the
    ancestors, top first. ``tilt`` multiplies the integrand by exp(t' u) of the units it names. Returns (M,).
    """
    place, rule = places[unit.key], nodes[unit.level]
    n_paths, n_nodes = eta.shape[1], rule.z.shape[1]
    u = (place.m[:, None] + place.K @ moved)[:, :, None] + (place.C @ rule.z)[:, None, :]  # (q, M, K)
    log_w = rule.log_weights + np.linalg.slogdet(place.C)[1] - 0.5 * (u**2).sum(axis=0)  # (M, K)
    if unit.key in tilt:
        log_w = log_w + np.tensordot(tilt[unit.key], u, axes=1)
    Z = design.terms[unit.level].Z[unit.rows] @ Lambdas[unit.level]
    eta = eta[:, :, None] + np.tensordot(Z, u, axes=1)
    if not unit.children:
        return log_sum_exp(log_w + row_loglik(design, unit.rows, eta).sum(axis=0), axis=1)
    wide = np.repeat(moved, n_nodes, axis=1)
    own = (u - place.m[:, None, None]).reshape(-1, n_paths * n_nodes)
    deeper = np.vstack([wide, own])
    inner = np.zeros(n_paths * n_nodes)
    for child in unit.children:
        inside = np.isin(unit.rows, child.rows)
        at = eta[inside].reshape(len(child.rows), -1)
        inner = inner + unit_log_integral(child, design, at, Lambdas, nodes, places, deeper, tilt)
    return log_sum_exp(log_w + inner.reshape(n_paths, n_nodes), axis=1)


def log_likelihood(
    design: Design,
    beta: Array,
    Lambdas: Sequence[Array],
    nodes: Sequence[Nodes],
    places: Mapping[Key, Placement],
    tilt: Mapping[Key, Array] | None = None,
    units: Sequence[Unit] | None = None,
) -> complex:
    """Log-likelihood, binomial constant included, with each unit's nodes where ``places`` puts them.

    A unit's sum is ``sum_k exp(lw_k + log|C| - u_k'u_k/2 + f(u_k))``, ``lw_k = log w_k + z_k'z_k/2``.
    """
    eta = design.offset + design.X @ beta
    total = 0.0
    for unit in forest(design) if units is None else units:
        start = eta[unit.rows][:, None]
        none = np.zeros((0, 1))
        total = total + unit_log_integral(unit, design, start, Lambdas, nodes, places, none, tilt or {})[0]
    return total + row_constants(design).sum()


def exact(
    design: Design, beta: Array, Lambdas: Sequence[Array], *, step: float = 0.6, half_width: float = 9.6
) -> tuple[list[Nodes], dict[Key, Placement]]:
    """Trapezoidal nodes around the joint mode, scaled by the curvature: exact to about 1e-10 at variances near 1."""
    rules = [trapezoid(t.Z.shape[1], step, half_width) for t in design.terms]
    return rules, mode_curvature_places(design, np.real(beta), [np.real(L) for L in Lambdas])


# ---- derivatives ------------------------------------------------------------------------------------------------
def gradient(f: Callable[[Array], complex], x: Array) -> Array:
    """Complex-step gradient of a real function, exact to rounding."""
    h = 1e-30
    return np.array([np.imag(f(x + 1j * h * e)) / h for e in np.eye(len(x))])


def hessian(f: Callable[[Array], complex], x: Array, step: float = 2e-3) -> Array:
    """Sixth-order central differences of the complex-step gradient; about 1e-11 relative."""
    columns = []
    for e in np.eye(len(x)):
        total = sum(
            c * (gradient(f, x + k * step * e) - gradient(f, x - k * step * e)) for k, c in ((1, 45), (2, -9), (3, 1))
        )
        columns.append(total / (60 * step))
    H = np.array(columns)
    return (H + H.T) / 2


def pack(beta: Array, Lambdas: Sequence[Array]) -> Array:
    """(beta, lower triangle of each Lambda row by row, top level first)."""
    return np.concatenate([beta, *(L[np.tril_indices(len(L))] for L in Lambdas)])


def unpack(design: Design, x: Array) -> tuple[Array, list[Array]]:
    """Inverse of ``pack``; keeps complex numbers."""
    p = design.X.shape[1]
    Lambdas, at = [], p
    for term in design.terms:
        q = term.Z.shape[1]
        L = np.zeros((q, q), dtype=x.dtype)
        L[np.tril_indices(q)] = x[at : at + q * (q + 1) // 2]
        Lambdas.append(L)
        at += q * (q + 1) // 2
    return x[:p], Lambdas


def fixed_node_function(
    design: Design, nodes: Sequence[Nodes], places: Mapping[Key, Placement]
) -> Callable[[Array], complex]:
    """Log-likelihood as a function of ``pack(beta, Lambdas)`` with the nodes held still in u."""

    def f(x: Array) -> complex:
        beta, Lambdas = unpack(design, x)
        return log_likelihood(design, beta, Lambdas, nodes, places)

    return f


# ---- posterior moments ------------------------------------------------------------------------------------------
def posterior_moments(
    design: Design,
    beta: Array,
    Lambdas: Sequence[Array],
    chain: Sequence[Unit],
    nodes: Sequence[Nodes],
    places: Mapping[Key, Placement],
) -> tuple[Array, Array]:
    """Mean (D,) and covariance (D, D) of the stacked u of ``chain`` (a unit after its ancestors, or any of them).

    They are the first two derivatives, in t, of the log of the integral of exp(t'u) times the integrand.
    """
    sizes = [design.terms[unit.level].Z.shape[1] for unit in chain]
    ends = np.cumsum(sizes)
    top = [unit for unit in forest(design) if np.isin(chain[0].rows, unit.rows).all()]

    def tilted(t: Array) -> complex:
        pieces = {unit.key: t[e - s : e] for unit, s, e in zip(chain, sizes, ends, strict=True)}
        return log_likelihood(design, beta, Lambdas, nodes, places, pieces, top)

    t0 = np.zeros(ends[-1])
    return gradient(tilted, t0), hessian(tilted, t0)


def chains(design: Design) -> list[list[Unit]]:
    """For every unit: its ancestors, top first, then itself."""
    out: list[list[Unit]] = []

    def walk(unit: Unit, above: list[Unit]) -> None:
        chain = [*above, unit]
        out.append(chain)
        for child in unit.children:
            walk(child, chain)

    for unit in forest(design):
        walk(unit, [])
    return out


def upper_factor(S: Array) -> Array:
    """Upper triangular C with C C' = S (the inverse of the R of S^-1 = R'R)."""
    return np.linalg.cholesky(S[::-1, ::-1])[::-1, ::-1]


def place_by_gaussian(mean: Array, cov: Array, q: int, factor: Callable[[Array], Array]) -> Placement:
    """Placement of a unit whose chain (ancestors, then its own q effects) is N(mean, cov)."""
    D = len(mean) - q
    K = np.linalg.solve(cov[:D, :D], cov[:D, D:]).T if D else np.zeros((q, 0))
    return Placement(mean[D:], K, factor(cov[D:, D:] - K @ cov[:D, D:]))


def mean_covariance_places(
    design: Design,
    beta: Array,
    Lambdas: Sequence[Array],
    nodes: Sequence[Nodes],
    places: Mapping[Key, Placement],
    factor: Callable[[Array], Array] = np.linalg.cholesky,
) -> dict[Key, Placement]:
    """One adaptation of ``mvaghermite``: moments under the present nodes give the next placement."""
    following = {}
    for chain in chains(design):
        mean, cov = posterior_moments(design, beta, Lambdas, chain, nodes, places)
        q = design.terms[chain[-1].level].Z.shape[1]
        following[chain[-1].key] = place_by_gaussian(mean, cov, q, factor)
    return following


# ---- joint mode and curvature, Laplace --------------------------------------------------------------------------
def dense_effects(design: Design, Lambdas: Sequence[Array]) -> tuple[Array, dict[Key, slice]]:
    """The n x (all effects) matrix Z Lambda, and where each group's effects are."""
    where: dict[Key, slice] = {}
    at = 0
    for level, term in enumerate(design.terms):
        q = term.Z.shape[1]
        for g in range(term.factor.n_levels):
            where[level, g] = slice(at, at + q)
            at += q
    A = np.zeros((design.n_rows, at), dtype=np.result_type(*(L.dtype for L in Lambdas)))
    for level, term in enumerate(design.terms):
        ZL = term.Z @ Lambdas[level]
        for i, g in enumerate(term.factor.codes):
            A[i, where[level, int(g)]] = ZL[i]
    return A, where


def joint_mode(design: Design, beta: Array, Lambdas: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Mode u of the joint posterior, its negative Hessian H there, and eta. Dense Newton, complex allowed."""
    A, _ = dense_effects(design, Lambdas)
    fixed = design.offset + design.X @ beta
    w, n, y = design.weights, design.trials, design.y

    def at(u: Array) -> tuple[complex, Array, Array, Array]:
        eta = fixed + A @ u
        mu = np.exp(-softplus(-eta))
        H = A.T @ (A * (w * n * mu * (1 - mu))[:, None]) + np.eye(len(u))
        value = (w * (y * eta - n * softplus(eta))).sum() - 0.5 * (u @ u)
        return value, A.T @ (w * (y - n * mu)) - u, H, eta

    u = np.zeros(A.shape[1], dtype=np.result_type(A.dtype, fixed.dtype))
    value, g, H, eta = at(u)
    for _ in range(200):
        step = np.linalg.solve(H, g)
        scale = 1.0
        while at(u + scale * step)[0].real < value.real - 1e-12 * abs(value) and scale > 1e-6:
            scale /= 2
        u = u + scale * step
        value, g, H, eta = at(u)
        if np.abs(step).max() < 1e-13:
            break
    for _ in range(2):  # the last digits, and the imaginary part of a complex step
        u = u + np.linalg.solve(H, g)
        value, g, H, eta = at(u)
    return u, H, eta


def laplace(design: Design, beta: Array, Lambdas: Sequence[Array]) -> complex:
    """Laplace approximation of the log-likelihood, for any structure, by dense algebra."""
    u, H, eta = joint_mode(design, beta, Lambdas)
    sign, log_abs = np.linalg.slogdet(H)
    rows = row_loglik(design, np.arange(design.n_rows), eta)
    return rows.sum() - 0.5 * (u @ u) - 0.5 * (log_abs + np.log(sign)) + row_constants(design).sum()


def mode_curvature_places(design: Design, beta: Array, Lambdas: Sequence[Array]) -> dict[Key, Placement]:
    """Placement of ``mcaghermite``: joint mode; C upper triangular, ``u = m + R^-1 z`` with H = R'R."""
    u, H, _ = joint_mode(design, beta, Lambdas)
    _, where = dense_effects(design, Lambdas)
    cov = np.linalg.inv(H)
    places = {}
    for chain in chains(design):
        index = np.concatenate([np.arange(where[c.key].start, where[c.key].stop) for c in chain])
        q = design.terms[chain[-1].level].Z.shape[1]
        places[chain[-1].key] = place_by_gaussian(u[index], cov[np.ix_(index, index)], q, upper_factor)
    return places


def agq_mode_curvature(design: Design, beta: Array, Lambdas: Sequence[Array], points: int) -> float:
    """Log-likelihood of ``mcaghermite`` with this many points per dimension (one point is Laplace)."""
    nodes = [gauss_hermite(points, t.Z.shape[1]) for t in design.terms]
    return float(np.real(log_likelihood(design, beta, Lambdas, nodes, mode_curvature_places(design, beta, Lambdas))))
