"""The public hospital data ``hdp.csv``: a local copy, or one download into the user's cache."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from pathlib import Path

from melogit.datasets.generators import Facts
from melogit.errors import DataError, DataWarning

FILE_NAME = "hdp.csv"
URL = "https://stats.idre.ucla.edu/stat/data/hdp.csv"
SHA256 = "abb9d27e22704b7dfe5a619eedf1a528fc1b2b0a4537a55d5ec45c54c4057027"

HDP_FACTS: Facts = {
    "name": "hdp",
    "title": "Cancer patients of doctors in hospitals (UCLA Statistical Consulting; downloaded on first use)",
    "rows": 8525,
    "formula": "remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)",
    "columns": {},
}


def cache_folder() -> Path:
    """Where this user's downloads are kept: the operating system's cache folder."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "melogit"


def find_hdp() -> Path:
    """Return the path of a copy of hdp.csv: in the folder MELOGIT_DATA, in the user's cache, or downloaded now.

    Raises
    ------
    DataError
        ``MELOGIT_DATA`` is set but the file is not there, or the file cannot be downloaded.
    """
    folder = os.environ.get("MELOGIT_DATA")
    if folder:
        own = Path(folder).expanduser() / FILE_NAME
        if not own.is_file():
            raise DataError(
                f"The environment variable MELOGIT_DATA is {folder!r}, but there is no {FILE_NAME} in that folder. "
                f"Put it there ({URL}), or unset MELOGIT_DATA to use the download cache {cache_folder()}."
            )
        if sha256(own) != SHA256:
            warnings.warn(
                f"{own} is not byte for byte the published {FILE_NAME}, so results may differ from the printed ones. "
                f"It is used as it is; the published file is at {URL}.",
                DataWarning,
                stacklevel=3,
            )
        return own
    cached = cache_folder() / FILE_NAME
    return cached if cached.is_file() and sha256(cached) == SHA256 else download_hdp(cached)


def download_hdp(target: Path) -> Path:
    """Download hdp.csv to ``target`` and check that it is the file expected. Returns ``target``."""
    try:
        import pooch
    except ImportError:
        raise DataError(
            f"There is no copy of {FILE_NAME} on this computer, and downloading it needs the package pooch. "
            f"Install it with: pip install 'melogit[data]'. {without_network(target)}"
        ) from None
    try:
        pooch.retrieve(URL, known_hash=f"sha256:{SHA256}", fname=target.name, path=target.parent)
    except ValueError as fault:  # pooch's word for a checksum that does not match
        raise DataError(
            f"What {URL} sent is not the published {FILE_NAME} (its SHA-256 checksum is not {SHA256[:12]}...), "
            f"so it was not kept. {without_network(target)}"
        ) from fault
    except OSError as fault:  # requests' errors are OSErrors, and so are those of a full or read-only disk
        raise DataError(
            f"{FILE_NAME} could not be downloaded from {URL} ({type(fault).__name__}). Is this computer online, and "
            f"can {target.parent} be written? {without_network(target)}"
        ) from fault
    return target


def without_network(target: Path) -> str:
    """Say what to do on a computer without network."""
    return (
        f"Without network: fetch {URL} on another computer and save it as {target}, or in any folder that the "
        "environment variable MELOGIT_DATA names. load_dataset('hospital') has the same columns and needs no download."
    )


def sha256(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
