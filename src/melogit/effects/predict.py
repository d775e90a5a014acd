r"""Predictions for single rows, with standard errors, intervals and draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from melogit.effects.integrals import averaged, averaged_by_hermite
from melogit.effects.parameters import Parameters, check_defined, drawn_parameters, linear_predictor, parameters
from melogit.effects.posterior import Posterior, draw_effects
from melogit.effects.rows import EffectRows, Known, all_zero, fixed_part, nothing_known, partly_known
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.inference import logit_interval, normal_interval

FloatArray = NDArray[np.float64]
Kind = Literal["mu", "mu_fixed", "marginal", "xb", "eta"]
KINDS: tuple[str, ...] = get_args(Kind)
NEEDS_GROUPS = ("mu", "eta")
PORTION = 20_000  # rows at a time, where every row has a gradient


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions, (n,) each; ``std_err`` and the limits are None where they were not asked for."""

    values: FloatArray
    std_err: FloatArray | None = None
    low: FloatArray | None = None
    high: FloatArray | None = None


def check_kind(kind: str) -> None:
    """Refuse a kind of prediction that does not exist."""
    if kind not in KINDS:
        raise ModelError(
            f"kind={kind!r} is not known. Use 'mu' (probability, given the groups' own effects), 'mu_fixed' "
            "(random effects 0), 'marginal' (averaged over the random effects), 'xb' (linear predictor of the fixed "
            "part) or 'eta' (with the groups' own effects)."
        )


def predict(
    fit: Fit,
    rows: EffectRows,
    kind: str,
    posterior: Posterior | None,
    *,
    uncertain: bool = False,
    level: float = 0.95,
    points: int | None = None,
) -> Predicted:
    """Predict each row.

    Parameters
    ----------
    fit : Fit
    rows : EffectRows
    kind : str
        See ``check_kind``.
    posterior : Posterior or None
        For ``mu`` and ``eta``.
    uncertain : bool
        Also standard errors and intervals: delta method over all parameters, and for ``mu`` and ``eta`` the
        posterior variance of the groups' effects. Intervals of probabilities are symmetric in the log odds.
    level : float
    points : int, optional
        Gauss-Hermite points of the average over the random effects; by default it is exact.
    """
    check_kind(kind)
    found = parameters(fit)
    known = what_is_known(rows, found, kind, posterior)
    t = fixed_part(rows, found) + known.shift
    check_defined(t, found.beta, found.names)
    on_probability = kind in ("mu", "mu_fixed", "marginal")
    if not on_probability:
        values, lever, by_variance = t, np.ones(rows.n), np.zeros(rows.n)
    elif points is None:
        M = averaged(t, known.variance, 2 if uncertain else 0)
        values = M[0]
        lever, by_variance = (M[1], M[2] / 2) if uncertain else (M[0], M[0])
    else:
        M, D, _ = averaged_by_hermite(t, known.variance, 1, points)
        values, lever, by_variance = M[0], M[1], D[0]
    if not uncertain:
        return Predicted(values)
    std_err = np.sqrt(_variances(rows, found, known, lever, by_variance))
    std_err[np.isinf(t)] = np.nan  # an infinite coefficient has no standard error
    limits = logit_interval if on_probability else normal_interval
    low, high = limits(values, std_err, level)
    return Predicted(values, std_err, low, high)


def what_is_known(rows: EffectRows, found: Parameters, kind: str, posterior: Posterior | None) -> Known:
    """Match a kind of prediction to what it knows of the random effects."""
    if kind == "marginal":
        return nothing_known(rows, found)
    if kind in NEEDS_GROUPS:
        assert posterior is not None
        return partly_known(rows, found, posterior)
    return all_zero(found)


def _variances(
    rows: EffectRows, found: Parameters, known: Known, lever: FloatArray, by_variance: FloatArray
) -> FloatArray:
    """Delta method row by row, and the posterior variance of the groups' effects."""
    out = np.empty(rows.n)
    p = found.p
    for start in range(0, rows.n, PORTION):
        part = slice(start, min(start + PORTION, rows.n))
        gradient = np.empty((part.stop - part.start, p + found.m))
        gradient[:, :p] = rows.X[part]
        gradient[:, p:] = 0.0
        if known.slope is not None:
            gradient += known.slope[part]
        gradient *= lever[part, None]
        by = known.by_parameter if len(known.by_parameter) == 1 else known.by_parameter[part]
        gradient[:, p:] += by_variance[part, None] * by
        out[part] = found.variance(gradient)
    return out + lever**2 * known.spread


def draw(
    fit: Fit, rows: EffectRows, kind: str, posterior: Posterior | None, draws: int, seed: int | None
) -> FloatArray:
    """Draw predictions from their approximate distribution, (n, draws).

    Parameters are drawn from their normal approximation (standard deviations and correlations through the Cholesky
    factors, so that every draw is a covariance matrix), the effects of known groups from their posterior.
    """
    check_kind(kind)
    rng = np.random.default_rng(seed)
    found = parameters(fit)
    beta, Lambda = drawn_parameters(fit, draws, rng)
    out = np.empty((rows.n, draws))
    centre = np.concatenate([found.beta, fit.params[fit.n_fixed :]])
    for k in range(draws):
        Sigma = tuple(L @ L.T for L in Lambda[k])
        t = linear_predictor(rows.X, beta[k], rows.offset)
        now = Parameters(beta[k], Sigma, found.basis, found.cov, found.names)
        if kind in NEEDS_GROUPS:
            assert posterior is not None
            with np.errstate(invalid="ignore"):  # infinite coefficients do not move
                moved = np.concatenate([beta[k], _reported(found, Sigma)]) - centre
            t = t + _drawn_effects(rows, posterior, np.where(np.isfinite(moved), moved, 0.0), rng)
            variance = np.zeros(rows.n)
            for Z, S, code in zip(rows.Z, Sigma, rows.codes, strict=True):
                variance += np.where(code < 0, np.einsum("ni,ij,nj->n", Z, S, Z), 0.0)
        else:
            variance = what_is_known(rows, now, kind, None).variance
        out[:, k] = t if kind in ("xb", "eta") else averaged(t, variance, 0)[0] if kind != "mu_fixed" else expit(t)
    return out


def _reported(found: Parameters, Sigma: tuple[FloatArray, ...]) -> FloatArray:
    """The variance parameters that make these matrices: Sigma is linear in them, each with entries of its own."""
    out = np.zeros(found.m)
    for S, basis in zip(Sigma, found.basis, strict=True):
        for r, B in enumerate(basis):
            if B.any():
                i, j = np.argwhere(B != 0)[0]
                out[r] = S[i, j]
    return out


def _drawn_effects(rows: EffectRows, posterior: Posterior, moved: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One draw of the sum of z'b over known groups: every group has one draw, shared by its rows."""
    total = np.zeros(rows.n)
    for level, b in enumerate(draw_effects(posterior, rng, moved)):
        known = np.flatnonzero(rows.codes[level] >= 0)
        total[known] += np.einsum("ni,ni->n", rows.Z[level][known], b[rows.codes[level][known]])
    return total
