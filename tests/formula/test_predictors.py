"""The fixed part: coding of factors, names, transformations, columns that are left out."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from melogit.errors import DataError, DataWarning, FormulaError
from melogit.formula import build, build_design

N = 60


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "y": np.arange(N) % 2,
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "k": np.arange(N) % 3 + 1,
            "s": np.array(["b", "a", "c"])[np.arange(N) % 3],
            "t": np.array(["lo", "hi"])[np.arange(N) // 2 % 2],
            "flag": np.arange(N) % 5 == 0,
            "g": np.arange(N) // 6,
        }
    )


def names(terms: str, data: pd.DataFrame) -> tuple[str, ...]:
    return build_design(f"y ~ {terms} + (1 | g)", data).x_names


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("1", ("Intercept",)),
        ("0", ()),
        ("x", ("Intercept", "x")),
        ("0 + x", ("x",)),
        ("s", ("Intercept", "s[b]", "s[c]")),
        ("0 + s", ("s[a]", "s[b]", "s[c]")),
        ("flag", ("Intercept", "flag[True]")),
        ("C(k)", ("Intercept", "C(k)[2]", "C(k)[3]")),
        ("C(k, Treatment(3))", ("Intercept", "C(k, Treatment(3))[1]", "C(k, Treatment(3))[2]")),
        ("C(s, contr.treatment('c'))", ("Intercept", "C(s, contr.treatment('c'))[a]", "C(s, contr.treatment('c'))[b]")),
        ("C(s, Sum)", ("Intercept", "C(s, Sum)[S.a]", "C(s, Sum)[S.b]")),
        ("C(s, levels=['c', 'b', 'a'])", ("Intercept", *(f"C(s, levels=['c', 'b', 'a'])[{level}]" for level in "ba"))),
        ("s*x", ("Intercept", "s[b]", "s[c]", "x", "s[b]:x", "s[c]:x")),
        ("s:x", ("Intercept", "s[a]:x", "s[b]:x", "s[c]:x")),
        ("t*s", ("Intercept", "t[lo]", "s[b]", "s[c]", "t[lo]:s[b]", "t[lo]:s[c]")),
        ("x:flag", ("Intercept", "x:flag[False]", "x:flag[True]")),
        ("poly(x, 2)", ("Intercept", "poly(x, 2)[1]", "poly(x, 2)[2]")),
        ("I(x > 0)", ("Intercept", "I(x > 0)[True]")),
        ("I(s == 'a')", ("Intercept", "I(s == 'a')[True]")),
        ("log(k) + sqrt(k) + abs(x) + exp(z)", ("Intercept", "log(k)", "sqrt(k)", "abs(x)", "exp(z)")),
        ("(x + z)^2", ("Intercept", "x", "z", "x:z")),
        ("x/z", ("Intercept", "x", "x:z")),
        ("z + x", ("Intercept", "z", "x")),
    ],
)
def test_names(data, terms, expected):
    assert names(terms, data) == expected


def test_matrix_can_be_checked_by_eye():
    data = {"y": [0, 1, 1, 0], "x": [1, 2, 3, 4], "s": ["b", "a", "c", "a"], "g": list("uvwu"), "w": [2, 2, 2, 2]}
    with pytest.warns(DataWarning, match="only 3 groups"):
        design = build_design("y ~ x * s + (1 | g)", data, weights="w")
    # 4 rows hold no more than 4 columns: the products that follow from the rest are left out
    expected = "1 1 1 0\n1 2 0 0\n1 3 0 1\n1 4 0 0"
    assert "\n".join(" ".join(f"{v:g}" for v in row) for row in design.X) == expected
    assert design.x_names == ("Intercept", "x", "s[b]", "s[c]")


def test_values_of_transformations(data):
    data = data.assign(y2=np.random.default_rng(8).normal(size=N))
    design = build_design("y ~ log(k) + center(x) + scale(z) + I(x**2) + bs(y2, df=4) + (1 | g)", data)
    assert not design.wording.dropped_columns
    columns = dict(zip(design.x_names, design.X.T, strict=True))
    np.testing.assert_allclose(columns["log(k)"], np.log(data.k))
    np.testing.assert_allclose(columns["center(x)"], data.x - data.x.mean())
    np.testing.assert_allclose(columns["scale(z)"], (data.z - data.z.mean()) / data.z.std())
    np.testing.assert_allclose(columns["I(x ** 2)"], data.x**2)
    assert [n for n in design.x_names if n.startswith("bs(")] == [f"bs(y2, df=4)[{i}]" for i in range(1, 5)]


def test_base_levels_are_recorded(data):
    wording = build_design("y ~ s + C(k, Treatment(3)) + flag + x + (1 | g)", data).wording
    assert wording.base_levels == (("s", "a"), ("C(k, Treatment(3))", "3"), ("flag", "False"))
    assert build_design("y ~ 0 + s + (1 | g)", data).wording.base_levels == ()


def test_order_of_a_categorical_column_counts(data):
    data["s"] = pd.Categorical(data.s, categories=["c", "a", "b"])
    design = build_design("y ~ s + (1 | g)", data)
    assert design.x_names == ("Intercept", "s[a]", "s[b]")
    assert design.wording.base_levels == (("s", "c"),)


def test_unused_levels_are_dropped_and_told(data):
    data["s"] = pd.Categorical(data.s, categories=["zz", "a", "b", "c", "d"])
    data.loc[data.s == "b", "x"] = np.nan
    design = build_design("y ~ s + x + (1 | g)", data)
    assert design.x_names == ("Intercept", "s[c]", "x")
    assert "s: 'zz', 'b', 'd' left out, because no row used has them." in design.wording.notes


def test_column_types_of_other_libraries(data):
    plain = build_design("y ~ x + k + flag + s + (1 | g)", data)
    odd = data.assign(
        x=data.x.astype("Float64"),
        k=data.k.astype("UInt8"),
        flag=data.flag.astype("boolean"),
        s=data.s.astype("string"),
        y=data.y.astype("Int8"),
        g=data.g.astype("category"),
    )
    objects = data.astype({"x": object, "k": object, "flag": object, "s": object})
    for other in (odd, objects):
        design = build_design("y ~ x + k + flag + s + (1 | g)", other)
        assert design.x_names == plain.x_names
        np.testing.assert_array_equal(design.X, plain.X)


def test_small_integers_do_not_overflow(data):
    design = build_design("y ~ I(k * 100 + k**4) + (1 | g)", data.assign(k=data.k.astype("int8")))
    np.testing.assert_array_equal(design.X[:, 1], data.k * 100.0 + data.k**4)


def test_unusual_names(data):
    data = data.rename(columns={"x": "length of stay", "z": "größe", "k": "a.c", "g": "a.b"}).assign(
        **{"class": data.z * data.x}
    )
    design = build_design("y ~ `length of stay` + größe + log(`a.c`) + class + (`length of stay` || a.b)", data)
    assert design.x_names == ("Intercept", "length of stay", "größe", "log(`a.c`)", "class")
    assert design.terms[0].names == ("Intercept", "length of stay")
    assert design.terms[0].factor.name == "a.b"


def test_a_word_of_python_inside_a_function(data):
    with pytest.raises(FormulaError, match="'class' is a word of Python and cannot stand inside a function"):
        build_design("y ~ log(`class`) + (1 | g)", data.assign(**{"class": data.k}))


def test_columns_named_like_functions(data):
    data = data.rename(columns={"x": "log", "z": "C", "k": "center"})
    assert names("log + C + center", data) == ("Intercept", "log", "C", "center")
    assert names("log(center) + C(t)", data) == ("Intercept", "log(center)", "C(t)[lo]")
    assert names("log + log(center)", data) == ("Intercept", "log", "log(center)")


@pytest.mark.parametrize(
    ("column", "formula", "words"),
    [
        (["1.5"] * 3 + ["n/a"] + ["2"] * 56, "x", "59 of 60 values are numbers; first bad value 'n/a' in row 4"),
        ([1.5] * 3 + ["n/a"] + [2] * 56, "x", "column 'x' is text but 59 of 60 values are numbers; first bad"),
        (["1", "2", "3"] * 20, "x", "column 'x' is text though all 60 values are numbers"),
        (["1,5", "2,25", "3"] * 20, "x", "decimal comma"),
        ([1.0] * 4 + [np.inf] + [2.0] * 55, "x", "column 'x' has 1 infinite value (row 5)"),
        ([1.0] * 4 + [-np.inf] * 2 + [2.0] * 54, "x", "column 'x' has 2 infinite values (row 5)"),
        (["one"] * 60, "x", "'x' has one level ('one')"),
        ([True] * 60, "x", "'x' has one level ('True')"),
        ([2] * 60, "C(x)", "'C(x)' has one level ('2')"),
        (pd.date_range("2020-01-01", periods=60), "x", "column 'x' holds dates or times"),
        ([1 + 2j] * 60, "x", "column 'x' holds complex"),
        ([[1]] * 60, "x", "column 'x' holds"),
        ([1.0] * 6 + [-1.0] + [2.0] * 53, "log(x)", "the term 'log(x)' is not a finite number in 1 row (first row 7)"),
        ([1.0] * 6 + [0.0] + [2.0] * 53, "log(x)", "the term 'log(x)' is not a finite number in 1 row (first row 7)"),
        (["a", "b"] * 30, "log(x)", "'log(x)' cannot be computed"),
        (["a", "b"] * 30, "poly(x, 2)", "'poly(x, 2)' cannot be computed"),
        ([1.0, 2.0] * 30, "C(x, levels=[1])", "leaves out '2'"),
        ([1.0] * 60, "poly(x, 2)", "not a finite number"),
        ([1.0, 2.0] * 30, "poly(x, -1)", "cannot be computed"),
        ([1.0, 2.0] * 30, "bs(x, df=1)", "cannot be computed"),
        ([1.0, 2.0] * 30, "C(x, Treatment('nope'))", "cannot be computed"),
    ],
)  # fmt: skip
def test_columns_that_are_refused(data, column, formula, words):
    with pytest.raises(DataError) as error:
        build_design(f"y ~ {formula} + (1 | g)", data.assign(x=column))
    assert words in str(error.value)


def test_a_row_is_also_named_by_its_index(data):
    data = data.set_axis([f"p{i}" for i in range(N)])
    data.loc["p4", "x"] = np.inf
    data.loc["p2", "z"] = np.nan
    with pytest.raises(DataError, match=r"row 5 \(index 'p4'\)"):
        build_design("y ~ x + z + (1 | g)", data)


def test_text_categories_that_look_like_numbers_can_be_meant(data):
    assert names("C(k)", data.assign(k=data.k.astype(str))) == ("Intercept", "C(k)[2]", "C(k)[3]")


@pytest.mark.parametrize(
    ("formula", "typed", "meant"),
    [
        ("y ~ lenght + (1 | g)", "lenght", "length"),
        ("y ~ log(lenght) + (1 | g)", "lenght", "length"),
        ("y ~ (lenght | g)", "lenght", "length"),
        ("y ~ (1 | schol)", "schol", "school"),
        ("y ~ Length + (1 | g)", "Length", "length"),
        ("yy ~ length + (1 | g)", "yy", "y"),
    ],
)
def test_unknown_columns(data, formula, typed, meant):
    with pytest.raises(FormulaError) as error:
        build_design(formula, data.assign(length=1.0, school="a"))
    assert f"there is no column '{typed}'. Did you mean '{meant}'?" in str(error.value)
    assert error.value.args[0].split("\n")[1].strip() == formula
    assert formula[error.value.args[0].split("\n")[2].index("^") - 4 :].startswith(typed)


def test_variables_of_the_program_are_never_used(data):
    outside = data.x  # noqa: F841
    with pytest.raises(FormulaError, match="there is no column 'outside'"):
        build_design("y ~ I(outside) + (1 | g)", data)


@pytest.mark.parametrize(
    ("terms", "dropped"),
    [
        ("x + x2", {"x2": "collinear with 'x'"}),
        ("x2 + x", {"x": "collinear with 'x2'"}),
        ("x + z + both", {"both": "collinear with 'x', 'z'"}),
        ("x + c", {"c": "constant (7 in every row)"}),
        ("s + sa + x", {"sa": "collinear with 's[b]', 's[c]'"}),
        ("far + x", {"x": "collinear with 'far'"}),
        ("big + x", {"x": "collinear with 'big'"}),
        ("tiny + x + z", {"x": "collinear with 'tiny'"}),
        ("x + z + c + x2", {"c": "constant (7 in every row)", "x2": "collinear with 'x'"}),
    ],
)  # fmt: skip
def test_dependent_columns_are_left_out_and_named(data, terms, dropped):
    data = data.assign(
        x2=3 - 2 * data.x, both=data.x + data.z, c=7.0, sa=(data.s == "a").astype(float),
        far=data.x + 1e7, big=data.x * 1e6, tiny=data.x * 1e-6,
    )  # fmt: skip
    design = build_design(f"y ~ {terms} + (1 | g)", data)
    assert dict(design.wording.dropped_columns) == dropped
    assert not set(design.x_names) & set(dropped)
    assert np.linalg.matrix_rank(design.X / np.abs(design.X).max(axis=0)) == design.X.shape[1]


@pytest.mark.parametrize("change", [(0, 1e6), (0, 1e-6), (0, 1e-200), (0, 1e150), (0, 1e200), (1e7, 1), (1e9, 1)])
def test_units_do_not_make_columns_dependent(data, change):
    design = build_design("y ~ x + z + k + (1 | g)", data.assign(x=change[0] + change[1] * data.x))
    assert design.wording.dropped_columns == ()


def test_nearly_dependent_columns_stay(data):
    data["w"] = data.x + 1e-5 * data.z
    assert build_design("y ~ x + w + (1 | g)", data).x_names == ("Intercept", "x", "w")


def test_an_identifier_as_predictor_is_refused_before_it_fills_the_memory():
    n = 40_000
    data = {"y": np.arange(n) % 2, "id": [f"p{i}" for i in range(n)], "g": np.arange(n) // 20}
    with pytest.raises(
        DataError, match=r"about 40,001 columns of 40,000 rows, .* GiB.*'id' has 40,000 levels.*\(1 \| id\)"
    ):
        build_design("y ~ id + (1 | g)", data)


def test_many_levels_give_a_warning():
    n = 3000
    data = {"y": np.arange(n) % 2, "id": [f"p{i % 1100}" for i in range(n)], "g": np.arange(n) // 20}
    with pytest.warns(DataWarning, match="about 1,101 columns, because 'id' has 1,100 levels"):
        build_design("y ~ id + (1 | g)", data)


def test_arrays_are_frozen_float64_and_in_c_order(data):
    design = build_design("y ~ x + s + (x | g)", data.astype({"x": np.float32, "y": np.int8}))
    arrays = [design.y, design.trials, design.weights, design.offset, design.X, design.terms[0].Z]
    for array in arrays:
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        assert not array.flags.writeable
    assert design.terms[0].factor.codes.dtype == np.int32
    assert not design.terms[0].factor.codes.flags.writeable
    assert not design.row_labels.flags.writeable


def test_the_users_data_stay_as_they_are(data):
    before = data.copy()
    build_design("y ~ x + s + flag + (x | g)", data, weights="k", offset="z")
    pd.testing.assert_frame_equal(data, before)
    data.loc[0, "x"] = 5.0  # still writeable


def test_recipe_builds_the_same_columns_from_new_data(data):
    design, recipe = build("y ~ poly(x, 2) + s + (1 + x | g)", data)
    assert recipe.fixed is not None
    again = recipe.fixed.get_model_matrix(data.iloc[:5])
    np.testing.assert_allclose(np.asarray(again)[:, recipe.kept], design.X[:5])


def test_a_column_called_intercept(data):
    with pytest.raises(DataError, match="Two columns of the model would be called 'Intercept'"):
        build_design("y ~ Intercept + (1 | g)", data.assign(Intercept=data.x))


def test_each_data_set_has_its_own_scale(data):
    formula = "y ~ scale(x) + (1 | g)"
    first = build_design(formula, data).X[:, 1]
    second = build_design(formula, data.assign(x=5 + 3 * data.x)).X[:, 1]
    np.testing.assert_allclose(first, second)
    assert abs(first.mean()) < 1e-12


def test_formulas_may_run_over_lines(data):
    assert names("x +\n    z\n", data) == ("Intercept", "x", "z")


def test_no_warning_leaks_from_the_libraries(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_design("y ~ log(k) + poly(x, 2) + s*flag + C(k) + (s | g) + I(x > 0)", data)
