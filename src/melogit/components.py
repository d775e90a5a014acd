"""Principal components of some columns: what is left of predictors that repeat each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from melogit.errors import DataError, ModelError
from melogit.formula import read_table


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PrincipalComponents:
    """Columns turned into uncorrelated ones, with all that is needed to go back.

    Attributes
    ----------
    data : DataFrame
        The data with the components in place of the columns, ready for ``melogit``.
    loadings : DataFrame
        One row per column, one column per component: the weight of each standardised column; squares in a component
        add to 1.
    explained : Series
        Share of the columns' variance in each component.
    means, scales : Series
        What each column was standardised by (scales: standard deviations).
    """

    data: pd.DataFrame
    loadings: pd.DataFrame
    explained: pd.Series
    means: pd.Series
    scales: pd.Series

    @property
    def names(self) -> list[str]:
        """Names of the components."""
        return [str(name) for name in self.loadings.columns]

    @property
    def formula(self) -> str:
        """The components as they stand in a formula: ``PC1 + PC2``."""
        return " + ".join(self.names)

    def transform(self, data: Any) -> pd.DataFrame:
        """Replace the columns by the components in other data, such as those for predictions.

        Rows that lack one of the columns get NaN.
        """
        frame = read_table(data)
        columns = [str(name) for name in self.loadings.index]
        numbers = _numbers(frame, columns)
        scores = (numbers - self.means.to_numpy()) / self.scales.to_numpy() @ self.loadings.to_numpy()
        return _replaced(frame, columns, self.names, scores)

    def coefficients(self, fit: Any) -> pd.Series:
        """Take a fit's coefficients of the components back to the columns: log odds per unit of each column.

        Parameters
        ----------
        fit : Results
            Of a model with these components.

        Raises
        ------
        ModelError
            None of the components is in the model.
        """
        known = [name for name in self.names if name in fit.fe_params.index]
        if not known:
            raise ModelError(f"None of the components {', '.join(self.names)} is a predictor of this model.")
        gamma = fit.fe_params[known].to_numpy()
        values = self.loadings[known].to_numpy() @ gamma / self.scales.to_numpy()
        return pd.Series(values, index=self.loadings.index, name="estimate")

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.explained.items())
        return f"<melogit.PrincipalComponents of {', '.join(map(str, self.loadings.index))}: {shares}>"


def principal_components(
    data: Any, columns: Sequence[str], *, components: int | None = None, share: float = 0.9, prefix: str = "PC"
) -> PrincipalComponents:
    """Turn columns that repeat each other into uncorrelated principal components.

    Parameters
    ----------
    data : data frame or path
        Anything ``melogit`` can fit.
    columns : sequence of str
        Two or more columns of numbers; they are standardised first, so that their units do not matter.
    components : int, optional
        How many components to keep; by default as few as hold ``share`` of the variance.
    share : float
    prefix : str
        The components are named ``PC1``, ``PC2`` ...

    Returns
    -------
    PrincipalComponents

    Raises
    ------
    DataError
        A column that does not exist, is not a number, or does not vary; fewer than two columns.

    Notes
    -----
    Rows that lack a value do not count, and have NaN components. The sign of a component is chosen so that its
    largest loading is positive.

    References
    ----------
    Jolliffe, I. T. (2002). Principal Component Analysis, 2nd ed., chapters 3 and 8. Springer.

    Examples
    --------
    >>> import melogit as me
    >>> pc = me.principal_components({"a": [1.0, 2, 3, 4], "b": [1.0, 2, 3, 5], "y": [0, 1, 0, 1]}, ["a", "b"])
    >>> pc.loadings.round(4).to_dict()
    {'PC1': {'a': 0.7071, 'b': 0.7071}}
    """
    names = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    if len(names) < 2:
        raise DataError("Principal components need two or more columns.")
    frame = read_table(data)
    numbers = _numbers(frame, names)
    whole = numbers[np.isfinite(numbers).all(axis=1)]
    if len(whole) <= len(names):
        raise DataError(f"Only {len(whole):,} rows have a value in all of {', '.join(names)}; that is too few.")
    means, scales = whole.mean(axis=0), whole.std(axis=0, ddof=1)
    for name, mean, scale in zip(names, means, scales, strict=True):
        if scale <= 1e-12 * max(abs(mean), 1e-300):
            raise DataError(f"Column '{name}' does not vary, so it has no part in principal components. Leave it out.")
    size, vectors = np.linalg.eigh(np.corrcoef(whole.T))
    size, vectors = np.maximum(size[::-1], 0.0), vectors[:, ::-1]
    explained = size / size.sum()
    kept = _how_many(explained, components, share)
    vectors = vectors[:, :kept] * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(names))])[:kept]
    labels = [f"{prefix}{k + 1}" for k in range(kept)]
    scores = (numbers - means) / scales @ vectors
    return PrincipalComponents(
        data=_replaced(frame, names, labels, scores),
        loadings=pd.DataFrame(vectors, index=names, columns=labels),
        explained=pd.Series(explained[:kept], index=labels, name="share of variance"),
        means=pd.Series(means, index=names, name="mean"),
        scales=pd.Series(scales, index=names, name="standard deviation"),
    )


def _how_many(explained: np.ndarray, components: int | None, share: float) -> int:
    if components is None:
        if isinstance(share, bool) or not 0 < share <= 1:
            raise ModelError(f"share={share!r} must lie between 0 and 1: the share of variance to keep.")
        return min(int(np.searchsorted(np.cumsum(explained), share - 1e-9)) + 1, len(explained))
    if isinstance(components, bool) or not isinstance(components, int) or not 1 <= components <= len(explained):
        raise ModelError(f"components={components!r} must be a whole number from 1 to {len(explained)}.")
    return components


def _numbers(frame: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Columns as an array (n, k), NaN where a value is missing."""
    out = []
    for name in names:
        if name not in frame.columns:
            raise DataError(f"There is no column '{name}'. The columns are {', '.join(map(str, frame.columns))}.")
        column = cast(pd.Series, frame[name])
        if not pd.api.types.is_numeric_dtype(column):
            raise DataError(f"Column '{name}' does not hold numbers, so it has no principal components.")
        out.append(column.to_numpy(dtype=float, na_value=np.nan))
    return np.column_stack(out)


def _replaced(frame: pd.DataFrame, columns: list[str], labels: list[str], scores: np.ndarray) -> pd.DataFrame:
    rest = frame.drop(columns=columns)
    taken = [label for label in labels if label in rest.columns]
    if taken:
        raise DataError(f"The data have a column '{taken[0]}' already. Give prefix= to name the components otherwise.")
    return pd.concat([rest, pd.DataFrame(scores, index=frame.index, columns=labels)], axis=1)
