"""First looks at the data: the published tables, and data that are not as they seem."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melogit.datasets import load_dataset
from melogit.describe import describe
from melogit.errors import DataError

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"
HDP = SHARED / "data" / "hdp.csv"
REFERENCE = SHARED / "reference" / "seed_tables.json"
needs_shared = pytest.mark.skipif(not REFERENCE.exists(), reason="../shared/reference/seed_tables.json is not there")


@pytest.fixture(scope="module")
def published():
    return json.loads(REFERENCE.read_text())["describe"]


@pytest.fixture(scope="module")
def hdp():
    return pd.read_csv(HDP)


@needs_shared
def test_published_summaries(published, hdp):
    columns = published["mean_sd_min_max"]
    summary = describe(hdp, list(columns)).summary
    assert (summary["obs"] == published["nobs"]).all()
    for name, printed in columns.items():
        ours = summary.loc[name, ["mean", "std_dev", "min", "max"]].to_numpy(dtype=float)
        np.testing.assert_allclose(ours, printed, rtol=5e-7, atol=5e-8, err_msg=name)
    # Stata had read the file into single precision; with that, every digit is as on the published page
    single = hdp.astype({name: "float32" for name in columns if hdp[name].dtype == "float64"})
    lines = [line.split() for line in str(describe(single, list(columns))).splitlines()]
    assert lines[2:] == [[name, "|", "8,525", *(f"{value:.7g}" for value in row)] for name, row in columns.items()]


@needs_shared
def test_published_tabulations(published, hdp):
    tables = describe(hdp, tabulate=list(published["tabulate"])).tabulations
    for name, counts in published["tabulate"].items():
        assert {str(k): v for k, v in tables[name]["freq"].items()} == counts
    stage = tables["CancerStage"]
    assert [f"{v:.2f}" for v in stage["percent"]] == ["30.01", "39.99", "20.00", "10.01"]
    assert [f"{v:.2f}" for v in stage["cum"]] == ["30.01", "69.99", "89.99", "100.00"]


@needs_shared
def test_published_correlations(published, hdp):
    found = describe(str(HDP), correlate=["IL6", "CRP", "LengthofStay", "Experience"])
    assert found.correlations is not None and found.correlation_obs is not None
    for pair, printed in published["correlate"].items():
        a, b = pair.split(",")
        assert round(found.correlations.loc[b, a], 4) == printed
    assert (found.correlation_obs == published["nobs"]).all(axis=None)
    assert "(obs=8,525)" in str(found)
    assert "  Experience |       -0.0039" in str(found)


def test_text_of_all_three_tables():
    data = pd.DataFrame({"age": [30, 40, 50, 60], "dose": [1.5, 2.5, 2.5, 4.0], "sex": ["f", "m", "f", "f"]})
    text = str(describe(data, ["age", "sex"], tabulate=["sex"], correlate=["age", "dose"]))
    assert text == (
        "Variable |        Obs         Mean    Std. dev.          Min          Max\n"
        "---------+---------------------------------------------------------------\n"
        "     age |          4           45     12.90994           30           60\n"
        "     sex |          4   text, 2 levels: f, m\n"
        "\n"
        "        sex |      Freq.     Percent        Cum.\n"
        "------------+-----------------------------------\n"
        "          f |          3       75.00       75.00\n"
        "          m |          1       25.00      100.00\n"
        "------------+-----------------------------------\n"
        "      Total |          4      100.00\n"
        "\n"
        "(obs=4)\n"
        "\n"
        "         |      age     dose\n"
        "---------+------------------\n"
        "     age |   1.0000\n"
        "    dose |   0.9393   1.0000"
    )


def test_missing_values_are_counted_and_correlations_are_pairwise():
    data = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0, 5.0], "b": [2.0, 1.0, 3.0, np.nan, 5.0], "c": [1, 2, 3, 4, 6]})
    found = describe(data, ["a"], tabulate=["b"], correlate=["a", "b", "c"])
    assert found.summary.loc["a", "obs"] == 4
    assert found.tabulations["b"]["freq"].sum() == 4
    assert found.correlation_obs is not None and found.correlations is not None
    assert found.correlation_obs.loc["a", "b"] == 3
    assert found.correlation_obs.loc["a", "c"] == 4
    assert found.correlations.loc["a", "b"] == pytest.approx(data["a"].corr(data["b"]))
    assert found.notes == ("a is missing in 1 of 5 rows.", "b is missing in 1 of 5 rows.")
    assert "(rows of each pair beneath its correlation)" in str(found)


def test_text_among_numbers_is_named_and_not_coerced():
    data = pd.DataFrame({"x": ["1.5", "2", "n/a", "4"]})
    found = describe(data)
    assert np.isnan(found.summary.loc["x", "mean"])
    assert found.notes == (
        "x is text, but 3 of its 4 values are numbers; first other value 'n/a' in row 3. "
        "Correct it to use the column as a number.",
    )


def test_numbers_stored_as_text_and_true_text():
    found = describe(pd.DataFrame({"zip": ["01234", "04567"], "name": ["Ann", "Bo"]}))
    assert found.notes == ("zip is stored as text although all its values are numbers.",)


def test_infinite_value_is_named():
    found = describe(pd.DataFrame({"x": [1.0, np.inf, 2.0]}))
    assert found.notes == ("x has 1 infinite value (first in row 2); its mean is not defined.",)
    assert found.summary.loc["x", "mean"] == np.inf


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pd.Series([True, False, True]), ""),
        (pd.Series([1, None, 3], dtype="Int64"), ""),
        (pd.Series([None, None, None], dtype=float), "all missing"),
        (pd.Series([None, None, None], dtype=object), "all missing"),
        (pd.Series(pd.to_datetime(["2024-01-05", "2024-03-01", "2024-02-01"])), "date, 2024-01-05 to 2024-03-01"),
        (pd.Series(["b", "a"], dtype=pd.CategoricalDtype(["b", "c", "a"])), "categorical, 2 levels: b, a"),
    ],
)
def test_kinds_of_columns(column, words):
    found = describe(pd.DataFrame({"x": column}))
    assert found.summary.loc["x", "text"] == words
    assert str(found)


def test_categories_keep_their_own_order():
    column = pd.Series(["lo", "hi", "lo"], dtype=pd.CategoricalDtype(["lo", "hi"], ordered=True))
    assert list(describe(pd.DataFrame({"x": column}), tabulate=["x"]).tabulations["x"].index) == ["lo", "hi"]


def test_one_row_constant_column_and_empty_frame():
    found = describe(pd.DataFrame({"x": [3.0], "y": [2.0]}), ["x"], correlate=["x", "y"])
    assert np.isnan(found.summary.loc["x", "std_dev"])
    assert found.correlations is not None and found.correlations.isna().all(axis=None)
    assert str(describe(pd.DataFrame({"x": []}), tabulate=["x"])).endswith("Total |          0        0.00")


def test_a_long_tabulation_is_cut_and_says_so():
    text = str(describe(pd.DataFrame({"x": range(1000)}), tabulate=["x"]))
    assert "800 more values; all are in .tabulations['x']" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["age"]}, "There is no column 'age'. Did you mean 'Age'?"),
        ({"columns": "Age"}, "columns must be a list of column names, not text. Write columns=['Age']."),
        ({"correlate": ["Age"]}, "A correlation needs at least two columns, but correlate names only 'Age'."),
        (
            {"correlate": ["Age", "Sex"]},
            "Column 'Sex' cannot be correlated: it is not a number (text, 2 levels: female, male).",
        ),
    ],
)
def test_what_cannot_be_described(arguments, message):
    with pytest.raises(DataError) as caught:
        describe(load_dataset("hospital"), **arguments)
    assert str(caught.value) == message


def test_unknown_column_without_a_neighbour_lists_the_columns():
    with pytest.raises(DataError, match=r"There is no column 'qqq'\. The columns are a, b\."):
        describe(pd.DataFrame({"a": [1], "b": [2]}), tabulate=["qqq"])


def test_dict_form_is_plain():
    data = load_dataset("hospital")
    found = describe(data, ["Age", "Sex"], tabulate=["LengthofStay"], correlate=["IL6", "CRP"]).to_dict()
    assert found["summary"]["Sex"]["text"].startswith("text, 2 levels")
    assert found["tabulations"]["LengthofStay"][0]["value"] == data["LengthofStay"].min()
    assert type(found["tabulations"]["LengthofStay"][0]["value"]) is int


def test_two_columns_of_one_name():
    data = pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"])
    with pytest.raises(DataError, match="Column names occur more than once in the data: 'x'"):
        describe(data, ["x"])
