"""Saving a fit to a file and reading it back.

The file is JSON, never pickle: opening it cannot run code. Each section carries the SHA-256 checksum of its canonical
text, so that damage is found and named. Numbers are written with the shortest text that reads back to the same
double; infinite and undefined ones as the strings ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from melogit.design import Block, Wording
from melogit.errors import DataError
from melogit.fit.types import FiniteSums, Fit, Integration, Status, TermFit, TraceRow

FORMAT = "melogit-fit"
VERSION = 1
SECTIONS = ("model", "estimates", "random_effects", "iterations")
# How new data are read, and the posterior of the groups: what predictions need besides the estimates.
FURTHER_SECTIONS = ("recipe", "posterior")


def save_fit(
    fit: Fit, level: float, path: str | os.PathLike[str], further: Mapping[str, dict[str, Any]] | None = None
) -> None:
    """Write a fit to ``path``: to a temporary file beside it first, which then takes its place in one step.

    Parameters
    ----------
    fit : Fit
    level : float
        Confidence level of its tables.
    path : path
    further : mapping of section name to content, optional
        Any of ``FURTHER_SECTIONS``, made of plain lists, texts, numbers and None.

    Raises
    ------
    DataError
        If the file cannot be written. A file that was there before is then unchanged.
    """
    sections = {**_encode(fit, level), **_through_json(dict(further or {}))}
    content = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": {name: _checksum(section) for name, section in sections.items()},
        **sections,
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    target = Path(os.path.realpath(path))
    try:
        write_whole(target, text + "\n")
    except OSError as error:
        raise DataError(
            f"The model could not be saved to '{target}': {error.strerror or error}. Nothing there was changed."
        ) from error


def temporary(path: Path) -> Path:
    """Name a file beside ``path`` that nobody else uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_whole(path: Path, text: str) -> None:
    """Write a file (UTF-8) so that it is either complete or, after an OSError, as it was before."""
    beside = temporary(path)
    try:
        with open(beside, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def load_fit(path: str | os.PathLike[str]) -> tuple[Fit, float]:
    """Read what ``save_fit`` wrote: the fit and its confidence level."""
    fit, level, _ = load_sections(path)
    return fit, level


def load_sections(path: str | os.PathLike[str]) -> tuple[Fit, float, dict[str, Any]]:
    """Read what ``save_fit`` wrote: the fit, its confidence level, and the further sections that the file has.

    Raises
    ------
    DataError
        If the file is missing, damaged (the section is named), not one of ours, or from a newer version.
    """
    name = os.fspath(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"The model file '{name}' cannot be read: {error.strerror or error}.") from error
    content = _parse(raw, name)
    _check_format(content, name)
    for section in SECTIONS:
        if section not in content:
            raise DataError(_damaged(name, section, "it is missing"))
        if content["sha256"].get(section) != _checksum(content[section]):
            raise DataError(_damaged(name, section, "the checksum does not match its content"))
    further = {}
    for section in FURTHER_SECTIONS:
        if section in content or section in content["sha256"]:
            if section not in content:
                raise DataError(_damaged(name, section, "it is missing"))
            if content["sha256"].get(section) != _checksum(content[section]):
                raise DataError(_damaged(name, section, "the checksum does not match its content"))
            further[section] = content[section]
    return *_decode(content, name), further


def read_further(path: str | os.PathLike[str], section: str, read: Callable[[], Any]) -> Any:
    """Decode a further section; whatever goes wrong in it is damage."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(
            _damaged(os.fspath(path), section, f"its content is not what it should be ({error})")
        ) from error


# ---------------------------------------------------------------------------------------------------- the file


def _checksum(section: Any) -> str:
    text = json.dumps(section, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _damaged(name: str, section: str, why: str) -> str:
    return (
        f"The model file '{name}' is damaged at section '{section}': {why}. "
        "Nothing was loaded; take another copy of the file or fit the model again."
    )


def _foreign(name: str, what: str) -> str:
    return f"'{name}' is not a model file of melogit: {what}. Model files are written by fit.save(path)."


def _parse(raw: bytes, name: str) -> dict[str, Any]:
    if raw[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise DataError(_foreign(name, "it is a Python pickle, and opening one can run any code"))
    if not raw.strip():
        raise DataError(_foreign(name, "it is empty"))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if raw.lstrip().startswith(b'{"format":"' + FORMAT.encode()):
            raise DataError(
                _damaged(name, _section_at(raw, error.start), "it holds bytes that are not text")
            ) from error
        raise DataError(_foreign(name, "it is not text")) from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if FORMAT in text[:200]:
            position = getattr(error, "pos", len(text))
            # Our files are one line with a line feed at its end.
            why = f"it cannot be read at character {position}" if text.endswith("\n") else "it is cut short"
            raise DataError(_damaged(name, _section_at(raw, position), why)) from error
        raise DataError(_foreign(name, "it is not JSON")) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(_foreign(name, "it does not say so at its beginning"))
    return content


def _section_at(raw: bytes, position: int) -> str:
    """Find the last section that begins before ``position``."""
    starts = {section: raw.rfind(f'"{section}":{{'.encode(), 0, position) for section in (*SECTIONS, *FURTHER_SECTIONS)}
    last = max(starts, key=lambda section: starts[section])
    return last if starts[last] >= 0 else "header"


def _check_format(content: dict[str, Any], name: str) -> None:
    version = content.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DataError(_damaged(name, "header", f"its version is {version!r}"))
    if version > VERSION:
        raise DataError(
            f"The model file '{name}' has format version {version}, and this melogit reads versions up to {VERSION}. "
            "It was saved by a newer melogit: install that version or a later one to load it."
        )
    if not isinstance(content.get("sha256"), dict):
        raise DataError(_damaged(name, "header", "its checksums are missing"))


# ------------------------------------------------------------------------------------------------ to JSON


def number(value: float) -> float | str:
    """Write a number, also one that JSON has no word for."""
    value = float(value)
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def array(values: Any) -> dict[str, Any]:
    """Write an array of any shape."""
    values = np.asarray(values, dtype=float)
    return {"shape": list(values.shape), "values": [number(value) for value in values.ravel()]}


def _encode(fit: Fit, level: float) -> dict[str, Any]:
    wording = {name: getattr(fit.wording, name) for name in Wording.__dataclass_fields__}
    integration = {name: getattr(fit.integration, name) for name in Integration.__dataclass_fields__}
    for name in ("loglik_error", "max_shift_in_se", "tolerance"):
        integration[name] = number(integration[name])
    numbers = ("loglik", "loglik_fixed_only", "df_model", "n_obs", "seconds")
    arrays = ("params", "cov", "theta", "cov_theta")
    model = {
        "level": level,
        "status": fit.status.name,
        "messages": fit.messages,
        "wording": wording,
        "integration": integration,
        "nested": fit.nested,
    }
    estimates = {
        "names": fit.names,
        "n_fixed": fit.n_fixed,
        **{name: number(getattr(fit, name)) for name in numbers},
        **{name: array(getattr(fit, name)) for name in arrays},
    }
    if fit.sums is not None:
        estimates["sums"] = {name: array(getattr(fit.sums, name)) for name in FiniteSums.__dataclass_fields__}
    sections = {
        "model": model,
        "estimates": estimates,
        "random_effects": {"terms": [_encode_term(term) for term in fit.terms]},
        "iterations": {
            "rows": [
                [row.stage, row.iteration, *map(number, (row.loglik, row.decrement, row.step, row.seconds))]
                for row in fit.trace
            ]
        },
    }
    return _through_json(sections)


def _through_json(sections: dict[str, Any]) -> dict[str, Any]:
    """Go through JSON once, so that the checksum is that of what a reader gets (lists for tuples)."""
    return json.loads(json.dumps(sections, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    """NumPy scalars as the Python numbers that they are."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"A fit holds {value!r}, which has no place in a model file.")


def _encode_term(term: TermFit) -> dict[str, Any]:
    arrays = ("Sigma", "means", "modes", "std_err", "group_sizes")
    return {
        "name": term.name,
        "names": term.names,
        "blocks": [[block.start, block.size, block.structure] for block in term.blocks],
        "levels": [str(label) for label in term.levels],
        "parameters": term.parameters,
        **{name: array(getattr(term, name)) for name in arrays},
    }


# ---------------------------------------------------------------------------------------------- from JSON


def read_number(value: Any) -> float:
    """Read what ``number`` wrote."""
    if isinstance(value, str):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}[value]
    return float(value)


def read_array(content: Any, *shape: int) -> np.ndarray:
    """Read an array, read-only; its shape must be the one that the rest of the file implies."""
    if tuple(content["shape"]) != shape:
        raise ValueError(f"an array has shape {content['shape']} in place of {list(shape)}")
    values = np.array([read_number(value) for value in content["values"]], dtype=float).reshape(shape)
    values.setflags(write=False)
    return values


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _decode(content: dict[str, Any], name: str) -> tuple[Fit, float]:
    def read(section: str, decode: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        try:
            return decode(content[section])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(_damaged(name, section, f"its content is not what it should be ({error})")) from error

    model = read("model", _decode_model)
    level = model.pop("level")
    parts = (
        read("estimates", _decode_estimates),
        read("random_effects", lambda section: {"terms": tuple(map(_decode_term, section["terms"]))}),
        read("iterations", lambda section: {"trace": tuple(map(_decode_trace_row, section["rows"]))}),
    )
    return Fit(**model, **parts[0], **parts[1], **parts[2]), level


def _decode_model(section: dict[str, Any]) -> dict[str, Any]:
    integration = {name: _tuples(value) for name, value in section["integration"].items()}
    for name in ("loglik_error", "max_shift_in_se", "tolerance"):
        integration[name] = read_number(integration[name])
    return {
        "level": float(section["level"]),
        "status": Status[section["status"]],
        "messages": _tuples(section["messages"]),
        "wording": Wording(**{name: _tuples(value) for name, value in section["wording"].items()}),
        "integration": Integration(**integration),
        "nested": bool(section.get("nested", True)),  # files before crossed models do not say
    }


def _decode_estimates(section: dict[str, Any]) -> dict[str, Any]:
    names = _tuples(section["names"])
    k, m = len(names), len(names) - section["n_fixed"]
    numbers = ("loglik", "loglik_fixed_only", "n_obs", "seconds")
    return {
        "names": names,
        "n_fixed": int(section["n_fixed"]),
        "df_model": int(section["df_model"]),
        **{name: read_number(section[name]) for name in numbers},
        "params": read_array(section["params"], k),
        "cov": read_array(section["cov"], k, k),
        "theta": read_array(section["theta"], m),
        "cov_theta": read_array(section["cov_theta"], k, k),
        "sums": _decode_sums(section.get("sums"), k, k - m),
    }


def _decode_sums(section: Any, k: int, p: int) -> FiniteSums | None:
    if section is None:
        return None
    lost = read_array(section["lost"], p, section["lost"]["shape"][1])
    return FiniteSums(read_array(section["params"], k), read_array(section["cov"], k, k), lost)


def _decode_term(term: dict[str, Any]) -> TermFit:
    q, groups = len(term["names"]), len(term["levels"])
    return TermFit(
        name=term["name"],
        names=_tuples(term["names"]),
        blocks=tuple(Block(*block) for block in term["blocks"]),
        levels=np.array([*term["levels"], None], dtype=object)[:-1],
        Sigma=read_array(term["Sigma"], q, q),
        parameters=_tuples(term["parameters"]),
        means=read_array(term["means"], groups, q),
        modes=read_array(term["modes"], groups, q),
        std_err=read_array(term["std_err"], groups, q),
        group_sizes=read_array(term["group_sizes"], groups),
    )


def _decode_trace_row(row: list[Any]) -> TraceRow:
    stage, iteration, *numbers = row
    return TraceRow(stage, int(iteration), *map(read_number, numbers))
