"""The brute force for crossed effects against itself, against differences and against the nested brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import oracle
import oracle_crossed as crossed

SMALL = [((3, 5), (1, 1)), ((2, 4), (1, 1)), ((1, 5), (2, 1)), ((1, 1, 4), (1, 1, 1)), ((1, 3), (1, 2))]


def small(levels, effects, n=10):
    return crossed.random_crossed(
        np.random.default_rng(sum(levels)), levels, effects, n=n, binomial=True, weights=True, offset=True
    )


@pytest.mark.parametrize(("levels", "effects"), SMALL[1:4])
def test_the_exact_integral_does_not_move_with_its_step_and_its_gradient_is_one(levels, effects):
    design, beta, Lambdas = small(levels, effects)
    value, score = crossed.exact(design, beta, Lambdas)
    finer, finer_score = crossed.exact(design, beta, Lambdas, step=0.5, half_width=7.5)
    assert value == pytest.approx(finer, abs=1e-9)
    np.testing.assert_allclose(score, finer_score, atol=1e-8)
    x = oracle.pack(beta, Lambdas)
    for j in (0, len(x) - 1):
        e = np.eye(len(x))[j] * 1e-4
        up, down = (crossed.exact(design, *oracle.unpack(design, x + s * e))[0] for s in (1, -1))
        assert score[j] == pytest.approx((up - down) / 2e-4, abs=1e-6)


def test_exact_integrals_of_nested_data_are_those_of_the_nested_recursion():
    rng = np.random.default_rng(5)
    design, beta, Lambdas = oracle.random_design(rng, (1, 1), tops=2, children=3, rows=3, binomial=True, offset=True)
    rules, places = oracle.exact(design, beta, Lambdas)
    expected = np.real(oracle.log_likelihood(design, beta, Lambdas, rules, places))
    value, _ = crossed.exact(replace(design, nested=False), beta, Lambdas)
    assert value == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("levels", "effects"), SMALL)
def test_simulation_finds_the_exact_value_within_its_error(levels, effects):
    design, beta, Lambdas = small(levels, effects)
    value, score = crossed.exact(design, beta, Lambdas)
    found = crossed.simulated(design, beta, Lambdas, points=256)
    assert found.error < 2e-3
    assert abs(found.loglik - value) < 4 * found.error
    assert np.all(np.abs(found.score - score) < 5 * found.score_error + 1e-9)


def test_the_gradient_of_dense_laplace_is_its_derivative():
    design, beta, Lambdas = small((4, 6), (1, 2), n=40)
    x = oracle.pack(beta, Lambdas)

    def value(x):
        return oracle.laplace(design, *oracle.unpack(design, x))

    for e, slope in zip(np.eye(len(x)) * 1e-4, oracle.gradient(value, x), strict=True):
        assert slope == pytest.approx(np.real(value(x + e) - value(x - e)) / 2e-4, abs=1e-6)


def test_parts_that_share_no_group_are_found():
    y = np.array([1.0, 0, 1, 0, 1])
    design = crossed.make_crossed(
        y, np.ones(5), [np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 5, 6])], [np.ones(5), np.ones(5)]
    )
    assert [list(rows) for rows in crossed.components(design)] == [[0, 1, 2], [3, 4]]
