"""Groups of the fit learn from more rows: posteriors of old and new rows together, weights, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cases import fitted

import melogit as me


@pytest.fixture(scope="module")
def more(data):
    """New rows of groups 3 and 17, and of a group that the fit did not have."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"x": rng.normal(size=12), "c": "mid", "g": [3] * 5 + [17] * 4 + [900] * 3})
    return rows.assign(y=[1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0])


def by_grid(fit, rows):
    """Posterior mean and standard deviation of one group's effect, by a fine sum."""
    X = np.column_stack([np.ones(len(rows)), rows["x"], rows["c"] == "mid", rows["c"] == "top"]).astype(float)
    *beta, variance = fit.params
    b = np.linspace(-7, 7, 4001) * np.sqrt(variance)
    t = (X @ beta)[:, None] + b
    log = np.where(rows["y"].to_numpy()[:, None] > 0, -np.logaddexp(0, -t), -np.logaddexp(0, t)).sum(axis=0)
    weight = np.exp(log - b * b / (2 * variance) - log.max())
    weight /= weight.sum()
    mean = weight @ b
    return mean, np.sqrt(weight @ b**2 - mean**2)


def test_old_and_new_rows_together(simple, data, more):
    updated = simple.update(more)
    found, before = updated.random_effects(), simple.random_effects()
    for group in (3, 17, 900):
        both = pd.concat([data[data["g"] == group], more[more["g"] == group]])
        np.testing.assert_allclose(found.loc[str(group)], by_grid(simple, both), atol=1e-4)
    others = before.index.difference(["3", "17"])
    pd.testing.assert_frame_equal(found.loc[others], before.loc[others])
    assert len(found) == len(before) + 1
    pd.testing.assert_series_equal(updated.params, simple.params)
    b = found.loc["3", "Intercept"]
    eta = updated.predict(more, kind="eta")
    assert eta[0] == pytest.approx(updated.predict(more, kind="xb")[0] + b, abs=1e-3)
    assert updated.predict(more, std_err=True).notna().all().all()


def test_new_doctors_and_new_rows_of_old_doctors_in_old_hospitals(rich, data):
    """A hospital of the fit gets all its rows a second time, half of them under new doctors."""
    rows = data[data["h"] == 3].copy()
    first = rows["g"].min()
    rows.loc[rows["g"] == first, "g"] = 9_999
    updated = rich.update(rows)
    effects = updated.random_effects()
    copy, own = (effects.loc[("g", name), ["Intercept", "x"]] for name in ("9999", str(first)))
    np.testing.assert_allclose(copy.to_numpy(dtype=float), own.to_numpy(dtype=float), atol=2e-3)
    before = rich.random_effects()
    assert effects.loc[("h", "3"), "Intercept_se"] < before.loc[("h", "3"), "Intercept_se"]
    np.testing.assert_allclose(effects.loc[("h", "4")], before.loc[("h", "4")])


def test_weights_stand_for_rows(simple, data, more):
    twice = simple.update(pd.concat([more, more.iloc[:3]]), weights=None)
    weighted = simple.update(more.assign(n=[2, 2, 2] + [1] * 9), weights="n")
    np.testing.assert_allclose(weighted.random_effects(), twice.random_effects(), atol=1e-9)
    numbers = simple.update(more, weights=[2, 2, 2] + [1] * 9)
    pd.testing.assert_frame_equal(numbers.random_effects(), weighted.random_effects())
    with_zero = simple.update(more.assign(n=[1] * 11 + [0]), weights="n")
    np.testing.assert_allclose(with_zero.random_effects(), simple.update(more.iloc[:-1]).random_effects(), atol=1e-9)


def test_a_weighted_fit_expects_its_weights(data, more):
    counted = data.assign(n=1)
    fit = fitted("y ~ x + c + (1 | g)", counted, weights="n")
    with pytest.raises(me.DataError, match="The new data have no column 'n'"):
        fit.update(more)
    by_column = fit.update(more.assign(n=1)).random_effects()
    pd.testing.assert_frame_equal(fit.update(more, weights=1).random_effects(), by_column)


def test_what_is_refused(simple, rich, data, more, tmp_path):
    simple.save(tmp_path / "model.json")
    loaded = me.load(tmp_path / "model.json")
    with pytest.raises(me.ModelError, match="g '3' was in the fitted data already, and its new rows have to be taken"):
        loaded.update(more)
    assert "900" in loaded.update(more[more["g"] == 900]).random_effects().index
    with pytest.raises(me.ModelError, match="This model was updated before, and g '3' was known to it already"):
        simple.update(more).update(more)
    with pytest.raises(me.ModelError, match="This model was updated before, and g '900' was known"):
        simple.update(more[more["g"] == 900]).update(more[more["g"] == 900])
    twice = simple.update(more[more["g"] == 900]).update(more[more["g"] == 900].assign(g=901))
    assert {"900", "901"} <= set(twice.random_effects().index)
    moved = data.head(3).assign(h=(data["h"].head(3) + 1) % 12)
    with pytest.raises(me.DataError, match=r"g '\d+' was in the fitted data already, in another group"):
        rich.update(moved)
    split = data.head(2).assign(g=[9_000, 9_000], h=[1, 2])
    with pytest.raises(me.DataError, match="a group of 'g' lies in several groups of 'h'"):
        rich.update(split)
    with pytest.raises(me.DataError, match="is not a whole number"):
        simple.update(more, weights=[0.5] * 12)
