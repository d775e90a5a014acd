"""Separation and sparse data: coefficients that are infinite, or rest on too few events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.diagnostics.context import Context, row_name
from melogit.fit.separation import Separation, find_separation
from melogit.fit.types import Status
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import cell
from melogit.report.numbers import count

FloatArray = NDArray[np.float64]

ENOUGH, FEW = 10.0, 5.0  # events (or their opposite, whichever are fewer) per coefficient
FEW_IN_LEVEL = 5.0  # events or non-events in a level of a factor
SAME_SHARE = 0.8  # of groups in which all rows agree
FAR = 10.0  # log odds over a predictor's range: then separation is looked for although the fit is finite
ROWS_SHOWN = 10
REFERENCES = (
    "Albert, A. and Anderson, J. A. (1984). On the existence of maximum likelihood estimates in logistic regression "
    "models. Biometrika 71, 1-10.",
    "Konis, K. (2007). Linear programming algorithms for detecting separated data in binary logistic regression "
    "models. DPhil thesis, University of Oxford.",
    "Peduzzi, P., Concato, J., Kemper, E., Holford, T. R. and Feinstein, A. R. (1996). A simulation study of the "
    "number of events per variable in logistic regression analysis. J. Clin. Epidemiol. 49, 1373-1379.",
)


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a factor with its events and non-events, weights counted."""

    factor: str
    level: str
    events: float
    others: float


def check(context: Context) -> Check:
    """Look for separation by linear programming, and for coefficients that few events carry."""
    design = context.design
    found = _separation(context)
    events, others = event_counts(design)
    parameters = sum(name != "Intercept" for name in design.x_names)
    per = min(events, others) / max(parameters, 1)
    levels = [level for level in _levels(context) if min(level.events, level.others) < FEW_IN_LEVEL]
    same = _without_variation(design)
    most = [(name, share) for name, _, share in same if share > SAME_SHARE]
    if found is not None or per < FEW:
        verdict = Verdict.PROBLEM
    else:
        verdict = Verdict.LOOK if per < ENOUGH or levels or most else Verdict.FINE
    advice, code = _advice(context, found, per, levels, most)
    measures = [
        Measure("events per coefficient", per, note=f"{count(events)} events, {count(others)} others, {parameters}"),
        Measure("rows that separate", 0.0 if found is None else float(found.rows.sum())),
    ]
    tables = [_group_table(same)]
    if found is not None:
        tables.insert(0, _row_table(design, found))
    if levels:
        rows = tuple((v.factor, v.level, v.events, v.others) for v in levels)
        tables.insert(0, CheckTable("Levels with few events", ("factor", "level", "events", "others"), rows))
    return Check(
        key="separation",
        title="Separation and sparse data",
        verdict=verdict,
        tested="Whether some combination of predictors tells events from others without error (linear programming); "
        "how many events there are for each coefficient and each level of a factor; and in how many groups all agree.",
        measures=tuple(measures),
        tables=tuple(tables),
        meaning=_meaning(context, found, per, parameters, levels, most),
        advice=advice,
        code=code,
        pictures=_pictures(context),
        references=REFERENCES,
    )


def event_counts(design: Design) -> tuple[float, float]:
    """Events and non-events, frequency weights counted."""
    return float(design.weights @ design.y), float(design.weights @ (design.trials - design.y))


def _separation(context: Context) -> Separation | None:
    """Solve the linear program where an estimate is infinite or far out; a moderate maximum rules separation out."""
    fit, X = context.fit, context.design.X
    inner = [j for j, name in enumerate(context.design.x_names) if name != "Intercept"]
    reach = np.abs(context.beta[inner]) * (X[:, inner].max(axis=0) - X[:, inner].min(axis=0))
    if fit.converged and fit.status is not Status.SEPARATED and (reach < FAR).all():
        return None
    return find_separation(context.design)


def separating_names(design: Design, found: Separation) -> list[str]:
    """The columns whose coefficients are infinite."""
    names = [n for n, d in zip(design.x_names, found.direction, strict=True) if d and n != "Intercept"]
    return names or ["Intercept"]


def _levels(context: Context) -> list[Level]:
    """Events and non-events in every level of every factor."""
    design = context.design
    yes, no = design.weights * design.y, design.weights * (design.trials - design.y)
    out = []
    for predictor in context.predictors:
        if predictor.levels:
            codes = predictor.values.astype(np.int64)
            a = np.bincount(codes, weights=yes, minlength=len(predictor.levels))
            b = np.bincount(codes, weights=no, minlength=len(predictor.levels))
            out += [Level(predictor.name, t, float(a[k]), float(b[k])) for k, t in enumerate(predictor.levels)]
    return out


def _without_variation(design: Design) -> list[tuple[str, int, float]]:
    """Per grouping factor: groups with two or more trials, and the share of them in which all agree."""
    out = []
    for term in design.terms:
        codes, G = term.factor.codes, term.factor.n_levels
        trials = np.bincount(codes, weights=design.weights * design.trials, minlength=G)
        events = np.bincount(codes, weights=design.weights * design.y, minlength=G)
        several = trials > 1
        same = several & ((events == 0) | (events == trials))
        out.append((term.factor.name, int(several.sum()), float(same.sum() / max(several.sum(), 1))))
    return out


# ------------------------------------------------------------------------------------------------------- words


def _meaning(
    context: Context,
    found: Separation | None,
    per: float,
    parameters: int,
    levels: Sequence[Level],
    most: Sequence[tuple[str, float]],
) -> str:
    design = context.design
    events, others = event_counts(design)
    rare = f"{count(min(events, others))} {'events' if events <= others else 'rows without the event'}"
    counted = f"{parameters} coefficient{'s' if parameters != 1 else ''}"
    parts = []
    if found is not None:
        names = separating_names(design, found)
        rows = np.flatnonzero(found.rows)
        shown = ", ".join(row_name(design, int(i)) for i in rows[:ROWS_SHOWN]) + (
            ", ..." if len(rows) > ROWS_SHOWN else ""
        )
        parts.append(
            f"{', '.join(names)} separate{'s' if len(names) == 1 else ''} the outcome: in {count(len(rows))} rows "
            f"({shown}) it tells {design.wording.response} without error, so the coefficient is infinite and has no "
            "standard error."
        )
    if per < ENOUGH:
        parts.append(
            f"There are {rare} for {counted}, {cell(per)} each; below 10 coefficients tend to be too large and their "
            "intervals inexact."
        )
    if levels:
        listed = ", ".join(
            f"{v.factor} = {v.level} ({count(v.events)} events, {count(v.others)} others)" for v in levels[:5]
        )
        parts.append(f"Few events, or few rows without one, carry the coefficients of {listed}.")
    for name, share in most:
        parts.append(
            f"In {100 * share:.0f} % of the groups of {name} all rows have the same outcome; what is known of effects "
            "within such groups comes from the others."
        )
    if not parts:
        parts.append(f"There is no separation, and enough data for every coefficient: {rare} for {counted}.")
    return " ".join(parts)


def _advice(
    context: Context,
    found: Separation | None,
    per: float,
    levels: Sequence[Level],
    most: Sequence[tuple[str, float]],
) -> tuple[tuple[str, ...], str]:
    lines, code = [], ""
    if found is not None:
        names = separating_names(context.design, found)
        lines.append(
            f"Leave {', '.join(names)} out, or merge the level concerned with another; report that it predicts the "
            "outcome without error in these data. The other coefficients hold for the remaining rows."
        )
    if levels:
        v = min(levels, key=lambda level: min(level.events, level.others))
        lines.append(f"Merge {v.factor} = {v.level} with a level that means nearly the same.")
        code = f'data["{v.factor}"] = data["{v.factor}"].replace({{{v.level!r}: "..."}})  # the level to merge it with'
    if per < ENOUGH:
        lines.append(
            "Fit fewer coefficients, chosen before looking at the outcome; use profile intervals, which hold better "
            "than Wald's where events are few."
        )
        code = "\n".join(filter(None, [code, 'fit.confint(kind="profile")']))
    if most:
        lines.append(
            "Check that the outcome may change within groups at all; if not, it belongs to the group, not the row."
        )
    return tuple(lines), code


# ------------------------------------------------------------------------------------------ tables and pictures


def _group_table(same: Sequence[tuple[str, int, float]]) -> CheckTable:
    rows = tuple((name, several, round(several * share), share) for name, several, share in same)
    return CheckTable(
        "Groups in which all rows have the same outcome", ("group", "groups of 2 or more", "all alike", "share"), rows
    )


def _row_table(design: Design, found: Separation) -> CheckTable:
    columns = [j for j, d in enumerate(found.direction) if d and design.x_names[j] != "Intercept"]
    rows = [int(i) for i in np.flatnonzero(found.rows)[:ROWS_SHOWN]]
    body = tuple((row_name(design, i), float(design.y[i]), *(float(design.X[i, j]) for j in columns)) for i in rows)
    heads = ("row", design.wording.response, *(design.x_names[j] for j in columns))
    return CheckTable("Rows that are told without error", heads, body)


def _pictures(context: Context) -> tuple[Picture, ...]:
    """Share of events in the groups of the lowest level."""
    term, design = context.design.terms[-1], context.design
    trials = np.bincount(term.factor.codes, weights=context.weight, minlength=term.factor.n_levels)
    events = np.bincount(term.factor.codes, weights=design.weights * design.y, minlength=term.factor.n_levels)
    share = events[trials > 1] / trials[trials > 1]
    if len(share) < 5:
        return ()
    name = term.factor.name
    total = float(events.sum() / trials.sum())
    alt = (
        f"Histogram of the share of events in {count(len(share))} groups of {name}: "
        f"{100 * np.mean(share == 0):.0f} % have none, {100 * np.mean(share == 1):.0f} % have nothing else; overall "
        f"{100 * total:.0f} %."
    )
    data = {"values": share, "line_at": total, "xlabel": f"Share of events in a group of {name}"}
    return (Picture("histogram", f"Events by {name}", alt, data),)
