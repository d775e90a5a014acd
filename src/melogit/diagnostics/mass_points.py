r"""The model with one random intercept whose distribution is left free: masses at a few points.

The likelihood of group $g$ is $\sum_k \pi_k \prod_i p(y_i \mid x_i'\beta + a_k)$. Points are added where the
directional derivative $\sum_g f_g(a) / f_g(\hat G) - G$ is largest, until it is nowhere large: then no distribution
whatever, normal or not, fits better (nonparametric maximum likelihood).

References
----------
Laird, N. (1978). J. Amer. Statist. Assoc. 73, 805-811.
Lindsay, B. G. (1983). Ann. Statist. 11, 86-94.
Aitkin, M. (1999). Biometrics 55, 117-128.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln, logsumexp

from melogit.design import Design
from melogit.optimize import Ending, Iterate, Maximum, maximise

FloatArray = NDArray[np.float64]
MOST_POINTS, FIRST_POINTS = 12, 7
MOST_STEPS = 40
NEW_MASSES = (0.003, 0.01, 0.03, 0.1)
# The directional derivative, over the number of groups, and the gain in log-likelihood below which no point is added.
SMALL_DERIVATIVE, SMALL_GAIN = 1e-3, 0.01
GRID = 61


@dataclass(frozen=True, slots=True)
class MassPoints:
    """The fit.

    Attributes
    ----------
    beta, std_err : (p,)
        Of the columns of X other than the constant (the points take its place); NaN standard errors where the
        information does not tell.
    points, masses : (K,)
        In increasing order. A point at ``limits`` stands for one further out, perhaps at infinity.
    limits : (2,)
    loglik : float
        Binomial constant included, comparable with that of the normal model.
    converged : bool
    """

    beta: FloatArray
    std_err: FloatArray
    points: FloatArray
    masses: FloatArray
    limits: tuple[float, float]
    loglik: float
    converged: bool

    @property
    def mean(self) -> float:
        """Of the distribution: what the constant is to the normal model."""
        return float(self.masses @ self.points)

    @property
    def variance(self) -> float:
        """Of the distribution."""
        return float(self.masses @ (self.points - self.mean) ** 2)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows sorted by group, columns without the constant."""

    X: FloatArray
    offset: FloatArray
    y: FloatArray
    trials: FloatArray
    weights: FloatArray
    starts: NDArray[np.int64]
    limits: tuple[float, float]


def fit_mass_points(design: Design, beta: FloatArray, sd: float) -> MassPoints:
    """Fit masses at points, as many as the data ask for.

    Parameters
    ----------
    design : Design
        One grouping factor with a random intercept.
    beta : (p,)
        Estimates of the normal model, to start from.
    sd : float
        Its standard deviation.
    """
    order = np.argsort(design.terms[0].factor.codes, kind="stable")
    codes = design.terms[0].factor.codes[order]
    keep = [j for j, name in enumerate(design.x_names) if name != "Intercept"]
    centre = float(beta[design.x_names.index("Intercept")]) if "Intercept" in design.x_names else 0.0
    reach = max(6.0 * sd, 4.0)
    rows = _Rows(
        design.X[order][:, keep],
        design.offset[order],
        design.y[order],
        design.trials[order],
        design.weights[order],
        np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1]).astype(np.int64),
        (centre - reach, centre + reach),
    )
    scale = np.sqrt(np.mean(rows.X**2, axis=0))
    rows = replace(rows, X=rows.X / scale)
    # A normal distribution in few points is where the climb begins: what is found cannot be much worse.
    z, mass = np.polynomial.hermite_e.hermegauss(FIRST_POINTS)
    at = np.concatenate([beta[keep] * scale, centre + sd * z, np.log(mass / mass[0])[1:]])
    p = len(keep)
    best = _climb(rows, at, p)
    for _ in range(MOST_POINTS):
        at = _pruned(rows, best.at.x, p, sd)
        add = _worst_gap(rows, at, p)
        if add is None or (len(at) - p + 1) // 2 == MOST_POINTS:
            break
        trials = [_with_point(at, p, add, mass) for mass in NEW_MASSES]
        candidate = _climb(rows, max(trials, key=lambda x: _objective(rows, x, p).value), p)
        gained = candidate.at.value - best.at.value
        if gained > 0:
            best = candidate
        if gained < SMALL_GAIN:
            break
    return _finished(design, rows, best.at, p, scale, sd, best.ending is Ending.CONVERGED)


def _climb(rows: _Rows, at: FloatArray, p: int) -> Maximum:
    # Points that meet, or lose their mass, leave flat directions: the value settles long before they do.
    return maximise(
        lambda x, _: _objective(rows, x, p), _objective(rows, at, p), tolerance=1e-6, max_iterations=MOST_STEPS
    )


def _pruned(rows: _Rows, x: FloatArray, p: int, sd: float) -> FloatArray:
    """The same distribution without points that coincide or have no mass."""
    beta, points, log_mass = _split(x, p)
    points = np.clip(points, *rows.limits)
    order = np.argsort(points)
    kept: list[list[float]] = []
    for point, mass in zip(points[order], np.exp(log_mass[order]), strict=True):
        if kept and point - kept[-1][0] < 0.02 * sd:
            total = kept[-1][1] + mass
            kept[-1] = [(kept[-1][0] * kept[-1][1] + point * mass) / max(total, 1e-300), total]
        elif mass > 1e-5:
            kept.append([float(point), float(mass)])
    masses = np.array([mass for _, mass in kept])
    return np.concatenate([beta, [point for point, _ in kept], np.log(masses / masses[0])[1:]])


def _split(x: FloatArray, p: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients, points, and logs of the masses."""
    K = (len(x) - p + 1) // 2
    logits = np.concatenate([[0.0], x[p + K :]])
    return x[:p], x[p : p + K], logits - logsumexp(logits)


def _group_loglik(rows: _Rows, beta: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood of every group at every point (G, K), and the linear predictor (n, K)."""
    eta = (rows.offset + rows.X @ beta)[:, None] + points
    logp = rows.weights[:, None] * (rows.y[:, None] * eta - rows.trials[:, None] * np.logaddexp(0.0, eta))
    return np.add.reduceat(logp, rows.starts, axis=0), eta


def _objective(rows: _Rows, x: FloatArray, p: int) -> Iterate:
    """Log-likelihood with exact gradient and Hessian (Louis 1982)."""
    beta, raw, log_mass = _split(x, p)
    points = np.clip(raw, *rows.limits)
    K, n = len(points), len(rows.y)
    loglik, eta = _group_loglik(rows, beta, points)
    joint = loglik + log_mass
    marginal = np.asarray(logsumexp(joint, axis=1))
    weight = np.exp(joint - marginal[:, None])
    mu = expit(eta)
    residual = rows.weights[:, None] * (rows.y[:, None] - rows.trials[:, None] * mu)
    variance = rows.weights[:, None] * rows.trials[:, None] * mu * (1 - mu)
    size = len(x)
    score = np.zeros((len(marginal), K, size))  # complete data, given that the group sits at point k
    for k in range(K):
        score[:, k, :p] = np.add.reduceat(residual[:, [k]] * rows.X, rows.starts, axis=0)
        score[:, k, p + k] = np.add.reduceat(residual[:, k], rows.starts)
        score[:, k, p + K :] = -np.exp(log_mass[1:])
        if k:
            score[:, k, p + K + k - 1] += 1.0
    mean = np.einsum("gk,gkp->gp", weight, score)
    hessian = (weight[:, :, None] * score).reshape(-1, size).T @ score.reshape(-1, size) - mean.T @ mean
    of_row = np.repeat(weight, np.diff(np.append(rows.starts, n)), axis=0) * variance
    hessian[:p, :p] -= rows.X.T @ (of_row.sum(axis=1)[:, None] * rows.X)
    cross = rows.X.T @ of_row
    hessian[:p, p : p + K] -= cross
    hessian[p : p + K, :p] -= cross.T
    hessian[np.arange(p, p + K), np.arange(p, p + K)] -= of_row.sum(axis=0)
    mass = np.exp(log_mass[1:])
    hessian[p + K :, p + K :] -= len(marginal) * (np.diag(mass) - np.outer(mass, mass))
    gradient = mean.sum(axis=0)
    for k in np.flatnonzero(raw != points):  # beyond the limits nothing changes
        gradient[p + k] = 0.0
        hessian[p + k, :] = hessian[:, p + k] = 0.0
        hessian[p + k, p + k] = -1.0
    value = float(marginal.sum())
    return Iterate(x, value, gradient, hessian, ok=bool(np.isfinite(value) and np.isfinite(gradient).all()))


def _worst_gap(rows: _Rows, x: FloatArray, p: int) -> float | None:
    """Where a new point would help most; None where it would not."""
    beta, points, log_mass = _split(x, p)
    points = np.clip(points, *rows.limits)
    grid = np.linspace(*rows.limits, GRID)
    current = np.asarray(logsumexp(_group_loglik(rows, beta, points)[0] + log_mass, axis=1))
    gain = np.exp(np.minimum(_group_loglik(rows, beta, grid)[0] - current[:, None], 50.0)).mean(axis=0) - 1
    best = int(np.argmax(gain))
    return float(grid[best]) if gain[best] > SMALL_DERIVATIVE else None


def _with_point(x: FloatArray, p: int, point: float, mass: float) -> FloatArray:
    beta, points, log_mass = _split(x, p)
    masses = np.append((1 - mass) * np.exp(log_mass), mass)
    logits = np.log(masses / masses[0])[1:]
    return np.concatenate([beta, points, [point], logits])


def _finished(
    design: Design, rows: _Rows, at: Iterate, p: int, scale: FloatArray, sd: float, converged: bool
) -> MassPoints:
    x = _pruned(rows, at.x, p, sd)
    at = _objective(rows, x, p)
    beta, raw, log_mass = _split(x, p)
    points = np.clip(raw, *rows.limits)
    eigen, basis = np.linalg.eigh(-at.hessian)
    keep = eigen > 1e-7 * eigen[-1]
    variance = np.sum(basis[:p, keep] ** 2 / eigen[keep], axis=1)
    lost = np.sum(basis[:p, ~keep] ** 2, axis=1) > 1e-3
    std_err = np.where(lost, np.nan, np.sqrt(variance))
    y, n = design.y, design.trials
    constant = float(np.sum(design.weights * (gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1))))
    settled = converged or float(np.abs(at.gradient @ (basis[:, keep] / np.sqrt(eigen[keep]))).max()) < 0.05
    return MassPoints(
        beta / scale, std_err / scale, points, np.exp(log_mass), rows.limits, at.value + constant, settled
    )
