"""Hostile formulas, damaged model files, awkward CSV files: rows 60 to 64, 67 and 68 of the list of faults."""

from __future__ import annotations

import json
import pickle
import time

import numpy as np
import pytest

import melogit as me
from melogit.cli.main import main
from melogit.errors import DataError, DataWarning, FormulaError, MelogitError

F = "y ~ x + (1 | g)"


# ---- formulas ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "formula",
    [
        'y ~ I(__import__("os").system("touch {mark}")) + (1 | g)',
        'y ~ x + (I(open("{mark}", "w")) | g)',
        'I(open("{mark}", "w")) ~ x + (1 | g)',
        'y ~ {{open("{mark}", "w")}} + (1 | g)',
        "y ~ x.__class__ + (1 | g)",
        "y ~ I(x.to_csv('{mark}')) + (1 | g)",
        "y ~ I([c for c in ().__class__.__mro__]) + (1 | g)",
        "y ~ eval('1') + (1 | g)",
        "y ~ I((lambda: 1)()) + (1 | g)",
        "y ~ I(exec('import os')) + (1 | g)",
        "y ~ _x + (1 | g)",
        "y ~ np.exp(x) + (1 | g)",
        "cbind(y, open('{mark}', 'w')) ~ x + (1 | g)",
        "y ~ x + (1 | open('{mark}', 'w'))",
        "y ~ offset(open('{mark}', 'w')) + x + (1 | g)",
    ],
)
def test_put_a_program_into_the_formula(clean, tmp_path, formula):
    mark = tmp_path / "ran"
    with pytest.raises(MelogitError) as caught:
        me.melogit(formula.format(mark=mark), clean)
    assert not mark.exists()
    assert isinstance(caught.value, FormulaError)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ (" + " + ".join("abcdefghijklmnop") + ")**12 + (1 | g)",
        "y ~ (x + z)^99999999 + (1 | g)",
        "y ~ " + "(" * 100_000 + "x" + ")" * 100_000 + " + (1 | g)",
        "y ~ " + "-" * 100_000 + "x + (1 | g)",
        "y ~ I(" + "(" * 3000 + "x" + ")" * 3000 + ") + (1 | g)",
        "y ~ I(9**9**9**9 * x) + (1 | g)",
        "y ~ poly(x, 100000000) + (1 | g)",
        "y ~ x" + " + x" * 300_000 + " + (1 | g)",
    ],
    ids=["terms", "power", "depth", "signs", "depth inside I()", "huge number", "polynomial", "a megabyte"],
)
def test_gave_a_formula_made_to_exhaust_the_machine(clean, formula):
    data = clean.assign(**{c: clean.x for c in "abcdefhijklmnop"})
    start = time.perf_counter()
    with pytest.raises(MelogitError):
        me.melogit(formula, data)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x + (1 | g", "bracket|parenthes|\\)"),
        ("y ~ x + (1 || )", r"\|"),
        ("x + (1 | g)", "~"),
        ("", "empty|~"),
        ("y ~ x + + (1 | g)", r"\+"),
        ("y ~ x $ z + (1 | g)", r"\$"),
    ],
)
def test_made_a_slip_in_the_formula(clean, refuses, formula, words):
    refuses(FormulaError, (words,), formula, clean)


def test_gave_something_that_is_not_a_formula(clean):
    with pytest.raises(MelogitError, match="formula"):
        me.melogit(None, clean)  # type: ignore[arg-type]


# ---- model files ------------------------------------------------------------------------------------------------
@pytest.fixture
def saved(clean, tmp_path):
    path = tmp_path / "model.json"
    me.melogit(F, clean).save(path)
    return path


def refused(path) -> str:
    with pytest.raises(DataError) as caught:
        me.load(path)
    return str(caught.value)


def test_read_back_what_was_saved(clean, saved):
    fit, again = me.melogit(F, clean), me.load(saved)
    assert str(again.summary()) == str(fit.summary())
    assert again.params.tolist() == fit.params.tolist()
    np.testing.assert_array_equal(again.cov_params(), fit.cov_params())
    assert again.random_effects().equals(fit.random_effects())


def test_loaded_a_file_cut_short(saved):
    saved.write_bytes(saved.read_bytes()[:-300])
    assert "damaged" in refused(saved)


@pytest.mark.parametrize("section", ["model", "estimates", "random_effects", "iterations"])
def test_loaded_a_file_in_which_one_digit_was_changed(saved, section):
    content = json.loads(saved.read_text())
    content[section] = json.loads(json.dumps(content[section]).replace("1", "2", 1))
    saved.write_text(json.dumps(content))
    assert f"damaged at section '{section}'" in refused(saved)


def test_loaded_a_file_from_a_newer_version(saved):
    content = json.loads(saved.read_text())
    content["version"] = 99
    saved.write_text(json.dumps(content))
    text = refused(saved)
    assert "99" in text
    assert "newer" in text


def test_loaded_a_pickle(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    for protocol in range(6):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(Bomb(), protocol))
        assert "not a model file" in refused(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"null", b"y,x,g\n1,2,3\n", b"\x00\xff" * 40, b'{"a": NaN}',
                                     b"[" * 100_000])  # fmt: skip
def test_loaded_something_that_is_not_a_model(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    assert "not a model file" in refused(path) or "damaged" in refused(path)


def test_loaded_a_file_that_does_not_exist(tmp_path):
    assert "none.json" in refused(tmp_path / "none.json")


def test_saved_into_a_folder_that_does_not_exist(clean, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        me.melogit(F, clean).save(tmp_path / "nowhere" / "model.json")


# ---- CSV files --------------------------------------------------------------------------------------------------
def write(path, data, *, separator=",", decimal=".", encoding="utf-8", end="\n"):
    text = data.to_csv(index=False, sep=separator, decimal=decimal, lineterminator=end)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("form", [{"encoding": "utf-8-sig"}, {"end": "\r\n"}, {"encoding": "utf-8-sig", "end": "\r\n"}])
def test_saved_the_table_from_a_spreadsheet(clean, tmp_path, form):
    """A byte order mark must not become part of the first column's name; line ends do not matter."""
    path = write(tmp_path / "data.csv", clean, **form)
    assert me.melogit(F, path).params.tolist() == me.melogit(F, write(tmp_path / "plain.csv", clean)).params.tolist()


@pytest.mark.parametrize(
    "form", [{"encoding": "utf-16"}, {"separator": ";", "decimal": ","}, {"separator": "\t"}, {"separator": ";"}]
)
def test_saved_the_table_in_another_dialect(clean, tmp_path, form):
    """Read right, or refused with the file's name and what is wrong: never another model."""
    path = write(tmp_path / "data.csv", clean, **form)
    try:
        fit = me.melogit(F, path)
    except DataError as error:
        assert "data.csv" in str(error)
        return
    assert fit.params.tolist() == me.melogit(F, write(tmp_path / "plain.csv", clean)).params.tolist()


def test_had_a_line_with_too_many_cells(clean, tmp_path):
    path = write(tmp_path / "data.csv", clean)
    lines = path.read_text().splitlines()
    lines[6] += ",5,5"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"(?s)data\.csv.*line 7"):
        me.melogit(F, path)


def test_had_the_same_header_twice(clean, tmp_path):
    path = write(tmp_path / "data.csv", clean.rename(columns={"z": "x"}))
    with pytest.raises(DataError, match=r"'x'") as caught:
        me.melogit(F, path)
    assert "twice" in str(caught.value) or "duplicate" in str(caught.value) or "2" in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("gone.csv", "gone.csv"), ("data.xlsx", "xlsx")])
def test_named_a_file_that_cannot_be_read(tmp_path, name, words):
    if name.endswith("xlsx"):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=words):
        me.melogit(F, tmp_path / name)


def test_leading_zeros_of_group_codes_in_a_csv_file(clean, tmp_path):
    """007 and 7 are two codes in the file; they must not silently become one group."""
    data = clean.assign(g=[f"{g:03d}" if i % 2 else str(g) for i, g in enumerate(clean.g)])
    path = write(tmp_path / "data.csv", data)
    with pytest.warns(DataWarning, match=r"'g'"):
        fit = me.melogit(F, path)
    assert fit.groups.loc["g", "groups"] == 80


# ---- command line -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("formula", "options", "words"),
    [
        ("y ~ lenght + (1 | g)", [], "no column 'lenght'"),
        ("y ~ x + (1 | g", [], "error:"),
        (F, ["--weights", "x"], "weight"),
        (F, ["--intpoints", "0"], "intpoints"),
        (F, ["--missing", "drop", "--trials", "nope"], "nope"),
    ],
)
def test_made_a_mistake_on_the_command_line(clean, tmp_path, capsys, formula, options, words):
    path = write(tmp_path / "data.csv", clean)
    assert main(["fit", str(path), formula, *options]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_ran_out_of_iterations_on_the_command_line(clean, tmp_path, capsys):
    path = write(tmp_path / "data.csv", clean)
    assert main(["fit", str(path), F, "--intpoints", "7", "--max-iterations", "1"]) == 3
    said = capsys.readouterr()
    assert "1 iteration" in said.err
    assert "NOT CONVERGED" in said.out


def test_gave_a_damaged_model_on_the_command_line(saved, capsys):
    saved.write_bytes(saved.read_bytes()[:-50])
    assert main(["show", str(saved)]) == 2
    assert "damaged" in capsys.readouterr().err
