"""Grouping factors: numbering the groups, and finding out from the data which lie within which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.design import Design, GroupingFactor
from melogit.errors import DataError, DataWarning, ModelError, warn
from melogit.formula.columns import categorical, factorize_raw, numbers
from melogit.formula.rows import Rows

FEW_GROUPS = 5


def grouping_factor(columns: tuple[str, ...], values: Mapping[str, tuple[NDArray, NDArray]]) -> GroupingFactor:
    """Make the groups of one column, or of the combination of several.

    Parameters
    ----------
    columns : tuple of str
    values : mapping of str to (codes, levels)
        The numbered values of each column, from ``number_values``.
    """
    codes, levels = values[columns[0]]
    for name in columns[1:]:
        more, more_levels = values[name]
        combined = codes.astype(np.int64) * len(more_levels) + more
        codes, present = pd.factorize(combined, sort=True)
        first, second = np.divmod(present, len(more_levels))
        levels = np.array([f"{levels[a]}:{more_levels[b]}" for a, b in zip(first, second, strict=True)], dtype=object)
    codes = np.ascontiguousarray(codes, dtype=np.int32)
    codes.flags.writeable = False
    levels.flags.writeable = False
    return GroupingFactor(":".join(columns), columns, codes, levels)


def number_values(values: pd.Series, name: str, rows: Rows) -> tuple[NDArray, NDArray]:
    """Give the distinct values of a column (without missing values) numbers, in sorted order.

    Returns
    -------
    codes : (n,) int
    levels : (G,) array of str
        Sorted as numbers where all are numbers, else as text.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        raw, uniques = pd.factorize(categorical(values).codes)
        distinct = categorical(values).categories[np.asarray(uniques)]
    elif isinstance(dtype, np.dtype) and dtype.kind in "iufb":
        if dtype.kind == "f":
            numbers(values, name, rows)  # infinity is not a group
        raw, distinct = pd.factorize(values.to_numpy())
    else:
        raw, distinct = factorize_raw(values)
    keys, labels = _labels(distinct, name)
    order = (
        np.argsort(keys, kind="stable")
        if isinstance(keys, np.ndarray)
        else sorted(range(len(keys)), key=keys.__getitem__)
    )
    rank = np.empty(len(labels), dtype=np.int32)
    rank[order] = np.arange(len(labels), dtype=np.int32)
    levels = np.array([labels[i] for i in order], dtype=object)
    if len(levels) > 1 and (levels[1:] == levels[:-1]).any():
        levels, merged = _merge_equal(levels)  # 1 and "1" are one group
        rank = merged[rank]
    return rank[raw], levels


def _labels(distinct, name: str) -> tuple[NDArray | list, list[str]]:
    """Return sorting keys and texts of the distinct values."""
    array = np.asarray(distinct)
    kind = array.dtype.kind
    if kind in "iu":
        return array, [str(value) for value in array.tolist()]
    if kind == "f":
        whole = array == np.floor(array)
        if not whole.all():
            warn(
                f"The grouping column '{name}' holds numbers that are not whole, such as {array[~whole][0]:g}; each "
                "different number is a group of its own. Is it the right column?",
                DataWarning,
            )
            return array, [f"{value:.15g}" for value in array.tolist()]
        return array, [str(int(value)) if abs(value) < 2**53 else f"{value:.17g}" for value in array.tolist()]
    if kind == "b":
        return array.astype(int), [str(value) for value in array.tolist()]
    if kind == "M":
        texts = [str(pd.Timestamp(value)) for value in array]
        if all(text.endswith(" 00:00:00") for text in texts):
            texts = [text[:-9] for text in texts]
        return array.astype("int64"), texts
    return _object_labels(list(distinct), name)


def _object_labels(distinct: list, name: str) -> tuple[list, list[str]]:
    texts = [_text(value) for value in distinct]
    if 0 < sum(isinstance(value, str) for value in distinct) < len(distinct):
        number = next(value for value in distinct if not isinstance(value, str))
        text = next(value for value in distinct if isinstance(value, str))
        warn(
            f"The grouping column '{name}' mixes numbers and text (such as {number!r} and {text!r}). They are compared "
            "as text, so 1 and '1' are one group.",
            DataWarning,
        )
    try:
        keys = [(float(text), text) for text in texts]
    except ValueError:
        return list(texts), texts
    _warn_of_leading_zeros(sorted(keys), name)
    return keys, texts


def _warn_of_leading_zeros(keys: list[tuple[float, str]], name: str) -> None:
    for (number, text), (other, other_text) in pairwise(keys):
        if number == other and text != other_text:
            warn(
                f"The grouping column '{name}' has both '{text}' and '{other_text}', which are taken as two groups "
                "because the texts differ. Make them alike if they are one.",
                DataWarning,
            )
            return


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _merge_equal(levels: NDArray) -> tuple[NDArray, NDArray[np.int32]]:
    new = np.concatenate([[True], levels[1:] != levels[:-1]])
    return levels[new], (np.cumsum(new) - 1).astype(np.int32)


def check_group_counts(factors: Sequence[GroupingFactor]) -> None:
    """Refuse a single group, warn about very few."""
    for factor in factors:
        if factor.n_levels == 1:
            raise DataError(
                f"The grouping column '{factor.name}' has one group ('{factor.levels[0]}') in the rows used; "
                "the variance between groups cannot be estimated from one. Leave the random term out."
            )
        if factor.n_levels < FEW_GROUPS:
            warn(
                f"only {factor.n_levels} groups in '{factor.name}': the variance between groups is estimated from "
                f"{factor.n_levels} values and is unreliable. With so few, '{factor.name}' as a predictor is often "
                "better.",
                DataWarning,
            )


def lies_within(lower: GroupingFactor, upper: GroupingFactor) -> bool:
    """Tell whether every group of ``lower`` lies in one group of ``upper``."""
    parent = np.zeros(lower.n_levels, dtype=np.int32)
    parent[lower.codes] = upper.codes
    return bool((parent[lower.codes] == upper.codes).all())


def arrange(factors: Sequence[GroupingFactor]) -> tuple[list[int], bool]:
    """Find the order from the top level to the lowest, and whether the factors are nested.

    Returns
    -------
    order : list of int
        Positions, top first where nested, as given where not.
    nested : bool

    Raises
    ------
    ModelError
        Two factors make the same groups.
    """
    for a, b in combinations(factors, 2):
        if a.n_levels == b.n_levels and lies_within(a, b):
            raise ModelError(
                f"'{a.name}' and '{b.name}' make the same {a.n_levels:,} groups, so their variances cannot be told "
                "apart. Keep one of the two random terms."
            )
    order = sorted(range(len(factors)), key=lambda i: factors[i].n_levels)
    if all(lies_within(factors[j], factors[i]) for i, j in pairwise(order)):
        return order, True
    for a, b in combinations(factors, 2):
        if not lies_within(a, b) and not lies_within(b, a):
            _warn_of_reused_ids(a, b)
    return list(range(len(factors))), False


def _warn_of_reused_ids(a: GroupingFactor, b: GroupingFactor) -> None:
    found = reused_ids(a, b)
    if found is not None:
        upper, lower = found
        warn(
            f"ids of '{lower.name}' repeat across '{upper.name}' ('{lower.levels[0]}' occurs in "
            f"{len(np.unique(upper.codes[lower.codes == 0])):,} of them), so the two are taken as crossed. If "
            f"'{lower.name}' {lower.levels[0]} of one '{upper.name}' is not the same as in another, write "
            f"(1 | {upper.name}/{lower.name}).",
            DataWarning,
        )


def reused_ids(a: GroupingFactor, b: GroupingFactor) -> tuple[GroupingFactor, GroupingFactor] | None:
    """Find out whether ids of one factor start anew within each group of the other: doctor 1, 2, 3 in every hospital.

    Returns
    -------
    upper, lower : GroupingFactor
        None where they do not, or where one lies within the other.
    """
    if len(a.columns) > 1 or len(b.columns) > 1 or lies_within(a, b) or lies_within(b, a):
        return None
    for upper, lower in ((a, b), (b, a)):
        pairs = np.unique(upper.codes.astype(np.int64) * lower.n_levels + lower.codes)
        groups, ids = np.divmod(pairs, lower.n_levels)
        sizes = np.bincount(groups, minlength=upper.n_levels)
        highest = np.zeros(upper.n_levels, dtype=np.int64)
        np.maximum.at(highest, groups, ids)
        starts_anew = (highest == sizes - 1).mean() > 0.75  # the ids are the first ones, none left out
        # Everyone meeting everyone, once, is a crossed design such as persons by test items.
        if starts_anew and (len(np.unique(sizes)) > 1 or len(upper.codes) > 1.5 * len(pairs)):
            return upper, lower
    return None


def crossing_example(design: Design) -> str:
    """Return a sentence with two groups that show that the grouping factors cross, or nothing if none do.

    Examples
    --------
    ``"'student' 17 met 'rater' 2 and 'rater' 5"``, as part of a message.
    """
    factors = [term.factor for term in design.terms]
    for a, b in combinations(factors, 2):
        lower, upper = (a, b) if a.n_levels >= b.n_levels else (b, a)
        if lies_within(lower, upper):
            continue
        first = np.zeros(lower.n_levels, dtype=np.int32)
        first[lower.codes[::-1]] = upper.codes[::-1]
        i = int((first[lower.codes] != upper.codes).argmax())
        group = lower.codes[i]
        one, other = upper.levels[first[group]], upper.levels[upper.codes[i]]
        return f"'{lower.name}' {lower.levels[group]} met '{upper.name}' {one} and '{upper.name}' {other}"
    return ""
