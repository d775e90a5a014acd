"""The response, weights, trials, offsets and missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melogit.errors import DataError, FormulaError
from melogit.formula import build_design

Y = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1] * 2)
N = len(Y)


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = rng.integers(2, 6, N)
    return pd.DataFrame(
        {
            "y": Y,
            "x": rng.normal(size=N),
            "n": n,
            "k": rng.binomial(n, 0.5),
            "w": rng.integers(1, 4, N),
            "g": np.arange(N) // 4,
        }
    )


@pytest.mark.parametrize(
    ("y", "event", "shown"),
    [
        (Y, None, None),
        (Y.astype(float), None, None),
        (Y.astype(bool), None, "True"),
        (pd.array(Y.astype(bool), dtype="boolean"), None, "True"),
        (np.where(Y, "yes", "no"), None, "yes"),
        (np.where(Y, "1", "0"), None, None),
        (pd.Categorical(np.where(Y, "alive", "dead"), categories=["dead", "alive"]), None, "alive"),
        (pd.Categorical(Y), None, None),
        (Y + 1, 2, "2"),
        (Y + 1, "2", "2"),
        (Y + 1.0, 2, "2"),
        (np.where(Y, "no", "yes"), "no", "no"),
        (np.where(Y, "b", np.where(np.arange(N) % 4, "a", "c")), "b", "b"),
        (np.where(Y, 0, 1), 0, "0"),
        (~Y.astype(bool), False, "False"),
        (~Y.astype(bool), "False", "False"),
    ],
)
def test_codings_of_the_same_outcome(data, y, event, shown):
    design = build_design("y ~ x + (1 | g)", data.assign(y=y), event=event)
    np.testing.assert_array_equal(design.y, Y)
    assert design.wording.event == shown
    assert design.wording.response == "y"
    assert (design.trials == 1).all()


def test_a_comparison_as_response(data):
    design = build_design("I(x > 0) ~ (1 | g)", data)
    np.testing.assert_array_equal(design.y, data.x > 0)
    assert design.wording.response == "I(x > 0)"
    assert design.wording.event == "True"


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (Y + 1, "has values {1, 2}; expected 0/1, booleans or two named levels. Use event=2"),
        (np.arange(N) % 3, "three (0, 1, 2). Recode it, use event= to say which value is the event, or drop the 8"),
        (np.arange(N), "it has 24 (0, 1, 2"),
        (np.where(np.arange(N) == 3, 0.3, Y), "row 4: y = 0.3 is not 0 or 1. Correct it; for proportions give trials="),
        (np.linspace(0, 1, N), "holds proportions (row 2: 0.0434783) without their numbers of trials. Give trials="),
        (np.where(np.arange(N) == 5, -1, Y), "row 6: y = -1 is negative"),
        (np.zeros(N), "'y' is constant: it is 0 in all 24 rows"),
        (np.ones(N, dtype=int), "'y' is constant: it is 1 in all 24 rows"),
        (np.full(N, 3), "'y' is constant: it is 3 in all 24 rows"),
        (np.ones(N, dtype=bool), "'y' is constant: it is 'True' in all 24 rows"),
        (np.zeros(N, dtype=bool), "'y' is constant: it is never 'True' in 24 rows"),
        (["ill"] * N, "'y' is constant: it is 'ill' in all 24 rows"),
        (["a", "b", "c", "d"] * 6, "it has four (a, b, c, d). Name the one that is the event, such as event='d'"),
        (["a", 1] * 12, "mixes text and numbers"),
        (np.where(np.arange(N) == 7, np.inf, Y), "column 'y' has 1 infinite value (row 8)"),
    ],
)  # fmt: skip
def test_responses_that_are_refused(data, y, words):
    with pytest.raises(DataError) as error:
        build_design("y ~ x + (1 | g)", data.assign(y=y))
    assert words in str(error.value)


def test_an_event_that_does_not_occur(data):
    with pytest.raises(DataError, match=r"event='maybe' does not occur in the response 'y', whose values are no, yes"):
        build_design("y ~ x + (1 | g)", data.assign(y=np.where(Y, "yes", "no")), event="maybe")
    with pytest.raises(DataError, match="event= is for a response with one outcome per row"):
        build_design("k ~ x + (1 | g)", data, trials="n", event=1)


def test_counts(data):
    both = build_design("cbind(k, n - k) ~ x + (1 | g)", data)
    column = build_design("k ~ x + (1 | g)", data, trials="n")
    shares = build_design("p ~ x + (1 | g)", data.assign(p=data.k / data.n), trials="n")
    number = build_design("k ~ x + (1 | g)", data, trials=7)
    for design in (both, column, shares):
        np.testing.assert_array_equal(design.y, data.k)
        np.testing.assert_array_equal(design.trials, data.n)
    np.testing.assert_array_equal(number.trials, 7)
    assert both.wording.response == "cbind(k, n - k)"
    assert both.wording.trials is None
    assert column.wording.trials == "n"
    assert number.wording.trials == "7"
    assert both.wording.event is None


def test_counts_of_zero_and_one_trial_are_counts(data):
    design = build_design("y ~ x + (1 | g)", data.assign(one=1), trials="one")
    np.testing.assert_array_equal(design.y, Y)


def test_rows_without_trials_stay_and_are_told(data):
    data.loc[[2, 5], ["k", "n"]] = 0
    design = build_design("k ~ x + (1 | g)", data, trials="n")
    assert design.n_rows == N
    assert design.wording.notes == ("2 rows have zero trials and add nothing to the likelihood.",)


@pytest.mark.parametrize(
    ("change", "formula", "trials", "words"),
    [
        ({"k": 7}, "k", "n", "row 5: successes 7 > trials 5"),
        ({"k": 7}, "cbind(k, n - k)", None, "row 5: successes 7 > trials 5 in cbind(k, n - k) (failures = -2)"),
        ({"k": -1}, "k", "n", "row 5: k = -1 is negative"),
        ({"k": -1}, "cbind(k, n)", None, "row 5: successes in cbind(k, n) = -1 is negative"),
        ({"k": 2.5}, "k", "n", "row 5: k = 2.5 is not a whole number"),
        ({"n": -3}, "k", "n", "row 5: trials = -3 is negative"),
        ({"n": 4.5}, "k", "n", "row 5: trials = 4.5 is not a whole number"),
        ({}, "k", 0, "trials=0 must be"),
        ({}, "k", 2.5, "trials=2.5 must be"),
        ({}, "k", True, "trials=True must be"),
        ({}, "cbind(k, n)", "n", "given twice"),
        ({}, "k", "t", "trials='t': the column is not numeric"),
        ({}, "t", "n", "column 't' is not numeric, but 't' counts"),
        ({}, "k0", "n", "constant: all trials are failures"),
        ({}, "n", "n", "constant: all trials are successes"),
        ({}, "k0", "k0", "have zero trials"),
    ],
)
def test_counts_that_are_refused(data, change, formula, trials, words):
    data = data.assign(t="a", k0=0).astype({"k": float, "n": float})
    data.loc[4, ["k", "n"]] = [2, 5]
    for name, value in change.items():
        data.loc[4, name] = value
    with pytest.raises((DataError, FormulaError)) as error:
        build_design(f"{formula} ~ x + (1 | g)", data, trials=trials)
    assert words in str(error.value)


def test_a_proportion_that_is_no_whole_count(data):
    data = data.assign(p=data.k / data.n)
    data.loc[4, ["p", "n"]] = [0.33, 3]
    with pytest.raises(DataError, match=r"row 5: p = 0\.33 of 3 trials is 0.99 successes, not a whole number"):
        build_design("p ~ x + (1 | g)", data, trials="n")


def test_weights(data):
    for weights in ("w", data.w, data.w.to_numpy(), data.w.tolist()):
        np.testing.assert_array_equal(build_design("y ~ x + (1 | g)", data, weights=weights).weights, data.w)
    assert build_design("y ~ x + (1 | g)", data, weights="w").wording.weights == "w"


def test_rows_of_weight_zero_are_dropped_and_told(data):
    data.loc[[0, 3], "w"] = 0
    design = build_design("y ~ x + (1 | g)", data, weights="w")
    assert design.n_rows == N - 2
    assert design.row_labels.tolist() == [i for i in range(N) if i not in (0, 3)]
    assert "2 rows with weight 0 left out." in design.wording.notes
    assert (design.wording.rows_read, design.wording.rows_used) == (N, N - 2)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([-1.0] + [1.0] * (N - 1), "row 1: the weight = -1 is negative"),
        (
            [1.0] * 3 + [0.5] + [1.0] * (N - 4),
            "row 4: the weight = 0.5 is not a whole number. weights= are frequency weights",
        ),
        ([1.0] * 3 + [np.nan] + [1.0] * (N - 4), "row 4: weights = nan is not a finite number"),
        ([1.0] * 5, "weights= has 5 values, but the data have 24 rows"),
        (np.ones((N, 1)), "weights= has 2 dimensions"),
        (["a"] * N, "weights= must be the name of a column, or numbers"),
        ([0] * N, "All weights are 0"),
        ("s", "weights='s': the column is not numeric"),
        ("ww", "weights='ww': there is no column 'ww'"),
        (pd.Series(1.0, index=range(1, N + 1)), "index differs from that of the data"),
        (3, "weights= has 0 dimensions"),
    ],
)
def test_weights_that_are_refused(data, weights, words):
    with pytest.raises((DataError, FormulaError)) as error:
        build_design("y ~ x + (1 | g)", data.assign(s="a"), weights=weights)
    assert words in str(error.value)


def test_offsets_add_up(data):
    design = build_design("y ~ offset(log(n)) + x + offset(2 * w) + (1 | g)", data, offset="k")
    np.testing.assert_allclose(design.offset, np.log(data.n) + 2 * data.w + data.k)
    assert design.x_names == ("Intercept", "x")
    assert design.wording.offset == "k + log(n) + 2 * w"
    np.testing.assert_array_equal(build_design("y ~ x + (1 | g)", data, offset=data.x.to_numpy()).offset, data.x)
    assert build_design("y ~ x + (1 | g)", data, offset=data.x).wording.offset == "given as numbers"
    assert (build_design("y ~ x + (1 | g)", data).offset == 0).all()


@pytest.mark.parametrize(
    ("formula", "offset", "words"),
    [
        ("y ~ offset(s) + (1 | g)", None, "column 's' is not numeric, but stands in offset(s)"),
        ("y ~ offset(log(x)) + (1 | g)", None, "'log(x)' is not a finite number in row"),
        ("y ~ x + (1 | g)", [1.0], "offset= has 1 values"),
        ("y ~ x + (1 | g)", "s", "offset='s': the column is not numeric"),
    ],
)
def test_offsets_that_are_refused(data, formula, offset, words):
    with pytest.raises(DataError) as error:
        build_design(formula, data.assign(s="a"), offset=offset)
    assert words in str(error.value)


def test_missing_values_are_dropped_counted_and_told(data):
    data = data.astype({"y": float, "g": float, "w": float, "n": float})
    data.loc[[3, 4], "x"] = np.nan
    data.loc[4, "g"] = np.nan
    data.loc[9, "w"] = np.nan
    data.loc[20, "y"] = np.nan
    data.loc[1, "n"] = np.nan  # not used: does not matter
    design = build_design("y ~ x + (1 | g)", data, weights="w")
    assert design.n_rows == N - 4
    assert design.wording.rows_missing == (("y", 1), ("x", 2), ("g", 1), ("w", 1))
    assert design.wording.notes[0] == "4 of 24 rows dropped because of missing values: y (1), x (2), g (1), w (1)."
    assert design.row_labels.tolist() == [i for i in range(N) if i not in (3, 4, 9, 20)]
    np.testing.assert_array_equal(design.X[:, 1], data.x.drop([3, 4, 9, 20]))
    np.testing.assert_array_equal(design.y, data.y.drop([3, 4, 9, 20]))


def test_array_weights_follow_the_rows(data):
    data.loc[3, "x"] = np.nan
    design = build_design("y ~ x + (1 | g)", data, weights=np.arange(1, N + 1), offset=np.arange(N))
    assert design.weights.tolist() == [i + 1 for i in range(N) if i != 3]
    assert design.offset.tolist() == [i for i in range(N) if i != 3]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_every_kind_of_missing_value(data, missing):
    values = data.x.astype(object)
    values.iloc[2] = missing
    text = pd.Series(np.where(Y, "a", "b"), dtype=object)
    text.iloc[5] = missing
    design = build_design("y ~ x + t + (1 | g)", data.assign(x=values, t=text))
    assert design.wording.rows_missing == (("x", 1), ("t", 1))
    assert design.n_rows == N - 2


def test_missing_values_can_be_an_error(data):
    data.loc[[3, 4], "x"] = np.nan
    with pytest.raises(
        DataError, match=r"2 of 24 rows have missing values: x \(2\); the first is in row 4, column 'x'"
    ):
        build_design("y ~ x + (1 | g)", data, missing="error")
    with pytest.raises(DataError, match="missing='ignore' is not known"):
        build_design("y ~ x + (1 | g)", data, missing="ignore")


def test_nothing_left(data):
    with pytest.raises(DataError, match=r"No rows are left after removing missing values: x \(24\), of 24 rows"):
        build_design("y ~ x + (1 | g)", data.assign(x=np.nan))
    with pytest.raises(DataError, match="no rows"):
        build_design("y ~ x + (1 | g)", data.iloc[:0])


def test_response_beside_itself_in_cbind_is_fine(data):
    assert build_design("cbind(k, n - k) ~ n + (1 | g)", data).x_names == ("Intercept", "n")
