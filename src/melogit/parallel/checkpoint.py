r"""Finished answers on disk, so that long work that is killed goes on where it was.

The first line of the file says what the work is; every further line is one answer. A line is the checksum of a JSON
text and the text. Lines are only ever added, whole, so a kill in the middle of a write leaves all lines before it
intact; a line that is damaged is not believed, and its answer is worked out again.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from melogit.errors import DataError
from melogit.parallel.lock import take_lock

FORMAT = "melogit-checkpoint"
VERSION = 1
SYNC = 0.5  # seconds of work that a power cut may cost (a killed process loses nothing that was written)

Record = dict[str, Any]


@dataclass(slots=True)
class Checkpoint:
    """An open checkpoint file; leave it by ``close`` or a ``with`` block.

    Attributes
    ----------
    path : Path
    records : list of dict
        What was in the file when it was opened.
    """

    path: Path
    records: list[Record]
    _handle: int
    _lock: Path
    _size: int
    _synced: float = field(default_factory=time.monotonic)

    def append(self, records: Sequence[Record]) -> None:
        """Add answers.

        Raises
        ------
        DataError
            The disk is full, or gone. What was in the file before stays.
        """
        text = b"".join(_line(record) for record in records)
        try:
            _write(self._handle, text)
            if time.monotonic() - self._synced > SYNC:
                os.fsync(self._handle)
                self._synced = time.monotonic()
        except OSError as fault:
            try:
                os.ftruncate(self._handle, self._size)
            except OSError:
                pass  # a half line at the end is recognised when the file is read
            raise DataError(
                f"The checkpoint '{self.path}' could not be written: {fault.strerror or fault}. What was finished "
                "before is in it. Make room, and make the same call again to go on."
            ) from fault
        self._size += len(text)

    def close(self) -> None:
        """Bring everything to the disk and let others write the file."""
        try:
            os.fsync(self._handle)
        except OSError:
            pass
        os.close(self._handle)
        self._lock.unlink(missing_ok=True)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_checkpoint(path: str | os.PathLike[str], work: Mapping[str, str]) -> Checkpoint:
    """Open the checkpoint of some work, or begin one.

    Parameters
    ----------
    path : path
    work : mapping of str to str
        What makes the work what it is, by name (``"seed": "seed 3"``): two pieces of work with equal entries must give
        equal answers. Values are shown where they differ.

    Raises
    ------
    DataError
        The file belongs to other work, or is no checkpoint; another process writes it; it cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise DataError(f"The checkpoint '{path}' is not a file. Give the path of a file, which need not exist yet.")
    try:
        lock = take_lock(target)
    except OSError as fault:
        raise _unwritable(path, fault) from fault
    try:
        if not target.exists() or target.stat().st_size == 0:
            _begin(target, work)
        records, good = _read(target, work)
        handle = os.open(target, os.O_RDWR | os.O_APPEND)
        os.ftruncate(handle, good)
    except OSError as fault:
        lock.unlink(missing_ok=True)
        raise _unwritable(path, fault) from fault
    except BaseException:
        lock.unlink(missing_ok=True)
        raise
    return Checkpoint(target, records, handle, lock, good)


def _unwritable(path: str | os.PathLike[str], fault: OSError) -> DataError:
    return DataError(f"The checkpoint '{path}' cannot be written: {fault.strerror or fault}. Nothing was computed.")


def _begin(target: Path, work: Mapping[str, str]) -> None:
    """Write the first line to a file beside it, which then takes its place in one step."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(_line({"format": FORMAT, "version": VERSION, "work": dict(work)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _write(handle: int, text: bytes) -> None:
    while text:
        text = text[os.write(handle, text) :]


def _line(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode("ascii")  # floats as the shortest text that reads back
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _record(line: bytes) -> Record | None:
    """The record of a line, or None where it is damaged."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _read(target: Path, work: Mapping[str, str]) -> tuple[list[Record], int]:
    """The answers in a file, and where its last whole line ends."""
    content = target.read_bytes()
    good = content.rfind(b"\n") + 1
    lines = content[:good].splitlines()
    head = _record(lines[0]) if lines else None
    if head is None or head.get("format") != FORMAT:
        raise DataError(
            f"'{target}' is not a checkpoint of melogit (or its first line is damaged), and was left as it is. Give "
            "another path, or delete it to begin anew."
        )
    if head.get("version") != VERSION:
        raise DataError(
            f"The checkpoint '{target}' is of version {head.get('version')} of the format, and this melogit reads "
            f"version {VERSION}. Use the melogit that wrote it, or give another path."
        )
    theirs = head.get("work")
    _check_same(target, theirs if isinstance(theirs, dict) else {}, work)
    records = [record for line in lines[1:] if (record := _record(line)) is not None]
    return records, good


def _check_same(target: Path, theirs: Mapping[str, Any], ours: Mapping[str, str]) -> None:
    different = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    if different:
        each = [f"{name}: {theirs.get(name, 'none')} there, {ours.get(name, 'none')} here" for name in different]
        raise DataError(
            f"The checkpoint '{target}' belongs to other work, and was left as it is ({'; '.join(each)}). Mixing the "
            "two would give wrong results. Make the call that began it, or give another path."
        )
