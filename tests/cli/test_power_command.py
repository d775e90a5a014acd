"""``melogit power``: what it prints, writes and refuses."""

import json

import pytest

from melogit.cli.main import main

STUDY = "power --cluster-size 20 --baseline 0.3 --icc 0.05 --reps 20 --seed 1 --quiet".split()
THREE = "power --clusters 6 --subclusters 2 --cluster-size 10 --baseline 0.4 --odds-ratio 3 --icc 0.05,0.1 --quiet"


def test_table_and_files(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    table, picture = tmp_path / "power.json", tmp_path / "power.svg"
    options = ["--clusters", "12", "16", "--odds-ratio", "2", "--json", str(table), "--plot", str(picture)]
    assert main([*STUDY, *options]) == 0
    out = capsys.readouterr().out
    assert "Power by simulation: Wald test at 0.05, 20 replicates, seed 1" in out
    studies = json.loads(table.read_text())["studies"]
    assert [study["clusters"] for study in studies] == [12, 16]
    assert f"{studies[0]['power']:.3f}" in out
    assert "<svg" in picture.read_text()


def test_three_levels_and_a_fitted_model(capsys):
    assert main([*THREE.split(), "--treatment", "row", "--reps", "10"]) == 0
    assert "ICC 0.05 and 0.1" in " ".join(capsys.readouterr().out.split())
    formula = "remission ~ Age + (1 | HID)"
    assert main(["power", "--fit", "hospital", formula, "--term", "Age", "--reps", "10", "--quiet"]) == 0
    assert "tested: Age" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "power needs clusters=, a whole number, 2 or more"),
        (["--clusters", "10", "--odds-ratio", "2", "--plot", "power.txt"], "a picture is one of .png, .svg, .pdf"),
        (["--clusters", "10"], "exactly one of effect=, odds_ratio=, treated="),
    ],
)
def test_bad_input(options, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*STUDY, *options]) == 2
    assert text in capsys.readouterr().err


def test_power_of_a_crossed_study_is_that_of_its_own_groups(capsys):
    study = ["power", "--fit", "exam", "correct ~ hours + (1 | student) + (1 | question)", "--term", "hours", "--quiet"]
    assert main([*study, "--reps", "10", "--seed", "1"]) == 0
    assert "the groups of student and question as they are" in " ".join(capsys.readouterr().out.split())
    assert main([*study, "--target", "0.8"]) == 2
    assert "no cluster can be added without cutting through others" in capsys.readouterr().err
