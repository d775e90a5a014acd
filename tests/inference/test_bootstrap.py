"""Resampling: what is drawn, that refits are those of the data drawn, and what is made of the replicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import melogit as me
from melogit.design import subset
from melogit.errors import ConvergenceWarning, DataWarning, MelogitWarning, ModelError
from melogit.inference.bootstrap import Run, replicate
from melogit.inference.drawing import plan_drawing
from melogit.inference.intervals import Spread
from melogit.inference.intervals import interval as limits_of
from melogit.inference.replicates import check_rank
from melogit.inference.resampling import draw, plan_groups, plan_rows
from quiet import quietly

M1 = "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)"


@pytest.fixture(scope="module")
def data():
    """240 rows of 30 doctors in 6 hospitals of different sizes."""
    rng = np.random.default_rng(3)
    doctor = np.sort(rng.integers(0, 30, 240))
    hospital = np.minimum(doctor // 4, 5)
    effect = rng.normal(size=30)[doctor] + 0.7 * rng.normal(size=6)[hospital]
    x = rng.normal(size=240)
    return pd.DataFrame(
        {
            "y": (rng.random(240) < 1 / (1 + np.exp(-(0.5 * x + effect)))).astype(int),
            "x": x,
            "DID": doctor + 100,
            "HID": hospital + 10,
            "w": rng.integers(0, 4, 240),
        }
    )


@pytest.fixture(scope="module")
def fit(data):
    return quietly(me.melogit, "y ~ x + (1 | DID)", data, intpoints=7).result


@pytest.fixture(scope="module")
def nested(data):
    return quietly(me.melogit, "y ~ x + (1 | HID/DID)", data, intpoints=5).result


def drawn(fit, stages, seed=0):
    """The sample: the row drawn, and the new numbers of its groups."""
    design = fit.design
    sample = draw(plan_groups(design, stages), design, np.random.default_rng(seed))
    frame = pd.DataFrame({"row": sample.row_labels, "weight": sample.weights})
    for term in sample.terms:
        frame[term.factor.name] = term.factor.codes
        assert set(term.factor.codes) == set(range(term.factor.n_levels))
    return sample, frame


# ------------------------------------------------------------------------------------------------ what is drawn


def test_a_cluster_sample_is_whole_clusters_each_with_a_new_number(fit, data):
    sample, frame = drawn(fit, ["DID"])
    assert sample.terms[0].factor.n_levels == data["DID"].nunique()
    sources = []
    for _, part in frame.groupby("DID"):
        source = data.loc[part["row"], "DID"].unique()
        assert len(source) == 1
        assert sorted(part["row"]) == list(data.index[data["DID"] == source[0]])
        sources.append(source[0])
    assert 0.4 * 30 < len(set(sources)) < 0.9 * 30  # about 63 % of the clusters, some of them several times


def test_stages_draw_doctors_within_hospitals_and_rows_within_doctors(nested, data):
    sample, frame = drawn(nested, ["HID", "DID", "rows"])
    assert sample.terms[0].factor.n_levels == 6
    for _, hospital in frame.groupby("HID"):
        source = data.loc[hospital["row"], "HID"].unique()
        assert len(source) == 1
        assert hospital["HID:DID"].nunique() == data.loc[data["HID"] == source[0], "DID"].nunique()
        for _, doctor in hospital.groupby("HID:DID"):
            own = data.loc[doctor["row"], "DID"].unique()
            assert len(own) == 1
            assert len(doctor) == (data["DID"] == own[0]).sum()
    repeated = frame.groupby("HID:DID")["row"].apply(lambda rows: rows.duplicated().any())
    assert repeated.mean() > 0.8


def test_stages_that_are_off_keep_everything(nested, data):
    _, frame = drawn(nested, ["rows"])
    for factor, column in (("HID", "HID"), ("HID:DID", "DID")):
        sizes = frame.groupby(factor).size().to_numpy()
        assert sorted(sizes) == sorted(data.groupby(column).size())
    _, frame = drawn(nested, ["DID"])  # doctors within hospitals that stay
    sources = frame.groupby("HID")["row"].apply(lambda rows: data.loc[rows, "HID"].unique().tolist())
    assert sorted(sources.map(lambda found: found[0])) == [10, 11, 12, 13, 14, 15]
    assert not frame.duplicated(["HID:DID", "row"]).any()


def test_rows_of_frequency_weight_are_drawn_one_by_one(data):
    fit = quietly(me.melogit, "y ~ x + (1 | DID)", data, weights="w", intpoints=5).result
    design = fit.design
    total, times = np.zeros(240), 400
    for seed in range(times):
        sample = draw(plan_rows(), design, np.random.default_rng(seed))
        assert sample.weights.sum() == design.weights.sum()
        np.add.at(total, sample.row_labels.astype(int), sample.weights)
    expected = data["w"].to_numpy() * times
    assert np.all(np.abs(total - expected) <= 5 * np.sqrt(expected))
    sample, frame = drawn(fit, ["rows"])
    by_doctor = frame.groupby(data.loc[frame["row"], "DID"].to_numpy())["weight"].sum()
    assert by_doctor.equals(data.groupby("DID")["w"].sum()[by_doctor.index].astype(float).rename("weight"))
    assert frame["weight"].min() > 0 and not frame.duplicated(["DID", "row"]).any()


def test_a_replicate_is_the_fit_of_the_data_drawn(nested, data):
    """Drawn and renumbered by hand, and fitted from a data frame."""
    boot = quietly(nested.bootstrap, 3, seed=8).result
    for r in (1, 3):
        chosen = np.random.default_rng([8, r]).integers(0, np.full(6, 6)) + 10
        parts = [data[data["HID"] == h].assign(HID=f"h{i}") for i, h in enumerate(chosen)]
        by_hand = quietly(me.melogit, "y ~ x + (1 | HID/DID)", pd.concat(parts, ignore_index=True), intpoints=5)
        np.testing.assert_allclose(boot.replicates.loc[r], by_hand.result.params, rtol=1e-5, atol=1e-7)


def test_rows_keep_the_numbers_of_their_groups(fit, data):
    sample = draw(plan_rows(), fit.design, np.random.default_rng(5))
    labels = sample.terms[0].factor.levels[sample.terms[0].factor.codes]
    assert list(labels) == list(data.loc[sample.row_labels, "DID"].astype(str))
    assert sample.n_rows == 240


# --------------------------------------------------------------------------------------------- reproducible


def test_a_replicate_depends_on_the_seed_and_its_number_alone(fit, data):
    long, short = fit.bootstrap(8, seed=4), fit.bootstrap(3, seed=4)
    pd.testing.assert_frame_equal(long.replicates.iloc[:3], short.replicates)
    other = quietly(me.melogit, "y ~ x + (1 | DID)", data[data.columns[::-1]], intpoints=7).result
    pd.testing.assert_frame_equal(other.bootstrap(3, seed=4).replicates, short.replicates, check_exact=True)
    assert not np.allclose(fit.bootstrap(3, seed=5).replicates, short.replicates)
    unseeded = fit.bootstrap(3)
    pd.testing.assert_frame_equal(fit.bootstrap(3, seed=unseeded.seed).replicates, unseeded.replicates)


def test_threads_do_not_change_the_numbers(fit):
    drawing = plan_drawing(fit.design, fit.fit, "cluster", None)
    one, two, four = (
        replicate(drawing, lambda f, _: (f.params, None), 3, 9, 1, Run(workers)).values for workers in (1, 2, 4)
    )
    assert np.array_equal(one, two) and np.array_equal(one, four)


def test_auto_points_stay_auto(data):
    fit = quietly(me.melogit, "y ~ x + (1 | DID)", data).result
    seen = []

    def note(refit):
        seen.append((refit.integration.method, refit.integration.automatic))
        return refit.llf

    fit.bootstrap(3, seed=1, statistic=note)
    assert set(seen) == {("trapezoid", True)}


# ------------------------------------------------------------------------------------------- intervals, tables


def interval(values, observed, kind, level, **more):
    return limits_of(Spread(values, observed, **more), kind, level)


def test_intervals_are_those_of_the_books():
    values = np.random.default_rng(1).gamma(3.0, size=999)
    ordered, observed = np.sort(values), 2.5
    se = np.sqrt(((values - values.mean()) ** 2).sum() / 998)
    assert interval(values, observed, "normal", 0.95) == pytest.approx((2.5 - 1.959964 * se, 2.5 + 1.959964 * se))
    low, high = ordered[25 - 1], ordered[975 - 1]  # replicates number (999 + 1) * .025 and (999 + 1) * .975
    assert interval(values, observed, "percentile", 0.95) == pytest.approx((low, high))
    assert interval(values, observed, "basic", 0.95) == pytest.approx((5 - high, 5 - low))
    z0 = norm.ppf((values <= observed).sum() / 999)
    k = [1000 * norm.cdf(2 * z0 + z) for z in (-1.959964, 1.959964)]
    by_hand = [np.interp(share, np.arange(1, 1000), ordered) for share in k]
    assert interval(values, observed, "bc", 0.95) == pytest.approx(by_hand)
    assert np.isnan(interval(values, 0.0, "bc", 0.95)).all()


def test_the_table_and_the_text(fit):
    boot = fit.bootstrap(20, seed=2)
    table = boot.table("percentile", level=0.8)
    assert list(table.columns) == ["observed", "bias", "std_err", "ci_low", "ci_high"]
    np.testing.assert_allclose(table["bias"], boot.replicates.mean() - fit.params)
    np.testing.assert_allclose(table["std_err"], boot.replicates.std())
    np.testing.assert_allclose(table["std_err"], np.sqrt(np.diag(boot.cov_params())))
    text = boot.summary()
    assert "Bootstrap" in text and "Normal-based" in text and "[95% conf. interval]" in text
    assert "Based on 30 clusters in DID, drawn whole. Seed 2." in text
    assert f"{table.loc['x', 'std_err']:.7f}" in text
    everything = boot.summary("all")
    assert [kind in everything for kind in ("(N)", "(basic)", "(P)", "(BC)")] == [True] * 4
    ratio = next(line for line in boot.summary(odds_ratios=True).splitlines() if line.strip().startswith("x |"))
    assert float(ratio.split("|")[1].split()[0]) == pytest.approx(np.exp(fit.params["x"]), abs=1e-6)
    assert repr(boot) == "<melogit.BootstrapResults: 20 replicates; resample='cluster'; seed 2>"


def test_any_statistic(fit):
    plain = fit.bootstrap(4, seed=3)
    same = fit.bootstrap(4, seed=3, statistic=lambda r: r.params)
    pd.testing.assert_frame_equal(plain.replicates, same.replicates, check_exact=True)
    icc = fit.bootstrap(4, seed=3, statistic=lambda r: r.icc()["icc"])
    variance = plain.replicates["DID:var(Intercept)"]
    np.testing.assert_allclose(icc.replicates["DID"], variance / (variance + np.pi**2 / 3))
    number = fit.bootstrap(4, seed=3, statistic=lambda r: float(np.exp(r.params["x"])))
    np.testing.assert_allclose(number.replicates["statistic"], np.exp(plain.replicates["x"]))
    predicted = fit.bootstrap(2, seed=3, statistic=lambda r: float(r.predict().mean()))
    assert predicted.replicates["statistic"].between(0, 1).all()
    with pytest.raises(ModelError, match="must give a number or a Series with distinct labels, not DataFrame"):
        fit.bootstrap(4, statistic=lambda r: r.icc())


def test_rows_are_warned_of_in_one_sentence(fit):
    with pytest.warns(DataWarning, match=r"groups of 'DID': .* far too small.*draws whole groups") as caught:
        fit.bootstrap(2, resample="rows", seed=1)
    assert len(caught) == 1
    assert str(caught[0].message).count(". ") == 0


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_failed_replicates_are_listed_and_warned_of(data):
    rare = data.assign(kind=np.where(data["DID"].isin([103, 117]), "rare", "usual"))
    fit = quietly(me.melogit, "y ~ x + kind + (1 | DID)", rare, intpoints=5).result
    with pytest.warns(ConvergenceWarning, match=r"of 40 replicates failed .* 'kind\[usual\]' does not vary"):
        boot = fit.bootstrap(40, seed=1)
    lacking = []
    for r in range(1, 41):
        groups = np.random.default_rng([1, r]).integers(0, np.full(30, 30)) + 100
        if not np.isin(groups, [103, 117]).any():
            lacking.append(r)
    assert lacking == [
        f for f, why in zip(boot.failed["replicate"], boot.failed["reason"], strict=True) if "vary" in why
    ]
    assert list(boot.failed["seed"].iloc[:1]) == [(1, boot.failed["replicate"].iloc[0])]
    assert list(boot.replicates.index[boot.replicates.isna().all(axis=1)]) == list(boot.failed["replicate"])
    assert len(boot.used) == 40 - len(boot.failed)
    assert boot.table().notna().all(axis=None)
    assert f"{len(boot.failed)} of 40 replicates failed" in boot.summary()


def test_collinear_samples_fail(data):
    """Two predictors that differ in one doctor only are one predictor in samples without that doctor."""
    twin = data.assign(z=data["x"] + 5 * (data["DID"] == 104) * np.cos(np.arange(240)))
    fit = quietly(me.melogit, "y ~ x + z + (1 | DID)", twin, intpoints=5).result
    boot = quietly(fit.bootstrap, 12, seed=1).result
    draws = {r: np.random.default_rng([1, r]).integers(0, np.full(30, 30)) + 100 for r in range(1, 13)}
    lacking = [r for r, groups in draws.items() if 104 not in groups]
    collinear = boot.failed["reason"] == "The predictors are collinear in this sample."
    assert lacking and lacking == list(boot.failed.loc[collinear, "replicate"])


def test_a_statistic_that_fails_now_and_then(fit):
    calls = []

    def sometimes(refit):
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("oops")
        return np.nan if len(calls) == 5 else refit.llf

    with pytest.warns(ConvergenceWarning, match="2 of 6 replicates failed"):
        boot = fit.bootstrap(6, seed=1, statistic=sometimes)
    assert list(boot.failed["replicate"]) == [2, 4]
    assert boot.failed["reason"].iloc[0] == "the statistic failed: KeyError: 'oops'"
    assert "not a finite number" in boot.failed["reason"].iloc[1]


def test_ctrl_c_gives_what_is_done(fit):
    calls = []

    def pressed(refit):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return refit.llf

    with pytest.warns(MelogitWarning, match="Interrupted after 4 of 1,000 replicates"):
        boot = fit.bootstrap(1000, seed=1, statistic=pressed)
    assert len(boot.replicates) == 4
    assert "Interrupted: 4 of 1,000" in boot.summary()
    calls[:] = [1, 1, 1, 1]
    with pytest.raises(KeyboardInterrupt):  # nothing to show for it yet
        fit.bootstrap(1000, seed=1, statistic=pressed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reps": 1}, "reps=1 must be a whole number, 2 or more"),
        ({"reps": 2.5}, "reps=2.5 must be a whole number"),
        (
            {"resample": "doctors"},
            "resample='doctors' is not known. Choose one of cluster, stagewise, parametric, rows, weights",
        ),
        ({"group": "school"}, "'school' is no grouping factor of this model. It has 'DID'."),
        ({"group": 5}, "group=5 must be the name of a grouping factor"),
        ({"group": ["rows"]}, "'rows' is no grouping factor"),
        ({"group": []}, 'draws the groups of one level, not of 0. Use "stagewise"'),
        ({"resample": "stagewise", "group": []}, "No stage is drawn"),
        ({"resample": "rows", "group": "DID"}, "rows takes none"),
        ({"seed": -1}, "seed=-1 must be a whole number, 0 or more"),
        ({"level": 95}, "write level=0.95"),
    ],
)
def test_bad_input(fit, options, message):
    with pytest.raises(ModelError) as caught:
        quietly(fit.bootstrap, **{"reps": 5, **options})
    assert message in str(caught.value)


def test_bad_kind(fit):
    boot = fit.bootstrap(2, seed=1)
    with pytest.raises(ModelError, match=r"kind='t' is not known\. Choose one of normal, basic, percentile, bc"):
        boot.table("t")


def test_one_cluster_cannot_be_drawn(nested):
    design = nested.design
    top = design.terms[0]
    factor = replace(top.factor, codes=np.zeros(240, dtype=np.int32), levels=top.factor.levels[:1])
    single = replace(design, terms=(replace(top, factor=factor), design.terms[1]))
    with pytest.raises(ModelError, match="'HID' has a single group, and drawing whole groups needs several"):
        replace(nested, design=single).bootstrap(5)


def test_single_members_cannot_be_drawn(data):
    """Each hospital has one doctor, or each doctor one row: every sample would be the data."""
    counts = data.groupby("DID", as_index=False).agg(y=("y", "sum"), n=("y", "size"), x=("x", "mean"))
    fit = quietly(me.melogit, "cbind(y, n - y) ~ x + (1 | DID)", counts, intpoints=5).result
    with pytest.raises(ModelError, match="Each group of 'DID' has a single row, so every sample would be the data"):
        fit.bootstrap(3, resample="stagewise", group=["rows"])
    doctor = fit.design.terms[0]
    twice = replace(fit.design, terms=(replace(doctor, factor=replace(doctor.factor, name="HID")), doctor))
    with pytest.raises(ModelError, match=r"Each group of 'HID' has a single group of 'DID', .* Draw the groups"):
        plan_groups(twice, ["DID"])
    assert plan_groups(twice, ["HID", "DID"]).drawn == (True, True, False)


def test_a_sample_without_rows_is_said_to_have_none(fit):
    with pytest.raises(ModelError, match="The sample has no rows"):
        check_rank(subset(fit.design, np.zeros(240, dtype=bool)))


def test_infinite_coefficients_cannot_be_bootstrapped(data):
    separated = data.assign(z=data["y"] * (np.arange(240) % 3 == 0))
    fit = quietly(me.melogit, "y ~ z + (1 | DID)", separated, intpoints=5).result
    with pytest.raises(ModelError, match=r"infinite \(separation.*Leave the separating predictor out"):
        fit.bootstrap(5)


def test_every_design_can_be_drawn(data):
    """No predictor, no constant, counts."""
    counts = data.groupby("DID", as_index=False).agg(y=("y", "sum"), n=("y", "size"), x=("x", "mean"))
    counts["area"] = counts["DID"] // 2
    for formula, frame in (
        ("y ~ 1 + (1 | DID)", data),
        ("y ~ 0 + x + (1 | DID)", data),
        ("cbind(y, n - y) ~ x + (1 | area)", counts),
    ):
        fit = quietly(me.melogit, formula, frame, intpoints=5).result
        for resample in ("cluster", "stagewise", "parametric", "rows"):
            boot = quietly(fit.bootstrap, 6, resample=resample, seed=2).result
            assert len(boot.used) >= 4, (formula, resample)
            assert (boot.table().loc[list(fit.fe_params.index), "std_err"] > 0).all()


def test_crossed_factors_are_simulated(data):
    crossed = data.assign(rater=np.arange(240) % 7)
    fit = quietly(me.melogit, "y ~ x + (1 | DID) + (1 | rater)", crossed).result
    boot = quietly(fit.bootstrap, 8, resample="parametric", seed=1).result
    assert len(boot.used) == 8 and "bca" not in boot.kinds and "studentized" in boot.kinds
    for resample in ("stagewise", "weights"):
        with pytest.raises(ModelError, match=r"'DID' and 'rater' cross each other.* Use resample=\"parametric\""):
            fit.bootstrap(3, resample=resample)


def test_stages_are_named_from_the_top(nested):
    boot = quietly(nested.bootstrap, 2, resample="stagewise", group=["rows", "DID"], seed=1).result
    assert boot.group == ("HID:DID", "rows")
    assert "Drawn in stages: HID:DID, then rows" in boot.summary()
    whole = quietly(nested.bootstrap, 2, group="DID", seed=1).result
    assert "clusters in HID:DID, drawn whole within each HID." in whole.summary()


def test_what_stays_undrawn_above_is_warned_of(nested):
    for options, drawn in (
        ({"group": "DID"}, "groups of 'HID:DID'"),
        ({"resample": "stagewise", "group": ["rows"]}, "rows"),
        ({"resample": "stagewise", "group": ["rows", "DID"]}, "groups of 'HID:DID' and rows"),
    ):
        with pytest.warns(DataWarning) as caught:
            nested.bootstrap(2, seed=1, **options)
        said = [str(w.message) for w in caught if w.category is DataWarning]
        assert len(said) == 1 and f"Only {drawn} are drawn, and the groups of 'HID' stay" in said[0]
    assert not quietly(nested.bootstrap, 2, seed=1, group="HID").messages


def test_a_loaded_model_has_no_data(fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    with pytest.raises(ModelError, match=r"loaded from a file.* bootstrap\(\) needs them"):
        me.load(tmp_path / "fit.json").bootstrap(5)


def test_weights_cannot_be_simulated(data):
    fit = quietly(me.melogit, "y ~ x + (1 | DID)", data, weights="w", intpoints=5).result
    with pytest.raises(ModelError, match="copies would be simulated alike"):
        fit.bootstrap(5, resample="parametric")
    assert fit.bootstrap(2, seed=1).replicates.notna().all(axis=None)


def test_progress_goes_to_standard_error(fit, capsys):
    fit.bootstrap(2, seed=1)
    assert capsys.readouterr() == ("", "")
    fit.bootstrap(2, seed=1, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "2/2" in err


def test_the_figure(fit):
    pytest.importorskip("matplotlib")
    boot = fit.bootstrap(40, seed=1)
    drawn = boot.plot("bca")
    assert [ax.get_title(loc="left") for ax in drawn] == list(boot.observed.index)
    for ax, (name, row) in zip(drawn, boot.table("bca").iterrows(), strict=True):
        assert [line.get_xdata()[0] for line in ax.lines] == [row["observed"], row["ci_low"], row["ci_high"]]
        assert sum(bar.get_height() for bar in ax.patches) == 40, name
    legend = [text.get_text() for text in drawn[0].figure.legends[0].get_texts()]
    assert legend == ["observed", "95% BCa interval"]
    assert len(boot.plot(columns="x", axes=drawn[:1])) == 1
    with pytest.raises(ModelError, match="'z' is none of the parameters: Intercept, x, DID"):
        boot.plot(columns=["z"])
    with pytest.raises(ModelError, match="There are 3 parameters to draw and 1 axes"):
        boot.plot(axes=drawn[:1])


# --------------------------------------------------------------------------- the published table, and the right one


@pytest.mark.slow
def test_rows_reproduce_the_published_bootstrap(hdp, seed_tables, fit_once):
    """Its standard errors are those of single patients drawn, whatever its heading says."""
    fit, published = fit_once(M1, hdp, intpoints=7).result, seed_tables["M1_bootstrap_100"]
    table = quietly(fit.bootstrap, 100, resample="rows", seed=1).result.table()
    for name, se in published["std_err"].items():
        # both are of 100 replicates: the ratio of two standard errors, each off by 1 / sqrt(200)
        assert abs(np.log(table.loc[name, "std_err"] / se)) < 4 * np.sqrt(2 / 200), name
    for name, bias in published["bias"].items():
        assert abs(table.loc[name, "bias"] - bias) < 4 * np.sqrt(2 / 100) * published["std_err"][name], name


@pytest.mark.slow
def test_whole_doctors_give_the_standard_errors_of_theory(hdp, fit_once):
    fit = fit_once(M1, hdp, intpoints=7).result
    robust = np.sqrt(np.diag(fit.cov_params("robust")))
    for resample in ("cluster", "weights"):
        table = fit.bootstrap(400, resample=resample, seed=1).table()
        assert table.loc["Experience", "std_err"] == pytest.approx(0.027, rel=4 / np.sqrt(800))
        assert table.loc["DID:var(Intercept)", "std_err"] == pytest.approx(0.45, abs=0.05)
        assert np.all(np.abs(np.log(table["std_err"] / robust)) < 4 / np.sqrt(800))
        assert np.all(np.abs(table["bias"]) < 4 * table["std_err"] / 20)


@pytest.mark.slow
def test_simulated_responses_give_the_standard_errors_of_the_fit(hdp, fit_once):
    fit = fit_once(M1, hdp, intpoints=7).result
    table = fit.bootstrap(100, resample="parametric", seed=1).table()
    assert np.all(np.abs(np.log(table["std_err"] / fit.bse)) < 4 / np.sqrt(200))
