"""Who does the work: this thread, several threads, several processes, or a Dask cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from melogit.errors import ModelError
from melogit.machine import cores

Kind = Literal["serial", "threads", "processes", "dask"]
MOST = 1024


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work.

    Attributes
    ----------
    kind : {"serial", "threads", "processes", "dask"}
    count : int
        How many work at once (1 for ``serial``; what the cluster had when asked for ``dask``).
    client : distributed.Client, optional
    """

    kind: Kind
    count: int
    client: Any = None


def read_workers(given: Any) -> Workers:
    """Read a ``workers=`` argument.

    Parameters
    ----------
    given : None, int, str or distributed.Client
        None: a thread per core. A number: so many threads (1: no extra ones). ``"threads"``, ``"processes"``, with a
        number after a colon where it is not that of the cores (``"processes:4"``). A Dask client: its workers.

    Raises
    ------
    ModelError
        Anything else.

    Examples
    --------
    >>> read_workers("processes:4")
    Workers(kind='processes', count=4, client=None)
    >>> read_workers(1)
    Workers(kind='serial', count=1, client=None)
    """
    if given is not None and not isinstance(given, bool | int | str):
        if callable(getattr(given, "submit", None)) and callable(getattr(given, "scatter", None)):
            return Workers("dask", max(1, sum(given.ncores().values())), given)
        raise _unreadable(given)
    kind, number = "threads", given
    if isinstance(given, str):
        kind, _, number = given.partition(":")
        if kind not in ("threads", "processes") or (number and not number.isdecimal()):
            raise _unreadable(given)
        number = int(number) if number else None
    if isinstance(number, bool):
        raise _unreadable(given)
    count = cores() if number is None else int(number)
    if not 1 <= count <= MOST:
        raise _unreadable(given)
    if kind == "processes":
        return Workers("processes", count)
    return Workers("threads" if count > 1 else "serial", count)


def _unreadable(given: Any) -> ModelError:
    return ModelError(
        f'workers={given!r} is not understood. Give a number of threads from 1 to {MOST}, "threads" or "processes" '
        '(with a number: "processes:4"), or a Dask client.'
    )
