"""Every kind of table, and what is wrong with it."""

from __future__ import annotations

import builtins
import bz2
import gzip
import lzma

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyreadstat
import pytest

from melogit.errors import DataError
from melogit.formula import read_table

FRAME = pd.DataFrame(
    {
        "y": [0, 1, 1, 0],
        "x": [1.5, 2.25, -3.0, 1e-3],
        "g": pd.array([9007199254740993, None, 9007199254740992, 7], dtype="Int64"),
        "s": ["a", "b", None, "ö"],
        "b": [True, False, True, True],
    }
)


def same(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == list(FRAME.columns)
    assert frame["y"].tolist() == [0, 1, 1, 0]
    assert frame["x"].tolist() == [1.5, 2.25, -3.0, 1e-3]
    ids = ["missing" if value is pd.NA or value != value else str(value) for value in frame["g"].tolist()]
    assert ids == ["9007199254740993", "missing", "9007199254740992", "7"]
    assert frame["s"].isna().tolist() == [False, False, True, False]
    assert frame["s"][3] == "ö"
    assert frame["b"].tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: f,
        lambda f: {name: f[name] for name in f},
        lambda f: pa.table(f),
        lambda f: pl.from_arrow(pa.table(f)),
        lambda f: pl.from_arrow(pa.table(f)).lazy(),
        lambda f: duckdb.from_arrow(pa.table(f)),
        lambda f: pa.table(f).to_reader(),
    ],
    ids=["pandas", "dict", "pyarrow", "polars", "polars lazy", "duckdb", "arrow stream"],
)
def test_tables_in_memory(convert):
    same(read_table(convert(FRAME)))
    only = read_table(convert(FRAME), columns=["x", "y"])
    assert list(only.columns) == ["x", "y"]
    assert only["x"].tolist() == FRAME["x"].tolist()


def test_pandas_index_is_kept():
    assert read_table(FRAME.set_axis(list("abcd"))).index.tolist() == list("abcd")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.csv.bz2", "t.csv.xz", "t.parquet"])
def test_files(tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        FRAME.to_parquet(path)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    same(read_table(path))
    same(read_table(str(path)))
    assert list(read_table(path, columns=["s", "y"]).columns) == ["s", "y"]


def test_numbers_in_text_files_are_read_to_the_last_bit(tmp_path):
    values = np.random.default_rng(1).normal(size=2000) * 10.0 ** np.arange(-10, 10).repeat(100)
    path = tmp_path / "t.csv"
    path.write_text("x\n" + "\n".join(repr(float(v)) for v in values))
    assert (read_table(path)["x"].to_numpy() == values).all()


def write(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


PLAIN = "y,x\n1,é\n0,b\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        "\n" + PLAIN.replace("0,b", "\n0,b\n\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        '"y","x"\n"1","é"\n"0","b"\n',
        gzip.compress(PLAIN.encode()),
        bz2.compress(PLAIN.encode()),
        lzma.compress(PLAIN.encode()),
    ],
)
def test_spellings_of_the_same_text_table(tmp_path, content):
    frame = read_table(write(tmp_path, content))
    assert list(frame.columns) == ["y", "x"]
    assert frame["y"].tolist() == [1, 0]
    assert frame["x"].tolist() == ["é", "b"]


def test_quoted_cells_may_hold_separators_and_line_ends(tmp_path):
    frame = read_table(write(tmp_path, 'y,x\r\n1,"a,b"\r\n0,"c\r\nsaid ""d"""\r\n'))
    assert frame["x"].tolist() == ["a,b", 'c\r\nsaid "d"']


def test_decimal_commas(tmp_path):
    assert read_table(write(tmp_path, "y;x\n1;2,5\n0;-3,25\n"))["x"].tolist() == [2.5, -3.25]


def test_missing_is_what_is_empty_or_na_and_nothing_else(tmp_path):
    frame = read_table(write(tmp_path, "a,b\n1,None\nNA,NA\n,\n.,.\nNaN,n/a\nnan,null\n"))
    assert frame["a"].isna().tolist() == [False, True, True, True, True, True]
    assert frame["b"].isna().tolist() == [False, True, True, True, False, False]
    assert frame["b"][0] == "None"


def test_ids_are_not_merged(tmp_path):
    assert read_table(write(tmp_path, "id,n\n007,7\n7,07.5\n"))["id"].tolist() == ["007", "7"]
    long = read_table(write(tmp_path, "id\n9007199254740993\nNA\n9007199254740992\n"))["id"]
    assert long.tolist()[0] != long.tolist()[2]
    assert read_table(write(tmp_path, "id,y\n7,0\n10,1\n"))["id"].dtype.kind == "i"


def test_nothing_is_renamed(tmp_path):
    assert list(read_table(write(tmp_path, '"",y, x ,y.1\n1,0,2,3\n')).columns) == ["", "y", " x ", "y.1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("y,x\n1,2\n0\n1,2\n", "line 3: 1 cells, but the header has 2 columns"),
        ("y,x\n1,2\n0,1\n1,2,3\n", "line 4: 3 cells"),
        ('y,x\n1,"a,b"\n0,"c\nd"\n1,2,3\n', "line 5: 3 cells"),
        ("\n\ny,x\n1,2\n\n1\n", "line 6: 1 cells"),
        ("y;x\n1;2,5\n0;3.25\n", "decimal comma (2,5) and with a decimal point (3.25)"),
        ("y,x,x\n1,2,3\n", "more than once in the data: 'x'"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        (b"y,x\n1,2\n1,caf\xe9\n", "line 3: the byte 0xe9 is not UTF-8"),
        ('y,x\n1,"ab\n0,c\n', "quote is opened but not closed"),
        (b"y,x\x00\x00\n1,2\n", "not a text file"),
        (gzip.compress(b"y,x\n" + b"1,2\n" * 1000)[:-20], "is damaged"),
        (b"\xff\xfey\x00,\x00x", "utf-16-le"),
    ],
)
def test_text_tables_that_are_refused(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(DataError) as error:
        read_table(path)
    assert words in str(error.value)


def test_header_without_rows(tmp_path):
    assert read_table(write(tmp_path, "y,x\n")).shape == (0, 2)


def test_long_files_are_checked_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("melogit.formula.csv_files.CHUNK", 1000)
    lines = ["y,x"] + ['1,"a,\nb"'] * 2000 + ["1,2,3"]
    with pytest.raises(DataError, match="line 4002: 3 cells"):
        read_table(write(tmp_path, "\n".join(lines)))
    assert len(read_table(write(tmp_path, "\n".join(lines[:-1])))) == 2000


def test_stata_and_spss_labels(tmp_path):
    frame = pd.DataFrame({"y": [0, 1, 1], "c": pd.Categorical(["low", "high", "low"], categories=["low", "high"])})
    frame.to_stata(tmp_path / "t.dta", write_index=False)
    for columns in (None, ["c", "y"]):
        back = read_table(tmp_path / "t.dta", columns)
        assert back["c"].cat.categories.tolist() == ["low", "high"]
        assert back["y"].tolist() == [0, 1, 1]
    numbers = pd.DataFrame({"y": [0.0, 1, 1], "c": [2.0, 1, np.nan], "part": [1.0, 2, 3]})
    labels = {"c": {1: "low", 2: "high"}, "part": {1: "one"}}
    pyreadstat.write_sav(numbers, str(tmp_path / "t.sav"), variable_value_labels=labels)
    back = read_table(tmp_path / "t.sav")
    assert back["c"].tolist()[:2] == ["high", "low"]
    assert back["c"].isna().tolist() == [False, False, True]
    assert back["c"].cat.categories.tolist() == ["low", "high"]
    assert back["part"].tolist() == [1, 2, 3]  # labelled in part: the numbers stay


@pytest.mark.parametrize("name", ["t.parquet", "t.dta", "t.sav"])
def test_damaged_files(tmp_path, name):
    with pytest.raises(DataError, match="is not a readable"):
        read_table(write(tmp_path, b"certainly not", name))
    with pytest.raises(DataError, match="is empty"):
        read_table(write(tmp_path, b"", name))


def test_paths_that_lead_nowhere(tmp_path):
    write(tmp_path, PLAIN, "hospital.csv")
    with pytest.raises(DataError, match=r"There is no file.*Did you mean 'hospital.csv'\?"):
        read_table(tmp_path / "hospitl.csv")
    with pytest.raises(DataError, match="is a directory"):
        read_table(tmp_path)
    with pytest.raises(DataError, match=r"of no known kind; known are \.csv"):
        read_table(write(tmp_path, "a", "t.xlsx"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "The data are None; give a pandas"),
        (3, "of type int"),
        ([1, 2], "of type list"),
        (np.zeros(3), "of type ndarray"),
        (pl.Series([1]), "of type Series"),
        ({"a": [1, 2], "b": [1]}, "different lengths: a (2), b (1)"),
        ({"a": 1}, "'a' of the dict is a single value"),
        ({"a": "text"}, "'a' of the dict is a single value"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than once in the data: 'a'"),
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])), "MultiIndex"),
    ],
)
def test_things_that_are_not_tables(source, words):
    with pytest.raises(DataError) as error:
        read_table(source)
    assert words in str(error.value)


def test_unknown_column():
    with pytest.raises(DataError, match=r"there is no column 'scool'. Did you mean 'school'\?"):
        read_table({"school": [1]}, ["scool"])


def test_a_missing_reader_is_named_with_the_command(tmp_path, monkeypatch):
    pyreadstat.write_sav(pd.DataFrame({"y": [0.0]}), str(tmp_path / "t.sav"))
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "pyreadstat":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(__import__("sys").modules, "pyreadstat")
    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr("importlib.import_module", lambda name: refuse(name))
    with pytest.raises(DataError, match=r"needs pyreadstat. Install it with: pip install pyreadstat"):
        read_table(tmp_path / "t.sav")
