"""Exact deletion: the model fitted again without some of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, subset
from melogit.diagnostics.context import Context, reason, refit
from melogit.errors import MelogitError, ModelError
from melogit.fit.types import Fit

FloatArray = NDArray[np.float64]
# Least eigenvalue of the predictors' scaled cross products below which a column can no longer be told apart.
SINGULAR = 1e-9


@dataclass(frozen=True, slots=True)
class Refits:
    """Estimates without each unit.

    Attributes
    ----------
    units : (k,) int
        Which units were left out, one at a time.
    change : (k, p + m)
        Estimate without the unit minus estimate with all data; NaN where the refit failed.
    std_err : (k, p + m)
    failures : tuple of (unit, reason)
    """

    units: NDArray[np.int64]
    change: FloatArray
    std_err: FloatArray
    failures: tuple[tuple[int, str], ...]


def codes_of(design: Design, level: int | None) -> NDArray[np.int64]:
    """Which unit every row belongs to: its group at a level, or itself (None)."""
    return np.arange(design.n_rows) if level is None else design.terms[level].factor.codes.astype(np.int64)


def fit_without(context: Context, out: NDArray[np.bool_]) -> Fit:
    """Fit the model without the rows ``out``, from the estimates of all data.

    Raises
    ------
    ModelError
        A coefficient cannot be estimated without them; the refit did not reach a maximum.
    """
    design, keep = context.design, ~out
    if not keep.any():
        raise ModelError("nothing is left without these rows.")
    lost = lost_columns(design, keep)
    if lost:
        raise ModelError(f"without these rows {', '.join(map(repr, lost))} can no longer be told apart from the rest.")
    rest = subset(design, keep)
    if rest.terms[0].factor.n_levels < 2:
        raise ModelError(f"a single group of '{rest.terms[0].factor.name}' is left.")
    return refit(context, rest)


def lost_columns(design: Design, keep: NDArray[np.bool_]) -> list[str]:
    """Columns of X that are linear combinations of others in the rows kept."""
    X = design.X[keep]
    size = np.sqrt(np.mean(design.X**2, axis=0))
    gram = (X / size).T @ (X / size) / len(X)
    eigen, basis = np.linalg.eigh(gram)
    full = np.linalg.eigvalsh((design.X / size).T @ (design.X / size) / design.n_rows)[0]
    bad = eigen < SINGULAR * max(full, 1e-6)
    names = [name for name, far in zip(design.x_names, np.any(np.abs(basis[:, bad]) > 0.1, axis=1), strict=True) if far]
    return [name for name in names if name != "Intercept"] or names


def delete_exactly(context: Context, level: int | None, units: Sequence[int]) -> Refits:
    """Fit the model again without each of some units of a level (None: rows), one at a time."""
    fit, codes = context.fit, codes_of(context.design, level)
    change = np.full((len(units), len(fit.params)), np.nan)
    std_err = np.full_like(change, np.nan)
    failures = []
    what = "rows" if level is None else context.design.terms[level].factor.name
    for k, unit in enumerate(units):
        try:
            found = fit_without(context, codes == unit)
        except MelogitError as error:
            failures.append((int(unit), reason(error)))
        else:
            change[k] = found.params - fit.params
            std_err[k] = np.sqrt(np.diag(found.cov))
        context.tell(f"refit {k + 1} of {len(units)} ({what})")
    return Refits(np.asarray(units, dtype=np.int64), change, std_err, tuple(failures))
