"""The triangular form of the joint posterior against its dense inverse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from melogit.effects.joint import Joint, blocks_of

SIZES = [(3, 1), (5, 2), (2, 2)]  # groups and effects of three factors; the second is eliminated


@pytest.fixture
def case():
    """A joint posterior with the eliminated groups in another order, and the dense covariance in factor order."""
    rng = np.random.default_rng(4)
    count = [g * q for g, q in SIZES]
    ends = np.cumsum(count)
    where = [np.arange(e - c, e).reshape(g, q) for (g, q), c, e in zip(SIZES, count, ends, strict=True)]
    A = rng.normal(size=(40, ends[-1]))
    for i in range(40):  # every row meets one group of the eliminated factor, so its block is block-diagonal
        keep = where[1][rng.integers(5)]
        A[i, np.setdiff1d(where[1].ravel(), keep)] = 0
    H = np.eye(ends[-1]) + A.T @ A
    unit = rng.permutation(5)
    own = where[1][np.argsort(unit)].ravel()
    rest = np.concatenate([where[0].ravel(), where[2].ravel()])
    L = np.array([np.linalg.cholesky(H[np.ix_(o, o)]) for o in own.reshape(5, 2)], dtype=np.float64)
    block = np.zeros((10, 10))
    for g in range(5):
        block[2 * g : 2 * g + 2, 2 * g : 2 * g + 2] = L[g]
    T = np.linalg.solve(block, H[np.ix_(own, rest)])
    root = np.asarray(np.linalg.cholesky(H[np.ix_(rest, rest)] - T.T @ T), dtype=np.float64)
    places = (np.arange(3).reshape(3, 1), np.empty((0, 2), dtype=int), 3 + np.arange(4).reshape(2, 2))
    return Joint(1, unit, L, csr_array(T), root, places), np.linalg.inv(H), where


def test_variance_of_a_combination(case):
    joint, cov, _ = case
    rng = np.random.default_rng(1)
    one, two = ([rng.normal(size=s) for s in SIZES] for _ in range(2))
    flat = [np.concatenate([w.ravel() for w in weights]) for weights in (one, two)]
    assert joint.whiten(one) @ joint.whiten(two) == pytest.approx(flat[0] @ cov @ flat[1], rel=1e-12)


def test_variance_of_rows_with_unknown_groups(case):
    joint, cov, where = case
    rng = np.random.default_rng(2)
    codes = [rng.integers(-1, g, 30) for g, _ in SIZES]
    weights = [rng.normal(size=(30, q)) for _, q in SIZES]
    a = np.zeros((30, len(cov)))
    for code, weight, place in zip(codes, weights, where, strict=True):
        for i in np.flatnonzero(code >= 0):
            a[i, place[code[i]]] = weight[i]
    np.testing.assert_allclose(joint.variance(codes, weights), np.einsum("ij,jk,ik->i", a, cov, a), rtol=1e-11)


def test_draws_have_the_covariance(case):
    joint, cov, _ = case
    rng = np.random.default_rng(3)
    draws = np.array([np.concatenate([u.ravel() for u in joint.draw(rng)]) for _ in range(20_000)])
    sd = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(sd, sd), cov / np.outer(sd, sd), atol=0.04)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_marginal_blocks(case, level):
    joint, cov, where = case
    G, q = SIZES[level]
    expected = np.array([cov[np.ix_(place, place)] for place in where[level]])
    np.testing.assert_allclose(blocks_of(joint, level, G, q), expected, atol=1e-12)
