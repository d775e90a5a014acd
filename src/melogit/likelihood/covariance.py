r"""Covariance structures: parameters theta <-> Lambda, and to the variances that are reported.

Every structure is written so that Lambda is linear in theta:

- ``unstructured``: the lower triangle of Lambda, row by row (Cholesky factor);
- ``independent``: its diagonal;
- ``identity``: one standard deviation;
- ``exchangeable``: Lambda = a I + b J, the symmetric root of v [(1 - r) I + r J] (J all ones).

The likelihood does not change when a column of Lambda changes sign, so a zero is always a stationary point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import RandomTerm

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CovarianceMap:
    """How one theta makes the Lambda of every level.

    Attributes
    ----------
    entries : (m_entries, 3) int32
        Level, row, column of each entry of a Lambda that is not zero by structure.
    basis : (m_entries, m)
        Entries = basis @ theta.
    sizes : per level, q
    names : tuple of str
        Names of the reported variances and covariances, one per theta.
    term_of : (m,) int
        Level of each theta.
    reported : (m, 3) int
        Level, row, column of Sigma that each reported parameter stands for.
    """

    entries: NDArray[np.int32]
    basis: FloatArray
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    term_of: NDArray[np.int64]
    reported: NDArray[np.int64]

    @property
    def m(self) -> int:
        """Number of covariance parameters."""
        return self.basis.shape[1]


def covariance_map(terms: Sequence[RandomTerm]) -> CovarianceMap:
    """Lay out the covariance parameters of a model's random terms."""
    entries: list[tuple[int, int, int]] = []
    columns: list[list[int]] = []  # theta index -> entry indices it feeds
    names: list[str] = []
    reported: list[tuple[int, int, int]] = []
    for level, term in enumerate(terms):
        for block in term.blocks:
            span = range(block.start, block.start + block.size)
            label = [term.names[k] for k in span]
            group = term.factor.name
            if block.structure == "independent" or (block.size == 1):
                for k, name in zip(span, label, strict=True):
                    columns.append([len(entries)])
                    entries.append((level, k, k))
                    names.append(f"{group}:var({name})")
                    reported.append((level, k, k))
            elif block.structure == "unstructured":
                for i in span:
                    for j in range(block.start, i + 1):
                        columns.append([len(entries)])
                        entries.append((level, i, j))
                for k, name in zip(span, label, strict=True):
                    names.append(f"{group}:var({name})")
                    reported.append((level, k, k))
                for a, i in enumerate(span):
                    for b in range(a):
                        names.append(f"{group}:cov({label[b]},{label[a]})")
                        reported.append((level, i, block.start + b))
            else:
                joined = ",".join(label)
                diagonal = [len(entries) + k for k in range(block.size)]
                entries += [(level, k, k) for k in span]
                columns.append(list(diagonal))
                names.append(f"{group}:var({joined})")
                reported.append((level, block.start, block.start))
                if block.structure == "exchangeable":
                    off = [(level, i, j) for i in span for j in span if i != j]
                    columns.append(diagonal + [len(entries) + k for k in range(len(off))])
                    entries += off
                    names.append(f"{group}:cov({joined})")
                    reported.append((level, block.start + 1, block.start))
    basis = np.zeros((len(entries), len(columns)))
    for t, rows in enumerate(columns):
        basis[rows, t] = 1.0
    term_of = np.array([entries[rows[0]][0] for rows in columns], dtype=np.int64)
    return CovarianceMap(
        np.array(entries, dtype=np.int32).reshape(-1, 3),
        basis,
        tuple(len(t.names) for t in terms),
        tuple(names),
        term_of,
        np.array(reported, dtype=np.int64).reshape(-1, 3),
    )


def lambdas(cov: CovarianceMap, theta: FloatArray) -> list[FloatArray]:
    """Lambda of every level at ``theta`` (m,)."""
    out = [np.zeros((q, q)) for q in cov.sizes]
    for (level, i, j), value in zip(cov.entries, cov.basis @ theta, strict=True):
        out[level][i, j] = value
    return out


def reported_variances(cov: CovarianceMap, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variances and covariances, in the order of ``cov.names``, and their derivatives in theta.

    Returns
    -------
    values (m,), jacobian (m, m)
    """
    Lambda = lambdas(cov, theta)
    values = np.empty(cov.m)
    jacobian = np.zeros((cov.m, cov.m))
    for r, (level, i, j) in enumerate(cov.reported):
        L = Lambda[level]
        values[r] = L[i] @ L[j]
        by_entry = np.zeros(len(cov.entries))
        for e, (lev, a, b) in enumerate(cov.entries):
            if lev == level:
                by_entry[e] = (a == i) * L[j, b] + (a == j) * L[i, b]
        jacobian[r] = by_entry @ cov.basis
    return values, jacobian


def standard_signs(cov: CovarianceMap, theta: FloatArray) -> FloatArray:
    """The same covariance matrices with non-negative diagonals of Lambda: +1 or -1 per theta, to be multiplied."""
    signs = np.ones(cov.m)
    values = cov.basis @ theta
    negative = {(int(level), int(j)) for (level, i, j), v in zip(cov.entries, values, strict=True) if i == j and v < 0}
    for t in range(cov.m):
        level, _, j = cov.entries[np.flatnonzero(cov.basis[:, t])[0]]
        if (int(level), int(j)) in negative:
            signs[t] = -1.0
    return signs


def row_scales(cov: CovarianceMap, scales: Sequence[FloatArray]) -> FloatArray:
    """Factor by which each theta shrinks when the columns of Z are divided by ``scales``: theta = factor * theta_s."""
    out = np.empty(cov.m)
    for t in range(cov.m):
        level, i, _ = cov.entries[np.flatnonzero(cov.basis[:, t])[0]]
        out[t] = 1.0 / scales[level][i]
    return out
