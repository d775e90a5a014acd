"""Whether the data tell the variances of a random term apart at all."""

from __future__ import annotations

import numpy as np

from melogit.design import Design
from melogit.likelihood.covariance import CovarianceMap


def unidentified(covariance: CovarianceMap, design: Design) -> tuple[str, ...]:
    """Names of variance parameters of one term that enter the model only through a combination.

    A change D of the covariance matrix that leaves Z_g D Z_g' at zero in every group g changes nothing that could be
    observed. Summed over groups, the squared length of Z_g D Z_g' is tr(D S_g D S_g) with S_g = Z_g' Z_g: a quadratic
    form in the change of the parameters, whose null space is looked for.
    """
    names = []
    for level, term in enumerate(design.terms):
        mine = [r for r in range(covariance.m) if covariance.reported[r, 0] == level]
        q = len(term.names)
        if q == 1:
            continue
        Z = term.Z / np.maximum(np.sqrt((term.Z**2).mean(axis=0)), 1e-300)
        S = np.zeros((term.factor.n_levels, q, q))
        for i in range(q):
            for j in range(q):
                S[:, i, j] = np.bincount(term.factor.codes, weights=Z[:, i] * Z[:, j], minlength=len(S))
        changes = []
        for r in mine:
            _, i, j = covariance.reported[r]
            D = np.zeros((q, q))
            block = next(b for b in term.blocks if b.start <= i < b.start + b.size)
            span = slice(block.start, block.start + block.size)
            if block.structure in ("identity", "exchangeable") and block.size > 1:
                D[span, span] = np.eye(block.size) if i == j else 1.0 - np.eye(block.size)
            else:
                D[i, j] = D[j, i] = 1.0
            changes.append(D @ S)
        form = np.array([[np.einsum("gij,gji->", a, b) for b in changes] for a in changes])
        d = np.sqrt(np.maximum(np.diag(form), 1e-300))
        eigen, basis = np.linalg.eigh(form / np.outer(d, d))
        for k in np.flatnonzero(eigen < 1e-10):
            names += [covariance.names[mine[r]] for r in np.flatnonzero(np.abs(basis[:, k]) > 1e-3)]
    return tuple(dict.fromkeys(names))


def coinciding(design: Design) -> tuple[str, ...]:
    """Names of two factors that make the same groups and share a random effect; empty where there are none."""
    for k, upper in enumerate(design.terms):
        for lower in design.terms[k + 1 :]:
            a, b = upper.factor, lower.factor
            if a.n_levels != b.n_levels or not set(upper.names) & set(lower.names):
                continue
            if len(np.unique(a.codes.astype(np.int64) * b.n_levels + b.codes)) == a.n_levels:
                return (a.name, b.name)
    return ()
