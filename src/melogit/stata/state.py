"""What a session knows between two commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from melogit.errors import DataError, ModelError
from melogit.stata.data import Dataset
from melogit.stata.fitted import StataResults
from melogit.stata.grammar import Command


@dataclass(frozen=True, slots=True)
class State:
    """The data in memory, the last fit, the stored ones, the seed, the last table of margins."""

    data: Dataset | None = None
    fit: StataResults | None = None
    stored: Mapping[str, StataResults] = field(default_factory=dict)
    seed: int | None = None
    margins: Any = None


def data_of(state: State, command: Command) -> Dataset:
    """The data in memory."""
    if state.data is None:
        raise DataError(
            f"'{command.name}' needs data, and none have been read. Start with use, insheet or import delimited, "
            "or give --data FILE."
        )
    return state.data


def fit_of(state: State, command: Command) -> StataResults:
    """The last fit."""
    if state.fit is None:
        raise ModelError(f"'{command.name}' needs a fitted model, and none has been fitted yet in this session.")
    return state.fit
