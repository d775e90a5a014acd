"""``melogit diagnose``: what it prints, writes and returns."""

import os
import re
import sys
import warnings

import pytest

import melogit as me

FORMULA = "purchase ~ minutes + member + (1 | consumer)"
QUICK = ("--only", "convergence", "collinearity")


def timeless(page):
    """The page without the date and the time taken."""
    return re.sub(r"(<dt>(?:Date|Time taken)</dt><dd>)[^<]*", r"\1", page)


def test_it_prints_the_verdict_and_writes_the_report(run, tmp_path):
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    code, out, err = run("diagnose", "retail", FORMULA, *QUICK, "--report", page, "--markdown", text)
    assert code == 0
    assert out.startswith(f"Checks of {FORMULA}\n\n2 checks were made: nothing speaks against this model.\n")
    assert "collinearity" in out and "linearity of" not in out.lower()
    assert err == f"melogit: using the bundled data set retail\nmelogit: the report is in {page}\n"
    written = page.read_text(encoding="utf-8")
    assert written.startswith("<!DOCTYPE html>") and written.count("<svg") == 2 and "Collinearity" in written
    assert text.read_text(encoding="utf-8").startswith("# Checks of the model of purchase\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_it_is_the_report_of_the_library(run, tmp_path):
    page, own = tmp_path / "report.html", tmp_path / "own.html"
    run("diagnose", "retail", FORMULA, *QUICK, "--seed", 7, "--report", page)
    fit = me.melogit(FORMULA, me.load_dataset("retail"))
    fit.diagnose(["convergence", "collinearity"], seed=7).to_html(own)
    assert timeless(page.read_text(encoding="utf-8")) == timeless(own.read_text(encoding="utf-8"))


def test_quiet_and_log(run):
    code, out, _ = run("diagnose", "retail", FORMULA, *QUICK, "--quiet")
    assert (code, out) == (0, "")
    _, _, err = run("diagnose", "retail", FORMULA, *QUICK, "--log")
    assert "Full model, iteration 1" in err and "Check 2 of 2: Collinearity" in err


def test_a_stata_command_and_a_time_column(run):
    command = "melogit purchase minutes i.member || consumer:"
    code, out, err = run("diagnose", "retail", command, *QUICK, "--time", "minutes")
    assert code == 0 and "2 checks were made" in out
    assert err.count("using the bundled data set") == 1


def test_bad_input_is_said_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("melogit.cli.diagnose.fit_model", lambda options: pytest.fail("a fit was made"))
    cases = (
        (("--only", "colinearity"), "There is no check 'colinearity'. Did you mean 'collinearity'?"),
        (("--time", "minute"), "--time minute: there is no column 'minute'. Did you mean 'minutes'?"),
        (("--seed", "-1"), "--seed -1: the seed must be 0 or more."),
        (("--report", tmp_path / "no" / "r.html"), "cannot be written: No such file or directory"),
        (("--report", tmp_path / "r", "--markdown", tmp_path / "r"), "Two outputs are to be written to"),
    )
    for options, words in cases:
        code, out, err = run("diagnose", "retail", FORMULA, *options)
        assert (code, out) == (2, "") and words in err
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_report_is_refused_and_the_rest_works(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    code, _, err = run("diagnose", "retail", FORMULA, *QUICK, "--report", tmp_path / "r.html")
    assert code == 2 and 'pip install "melogit[plot]"' in err
    assert run("diagnose", "retail", FORMULA, *QUICK, "--markdown", tmp_path / "r.md")[0] == 0


def test_a_fit_that_did_not_converge_is_exit_code_3_and_the_first_thing_said(run, tmp_path):
    page = tmp_path / "r.html"
    with warnings.catch_warnings():
        code, out, err = run("diagnose", "retail", FORMULA, *QUICK, "--max-iterations", 1, "--report", page)
    assert code == 3
    assert "PROBLEM  Convergence and boundary" in out and "warning" in err
    assert '<p class="alert">NOT CONVERGED' in page.read_text(encoding="utf-8")


def test_a_fault_while_writing_leaves_the_old_report(run, tmp_path, monkeypatch):
    page = tmp_path / "report.html"
    page.write_text("the old report")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    code, _, err = run("diagnose", "retail", FORMULA, *QUICK, "--report", page)
    assert code == 2 and "could not be written: No space left on device. It is as it was before." in err
    assert page.read_text() == "the old report" and [path.name for path in tmp_path.iterdir()] == ["report.html"]
