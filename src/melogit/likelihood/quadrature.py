"""Nodes and weights, as the kernel takes them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.linalg import eigh_tridiagonal

from melogit.kernel import Rule

LANES = 8  # node lists are padded to a multiple of this


@lru_cache(maxsize=256)
def gauss_hermite(points: int, q: int) -> Rule:
    r"""Gauss-Hermite rule for ``q`` standard-normal dimensions, ``points`` per dimension.

    The log weights are those of $\int e^{-u'u/2} f(u)\,du/(2\pi)^{q/2}$ after the change of variable $u = m + Cz$:
    $\log w_k + z_k'z_k/2$; the kernel adds $\log|C| - u'u/2$.

    Returns
    -------
    z (q, padded), log_weight (padded), n_nodes
    """
    if points == 1:
        return _tensor(np.zeros(1), np.zeros(1), q)
    z, log_w = _hermite(points)
    return _tensor(z, log_w + z * z / 2, q)


@lru_cache(maxsize=64)
def equally_spaced(points: int) -> Rule:
    r"""Equally spaced nodes on $[-1, 1]$: the trapezoidal rule, which converges like $\exp(-2\pi d/h)$ here."""
    z = np.linspace(-1.0, 1.0, points)
    log_w = np.full(points, np.log(2.0 / (points - 1)) - 0.5 * np.log(2 * np.pi))
    return _tensor(z, log_w, 1)


def _hermite(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and log weights of the standard-normal rule, by Newton on orthonormal Hermite functions.

    The functions h_n(z) exp(-z^2/4) neither overflow nor underflow early, so the rule holds for a thousand points,
    where weights themselves leave the range of floating point.
    """
    z = np.asarray(eigh_tridiagonal(np.zeros(points), np.sqrt(np.arange(1, points)), eigvals_only=True))
    z = (z - z[::-1]) / 2

    def last_two(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scale = np.zeros_like(x)
        a, b = np.zeros_like(x), np.ones_like(x)
        for n in range(points):
            a, b = b, (x * b - np.sqrt(n) * a) / np.sqrt(n + 1)
            big = np.maximum(np.abs(a), np.abs(b))
            s = np.where(big > 1e100, big, 1.0)
            a, b, scale = a / s, b / s, scale + np.log(s)
        return a, b, scale

    for _ in range(2):
        below, at, _ = last_two(z)
        z = z - at / (np.sqrt(points) * below)
    below, _, scale = last_two(z)
    return z, -np.log(points) - 2 * (np.log(np.abs(below)) + scale)


def _tensor(z: np.ndarray, log_w: np.ndarray, q: int) -> Rule:
    grids = np.meshgrid(*[z] * q, indexing="ij")
    weights = np.meshgrid(*[log_w] * q, indexing="ij")
    n = len(z) ** q
    padded = -(-n // LANES) * LANES
    nodes = np.zeros((q, padded))
    nodes[:, :n] = np.stack([g.ravel() for g in grids])
    log_weight = np.full(padded, -np.inf)
    log_weight[:n] = sum(w.ravel() for w in weights)
    nodes.flags.writeable = log_weight.flags.writeable = False
    return nodes, log_weight, n
