"""Turn the terms of a formula into a matrix, by formulaic, with our names and our checks."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from formulaic import ModelSpec
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.materializers import PandasMaterializer
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor
from formulaic.transforms import TRANSFORMS
from formulaic.transforms import contrasts as formulaic_contrasts
from formulaic.transforms.contrasts import TreatmentContrasts
from formulaic.utils.layered_mapping import LayeredMapping
from formulaic.utils.variables import Variable
from interface_meta import override
from numpy.typing import NDArray

from melogit.errors import DataError, DataWarning, warn
from melogit.formula import whitelist
from melogit.formula.columns import Values
from melogit.formula.plan import Matrix, is_category_call
from melogit.formula.rows import Rows
from melogit.machine import memory

MANY_COLUMNS = 1_000
MAX_COLUMNS = 20_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """A numeric matrix with the names of its columns and the recipe to build it again.

    Attributes
    ----------
    values : (n, k) float64
    names : tuple of str
    base_levels : tuple of (factor, level)
    spec : formulaic.ModelSpec
        Levels, knots and polynomial bases, for new data; None for a constant alone.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    base_levels: tuple[tuple[str, str], ...]
    spec: ModelSpec | None


def encode(matrix: Matrix, values: Mapping[str, Values], rows: Rows) -> Encoded:
    """Build the matrix of one side of the formula.

    Parameters
    ----------
    matrix : Matrix
    values : mapping of str to array or Categorical
        The used rows of every column that the matrix needs, without missing values.
    rows : Rows
        To name rows in messages.

    Returns
    -------
    Encoded
    """
    if is_constant(matrix):  # the commonest random term; formulaic would take a millisecond
        return Encoded(np.ones((rows.n_used, 1)), ("Intercept",), (), None)
    _check_size(matrix, values, rows.n_used)
    columns = sorted(set(matrix.plain).union(*(e.columns.values() for e in matrix.expressions.values())))
    frame = pd.DataFrame({name: values[name] for name in columns}, index=pd.RangeIndex(rows.n_used), copy=False)
    materializer = _Materializer(frame)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # a value that is not finite is reported below
            built = materializer.get_model_matrix(matrix.terms, output="numpy", na_action="ignore")
    except FormulaicError as error:
        raise _readable(matrix, values, error) from error
    except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise DataError(f"the predictors cannot be computed: {error}") from error
    finally:
        # formulaic's objects refer to each other; do not leave the columns to the garbage collector.
        materializer.factor_cache.clear()
        materializer.encoded_cache.clear()
    spec = cast(ModelSpec, built.model_spec)
    array = np.ascontiguousarray(built, dtype=np.float64)
    names = tuple(spec.column_names)
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if repeated is not None:
        raise DataError(f"Two columns of the model would be called '{repeated}'. Rename the data column of that name.")
    _check_finite(array, names, rows)
    _check_levels(spec, values)
    return Encoded(array, names, _base_levels(spec), spec)


def encode_again(spec: ModelSpec, values: Mapping[str, Values], n: int) -> NDArray[np.float64]:
    """Build the matrix of a spec from other values, (n, k).

    Parameters
    ----------
    spec : formulaic.ModelSpec
        From ``Encoded``, or a subset of its terms.
    values : mapping of str to array or Categorical
        Columns of ``n`` values without missing ones.
    n : int

    Raises
    ------
    DataError
        A value that the fitted data did not have in a ``C()``, or for which a term cannot be computed.
    """
    frame = pd.DataFrame(dict(values), index=pd.RangeIndex(n), copy=False)
    materializer = _Materializer(frame)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("error", DataMismatchWarning)
            built = materializer.get_model_matrix(spec, output="numpy", na_action="ignore")
    except DataMismatchWarning as error:
        found = str(error).rpartition("{")[2].partition("}")[0]
        raise DataError(
            f"A predictor that is made into categories, C(...), has values that the fitted data did not have: {found}."
        ) from error
    except (FormulaicError, ValueError, TypeError, ArithmeticError) as error:
        raise DataError(f"the predictors cannot be computed: {str(error).splitlines()[0]}") from error
    finally:
        materializer.factor_cache.clear()
        materializer.encoded_cache.clear()
    array = np.ascontiguousarray(built, dtype=np.float64)
    if not np.isfinite(array).all():
        bad = ~np.isfinite(array)
        column = int(bad.any(axis=0).argmax())
        raise DataError(
            f"the term '{spec.column_names[column]}' is not a finite number in {int(bad[:, column].sum()):,} of {n:,} "
            "rows, such as the logarithm of a value that is not positive."
        )
    return array


def spec_again(
    matrix: Matrix, transforms: dict[str, Any], categories: Mapping[str, list], values: Mapping[str, Values]
) -> ModelSpec:
    """Rebuild the recipe of a matrix from what was recorded of it.

    Parameters
    ----------
    matrix : Matrix
    transforms : dict of expression -> state
        Knots, polynomial bases, means and scales.
    categories : mapping of expression -> levels
    values : mapping of str to array or Categorical
        One permissible value of every column.
    """
    known = {name: (Factor.Kind.CATEGORICAL, {"categories": levels}) for name, levels in categories.items()}
    spec = ModelSpec(formula=matrix.terms, output="numpy", transform_state=transforms, encoder_state=known)
    materializer = _Materializer(pd.DataFrame(dict(values), index=pd.RangeIndex(1)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the one row only serves to find the columns
        built = materializer.get_model_matrix(spec, output="numpy", na_action="ignore")
    return cast(ModelSpec, built.model_spec)


def is_constant(matrix: Matrix) -> bool:
    """Tell whether a side of the formula is 1 and nothing else."""
    return len(matrix.terms) == 1 and not matrix.plain and not matrix.expressions


class _Materializer(PandasMaterializer):
    """formulaic's own, with booleans as two categories and ``x[b]`` instead of ``x[T.b]``."""

    REGISTER_NAME = "melogit"
    REGISTER_INPUTS = ()
    REGISTER_OUTPUTS = ("numpy",)

    @override
    def _lookup(self, name: str) -> tuple[Any, set[Variable]]:
        return self.data_context[name], {Variable(name, roles=("value",), source="data")}

    @override
    def _evaluate(self, expr: str, metadata: Any, spec: ModelSpec) -> tuple[Any, set[Variable]]:
        # Columns may have the names of functions: log(log) is the logarithm of the column 'log'.
        called = {name: _FUNCTIONS[name] for name in _CALL.findall(expr) if name in _FUNCTIONS}
        self.layered_context = LayeredMapping(called, self.data_context, _FUNCTIONS)
        return super()._evaluate(expr, metadata, spec)

    @override
    def _is_categorical(self, values: Any) -> bool:
        dtype = getattr(values, "dtype", None)
        return (isinstance(dtype, np.dtype) and dtype.kind == "b") or super()._is_categorical(values)

    @override
    def _flatten_encoded_evaled_factor(self, name: str, values: FactorValues[dict]) -> dict[str, Any]:
        metadata = getattr(values, "__formulaic_metadata__", None)
        if metadata is not None and metadata.format_reduced == TreatmentContrasts.FACTOR_FORMAT_REDUCED:
            metadata.format = metadata.format_reduced = TreatmentContrasts.FACTOR_FORMAT
        return super()._flatten_encoded_evaled_factor(name, values)


def _category(data: Any, contrasts: Any = None, *, levels: Any = None) -> FactorValues:
    """Formulaic's ``C`` with whole numbers as levels 1, 2, 3 rather than 1.0, 2.0, 3.0."""
    values = data.__wrapped__ if isinstance(data, FactorValues) else data
    array = np.asarray(values)
    if array.dtype.kind == "f" and (array == np.floor(array)).all() and (np.abs(array) < 2**53).all():
        values = pd.Series(array.astype(np.int64))
    if levels is not None:
        extra = sorted(set(pd.unique(pd.Series(values))) - set(levels), key=str)
        if extra:
            raise ValueError(f"levels={list(levels)!r} leaves out {str(extra[0])!r}, which is in the data")
    return formulaic_contrasts.C(values, contrasts, levels=levels)


_CALL = re.compile(r"(\w+)\s*\(")
_FUNCTIONS: dict[str, Any] = {
    **{name: TRANSFORMS[name] for name in (*whitelist.TRANSFORMS, *whitelist.CONTRAST_NAMES)},
    **whitelist.ELEMENTWISE,
    "C": _category,
}


def _check_size(matrix: Matrix, values: Mapping[str, Values], n: int) -> None:
    """Estimate the columns before they are made: an id used as a predictor would fill the memory."""
    total, widest = 0, (1, "")
    for term in matrix.terms:
        width = 1
        for factor in term.factors:
            if factor.eval_method is Factor.EvalMethod.LITERAL:
                continue
            levels = _levels(factor.expr, matrix, values)
            width *= levels
            widest = max(widest, (levels, factor.expr))
        total += width
    # The matrix, and the square matrices of contrasts and of second derivatives.
    needed = 8.0 * total * n + 16.0 * total**2
    limit = _memory_limit()
    if needed > limit or total > MAX_COLUMNS:
        allowed = f"{limit / 2**30:.1f} GiB" if needed > limit else f"{MAX_COLUMNS:,} columns"
        raise DataError(
            f"The fixed part would make about {total:,} columns of {n:,} rows, {needed / 2**30:.1f} GiB; the limit is "
            f"{allowed}. '{widest[1]}' has {widest[0]:,} levels: use it as a grouping column, "
            f"(1 | {widest[1]})."
        )
    if total > MANY_COLUMNS:
        warn(
            f"The fixed part makes about {total:,} columns, because '{widest[1]}' has {widest[0]:,} levels. "
            f"Is it a grouping column, (1 | {widest[1]}), or a number stored as text?",
            DataWarning,
        )


def _levels(expression: str, matrix: Matrix, values: Mapping[str, Values]) -> int:
    if expression in matrix.plain:
        column = values[expression]
        return len(column.categories) if isinstance(column, pd.Categorical) else 1
    checked = matrix.expressions[expression]
    if is_category_call(checked) and len(checked.columns) == 1:
        column = values[next(iter(checked.columns.values()))]
        return len(column.categories) if isinstance(column, pd.Categorical) else len(pd.unique(column))
    return 1


def _memory_limit() -> float:
    """Half of the machine's memory, or 4 GiB where the system does not tell."""
    return 0.5 * memory() if math.isfinite(memory()) else 4.0 * 2**30


def _readable(matrix: Matrix, values: Mapping[str, Values], error: FormulaicError) -> DataError:
    """Say which term could not be computed, and that a text column stands in it where that is so."""
    message = str(error).splitlines()[0]
    for name, expression in matrix.expressions.items():
        if f"`{name}`" in message:
            reason = message.partition("[")[2].rpartition("]")[0] or message
            reason = reason.partition(": ")[2] or reason
            texts = [c for c in expression.columns.values() if isinstance(values[c], pd.Categorical)]
            hint = f" Column '{texts[0]}' is not numeric." if texts else ""
            return DataError(f"'{name}' cannot be computed: {reason}.{hint}")
    return DataError(f"the predictors cannot be computed: {message}")


def _check_finite(array: NDArray[np.float64], names: tuple[str, ...], rows: Rows) -> None:
    if np.isfinite(array.sum()) or np.isfinite(array).all():
        return
    bad = ~np.isfinite(array)
    column = int(bad.any(axis=0).argmax())
    row = int(bad[:, column].argmax())
    count = int(bad[:, column].sum())
    raise DataError(
        f"the term '{names[column]}' is not a finite number in {count:,} row{'s' if count > 1 else ''} "
        f"(first {rows.name(row)}), such as the logarithm of a value that is not positive. "
        "Change the transformation or leave those rows out."
    )


def _check_levels(spec: ModelSpec, values: Mapping[str, Values]) -> None:
    for expression, (kind, state) in spec.encoder_state.items():
        levels = state.get("categories")
        if kind is Factor.Kind.CATEGORICAL and levels is not None and len(levels) < 2:
            only = f"'{levels[0]}'" if len(levels) else "none"
            raise DataError(
                f"'{expression}' has one level ({only}) in the rows used, so it explains nothing. Leave it out."
            )


def _base_levels(spec: ModelSpec) -> tuple[tuple[str, str], ...]:
    """Return the reference level of each factor that is coded against one."""
    found: dict[str, str] = {}
    for _, scoped_terms, _ in spec.structure or ():
        for scoped_term in scoped_terms:
            for scoped in scoped_term.factors:
                state = spec.encoder_state.get(scoped.factor.expr, (None, {}))[1]
                contrasts = state.get("contrasts")
                if scoped.reduced and contrasts is not None and isinstance(contrasts.contrasts, TreatmentContrasts):
                    base = contrasts.contrasts.get_drop_field(contrasts.levels, reduced_rank=False)
                    found.setdefault(scoped.factor.expr, str(base))
    return tuple(found.items())
