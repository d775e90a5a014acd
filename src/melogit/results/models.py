"""Fits as the columns of one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from melogit.errors import ModelError
from melogit.inference import critical_value
from melogit.report import coefficient_rows, count
from melogit.report.models import Line, ModelTable
from melogit.results import tables
from melogit.results.inferences import is_robust
from melogit.results.results import Results

Below = Literal["std_err", "ci", "p", "z"]
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
BELOW = {"std_err": "standard errors", "ci": "confidence intervals", "p": "p-values", "z": "z statistics"}


def model_table(
    *models: Results,
    names: Sequence[str] | None = None,
    odds_ratios: bool = False,
    below: Below | None = "std_err",
    stars: bool = False,
    decimals: int = 3,
    title: str = "",
    level: float = 0.95,
) -> ModelTable:
    """Models side by side: fixed effects, variances and fit statistics, for screen and paper.

    Parameters
    ----------
    *models : Results
    names : sequence of str, optional
        Heads of the columns; ``(1), (2), ...`` by default.
    odds_ratios : bool
        Odds ratios in place of coefficients.
    below : {"std_err", "ci", "p", "z"} or None
        What stands below each estimate.
    stars : bool
        Mark p-values of fixed effects below 0.05, 0.01 and 0.001.
    decimals : int
    title : str
    level : float
        Of the intervals.

    Returns
    -------
    ModelTable
        With ``to_text``, ``to_markdown``, ``to_html``, ``to_latex`` and ``to_docx`` (Word).

    Examples
    --------
    >>> import melogit as me
    >>> data = me.load_dataset("hospital")
    >>> one = me.melogit("remission ~ Age + (1 | DID)", data)
    >>> two = me.melogit("remission ~ Age + CancerStage + (1 | DID)", data)
    >>> table = me.model_table(one, two, odds_ratios=True, below="ci")
    >>> print(table.to_markdown().splitlines()[0])
    |  | (1)<br/>remission | (2)<br/>remission |
    """
    critical_value(level)
    if not models or not all(isinstance(model, Results) for model in models):
        raise ModelError("model_table needs fitted models: model_table(first, second, ...).")
    if below not in (*BELOW, None):
        raise ModelError(f"below={below!r} is not one of {', '.join(map(repr, BELOW))} or None.")
    heads = list(names) if names is not None else [f"({k})" for k in range(1, len(models) + 1)]
    if len(heads) != len(models):
        raise ModelError(f"names has {len(heads)} entries for {len(models)} models.")
    panels = (
        ("Odds ratios" if odds_ratios else "Fixed effects", _fixed(models, odds_ratios, below, stars, decimals, level)),
        ("Variances of the random effects", _variances(models, below, decimals, level)),
        ("", _statistics(models)),
    )
    return ModelTable(
        title,
        tuple(map(str, heads)),
        tuple(model.fit.wording.response for model in models),
        panels,
        tuple(_notes(models, below, stars, level)),
    )


def _number(value: float, decimals: int) -> str:
    if np.isnan(value):
        return ""
    if np.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    small = value != 0 and abs(value) < 0.5 * 10**-decimals
    return f"{value:.{decimals}e}" if small or abs(value) >= 1e7 else f"{value:.{decimals}f}"


def _beneath(kind: str | None, values: dict[str, float], decimals: int) -> str:
    if kind is None:
        return ""
    if kind == "ci":
        low, high = values["ci_low"], values["ci_high"]
        return "" if np.isnan(low) else f"[{_number(low, decimals)}, {_number(high, decimals)}]"
    value = values.get(kind, np.nan)
    if np.isnan(value):
        return ""
    return f"({value:.3f})" if kind in ("p", "z") else f"({_number(value, decimals)})"


def _fixed(models: Sequence[Results], odds: bool, below: str | None, stars: bool, decimals: int, level: float):
    columns = [
        (tables.odds_ratios(m.fit, level) if odds else tables.coefficients(m.fit, level)).rename(
            columns={"odds_ratio": "estimate"}
        )
        for m in models
    ]
    names = list(dict.fromkeys(str(name) for table in columns for name in table.index))
    bases = {name: base for model in models for name, base in model.fit.wording.base_levels}
    rows = coefficient_rows({name: [0.0] for name in names}, list(bases.items()))
    order = iter([*(n for n in names if n != "Intercept"), *(n for n in names if n == "Intercept")])
    lines = []
    for row in rows:
        if not row.values:
            lines.append(Line(row.label))
        elif row.remark:
            cells = tuple("(base)" if _has(table, lines) else "" for table in columns)
            lines.append(Line(row.label, cells, level=True))
        else:
            name = next(order)
            found = [table.loc[name].to_dict() if name in table.index else None for table in columns]
            cells = tuple(_cell(v, stars, decimals) if v else "" for v in found)
            under = tuple(_beneath(below, v, decimals) if v else "" for v in found)
            lines.append(Line(row.label, cells, under, row.level))
    return tuple(lines)


def _has(table: Any, lines: list[Line]) -> bool:
    """Whether a model has the factor whose heading was written last."""
    heading = next(line.label for line in reversed(lines) if not line.cells)
    return any(str(name).startswith(f"{heading}[") for name in table.index)


def _cell(values: dict[str, float], stars: bool, decimals: int) -> str:
    mark = next((sign for limit, sign in STARS if values["p"] < limit), "") if stars else ""
    return _number(values["estimate"], decimals) + mark


def _variances(models: Sequence[Results], below: str | None, decimals: int, level: float):
    columns = [tables.variance_components(m.fit, level) for m in models]
    keys = list(dict.fromkeys(key for table in columns for key in table.index))
    kind = below if below in ("std_err", "ci") else None
    lines, group = [], None
    for name, label in sorted(keys, key=lambda key: [k[0] for k in keys].index(key[0])):
        if name != group:
            lines.append(Line(str(name)))
            group = name
        found = [table.loc[(name, label)].to_dict() if (name, label) in table.index else None for table in columns]
        cells = tuple(_number(v["estimate"], decimals) if v else "" for v in found)
        under = tuple(_beneath(kind, v, decimals) if v else "" for v in found)
        lines.append(Line(str(label), cells, under, level=True))
    return tuple(lines)


def _statistics(models: Sequence[Results]):
    def icc(model: Results) -> str:
        try:
            return f"{model.icc()['icc'].iloc[-1]:.3f}"
        except ModelError:  # random slopes only
            return ""

    groups = list(dict.fromkeys(name for model in models for name in model.groups.index))
    rows = [("Observations", [count(model.nobs) for model in models])]
    for name in groups:
        counts = [count(m.groups.loc[name, "groups"]) if name in m.groups.index else "" for m in models]
        rows.append((f"Groups: {name}", counts))
    rows += [
        ("ICC", [icc(model) for model in models]),
        ("Log-likelihood", [f"{model.llf:.2f}" for model in models]),
        ("AIC", [f"{model.aic:.2f}" for model in models]),
        ("BIC", [f"{model.bic:.2f}" for model in models]),
    ]
    return tuple(Line(label, tuple(cells)) for label, cells in rows)


def _notes(models: Sequence[Results], below: str | None, stars: bool, level: float) -> list[str]:
    notes = []
    if below is not None:
        what = f"{level * 100:g}% confidence intervals" if below == "ci" else BELOW[below]
        notes.append(f"Below the estimates: {what}.")
    robust = [f"({k})" for k, model in enumerate(models, 1) if is_robust(model.fit)]
    if robust:
        notes.append(f"Robust standard errors: {', '.join(robust)}.")
    if stars:
        notes.append("* p < 0.05, ** p < 0.01, *** p < 0.001.")
    bad = [f"({k})" for k, model in enumerate(models, 1) if not model.converged and "infinite" not in model.status]
    if bad:
        notes.append(f"NOT CONVERGED: {', '.join(bad)}. These columns are not maximum-likelihood estimates.")
    return notes
