"""Faults in the predictors: rows 17 to 28 and 69 of the list of faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import DataError, DataWarning, FormulaError, MelogitError, ModelError

F = "y ~ x + z + (1 | g)"


@pytest.mark.filterwarnings("ignore::melogit.errors.DataWarning")
def test_gave_a_column_twice_under_another_name(clean):
    fit = me.melogit("y ~ x + x2 + (1 | g)", clean.assign(x2=2 * clean.x))
    assert "x2" not in fit.params.index
    assert fit.llf == pytest.approx(me.melogit("y ~ x + (1 | g)", clean).llf, abs=1e-9)
    line = next(line for line in str(fit.summary()).splitlines() if "x2" in line and "(1 | g)" not in line)
    assert "collinear with" in line or "dropped" in line.lower() or "omitted" in line.lower()
    assert dict(fit.fit.wording.dropped_columns).keys() == {"x2"}
    assert "x" in dict(fit.fit.wording.dropped_columns)["x2"]


@pytest.mark.filterwarnings("ignore::melogit.errors.DataWarning")
def test_gave_a_constant_column(clean):
    fit = me.melogit("y ~ x + c + (1 | g)", clean.assign(c=3.0))
    assert "c" not in fit.params.index
    assert "constant" in dict(fit.fit.wording.dropped_columns)["c"]


def test_used_a_year_like_predictor_far_from_zero(clean):
    """lme4 drops x + 1e7 as rank deficient; here only the intercept moves."""
    near, far = me.melogit(F, clean), me.melogit(F, clean.assign(x=clean.x + 1e7))
    assert far.llf == pytest.approx(near.llf, abs=1e-6)
    for name in ("x", "z", "g:var(Intercept)"):
        assert far.params[name] == pytest.approx(near.params[name], rel=1e-6)
        assert far.bse[name] == pytest.approx(near.bse[name], rel=1e-6)
    assert far.params["Intercept"] == pytest.approx(near.params["Intercept"] - 1e7 * near.params["x"], rel=1e-6)


@pytest.mark.parametrize("scale", [1e6, 1e-6, 1e9])
def test_used_a_predictor_in_unusual_units(clean, scale):
    plain, scaled = me.melogit(F, clean), me.melogit(F, clean.assign(x=clean.x * scale))
    assert scaled.llf == pytest.approx(plain.llf, abs=1e-7)
    assert scaled.params["x"] * scale == pytest.approx(plain.params["x"], rel=1e-6)
    assert scaled.bse["x"] * scale == pytest.approx(plain.bse["x"], rel=1e-6)


def test_used_a_date_as_predictor(clean, refuses):
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(clean)), "D")
    refuses(DataError, ("'day'", "dates", "number"), "y ~ day + (1 | g)", clean.assign(day=day))


def test_left_one_text_cell_in_a_numeric_column(clean, refuses):
    data = clean.astype({"x": object})
    data.loc[4, "x"] = "n/a"
    refuses(DataError, ("'x'", "text", "399 of 400|399", "n/a", "row 4|row 5"), F, data)


def test_gave_a_factor_with_one_level(clean, refuses):
    refuses(DataError, ("'ward'", "one|single|1 level|constant"), "y ~ x + ward + (1 | g)", clean.assign(ward="A"))


@pytest.mark.filterwarnings("ignore::melogit.errors.DataWarning")
def test_gave_a_factor_with_an_unused_level(clean):
    ward = pd.Categorical(np.where(clean.z > 0, "A", "B"), categories=["A", "B", "C"])
    fit = me.melogit("y ~ x + ward + (1 | g)", clean.assign(ward=ward))
    assert [n for n in fit.params.index if n.startswith("ward")] == ["ward[B]"]
    said = str(fit.summary())
    assert "ward" in said
    assert "C" in said.split("ward")[-1] or any("C" in note for note in fit.fit.wording.notes)


def test_left_missing_values(clean):
    data = clean.astype({"g": float})
    data.loc[[3, 8], "x"] = np.nan
    data.loc[20, "g"] = np.nan
    fit = me.melogit(F, data)
    assert fit.nobs == 397
    text = " ".join(str(fit.summary()).split())
    assert "3 of 400 rows" in text
    assert "x (2)" in text
    assert "g (1)" in text
    assert fit.llf == pytest.approx(me.melogit(F, data.dropna()).llf, abs=1e-9)


def test_asked_that_missing_values_be_an_error(clean, refuses):
    data = clean.copy()
    data.loc[[3, 8], "x"] = np.nan
    refuses(DataError, ("x", "2|row 3|row 4"), F, data, missing="error")


def test_left_an_infinite_value(clean, refuses):
    data = clean.copy()
    data.loc[5, "x"] = np.inf
    refuses(DataError, ("'x'", "1 infinite value|infinite", "row 5|row 6"), F, data)


def test_took_the_logarithm_of_zero(clean, refuses):
    refuses(DataError, (r"log\(x\)|'x'", "not a finite number", "row 6|row 5"), "y ~ log(x) + (1 | g)",
            clean.assign(x=np.where(clean.index == 5, 0.0, 1 + clean.x**2)))  # fmt: skip


def test_gave_data_whose_rows_are_all_incomplete(clean, refuses):
    refuses(DataError, ("no rows", "missing"), F, clean.assign(x=np.nan))


def test_gave_an_empty_table(clean, refuses):
    refuses(DataError, ("no rows",), F, clean.iloc[:0])


@pytest.mark.parametrize(
    ("formula", "typed", "meant"),
    [
        ("y ~ lenght + (1 | g)", "lenght", "length"),
        ("y ~ length + (1 | shool)", "shool", "school"),
        ("Y ~ length + (1 | school)", "Y", "y"),
    ],
)
def test_mistyped_a_column(clean, refuses, formula, typed, meant):
    data = clean.assign(length=clean.x, school=clean.g)
    refuses(FormulaError, (f"no column '{typed}'", f"did you mean '{meant}'"), formula, data)


def test_named_a_variable_of_the_program_in_the_formula(clean, refuses):
    """Only columns count: a Python variable of that name is never picked up."""
    outside = clean.x  # noqa: F841
    refuses(FormulaError, ("'outside'",), "y ~ outside + (1 | g)", clean)


def test_had_column_names_with_spaces_and_other_letters(clean, tmp_path):
    data = clean.rename(columns={"x": "length of stay", "z": "größe", "g": "class"})
    fit = me.melogit("y ~ `length of stay` + größe + (1 | `class`)", data)
    plain = me.melogit(F, clean)
    assert fit.llf == pytest.approx(plain.llf, abs=1e-10)
    assert list(fit.params.index) == ["Intercept", "length of stay", "größe", "class:var(Intercept)"]
    fit.save(tmp_path / "model.json")
    again = me.load(tmp_path / "model.json")
    assert list(again.params.index) == list(fit.params.index)
    assert again.params.tolist() == fit.params.tolist()


def test_put_a_person_identifier_into_the_fixed_part(refuses):
    n = 40_000
    data = pd.DataFrame({"y": np.arange(n) % 2, "id": [f"p{i}" for i in range(n)], "g": np.arange(n) // 20})
    with pytest.raises(MelogitError) as caught:
        me.melogit("y ~ id + (1 | g)", data)
    assert isinstance(caught.value, DataError | ModelError | FormulaError)
    assert "'id'" in str(caught.value)
    assert "GiB" in str(caught.value)


def test_gave_numbers_of_single_precision(clean):
    single = clean.astype({"x": np.float32, "z": np.float32})
    double = single.astype({"x": float, "z": float})
    assert me.melogit(F, single).params.tolist() == me.melogit(F, double).params.tolist()


def test_gave_a_factor_of_more_than_a_thousand_levels(warns):
    rng = np.random.default_rng(4)
    n = 2500
    data = pd.DataFrame({"y": rng.integers(0, 2, n), "id": [f"p{i % 1100}" for i in range(n)], "g": np.arange(n) // 20})
    from melogit.formula import build_design

    with pytest.warns(DataWarning, match=r"(?i)1,?100|1,?099"):
        build_design("y ~ id + (1 | g)", data)
