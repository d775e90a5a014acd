"""Other forms of a predictor, tried in the model, with the formula that gives them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics.context import Context, Predictor, refit, without_columns
from melogit.diagnostics.extension import extend
from melogit.diagnostics.splines import knots_of, spline_terms
from melogit.errors import ModelError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Remedy:
    """One form: how it is written, what it costs and gains.

    ``gain`` is the AIC of the present model minus that with this form.
    """

    form: str
    words: str
    formula: str
    df: int
    gain: float


def remedies(context: Context, predictor: Predictor, column: int) -> list[Remedy]:
    """Try logarithm, square root, square and spline in place of a predictor's straight line; best first.

    Empty where it enters the model as a function of the data column or in products: then the form is the user's own.
    """
    if not predictor.plain:
        return []
    x, name = context.design.X[:, column], predictor.name
    shown = name if name.isidentifier() else f"`{name}`"
    found = []
    if x.min() > 0:
        found.append(_instead(context, column, np.log(x), f"log({shown})", "as its logarithm", shown))
    if x.min() >= 0:
        found.append(_instead(context, column, np.sqrt(x), f"sqrt({shown})", "as its square root", shown))
    found.append(_besides(context, x[:, None] ** 2, f"poly({shown}, degree=2)", "with its square", shown))
    knots = knots_of(x)
    if len(knots) >= 4:
        df = len(knots) - 1
        form = f'cr({shown}, df={df}, constraints="center")'
        found.append(_besides(context, spline_terms(x, knots), form, "as a natural cubic spline", shown))
    return sorted((r for r in found if r is not None and r.gain > 0), key=lambda r: -r.gain)


def _instead(context: Context, column: int, values: FloatArray, form: str, words: str, shown: str) -> Remedy | None:
    """The same number of parameters: another column in the predictor's place."""
    design = without_columns(context.design, (column,))
    design = replace(
        design, X=np.ascontiguousarray(np.column_stack([design.X, values])), x_names=(*design.x_names, form)
    )
    try:
        fit = refit(context, design)
    except ModelError:
        return None
    return Remedy(
        form, words, rewritten(context.fit.wording.formula, shown, form), 1, 2 * (fit.loglik - context.fit.loglik)
    )


def _besides(context: Context, columns: FloatArray, form: str, words: str, shown: str) -> Remedy | None:
    try:
        made = extend(context, columns, [f"{form} {j}" for j in range(columns.shape[1])])
    except ModelError:
        return None
    gain = made.lr - 2 * made.df
    return Remedy(form, words, rewritten(context.fit.wording.formula, shown, form), 1 + made.df, gain)


def rewritten(formula: str, shown: str, form: str) -> str:
    """The formula with another form of a predictor in its fixed part.

    The response and what stands within ``( ... | ... )`` stay as they are.
    """
    response, _, right = formula.partition("~")
    pieces = re.split(r"(\([^()|]*\|[^()]*\))", right)
    pattern = rf"(?<![\w.`]){re.escape(shown)}(?![\w.`(])"
    # A replacement through a function: form may hold backslashes.
    changed = [p if "|" in p else re.sub(pattern, lambda _: form, p) for p in pieces]
    return f"{response}~{''.join(changed)}"


def instead_of(formula: str, names: Sequence[str], form: str) -> str:
    """The formula with one form in place of several of its terms; empty where they are not all plain terms of it.

    Examples
    --------
    >>> instead_of("y ~ a + b + c + (1 | g)", ["a", "c"], "PC1")
    'y ~ PC1 + b + (1 | g)'
    """
    response, _, right = formula.partition("~")
    terms = [term.strip() for term in right.split("+")]
    asked = [name if name.isidentifier() else f"`{name}`" for name in names]
    if not set(asked) <= set(terms):
        return ""
    first = next(k for k, term in enumerate(terms) if term in asked)
    kept = [form if k == first else term for k, term in enumerate(terms) if k == first or term not in asked]
    return f"{response.strip()} ~ {' + '.join(kept)}"
