"""How much memory there is to use."""

from __future__ import annotations

from pathlib import Path


def available_bytes() -> int | None:
    """Memory that this process may still take: the machine's, or what its container allows; None where unknown."""
    found = [value for value in (_machine(), _container()) if value is not None]
    return min(found) if found else None


def gigabytes(size: float) -> str:
    """Write a size.

    Examples
    --------
    >>> gigabytes(15_000_000_000), gigabytes(300_000_000)
    ('14.0 GiB', '0.28 GiB')
    """
    value = size / 2**30
    return f"{value:.1f} GiB" if value >= 1 else f"{value:.2g} GiB"


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _container() -> int | None:
    """What is left of the limit of a Linux control group (version 2)."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
        return None if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return None
