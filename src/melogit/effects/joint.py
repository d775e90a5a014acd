r"""The joint Gaussian posterior of crossed random effects, from the Cholesky factor of its curvature.

The effects $u = (u_0, u_1)$ of the eliminated factor and of all others have curvature $H = R R'$ at their mode, with

$$R = \begin{pmatrix} L & 0 \\ T' & S^{1/2} \end{pmatrix},$$

$L$ block-diagonal (a q x q block per group), $T$ as sparse as the groups' meetings, $S$ dense. Whatever is asked for is
a triangular solution: a linear combination $a'u$ has the variance $|R^{-1} a|^2$, and $R^{-T} z$ is a draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.sparse import csr_array

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PORTION = 4_000  # rows at a time: they meet all effects of the rest


@dataclass(frozen=True, slots=True)
class Joint:
    """How the effects of crossed factors vary together, at fixed parameters.

    Attributes
    ----------
    eliminated : int
        Which factor stands in ``L``.
    unit : (G,)
        Place of each group of that factor in ``L``.
    L : (G, q, q)
        Lower triangular.
    T : (G q, N) sparse
    root : (N, N)
        Lower triangular root of S.
    places : per factor, (G, q)
        Position of each effect in the rest; empty for the eliminated factor.
    """

    eliminated: int
    unit: IntArray
    L: FloatArray
    T: csr_array
    root: FloatArray
    places: tuple[IntArray, ...]

    def _split(self, weights: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Weights by factor, (G, q) each, as those of the eliminated factor (its order) and of the rest."""
        own = np.empty_like(weights[self.eliminated])
        own[self.unit] = weights[self.eliminated]
        rest = np.zeros(len(self.root))
        for level, (place, weight) in enumerate(zip(self.places, weights, strict=True)):
            if level != self.eliminated:
                rest[place] = weight
        return own, rest

    def whiten(self, weights: Sequence[FloatArray]) -> FloatArray:
        """Coefficients on independent standard normals of the linear combination of u with these weights.

        Parameters
        ----------
        weights : per factor, (G, q)

        Returns
        -------
        (number of effects,)
            Its squared length is the posterior variance of the combination; products with another such vector give
            covariances.
        """
        own, rest = self._split(weights)
        own = np.linalg.solve(self.L, own[:, :, None])[:, :, 0]
        rest = solve_triangular(self.root, rest - self.T.T @ own.ravel(), lower=True)
        return np.concatenate([own.ravel(), rest]).astype(np.float64, copy=False)

    def draw(self, rng: np.random.Generator) -> list[FloatArray]:
        """One draw of the deviations of u from their means, (G, q) per factor."""
        G, q, _ = self.L.shape
        rest = solve_triangular(self.root, rng.standard_normal(len(self.root)), lower=True, trans=1)
        z = rng.standard_normal((G, q)) - (self.T @ rest).reshape(G, q)
        own = np.linalg.solve(self.L.transpose(0, 2, 1), z[:, :, None])[:, :, 0]
        return [own[self.unit] if level == self.eliminated else rest[place] for level, place in enumerate(self.places)]

    def variance(self, codes: Sequence[IntArray], weights: Sequence[FloatArray]) -> FloatArray:
        """Variance of each row's combination of the effects of its own groups.

        Parameters
        ----------
        codes : per factor, (n,)
            Group of each row; -1 for one that is not known, whose effects are left out.
        weights : per factor, (n, q)
            Of u.

        Returns
        -------
        (n,)
        """
        n, N = len(codes[0]), len(self.root)
        out = np.zeros(n)
        inverse = solve_triangular(self.root, np.eye(N), lower=True)
        inverse = inverse.T @ inverse
        for begin in range(0, n, PORTION):
            part = slice(begin, min(begin + PORTION, n))
            out[part] = self._portion([c[part] for c in codes], [w[part] for w in weights], inverse)
        return out

    def _portion(self, codes: list[IntArray], weights: list[FloatArray], inverse: FloatArray) -> FloatArray:
        n, N = len(codes[0]), len(self.root)
        q = self.L.shape[1]
        known = np.flatnonzero(codes[self.eliminated] >= 0)
        unit = self.unit[codes[self.eliminated][known]]
        own = np.linalg.solve(self.L[unit], weights[self.eliminated][known][:, :, None])[:, :, 0]
        total = np.zeros(n)
        total[known] = (own**2).sum(axis=1)
        # what is left of each row's weights on the rest when its own group has been eliminated
        rows, columns, values = [], [], []
        for level, (place, weight, code) in enumerate(zip(self.places, weights, codes, strict=True)):
            if level == self.eliminated:
                continue
            seen = np.flatnonzero(code >= 0)
            rows.append(np.repeat(seen, weight.shape[1]))
            columns.append(place[code[seen]].ravel())
            values.append(weight[seen].ravel())
        direct = csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, N), dtype=np.float64
        )
        places = (unit[:, None] * q + np.arange(q)).ravel()
        pick = csr_array((own.ravel(), (np.repeat(known, q), places)), shape=(n, self.L.shape[0] * q))
        left = csr_array(direct - pick @ self.T)
        return total + np.asarray(left.multiply(left @ inverse).sum(axis=1)).ravel()


def blocks_of(joint: Joint, level: int, groups: int, q: int) -> FloatArray:
    """Marginal covariance of u of each group of one factor, (G, q, q)."""
    sizes = [place.shape[1] if k != joint.eliminated else joint.L.shape[1] for k, place in enumerate(joint.places)]
    codes = [np.arange(groups) if k == level else np.full(groups, -1) for k in range(len(sizes))]

    def variance(direction: FloatArray) -> FloatArray:
        weights = [np.zeros((groups, size)) for size in sizes]
        weights[level] = np.tile(direction, (groups, 1))
        return joint.variance(codes, weights)

    unit = np.eye(q)
    single = [variance(unit[i]) for i in range(q)]
    out = np.empty((groups, q, q))
    for i in range(q):
        out[:, i, i] = single[i]
        for j in range(i):
            out[:, i, j] = out[:, j, i] = (variance(unit[i] + unit[j]) - single[i] - single[j]) / 2
    return out
