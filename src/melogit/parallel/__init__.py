"""Many calls of one function: on threads, in processes, on a Dask cluster; finished answers on disk. No statistics."""

from melogit.parallel.checkpoint import Checkpoint, open_checkpoint
from melogit.parallel.memory import available_bytes, gigabytes
from melogit.parallel.pool import Lost, run
from melogit.parallel.workers import Workers, read_workers

__all__ = [
    "Checkpoint",
    "Lost",
    "Workers",
    "available_bytes",
    "gigabytes",
    "open_checkpoint",
    "read_workers",
    "run",
]
