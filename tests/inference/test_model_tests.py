"""Likelihood-ratio tests: the right reference distribution, and refusals where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import melogit as me
from melogit.errors import MelogitWarning, ModelError
from melogit.inference.cone import cone_p, mixture_p, project
from melogit.inference.nesting import compare_structure
from quiet import quietly


@pytest.fixture(scope="module")
def data():
    return me.load_dataset("hospital")


@pytest.fixture(scope="module")
def fits(data):
    formulas = {
        "age": "remission ~ Age + (1 | DID)",
        "stage": "remission ~ Age + CancerStage + (1 | DID)",
        "nested": "remission ~ Age + CancerStage + (1 | HID/DID)",
        "slope": "remission ~ Age + CancerStage + (Age | DID)",
        "uncorrelated": "remission ~ Age + CancerStage + (Age || DID)",
        "two more": "remission ~ Age + CancerStage + (1 | HID) + (Age || HID:DID)",
    }
    return {name: quietly(me.melogit, formula, data).result for name, formula in formulas.items()}


def gain(a, b):
    return 2 * (b.llf - a.llf)


def test_fixed_effects_are_chi_squared(fits):
    test = me.lrtest(fits["age"], fits["stage"])
    assert (test.stat, test.df, test.kind) == (pytest.approx(gain(fits["age"], fits["stage"])), 3, "chi2(3)")
    assert test.p == pytest.approx(chi2.sf(test.stat, 3))
    assert me.lrtest(fits["stage"], fits["age"]) == test  # in either order


def test_one_variance_is_the_even_mixture(fits):
    test = me.lrtest(fits["stage"], fits["nested"])  # DID in one model is HID:DID in the other
    assert (test.df, test.kind) == (1, "chibar2(01)")
    assert test.p == pytest.approx(0.5 * chi2.sf(test.stat, 1))


def test_a_correlated_slope_is_that_of_stram_and_lee(fits):
    test = me.lrtest(fits["stage"], fits["slope"])
    assert (test.df, test.kind) == (2, "0.5 chi2(1) + 0.5 chi2(2)")
    assert test.p == pytest.approx(0.5 * chi2.sf(test.stat, 1) + 0.5 * chi2.sf(test.stat, 2))


def test_a_correlation_alone_is_inside(fits):
    test = me.lrtest(fits["uncorrelated"], fits["slope"])
    assert (test.df, test.kind) == (1, "chi2(1)")


def test_fixed_effects_and_a_variance_together(fits):
    test = me.lrtest(fits["age"], fits["nested"])
    assert (test.df, test.kind) == (4, "0.5 chi2(3) + 0.5 chi2(4)")


def test_two_variances_have_simulated_weights(fits):
    test = me.lrtest(fits["stage"], fits["two more"])
    assert test.df == 2
    assert test.kind.endswith("weights simulated")
    assert me.lrtest(fits["stage"], fits["two more"]) == test  # the simulation is seeded
    assert chi2.sf(test.stat, 2) > test.p > 0.5 * chi2.sf(test.stat, 1)


def test_cone_of_independent_variances():
    p, weights = cone_p(5.0, np.eye(2), [(0,), (1,)])
    np.testing.assert_allclose(weights, [0.25, 0.5, 0.25], atol=0.015)
    assert p == pytest.approx(0.5 * chi2.sf(5, 1) + 0.25 * chi2.sf(5, 2), rel=0.03)


@pytest.mark.parametrize("correlation", [-0.7, 0.5])
def test_cone_of_correlated_variances(correlation):
    """Two correlated variances: the weights are arcs (Self & Liang 1987, case 7)."""
    information = np.linalg.inv(np.array([[1, correlation], [correlation, 1]]))
    _, weights = cone_p(3.0, information, [(0,), (1,)])
    both = 0.25 + np.arcsin(correlation) / (2 * np.pi)  # P(both estimates positive)
    np.testing.assert_allclose(weights, [0.5 - both, 0.5, both], atol=0.015)


def test_cone_with_free_directions_is_stram_and_lee():
    information = np.array([[2.0, 0.4], [0.4, 1.0]])
    p, _ = cone_p(4.0, information, [(1,)])
    assert p == pytest.approx(mixture_p(4.0, 1), rel=0.02)


def test_cone_of_a_two_by_two_matrix():
    """Isotropic metric: the mixture over the cone of 2 x 2 matrices has known weights (angle of a circular cone)."""
    information = np.diag([1.0, 2.0, 1.0])  # trace inner product: off-diagonals count twice
    p, weights = cone_p(6.0, information, [(0, 1, 2)])
    assert weights is None
    w3 = (1 - 1 / np.sqrt(2)) / 2  # solid angle of a circular cone of half-angle 45 degrees
    expected = w3 * chi2.sf(6, 3) + 0.5 / np.sqrt(2) * (chi2.sf(6, 1) + chi2.sf(6, 2))
    assert p == pytest.approx(expected, rel=0.03)


def test_tails_far_below_the_number_of_draws():
    p, _ = cone_p(60.0, np.diag([1.0, 2.0, 1.0]), [(0, 1, 2)], draws=2000)
    assert 1e-14 < p < 1e-12


def test_projection_onto_the_cone_is_nearest():
    rng = np.random.default_rng(0)
    metric = np.array([[2.0, 0.3, -0.2], [0.3, 1.5, 0.4], [-0.2, 0.4, 1.0]])
    points = rng.standard_normal((50, 3))
    found = project(points, metric, [(0, 1, 2)])
    residual, inner = points - found, np.einsum("ni,ij,nj->n", points - found, metric, found)
    np.testing.assert_allclose(inner, 0, atol=1e-6)  # a cone: the residual is orthogonal to the projection
    roots = rng.standard_normal((200, 2))
    members = np.stack([roots[:, 0] ** 2, roots[:, 0] * roots[:, 1], roots[:, 1] ** 2], axis=1)
    assert np.max(residual @ metric @ members.T) < 1e-6  # and points away from every member


def test_compare(fits):
    table = me.compare(fits["age"], fits["stage"], fits["nested"], names=["a", "b", "c"])
    assert list(table.columns[:8]) == ["nobs", "loglik", "df", "aic", "aicc", "bic", "delta_aic", "icc"]
    b = fits["stage"]
    assert table.loc["b", "aicc"] == pytest.approx(b.aic + 2 * 6 * 7 / (b.nobs - 7))
    assert table.loc["b", "lr_p"] == pytest.approx(me.lrtest(fits["age"], b).p)
    assert table["delta_aic"].min() == 0
    assert np.isnan(table.loc["a", "lr_p"])
    apart = me.compare(fits["slope"], fits["nested"])  # neither contains the other
    assert apart["lr_kind"].tolist() == ["", ""]


def test_different_rows_are_refused(data, fits):
    gaps = data.copy()
    gaps.loc[gaps.index[:7], "Age"] = np.nan
    other = me.melogit("remission ~ Age + CancerStage + (1 | DID)", gaps)
    with pytest.raises(ModelError, match=r"different rows: 3,083 and 3,076. Rows were left out because Age lacks 7"):
        me.lrtest(fits["age"], other)
    shuffled = me.melogit("remission ~ Age + (1 | DID)", data.sample(frac=1, random_state=1))
    with pytest.raises(ModelError, match="same number of rows but different values of the response"):
        me.lrtest(shuffled, fits["stage"])


def test_different_accuracy_is_refused(data, fits):
    rough = quietly(me.melogit, "remission ~ Age + CancerStage + (1 | DID)", data, method="laplace").result
    with pytest.raises(ModelError, match=r"computed in different ways: the Laplace approximation against"):
        me.lrtest(rough, fits["nested"])
    same = quietly(me.melogit, "remission ~ Age + CancerStage + (1 | HID/DID)", data, method="laplace").result
    assert me.lrtest(rough, same).df == 1


def test_models_that_do_not_contain_each_other(data, fits):
    other = me.melogit("remission ~ CancerStage + (1 | DID)", data)
    with pytest.raises(ModelError, match=r"not a special case.*Age is only in the first.*me.compare"):
        me.lrtest(me.melogit("remission ~ Age + (1 | DID)", data), other)
    with pytest.raises(ModelError, match="Both models have 7 parameters"):
        me.lrtest(fits["uncorrelated"], fits["nested"])
    with pytest.raises(ModelError, match="random effect of Age by DID is only in the first"):
        me.lrtest(quietly(me.melogit, "remission ~ CancerStage + (Age || DID)", data).result, fits["nested"])


def test_the_same_space_under_other_names(data):
    """A model in other units, or in other contrasts, is still the smaller one."""
    moved = data.assign(Years=data["Age"] / 10 - 5)
    small = me.melogit("remission ~ Years + (1 | DID)", moved)
    large = me.melogit("remission ~ Age + CancerStage + (1 | DID)", moved)
    assert me.lrtest(small, large).df == 3


def test_a_larger_model_that_fits_worse_is_refused(fits):
    broken = replace(fits["nested"], fit=replace(fits["nested"].fit, loglik=fits["stage"].llf - 1))
    with pytest.raises(ModelError, match="larger model has the smaller log-likelihood"):
        me.lrtest(fits["stage"], broken)


def test_models_from_files(fits, tmp_path):
    for name in ("stage", "nested"):
        fits[name].save(tmp_path / name)
    a, b = me.load(tmp_path / "stage"), me.load(tmp_path / "nested")
    assert me.lrtest(a, b).p == pytest.approx(me.lrtest(fits["stage"], fits["nested"]).p)
    with pytest.raises(ModelError, match="parametric bootstrap needs them"):
        me.lrtest(a, b, bootstrap=20)


def small_data(seed: int, sd: float, groups: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), 6)
    x = rng.normal(size=len(g))
    p = 1 / (1 + np.exp(-(0.3 + x * rng.normal(0.5, sd, groups)[g] + rng.normal(0, 0.8, groups)[g])))
    return pd.DataFrame({"y": (rng.random(len(g)) < p).astype(int), "x": x, "g": g})


def test_bootstrap_agrees_with_theory():
    data = small_data(2, 0.0)
    a = me.melogit("y ~ (1 | g)", data)
    b = me.melogit("y ~ x + (1 | g)", data)
    theory, sampled = me.lrtest(a, b), me.lrtest(a, b, bootstrap=99, seed=1)
    assert sampled.kind.startswith("parametric bootstrap, 99 samples")
    assert sampled.p == me.lrtest(a, b, bootstrap=99, seed=1).p
    assert abs(sampled.p - theory.p) < 0.15
    with pytest.raises(ModelError, match="19 or more"):
        me.lrtest(a, b, bootstrap=3)


@pytest.mark.slow
def test_p_values_under_the_null():
    """Two more variances, neither there, 150 data sets: near to uniform with an accurate integral.

    In finite samples variances are estimated as 0 somewhat more often than half of the time, so the test is a little
    conservative (Crainiceanu & Ruppert 2004, J. R. Statist. Soc. B 66, 165-185). The Laplace approximation pulls
    variances of small binary groups down and makes it far more so.
    """
    found = {"accurate": [], "laplace": []}
    for seed in range(150):
        data = small_data(1000 + seed, 0.0, 60).assign(z=lambda d: np.sin(7.0 * np.arange(len(d))))
        for name, options in (
            ("accurate", {"method": "mcaghermite", "intpoints": 7}),
            ("laplace", {"method": "laplace"}),
        ):
            a = quietly(me.melogit, "y ~ x + z + (1 | g)", data, **options).result
            b = quietly(me.melogit, "y ~ x + z + (1 + x + z || g)", data, **options).result
            if a.converged and b.converged:
                found[name].append(me.lrtest(a, b).p)
    p, approximate = (np.array(values) for values in found.values())
    assert min(len(p), len(approximate)) > 140
    assert abs(np.mean(p < 0.2) - 0.17) < 3 * np.sqrt(0.16 / len(p))
    assert np.mean(p < 0.1) < 0.1 + 2 * np.sqrt(0.09 / len(p))
    assert np.mean(approximate < 0.2) < np.mean(p < 0.2)


def test_a_new_matrix_is_a_cone():
    """Intercept and slope of wards at once: a 2 x 2 covariance matrix."""
    rng = np.random.default_rng(8)
    shift, slope = rng.normal(0, 0.6, 20), rng.normal(0, 0.6, 20)
    data = small_data(3, 0.0, 80).assign(ward=lambda d: d["g"] // 4)
    p = 1 / (1 + np.exp(-(shift[data["ward"]] + (0.5 + slope[data["ward"]]) * data["x"])))
    data["y"] = (rng.random(len(data)) < p).astype(int)
    small = quietly(me.melogit, "y ~ x + (1 | g)", data, intpoints=3).result
    large = quietly(me.melogit, "y ~ x + (x | ward) + (1 | g)", data, intpoints=3).result
    test = me.lrtest(small, large)
    assert (test.df, test.kind) == (3, "mixture of chi2 over a cone, simulated")
    assert 0.5 * chi2.sf(test.stat, 1) < test.p < chi2.sf(test.stat, 3)


def exchangeable_data(seed, variance, groups=40):
    """Two predictors with slopes that vary between groups, correlated 0.5 (not at all without variance)."""
    rng = np.random.default_rng(seed)
    g = np.arange(groups * 12) % groups
    x, z = rng.normal(size=(2, len(g)))
    shared, own = rng.normal(size=groups), rng.normal(size=(2, groups))
    slopes = np.sqrt(variance / 2) * (shared + own)
    eta = rng.normal(size=groups)[g] * 0.7 + (0.3 + slopes[0, g]) * x + slopes[1, g] * z
    y = (rng.random(len(g)) < 1 / (1 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "z": z, "g": g})


def exchangeable_fits(data):
    options = {"intpoints": 5, "method": "mcaghermite"}
    small = quietly(me.melogit, "y ~ x + z + (1 | g)", data, **options).result
    formula = "y ~ x + z + (1 | g) + (0 + x + z | g)"
    large = quietly(me.melogit, formula, data, covariance="exchangeable", **options).result
    return small, large


def test_a_new_exchangeable_matrix_has_two_edges():
    """Both eigenvalues of the matrix are at 0 without the effects: a mixture of chi2(0), chi2(1) and chi2(2)."""
    small, large = exchangeable_fits(exchangeable_data(2, 0.8))
    tested = compare_structure(small.fit, large.fit, small.design, large.design)
    assert tested.exchangeable == (("g:var(x,z)", "g:cov(x,z)", 2),)
    test = me.lrtest(small, large)
    assert test.df == 2 and test.kind.endswith("weights simulated")
    assert 0.25 * chi2.sf(test.stat, 2) < test.p < 0.5 * chi2.sf(test.stat, 1) + 0.5 * chi2.sf(test.stat, 2)
    sampled = me.lrtest(*exchangeable_fits(exchangeable_data(5, 0.08)), bootstrap=39, seed=1)
    theory = me.lrtest(*exchangeable_fits(exchangeable_data(5, 0.08)))
    assert sampled.stat == theory.stat > 0
    assert abs(sampled.p - theory.p) < 4 * np.sqrt(0.25 / 39)


def test_the_edges_of_an_exchangeable_matrix_in_known_information():
    """Where the eigenvalues' estimates are independent, the weights are 1/4, 1/2 and 1/4."""
    turn = np.array([[2, 1], [-1, 1]]) / 3  # (v, c) of three effects from the eigenvalues v - c and v + 2c
    in_v_and_c = np.linalg.inv(turn).T @ np.diag([2.0, 5.0]) @ np.linalg.inv(turn)
    p, weights = cone_p(3.0, turn.T @ in_v_and_c @ turn, [(0,), (1,)], draws=8000)
    np.testing.assert_allclose(weights, [0.25, 0.5, 0.25], atol=0.02)
    assert p == pytest.approx(0.5 * chi2.sf(3, 1) + 0.25 * chi2.sf(3, 2), abs=0.005)


@pytest.mark.slow
def test_exchangeable_p_values_under_the_null():
    p = []
    for seed in range(120):
        small, large = exchangeable_fits(exchangeable_data(seed, 0.0))
        if small.converged and large.converged:
            p.append(me.lrtest(small, large).p)
    assert len(p) > 110
    assert np.mean(np.array(p) < 0.1) < 0.1 + 3 * np.sqrt(0.09 / len(p))
    assert 0.25 < np.mean(np.array(p) < 0.5) < 0.65


def test_an_infinite_coefficient_cannot_be_tested():
    data = small_data(5, 0.0).assign(always=lambda d: (np.arange(len(d)) % 17 == 0).astype(int))
    data.loc[data["always"] == 1, "y"] = 1
    fit = quietly(me.melogit, "y ~ x + always + (1 | g)", data).result
    with pytest.raises(ModelError, match=r"coefficient of 'always' is infinite \(separation\)"):
        fit.test("always")
    with pytest.raises(ModelError, match=r"coefficient of 'always' is infinite"):
        fit.nlcom("exp(always)")
    assert fit.test("x").df == 1


def test_ctrl_c_in_the_parametric_bootstrap_gives_what_is_done(data, fits, monkeypatch):
    from melogit.inference import model_test

    whole = me.lrtest(fits["age"], fits["stage"], bootstrap=19, seed=4, workers=1)
    real, calls = model_test._simulated_statistic, []

    def pressed(*args):
        calls.append(args[-1])
        if len(calls) > stop:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(model_test, "_simulated_statistic", pressed)
    stop = 19
    with pytest.warns(MelogitWarning, match="Interrupted: the p-value rests on 19 of 500 samples"):
        part = me.lrtest(fits["age"], fits["stage"], bootstrap=500, seed=4, workers=1)
    assert part == whole
    calls[:], stop = [], 18
    with pytest.raises(KeyboardInterrupt):
        me.lrtest(fits["age"], fits["stage"], bootstrap=500, seed=4, workers=1)


def test_the_parametric_bootstrap_shows_how_far_it_is(fits, capsys):
    me.lrtest(fits["age"], fits["stage"], bootstrap=19, workers=1, progress=True)
    assert "19/19" in capsys.readouterr().err
    me.lrtest(fits["age"], fits["stage"], bootstrap=19, workers=1)
    assert capsys.readouterr().err == ""
    for wrong in (18, True, 99.5, "many"):
        with pytest.raises(ModelError, match="must be a whole number of samples, 19 or more"):
            me.lrtest(fits["age"], fits["stage"], bootstrap=wrong)


def test_crossed_and_nested_models_need_the_same_likelihood():
    exam = me.load_dataset("exam").iloc[:1200]
    crossed = quietly(me.melogit, "correct ~ hours + (1 | student) + (1 | question)", exam).result
    nested = quietly(me.melogit, "correct ~ hours + (1 | student)", exam).result
    with pytest.raises(ModelError, match=r"against the Laplace approximation.*the other model with method=.laplace."):
        me.lrtest(nested, crossed)
    laplace = quietly(me.melogit, "correct ~ hours + (1 | student)", exam, method="laplace").result
    found = me.lrtest(laplace, crossed)
    assert found.kind == "chibar2(01)" and found.stat == pytest.approx(2 * (crossed.llf - laplace.llf))
