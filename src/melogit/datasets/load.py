"""Finding and reading the data sets by name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal, overload

import pandas as pd

from melogit.datasets.generators import FILES, GENERATORS, Facts, read_facts
from melogit.datasets.hdp import HDP_FACTS, find_hdp
from melogit.errors import DataError


def dataset_names() -> tuple[str, ...]:
    """Names that ``load_dataset`` knows: the bundled ones, and ``hdp``, which is downloaded.

    Examples
    --------
    >>> dataset_names()
    ('hospital', 'retail', 'admissions', 'tv', 'exam', 'hdp')
    """
    return (*GENERATORS, "hdp")


@overload
def load_dataset(name: str, *, path: Literal[False] = False) -> pd.DataFrame: ...
@overload
def load_dataset(name: str, *, path: Literal[True]) -> Path: ...
@overload
def load_dataset(name: str, *, path: bool) -> pd.DataFrame | Path: ...
def load_dataset(name: str, *, path: bool = False) -> pd.DataFrame | Path:
    """Read a teaching data set.

    ``hospital``, ``retail``, ``admissions``, ``tv`` and ``exam`` (whose groups cross) are bundled; they were simulated,
    and ``dataset_facts`` gives the true parameters. ``hdp`` is the public data set that textbook examples use; it is
    taken from the folder named by the environment variable ``MELOGIT_DATA``, from the user's cache, or else downloaded
    once into that cache.

    Parameters
    ----------
    name : str
        One of ``dataset_names()``.
    path : bool
        Return where the file is instead of reading it.

    Returns
    -------
    pandas.DataFrame or pathlib.Path

    Raises
    ------
    DataError
        There is no such data set, or ``hdp`` can be neither found nor downloaded.

    Examples
    --------
    >>> load_dataset("tv").shape
    (2400, 7)
    """
    check_name(name)
    file = find_hdp() if name == "hdp" else FILES / f"{name}.csv.gz"
    return file if path else pd.read_csv(file)


def dataset_facts(name: str) -> Facts:
    """Tell what is known about a data set, with a formula that suits it and, if simulated, its true parameters.

    Parameters
    ----------
    name : str
        One of ``dataset_names()``.

    Returns
    -------
    dict
        ``name, title, rows, formula, columns``, and for simulated data ``seed, true_fixed, true_variance``.

    Raises
    ------
    DataError
        There is no such data set.

    Examples
    --------
    >>> dataset_facts("retail")["formula"]
    'purchase ~ minutes + discount + device + member + (1 | consumer)'
    """
    check_name(name)
    return HDP_FACTS if name == "hdp" else read_facts(name)


def check_name(name: str) -> None:
    """Raise ``DataError`` with a suggestion unless ``name`` is one of ``dataset_names()``."""
    if not isinstance(name, str) or name not in dataset_names():
        raise DataError(unknown_dataset_message(name))


def unknown_dataset_message(name: object) -> str:
    """Say that there is no data set of this name, and which there are."""
    close = difflib.get_close_matches(str(name).lower(), dataset_names(), n=1)
    suggestion = f" Did you mean {close[0]!r}?" if close else ""
    return f"There is no data set {name!r}. The data sets are {', '.join(dataset_names())}.{suggestion}"
