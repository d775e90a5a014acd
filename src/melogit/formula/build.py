"""Formula and data in, ``Design`` out: the order of the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic import ModelSpec
from numpy.typing import ArrayLike, NDArray

from melogit.design import Design, RandomTerm, Wording
from melogit.errors import DataError, FormulaError
from melogit.formula import response
from melogit.formula.columns import Values, is_boolean, is_numeric, numbers, predictor
from melogit.formula.fixed import encode
from melogit.formula.plan import Plan, is_category_call, plan_formula
from melogit.formula.random_terms import Covariance, build_terms
from melogit.formula.rank import dependent_columns
from melogit.formula.reading import Table, open_table
from melogit.formula.rows import Rows, drop_zero_weights, select_rows
from melogit.formula.tokens import formula_error, nearest
from melogit.formula.whitelist import Expression, evaluate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build the same matrices from new data.

    Attributes
    ----------
    formula : str
    fixed : formulaic.ModelSpec
        Levels, knots and polynomial bases of the fixed part.
    kept : tuple of int
        The columns of ``fixed`` that are in the model.
    random : tuple of ModelSpec
        One per written random term, after ``a/b`` is multiplied out.
    """

    formula: str
    fixed: ModelSpec
    kept: tuple[int, ...]
    random: tuple[ModelSpec, ...]


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
    extra = {
        word: name
        for word, name in (("trials", trials), ("weights", weights), ("offset", offset))
        if isinstance(name, str)
    }
    _check_columns(plan, table, extra)
    needed = list(dict.fromkeys([*plan.columns, *extra.values()]))
    frame = table.load(needed)
    used = {name: frame[name] for name in needed}
    rows, notes = select_rows(frame.index, used, missing)
    weight, weight_rows = _weights(used, weights, rows)
    rows, weight, weight_notes = drop_zero_weights(weight_rows, weight)
    notes += weight_notes
    used = {name: _used_rows(column, rows) for name, column in used.items()}
    outcome = _outcome(plan, used, event, trials, rows)
    values, unused = _predictors(plan, used, rows)
    fixed = encode(plan.fixed, values, rows)
    dropped = dependent_columns(fixed.values, fixed.names)
    out = {column for column, _ in dropped}
    kept = tuple(i for i in range(len(fixed.names)) if i not in out)
    X = np.ascontiguousarray(fixed.values[:, kept]) if out else fixed.values
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
        weights=_text(weights),
        offset=" + ".join([*([_text(offset) or ""] if offset is not None else []), *(e.text for e in plan.offsets)])
        or None,
        notes=(*notes, *outcome.notes, *unused),
    )
    design = Design(
        y=_frozen(outcome.y),
        trials=_frozen(outcome.trials),
        weights=_frozen(weight),
        offset=_frozen(_offset(plan, used, offset, values, rows)),
        X=_frozen(X),
        x_names=tuple(fixed.names[i] for i in kept),
        terms=terms,
        nested=nested,
        wording=wording,
        row_labels=rows.labels(),
    )
    return design, Recipe(formula, fixed.spec, kept, tuple(part.spec for part in encoded))


def _check_columns(plan: Plan, table: Table, extra: Mapping[str, str]) -> None:
    known = set(table.names)
    for name, position in plan.columns.items():
        if name not in known:
            raise formula_error(plan.parsed.text, position, f"there is no column '{name}'.{nearest(name, table.names)}")
    for word, name in extra.items():
        if name not in known:
            raise FormulaError(f"{word}='{name}': there is no column '{name}'.{nearest(name, table.names)}")


def _used_rows(column: pd.Series, rows: Rows) -> pd.Series:
    return column if rows.keep is None else column.take(rows.keep)


def _weights(used: Mapping[str, pd.Series], weights: object, rows: Rows) -> tuple[FloatArray, Rows]:
    if weights is None:
        return np.ones(rows.n_used), rows
    if isinstance(weights, str):
        column = _used_rows(used[weights], rows)
        if not is_numeric(column):
            raise DataError(f"weights='{weights}': the column is not numeric.")
        array, what = numbers(column, weights, rows), f"weights '{weights}'"
    else:
        array, what = _given(weights, "weights", used, rows), "weights"
    if (array < 0).any():
        i = int((array < 0).argmax())
        raise DataError(f"{rows.name(i)}: {what} = {array[i]:g} is negative; a weight counts rows.")
    if (array != np.round(array)).any():
        i = int((array != np.round(array)).argmax())
        raise DataError(
            f"{rows.name(i)}: {what} = {array[i]:.6g} is not a whole number. These are frequency weights: 3 stands for "
            "three such rows. Sampling or precision weights are something else and cannot be used in their place."
        )
    return array, rows


def _given(values: object, word: str, used: Mapping[str, pd.Series], rows: Rows) -> FloatArray:
    """Read an array given beside the data: one number per row of the data."""
    if isinstance(values, pd.Series) and len(values) == rows.n_read and not values.index.equals(rows.index):
        raise DataError(f"{word}= is a Series whose index differs from that of the data; give {word}.to_numpy().")
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{word}= must be a column name or numbers, one per row.") from error
    if array.ndim != 1 or len(array) != rows.n_read:
        raise DataError(
            f"{word}= has {array.shape if array.ndim != 1 else len(array)} values, the data have {rows.n_read:,} rows."
        )
    array = array if rows.keep is None else array[rows.keep]
    if not np.isfinite(array).all():
        i = int((~np.isfinite(array)).argmax())
        raise DataError(f"{rows.name(i)}: {word} = {array[i]} is not a finite number.")
    return array.copy()


def _number_column(used: Mapping[str, pd.Series], name: str, word: str, rows: Rows) -> FloatArray:
    if not is_numeric(used[name]):
        raise DataError(f"{word}='{name}': the column is not numeric.")
    return numbers(used[name], name, rows)


def _outcome(
    plan: Plan, used: Mapping[str, pd.Series], event: object, trials: str | int | None, rows: Rows
) -> response.Outcome:
    name = plan.response_text
    if len(plan.response) == 2 or trials is not None:
        if event is not None:
            raise DataError("event= is for a response with one outcome per row, not for counts of successes.")
        if len(plan.response) == 2 and trials is not None:
            raise DataError("Give the trials once: either cbind(successes, failures) or trials=.")
        numeric = [_response_numbers(expression, used, rows) for expression in plan.response]
        if len(numeric) == 2:
            return response.counts(numeric[0], numeric[1], name, rows)
        if isinstance(trials, str):
            n = _number_column(used, trials, "trials", rows)
        elif isinstance(trials, (int, np.integer)) and not isinstance(trials, bool):
            n = np.full(rows.n_used, float(trials))
        else:
            raise DataError(f"trials={trials!r} must be a column name or a whole number.")
        return response.of_trials(numeric[0], n, name, rows)
    expression = plan.response[0]
    column = expression.columns.get(expression.text.strip("`")) if len(expression.columns) == 1 else None
    if _is_plain(expression):
        return response.binary(used[next(iter(expression.columns.values()))], name, rows, event)
    result = _computed(expression, {c: _raw(used[c], c, rows) for c in expression.columns.values()}, rows)
    return response.binary(pd.Series(result), column or name, rows, event)


def _is_plain(expression: Expression) -> bool:
    return type(expression.tree).__name__ == "Name"


def _raw(column: pd.Series, name: str, rows: Rows) -> NDArray:
    """Return a column for arithmetic: numbers and booleans as such, the rest as text to compare with."""
    if is_boolean(column):
        return column.to_numpy(dtype=bool)
    return numbers(column, name, rows) if is_numeric(column) else column.to_numpy(dtype=object)


def _response_numbers(expression: Expression, used: Mapping[str, pd.Series], rows: Rows) -> FloatArray:
    for name in expression.columns.values():
        if not is_numeric(used[name]) and not is_boolean(used[name]):
            raise DataError(f"column '{name}' is not numeric, but '{expression.text}' counts successes or failures.")
    return _computed(expression, {c: _raw(used[c], c, rows) for c in expression.columns.values()}, rows)


def _computed(expression: Expression, values: Mapping[str, Any], rows: Rows) -> NDArray:
    """Evaluate an elementwise expression; the result has one finite value per row."""
    try:
        result = np.asarray(evaluate(expression, values))
        if result.dtype != bool:
            result = result.astype(np.float64)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise DataError(f"'{expression.text}' cannot be computed: {error}.") from error
    result = np.broadcast_to(result, (rows.n_used,)) if result.ndim == 0 else result
    if result.dtype != bool and not np.isfinite(result).all():
        i = int((~np.isfinite(result)).argmax())
        raise DataError(f"'{expression.text}' is not a finite number in {rows.name(i)}.")
    return result


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
            present = values[name].categories  # type: ignore[union-attr]
            lost = [str(level) for level in column.array.categories if level not in present]
            if lost:
                listed = ", ".join(f"'{level}'" for level in lost[:5]) + (", ..." if len(lost) > 5 else "")
                notes.append(
                    f"{name}: {listed} left out, because no row used has {'it' if len(lost) == 1 else 'them'}."
                )
    return values, tuple(notes)


def _offset(
    plan: Plan, used: Mapping[str, pd.Series], offset: object, values: Mapping[str, Values], rows: Rows
) -> FloatArray:
    total = np.zeros(rows.n_used)
    if isinstance(offset, str):
        total += _number_column(used, offset, "offset", rows)
    elif offset is not None:
        total += _given(offset, "offset", used, rows)
    for expression in plan.offsets:
        for name in expression.columns.values():
            if not is_numeric(used[name]):
                raise DataError(f"column '{name}' is not numeric, but stands in offset({expression.text}).")
        total += _computed(expression, {c: _raw(used[c], c, rows) for c in expression.columns.values()}, rows)
    return total


def _check_identified(terms: Sequence[RandomTerm], trials: FloatArray, weights: FloatArray, rows: Rows) -> None:
    """A random intercept per row of a 0/1 response is not identified."""
    if (trials > 1).any() or (weights > 1).any():
        return
    for term in terms:
        if term.factor.n_levels == rows.n_used:
            raise DataError(
                f"'{term.factor.name}' has {rows.n_used:,} groups in {rows.n_used:,} rows: a random intercept per row of a 0/1 "
                "response is not identified. Group by something that repeats."
            )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return "given as numbers"


def _frozen(array: FloatArray) -> FloatArray:
    array = np.ascontiguousarray(array, dtype=np.float64)
    array.flags.writeable = False
    return array
