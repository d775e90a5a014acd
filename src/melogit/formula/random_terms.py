"""Random terms: one vector of effects per group, one block of covariance per written term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, get_args

import numpy as np
import pandas as pd

from melogit.design import Block, GroupingFactor, RandomTerm, Structure
from melogit.errors import ModelError
from melogit.formula.columns import Values
from melogit.formula.fixed import Encoded, encode
from melogit.formula.groups import arrange, check_group_counts, grouping_factor, number_values
from melogit.formula.parser import RandomPart
from melogit.formula.plan import Matrix
from melogit.formula.rank import dependent_columns
from melogit.formula.rows import Rows

Covariance = str | Mapping[str, str] | None


def build_terms(
    parts: Sequence[tuple[RandomPart, Matrix]],
    values: Mapping[str, Values],
    groups: Mapping[str, pd.Series],
    rows: Rows,
    covariance: Covariance,
) -> tuple[tuple[RandomTerm, ...], bool, tuple[Encoded, ...]]:
    """Build the random terms, joined by grouping factor and ordered from the top level down.

    Parameters
    ----------
    parts : sequence of (RandomPart, Matrix)
    values : mapping
        Columns of the left-hand sides.
    groups : mapping of str to Series
        The used rows of the grouping columns.
    rows : Rows
    covariance : None, str or mapping of group to str

    Returns
    -------
    terms : tuple of RandomTerm
    nested : bool
    encoded : tuple of Encoded
        One per part, for new data.
    """
    numbered = {name: number_values(column, name, rows) for name, column in groups.items()}
    factors: dict[frozenset[str], GroupingFactor] = {}
    members: dict[frozenset[str], list[int]] = {}
    for i, (part, _) in enumerate(parts):
        key = frozenset(part.group)
        if key not in factors:
            factors[key] = grouping_factor(part.group, numbered)
        members.setdefault(key, []).append(i)
    ordered = list(factors.values())
    check_group_counts(ordered)
    order, nested = arrange(ordered)
    cache: dict[str, Encoded] = {}
    for part, matrix in parts:
        if part.left.strip() not in cache:
            cache[part.left.strip()] = encode(matrix, values, rows)
    encoded = tuple(cache[part.left.strip()] for part, _ in parts)
    asked = _structures(covariance, ordered)
    terms = []
    for place in order:
        key = list(factors)[place]
        written = [(parts[i][0], encoded[i]) for i in members[key]]
        terms.append(_join(factors[key], written, asked.get(factors[key].name), rows))
    return tuple(terms), nested, encoded


def _join(
    factor: GroupingFactor, written: Sequence[tuple[RandomPart, Encoded]], asked: Structure | None, rows: Rows
) -> RandomTerm:
    """Join the terms written on one factor: columns side by side, one block each."""
    names = tuple(name for _, part in written for name in part.names)
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        texts = ", ".join(part.text for part, _ in written)
        raise ModelError(
            f"The random effect '{repeated}' of '{factor.name}' is written twice: {texts}. A term has an intercept "
            "unless it starts with 0: write (1 | g) + (0 + x | g), or (1 + x | g)."
        )
    Z = written[0][1].values if len(written) == 1 else np.hstack([part.values for _, part in written])
    Z = np.ascontiguousarray(Z)
    _check_sizes(factor, names, Z, rows)
    Z.flags.writeable = False
    blocks, start = [], 0
    for part, encoded in written:
        size = len(encoded.names)
        structure: Structure = "independent" if part.independent else "unstructured"
        if asked is not None and size > 1:
            structure = asked
        blocks.append(Block(start, size, structure))
        start += size
    if asked in ("unstructured", "exchangeable", "identity") and len(names) > 1 and all(b.size == 1 for b in blocks):
        raise ModelError(
            f"covariance='{asked}' joins the effects of one written term, but those of '{factor.name}' are written as "
            f"{len(blocks)} terms of one effect each. Write them as one: (1 + x | {factor.name})."
        )
    return RandomTerm(factor, Z, names, tuple(blocks))


def _check_sizes(factor: GroupingFactor, names: tuple[str, ...], Z: np.ndarray, rows: Rows) -> None:
    effects = factor.n_levels * len(names)
    if effects > rows.n_used:
        raise ModelError(
            f"'{factor.name}' has {effects:,} random effects ({factor.n_levels:,} groups x {len(names)}), more than "
            f"the {rows.n_used:,} rows; their variances cannot be told apart. Use fewer random effects."
        )
    if len(names) > 1:
        dependent = dependent_columns(Z, names)
        if dependent:
            column, reason = dependent[0]
            raise ModelError(
                f"The random effect '{names[column]}' of '{factor.name}' is {reason}; its variance cannot be told "
                "apart. Leave it out."
            )


def _structures(covariance: Covariance, factors: Sequence[GroupingFactor]) -> dict[str, Structure]:
    """Return the covariance structure asked for, by grouping factor."""
    if covariance is None:
        return {}
    known = get_args(Structure)
    names = [factor.name for factor in factors]
    wanted = dict(covariance) if isinstance(covariance, Mapping) else dict.fromkeys(names, covariance)
    checked: dict[str, Structure] = {}
    for group, structure in wanted.items():
        if structure not in known:
            raise ModelError(f"covariance={structure!r} is not known; choose one of {', '.join(sorted(known))}.")
        if group not in names:
            raise ModelError(f"covariance= names the group {group!r}, but the model's groups are {', '.join(names)}.")
        checked[group] = cast(Structure, structure)
    return checked
