"""Formula and data in, ``Design`` out: the order of the steps."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from melogit.design import Design, RandomTerm, Wording
from melogit.errors import DataError, FormulaError
from melogit.formula.columns import Values, categorical, predictor
from melogit.formula.fixed import encode
from melogit.formula.given import read_offset, read_outcome, read_weights
from melogit.formula.plan import Plan, is_category_call, plan_formula
from melogit.formula.random_terms import Covariance, build_terms
from melogit.formula.rank import dependent_columns
from melogit.formula.reading import Table, open_table
from melogit.formula.recipe import Recipe, describe_column, remembered
from melogit.formula.response import label
from melogit.formula.rows import Rows, drop_zero_weights, select_rows
from melogit.formula.tokens import formula_error, nearest

FloatArray = NDArray[np.float64]


def build_design(
    formula: str,
    data: Any,
    *,
    covariance: Covariance = None,
    event: object = None,
    trials: str | int | None = None,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    missing: str = "drop",
) -> Design:
    """Turn a formula and a table into a ``Design``.

    Parameters
    ----------
    formula : str
        ``"y ~ x + (1 + x | g)"``; see ``parse_formula`` for the random terms.
    data : data frame, table, relation, dict or path
        See ``read_table``.
    covariance : str or mapping of group to str, optional
        ``independent``, ``unstructured``, ``identity`` or ``exchangeable`` for the terms of several effects.
    event : optional
        The value of the response that is the event; all others count as 0.
    trials : str or int, optional
        Column or number of trials; the response then counts successes (or is a proportion).
    weights : str or array, optional
        Frequency weights: 3 stands for three such rows.
    offset : str or array, optional
        Added to the linear predictor.
    missing : {"drop", "error"}
        What to do with rows that lack a value in any used column.

    Returns
    -------
    Design

    Raises
    ------
    FormulaError, DataError, ModelError

    Examples
    --------
    >>> data = {"y": [0, 1, 1, 0, 1, 0], "x": [1.0, 2, 3, 1, 5, 2], "g": list("aabbcc")}
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # only 3 groups
    ...     build_design("y ~ x + (1 | g)", data).x_names
    ('Intercept', 'x')
    """
    return build(
        formula,
        data,
        covariance=covariance,
        event=event,
        trials=trials,
        weights=weights,
        offset=offset,
        missing=missing,
    )[0]


def build(
    formula: str,
    data: Any,
    *,
    covariance: Covariance = None,
    event: object = None,
    trials: str | int | None = None,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    missing: str = "drop",
) -> tuple[Design, Recipe]:
    """Do the work of ``build_design`` and return the recipe for new data as well."""
    plan = plan_formula(formula)
    table = open_table(data)
    given = {"trials": trials, "weights": weights, "offset": offset}
    extra = {word: name for word, name in given.items() if isinstance(name, str)}
    _check_columns(plan, table, extra)
    rows, weight, used, notes = _used_columns(table, [*plan.columns, *extra.values()], weights, missing)
    outcome = read_outcome(plan, used, event, trials, rows)
    values, unused_notes = _predictors(plan, used, rows)
    fixed = encode(plan.fixed, values, rows)
    dropped = dependent_columns(fixed.values, fixed.names)
    kept = tuple(i for i in range(len(fixed.names)) if i not in dict(dropped))
    groups = {name: used[name] for part, _ in plan.random for name in part.group}
    terms, nested, encoded = build_terms(plan.random, values, groups, rows, covariance)
    _check_identified(terms, outcome.trials, weight, rows)

    wording = Wording(
        formula=formula,
        response=plan.response_text,
        event=outcome.event,
        base_levels=fixed.base_levels,
        dropped_columns=tuple((fixed.names[column], reason) for column, reason in dropped),
        rows_read=rows.n_read,
        rows_used=rows.n_used,
        rows_missing=rows.missing,
        trials=None if trials is None else str(trials),
        weights=_words(weights),
        offset=" + ".join(filter(None, [_words(offset), *(e.text for e in plan.offsets)])) or None,
        notes=(*notes, *outcome.notes, *unused_notes),
    )
    design = Design(
        y=_frozen(outcome.y),
        trials=_frozen(outcome.trials),
        weights=_frozen(weight),
        offset=_frozen(read_offset(plan, offset, used, rows)),
        X=_frozen(fixed.values[:, kept] if dropped else fixed.values),
        x_names=tuple(fixed.names[i] for i in kept),
        terms=terms,
        nested=nested,
        wording=wording,
        row_labels=rows.labels(),
    )
    recipe = Recipe(
        formula=formula,
        fixed=fixed.spec,
        kept=kept,
        random=tuple(part.spec for part in encoded),
        columns=tuple(describe_column(name, values[name]) for name in plan.columns if name in values),
        terms=tuple((term.factor.columns, _parts_of(term, plan)) for term in terms),
        offset=offset if offset is None or isinstance(offset, str) else "",
        outcomes=_outcome_labels(plan, used, outcome.event),
        sample=remembered({name: values[name] for name in plan.columns if name in values}, design.X, design.x_names),
    )
    return design, recipe


def _parts_of(term: RandomTerm, plan: Plan) -> tuple[int, ...]:
    """Which of the written random terms make up this one, in the order of its columns."""
    return tuple(i for i, (part, _) in enumerate(plan.random) if set(part.group) == set(term.factor.columns))


def _outcome_labels(plan: Plan, used: Mapping[str, pd.Series], event: str | None) -> tuple[str, ...]:
    """The values of a response that is not coded 0/1, so that new data can be told from a misspelling."""
    if event is None or not isinstance(plan.response[0].tree, ast.Name):
        return ()
    column = used[next(iter(plan.response[0].columns.values()))]
    return tuple(sorted(label(value) for value in pd.unique(column)))


def _used_columns(
    table: Table, names: Sequence[str], weights: object, missing: str
) -> tuple[Rows, FloatArray, dict[str, pd.Series], tuple[str, ...]]:
    """Read the columns of the model and leave out the rows that do not count, with a sentence for each reason."""
    needed = list(dict.fromkeys(names))
    frame = table.load(needed)
    read = {name: cast(pd.Series, frame[name]) for name in needed}
    rows, notes = select_rows(frame.index, read, missing)
    weight = read_weights(weights, {name: rows.take(column) for name, column in read.items()}, rows)
    rows, weight, weight_notes = drop_zero_weights(rows, weight)
    return rows, weight, {name: rows.take(column) for name, column in read.items()}, (*notes, *weight_notes)


def _check_columns(plan: Plan, table: Table, extra: Mapping[str, str]) -> None:
    known = set(table.names)
    for name, position in plan.columns.items():
        if name not in known:
            raise formula_error(plan.parsed.text, position, f"there is no column '{name}'.{nearest(name, table.names)}")
    for word, name in extra.items():
        if name not in known:
            raise FormulaError(f"{word}='{name}': there is no column '{name}'.{nearest(name, table.names)}")


def _predictors(plan: Plan, used: Mapping[str, pd.Series], rows: Rows) -> tuple[dict[str, Values], tuple[str, ...]]:
    """Convert every column that stands in the fixed part or before a bar; note unused levels."""
    matrices = [plan.fixed, *(matrix for _, matrix in plan.random)]
    plain = {name for matrix in matrices for name in matrix.plain}
    expressions = [e for matrix in matrices for e in matrix.expressions.values()]
    as_numbers = plain.union(*(e.columns.values() for e in expressions if not is_category_call(e)), set())
    values: dict[str, Values] = {}
    notes: list[str] = []
    for name in [*plain, *(c for e in expressions for c in e.columns.values())]:
        if name in values:
            continue
        column = used[name]
        values[name] = predictor(column, name, rows, as_category=name not in as_numbers)
        if isinstance(column.dtype, pd.CategoricalDtype):
            present = set(cast(pd.Categorical, values[name]).categories)
            lost = [str(level) for level in categorical(column).categories if level not in present]
            if lost:
                listed = ", ".join(f"'{level}'" for level in lost[:5]) + (", ..." if len(lost) > 5 else "")
                notes.append(
                    f"{name}: {listed} left out, because no row used has {'it' if len(lost) == 1 else 'them'}."
                )
    return values, tuple(notes)


def _check_identified(terms: Sequence[RandomTerm], trials: FloatArray, weights: FloatArray, rows: Rows) -> None:
    """Refuse a random intercept per row of a 0/1 response: its variance cannot be known."""
    if (trials > 1).any() or (weights > 1).any():
        return
    for term in terms:
        if term.factor.n_levels == rows.n_used:
            raise DataError(
                f"'{term.factor.name}' has {rows.n_used:,} groups in {rows.n_used:,} rows: a random intercept per row "
                "of a 0/1 response is not identified. Group by something that repeats; for independent rows, plain "
                "logistic regression is the method (statsmodels' Logit)."
            )


def _words(given: object) -> str | None:
    return given if given is None or isinstance(given, str) else "given as numbers"


def _frozen(array: FloatArray) -> FloatArray:
    array = np.ascontiguousarray(array, dtype=np.float64)
    array.flags.writeable = False
    return array
