"""One replicate of a bootstrap: draw, refit, measure; and the same without one group at a time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.errors import MelogitError, MelogitWarning, ModelError
from melogit.fit import Settings, fit_design
from melogit.fit.types import Fit
from melogit.inference.drawing import Drawing, draw_weights, sample, without
from melogit.inference.weighting import Weighting, weighted_fit

FloatArray = NDArray[np.float64]
CLEARLY_FULL = 1e-8  # least eigenvalue of a correlation matrix that needs no closer look
MUCH_SMALLER = 1e-6  # a variance so much smaller than the mean square may be made of rounding errors


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replicate gave.

    Attributes
    ----------
    values : (k,) or None
        None where it failed.
    std_err : (k,) or None
        Of the values, by the refit; None where there are none.
    reason : str
        Why it failed; empty where it did not.
    warned : tuple of str
        Kinds of warnings that the refit gave.
    final : bool
        Another try would give the same: False where memory ran out or workers were lost.
    """

    values: FloatArray | None
    std_err: FloatArray | None = None
    reason: str = ""
    warned: tuple[str, ...] = ()
    final: bool = True


# What is kept of a refit: values (k,), and their standard errors where they have some.
Measure = Callable[[Fit, Design], tuple[FloatArray, FloatArray | None]]


@dataclass(frozen=True, slots=True)
class Replication:
    """A replicate as a function of its number, counted from 1; it depends on ``(seed, number)`` alone.

    Attributes
    ----------
    drawing : Drawing
    settings : Settings
        Of the refits.
    measure : Measure
    seed : int
    weighting : Weighting or None
        For ``resample="weights"``.
    jackknife : bool
        Replicate r is the data without group r, instead of a sample.
    """

    drawing: Drawing
    settings: Settings
    measure: Measure
    seed: int
    weighting: Weighting | None = None
    jackknife: bool = False

    def __call__(self, number: int) -> Outcome:
        """Make one replicate; whatever goes wrong in it becomes the reason of its failure."""
        with warnings_kept() as caught:
            try:
                fit, design = self._refit(number)
                if not fit.converged:
                    return Outcome(None, reason=fit.status.value)
                values, std_err = self.measure(fit, design)
            except (MelogitError, np.linalg.LinAlgError, MemoryError) as error:
                memory = isinstance(error, MemoryError)
                return Outcome(None, reason="there was not enough memory" if memory else str(error), final=not memory)
        if not np.isfinite(values).all():
            return Outcome(None, reason="the statistic is not a finite number")
        return Outcome(values, std_err, warned=tuple(sorted({category.__name__ for category in caught})))

    def _refit(self, number: int) -> tuple[Fit, Design]:
        rng = np.random.default_rng([self.seed, number])
        if self.weighting is not None and not self.jackknife:
            weights = draw_weights(self.drawing, rng)
            design = self.drawing.design
            by_row = design.weights * weights[design.terms[0].factor.codes]
            return weighted_fit(self.weighting, weights, threads=self.settings.threads), replace(design, weights=by_row)
        design = without(self.drawing, number - 1) if self.jackknife else sample(self.drawing, rng)
        if self.drawing.resample != "parametric" or self.jackknife:
            check_rank(design)
        return fit_design(design, self.settings), design


def check_rank(design: Design) -> None:
    """Refuse a sample in which predictors are collinear, as when it lacks a rare level."""
    if design.n_rows == 0:
        raise ModelError("The sample has no rows.")
    others = np.array([name != "Intercept" for name in design.x_names], dtype=bool)
    if _clearly_full(design.X, others):
        return
    X = design.X[:, others]
    size = np.abs(X).max(axis=0, initial=0.0)
    if not others.all():
        X = X - X.mean(axis=0)
    spread = np.sqrt(np.mean(X**2, axis=0))
    for j in np.flatnonzero(spread <= 1e-13 * size):
        raise ModelError(f"'{np.array(design.x_names)[others][j]}' does not vary in this sample.")
    X = X / spread
    if X.shape[1] and np.linalg.matrix_rank(np.linalg.qr(X, mode="r")) < X.shape[1]:
        raise ModelError("The predictors are collinear in this sample.")


def _clearly_full(X: FloatArray, others: NDArray[np.bool_]) -> bool:
    """Whether cross products alone show full rank: far quicker than centring and a QR decomposition."""
    products = X.T @ X / len(X)
    inner = products[np.ix_(others, others)]
    size = np.diag(inner)
    if not others.all():  # the constant's column of the cross products holds the means
        mean = products[np.ix_(others, ~others)][:, 0] / products[np.ix_(~others, ~others)][0, 0]
        inner = inner - np.outer(mean, mean)
    spread = np.diag(inner)
    if np.any(spread <= MUCH_SMALLER * size):
        return False
    return not others.any() or np.linalg.eigvalsh(inner / np.sqrt(np.outer(spread, spread)))[0] > CLEARLY_FULL


# -------------------------------------------------------------------------------------------------------- warnings

# Python's own way of catching warnings changes the whole process, so threads would catch each other's. One hook serves
# all, and puts each warning into the list of the thread that gave it.
_here = threading.local()
_lock = threading.Lock()
_hooks: list[Any] = []
_users = 0


@contextmanager
def warnings_hooked() -> Iterator[None]:
    """Keep the hook in its place while threads come and go."""
    global _users
    with _lock:
        if _users == 0:
            hook = warnings.catch_warnings()
            hook.__enter__()
            _hooks.append(hook)
            before = warnings.showwarning
            warnings.simplefilter("always", MelogitWarning)
            warnings.showwarning = _sorted_by_thread(before)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _hooks.pop().__exit__(None, None, None)


def _sorted_by_thread(before: Callable[..., None]) -> Callable[..., None]:
    def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        kept = getattr(_here, "kept", None)
        if kept is not None and issubclass(category, MelogitWarning):
            kept.append(category)
        else:
            before(message, category, *args, **kwargs)

    return show


@contextmanager
def warnings_kept() -> Iterator[list[type[Warning]]]:
    """Kinds of the warnings of ours that this thread gives."""
    with warnings_hooked():
        outer, _here.kept = getattr(_here, "kept", None), []
        try:
            yield _here.kept
        finally:
            _here.kept = outer
