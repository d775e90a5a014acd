"""Laws of whole fits of crossed models, through the front door."""

from __future__ import annotations

from dataclasses import replace
from math import comb, log

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import DataError, ModelError
from melogit.fit import Settings, fit_design
from quiet import quietly

F = "y ~ x + z + (1 | s) + (1 | r)"


def simulate(seed=1, students=30, raters=12, each=8, sd=(1.0, 0.8)):
    """Every student judged by ``each`` raters."""
    rng = np.random.default_rng(seed)
    s = np.repeat(np.arange(students), each)
    r = np.concatenate([rng.permutation(raters)[:each] for _ in range(students)])
    x, z = rng.normal(size=(2, len(s)))
    eta = 0.3 - 0.6 * x + rng.normal(scale=sd[0], size=students)[s] + rng.normal(scale=sd[1], size=raters)[r]
    return pd.DataFrame(
        {"y": (rng.random(len(s)) < 1 / (1 + np.exp(-eta))).astype(int), "x": x, "z": z, "s": s, "r": r}
    )


@pytest.fixture(scope="module")
def data():
    return simulate()


@pytest.fixture(scope="module")
def plain(data):
    return fitted(data)


def fitted(data, formula=F, **options):
    return quietly(me.melogit, formula, data, method="laplace", **options).result


def same(a, b, rel=1e-5, llf=1e-7):
    """Equal to well within the optimiser's tolerance (a decrement of 1e-9 is 3e-5 standard errors)."""
    assert a.llf == pytest.approx(b.llf, abs=llf)
    np.testing.assert_allclose(a.params[b.params.index], b.params, atol=1e-4 * np.nanmin(b.bse), rtol=rel)
    np.testing.assert_allclose(a.bse[b.bse.index], b.bse, rtol=2e-4)


def test_it_converges_to_a_maximum_and_says_it_is_laplace(plain):
    assert plain.converged
    assert not plain.design.nested
    assert plain.integration.method == "laplace"
    assert "Laplace" in str(plain)


def test_order_of_rows_labels_of_groups_and_order_of_terms_do_not_matter(data, plain):
    mixed = data.sample(frac=1, random_state=3)
    names = np.random.default_rng(3).permutation(30)
    mixed = mixed.assign(s=[f"student {names[k]}" for k in mixed.s])
    same(fitted(mixed), plain)
    same(fitted(mixed, "y ~ x + z + (1 | r) + (1 | s)"), plain)


def test_number_of_threads_changes_no_bit(data):
    one, many = fitted(data, threads=1), fitted(data, threads=3)
    assert one.llf == many.llf
    assert one.params.tolist() == many.params.tolist()
    np.testing.assert_array_equal(one.cov_params(), many.cov_params())


@pytest.mark.parametrize("scale", [1e6, 1e-6, -3.0])
@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_units_and_origin_of_a_predictor_transform_the_answer_exactly(data, plain, scale, shift):
    moved = fitted(data.assign(x=shift * abs(scale) + scale * data.x))
    assert moved.llf == pytest.approx(plain.llf, abs=1e-6)
    assert moved.params["x"] * scale == pytest.approx(plain.params["x"], rel=1e-5)
    assert moved.bse["x"] * abs(scale) == pytest.approx(plain.bse["x"], rel=1e-4)
    assert moved.params["s:var(Intercept)"] == pytest.approx(plain.params["s:var(Intercept)"], rel=1e-4)


def test_units_of_a_random_slope_transform_the_answer_exactly():
    data = simulate(4, students=60)
    data["y"] = np.where((data.s % 3 == 0) & (data.x > 0), 1 - data.y, data.y)
    formula = "y ~ x + (x | s) + (1 | r)"
    plain, scaled = fitted(data, formula), fitted(data.assign(x=data.x * 1e4), formula)
    assert scaled.llf == pytest.approx(plain.llf, abs=1e-6)
    assert scaled.params["s:var(x)"] * 1e8 == pytest.approx(plain.params["s:var(x)"], rel=1e-3)
    assert scaled.params["s:cov(Intercept,x)"] * 1e4 == pytest.approx(plain.params["s:cov(Intercept,x)"], rel=2e-3)


def test_every_row_twice_is_weight_two(data):
    same(fitted(data.assign(w=2), weights="w"), fitted(pd.concat([data, data])))


def test_counts_equal_their_single_trials_up_to_the_constant():
    rng = np.random.default_rng(6)
    counts = simulate(6, students=20)
    counts["n"] = rng.integers(1, 6, len(counts))
    counts["k"] = rng.binomial(counts.n, 1 / (1 + np.exp(-counts.x - rng.normal(size=20)[counts.s])))
    rows = counts.loc[counts.index.repeat(counts.n)]
    rows = rows.assign(y=(rows.groupby(level=0).cumcount() < rows.k).astype(int)).reset_index(drop=True)
    grouped, single = (
        fitted(counts, "cbind(k, n - k) ~ x + (1 | s) + (1 | r)"),
        fitted(rows, "y ~ x + (1 | s) + (1 | r)"),
    )
    np.testing.assert_allclose(grouped.params, single.params, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(grouped.bse, single.bse, rtol=2e-4)
    constant = sum(log(comb(int(n), int(k))) for n, k in zip(counts.n, counts.k, strict=True))
    assert grouped.llf == pytest.approx(single.llf + constant, abs=1e-6)


def test_swapping_the_event_changes_signs_only(data, plain):
    other = fitted(data.assign(y=1 - data.y))
    assert plain.llf == pytest.approx(other.llf, abs=1e-7)
    np.testing.assert_allclose(plain.fe_params, -other.fe_params, atol=1e-4 * plain.bse["x"], rtol=1e-5)
    np.testing.assert_allclose(plain.bse, other.bse, rtol=2e-4)


@pytest.mark.parametrize("formula", ["y ~ x + (1 | school/s)", "y ~ x + (1 | school) + (x | school:s)"])
def test_nested_data_fitted_by_both_engines_agree(formula):
    data = simulate(7, students=40)
    data["school"] = data.s // 5
    nested = fitted(data, formula)
    design = replace(nested.design, nested=False)
    crossed = quietly(fit_design, design, Settings(method="laplace")).result
    assert crossed.loglik == pytest.approx(nested.llf, abs=1e-8)
    np.testing.assert_allclose(crossed.params, nested.params, atol=1e-8 + 1e-4 * np.nanmin(nested.bse))
    np.testing.assert_allclose(np.sqrt(np.diag(crossed.cov)), nested.bse, rtol=1e-4)
    for ours, theirs in zip(crossed.terms, nested.fit.terms, strict=True):
        np.testing.assert_allclose(ours.modes, theirs.modes, atol=1e-4)
        np.testing.assert_allclose(ours.std_err, theirs.std_err, rtol=1e-4)


def test_two_parts_that_never_meet_are_two_fits_in_one():
    """With the parameters shared, the log-likelihood at them is the sum of the parts'."""
    one, two = simulate(8), simulate(9)
    both = pd.concat([one, two.assign(s=two.s + 100, r=two.r + 100)])
    fit = fitted(both)
    assert fit.converged
    parts = 0.0
    for part in (one, two):
        design = fitted(part).design
        at = (fit.fit.params[:3], fit.fit.theta)
        parts += laplace_at(design, at)
    assert fit.llf == pytest.approx(parts, abs=1e-6)


def laplace_at(design, at):
    import oracle

    beta, theta = at
    return float(np.real(oracle.laplace(design, beta, [np.array([[abs(t)]]) for t in theta])))


def test_a_factor_with_one_level_per_row():
    """Over-dispersion of counts: a random effect for every row beside a crossed factor."""
    rng = np.random.default_rng(10)
    data = simulate(10).assign(n=10)
    data["row"] = np.arange(len(data))
    extra = rng.normal(scale=0.7, size=len(data))
    data["k"] = rng.binomial(10, 1 / (1 + np.exp(-0.5 * data.x - extra)))
    fit = fitted(data, "cbind(k, n - k) ~ x + (1 | row) + (1 | r)")
    assert fit.converged
    assert fit.params["row:var(Intercept)"] == pytest.approx(0.5, abs=0.25)


def test_aliased_factors_are_named():
    data = simulate(11)
    with pytest.raises(ModelError, match=r"'r' and 'copy' make the same 12 groups"):
        fitted(data.assign(copy=data.r + 500), "y ~ x + (1 | s) + (1 | r) + (1 | copy)")


def test_five_crossed_factors():
    rng = np.random.default_rng(12)
    n = 1500
    data = pd.DataFrame({f"g{k}": rng.integers(0, 10 + 5 * k, n) for k in range(5)})
    data["x"] = rng.normal(size=n)
    eta = 0.5 * data.x + sum(rng.normal(scale=0.6, size=10 + 5 * k)[data[f"g{k}"]] for k in range(5))
    data["y"] = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    fit = fitted(data, "y ~ x + " + " + ".join(f"(1 | g{k})" for k in range(5)))
    assert fit.converged
    assert (fit.varcomp.estimate > 0.05).all()
    assert (fit.varcomp.estimate < 1.2).all()


def test_one_group_is_refused():
    data = simulate(13)
    with pytest.raises(DataError, match="'one' has one group"):
        fitted(data.assign(one=1), "y ~ x + (1 | s) + (1 | r) + (1 | one)")


@pytest.mark.parametrize("seed", [14, 18])
def test_a_variance_of_zero_is_a_boundary(seed):
    data = simulate(seed, sd=(1.0, 0.0))
    found = quietly(me.melogit, F, data, method="laplace")
    fit = found.result
    assert fit.converged
    assert fit.params["r:var(Intercept)"] == 0
    assert np.isnan(fit.bse["r:var(Intercept)"])
    assert any("r:var(Intercept)" in m or "(1 | r)" in m for m in found.messages)
    without = fitted(data, "y ~ x + z + (1 | s)")
    assert fit.llf == pytest.approx(without.llf, abs=1e-7)
    np.testing.assert_allclose(fit.bse[["x", "z"]], without.bse[["x", "z"]], rtol=1e-4)


def test_separation_is_told():
    data = simulate(15)
    data["sep"] = ((data.y == 1) & (data.x > 0.5)).astype(int)
    found = quietly(me.melogit, "y ~ x + sep + (1 | s) + (1 | r)", data, method="laplace")
    assert np.isposinf(found.result.params["sep"])
    assert any("'sep'" in m and "infinite" in m for m in found.messages)


def test_quadrature_is_refused_with_the_reason(data):
    with pytest.raises(ModelError, match=r"'s' and 'r' cross.*method='mvaghermite'.*Laplace"):
        me.melogit(F, data, method="mvaghermite")
    with pytest.raises(ModelError, match=r"'s' and 'r' cross.*Laplace"):
        me.melogit(F, data, intpoints=7)
