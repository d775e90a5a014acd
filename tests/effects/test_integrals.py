"""The mean of a logistic over a normal, and its derivatives, against brute force."""

import numpy as np
import pytest
from scipy.special import expit

from melogit.effects import integrals
from melogit.effects.integrals import averaged, averaged_by_hermite, logistic_derivatives

T = np.array([-45.0, -12.0, -3.0, -0.3, 0.0, 0.011, 1.7, 6.0, 30.0])


def brute(t: np.ndarray, v: float, order: int) -> np.ndarray:
    """A plain sum over a very fine grid of z."""
    z = np.linspace(-12, 12, 40_001)
    w = np.exp(-z * z / 2)
    p = expit(t[:, None] + np.sqrt(v) * z)
    q = expit(-t[:, None] - np.sqrt(v) * z)
    derivative = {
        0: p,
        1: p * q,
        2: p * q * (q - p),
        3: p * q * (1 - 6 * p * q),
        4: p * q * (q - p) * (1 - 12 * p * q),
    }[order]
    return derivative @ w / w.sum()


@pytest.mark.parametrize("v", [0.0, 1e-6, 0.02, 0.7, 4.0, 76.0, 900.0])
def test_exact_to_1e_13(v):
    found = averaged(T, np.array([v]), 4)
    for order in range(5):
        np.testing.assert_allclose(found[order], brute(T, v, order), rtol=0, atol=1e-13)


@pytest.mark.parametrize("v", [1e-4, 0.3, 4.0, 200.0])
def test_the_table_and_the_direct_rule_agree(v):
    t = np.random.default_rng(1).normal(size=3_000) * 12
    table = integrals._by_table(t, v, 4)
    np.testing.assert_allclose(table, integrals._direct(t, np.array([v]), 4), rtol=0, atol=2e-14)


def test_rows_with_variances_of_their_own():
    rng = np.random.default_rng(2)
    t, v = rng.normal(size=5_000) * 3, rng.choice([0.0, 0.4, 2.5], size=5_000)
    expected = np.array([averaged(t[i : i + 1], v[i : i + 1], 1)[:, 0] for i in range(50)]).T
    np.testing.assert_allclose(averaged(t, v, 1)[:, :50], expected, atol=1e-13)
    many = rng.exponential(size=5_000)
    expected = np.array([averaged(t[i : i + 1], many[i : i + 1], 1)[:, 0] for i in range(50)]).T
    np.testing.assert_allclose(averaged(t, many, 1)[:, :50], expected, atol=1e-13)


def test_infinite_linear_predictors():
    found = averaged(np.array([-np.inf, np.inf]), np.array([2.0]), 2)
    np.testing.assert_array_equal(found, [[0, 1], [0, 0], [0, 0]])


def test_derivatives_of_the_logistic_in_both_tails():
    t = np.array([-30.0, 30.0])
    found = logistic_derivatives(t, 6)
    np.testing.assert_allclose([d[0] for d in found], np.exp(-30), rtol=1e-10)
    np.testing.assert_allclose(
        [d[1] for d in found[1:]], [(-1) ** (k + 1) * np.exp(-30) for k in range(1, 7)], rtol=1e-9
    )


def test_few_hermite_points_have_their_own_derivative_in_the_variance():
    t, v, h = T[2:7], np.full(5, 1.3), 1e-5
    M, D, bend = averaged_by_hermite(t, v, 1, 7)
    up, d_up, _ = averaged_by_hermite(t, v + h, 1, 7)
    down, d_down, _ = averaged_by_hermite(t, v - h, 1, 7)
    np.testing.assert_allclose(D, (up - down) / (2 * h), atol=1e-9)
    np.testing.assert_allclose(bend, (d_up[0] - d_down[0]) / (2 * h), atol=1e-9)
    assert 1e-6 < np.abs(M[0] - averaged(t, v, 0)[0]).max() < 1e-2  # seven points are close, not exact
