"""One process at a time may write a file."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

from melogit.errors import DataError


def take_lock(target: Path) -> Path:
    """Make ``<target>.lock``, which says who writes ``target``.

    The lock of a process of this computer that has ended (killed, or the power went) is taken over.

    Raises
    ------
    DataError
        Another process has it.
    OSError
        The folder cannot be written.
    """
    lock = target.with_name(target.name + ".lock")
    for _ in range(10):
        try:
            handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            _remove_if_left_behind(lock, target)
            continue
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "began": _began(os.getpid())}))
            file.flush()
            os.fsync(file.fileno())
        return lock
    raise DataError(f"The lock '{lock}' could not be taken: other processes keep taking it.")


def _remove_if_left_behind(lock: Path, target: Path) -> None:
    try:
        text = lock.read_text(encoding="utf-8")
        age = time.time() - lock.stat().st_mtime
    except FileNotFoundError:
        return  # given back this moment
    try:
        owner = json.loads(text)
        pid, host, began = int(owner["pid"]), str(owner["host"]), owner.get("began")
    except (ValueError, KeyError, TypeError):
        if age < 5:  # perhaps being written
            time.sleep(0.2)
            return
        raise DataError(
            f"'{target}' is locked by '{lock}', which does not say by whom. If no process is writing it, delete that "
            "file and make the same call again."
        ) from None
    if host != socket.gethostname():
        raise DataError(
            f"'{target}' is being written by process {pid} on the computer {host}. Two writers would spoil it. Wait "
            f"for it, give another path, or, if that process has ended, delete '{lock}'."
        )
    if _alive(pid) and began in (None, _began(pid)):
        raise DataError(
            f"'{target}' is being written by process {pid} on this computer ({host}). Two writers would spoil it. "
            "Wait for it, or give another path."
        )
    aside = lock.with_name(f"{lock.name}.{os.getpid()}")
    try:
        os.rename(lock, aside)
        if aside.read_text(encoding="utf-8") == text:
            aside.unlink()
        else:
            os.rename(aside, lock)  # another process was quicker, and this is its lock
    except FileNotFoundError:
        pass


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _began(pid: int) -> str | None:
    """When a process began, which tells it from a later one with the same number; None where unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
