"""What the user may choose about a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.fit.types import TraceRow

METHODS = ("mvaghermite", "mcaghermite", "ghermite", "laplace", "simulated")
MAX_POINTS = 1001
# More node paths than this per row are not a sensible grid (DESIGN section 3).
MAX_PATHS = 100_000

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of one fit.

    Attributes
    ----------
    method : str, optional
        ``mvaghermite``, ``mcaghermite``, ``ghermite`` or ``laplace``; for crossed factors ``laplace`` (the default
        there) or ``simulated``. Default for nested ones: ``mvaghermite`` when ``intpoints`` is
        given, otherwise whatever reaches the accuracy.
    intpoints : int, tuple of int (one per level, top first) or "auto"
    tolerance : float
        With "auto": the accuracy to reach, in standard errors and in units of log-likelihood.
    max_iterations : int
    threads : int, optional
    progress : callable, optional
        Called with every row of the iteration log.
    start : (beta (p,), theta (m,)), optional
        Where to begin, in the user's units (``Fit.params[:p]``, ``Fit.theta``), instead of looking for a good place.
        Where that leads nowhere, the fit begins anew without it.
    lean : bool
        Leave out what refits by the thousand do not need: the plain logistic model (``loglik_fixed_only`` is NaN if
        ``start`` is given), the effects of the groups (empty arrays) and, where the points are fixed, the check of
        the integral (NaN).
    """

    method: str | None = None
    intpoints: int | tuple[int, ...] | Literal["auto"] = "auto"
    tolerance: float = 1e-3
    max_iterations: int = 100
    threads: int | None = None
    progress: Callable[[TraceRow], None] | None = None
    start: tuple[FloatArray, FloatArray] | None = None
    lean: bool = False

    def points(self, levels: int) -> tuple[int, ...] | None:
        """Points per dimension of every level; None for "auto"."""
        if self.method not in (None, *METHODS):
            raise ModelError(f"There is no method {self.method!r}. Choose one of {', '.join(METHODS)}.")
        if self.method == "laplace":
            return (1,) * levels
        if isinstance(self.intpoints, str):
            if self.intpoints != "auto":
                raise ModelError(f'intpoints={self.intpoints!r} is not a number of points. Use an integer or "auto".')
            return None
        given = self.intpoints if isinstance(self.intpoints, tuple) else (self.intpoints,) * levels
        if len(given) != levels:
            raise ModelError(
                f"intpoints names {len(given)} levels, but the model has {levels}. Give one number for all levels or "
                "one per level, top level first."
            )
        for k in given:
            if isinstance(k, bool) or int(k) != k or not 1 <= k <= MAX_POINTS:
                raise ModelError(f'intpoints={k!r} is not possible: use an integer from 1 to {MAX_POINTS}, or "auto".')
        return tuple(int(k) for k in given)
