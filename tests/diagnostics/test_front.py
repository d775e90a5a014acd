"""fit.diagnose() as a whole: keys, text, files, seeds, failures of single checks."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import numpy as np
import pandas as pd
import pytest
from worlds import FORMULA, sound_world

import melogit as me
from melogit.diagnostics import diagnose
from melogit.report.checks import Check, Verdict
from melogit.report.checks_text import cell, first_sentence, verdict_lines

MINE = ["right_model", "convergence", "integration", "separation", "design", "linearity", "collinearity"]


@pytest.fixture(scope="module")
def data():
    return sound_world(1)


@pytest.fixture(scope="module")
def fit(data):
    return me.melogit(FORMULA, data)


@pytest.fixture(scope="module")
def checks(fit):
    return fit.diagnose(only=MINE)


def test_every_check_is_found_by_its_key_and_a_sound_world_is_fine(checks):
    assert list(checks.keys()) == MINE
    assert [checks[key].verdict for key in MINE] == [Verdict.FINE] * len(MINE), str(checks)
    assert checks.verdict is Verdict.FINE
    assert "7 checks were made: nothing speaks against this model." in checks.summary()
    for check in checks:
        assert check.tested.endswith(".") and check.meaning.endswith(".") and check.references, check.key
        assert check.title in checks.summary() and check.meaning.split()[0] in str(check)
        for picture in check.pictures:
            assert picture.alt.endswith(".") and len(picture.alt) > 40


def test_the_table_has_a_row_per_check(checks):
    assert list(checks.table.index) == MINE
    assert set(checks.table["verdict"]) == {"fine"}
    assert checks.table.loc["collinearity", "result"].startswith("largest VIF")


def test_a_wrong_key_is_named_with_the_nearest(fit, checks):
    with pytest.raises(me.ModelError, match=r"There is no check 'linear'\. Did you mean 'linearity'\?"):
        fit.diagnose(only="linear")
    with pytest.raises(me.ModelError, match="only= names no check"):
        fit.diagnose(only=[])
    with pytest.raises(KeyError, match="linearity"):
        checks["nonsense"]


def test_a_model_from_a_file_says_that_it_needs_the_data(fit, tmp_path):
    fit.save(tmp_path / "model.json")
    with pytest.raises(me.ModelError, match=r"diagnose\(\) needs them"):
        me.load(tmp_path / "model.json").diagnose()


def test_a_check_that_fails_takes_no_other_down(fit, monkeypatch):
    def broken(context):
        raise ValueError("a matrix of zeros")

    table = diagnose.all_checks()
    monkeypatch.setattr(diagnose, "all_checks", lambda: {**table, "linearity": ("Linearity", broken)})
    checks = fit.diagnose(only=["linearity", "collinearity"])
    assert checks["linearity"].verdict is Verdict.SKIPPED
    assert checks["linearity"].meaning == "This check could not be made: a matrix of zeros"
    assert checks["collinearity"].verdict is Verdict.FINE
    assert "Not checked: Linearity." in checks.summary()


def test_the_user_sees_no_warning_of_a_refit_and_progress_names_the_checks(fit):
    told = io.StringIO()
    with redirect_stderr(told):
        fit.diagnose(only=["design", "linearity"], progress=True)
    assert "Check 2 of 2: Linearity of the log-odds" in told.getvalue()
    quiet = io.StringIO()
    with redirect_stderr(quiet):
        fit.diagnose(only="collinearity", progress=False)
    assert quiet.getvalue() == ""


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7"])
def test_a_seed_is_a_whole_number(fit, seed):
    with pytest.raises(me.ModelError, match="must be a whole number, 0 or more"):
        fit.diagnose(only="collinearity", seed=seed)


def test_time_is_a_predictor_a_column_or_an_array(fit, data):
    from melogit.results.diagnosis import _times

    name, values = _times("age", fit.design, fit.recipe)
    assert name == "age" and np.array_equal(values, data["age"])
    dates = pd.Series(pd.date_range("2020-01-01", periods=len(data)), name="visit")
    assert _times(dates, fit.design, fit.recipe)[1][:3].tolist() == [0.0, 1.0, 2.0]
    longer = pd.concat([data["dose"], pd.Series([1.0], index=[10**6])])
    assert np.array_equal(_times(longer, fit.design, fit.recipe)[1], data["dose"])
    with pytest.raises(me.DataError, match=r"Give the column itself: time=data\['visit'\]"):
        fit.diagnose(time="visit")
    with pytest.raises(me.DataError, match="has 3 values for 600 rows"):
        fit.diagnose(time=[1, 2, 3])
    with pytest.raises(me.DataError, match="must be numbers or dates"):
        fit.diagnose(time=data["sex"])


def test_robust_tables_are_checked_by_the_fit_behind_them(data):
    robust = me.melogit(FORMULA, data, vce="robust")
    plain = me.melogit(FORMULA, data)
    a, b = (f.diagnose(only="collinearity")["collinearity"].measures[0].value for f in (robust, plain))
    assert a == pytest.approx(b, rel=1e-9)


def test_files(fit, tmp_path):
    checks = fit.diagnose(only=["convergence", "collinearity"])
    checks.to_markdown(tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    pytest.importorskip("matplotlib")
    checks.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for check in checks:
        assert check.title in text and check.title in page


# ---------------------------------------------------------------------------------------------------- the text


def invented(title: str, verdict: Verdict, meaning: str = "It says so. And more.") -> Check:
    return Check(title.lower(), title, verdict, "Tested.", (), (), meaning, ())


def test_the_verdict_has_about_ten_lines_however_much_is_wrong():
    checks = [invented(f"Check {k}", Verdict.LOOK) for k in range(12)] + [invented("Worst", Verdict.PROBLEM)]
    lines = verdict_lines([*checks, invented("Good", Verdict.FINE), invented("None", Verdict.SKIPPED)])
    assert lines[0] == "14 checks were made: 1 problem and 12 things to look at."
    assert lines[1] == "Worst: It says so."  # the worst first
    assert lines[-3] == "Also: Check 6; Check 7; Check 8; Check 9; Check 10; Check 11."
    assert lines[-2:] == ("Fine: Good.", "Not checked: None.")
    assert len(lines) == 11


def test_numbers_and_sentences():
    assert [cell(v) for v in (3083, 0.5, -0.00001, 1e9, True)] == ["3,083", "0.5", "-1e-05", "1e+09", "True"]
    assert first_sentence("The p of 0.05 is low (see 1.2). Next.") == "The p of 0.05 is low (see 1.2)."


def test_a_report_for_a_folder_that_is_not_there_names_it(checks, tmp_path):
    for write in (checks.to_html, checks.to_markdown):
        with pytest.raises(me.DataError, match=r"there is no folder '.*nowhere'\. Make it first"):
            write(tmp_path / "nowhere" / "report.html")
        with pytest.raises(me.DataError, match=r"which is a folder\. Give the name of a file"):
            write(tmp_path)


def test_four_groups_of_five_rows_are_answered_in_words(recwarn):
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(list("abcd"), 5), "x": rng.normal(size=20)})
    data["y"] = (rng.random(20) < 1 / (1 + np.exp(-np.repeat([2.0, -2.0, 1.0, -1.0], 5)))).astype(int)
    for check in me.melogit("y ~ x + (1 | g)", data).diagnose():
        assert "could not be made" not in check.meaning and "Singular" not in check.meaning, check.key


def test_a_matrix_that_cannot_be_inverted_is_told_in_words():
    def fails(context):
        raise np.linalg.LinAlgError("Singular matrix")

    check = diagnose.run_one(None, "x", "X", fails)  # pyright: ignore[reportArgumentType]
    assert check.verdict is Verdict.SKIPPED
    assert check.meaning.startswith("The data tell too little") and "Singular" not in check.meaning


def test_costly_models_are_refitted_with_few_points_and_say_so(monkeypatch, data):
    from melogit.diagnostics import context as room

    fit = me.melogit(FORMULA, data, intpoints=31)
    full = fit.diagnose(only=["linearity", "group_influence"])
    monkeypatch.setattr(room, "COSTLY", 100)
    light = fit.diagnose(only=["linearity", "group_influence"])
    assert not any(name == "Refits" for name, _ in full.report.facts)
    said = dict(light.report.facts)["Refits"]
    assert "with 7 integration points per random effect, in place of" in said and "standard errors at most" in said
    for key in ("linearity", "group_influence"):
        a, b = (found[key].measures for found in (full, light))
        assert [m.value for m in a] == pytest.approx([m.value for m in b], rel=0.02, abs=0.02)
