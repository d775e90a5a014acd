"""Power by simulation, against answers that are known otherwise; seeds, workers, failures, pictures, bad input."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from expected_information import power_of_trial
from scipy.special import expit, ndtr, ndtri

import melogit as me
from melogit.errors import MelogitWarning
from melogit.simulation.power import Tally, between_within, find_clusters
from melogit.simulation.trial import Trial, draw_trial, logit_at, share_at, variances_of
from quiet import quietly

BASIC = {"cluster_size": 20, "baseline": 0.3, "icc": 0.05}


def truth(**numbers):
    """Intercept, effect and variance of a study with these numbers."""
    variance = variances_of((numbers["icc"],))
    return logit_at(numbers["baseline"], variance), float(np.log(numbers["odds_ratio"])), variance[0]


@pytest.mark.parametrize(
    ("treatment", "clusters", "size", "odds_ratio"), [("cluster", 80, 12, 1.8), ("row", 60, 12, 1.55)]
)
def test_power_is_that_of_the_exact_information(treatment, clusters, size, odds_ratio):
    numbers = {"cluster_size": size, "baseline": 0.3, "icc": 0.08, "odds_ratio": odds_ratio}
    found = me.power(clusters=clusters, treatment=treatment, reps=600, seed=1, **numbers).table.iloc[0]
    expected, std_err = power_of_trial(truth(**numbers), clusters, size, treatment)
    assert 0.6 < expected < 0.9
    assert abs(found["power"] - expected) < 3 * found["mc_error"] + 0.01  # asymptotic in the number of clusters
    assert abs(found["mean_std_err"] / std_err - 1) < 0.02
    assert abs(found["mean_estimate"] - np.log(odds_ratio)) < 4 * std_err / np.sqrt(600) + 0.01


@pytest.mark.slow
def test_power_is_that_of_the_design_effect_formula():
    """Donner and Klar (2000, section 5.3): two proportions, variance times 1 + (m - 1) rho, rho of the 0/1 outcome."""
    size, clusters, low, high = 25, 90, 0.30, 0.38
    variance = variances_of((0.04,))
    z = np.random.default_rng(0).standard_normal(2_000_000) * np.sqrt(variance[0])
    rho = []
    for share in (low, high):
        p = expit(logit_at(share, variance) + z)
        rho.append(p.var() / (share * (1 - share)))
    per_arm = clusters / 2 * size
    spread = sum(p * (1 - p) * (1 + (size - 1) * r) for p, r in zip((low, high), rho, strict=True))
    expected = ndtr((high - low) / np.sqrt(spread / per_arm) - ndtri(0.975))
    found = me.power(clusters=clusters, cluster_size=size, baseline=low, treated=high, icc=0.04, reps=2000, seed=2)
    assert 0.6 < expected < 0.95
    assert abs(found.table["power"][0] - expected) < 0.04


@pytest.mark.slow
def test_with_few_clusters_student_keeps_the_level_and_the_normal_does_not():
    options = {"clusters": 10, "cluster_size": 20, "baseline": 0.3, "effect": 0, "icc": 0.05, "reps": 1000, "seed": 4}
    wald, student = (me.power(test=test, **options).table["power"][0] for test in ("wald", "t"))
    assert wald > 0.07
    assert abs(student - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_degrees_of_freedom_between_and_within():
    trial = Trial(10, 3, 4, 0.0, 0.5, "cluster", 0.0, 0.0, (0.1, 0.1))
    for treatment, df in (("cluster", 10 - 2), ("subcluster", 30 - 10 - 1), ("row", 120 - 30 - 1)):
        design = draw_trial(replace(trial, treatment=treatment), np.random.default_rng(0))
        assert between_within(design, 1) == df


@pytest.mark.slow
@pytest.mark.parametrize("test", ["wald", "lr"])
def test_without_an_effect_the_level_is_kept(test):
    """With many clusters the share of significant results is alpha, within the Monte Carlo error."""
    found = me.power(clusters=100, cluster_size=10, baseline=0.4, effect=0, icc=0.1, reps=2000, seed=3, test=test)
    row = found.table.iloc[0]
    assert abs(row["power"] - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 2000) + 0.004
    assert abs(row["coverage"] - 0.95) < 0.017


def test_three_levels_and_what_is_treated():
    """Treating subclusters beats treating clusters, and treating rows beats both."""
    options = {"clusters": 10, "subclusters": 3, "cluster_size": 15, "baseline": 0.3, "odds_ratio": 1.8}
    found = [
        me.power(icc=(0.05, 0.1), treatment=what, reps=120, seed=1, **options).table.iloc[0]
        for what in ("cluster", "subcluster", "row")
    ]
    assert found[0]["mean_std_err"] > found[1]["mean_std_err"] > found[2]["mean_std_err"]
    assert found[0]["power"] < found[2]["power"]
    assert found[0]["icc"] == pytest.approx(0.05) and found[0]["icc_within"] == pytest.approx(0.1)
    assert found[0]["rows"] == 450


@pytest.mark.slow
def test_the_sample_size_is_that_of_the_exact_information():
    numbers = {"cluster_size": 20, "baseline": 0.3, "icc": 0.05, "odds_ratio": 1.7}
    found = me.power(target=0.8, reps=400, seed=1, **numbers)
    row = found.table.iloc[0]
    exact = next(n for n in range(10, 200) if power_of_trial(truth(**numbers), n, 20, "cluster")[0] >= 0.8)
    assert row["clusters_low"] - 3 <= exact <= row["clusters_high"] + 3
    assert row["clusters_low"] <= row["clusters"] <= row["clusters_high"]
    assert abs(row["power"] - 0.8) < 4 * row["mc_error"] + 0.02
    assert set(found.replicates["clusters"]) >= {row["clusters"]}
    assert "[at least" in str(found)


def test_the_search_ends_where_a_known_curve_has_the_power_and_its_range_is_honest():
    """Trials drawn from power = Phi(delta sqrt(n) - z): the range holds the truth 95 times in 100."""
    rng = np.random.default_rng(8)
    z, held, made = ndtri(0.975), 0, []
    for delta in np.repeat([0.2, 0.35, 0.9], 60):
        exact = ((z + ndtri(0.8)) / delta) ** 2

        def run(n, delta=delta):
            hits = rng.random(400) < ndtr(delta * np.sqrt(n) - z)
            return Tally(np.where(hits, 0.01, 0.5), np.zeros(400), np.ones(400), (), tuple(range(1, 401)))

        found = find_clusters(run, exact * rng.choice([0.3, 1.0, 3.0]), 0.8, 0.05, least=4)
        held += found.low <= np.ceil(exact) <= found.high
        made.append(len(found.tried))
        assert abs(found.clusters / exact - 1) < 0.25 + 1 / exact
    assert held >= 180 * 0.95 - 3 * np.sqrt(180 * 0.95 * 0.05)
    assert max(made) <= 9 and np.mean(made) < 4
    with pytest.raises(me.ModelError, match=r"A power of 0\.8 needs more than 20,000 clusters"):
        find_clusters(
            lambda n: Tally(np.full(99, 0.5), np.zeros(99), np.ones(99), (), tuple(range(1, 100))),
            50,
            0.8,
            0.05,
            least=4,
        )


def test_what_a_trial_draws():
    trial = Trial(40, 3, 30, 0.6, 0.25, "subcluster", logit_at(0.3, (0.4, 0.3)), 0.0, (0.4, 0.3))
    assert share_at(trial.intercept, trial.variances) == pytest.approx(0.3, abs=1e-10)
    design = draw_trial(trial, np.random.default_rng(1))
    sizes = np.bincount(design.terms[1].factor.codes)
    assert len(sizes) == 120 and sizes.min() >= 1
    assert abs(sizes.mean() - 30) < 4 * 18 / np.sqrt(120) and abs(sizes.std() / sizes.mean() - 0.6) < 0.15
    x = pd.Series(design.X[:, 1]).groupby(design.terms[1].factor.codes)
    assert (x.nunique() == 1).all() and x.first().sum() == 30
    many = [draw_trial(trial, np.random.default_rng(r)).y.mean() for r in range(60)]
    assert abs(np.mean(many) - 0.3) < 4 * np.std(many) / np.sqrt(60)


def test_a_replicate_depends_on_study_seed_and_number_alone():
    one = me.power(clusters=[12, 16], odds_ratio=2, reps=24, seed=5, **BASIC, workers=1)
    for workers in (2, "processes:2"):
        other = me.power(clusters=[12, 16], odds_ratio=2, reps=24, seed=5, **BASIC, workers=workers)
        pd.testing.assert_frame_equal(other.replicates, one.replicates)
    alone = me.power(clusters=16, odds_ratio=2, reps=12, seed=5, **BASIC)
    columns = ["estimate", "std_err", "p"]
    again = one.replicates.query("clusters == 16")[columns].head(12).to_numpy()
    assert np.array_equal(alone.replicates[columns].to_numpy(), again)
    chosen = me.power(clusters=12, odds_ratio=2, reps=10, **BASIC)
    assert me.power(clusters=12, odds_ratio=2, reps=10, seed=chosen.seed, **BASIC).table.equals(chosen.table)


def test_failures_are_counted_and_said():
    """Hardly any events: many replicates have none in one arm, and those are not significant, not left out."""
    found = quietly(me.power, clusters=8, cluster_size=5, baseline=0.02, odds_ratio=1, icc=0.05, reps=60, seed=1)
    row = found.result.table.iloc[0]
    assert row["failed"] > 10
    failed = found.result.replicates.query("reason != ''")
    assert len(failed) == row["failed"] and failed["p"].isna().all()
    assert row["power"] == (found.result.replicates["p"] < 0.05).sum() / 60
    assert (
        "of 60 replicates of study 0 could not be fitted or tested, and count as not significant" in found.messages[0]
    )


@pytest.fixture(scope="module")
def pilot():
    data = me.load_dataset("hospital")
    return me.melogit("remission ~ Age + CancerStage + (1 | HID/DID)", data)


def test_a_study_like_one_that_was_fitted(pilot):
    """As it is, with the estimated effect: the mean standard error is that of the fit."""
    found = me.power(pilot, term="Age", reps=40, seed=1).table.iloc[0]
    assert found["clusters"] == pilot.groups.loc["HID", "groups"]
    assert found["effect"] == pilot.params["Age"]
    assert abs(found["mean_std_err"] / pilot.bse["Age"] - 1) < 0.05
    assert abs(found["mean_estimate"] - pilot.params["Age"]) < 4 * pilot.bse["Age"] / np.sqrt(40)


def test_more_clusters_like_those_that_were_fitted(pilot):
    found = me.power(pilot, term="Age", odds_ratio=[1.0, 0.98], clusters=[10, 40], reps=20, seed=1)
    table = found.table
    assert table["clusters"].tolist() == [10, 40, 10, 40]
    ratio = table["mean_std_err"][0] / table["mean_std_err"][1]
    assert abs(ratio - 2) < 0.3  # four times the hospitals
    assert table["power"][3] > table["power"][2] and table["power"][1] < 0.25


@pytest.mark.slow
def test_how_many_clusters_like_those_that_were_fitted(pilot):
    needed = me.power(pilot, term="Age", odds_ratio=0.98, target=0.8, reps=100, seed=1).table.iloc[0]
    per = pilot.groups.loc["HID", "groups"]
    expected = per * ((ndtri(0.975) + ndtri(0.8)) * pilot.bse["Age"] / np.log(0.98)) ** 2
    assert needed["clusters_low"] - 4 < expected < needed["clusters_high"] + 4


def test_the_picture_has_a_curve_per_effect():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    found = me.power(clusters=[10, 20], odds_ratio=[1.5, 2.5], reps=10, seed=1, **BASIC)
    ax = found.plot()
    curves = [line for line in ax.get_lines() if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert [line.get_label() for line in curves] == ["1.5", "2.5"]
    assert curves[0].get_ydata().tolist() == found.table["power"][:2].tolist()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Clusters", "Power")
    assert ax.get_legend().get_title().get_text() == "odds ratio"
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"clusters": None}, "power needs clusters=, a whole number, 2 or more, or target=0.8 to have it found"),
        ({"clusters": 1}, "clusters=1 cannot be used: it must be a whole number, 2 or more"),
        ({"clusters": 20.5}, "clusters=20.5 cannot be used"),
        ({"clusters": []}, "clusters= is an empty list"),
        ({"cluster_size": None}, "power needs cluster_size="),
        ({"baseline": 30}, "baseline=30 cannot be used: it must be a number between 0 and 1"),
        ({"odds_ratio": -1}, "odds_ratio=-1 cannot be used: it must be a number above 0"),
        ({"odds_ratio": None}, "power needs the effect in exactly one of effect=, odds_ratio=, treated="),
        ({"effect": 1}, "exactly one of effect=, odds_ratio=, treated=; both were given"),
        ({"icc": 1.2}, "icc=1.2 cannot be used: it must be 0 or more and below 1"),
        ({"icc": (0.1, 0.2)}, "has 2 numbers for 1 level of clusters"),
        ({"subclusters": 3}, "icc=0.05 has 1 number for 2 levels of clusters"),
        ({"variance": 1}, "how alike rows of a cluster are in exactly one of icc=, variance=; both were given"),
        ({"treatment": "school"}, "treatment='school' is not one of 'cluster', 'row'"),
        ({"treatment": "subcluster"}, "subcluster needs subclusters="),
        ({"share": 1}, "share=1 must lie between 0 and 1"),
        ({"share": 0.01}, "With share=0.01 of 20 clusters, all or none are treated"),
        ({"size_cv": -1}, "size_cv=-1 must lie between 0 and 3"),
        ({"test": "score"}, "test='score' is not one of 'wald', 't', 'lr'"),
        ({"alpha": 5}, "alpha=5 must lie between 0 and 1"),
        ({"reps": 5}, "reps=5 must be a whole number, 10 or more"),
        ({"target": 0.8}, "clusters= and target= do not go together"),
        ({"target": 0.8, "clusters": None, "odds_ratio": 1}, "The effect is 0, and no number of clusters"),
        ({"target": 80, "clusters": None}, "target=80 must lie between alpha"),
        ({"term": "age"}, "term= goes with fit="),
        ({"clusters": 10**6}, "This study has 20,000,000 rows; the limit is 2,000,000"),
        ({"clusters": [*range(10, 310)]}, "The lists make 300 studies; the limit is 200"),
        ({"workers": "many"}, "workers='many' is not understood"),
        ({"intpoints": 0}, "intpoints=0 is not possible"),
    ],
)
def test_bad_input(options, text):
    given = {"clusters": 20, "odds_ratio": 2, **BASIC, **options}
    with pytest.raises(me.ModelError) as fault:
        me.power(reps=given.pop("reps", 10), seed=1, **given)
    assert text in str(fault.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "Which effect is to be found? Give term=, one of Intercept, Age"),
        ({"term": "age"}, "There is no coefficient 'age' in this model. Did you mean 'Age'?"),
        ({"term": "Age", "icc": 0.1}, "icc= cannot be given with fit="),
        ({"term": "Age", "share": 0.3}, "share= cannot be given with fit="),
        ({"term": "Age", "effect": 1, "odds_ratio": 2}, "effect= and odds_ratio= are the same thing twice"),
    ],
)
def test_bad_input_with_a_fit(pilot, options, text):
    with pytest.raises(me.ModelError) as fault:
        me.power(pilot, reps=10, seed=1, **options)
    assert text in str(fault.value)


def test_crossed_groups_stay_as_they_are():
    rng = np.random.default_rng(6)
    data = pd.DataFrame([(s, q) for s in range(25) for q in range(12)], columns=["student", "question"])
    data["x"] = rng.normal(size=300)
    eta = rng.normal(size=25)[data["student"]] + rng.normal(size=12)[data["question"]] + 0.4 * data["x"]
    data["y"] = (rng.random(300) < expit(eta)).astype(int)
    fit = quietly(me.melogit, "y ~ x + (1 | student) + (1 | question)", data).result
    found = me.power(fit, term="x", reps=20, seed=1).table.iloc[0]
    assert 0.5 < found["mean_std_err"] / fit.bse["x"] < 2 and found["failed"] == 0
    for option in ({"clusters": 40}, {"target": 0.8}):
        with pytest.raises(me.ModelError, match="'student' and 'question' cross each other, so that no cluster"):
            me.power(fit, term="x", reps=10, seed=1, **option)
    with pytest.raises(me.ModelError, match="those of this model cross each other"):
        me.power(fit, term="x", test="t")
    drawn = me.simulate(fit, 200, groups="posterior", seed=1)
    predicted = fit.predict(draws=1000, seed=2).mean(axis=1)
    assert abs(drawn.mean(axis=1) - predicted).max() < 4.5 * 0.5 / np.sqrt(200)


def test_a_loaded_model_has_no_data_to_extend(pilot, tmp_path):
    pilot.save(tmp_path / "model.json")
    with pytest.raises(me.ModelError, match="model files do not hold the data, whose predictors and groups"):
        me.power(me.load(tmp_path / "model.json"), term="Age")
    with pytest.raises(me.ModelError, match="fit= must be a fitted model, and this is a int"):
        me.power(20)


def test_ctrl_c_keeps_the_replicates_that_are_done(monkeypatch):
    from melogit.results import planning

    plan = {"cluster_size": 8, "baseline": 0.3, "odds_ratio": 2, "icc": 0.05, "seed": 3, "workers": 1}
    whole = me.power(clusters=[10, 12], reps=12, **plan)
    real, calls = planning.try_once, []

    def pressed(*args):
        calls.append(1)
        if len(calls) > stop:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(planning, "try_once", pressed)
    stop = 42  # 30 of the first study, 12 of the second
    with pytest.warns(MelogitWarning, match="after 2 of 2 studies, the last with 12 of 30 replicates"):
        found = me.power(clusters=[10, 12], reps=30, **plan)
    assert list(found.table["reps"]) == [30, 12]
    second = found.replicates.query("study == 1").drop(columns="study").reset_index(drop=True)
    expected = whole.replicates.query("study == 1").drop(columns="study").reset_index(drop=True)
    pd.testing.assert_frame_equal(second, expected)
    assert found.table.loc[1, "power"] == whole.table.loc[1, "power"]
    calls[:], stop = [], 35  # 5 of the second study are of no use
    with pytest.warns(MelogitWarning, match="Interrupted after 1 of 2 studies; the results are of what was done"):
        assert len(me.power(clusters=[10, 12], reps=30, **plan).table) == 1
    calls[:], stop = [], 5
    with pytest.raises(KeyboardInterrupt):
        me.power(clusters=[10, 12], reps=30, **plan)
