"""BCa and studentized intervals, random weights, the jackknife: against formulas, refits and other ways to the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import melogit as me
from melogit.errors import ModelError
from melogit.inference.bootstrap import accelerations
from melogit.inference.drawing import plan_drawing
from melogit.inference.intervals import KINDS, Spread, acceleration, interval
from melogit.inference.resampling import draw, plan_groups
from melogit.inference.weighting import begin_weighting, weighted_fit
from quiet import quietly


def clustered(seed=3, groups=30, rows=240):
    rng = np.random.default_rng(seed)
    g = np.sort(rng.integers(0, groups, rows))
    x = rng.normal(size=rows)
    eta = 0.5 * x + rng.normal(size=groups)[g]
    y = (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": g // 5})


@pytest.fixture(scope="module")
def data():
    return clustered()


@pytest.fixture(scope="module")
def fit(data):
    return quietly(me.melogit, "y ~ x + (1 | g)", data, intpoints=7).result


@pytest.fixture(scope="module")
def boot(fit):
    return fit.bootstrap(60, seed=2)


# --------------------------------------------------------------------------------------------------- formulas


def test_bca_is_efrons():
    values = np.random.default_rng(1).gamma(3.0, size=999)
    observed, a = 2.5, 0.04
    z0 = norm.ppf((values <= observed).mean())
    z = z0 + np.array([-1.959964, 1.959964])
    shares = norm.cdf(z0 + z / (1 - a * z))
    by_hand = np.interp(shares * 1000, np.arange(1, 1000), np.sort(values))
    assert interval(Spread(values, observed, a), "bca", 0.95) == pytest.approx(by_hand)
    assert np.isnan(interval(Spread(values, 0.0, a), "bca", 0.95)).all()  # all replicates on one side
    assert np.isnan(interval(Spread(values, observed, np.nan), "bca", 0.95)).all()
    assert np.isnan(interval(Spread(values, observed, 0.6), "bca", 0.95)).all()  # the correction has no meaning


def test_bca_of_an_exponential_mean_is_nearly_exact():
    """Efron (1987): for a mean of skewed data BCa moves to the right, towards the exact gamma interval."""
    from scipy.stats import gamma

    rng = np.random.default_rng(4)
    n = 25
    data = rng.exponential(size=n)
    mean = data.mean()
    replicates = rng.exponential(mean, size=(4000, n)).mean(axis=1)
    exact = n * mean / gamma.ppf([0.975, 0.025], n)
    a = acceleration(rng.exponential(mean, size=(200_000, 1)) - mean)[0] * np.sqrt(200_000 / n)
    bca = interval(Spread(replicates, mean, a), "bca", 0.95)
    percentile = interval(Spread(replicates, mean), "percentile", 0.95)
    assert np.all(np.abs(np.log(bca / exact)) < 0.03)
    assert np.all(np.abs(np.log(percentile / exact)) > 0.06)


def test_studentized_is_the_bootstrap_t():
    rng = np.random.default_rng(2)
    values, errors = rng.normal(2, 1, 199), rng.gamma(9, 1 / 9, 199)
    t = np.sort((values - 2.1) / errors)
    spread = Spread(values, 2.1, std_err=errors, observed_std_err=0.8)
    assert interval(spread, "studentized", 0.95) == pytest.approx((2.1 - t[195 - 1] * 0.8, 2.1 - t[5 - 1] * 0.8))
    positive = np.exp(values)
    log = Spread(positive, np.exp(2.1), std_err=errors * positive, observed_std_err=0.8 * np.exp(2.1), positive=True)
    assert interval(log, "studentized", 0.95) == pytest.approx(np.exp(interval(spread, "studentized", 0.95)))


def test_studentized_where_variances_are_zero():
    """Replicates with variance 0 are the lowest; they leave the interval alone as long as they are within a tail."""
    rng = np.random.default_rng(2)
    values, errors = np.exp(rng.normal(size=199)), np.full(199, 0.5)
    values[:4], errors[:4] = 0.0, np.nan
    spread = Spread(values, 1.0, std_err=errors, observed_std_err=0.5, positive=True)
    low, high = interval(spread, "studentized", 0.95)
    assert 0 < low < 1 < high < np.inf
    values[:12], errors[:12] = 0.0, np.nan
    assert interval(spread, "studentized", 0.95) == (pytest.approx(low, rel=0.1), np.inf)  # nothing bounds it above
    assert np.isfinite(interval(spread, "studentized", 0.80)).all()
    assert np.isnan(interval(replace(spread, std_err=None), "studentized", 0.95)).all()


# ---------------------------------------------------------------------------------------------- from real fits


def test_the_acceleration_from_scores_is_that_of_the_jackknife(fit):
    """The scores give it at once; leaving out each group and refitting gives the same to first order."""
    drawing = plan_drawing(fit.design, fit.fit, "cluster", None)
    from_scores = accelerations(drawing)
    slow = fit.bootstrap(2, seed=1, jackknife=True)
    jackknife = slow.acceleration.to_numpy()
    assert not isinstance(from_scores, str)
    np.testing.assert_allclose(from_scores, jackknife, atol=0.02)
    assert np.abs(jackknife).max() > 0.02  # not all zero
    assert np.corrcoef(from_scores, jackknife)[0, 1] > 0.8


def test_the_jackknife_refits_without_each_group(fit, data):
    statistic = lambda refit: refit.params["x"]  # noqa: E731
    slow = fit.bootstrap(2, seed=1, jackknife=True, statistic=statistic)
    without = [
        quietly(me.melogit, "y ~ x + (1 | g)", data[data["g"] != g], intpoints=7).result.params["x"] for g in range(30)
    ]
    by_hand = acceleration(np.mean(without) - np.array(without)[:, None])
    assert slow.acceleration["statistic"] == pytest.approx(by_hand[0], rel=1e-3)
    assert slow.kinds == tuple(kind for kind in KINDS if kind != "studentized")


def test_kinds_that_cannot_be_had_say_why(fit, boot):
    assert boot.kinds == KINDS
    icc = fit.bootstrap(4, seed=1, statistic=lambda refit: refit.icc()["icc"])
    with pytest.raises(ModelError, match=r"no bca intervals here: for a statistic= they need .* jackknife=True"):
        icc.table("bca")
    with pytest.raises(ModelError, match=r"no studentized intervals here: a statistic= has no standard error"):
        icc.table("studentized")
    assert "No studentized intervals: a statistic=" in icc.summary("all")
    rows = quietly(fit.bootstrap, 4, seed=1, resample="rows").result
    with pytest.raises(ModelError, match="no bca intervals here: single rows were drawn"):
        rows.table("bca")
    with pytest.raises(ModelError, match="jackknife=True leaves out one group at a time, and here single rows"):
        quietly(fit.bootstrap, 4, seed=1, resample="rows", jackknife=True)


def test_groups_below_the_top(data):
    nested = quietly(me.melogit, "y ~ x + (1 | h/g)", data, intpoints=5).result
    with pytest.warns(me.DataWarning, match=r"Only groups of 'h:g' are drawn, and the groups of 'h' stay as they are"):
        below = nested.bootstrap(4, seed=1, group="g")
    with pytest.raises(ModelError, match="groups below the top level were drawn; their influence needs jackknife=True"):
        below.table("bca")
    slow = quietly(nested.bootstrap, 4, seed=1, group="g", jackknife=True).result
    assert slow.acceleration["x"] != 0 and np.isfinite(slow.acceleration["x"])


def test_the_table_with_every_kind(boot):
    text = boot.summary("all")
    marks = [line.rsplit("(")[-1].rstrip(")") for line in text.splitlines() if line.endswith(")") and "|" in line]
    assert marks == ["N", "basic", "P", "BC", "BCa", "t"] * 3
    for kind in KINDS:
        table = boot.table(kind)
        assert (table["ci_low"] < table["observed"]).all() and (table["observed"] < table["ci_high"]).all()
        assert (boot.table(kind, 0.5)["ci_low"] > table["ci_low"]).all()
    assert (boot.table("studentized").loc["g:var(Intercept)", ["ci_low"]] > 0).all()
    se = boot.replicate_std_err
    assert se.shape == boot.replicates.shape and (se > 0).all(axis=None)
    assert boot.summary(["percentile", "bca"]).count("(BCa)") == 4


def test_robust_standard_errors_of_the_fit_do_not_matter(data, boot):
    robust = quietly(me.melogit, "y ~ x + (1 | g)", data, intpoints=7, vce="robust").result
    pd.testing.assert_frame_equal(robust.bootstrap(60, seed=2).table("studentized"), boot.table("studentized"))


# ------------------------------------------------------------------------------------------------ random weights


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ x + (1 | g)", {"intpoints": 7}),
        ("y ~ x + (1 | g)", {"intpoints": 7, "method": "mcaghermite"}),
        ("y ~ x + (1 | g)", {"method": "laplace"}),
        ("y ~ x + (1 | g)", {"intpoints": 9, "method": "ghermite"}),
        ("y ~ x + (1 | g)", {}),
        ("y ~ x + (1 | h/g)", {"intpoints": 5}),
        ("y ~ x + (x | h)", {"intpoints": 5}),
        ("y ~ x + (1 + x || h)", {}),
    ],
)
def test_whole_weights_are_copies_of_whole_groups(data, formula, options):
    """A group of weight 2 is the group twice: one refit by weights, one with the rows written out."""
    fit = quietly(me.melogit, formula, data, **options).result
    top = fit.design.terms[0].factor
    times = np.random.default_rng(1).integers(1, 4, top.n_levels)
    weighted = quietly(weighted_fit, begin_weighting(fit.design, fit.fit), times.astype(float)).result
    parts = [data[data[top.name] == label] for label in top.levels.astype(int)]
    copies = pd.concat(
        [part.assign(**{top.name: f"{k}-{c}"}) for k, part in enumerate(parts) for c in range(times[k])],
        ignore_index=True,
    )
    written = quietly(me.melogit, formula, copies, **options).result
    tight = options.get("intpoints") != 5 and "intpoints" in options
    se = written.bse.to_numpy()
    known = np.isfinite(se)
    away = (weighted.params - written.params.to_numpy())[known] / se[known]
    assert np.abs(away).max() < (2e-4 if tight else 2e-3)
    np.testing.assert_allclose(np.sqrt(np.diag(weighted.cov))[known], se[known], rtol=2e-3)


def test_weights_of_one_are_the_data(fit):
    weighted = weighted_fit(begin_weighting(fit.design, fit.fit), np.ones(30))
    np.testing.assert_allclose(weighted.params, fit.params, rtol=1e-5)
    np.testing.assert_allclose(weighted.cov, fit.fit.cov, rtol=1e-3, atol=1e-6)
    assert weighted.converged and np.isnan(weighted.loglik)


def test_weights_are_no_frequency_weights_of_rows(data):
    """Twice the rows inside a group say more about the group than the group twice."""
    fit = quietly(me.melogit, "y ~ x + (1 | g)", data, intpoints=15).result
    weighted = weighted_fit(begin_weighting(fit.design, fit.fit), np.full(30, 2.0))
    np.testing.assert_allclose(weighted.params, fit.params, rtol=1e-4)
    rows = quietly(me.melogit, "y ~ x + (1 | g)", data.assign(w=2), weights="w", intpoints=15).result
    assert rows.params["g:var(Intercept)"] > 1.2 * weighted.params[-1]


def test_weights_spread_as_drawn_groups_do(fit):
    weights = fit.bootstrap(300, resample="weights", seed=1)
    drawn = fit.bootstrap(300, seed=1)
    assert not len(weights.failed)
    assert weights.draws == "Random weights on 30 clusters in g."
    ratio = weights.table()["std_err"] / drawn.table()["std_err"]
    assert np.all(np.abs(np.log(ratio)) < 0.35)  # same to first order; 30 groups are few
    for kind in KINDS:
        assert np.isfinite(weights.table(kind)["ci_low"]).all()


def test_weights_and_statistics(fit):
    plain = fit.bootstrap(3, resample="weights", seed=1)
    same = fit.bootstrap(3, resample="weights", seed=1, statistic=lambda refit: refit.params)
    pd.testing.assert_frame_equal(plain.replicates, same.replicates, check_exact=True)
    means = fit.bootstrap(3, resample="weights", seed=1, statistic=_margin_two_ways).replicates
    np.testing.assert_allclose(means["margin"], means["weighted"], rtol=1e-6)
    assert (np.abs(means["margin"] - means["plain"]) > 1e-4).all()
    effects = fit.bootstrap(2, resample="weights", seed=1, statistic=lambda refit: refit.predict().mean())
    assert effects.replicates["statistic"].between(0.2, 0.8).all()  # rests on the groups' posterior
    with pytest.warns(me.ConvergenceWarning, match="2 of 5 replicates failed|failed") as caught:
        odd = fit.bootstrap(5, resample="weights", seed=1, statistic=_llf_now_and_then())
    assert len(odd.failed) == 2 and "not a finite number" in odd.failed["reason"].iloc[0] and len(caught) == 1


def _margin_two_ways(refit):
    """Averages over rows weigh them by their group."""
    p = refit.predict(kind="marginal").to_numpy(dtype=float)
    weighted = np.average(p, weights=refit.design.weights)
    margin = refit.margins().table["margin"].iloc[0]
    return pd.Series({"margin": margin, "weighted": weighted, "plain": p.mean()})


def _llf_now_and_then():
    """The log-likelihood is not known of a weighted fit."""
    calls = []

    def statistic(refit):
        calls.append(1)
        return refit.llf if len(calls) in (1, 3, 5) else refit.params["x"]

    return statistic


def test_weights_on_data_that_whole_groups_break(data):
    """A level that one group only has is missing in many samples of groups; weights keep it."""
    rare = data.assign(kind=np.where(data["g"] == 3, "rare", "usual"))
    fit = quietly(me.melogit, "y ~ x + kind + (1 | g)", rare, intpoints=5).result
    assert len(quietly(fit.bootstrap, 20, seed=1).result.failed) > 3
    weights = quietly(fit.bootstrap, 20, seed=1, resample="weights").result
    assert not len(weights.failed)


def test_a_variance_of_zero(data):
    """Weighted likelihoods may peak at a variance of 0; that is told, not lost."""
    rng = np.random.default_rng(8)
    flat = data.assign(y=(rng.random(240) < 0.5).astype(int))
    fit = quietly(me.melogit, "y ~ x + (1 | g)", flat, intpoints=7).result
    assert fit.params["g:var(Intercept)"] < 0.2
    for resample in ("weights", "cluster"):
        boot = quietly(fit.bootstrap, 40, seed=1, resample=resample).result
        zero = boot.replicates["g:var(Intercept)"] == 0
        assert zero.any() and len(boot.failed) == 0
        assert boot.warned["BoundaryWarning"] == zero.sum()
        assert boot.replicate_std_err["g:var(Intercept)"].isna().equals(zero)
        assert boot.replicate_std_err["x"].notna().all()


def test_weights_need_two_groups_and_no_group(fit):
    with pytest.raises(ModelError, match="weights takes none"):
        fit.bootstrap(3, resample="weights", group="g")
    factor = fit.design.terms[0].factor
    single = replace(factor, codes=np.zeros(240, dtype=np.int32), levels=factor.levels[:1])
    design = replace(fit.design, terms=(replace(fit.design.terms[0], factor=single),))
    for resample in ("weights", "cluster"):
        with pytest.raises(ModelError, match="'g' has a single group"):
            replace(fit, design=design).bootstrap(3, resample=resample)


def test_drawing_is_as_before(fit):
    """The same seed draws the same groups as any earlier version did."""
    design = fit.design
    sample = draw(plan_groups(design, ["g"]), design, np.random.default_rng([5, 1]))
    first = sample.row_labels[sample.terms[0].factor.codes == 0]
    chosen = np.random.default_rng([5, 1]).integers(0, np.full(30, 30))[0]
    assert list(first) == list(np.flatnonzero(clustered()["g"] == chosen))
