"""Fit and keep the warnings as text, where a test is not about them or wants to read them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fitted:
    """A fit and the warnings it gave, word for word."""

    result: Any
    messages: tuple[str, ...]


def quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Fitted:
    """Call, keeping warnings as text instead of letting them fail the test."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    return Fitted(result, tuple(str(w.message) for w in caught))
