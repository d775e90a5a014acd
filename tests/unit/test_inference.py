"""Tests and intervals on plain arrays, against formulas worked out another way."""

import doctest
import importlib

import numpy as np
import pytest
from scipy import stats

from melogit.design import Block
from melogit.errors import ModelError
from melogit.inference import (
    against_logistic,
    atanh_interval,
    critical_value,
    deviations_and_correlations,
    intraclass_correlations,
    joint_wald,
    log_interval,
    logit_interval,
    normal_interval,
    parameter_roles,
    variance_intervals,
    z_and_p,
)

NAN = float("nan")
DOCUMENTED = [
    "inference.icc",
    "inference.likelihood_ratio",
    "inference.variance",
    "inference.wald",
    "report.numbers",
    "report.progress",
    "report.rows",
    "report.text",
    "results.overview",
]


@pytest.mark.parametrize("module", DOCUMENTED)
def test_documented_examples_hold(module):
    outcome = doctest.testmod(importlib.import_module(f"melogit.{module}"), optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def numerical_gradient(function, at, step=1e-6):
    return np.array([(function(at + step * e) - function(at - step * e)) / (2 * step) for e in np.eye(len(at))])


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_critical_value_is_the_normal_quantile(level):
    assert critical_value(level) == pytest.approx(stats.norm.interval(level)[1], rel=1e-12)


@pytest.mark.parametrize("level", [0, 1, -0.5, 1.5, 95, True, "0.95", NAN, None])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ModelError, match="strictly between 0 and 1"):
        critical_value(level)


def test_a_percentage_is_recognised():
    with pytest.raises(ModelError, match=r"For 95 % write level=0\.95"):
        critical_value(95)


def test_z_and_p_are_two_sided_and_keep_their_precision_far_out():
    z, p = z_and_p(np.array([1.96, -1.96, 40.0, 0.0]), np.ones(4))
    assert z.tolist() == [1.96, -1.96, 40.0, 0.0]
    assert p == pytest.approx(2 * stats.norm.sf(np.abs(z)), rel=1e-12)
    assert p[2] == 0.0 or p[2] < 1e-300
    assert p[3] == 1.0


def test_undefined_and_infinite_estimates_pass_through_without_a_warning():
    estimate, std_err = np.array([np.inf, -np.inf, 1.0, 0.0]), np.array([NAN, NAN, NAN, NAN])
    for interval in (normal_interval, log_interval, atanh_interval, logit_interval):
        low, high = interval(np.array([0.0, 0.5]), np.array([NAN, NAN]), 0.95)
        assert np.isnan(low).all() and np.isnan(high).all()
    z, p = z_and_p(estimate, std_err)
    assert np.isnan(z).all() and np.isnan(p).all()


def test_transformed_intervals_are_symmetric_on_their_scale():
    estimate, std_err, half = np.array([0.4]), np.array([0.1]), critical_value(0.9)
    low, high = log_interval(estimate, std_err, 0.9)
    assert np.log(high) - np.log(0.4) == pytest.approx(half * 0.1 / 0.4)
    assert low * high == pytest.approx(0.4**2)
    low, high = atanh_interval(estimate, std_err, 0.9)
    assert np.arctanh(high) - np.arctanh(0.4) == pytest.approx(half * 0.1 / (1 - 0.16))
    assert np.arctanh(low) + np.arctanh(high) == pytest.approx(2 * np.arctanh(0.4))
    low, high = logit_interval(estimate, std_err, 0.9)
    assert np.log(high / (1 - high)) - np.log(0.4 / 0.6) == pytest.approx(half * 0.1 / (0.4 * 0.6))


def test_joint_wald_is_the_quadratic_form():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(4, 4))
    beta, cov = rng.normal(size=4), root @ root.T
    test = joint_wald(beta, cov)
    assert test.stat == pytest.approx(beta @ np.linalg.inv(cov) @ beta, rel=1e-9)
    assert test.df == 4
    assert test.p == pytest.approx(stats.chi2.sf(test.stat, 4), rel=1e-9)


def test_joint_wald_does_not_depend_on_units():
    beta, cov = np.array([0.3, -0.8]), np.array([[0.04, 0.01], [0.01, 0.09]])
    units = np.array([1e9, 1e-9])
    assert joint_wald(beta * units, cov * np.outer(units, units)).stat == pytest.approx(joint_wald(beta, cov).stat)


def test_joint_wald_leaves_out_infinite_and_undefined_coefficients():
    cov = np.array([[0.04, NAN, 0.0], [NAN, NAN, NAN], [0.0, NAN, 0.25]])
    test = joint_wald(np.array([0.4, np.inf, 1.0]), cov)
    assert test == (pytest.approx(4.0 + 4.0), 2, pytest.approx(stats.chi2.sf(8, 2)))


def test_joint_wald_of_nothing_has_no_degrees_of_freedom():
    test = joint_wald(np.empty(0), np.empty((0, 0)))
    assert test.df == 0 and np.isnan(test.stat) and np.isnan(test.p)


def test_one_variance_gives_the_mixture():
    test = against_logistic(-100.0, -102.0, 1)
    assert test == (4.0, 1, pytest.approx(0.5 * stats.chi2.sf(4.0, 1)), "chibar2(01)")


@pytest.mark.parametrize("fixed_only", [-100.0, -100.0 + 1e-12])
def test_no_improvement_has_p_of_one(fixed_only):
    for count in (1, 3):
        test = against_logistic(-100.0, fixed_only, count)
        assert (test.stat, test.p) == (0.0, 1.0)


def test_several_variance_parameters_are_conservative():
    test = against_logistic(-100.0, -104.0, 3)
    assert test == (8.0, 3, pytest.approx(stats.chi2.sf(8.0, 3)), "chi2(3), conservative")


# ------------------------------------------------------------------------------------------------ variances

UNSTRUCTURED = (
    [Block(0, 2, "unstructured")],
    ["g:var(x)", "g:cov(x,Intercept)", "g:var(Intercept)"],
)


def test_roles_are_read_from_names_in_either_order():
    blocks, names = UNSTRUCTURED
    swapped = ["g:var(x)", "g:var(Intercept)", "g:cov(Intercept,x)"]
    assert [role.pair for role in parameter_roles("g", ["x", "Intercept"], blocks, names)] == [None, (0, 2), None]
    assert [role.pair for role in parameter_roles("g", ["x", "Intercept"], blocks, swapped)] == [None, None, (1, 0)]


def test_roles_with_commas_and_colons_in_names():
    effects = ["bs(x,df=3)[1]", "a:b"]
    names = ["h:g:var(bs(x,df=3)[1])", "h:g:cov(a:b,bs(x,df=3)[1])", "h:g:var(a:b)"]
    roles = parameter_roles("h:g", effects, [Block(0, 2, "unstructured")], names)
    assert [role.label for role in roles] == ["var(bs(x,df=3)[1])", "cov(a:b,bs(x,df=3)[1])", "var(a:b)"]
    assert [role.effects for role in roles] == [(0,), (), (1,)]


def test_roles_of_shared_variances_and_of_several_blocks():
    blocks = [Block(0, 2, "exchangeable"), Block(2, 2, "identity"), Block(4, 1, "independent")]
    names = ["g:var(a,b)", "g:cov(a,b)", "g:var(c,d)", "g:var(Intercept)"]
    roles = parameter_roles("g", ["a", "b", "c", "d", "Intercept"], blocks, names)
    assert [role.effects for role in roles] == [(0, 1), (), (2, 3), (4,)]
    assert [role.pair for role in roles] == [None, (0, 0), None, None]


def test_covariances_get_symmetric_intervals_and_variances_get_log_ones():
    roles = parameter_roles("g", ["x", "Intercept"], *UNSTRUCTURED)
    low, high = variance_intervals(roles, np.array([0.25, -0.2, 4.0]), np.array([0.1, 0.1, 0.5]), 0.95)
    assert (low + high)[1] == pytest.approx(-0.4)
    assert (low * high)[[0, 2]] == pytest.approx([0.25**2, 16.0])


def test_delta_method_of_deviations_and_correlations_against_differences():
    roles = parameter_roles("g", ["x", "Intercept"], *UNSTRUCTURED)
    at = np.array([0.25, -0.2, 4.0])
    cov = np.array([[0.01, 0.002, 0.003], [0.002, 0.02, 0.01], [0.003, 0.01, 0.3]])
    labels, table = deviations_and_correlations(roles, at, cov, 0.95)
    assert labels == ["sd(x)", "corr(x,Intercept)", "sd(Intercept)"]
    functions = [lambda v: np.sqrt(v[0]), lambda v: v[1] / np.sqrt(v[0] * v[2]), lambda v: np.sqrt(v[2])]
    for row, function in zip(table, functions, strict=True):
        gradient = numerical_gradient(function, at)
        assert row[0] == pytest.approx(function(at))
        assert row[1] == pytest.approx(np.sqrt(gradient @ cov @ gradient), rel=1e-7)


def test_exchangeable_correlation_is_covariance_over_variance():
    roles = parameter_roles("g", ["a", "b"], [Block(0, 2, "exchangeable")], ["g:var(a,b)", "g:cov(a,b)"])
    at, cov = np.array([2.0, 0.5]), np.array([[0.1, 0.02], [0.02, 0.05]])
    _, table = deviations_and_correlations(roles, at, cov, 0.95)
    gradient = numerical_gradient(lambda v: v[1] / v[0], at)
    assert table[1, :2] == pytest.approx([0.25, np.sqrt(gradient @ cov @ gradient)], rel=1e-7)


def test_a_variance_at_zero_has_no_error_and_does_not_spoil_its_neighbours():
    roles = parameter_roles("g", ["x", "Intercept"], [Block(0, 2, "independent")], ["g:var(x)", "g:var(Intercept)"])
    cov = np.array([[NAN, NAN], [NAN, 0.16]])
    _, table = deviations_and_correlations(roles, np.array([0.0, 4.0]), cov, 0.95)
    assert table[0, 0] == 0 and np.isnan(table[0, 1:]).all()
    assert table[1, :2] == pytest.approx([2.0, 0.1])


def test_a_perfect_correlation_is_shown_without_an_error():
    roles = parameter_roles("g", ["x", "Intercept"], *UNSTRUCTURED)
    _, table = deviations_and_correlations(roles, np.array([0.25, 1.0, 4.0]), np.full((3, 3), NAN), 0.95)
    assert table[1, 0] == pytest.approx(1.0) and np.isnan(table[1, 1:]).all()


def test_intraclass_correlation_against_differences():
    at, cov = np.array([0.5, 4.0]), np.array([[0.04, -0.01], [-0.01, 0.16]])
    levels = intraclass_correlations(at, cov, 0.9)
    for count, level in enumerate(levels, 1):

        def share(v, count=count):
            return v[:count].sum() / (v.sum() + np.pi**2 / 3)

        gradient = numerical_gradient(share, at)
        assert level.estimate == pytest.approx(share(at))
        assert level.std_err == pytest.approx(np.sqrt(gradient @ cov @ gradient), rel=1e-7)
        assert 0 < level.ci_low < level.estimate < level.ci_high < 1


def test_intraclass_correlation_with_a_variance_at_zero():
    top, bottom = intraclass_correlations(np.array([0.0, 4.0]), np.array([[NAN, NAN], [NAN, 0.16]]))
    assert top.estimate == 0 and np.isnan([top.std_err, top.ci_low, top.ci_high]).all()
    assert bottom.std_err == pytest.approx(0.4 * (np.pi**2 / 3) / (4 + np.pi**2 / 3) ** 2)
