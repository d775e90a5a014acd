"""Find fixed-effect columns that are constant or follow from earlier ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dependent_columns(X: NDArray[np.float64], names: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Find the columns to leave out so that the rest are linearly independent.

    Columns are centred (where there is an ``Intercept``) and scaled first, so that neither a predictor's unit
    nor its distance from 0 matters; of columns that depend on each other the later ones are named.

    Parameters
    ----------
    X : (n, p) float64
    names : tuple of str

    Returns
    -------
    tuple of (position, reason)

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> dependent_columns(np.column_stack([np.ones(3), x, 3 - 2 * x]), ("Intercept", "x", "z"))
    ((2, "collinear with 'x'"),)
    """
    n, p = X.shape
    has_constant = "Intercept" in names
    centre = X.mean(axis=0) if has_constant else np.zeros(p)
    constant = names.index("Intercept") if has_constant else -1
    if has_constant:
        centre[constant] = 0.0
    # Cross products of the centred columns, block by block: no second copy of X is held.
    gram = np.zeros((p, p))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n, 65_536):
            block = X[start : start + 65_536] - centre
            gram += block.T @ block
        norms = np.sqrt(np.diag(gram))
    if not ((norms > 1e-140) & (norms < 1e140)).all():  # constant, or squares near the end of the number range
        unit = np.abs(X).max(axis=0, initial=0.0)
        unit[unit == 0] = 1.0
        norms = np.linalg.norm((X - centre) / unit, axis=0) * unit
        gram = np.full((p, p), np.nan)
    flat = norms <= 1e-13 * np.sqrt(max(n, 1)) * np.abs(X.mean(axis=0))
    if not flat.any() and _clearly_independent(gram / norms / norms[:, None]):
        return ()
    return _orthogonalise(X, names, centre, norms, flat)


def _clearly_independent(correlation: NDArray[np.float64]) -> bool:
    """Every column keeps more than 1e-3 of its length beside the earlier ones: no need to look closer."""
    try:
        return bool(np.diag(np.linalg.cholesky(correlation)).min(initial=1.0) > 1e-3)
    except np.linalg.LinAlgError:
        return False


def _orthogonalise(
    X: NDArray[np.float64],
    names: tuple[str, ...],
    centre: NDArray[np.float64],
    norms: NDArray[np.float64],
    flat: NDArray[np.bool_],
) -> tuple[tuple[int, str], ...]:
    """Gram-Schmidt in the order of the columns, each twice against the ones kept so far."""
    n, p = X.shape
    basis = np.empty((n, min(n, p)), order="F")
    kept: list[int] = []
    dropped: list[tuple[int, str]] = []
    noise = 0.0
    for j in range(p):
        if flat[j]:
            value = X[0, j] if n else 0.0
            dropped.append((j, f"constant ({value:.6g} in every row)"))
            continue
        column = (X[:, j] - centre[j]) / norms[j]
        rest = column
        for _ in range(2):
            rest = rest - basis[:, : len(kept)] @ (basis[:, : len(kept)].T @ rest)
        length = float(np.linalg.norm(rest))
        # Rounding of a column far from 0 looks like a tiny independent part.
        largest = np.abs(X[:, j]).max(initial=0.0)
        noise = max(noise, 16 * np.finfo(float).eps * largest * np.sqrt(n) / norms[j])
        if len(kept) == basis.shape[1] or length < 1e-9 + noise:
            dropped.append((j, _reason(X, names, centre, norms, kept, column)))
            continue
        basis[:, len(kept)] = rest / length
        kept.append(j)
    return tuple(dropped)


def _reason(
    X: NDArray[np.float64],
    names: tuple[str, ...],
    centre: NDArray[np.float64],
    norms: NDArray[np.float64],
    kept: list[int],
    column: NDArray[np.float64],
) -> str:
    scaled = (X[:, kept] - centre[kept]) / norms[kept]
    share = np.abs(np.linalg.lstsq(scaled, column, rcond=None)[0])
    partners = [names[kept[i]] for i in range(len(kept)) if share[i] > 1e-5]
    shown = ", ".join(f"'{name}'" for name in partners[:4])
    more = f" and {len(partners) - 4} more" if len(partners) > 4 else ""
    return f"collinear with {shown}{more}"
