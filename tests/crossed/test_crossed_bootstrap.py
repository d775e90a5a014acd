"""Bootstraps of crossed fits: parametric by default; the groups of each factor by themselves where asked for."""

from __future__ import annotations

import numpy as np
import pytest
from test_after_a_crossed_fit import ratings

import melogit as me
from melogit.errors import ModelError
from melogit.inference.pigeonhole import draw_crossed, plan_crossed
from quiet import quietly

F = "y ~ x + (1 | s) + (1 | r)"


@pytest.fixture(scope="module")
def data():
    """Students and raters who all may meet."""
    found = ratings(schools=1, students=24, raters=10, each=8)
    return found.assign(w=np.arange(len(found)) % 3)


@pytest.fixture(scope="module")
def fit(data):
    return quietly(me.melogit, F, data, method="laplace").result


def test_parametric_is_the_default_and_says_why(fit):
    boot = quietly(fit.bootstrap, 60, seed=1, workers=1).result
    assert boot.resample == "parametric"
    assert "the groups cross" in str(boot.summary())
    se = boot.table()["std_err"]
    assert se["x"] == pytest.approx(fit.bse["x"], rel=0.4)
    again = quietly(fit.bootstrap, 60, seed=1, workers=2).result
    np.testing.assert_array_equal(boot.replicates, again.replicates)


def test_groups_of_both_factors_drawn(fit, data):
    boot = quietly(fit.bootstrap, 30, seed=2, resample="cluster", workers=1).result
    text = str(boot.summary())
    assert "(drawn: s and r)" in text
    assert "24 groups of s" in text
    assert "10 groups of r" in text
    assert "up to 1.7 times too large" in text
    assert fit.bse["x"] < boot.table()["std_err"]["x"] < 4 * fit.bse["x"]  # Owen (2007): 1.7 in large data


def test_a_sample_has_every_pair_of_copies(fit, data):
    design = fit.design
    plan = plan_crossed(design, [])
    drawn = draw_crossed(plan, design, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    s, r = (term.factor for term in design.terms)
    times = [np.bincount(rng.integers(0, f.n_levels, f.n_levels), minlength=f.n_levels) for f in (s, r)]
    assert drawn.n_rows == (times[0][s.codes] * times[1][r.codes]).sum()
    assert drawn.terms[0].factor.n_levels == len({(a, k) for a in s.codes for k in range(times[0][a])})
    # each copy of a student is judged by each copy of the raters the student met
    x = design.X[:, 1]
    for copy in range(drawn.terms[0].factor.n_levels):
        mine = drawn.terms[0].factor.codes == copy
        original = s.codes[np.flatnonzero(x == drawn.X[mine, 1][0])[0]]
        assert mine.sum() == times[1][r.codes[s.codes == original]].sum()


def test_only_one_factor_drawn_keeps_the_other(fit):
    drawn = draw_crossed(plan_crossed(fit.design, ["s"]), fit.design, np.random.default_rng(4))
    assert set(drawn.terms[1].factor.levels) <= set(fit.design.terms[1].factor.levels)
    assert drawn.n_rows == 24 * 8  # every student was judged eight times
    assert drawn.terms[0].factor.n_levels == 24


def test_nested_groups_are_carried_along(data):
    """Schools are drawn; their students come as new students with them."""
    more = ratings(schools=6, students=5, raters=3, each=6).assign(task=lambda d: np.arange(len(d)) % 7)
    fit = quietly(me.melogit, "y ~ x + (1 | c/s) + (1 | task)", more, method="laplace").result
    plan = plan_crossed(fit.design, [])
    assert [fit.design.terms[k].factor.name for k in plan.drawn] == ["c", "task"]
    drawn = draw_crossed(plan, fit.design, np.random.default_rng(5))
    by_name = {term.factor.name: term.factor for term in drawn.terms}
    parent = {}
    for s, c in zip(by_name["c:s"].codes, by_name["c"].codes, strict=True):
        assert parent.setdefault(s, c) == c
    assert by_name["c"].n_levels <= 6
    assert by_name["c:s"].n_levels > 5
    with pytest.raises(ModelError, match=r"'c:s' lie within those of 'c' and are drawn along"):
        plan_crossed(fit.design, ["c", "c:s"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resample": "stagewise"}, r"needs nested groups, and 's' and 'r' cross.*parametric"),
        ({"resample": "weights"}, r"needs nested groups, and 's' and 'r' cross"),
        ({"resample": "cluster", "group": "rows"}, "Rows cannot be drawn within groups that cross"),
        ({"resample": "cluster", "group": "q"}, "'q' is no grouping factor"),
        ({"jackknife": True}, "groups cross, so that none is independent"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fit, options, words):
    with pytest.raises(ModelError, match=words):
        fit.bootstrap(5, seed=1, **options)


def test_a_statistic_and_its_refits(fit):
    boot = quietly(fit.bootstrap, 10, seed=1, statistic=lambda r: r.icc()["icc"]).result
    assert list(boot.table().index) == ["s", "r", "s & r"]
