"""Files that the command line reads and writes."""

from __future__ import annotations

import difflib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from melogit.datasets import dataset_names, load_dataset
from melogit.errors import DataError
from melogit.storage import temporary, write_whole

LONG_READ_MEGABYTES = 50  # files from about here on take more than a second to read


def find_data(name: str, *, say: bool = True) -> str | pd.DataFrame:
    """Return the path of a file, or a bundled data set; a file wins, and whatever is not obvious is said.

    Raises
    ------
    DataError
        There is neither a file nor a data set of that name.
    """
    known = name in dataset_names()
    if os.path.isfile(name):
        if known and say:
            tell(f"using the file {name} of this folder, not the bundled data set of the same name")
        megabytes = os.path.getsize(name) / 1e6
        if megabytes > LONG_READ_MEGABYTES and say:
            tell(f"reading {name} ({megabytes:,.0f} MB)")
        return name
    if known:
        if say:
            tell(f"using the data set {name}" if name == "hdp" else f"using the bundled data set {name}")
        return load_dataset(name)
    if os.path.isdir(name):
        raise DataError(f"{name!r} is a folder. Name a .csv, .parquet, .dta or .sav file in it.")
    raise DataError(
        f"There is no file {name!r} here, and no bundled data set of that name "
        f"({', '.join(dataset_names())}).{suggest(name)}"
    )


def suggest(name: str) -> str:
    """Name the nearest bundled data set, or the nearest file in the same folder; or nothing."""
    folder = Path(name).parent
    here = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    close = difflib.get_close_matches(Path(name).name, [*dataset_names(), *here], n=1, cutoff=0.7)
    return f" Did you mean {close[0]!r}?" if close else ""


def check_outputs(paths: list[str | None]) -> None:
    """Make sure, before any work, that every file asked for can be written.

    Raises
    ------
    DataError
        A folder does not exist or cannot be written, the path is a folder itself, or two outputs are one file.
    """
    seen: set[Path] = set()
    for given in paths:
        if given is None or given == "-":
            continue
        path = Path(os.path.realpath(given))
        if path in seen:
            raise DataError(f"Two outputs are to be written to {given!r}, and the second would replace the first.")
        seen.add(path)
        if path.is_dir():
            raise DataError(f"The output {given!r} is a folder. Name a file in it.")
        probe = temporary(path)
        try:
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as fault:
            raise DataError(
                f"The output {given!r} cannot be written: {fault.strerror or fault}. Nothing was computed."
            ) from fault


def write_text(given: str, text: str) -> None:
    """Write a file so that it is either complete or, after a fault, as it was before."""
    try:
        write_whole(Path(os.path.realpath(given)), text)
    except OSError as fault:
        raise DataError(
            f"{given!r} could not be written: {fault.strerror or fault}. It is as it was before."
        ) from fault


def write_json(given: str, content: Any) -> None:
    """Write JSON to a file, or to standard output for ``-``."""
    text = json.dumps(strict(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if given == "-":
        sys.stdout.write(text)
    else:
        write_text(given, text)


def strict(content: Any) -> Any:
    """Make a value fit for strict JSON: undefined numbers become null, infinite ones the text ``inf`` or ``-inf``."""
    if isinstance(content, dict):
        return {str(key): strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [strict(value) for value in content]
    if hasattr(content, "tolist"):  # NumPy's numbers and arrays
        return strict(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else str(content)
    if content is None or isinstance(content, str | bool | int | float):
        return content
    return str(content)


def tell(sentence: str) -> None:
    """Say something on standard error."""
    print(f"melogit: {sentence}", file=sys.stderr)
