r"""What each row and each group does to the estimates where factors cross: from the Laplace approximation of the fit.

No integral of such a model falls apart by group, so nothing here is exact, as ``deletion`` is for nested groups.

*Rows.* The posterior of a row's linear predictor is taken as normal, with the mode $m$ and the variance $v$ of the
Laplace approximation. Taking the row's own likelihood away (residual $r$, weight $w$) leaves a normal distribution with
mean $m - v r / (1 - v w)$ and variance $v / (1 - v w)$, and $g_i(\psi) = \log \int p(y_i | \eta) N(\eta)$ is the log
probability of the row given all others (Vehtari et al. 2016, J. Mach. Learn. Res. 17(103), section 2.3). Without the
row the log-likelihood is $L - g_i$; its score is $-\partial g_i / \partial \psi$, by central differences over modes
found again.

*Groups.* The same, with $g$ the Laplace approximation of the group's log probability given the effects of the other
factors at their modes, which move with $\psi$; the information is that of all data. A first step only: the most
influential groups are to be refitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from melogit.design import Design
from melogit.diagnostics.deletion import Deleted, Deletions, Rows
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.likelihood.arrange_crossed import Crossed, arrange_crossed
from melogit.likelihood.crossed import Mode, find_mode, invert, linear_predictor

FloatArray = NDArray[np.float64]
STEP = 0.01  # standard errors, of the differences
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(21)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Every row's linear predictor at one parameter vector, (n,) each, in the order of the design.

    ``mean`` and ``variance`` are those given all rows, ``centre`` and ``width`` those given all other rows; ``loglik``
    is the log probability of the row given these, ``groups`` that of every group of every factor.
    """

    mean: FloatArray
    variance: FloatArray
    centre: FloatArray
    width: FloatArray
    loglik: FloatArray
    groups: tuple[FloatArray, ...]


def delete_each_crossed(design: Design, fit: Fit, *, rows: bool) -> Deletions:
    """Leave out every group of every factor, and every row, one at a time; approximately.

    Raises
    ------
    ModelError
        The modes could not be found.
    """
    P, n = len(fit.cov_theta), design.n_rows
    crossed = arrange_crossed(design)
    user = np.concatenate([fit.params[: fit.n_fixed], fit.theta])
    mode, here = _look(crossed, design, user, None)
    groups = [Deleted(np.zeros((len(g), P)), np.zeros((len(g), P, P)), g) for g in here.groups]
    score, slope, away = np.zeros((n, P)), np.zeros((n, P)), np.zeros((n, P))
    error = np.sqrt(np.diag(fit.cov_theta))
    for j in np.flatnonzero(np.isfinite(error)):
        step = STEP * error[j] * np.eye(P)[j]
        up, down = (_look(crossed, design, user + sign * step, mode)[1] for sign in (1, -1))
        width = 2 * step[j]
        for deleted, a, b in zip(groups, up.groups, down.groups, strict=True):
            deleted.score[:, j] = -(a - b) / width
        score[:, j] = -(up.loglik - down.loglik) / width
        slope[:, j] = (up.mean - down.mean) / width
        away[:, j] = (up.centre - down.centre) / width
    if not rows:
        return Deletions(None, tuple(groups))
    probability = expit(here.centre[:, None] + np.sqrt(here.width)[:, None] * NODES)
    share = WEIGHTS / WEIGHTS.sum()
    others = probability @ share
    information = design.weights * design.trials * others * (1 - others)
    hessian = information[:, None, None] * away[:, :, None] * away[:, None, :]
    alone = Deleted(score, hessian, here.loglik)
    spread = np.maximum(probability**2 @ share - others**2, 0.0)
    return Deletions(Rows(alone, here.mean, here.variance, slope, others, spread), tuple(groups))


def _look(crossed: Crossed, design: Design, user: FloatArray, near: Mode | None) -> tuple[Mode, _Seen]:
    """Find the mode at (beta, theta) in the user's units, and every row with and without itself."""
    x = np.asarray(np.linalg.solve(crossed.to_user, user), dtype=np.float64)
    u0 = np.zeros((crossed.problem.groups, crossed.problem.q)) if near is None else near.u0
    u1 = np.zeros(crossed.problem.rest) if near is None else near.u1
    mode = find_mode(crossed, x, u0, u1)
    if mode is None:
        raise ModelError("The posterior modes could not be found again at the estimates. Fit the model once more.")
    v = invert(crossed, mode)[1]
    A = mode.curvature.A
    eta = linear_predictor(crossed, x[: crossed.p]) + np.einsum("ij,ij->i", A, crossed.spread(mode.u0, mode.u1))
    left = 1 - np.minimum(v * mode.rows.weight, 1 - 1e-9)
    centre, width = eta - v * mode.rows.residual / left, v / left
    mean, variance, centre, width = (_in_order(crossed, part) for part in (eta, v, centre, width))
    at = centre[:, None] + np.sqrt(width)[:, None] * NODES
    weighted, y = design.weights[:, None], design.y[:, None]
    log_p = weighted * (y * at - design.trials[:, None] * np.logaddexp(0.0, at))
    top = log_p.max(axis=1, keepdims=True)
    loglik = top[:, 0] + np.log(np.exp(log_p - top) @ (WEIGHTS / WEIGHTS.sum()))
    own = design.weights * (design.y * mean - design.trials * np.logaddexp(0.0, mean))
    return mode, _Seen(mean, variance, centre, width, loglik, _of_groups(crossed, design, mode, own))


def _of_groups(crossed: Crossed, design: Design, mode: Mode, own: FloatArray) -> tuple[FloatArray, ...]:
    """Log probability of every group's rows, its own effects integrated out, all others at the mode."""
    u, weight = crossed.spread(mode.u0, mode.u1), mode.rows.weight
    out = []
    for term, at in zip(design.terms, crossed.at, strict=True):
        G, q = term.factor.n_levels, len(term.names)
        codes = term.factor.codes[crossed.order]
        effects, loads = np.zeros((G, q)), mode.curvature.A[:, at : at + q]
        effects[codes] = u[:, at : at + q]
        curvature = np.zeros((G, q, q))
        for a in range(q):
            for b in range(q):
                curvature[:, a, b] = (a == b) + np.bincount(codes, weight * loads[:, a] * loads[:, b], minlength=G)
        total = np.bincount(term.factor.codes, weights=own, minlength=G)
        out.append(total - 0.5 * (effects**2).sum(axis=1) - 0.5 * np.linalg.slogdet(curvature)[1])
    return tuple(out)


def _in_order(crossed: Crossed, values: FloatArray) -> FloatArray:
    """Numbers of the kernel's rows in the order of the design."""
    out = np.empty(len(values))
    out[crossed.order] = values
    return out
