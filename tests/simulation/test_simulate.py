"""New responses from a fitted model: their means, how they hang together, seeds, new data, bad input."""

import numpy as np
import pandas as pd
import pytest

import melogit as me
from quiet import quietly


@pytest.fixture(scope="module")
def hospital():
    return me.load_dataset("hospital")


@pytest.fixture(scope="module")
def fit(hospital):
    return me.melogit("remission ~ Age + CancerStage + (1 | HID/DID)", hospital)


@pytest.fixture(scope="module")
def drawn(fit):
    return me.simulate(fit, 400, seed=3)


def test_shares_are_the_marginal_probabilities(fit, drawn, hospital):
    assert drawn.index.equals(hospital.index)
    assert list(drawn.columns[:2]) == ["sim_1", "sim_2"]
    shares = drawn.groupby(hospital["CancerStage"].to_numpy()).mean()
    expected = fit.predict(kind="marginal").groupby(hospital["CancerStage"].to_numpy()).mean()
    error = shares.std(axis=1) / np.sqrt(400)
    assert (abs(shares.mean(axis=1) - expected) < 4 * error).all()


def test_rows_of_a_group_are_as_alike_as_the_variances_say(fit, drawn, hospital):
    """The covariance of two rows of a doctor, against a two-dimensional integral by Monte Carlo of its own."""
    rng = np.random.default_rng(0)
    hid, did = (fit.params[name] for name in ("HID:var(Intercept)", "HID:DID:var(Intercept)"))
    pair = hospital[hospital["DID"] == hospital["DID"].value_counts().index[0]].index[:2]
    xb = fit.predict(kind="xb")[pair].to_numpy()
    effect = np.sqrt(hid + did) * rng.standard_normal(400_000)
    p = 1 / (1 + np.exp(-(xb[:, None] + effect)))
    expected = np.cov(p)[0, 1]
    y = drawn.loc[pair].to_numpy(dtype=float)
    assert abs(np.cov(y)[0, 1] - expected) < 4 * np.std((y[0] - y[0].mean()) * (y[1] - y[1].mean())) / 20


def test_a_draw_depends_on_seed_and_number_alone(fit, drawn):
    again = me.simulate(fit, 2, seed=3)
    pd.testing.assert_frame_equal(again, drawn[["sim_1", "sim_2"]])
    assert not me.simulate(fit, 1, seed=4)["sim_1"].equals(drawn["sim_1"])
    chosen = me.simulate(fit)
    pd.testing.assert_frame_equal(me.simulate(fit, seed=chosen.attrs["seed"]), chosen)


def test_the_posterior_keeps_each_group_its_own_effects(fit, drawn, hospital):
    """Each doctor's share of simulated events is around the one predicted from the doctor's own data."""
    posterior = me.simulate(fit, 400, seed=3, groups="posterior")
    doctor = hospital["DID"].to_numpy()
    predicted = fit.predict(kind="mu", draws=400, seed=1).groupby(doctor).mean()
    shares = posterior.groupby(doctor).mean()
    error = np.sqrt((shares.var(axis=1) + predicted.var(axis=1)) / 400)
    z = (shares.mean(axis=1) - predicted.mean(axis=1)) / error
    assert abs(z.std() - 1) < 0.15 and abs(z).max() < 4.5
    assert drawn.groupby(doctor).mean().mean(axis=1).std() < 0.5 * shares.mean(axis=1).std()


def test_new_data_and_groups(fit, hospital):
    new = hospital.head(60).copy()
    new["DID"] = "unheard of"
    new.loc[new.index[3], "Age"] = np.nan
    drawn = me.simulate(fit, 300, new, seed=1)
    assert drawn.iloc[3].isna().all() and drawn.drop(index=new.index[3]).notna().all().all()
    assert set(np.unique(drawn.dropna())) == {0.0, 1.0}
    # One new doctor: all rows share an effect, so that the share of events varies widely from draw to draw.
    assert drawn.mean().var() > 5 * 0.25 / 59
    known = me.simulate(fit, 300, hospital.head(60), seed=1, groups="posterior")
    expected = fit.predict(hospital.head(60), draws=4000, seed=2).mean(axis=1)
    assert abs(known.mean(axis=1) - expected).max() < 4.5 * 0.5 / np.sqrt(300)


def test_counts(hospital):
    data = pd.DataFrame({"g": np.arange(60) % 20, "n": 5 + np.arange(60) % 4, "x": np.arange(60) / 30})
    rng = np.random.default_rng(0)
    effect = rng.standard_normal(20)[data["g"]]
    data["y"] = rng.binomial(data["n"], 1 / (1 + np.exp(-data["x"] + 1 - effect)))
    fit = quietly(me.melogit, "y ~ x + (1 | g)", data, trials="n").result
    drawn = me.simulate(fit, 200, seed=1)
    assert (drawn.to_numpy() <= data[["n"]].to_numpy()).all() and drawn.to_numpy().max() > 1
    shares = drawn.mean(axis=1) / data["n"]
    assert abs(shares.mean() - fit.predict(kind="marginal").mean()) < 0.03
    more = data.assign(n=40)
    assert me.simulate(fit, 1, more, seed=1)["sim_1"].max() > 9
    assert me.simulate(fit, 1, more, seed=1, trials=3)["sim_1"].max() <= 3
    with pytest.raises(me.DataError, match="the number of trials must be a whole number"):
        me.simulate(fit, 1, data.assign(n=2.5))


def test_a_saved_model_draws_for_new_data(fit, hospital, tmp_path, drawn):
    fit.save(tmp_path / "model.json")
    loaded = me.load(tmp_path / "model.json")
    pd.testing.assert_frame_equal(me.simulate(loaded, 2, hospital, seed=3), drawn[["sim_1", "sim_2"]])
    with pytest.raises(me.ModelError, match="model files do not hold the data"):
        me.simulate(loaded, 2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n": 0}, "n=0 must be a whole number, 1 or more"),
        ({"n": 2.5}, "n=2.5 must be a whole number"),
        ({"seed": -1}, "seed=-1 must be a whole number, 0 or more"),
        ({"groups": "old"}, "groups='old' is not known. Use 'new'"),
        ({"trials": 3}, "trials= and offset= go with newdata"),
        ({"n": 10**9}, "1,000,000,000 draws of"),
    ],
)
def test_bad_input(fit, options, text):
    with pytest.raises(me.ModelError, match=text):
        me.simulate(fit, **options)


def test_what_cannot_be_drawn(hospital):
    with pytest.raises(me.ModelError, match="simulate needs a fitted model, and this is a str"):
        me.simulate("model")
    data = hospital.groupby(["DID", "FamilyHx", "remission"], observed=True).size().rename("n").reset_index()
    fit = quietly(me.melogit, "remission ~ FamilyHx + (1 | DID)", data, weights="n").result
    with pytest.raises(me.ModelError, match="have frequency weights, and the copies"):
        me.simulate(fit)
    assert me.simulate(fit, 1, data, seed=1).shape == (len(data), 1)


def test_infinite_coefficients_give_certain_rows(hospital):
    """A level without events: its rows are never simulated as events, the others vary."""
    data = hospital.head(600).assign(ward=np.where(np.arange(600) % 6 == 0, "b", "a"))
    data.loc[data["ward"] == "b", "remission"] = 0
    fit = quietly(me.melogit, "remission ~ ward + (1 | DID)", data).result
    drawn = me.simulate(fit, 20, seed=1)
    assert drawn[data["ward"] == "b"].to_numpy().sum() == 0
    assert drawn[data["ward"] == "a"].to_numpy().mean() > 0.1
