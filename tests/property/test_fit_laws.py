"""Laws of whole fits, through the front door, on random data small enough to fit many times."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import melogit as me
from quiet import quietly

F = "y ~ x + z + (1 | g)"
OPTIONS = [{}, {"intpoints": 7}, {"method": "mcaghermite", "intpoints": 5}, {"method": "laplace"}]


@st.composite
def tables(draw):
    """15 to 40 groups of 2 to 12 rows with enough variance and noise to be an ordinary fit."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    sizes = rng.integers(2, 13, draw(st.integers(15, 40)))
    g = np.repeat(np.arange(len(sizes)), sizes)
    x, z = rng.normal(size=(2, len(g)))
    eta = 0.3 - 0.6 * x + rng.normal(scale=1.3, size=len(sizes))[g]
    return pd.DataFrame({"y": (rng.random(len(g)) < 1 / (1 + np.exp(-eta))).astype(int), "x": x, "z": z, "g": g})


def fitted(data, formula=F, **options):
    return quietly(me.melogit, formula, data, **options).result


def same(a, b, rel=1e-5, llf=1e-7):
    """Equal to well within the optimiser's tolerance (a decrement of 1e-9 is 3e-5 standard errors)."""
    assert a.llf == pytest.approx(b.llf, abs=llf)
    np.testing.assert_allclose(a.params, b.params, atol=1e-4 * np.nan_to_num(b.bse.min(), nan=1.0), rtol=rel)
    np.testing.assert_allclose(a.bse, b.bse, rtol=1e-4)


@settings(max_examples=6)
@given(tables(), st.sampled_from(OPTIONS), st.integers(0, 1000))
def test_order_of_rows_and_labels_of_groups_do_not_matter(data, options, seed):
    mixed = data.sample(frac=1, random_state=seed)
    names = np.random.default_rng(seed).permutation(data.g.max() + 1)
    mixed = mixed.assign(g=[f"group {names[g]}" for g in mixed.g])
    same(fitted(mixed, **options), fitted(data, **options))


@settings(max_examples=6)
@given(tables(), st.sampled_from(OPTIONS), st.integers(2, 7))
def test_number_of_threads_changes_no_bit(data, options, threads):
    one, many = fitted(data, threads=1, **options), fitted(data, threads=threads, **options)
    assert one.llf == many.llf
    assert one.params.tolist() == many.params.tolist()
    np.testing.assert_array_equal(one.cov_params(), many.cov_params())


@settings(max_examples=8)
@given(tables(), st.sampled_from(OPTIONS), st.sampled_from([1e6, 1e-6, -3.0]), st.sampled_from([0.0, 100.0, 1e7]))
def test_units_and_origin_of_a_predictor_transform_the_answer_exactly(data, options, scale, shift):
    """x -> shift + scale x: its coefficient divides by scale, the intercept takes up the shift, nothing else moves."""
    plain = fitted(data, **options)
    moved = fitted(data.assign(x=shift * abs(scale) + scale * data.x), **options)
    assert moved.llf == pytest.approx(plain.llf, abs=1e-6)
    tolerance = {"rel": 1e-5, "abs": 1e-4 * plain.bse["x"]}
    assert moved.params["x"] * scale == pytest.approx(plain.params["x"], **tolerance)
    assert moved.bse["x"] * abs(scale) == pytest.approx(plain.bse["x"], rel=1e-4)
    assert moved.params["z"] == pytest.approx(plain.params["z"], **tolerance)
    assert moved.params["g:var(Intercept)"] == pytest.approx(
        plain.params["g:var(Intercept)"], abs=1e-4 * np.nan_to_num(plain.bse["g:var(Intercept)"], nan=1.0)
    )
    back = moved.params["Intercept"] + moved.params["x"] * shift * abs(scale)
    assert back == pytest.approx(plain.params["Intercept"], abs=1e-3 * plain.bse["Intercept"])


@settings(max_examples=5)
@given(tables(), st.sampled_from([1e6, 1e-6]))
def test_units_of_a_random_slope_transform_the_answer_exactly(data, scale):
    formula = "y ~ x + z + (1 + x || g)"
    plain = fitted(data, formula, method="laplace")
    scaled = fitted(data.assign(x=data.x * scale), formula, method="laplace")
    assert scaled.llf == pytest.approx(plain.llf, abs=1e-6)
    assert scaled.params["g:var(x)"] * scale**2 == pytest.approx(plain.params["g:var(x)"], rel=1e-3, abs=1e-6)


@settings(max_examples=6)
@given(tables(), st.sampled_from(OPTIONS))
def test_every_row_twice_is_weight_two(data, options):
    same(fitted(data.assign(w=2), weights="w", **options), fitted(pd.concat([data, data]), **options))


@settings(max_examples=6)
@given(st.integers(0, 10**6), st.sampled_from(OPTIONS))
def test_counts_equal_their_single_trials_up_to_the_constant(seed, options):
    rng = np.random.default_rng(seed)
    counts = pd.DataFrame({"g": np.repeat(np.arange(25), 4), "n": rng.integers(1, 6, 100), "x": rng.normal(size=100)})
    p = 1 / (1 + np.exp(-0.5 * counts.x - rng.normal(size=25)[counts.g]))
    counts["k"] = rng.binomial(counts.n, p)
    rows = counts.loc[counts.index.repeat(counts.n)]
    rows = rows.assign(y=(rows.groupby(level=0).cumcount() < rows.k).astype(int)).reset_index(drop=True)
    grouped = fitted(counts, "cbind(k, n - k) ~ x + (1 | g)", **options)
    single = fitted(rows, "y ~ x + (1 | g)", **options)
    np.testing.assert_allclose(grouped.params, single.params, rtol=1e-5, atol=1e-4 * single.bse["x"])
    np.testing.assert_allclose(grouped.bse, single.bse, rtol=1e-4)
    from math import comb, log

    constant = sum(log(comb(int(n), int(k))) for n, k in zip(counts.n, counts.k, strict=True))
    assert grouped.llf == pytest.approx(single.llf + constant, abs=1e-6)


@settings(max_examples=6)
@given(tables(), st.sampled_from(OPTIONS))
def test_swapping_the_event_changes_signs_only(data, options):
    one, other = fitted(data, **options), fitted(data.assign(y=1 - data.y), **options)
    assert one.llf == pytest.approx(other.llf, abs=1e-6)
    np.testing.assert_allclose(one.fe_params, -other.fe_params, atol=1e-4 * one.bse["x"], rtol=1e-5)
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-4)


@settings(max_examples=6)
@given(tables())
def test_one_point_is_laplace(data):
    same(fitted(data, method="mcaghermite", intpoints=1), fitted(data, method="laplace"))


@settings(max_examples=6)
@given(tables())
def test_automatic_points_agree_with_very_many(data):
    auto = fitted(data)
    many = fitted(data, method="mcaghermite", intpoints=61)
    assert abs(auto.llf - many.llf) <= 2 * abs(auto.integration.loglik_error) + 1e-6
    moved = np.abs(auto.params - many.params) / many.bse
    assert np.nanmax(moved) <= 2 * auto.integration.max_shift_in_se + 1e-4
