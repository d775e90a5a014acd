r"""The mean of a probability over a normal random effect, and its derivatives.

Every population-averaged quantity is built from
$M_k(t, v) = \int p^{(k)}(t + \sqrt v\, z)\, \varphi(z)\, dz$ with $p(t) = 1/(1 + e^{-t})$: a random effect $z'b$ enters
through its variance $v = z'\Sigma z$ alone, so one dimension is enough for any number of levels and slopes. And
$\partial M_k/\partial t = M_{k+1}$, $\partial M_k/\partial v = M_{k+2}/2$ (the heat equation).

**Accuracy.** The trapezoidal rule in z has an error of about $\exp(-2\pi d/h + d^2/2)$, $d = \pi/\sqrt v$ the distance
of the logistic's poles, and $\exp(-2\pi^2/h^2)$; its step is chosen for 1e-18, since a
derivative of order k has the k-th power of 2 pi/h more.

**Speed.** Many rows with the same v (random intercepts): $M_k$ is tabulated on a grid of step 1/32 in t and expanded by
Taylor's series from the nearest grid point, $|\delta| \le 1/64$. With $|p^{(j)}| \le j!/2\pi^j$ or so, the first term
left out of $M_0$ is below $(1/64\pi)^7 < 10^{-15}$. Rows with different v are evaluated directly, in portions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from melogit.likelihood.quadrature import gauss_hermite

FloatArray = NDArray[np.float64]

TABLE_STEP = 1 / 32
TAYLOR_TERMS = 6
TABLE_FROM = 4_000  # rows from which a table pays
FLAT = 40.0  # beyond this p is 0 or 1 to 17 digits
LOG_ACCURACY = 42.0  # of the value itself; derivatives of order k lose a factor of about (42/d)^k
PORTION = 1 << 15
# Distinct variances for which a table each is made.
MAX_TABLES = 24


@lru_cache(maxsize=32)
def _polynomial(order: int) -> FloatArray:
    """Coefficients of p^(order) in p, lowest first: p' = p (1 - p)."""
    c = np.array([0.0, 1.0])
    for _ in range(order):
        d = c[1:] * np.arange(1, len(c))
        c = np.zeros(len(d) + 2)
        c[1 : len(d) + 1] += d
        c[2:] -= d
    return c


def logistic_derivatives(t: FloatArray, orders: int) -> list[FloatArray]:
    """P and its derivatives up to ``orders`` at ``t``, without loss of digits in either tail."""
    e = np.exp(-np.abs(t))
    large = 1.0 / (1.0 + e)
    small = e * large  # the smaller of p and 1 - p
    out = [np.where(t > 0, large, small)]
    if orders >= 1:
        out.append(small * large)
    if orders >= 2:
        out.append(out[1] * np.copysign(large - small, -t))
    for k in range(3, orders + 1):
        value = np.zeros_like(small)
        for c in _polynomial(k)[:0:-1]:
            value = (value + c) * small
        # p^(k)(-t) = (-1)^(k+1) p^(k)(t)
        out.append(np.where(t > 0, -value, value) if k % 2 == 0 else value)
    return out


def _nodes(v: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of the trapezoidal rule in z, for one variance."""
    h = 2 * np.pi / np.sqrt(2 * LOG_ACCURACY)
    d = np.pi / np.sqrt(v)
    h = min(h, 2 * np.pi * d / (LOG_ACCURACY + d * d / 2)) if d < np.sqrt(2 * LOG_ACCURACY) else h
    k = int(np.ceil(8.5 / h))
    z = h * np.arange(-k, k + 1)
    w = np.exp(-z * z / 2)
    return z, w / w.sum()


@lru_cache(maxsize=16)
def _table(v: float, orders: int) -> tuple[float, FloatArray]:
    """M_0 .. M_orders over the grid, (grid, orders + 1), with the place of the first grid point."""
    reach = FLAT + 9 * float(np.sqrt(v))
    half = int(np.ceil(reach / TABLE_STEP))
    grid = TABLE_STEP * np.arange(-half, half + 1)
    return -half * TABLE_STEP, np.ascontiguousarray(
        _direct(np.asarray(grid, dtype=np.float64), np.full(1, v), orders).T
    )


def _direct(t: FloatArray, v: FloatArray, orders: int) -> FloatArray:
    """M_0 .. M_orders, (orders + 1, n), each row with a rule fine enough for the largest variance present."""
    if v.max() == 0:
        return np.stack(logistic_derivatives(t, orders))
    z, w = _nodes(float(v.max()))
    out = np.empty((orders + 1, len(t)))
    size = max(1, PORTION // len(z))
    for start in range(0, len(t), size):
        part = slice(start, start + size)
        sd = np.sqrt(v if len(v) == 1 else v[part])
        at = t[part, None] + sd[:, None] * z
        for k, values in enumerate(logistic_derivatives(at, orders)):
            out[k, part] = values @ w
    return out


def _by_table(t: FloatArray, v: float, orders: int) -> FloatArray:
    first, table = _table(v, orders + TAYLOR_TERMS)
    last = len(table) - 1
    out = np.empty((orders + 1, len(t)))
    for start in range(0, len(t), PORTION):
        part = slice(start, start + PORTION)
        x = np.clip(t[part], first, -first)
        place = np.rint((x - first) / TABLE_STEP).astype(np.intp)
        np.clip(place, 0, last, out=place)
        delta = x - (first + place * TABLE_STEP)
        near = table[place].T
        for k in range(orders + 1):
            value = near[k + TAYLOR_TERMS].copy()
            for j in range(TAYLOR_TERMS - 1, -1, -1):
                value *= delta / (j + 1)
                value += near[k + j]
            out[k, part] = value
    return out


def averaged(t: FloatArray, v: FloatArray, orders: int) -> FloatArray:
    """Evaluate M_0 .. M_orders, to about 1e-14.

    Parameters
    ----------
    t : (n,)
        Linear predictor without the random effects that are averaged over; may be infinite.
    v : (n,) or (1,)
        Variance of those random effects.
    orders : int

    Returns
    -------
    (orders + 1, n)

    Examples
    --------
    >>> round(averaged(np.ones(1), np.full(1, 4.0), 0).item(), 6)
    0.647726
    """
    t = np.asarray(t, dtype=np.float64)
    if len(v) > 1 and (v == v[0]).all():
        v = v[:1]
    t = np.clip(t, -1e6, 1e6)  # infinite coefficients: p is 0 or 1, all derivatives 0
    if len(t) == 0:
        return np.empty((orders + 1, 0))
    if len(v) == 1:
        if len(t) < TABLE_FROM or v[0] == 0:
            return _direct(t, v, orders)
        return _by_table(t, float(v[0]), orders)
    distinct, which = np.unique(v, return_inverse=True)
    out = np.empty((orders + 1, len(t)))
    if len(distinct) <= MAX_TABLES and len(t) >= TABLE_FROM:
        for k, value in enumerate(distinct):
            rows = which == k
            out[:, rows] = averaged(t[rows], np.array([value]), orders)
        return out
    # Rows of like variance together, so that the narrow ones need not the nodes of the widest.
    order = np.argsort(v)
    for rows in np.array_split(order, max(1, min(16, len(t) // 256))):
        out[:, rows] = _direct(t[rows], v[rows], orders)
    return out


def averaged_by_hermite(
    t: FloatArray, v: FloatArray, orders: int, points: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Do the same by a Gauss-Hermite rule of few points, as Stata does, with the rule's own derivatives in v.

    Returns
    -------
    M, dM/dv : (orders + 1, n) each
    second derivative of M_0 in v : (n,)
    """
    z, log_w, count = gauss_hermite(points, 1)
    z = z[0, :count]
    w = np.exp(log_w[:count] - z * z / 2)
    w = w / w.sum()
    t = np.clip(np.asarray(t, dtype=np.float64), -1e6, 1e6)
    sd = np.sqrt(np.broadcast_to(v, t.shape))
    values = np.zeros((orders + 1, len(t)))
    slopes = np.zeros((orders + 1, len(t)))
    bend = np.zeros(len(t))
    for node, weight in zip(z, w, strict=True):
        p = logistic_derivatives(t + sd * node, max(orders + 2, 4))
        with np.errstate(divide="ignore", invalid="ignore"):
            lever = np.where(sd > 0, weight * node / (2 * sd), 0.0)
            bend += np.where(sd > 0, (lever * node * p[2] - lever * p[1] / sd) / (2 * sd), weight * p[4] / 4)
        for k in range(orders + 1):
            values[k] += weight * p[k]
            slopes[k] += np.where(sd > 0, lever * p[k + 1], weight * p[k + 2] / 2)
    return values, slopes, bend
