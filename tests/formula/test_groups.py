"""Random terms and grouping factors: blocks, labels, nesting, and what is refused."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from melogit.design import Block
from melogit.errors import DataError, DataWarning, FormulaError, ModelError
from melogit.formula import build_design, crossing_example

N = 120


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    d = np.arange(N) // 6  # 20 doctors
    return pd.DataFrame(
        {
            "y": rng.integers(0, 2, N),
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "f": np.array(["a", "b", "c"])[np.arange(N) % 3],
            "d": d,
            "h": d // 4,  # 5 hospitals
            "own": d % 4,  # doctors numbered anew in each hospital
            "cross": np.arange(N) % 7,
        }
    )


def terms(formula, data, **options):
    design = build_design(formula, data, **options)
    return [(t.factor.name, t.names, t.blocks) for t in design.terms]


I1 = ("Intercept",)
IX = ("Intercept", "x")
U1, U2, U3 = (Block(0, size, "unstructured") for size in (1, 2, 3))
THEN_1, THEN_2 = (Block(1, size, "unstructured") for size in (1, 2))


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ("(1 | d)", [("d", I1, (U1,))]),
        ("(x | d)", [("d", IX, (U2,))]),
        ("(1 + x | d)", [("d", IX, (U2,))]),
        ("(x || d)", [("d", IX, (Block(0, 2, "independent"),))]),
        ("(0 + x | d)", [("d", ("x",), (U1,))]),
        ("(-1 + x | d)", [("d", ("x",), (U1,))]),
        ("(x - 1 | d)", [("d", ("x",), (U1,))]),
        ("(0 + x | d) + (1 | d)", [("d", ("x", "Intercept"), (U1, THEN_1))]),
        ("(1 | d) + (0 + x + z | d)", [("d", ("Intercept", "x", "z"), (U1, THEN_2))]),
        ("(f | d)", [("d", ("Intercept", "f[b]", "f[c]"), (U3,))]),
        ("(0 + f || d)", [("d", ("f[a]", "f[b]", "f[c]"), (Block(0, 3, "independent"),))]),
        ("(f || d)", [("d", ("Intercept", "f[b]", "f[c]"), (Block(0, 3, "independent"),))]),
        ("(1 | h/d)", [("h", I1, (U1,)), ("h:d", I1, (U1,))]),
        ("(1 | d) + (x | h)", [("h", IX, (U2,)), ("d", I1, (U1,))]),
        ("(1 | d:h) + (0 + x | h:d)", [("d:h", IX, (U1, THEN_1))]),
        ("(poly(x, 2) | d)", [("d", ("Intercept", "poly(x, 2)[1]", "poly(x, 2)[2]"), (U3,))]),
    ],
)  # fmt: skip
def test_terms_and_blocks(data, right, expected):
    assert terms(f"y ~ x + {right}", data) == expected


def test_columns_of_z(data):
    design = build_design("y ~ (0 + x | d) + (1 | d)", data)
    np.testing.assert_array_equal(design.terms[0].Z, np.column_stack([data.x, np.ones(N)]))


@pytest.mark.parametrize(
    ("covariance", "structures"),
    [
        (None, ["unstructured", "unstructured"]),
        ("independent", ["independent", "independent"]),
        ("identity", ["identity", "identity"]),
        ({"d": "exchangeable"}, ["unstructured", "exchangeable"]),
        ({"d": "unstructured", "h": "independent"}, ["independent", "unstructured"]),
    ],
)
def test_covariance(data, covariance, structures):
    design = build_design("y ~ (x | h) + (z | d)", data, covariance=covariance)
    assert [term.blocks[0].structure for term in design.terms] == structures


def test_covariance_leaves_single_effects_alone(data):
    assert terms("y ~ (1 | d)", data, covariance="exchangeable") == terms("y ~ (1 | d)", data)


@pytest.mark.parametrize(
    ("right", "covariance", "words"),
    [
        ("(x | d)", "diagonal", "covariance='diagonal' is not known; choose one of exchangeable, identity"),
        ("(x | d)", {"q": "identity"}, "covariance= names the group 'q', but the model's groups are d"),
        ("(1 | d) + (0 + x | d)", "unstructured", "as 2 terms of one effect each. Write them as one: (1 + x | d)"),
        ("(1 | d) + (x | d)", None, "'Intercept' of 'd' is written twice: (1 | d), (x | d)"),
        ("(1 | d) + (1 | d)", None, "'Intercept' of 'd' is written twice"),
        ("(x + x2 | d)", None, "The random effect 'x2' of 'd' is collinear with 'x'"),
        ("(1 + c | d)", None, "The random effect 'c' of 'd' is constant"),
        ("(1 | d) + (1 | same)", None, "'d' and 'same' make the same 20 groups"),
        ("(1 | d) + (1 | h:d)", None, "'d' and 'h:d' make the same 20 groups"),
        ("(f * x * z | d)", None, "'d' has 240 random effects (20 groups x 12), more than the 120 rows"),
    ],
)  # fmt: skip
def test_models_that_are_refused(data, right, covariance, words):
    data = data.assign(x2=2 * data.x - 1, c=4.0, same=data.d * 7 + 1)
    with pytest.raises(ModelError) as error:
        build_design(f"y ~ {right}", data, covariance=covariance)
    assert words in str(error.value)


def test_group_as_its_own_slope(data):
    with pytest.raises(ModelError, match=r"'d' has 400 random effects \(20 groups x 20\), more than the 120 rows"):
        build_design("y ~ (d | d)", data.assign(d="doctor " + data.d.astype(str)))


DAYS = "2020-01-01 2020-01-02 2020-01-03 2020-01-04"
LABELS = [
    (lambda d: d, "0 1 2 3"),
    (lambda d: d.astype(float), "0 1 2 3"),
    (lambda d: d.astype("Int64"), "0 1 2 3"),
    (lambda d: d.astype("uint8"), "0 1 2 3"),
    (lambda d: d.astype(str), "0 1 2 3"),
    (lambda d: d.astype(object), "0 1 2 3"),
    (lambda d: d.astype("category"), "0 1 2 3"),
    (lambda d: "p" + d.astype(str), "p0 p1 p10 p11"),
    (lambda d: d - 10, "-10 -9 -8 -7"),
    (
        lambda d: pd.Timestamp("2020-01-01") + pd.to_timedelta(d, unit="D"),
        DAYS,
    ),
    (lambda d: [datetime.date(2020, 1, 1 + int(i)) for i in d], DAYS),
    (lambda d: pd.Categorical("p" + d.astype(str), categories=[f"p{i}" for i in range(25, -1, -1)]), "p0 p1 p10 p11"),
    (lambda d: (d + 1) * 10**15, "1000000000000000 2000000000000000 3000000000000000 4000000000000000"),
]


@pytest.mark.parametrize(("convert", "labels"), LABELS)
def test_labels_and_codes(data, convert, labels):
    data["g"] = convert(data.d)
    shuffled = data.sample(frac=1, random_state=1)
    factor = build_design("y ~ (1 | g)", shuffled).terms[0].factor
    assert factor.levels[:4].tolist() == labels.split(" ")
    assert factor.n_levels == 20
    assert factor.columns == ("g",)
    for group in range(20):
        assert shuffled.d.to_numpy()[factor.codes == group].std() == 0


def test_labels_of_combined_columns(data):
    factor = build_design("y ~ (1 | h/own)", data).terms[1].factor
    assert factor.name == "h:own"
    assert factor.columns == ("h", "own")
    assert factor.levels[:6].tolist() == ["0:0", "0:1", "0:2", "0:3", "1:0", "1:1"]
    np.testing.assert_array_equal(factor.codes, data.d)


def test_booleans_as_groups(data):
    with pytest.warns(DataWarning, match="only 2 groups in 'b'"):
        design = build_design("y ~ (1 | b)", data.assign(b=data.x > 0))
    assert design.terms[0].factor.levels.tolist() == ["False", "True"]


def test_nesting_is_found_from_the_data(data):
    for formula in ("y ~ (1 | h/d)", "y ~ (1 | h) + (1 | d)", "y ~ (1 | d) + (1 | h)", "y ~ (1 | h/own)"):
        design = build_design(formula, data)
        assert design.nested
        assert [t.factor.n_levels for t in design.terms] == [5, 20]
        np.testing.assert_array_equal(design.terms[0].factor.codes, data.h)
        np.testing.assert_array_equal(design.terms[1].factor.codes, data.d)
        assert crossing_example(design) == ""


def test_three_levels(data):
    data["town"] = data.h // 2
    with pytest.warns(DataWarning, match="only 3 groups in 'town'"):
        design = build_design("y ~ (1 | d) + (1 | town) + (1 | h)", data)
    assert [t.factor.name for t in design.terms] == ["town", "h", "d"]
    assert design.nested


def test_crossed_factors_are_found(data):
    design = build_design("y ~ (1 | d) + (1 | cross)", data)
    assert not design.nested
    assert [t.factor.name for t in design.terms] == ["d", "cross"]
    assert crossing_example(design) == "'d' 0 met 'cross' 0 and 'cross' 1"


def test_ids_used_anew_in_each_group_give_a_warning(data):
    data["own"] += 1
    data = data[~((data.h == 2) & (data.own == 4))]
    with pytest.warns(DataWarning) as caught:
        design = build_design("y ~ (1 | h) + (1 | own)", data)
    text = " ".join(str(w.message) for w in caught)
    assert "ids of 'own' repeat across 'h' ('1' occurs in 5 of them)" in text
    assert "write (1 | h/own)" in text
    assert not design.nested


def test_persons_by_items_give_no_such_warning():
    data = pd.DataFrame([(p, i, (p + i) % 2) for p in range(10) for i in range(6)], columns=["person", "item", "y"])
    assert not build_design("y ~ (1 | person) + (1 | item)", data).nested


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (lambda d: d + 0.5, "holds numbers that are not whole, such as 0.5"),
        (lambda d: [int(i) if i % 2 else str(i) for i in d], "mixes numbers and text"),
        (
            lambda d: ["007" if i == 0 else "7" if i == 1 else str(i + 10) for i in d],
            "both '007' and '7'",
        ),
    ],
)
def test_doubtful_group_columns(data, column, words):
    with pytest.warns(DataWarning) as caught:
        design = build_design("y ~ (1 | g)", data.assign(g=column(data.d)))
    assert words in str(caught[0].message)
    assert "'g'" in str(caught[0].message)
    assert design.terms[0].factor.n_levels == 20


def test_one_and_text_one_are_one_group(data):
    mixed = data.d.astype(object)
    mixed.iloc[::2] = mixed.iloc[::2].astype(str)
    with pytest.warns(DataWarning, match="mixes numbers and text"):
        factor = build_design("y ~ (1 | g)", data.assign(g=mixed)).terms[0].factor
    assert factor.n_levels == 20
    np.testing.assert_array_equal(factor.codes, data.d)


def test_one_group_and_few_groups(data):
    with pytest.raises(DataError, match=r"'g' has one group \('all'\) in the rows used"):
        build_design("y ~ (1 | g)", data.assign(g="all"))
    with pytest.warns(DataWarning, match="only 4 groups in 'own'"):
        build_design("y ~ (1 | own)", data)


def test_a_group_per_row(data):
    data = data.assign(id=np.arange(N), n=2, k=data.y)
    with pytest.raises(DataError, match="'id' has 120 groups in 120 rows: a random intercept per row of a 0/1"):
        build_design("y ~ (1 | id)", data)
    assert build_design("k ~ (1 | id)", data, trials="n").terms[0].factor.n_levels == N
    assert build_design("y ~ (1 | id)", data, weights="n").terms[0].factor.n_levels == N


def test_missing_groups_are_dropped(data):
    data = data.astype({"d": float})
    data.loc[data.d == 3, "d"] = np.nan
    design = build_design("y ~ (1 | d)", data)
    assert design.terms[0].factor.levels.tolist() == [str(i) for i in range(20) if i != 3]
    assert design.wording.rows_missing == (("d", 6),)


def test_infinity_is_no_group(data):
    with pytest.raises(DataError, match=r"column 'd' has 1 infinite value \(row 3\)"):
        build_design("y ~ (1 | d)", data.assign(d=data.d.astype(float).where(data.index != 2, np.inf)))


def test_unknown_group_is_pointed_at(data):
    with pytest.raises(FormulaError, match="there is no column 'hosp'"):
        build_design("y ~ x + (1 | hosp/d)", data)


def test_group_order_and_labels_do_not_matter_to_the_partition(data):
    relabelled = data.assign(d=data.d.map(lambda i: f"doctor {97 * i % 20}"))
    a, b = build_design("y ~ (1 | d)", data), build_design("y ~ (1 | d)", relabelled)
    pairs = set(zip(a.terms[0].factor.codes.tolist(), b.terms[0].factor.codes.tolist(), strict=True))
    assert len(pairs) == 20


def test_a_constant_written_last_stands_last(data):
    assert build_design("y ~ (x + 1 | d)", data).terms[0].names == ("Intercept", "x")
    design = build_design("y ~ (0 + x + 1 | d)", data)
    assert design.terms[0].names == ("x", "Intercept")
    assert (design.terms[0].Z[:, 1] == 1).all() and (design.terms[0].Z[:, 0] == data.x).all()
    assert [block.size for block in design.terms[0].blocks] == [2]
