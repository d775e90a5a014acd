"""A maximum in the scale of the search -> a Fit in the user's units, with what has to be said about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.fit.climb import Summit
from melogit.fit.posterior import Effects
from melogit.fit.types import Status, TermFit
from melogit.likelihood.arrange import Nested
from melogit.likelihood.arrange_crossed import Crossed
from melogit.likelihood.covariance import lambdas, reported_variances, standard_signs
from melogit.optimize import Ending

FloatArray = NDArray[np.float64]
Arranged = Nested | Crossed

# A standard deviation below this, on the scale of the linear predictor, is a variance of zero.
ZERO_SD = 1e-4


@dataclass(frozen=True, slots=True)
class Estimates:
    """Parameters in the user's units and what is known of their uncertainty."""

    params: FloatArray
    cov: FloatArray
    theta: FloatArray
    cov_theta: FloatArray
    zero: tuple[str, ...]  # variances estimated as 0
    perfect: tuple[str, ...]  # covariances at a correlation of +-1
    flat: tuple[str, ...]  # parameters along which the likelihood does not bend
    status: Status


def estimates(arranged: Arranged, design: Design, summit: Summit) -> Estimates:
    """Estimates, covariance matrix and status."""
    p, m, cov = arranged.p, arranged.m, arranged.covariance
    x = summit.x.copy()
    x[p:] *= standard_signs(cov, x[p:])
    scaled_values, _ = reported_variances(cov, x[p:])
    is_variance = cov.reported[:, 1] == cov.reported[:, 2]
    zero = is_variance & (scaled_values < ZERO_SD**2)
    pinned = np.zeros(m, dtype=bool)  # thetas that a zero pins
    for t in range(m):
        entries = np.flatnonzero(cov.basis[:, t])
        level, i, j = cov.entries[entries[0]]
        for r in np.flatnonzero(zero):
            if cov.reported[r, 0] == level and cov.reported[r, 1] in (i, *([j] if i != j else [])):
                pinned[t] = True
    degenerate = _degenerate(arranged, design, x[p:], zero)
    x[p:][pinned & (np.abs(x[p:]) < ZERO_SD)] = 0.0

    user = arranged.to_user @ x
    values, jacobian_var = reported_variances(cov, user[p:])
    values[zero] = 0.0
    free = np.concatenate([np.ones(p, dtype=bool), ~pinned])
    information = -summit.hessian[np.ix_(free, free)]
    signs = np.concatenate([np.ones(p), standard_signs(cov, summit.x[p:])])[free]
    information = information * np.outer(signs, signs)
    inverse, flat_free = _inverse(information)
    T = arranged.to_user[np.ix_(free, free)]
    cov_theta = np.full((p + m, p + m), np.nan)
    cov_theta[np.ix_(free, free)] = T @ inverse @ T.T
    J = np.zeros((p + m, p + m))
    J[:p, :p] = np.eye(p)
    J[p:, p:] = jacobian_var
    report = J[:, free] @ (T @ inverse @ T.T) @ J[:, free].T
    names = (*design.x_names, *cov.names)
    undefined = np.concatenate([np.zeros(p, dtype=bool), zero | _touches(cov.reported, zero)])
    flat_names: tuple[str, ...] = ()
    if flat_free.any():
        flat = np.zeros(p + m, dtype=bool)
        flat[np.flatnonzero(free)[flat_free]] = True
        reach = flat | (np.abs(J) @ flat > 0) | (np.abs(arranged.to_user) @ flat > 0)
        reach[p:] &= ~zero
        undefined |= reach
        flat_names = tuple(np.array(names)[flat])
    report[undefined, :] = np.nan
    report[:, undefined] = np.nan
    zero_names = tuple(np.array(cov.names)[zero])
    perfect = tuple(np.array(cov.names)[degenerate])
    status = {
        Ending.CONVERGED: Status.BOUNDARY if zero_names or perfect else Status.CONVERGED,
        Ending.MAX_ITERATIONS: Status.MAX_ITERATIONS,
        Ending.STALLED: Status.STALLED,
        Ending.NOT_FINITE: Status.NOT_FINITE,
    }[summit.ending]
    return Estimates(
        np.concatenate([user[:p], values]), report, user[p:], cov_theta, zero_names, perfect, flat_names, status
    )


def _touches(reported: NDArray[np.int64], zero: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Covariances of an effect whose variance is zero."""
    gone = {(int(reported[r, 0]), int(reported[r, 1])) for r in np.flatnonzero(zero)}
    return np.array([(int(lv), int(i)) in gone or (int(lv), int(j)) in gone for lv, i, j in reported], dtype=bool)


def _degenerate(arranged: Arranged, design: Design, theta: FloatArray, zero: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Covariances of a block whose correlation matrix is singular though its variances are not zero."""
    reported = arranged.covariance.reported
    out = np.zeros(len(reported), dtype=bool)
    for level, (L, term) in enumerate(zip(lambdas(arranged.covariance, theta), design.terms, strict=True)):
        Sigma = L @ L.T
        for block in term.blocks:
            if block.size == 1 or block.structure not in ("unstructured", "exchangeable"):
                continue
            live = [k for k in range(block.start, block.start + block.size) if Sigma[k, k] >= ZERO_SD**2]
            sd = np.sqrt(np.diag(Sigma)[live])
            if len(live) < 2 or np.linalg.eigvalsh(Sigma[np.ix_(live, live)] / np.outer(sd, sd))[0] > 1e-7:
                continue
            inside = (reported[:, 0] == level) & np.isin(reported[:, 1], live) & np.isin(reported[:, 2], live)
            out |= inside & (reported[:, 1] != reported[:, 2]) & ~zero
    return out


def _inverse(information: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Inverse of the information; where it does not bend, of the rest, naming the parameters concerned."""
    d = np.sqrt(np.maximum(np.abs(np.diag(information)), 1e-300))
    eigen, basis = np.linalg.eigh(information / np.outer(d, d))
    good = eigen > 1e-11
    inverse = (basis[:, good] / eigen[good]) @ basis[:, good].T / np.outer(d, d)
    flat = np.zeros(len(information), dtype=bool)
    for k in np.flatnonzero(~good):
        flat |= np.abs(basis[:, k]) > 0.1
    return inverse, flat


def term_fits(
    arranged: Arranged, design: Design, summit: Summit, found: Estimates, effects: Effects
) -> tuple[TermFit, ...]:
    """Each grouping factor's variances and the posterior of its effects (means, covariances, modes of u)."""
    means, covs, modes = effects
    user_theta = arranged.to_user[arranged.p :, arranged.p :] @ (summit.x[arranged.p :])
    raw = lambdas(arranged.covariance, user_theta)
    tidy = lambdas(arranged.covariance, found.theta)
    out = []
    for level, term in enumerate(design.terms):
        L = raw[level]
        b_cov = L @ covs[level] @ L.T
        sd = np.sqrt(np.maximum(np.einsum("gii->gi", b_cov), 0.0))
        sizes = np.bincount(term.factor.codes, weights=design.weights, minlength=term.factor.n_levels).astype(
            np.float64
        )
        prefix = f"{term.factor.name}:"
        out.append(
            TermFit(
                term.factor.name,
                term.names,
                term.blocks,
                term.factor.levels,
                tidy[level] @ tidy[level].T,
                tuple(
                    n
                    for n, (lv, _, _) in zip(arranged.covariance.names, arranged.covariance.reported, strict=True)
                    if lv == level and n.startswith(prefix)
                ),
                means[level] @ L.T,
                modes[level] @ L.T,
                sd,
                sizes,
            )
        )
    return tuple(out)
