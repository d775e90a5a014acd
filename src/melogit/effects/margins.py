r"""Margins: averages of predictions and of their derivatives over rows, with the delta method.

Every margin is $\sum_i w_i f_i / \sum_i w_i$. Its gradient in the parameters is exact: with
$\mu = M_0(t, v)$, $t = x'\beta$ and $v = z'\Sigma z$, $d\mu = M_1 x'd\beta + M_2/2\; z'd\Sigma z$, and for the
derivative in a predictor, $M_1 t' + M_2 v'/2$, one order more of the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.effects.integrals import averaged, averaged_by_hermite
from melogit.effects.parameters import Parameters
from melogit.effects.posterior import Posterior
from melogit.effects.views import Frame, Slope, View, collapse, collapse_slope, differentiate, look
from melogit.errors import ModelError

FloatArray = NDArray[np.float64]
ELASTICITIES = ("dydx", "eyex", "eydx", "dyex")


@dataclass(frozen=True, slots=True)
class Target:
    """What is averaged: a prediction (no name), a derivative, or the change between two levels.

    ``measure`` is ``dydx``, ``eyex``, ``eydx`` or ``dyex``.
    """

    name: str | None = None
    measure: str = "dydx"
    level: object = None
    base: object = None


@dataclass(frozen=True, slots=True)
class Estimates:
    """Margins, their gradients in the parameters (k, p + m), and their loadings on the known random effects (k, r)."""

    values: FloatArray
    gradient: FloatArray
    loading: FloatArray

    def covariance(self, params: Parameters) -> FloatArray:
        """Joint covariance matrix, (k, k)."""
        return self.gradient @ params.cov @ self.gradient.T + self.loading @ self.loading.T


@dataclass(frozen=True, slots=True)
class Piece:
    """Values of rows and the factors of their gradients: by (t, v) of a view, by (t', v') of its slope."""

    values: FloatArray
    view: View
    t: FloatArray
    v: FloatArray
    slope: Slope | None = None
    dt: FloatArray | None = None
    dv: FloatArray | None = None
    sign: float = 1.0


def margins(
    found: Frame,
    params: Parameters,
    settings: Sequence[dict[str, object]],
    targets: Sequence[Target],
    groups: Sequence[NDArray[np.int64] | None],
    kind: str,
    posterior: Posterior | None,
    points: int | None,
    means: bool = False,
) -> Estimates:
    """Estimate every target at every setting in every group of rows, in that order of nesting: settings outermost.

    Parameters
    ----------
    found : Frame
    params : Parameters
    settings : sequence of dict of predictor -> value
    targets : sequence of Target
    groups : sequence of row numbers, or None for all rows
    kind : {"marginal", "fixed", "conditional"}
    posterior : Posterior or None
    points : int or None
        Gauss-Hermite points; None for the exact integral.
    means : bool
        Average the rows of X and Z, then predict once; the weights of the rows then make the means.
    """
    values, gradients, loadings = [], [], []
    for setting in settings:
        for target in targets:
            pieces = _pieces(found, params, setting, target, kind, posterior, points, means)
            for rows in groups:
                weight = np.ones(1) if means else found.rows.weights if rows is None else found.rows.weights[rows]
                share = weight / weight.sum()
                cut = slice(None) if rows is None else rows
                values.append(sum(piece.sign * float(share @ piece.values[cut]) for piece in pieces))
                gradients.append(sum(piece.sign * _gradient(piece, share, rows, params) for piece in pieces))
                if kind == "conditional":
                    assert posterior is not None
                    loadings.append(_all_loadings(pieces, found, share, rows, posterior))
    k = len(values)
    loading = np.array(loadings) if loadings else np.zeros((k, 0))
    return Estimates(np.array(values), np.array(gradients).reshape(k, -1), loading)


def _integrals(view: View, orders: int, points: int | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    """M_0 .. M_orders, their derivatives in v, and (for ``orders`` 2) the second derivative of M_0 in v."""
    v = view.known.variance
    if points is None:
        M = averaged(view.eta, v, 2 * orders)
        return M, M[2:] / 2, M[-1] / 4
    return averaged_by_hermite(view.eta, v, orders, points)


def _pieces(
    found: Frame,
    params: Parameters,
    setting: dict[str, object],
    target: Target,
    kind: str,
    posterior: Posterior | None,
    points: int | None,
    means: bool,
) -> list[Piece]:
    def averaged_view(values: dict[str, object]) -> View:
        view = look(found, params, values, kind, posterior)
        return collapse(found, view, params, kind) if means else view

    if target.name is None or target.level is not None:
        ends = [(setting, 1.0)]
        if target.name is not None:
            ends = [({**setting, target.name: target.level}, 1.0), ({**setting, target.name: target.base}, -1.0)]
        out = []
        for values, sign in ends:
            view = averaged_view(values)
            M, D, _ = _integrals(view, 1, points)
            log = target.measure == "eydx"
            _check_positive(M[0], target)
            f = np.log(M[0]) if log else M[0]
            over = 1 / M[0] if log else 1.0
            out.append(Piece(f, view, M[1] * over, D[0] * over, sign=sign))
        return out
    view = look(found, params, setting, kind, posterior)
    slope = differentiate(found, view, params, target.name, kind, posterior)
    if means:
        slope = collapse_slope(found, view, slope, params, kind)
        view = collapse(found, view, params, kind)
    M, D, bend = _integrals(view, 2, points)
    _check_positive(M[0], target)
    value = M[1] * slope.eta + D[0] * slope.variance
    t = M[2] * slope.eta + D[1] * slope.variance
    v = D[1] * slope.eta + bend * slope.variance
    dt, dv = M[1], D[0]
    scale = slope.at if target.measure in ("eyex", "dyex") else 1.0
    if target.measure in ("eyex", "eydx"):
        scale = scale / M[0]
        t, v = t - value * M[1] / M[0], v - value * D[0] / M[0]
    return [Piece(value * scale, view, t * scale, v * scale, slope, dt * scale, dv * scale)]


def _check_positive(mu: FloatArray, target: Target) -> None:
    """Refuse relative changes of a probability that is 0, as infinite coefficients make it."""
    if target.measure in ("eyex", "eydx") and (mu == 0).any():
        raise ModelError(
            f"{target.measure}= is a relative change, and {int((mu == 0).sum()):,} rows have a probability of exactly "
            "0 (an infinite coefficient). Use dydx=, or leave these rows out by data=."
        )


def _gradient(piece: Piece, share: FloatArray, rows: NDArray[np.int64] | None, params: Parameters) -> FloatArray:
    """Sum over rows of share times the row's gradient, (p + m,)."""
    cut = slice(None) if rows is None else rows
    p = params.p
    out = np.zeros(p + params.m)
    view, weight = piece.view, share * piece.t[cut]
    out[:p] = view.X[cut].T @ weight
    for j, column in view.x.items():
        out[j] = _total(weight, column, cut)
    if view.known.slope is not None:
        out += view.known.slope[cut].T @ weight
    out[p:] += _matrix_total(share * piece.v[cut], view.known.by_parameter, cut)
    slope = piece.slope
    if slope is not None:
        assert piece.dt is not None and piece.dv is not None
        weight = share * piece.dt[cut]
        for j, column in slope.x.items():
            out[j] += _total(weight, column, cut)
        if slope.known is not None:
            out += slope.known[cut].T @ weight
        out[p:] += _matrix_total(share * piece.dv[cut], slope.by_parameter, cut)
    return out


def _total(weight: FloatArray, column: FloatArray, cut) -> float:
    return float(weight.sum() * column[0]) if len(column) == 1 else float(weight @ column[cut])


def _matrix_total(weight: FloatArray, matrix: FloatArray, cut) -> FloatArray:
    return weight.sum() * matrix[0] if len(matrix) == 1 else weight @ matrix[cut]


def _level_weights(
    piece: Piece, found: Frame, share: FloatArray, rows: NDArray[np.int64] | None, posterior: Posterior
) -> list[FloatArray]:
    """How far the margin moves with the effects b of each known group, (G, q) per level."""
    cut = slice(None) if rows is None else rows
    out = []
    for level, part in enumerate(posterior):
        code = found.rows.codes[level][cut]
        known = code >= 0
        pull = (share * piece.t[cut])[:, None] * piece.view.Z[level][cut]
        if piece.slope is not None and piece.slope.z is not None and piece.dt is not None:
            pull = pull + (share * piece.dt[cut])[:, None] * piece.slope.z[level][cut]
        total = np.zeros(part.mean.shape)
        np.add.at(total, code[known], pull[known])
        out.append(total)
    return out


def _all_loadings(
    pieces: Sequence[Piece], found: Frame, share: FloatArray, rows: NDArray[np.int64] | None, posterior: Posterior
) -> FloatArray:
    out = np.zeros(sum(part.mean.size for part in posterior))
    for piece in pieces:
        out += piece.sign * _loading(_level_weights(piece, found, share, rows, posterior), posterior)
    return out


def _loading(weights: Sequence[FloatArray], posterior: Posterior) -> FloatArray:
    """Coefficients on independent standard normals whose sum of squares is the posterior variance of the margin."""
    if posterior.joint is not None:
        return posterior.joint.whiten([w @ part.Lambda for w, part in zip(weights, posterior, strict=True)])
    sizes = [part.mean.shape[1] for part in posterior]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    below: FloatArray | None = None  # (G, effects of this level and above): weight of each u from the levels below
    out = []
    for level in range(len(posterior) - 1, -1, -1):
        part = posterior[level]
        own = weights[level] @ part.Lambda
        pull = np.zeros((len(own), starts[level + 1])) if below is None else below
        pull[:, starts[level] :] += own
        out.append(np.einsum("gij,gi->gj", part.C, pull[:, starts[level] :]).ravel())
        if level:
            up = pull[:, : starts[level]] + np.einsum("gij,gi->gj", part.K, pull[:, starts[level] :])
            below = np.zeros((len(posterior[level - 1].mean), starts[level]))
            np.add.at(below, part.parent, up)
    return np.concatenate(out)
