"""``melogit run``, ``melogit do`` and Stata commands in ``melogit fit``."""

from pathlib import Path

import pytest

import melogit as me

COMMAND = "melogit purchase minutes discount || consumer:"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "hospital.do"


def test_run_prints_the_log_and_the_table(run, tmp_path):
    code, out, err = run("run", COMMAND, "--data", "retail", "--save", tmp_path / "m.json")
    assert code == 0, err
    assert out.startswith("Fitting fixed-effects model:") and "Refining starting values:" in out
    assert "var(_cons)" in out and "Integration pts.  =          7" in out
    assert "Accuracy: going from 7 to 15 points" in out
    assert me.load(tmp_path / "m.json").llf == pytest.approx(me.stata(COMMAND, me.load_dataset("retail")).llf, abs=1e-8)
    code, out, _ = run("run", COMMAND + ", or nolog", "--data", "retail")
    assert out.startswith("Mixed-effects") and "Odds ratio" in out


def test_run_does_other_commands_too(run):
    code, out, _ = run("run", "tab1 member", "--data", "retail")
    assert code == 0 and "Total" in out
    code, out, err = run("run", "estat icc", "--data", "retail")
    assert code == 2 and "needs a fitted model" in err
    code, out, err = run("run", "summarize minutes", "--data", "retail", "--save", "x.json")
    assert code == 2 and "--save needs a command that fits a model" in err


def test_an_unknown_word_is_pointed_at(run):
    code, out, err = run("run", COMMAND + ", inpoints(7)", "--data", "retail")
    assert (code, out) == (2, "")
    assert "melogit has no option 'inpoints' here. Did you mean 'intpoints'?" in err
    line, caret = err.splitlines()[-2:]
    assert line[caret.index("^") :].startswith("inpoints")


def test_a_do_file(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.do").write_text(f"* a session\nuse retail\n{COMMAND}, nolog\nestat icc\n", encoding="utf-8")
    code, out, err = run("do", "a.do")
    assert code == 0, err
    assert out.startswith(". use retail\n\n(7 vars, 3,199 obs)")
    assert f". {COMMAND}, nolog" in out and "Intraclass correlation" in out
    code, out, err = run("do", "b.do")
    assert code == 2 and "'b.do' cannot be read" in err
    Path("c.do").write_text("summarize nothing\n", encoding="utf-8")
    code, out, err = run("do", "c.do", "--data", "retail")
    assert code == 2 and "Line 1 of the do-file" in err and "there is no column 'nothing'" in err


def test_the_example_do_file(run):
    code, out, err = run("do", EXAMPLE)
    assert code == 0, err
    assert out.count("LR test vs. logistic model") == 4
    assert "Predictive margins" in out


def test_fit_takes_a_stata_command(run):
    code, out, err = run("fit", "retail", COMMAND, "--or")
    assert code == 0, err
    assert "Odds ratio" in out and "_cons" in out
    code, out, err = run("fit", "retail", COMMAND, "--intpoints", "9")
    assert code == 2 and "--intpoints goes with a formula" in err
