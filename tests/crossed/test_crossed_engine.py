"""The Laplace approximation by blocks against dense algebra: value, mode, exact gradient, blocks of the inverse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import oracle
import oracle_crossed as brute
from melogit import kernel
from melogit.design import Block, Design
from melogit.errors import ModelError
from melogit.likelihood.arrange_crossed import arrange_crossed
from melogit.likelihood.crossed import find_mode, invert, laplace

settings.register_profile(
    "crossed", deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("crossed")

SHAPES = [
    ((5, 4), (1, 1)),
    ((4, 7), (2, 1)),
    ((4, 7), (1, 3)),
    ((6, 3), (2, 2)),
    ((3, 5, 4), (1, 1, 2)),
    ((2, 3, 4, 5, 6), (1, 1, 1, 1, 1)),
    ((3, 30), (1, 1)),
    ((1, 4), (1, 1)),
]


def engine(design: Design, beta, Lambdas, *, threads=1, isa=""):
    crossed = arrange_crossed(design, threads=threads, isa=isa)
    x = np.asarray(np.linalg.solve(crossed.to_user, parameters(design, beta, Lambdas)), dtype=np.float64)
    u0, u1 = np.zeros((crossed.problem.groups, crossed.problem.q)), np.zeros(crossed.problem.rest)
    return crossed, x, laplace(crossed, x, u0, u1)


def parameters(design: Design, beta, Lambdas):
    """As ``oracle.pack``, less the entries that the covariance structure leaves out."""
    parts = [beta]
    for term, L in zip(design.terms, Lambdas, strict=True):
        if term.blocks[0].structure == "independent":
            parts.append(np.diag(L))
        else:
            parts.append(L[np.tril_indices(len(L))])
    return np.concatenate(parts)


def user_score(crossed, point):
    return np.linalg.solve(crossed.to_user.T, point.score)


def dense_score(design: Design, beta, Lambdas):
    return oracle.gradient(lambda x: oracle.laplace(design, *oracle.unpack(design, x)), oracle.pack(beta, Lambdas))


@st.composite
def models(draw, shapes=SHAPES, **fixed):
    kind = {name: draw(st.booleans()) for name in ("binomial", "weights", "offset")} | fixed
    levels, effects = draw(st.sampled_from(shapes))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return *brute.random_crossed(rng, levels, effects, n=draw(st.integers(6, 60)), **kind), rng


@given(models())
def test_value_and_gradient_are_those_of_dense_algebra(model):
    design, beta, Lambdas, _ = model
    crossed, _, point = engine(design, beta, Lambdas)
    assert point.ok
    assert point.loglik == pytest.approx(np.real(oracle.laplace(design, beta, Lambdas)), abs=1e-8)
    np.testing.assert_allclose(user_score(crossed, point), dense_score(design, beta, Lambdas), rtol=1e-6, atol=1e-7)


@given(models())
def test_mode_and_inverse_are_those_of_dense_algebra(model):
    design, beta, Lambdas, _ = model
    crossed, _, point = engine(design, beta, Lambdas)
    assert point.mode is not None
    u, H, _ = oracle.joint_mode(design, beta, Lambdas)
    _, where = oracle.dense_effects(design, Lambdas)
    inverse = np.linalg.inv(H)
    _, v, kept = invert(crossed, point.mode)
    A, _ = oracle.dense_effects(design, Lambdas)
    np.testing.assert_allclose(v, np.einsum("ij,jk,ik->i", A, inverse, A)[crossed.order], rtol=1e-8, atol=1e-12)
    big = crossed.eliminated
    for g in range(crossed.problem.groups):
        np.testing.assert_allclose(point.mode.u0[g], u[where[big, g]], atol=1e-7)
        np.testing.assert_allclose(kept.block[g], inverse[where[big, g], where[big, g]], atol=1e-10)


@settings(max_examples=10)
@given(models(), st.integers(2, 4))
def test_threads_and_instruction_sets(model, threads):
    design, beta, Lambdas, _ = model
    _, _, one = engine(design, beta, Lambdas)
    _, _, many = engine(design, beta, Lambdas, threads=threads)
    assert one.loglik == many.loglik
    assert np.array_equal(one.score, many.score)
    for isa in kernel.instruction_sets():
        _, _, other = engine(design, beta, Lambdas, isa=isa)
        assert other.loglik == pytest.approx(one.loglik, rel=1e-13)
        np.testing.assert_allclose(other.score, one.score, rtol=1e-8, atol=1e-9)


def one_per_row(rng, n=25):
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    groups = [np.arange(n), rng.integers(0, 4, n)]
    trials = np.full(n, 4.0)
    y = rng.binomial(4, 0.5, n)
    return brute.make_crossed(y, X, groups, [np.ones(n)] * 2, trials=trials), np.zeros(2), [np.eye(1) * 0.7] * 2


def disconnected(rng, n=24):
    part = np.arange(n) // 8
    groups = [part * 3 + rng.integers(0, 3, n), part * 2 + rng.integers(0, 2, n)]
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    return brute.make_crossed(rng.integers(0, 2, n), X, groups, [np.ones(n)] * 2), np.zeros(2), [np.eye(1) * 0.8] * 2


@pytest.mark.parametrize("make", [one_per_row, disconnected])
def test_odd_designs(make):
    design, beta, Lambdas = make(np.random.default_rng(3))
    crossed, _, point = engine(design, beta, Lambdas)
    assert point.loglik == pytest.approx(np.real(oracle.laplace(design, beta, Lambdas)), abs=1e-9)
    np.testing.assert_allclose(user_score(crossed, point), dense_score(design, beta, Lambdas), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size", [30.0, 700.0])
def test_extreme_linear_predictors(size):
    design, beta, Lambdas = brute.random_crossed(np.random.default_rng(1), (4, 6), (1, 1), n=30)
    offset = np.where(design.y > 0, size, -size) * np.where(np.arange(30) < 3, -0.02, 1.0)
    design = replace(design, offset=offset)
    _, _, point = engine(design, beta, Lambdas)
    assert point.ok
    assert np.isfinite(point.score).all()
    assert point.loglik == pytest.approx(np.real(oracle.laplace(design, beta, Lambdas)), rel=1e-9)


def test_zero_variances_give_the_plain_logistic_likelihood():
    design, beta, Lambdas = brute.random_crossed(np.random.default_rng(2), (4, 6), (2, 1), n=30, offset=True)
    _, _, point = engine(design, beta, [np.zeros_like(L) for L in Lambdas])
    eta = design.offset + design.X @ beta
    plain = oracle.row_loglik(design, np.arange(30), eta).sum()
    assert point.loglik == pytest.approx(plain, rel=1e-12)
    assert np.abs(point.score[2:]).max() < 1e-12  # the likelihood is even in every standard deviation


def test_an_old_mode_and_factor_lead_to_the_same_place():
    design, beta, Lambdas = brute.random_crossed(np.random.default_rng(5), (6, 9), (1, 2), n=60, weights=True)
    crossed, x, first = engine(design, beta, Lambdas)
    near = x + 0.05
    assert first.mode is not None
    warm = laplace(crossed, near, first.mode.u0, first.mode.u1, first.mode.curvature)
    cold = laplace(crossed, near, np.zeros_like(first.mode.u0), np.zeros_like(first.mode.u1))
    far = find_mode(crossed, near, first.mode.u0 + 50, first.mode.u1 - 50)
    assert warm.mode is not None
    assert warm.loglik == pytest.approx(cold.loglik, abs=1e-9)
    np.testing.assert_allclose(warm.score, cold.score, atol=1e-7)
    assert far is not None
    assert far.rows.loglik == pytest.approx(warm.mode.rows.loglik, abs=1e-9)


def test_independent_effects_share_no_parameter():
    rng = np.random.default_rng(6)
    design, beta, Lambdas = brute.random_crossed(rng, (5, 7), (2, 1), n=50)
    term = replace(design.terms[0], blocks=(Block(0, 2, "independent"),))
    design = replace(design, terms=(term, design.terms[1]))
    Lambdas[0] = np.diag(np.diag(Lambdas[0]))
    crossed, _, point = engine(design, beta, Lambdas)
    full = dense_score(design, beta, Lambdas)
    np.testing.assert_allclose(user_score(crossed, point), full[[0, 1, 2, 4, 5]], rtol=1e-6, atol=1e-7)


def test_too_many_effects_for_the_memory_says_which_factors(monkeypatch):
    n = 1_000
    design = brute.make_crossed(
        np.arange(n) % 2, np.ones(n), [np.arange(n), np.arange(n) % 999, np.arange(n) % 7], [np.ones(n)] * 3
    )
    monkeypatch.setattr("melogit.likelihood.arrange_crossed.memory", lambda: 1e6)
    with pytest.raises(ModelError, match=r"'g0'.*1,006 random effects together \(g1, g2\).*GiB"):
        arrange_crossed(design)
