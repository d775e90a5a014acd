"""Garbage in, a clear error out: whatever the formula, nothing but our own errors is raised."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from melogit.errors import DataError, FormulaError, ModelError
from melogit.formula import build_design

RNG = np.random.default_rng(1)
DATA = pd.DataFrame(
    {
        "y": RNG.integers(0, 2, 60),
        "x": RNG.normal(size=60),
        "z": RNG.normal(size=60),
        "s": RNG.choice(["a", "b", "c"], 60),
        "g": np.arange(60) // 5,
        "h": np.arange(60) // 20,
        "my col": RNG.normal(size=60),
        "größe": RNG.normal(size=60),
    }
)
PIECES = st.sampled_from(
    [
        *"y x z s g h größe q ~ + - * / : ^ ** | || ( ) 0 1 2 1.5 I( log( poly( C( bs( offset( cbind( , df= ==".split(),
        *"'a' \" ` [ ] { } . _ __class__ lambda if %in% \\ é > &".split(),
        *("`my col`", "my col", "(1 | g)", "(x | g)", "(1 | h/g)", "y ~", "+ (1 | g)", "\n", "\x00"),
    ]
)
ANY = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def attempt(formula: str, **options: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            design = build_design(formula, DATA, **options)  # type: ignore[arg-type]
        except (FormulaError, DataError, ModelError) as error:
            assert str(error)
            return
    assert np.isfinite(design.X).all()
    assert len(design.x_names) == design.X.shape[1]
    assert design.terms


@given(st.lists(PIECES, max_size=14).map(" ".join))
@ANY
def test_pieces_in_any_order(formula):
    attempt(formula)


@given(st.lists(PIECES, max_size=8).map("".join))
@ANY
def test_pieces_between_honest_ends(middle):
    attempt(f"y ~ x + {middle} + (1 | g)")
    attempt(f"y ~ ({middle} | g)")


@given(st.text(max_size=40))
@ANY
def test_any_text(text):
    attempt(text)
    attempt(f"y ~ {text} + (1 | g)")
    attempt(f"y ~ I({text}) + (1 | g)")


@pytest.mark.parametrize("seed", range(3))
def test_damaged_formulas(seed):
    rng = np.random.default_rng(seed)
    honest = "cbind(y, 2 - y) ~ poly(x, 2) * C(s, Treatment('b')) + offset(log(abs(z))) + (1 + `my col` || h/g)"
    for _ in range(150):
        letters = list(honest)
        for _ in range(rng.integers(1, 4)):
            place = rng.integers(len(letters))
            letters[place] = rng.choice(["", "(", ")", "|", " ", "~", "+", "'", "`", letters[place] * 2, "é"])
        attempt("".join(letters))


def test_nothing_was_run_or_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    for formula in ('y ~ I(__import__("os").system("id")) + (1 | g)', "y ~ {__import__('os').system('id')} + (1 | g)"):
        attempt(formula)
    assert ran == []
    assert list(tmp_path.iterdir()) == []


CELLS = st.one_of(
    st.sampled_from(
        [0, 1, 2, -1, 0.5, np.nan, np.inf, None, True, False, "", "a", "b", "1", "2", "n/a", "1,5", "007", "7"]
    ),
    st.sampled_from([pd.NA, pd.NaT, pd.Timestamp("2020-01-01"), 10**20, 2**63, 1e300, b"x", (1, 2), [1], 3 + 1j, -0.0]),
)
COLUMN = st.one_of(
    st.lists(CELLS, min_size=12, max_size=12),
    st.lists(CELLS, min_size=2, max_size=3).map(lambda few: (few * 12)[:12]),
    st.lists(st.sampled_from(["a", "b", None]), min_size=12, max_size=12).map(pd.Categorical),
    st.lists(st.sampled_from([0, 1, pd.NA]), min_size=12, max_size=12).map(lambda v: pd.array(v, dtype="Int64")),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.just(pd.cut(np.arange(12), 3)),
    st.just(pd.date_range("2020-01-01", periods=12)),
    st.just(pd.array(["u", "v", pd.NA] * 4, dtype="string")),
)
FORMULAS = st.sampled_from(
    [
        "y ~ x + (1 | g)",
        "y ~ C(x) + (x | g)",
        "y ~ log(x) + (1 | g/x)",
        "cbind(y, x) ~ (1 | g)",
        "y ~ x * z + offset(z) + (1 | g)",
        "y ~ I(x > z) + (0 + z || g)",
        "I(y == x) ~ poly(z, 2) + (1 | g)",
        "y ~ scale(x):z + (1 | g) + (1 | x)",
    ]
)


@given(FORMULAS, COLUMN, COLUMN, COLUMN, COLUMN, st.sampled_from([{}, {"trials": "z"}, {"weights": "z"}, {"event": 1}]))
@ANY
def test_any_data(formula, y, x, z, g, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pd.DataFrame({"y": pd.Series(y), "x": pd.Series(x), "z": pd.Series(z), "g": pd.Series(g)})
        try:
            design = build_design(formula, data, **options)
        except (FormulaError, DataError, ModelError) as error:
            assert str(error)
            return
    for array in (design.y, design.trials, design.weights, design.offset, design.X, design.terms[0].Z):
        assert np.isfinite(array).all()
        assert len(array) == design.n_rows == design.wording.rows_used
    assert (design.y <= design.trials).all()
