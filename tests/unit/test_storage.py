"""Saving and loading: nothing is lost, and nothing damaged, foreign or half-read gets in."""

import json
import os
import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from invented_fit import covariance, invented_fit, invented_term, two_level_fit

from melogit.errors import DataError
from melogit.fit.types import Fit, Integration, Status
from melogit.results import Results
from melogit.storage import SECTIONS, load_fit, save_fit

NAN = float("nan")


def same(left, right) -> bool:
    """Equality down to the last bit, NaN equal to NaN, types included."""
    if isinstance(left, np.ndarray):
        if left.dtype == object:
            return right.dtype == object and left.tolist() == right.tolist()
        return left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, tuple):
        return type(right) is tuple and len(left) == len(right) and all(map(same, left, right))
    if hasattr(left, "__dataclass_fields__"):
        return all(same(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))
    if isinstance(left, float):
        return isinstance(right, float) and np.float64(left).tobytes() == np.float64(right).tobytes()
    return type(left) is type(right) and left == right


def awkward_fit() -> Fit:
    """Infinite coefficient, variance at 0, numbers with no short decimal form, names from everywhere."""
    rng = np.random.default_rng(11)
    fit = two_level_fit(status=Status.SEPARATED, messages=('"age" séparates\nall', "日本 😀 </script>"))
    params = rng.normal(size=len(fit.names)) * 10.0 ** rng.integers(-300, 300, size=len(fit.names))
    params[1], params[2], params[4] = np.inf, -np.inf, 0.0
    std_err = np.abs(rng.normal(size=len(fit.names)))
    std_err[[1, 2, 4]] = NAN
    integration = Integration("laplace", (1, 1), NAN, np.inf, (), False, 1e-3)
    params[5] = 5e-324  # the smallest double
    return replace(fit, params=params, cov=covariance(std_err, 0.3), integration=integration)


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "model.json"
    save_fit(two_level_fit(), 0.9, path)
    return path


@pytest.mark.parametrize("fit", [invented_fit(), two_level_fit(), awkward_fit()], ids=["one", "two", "awkward"])
def test_everything_comes_back_exactly(fit, tmp_path):
    save_fit(fit, 0.9, tmp_path / "model.json")
    loaded, level = load_fit(tmp_path / "model.json")
    assert level == 0.9
    for field in fields(Fit):
        assert same(getattr(fit, field.name), getattr(loaded, field.name)), field.name
    assert str(Results(loaded, None, level)) == str(Results(fit, None, level))


def test_the_file_is_strict_json(tmp_path):
    save_fit(awkward_fit(), 0.95, tmp_path / "model.json")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "model.json").read_text("ascii"), parse_constant=refuse)
    assert content["format"] == "melogit-fit" and content["version"] == 1


def test_a_model_of_407_groups_is_small(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(407, 1))
    term = replace(invented_term(groups=407), means=values, modes=values * 0.98, std_err=np.abs(values) / 7)
    Results(invented_fit((term,))).save(tmp_path / "model.json")
    assert (tmp_path / "model.json").stat().st_size < 100_000


def test_loaded_arrays_cannot_be_changed_by_accident(saved):
    with pytest.raises(ValueError, match="read-only"):
        load_fit(saved)[0].params[0] = 1.0


@pytest.mark.parametrize("section", SECTIONS)
def test_a_changed_section_is_named(saved, section):
    content = json.loads(saved.read_text())
    text = json.dumps(content[section])
    digit = next(place for place, letter in enumerate(text) if letter in "123456789")
    content[section] = json.loads(text[:digit] + ("2" if text[digit] == "1" else "1") + text[digit + 1 :])
    saved.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"damaged at section '{section}': the checksum does not match"):
        load_fit(saved)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_missing_section_is_named(saved, section):
    content = json.loads(saved.read_text())
    del content[section]
    saved.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"damaged at section '{section}': it is missing"):
        load_fit(saved)


def test_any_truncation_is_refused(saved):
    whole = saved.read_bytes()
    for length in {*range(0, len(whole) - 2, 11), *range(60), *range(len(whole) - 60, len(whole) - 2)}:
        saved.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_fit(saved)


def test_a_truncated_file_names_the_section_where_it_ends(saved):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: whole.index(b'"random_effects":{') + 400])
    with pytest.raises(DataError, match="damaged at section 'random_effects': it is cut short"):
        load_fit(saved)


def test_any_flipped_byte_is_noticed(saved):
    whole = saved.read_bytes()
    reference = load_fit(saved)[0]
    for place in range(0, len(whole) - 1, 7):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
        try:
            loaded = load_fit(saved)[0]
        except DataError:
            continue
        assert same(loaded, reference), f"byte {place} changed the model unnoticed"


def test_bytes_that_are_not_text_name_their_section(saved):
    whole = saved.read_bytes()
    place = whole.index(b'"estimates":{') + 100
    saved.write_bytes(whole[:place] + b"\xff\xfe" + whole[place + 2 :])
    with pytest.raises(DataError, match="damaged at section 'estimates': it holds bytes that are not text"):
        load_fit(saved)


def rewritten(path: Path, section: str, change) -> None:
    """Change a section and give it a valid checksum, as somebody who edits on purpose would."""
    from melogit.storage import _checksum

    content = json.loads(path.read_text())
    change(content[section])
    content["sha256"][section] = _checksum(content[section])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("model", lambda part: part.update(status="FINE")),
        ("model", lambda part: part["wording"].update(extra=1)),
        ("model", lambda part: part.update(integration=3)),
        ("estimates", lambda part: part["params"].update(shape=[2])),
        ("estimates", lambda part: part["cov"]["values"].pop()),
        ("estimates", lambda part: part.update(loglik="many")),
        ("random_effects", lambda part: part["terms"][0].pop("means")),
        ("random_effects", lambda part: part["terms"][0]["levels"].append("x")),
        ("iterations", lambda part: part["rows"].append([1])),
        ("iterations", lambda part: part.update(rows=None)),
    ],
)
def test_wrong_content_with_a_right_checksum_is_refused(saved, section, change):
    rewritten(saved, section, change)
    with pytest.raises(DataError, match=f"damaged at section '{section}': its content is not what it should be"):
        load_fit(saved)


def test_a_newer_version_says_what_to_do(saved):
    saved.write_text(saved.read_text().replace('"version":1', '"version":7', 1))
    with pytest.raises(DataError, match=r"format version 7.*reads versions up to 1.*saved by a newer melogit"):
        load_fit(saved)


@pytest.mark.parametrize("version", ['"one"', "0", "-1", "true", "null", "1.5"])
def test_a_nonsense_version_is_damage(saved, version):
    saved.write_text(saved.read_text().replace('"version":1', f'"version":{version}', 1))
    with pytest.raises(DataError, match="damaged at section 'header'"):
        load_fit(saved)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_opened(tmp_path, protocol, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.json").write_bytes(pickle.dumps(Bomb(), protocol))
    with pytest.raises(DataError, match=r"is not a model file of melogit: it is (a Python pickle|not JSON)"):
        load_fit("model.json")
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b" \n ", "it is empty"),
        (b"hello", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[1, 2]", "it does not say so"),
        (b"{}", "it does not say so"),
        (b'{"format": "other", "version": 1}', "it does not say so"),
        (b"\x89PNG\r\n\x1a\n\xff\xff", "it is not text"),
    ],
)
def test_foreign_files_are_refused(tmp_path, content, why):
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"is not a model file of melogit: {why}"):
        load_fit(path)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_fit(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read"):
        load_fit(tmp_path)


def test_a_failed_save_leaves_the_old_file_and_no_litter(saved, monkeypatch):
    before = saved.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"could not be saved to '.*model\.json': No space left on device"):
        save_fit(invented_fit(), 0.95, saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model.json"]


def test_saving_into_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="could not be saved"):
        save_fit(invented_fit(), 0.95, tmp_path / "nowhere" / "model.json")


def test_saving_over_a_file_replaces_it_and_keeps_a_link(saved, tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(saved)
    save_fit(invented_fit(), 0.8, link)
    assert link.is_symlink() and load_fit(saved)[1] == 0.8
