"""Whether single groups make the result: leave out every group of every level in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics.context import Context, NotChecked, needs_maximum
from melogit.diagnostics.exact import codes_of
from melogit.diagnostics.influence import Influenced, deletions, influence, without_units
from melogit.diagnostics.robust import Bounded, bounded_fit
from melogit.diagnostics.simulated import compared
from melogit.diagnostics.wording import data_column, listed
from melogit.diagnostics.worlds import departures, joint_p
from melogit.errors import MelogitError
from melogit.fit.types import Fit
from melogit.inference.sandwich import sandwich
from melogit.inference.wald import z_and_p
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import cell, p_text

FloatArray = NDArray[np.float64]
KEY, TITLE = "group_influence", "Influential groups"
REFITTED = 5  # of every level, the most influential ones
# Where factors cross: rows x groups (and the cost of factoring the effects) up to which each group is refitted without.
REFIT_ALL = 60_000_000
MOVES = 1.0  # standard errors: a single group should not move an estimate by more
REFERENCES = (
    "Cook, R. D. (1977). Detection of influential observation in linear regression. Technometrics 19, 15-18.",
    "Xiang, L., Tse, S.-K. and Lee, A. H. (2002). Influence diagnostics for generalized linear mixed models. Comput. "
    "Statist. Data Anal. 40, 759-774.",
    "Nieuwenhuis, R., te Grotenhuis, M. and Pelzer, B. (2012). influence.ME. R Journal 4, 38-47.",
    "Hampel, F. R., Ronchetti, E. M., Rousseeuw, P. J. and Stahel, W. A. (1986). Robust Statistics, section 4.3. "
    "Wiley.",
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What stands out.

    Attributes
    ----------
    p : float
        Of the largest Cook's distances of the top level (of every factor, where factors cross) against worlds
        drawn from the fit; NaN where there are none.
    first : int
        The level whose groups stand out most.
    limit : float
        95 % of worlds have no larger Cook's distance of the fixed effects at the top level.
    turned : tuple of (label, parameter)
        Groups without which a coefficient changes sign or passes the line of significance.
    far : tuple of (level, label, parameter, dfbetas)
        Groups that move an estimate by more than ``MOVES`` standard errors.
    """

    p: float
    first: int
    limit: float
    turned: tuple[tuple[str, str], ...]
    far: tuple[tuple[int, str, str, float], ...]


def check(context: Context) -> Check:
    """Leave out every group of every level."""
    needs_maximum(context.fit)
    nested = context.design.nested
    deletions(context, rows=False)
    levels = [influence(context, level, _how_exact(context, level)) for level in range(len(context.design.terms))]
    judged = _judge(context, levels)
    own = [entry for entry in judged.far if entry[0] > 0 and nested]
    strange = bool(judged.p < context.alpha)
    verdict = Verdict.FINE
    if strange or own:
        verdict = Verdict.PROBLEM if judged.turned and strange else Verdict.LOOK
    top = levels[0]
    first = _first_out(context, top)
    bounded = _bounded(context)
    measures = [
        Measure(
            f"Largest Cook's distance of a group of {context.design.terms[0].factor.name}",
            float(np.nanmax(top.moved.cook_fixed)),
            p=float(judged.p) if np.isfinite(judged.p) else None,
            note="fixed effects; p: that large in data drawn from this model, variances "
            + ("" if nested else "and the other factors ")
            + "counted too",
        )
    ]
    for level, found in enumerate(levels):
        size = np.nanmax(np.abs(found.moved.dfbetas[:, : context.fit.n_fixed]))
        measures.append(Measure(f"Largest DFBETAS, {context.design.terms[level].factor.name}", float(size)))
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested=_tested(context, levels),
        measures=tuple(measures),
        tables=(*(_table(context, found) for found in levels), _side_by_side(context, top, first, bounded)),
        meaning=_meaning(context, levels, judged),
        advice=_advice(context, judged, verdict),
        code="" if verdict is Verdict.FINE else _code(context, top),
        pictures=(*(_index(context, found, judged) for found in levels), _boxes(context, top)),
        references=REFERENCES,
    )


def _how_exact(context: Context, level: int) -> bool | int:
    """How many groups to refit without: where factors cross, all, if that takes seconds."""
    design = context.design
    sizes = sorted(term.factor.n_levels * len(term.names) for term in design.terms)
    cost = (20 * design.n_rows + sum(sizes[:-1]) ** 3 / 10) * design.terms[level].factor.n_levels
    return (not design.nested and cost <= REFIT_ALL) or REFITTED


def _tested(context: Context, levels: list[Influenced]) -> str:
    if context.design.nested:
        return (
            "Every group of every level was left out in turn, by one Newton step from the score and information of "
            f"the rest; without the {REFITTED} most influential ones of each level the model was fitted again. The "
            "largest influence of a top-level group is compared with that in data drawn from this model."
        )
    names = [context.design.terms[k].factor.name for k, found in enumerate(levels) if found.exact.all()]
    how = f"The model was fitted again without each group of {listed(names)}. " if names else ""
    if len(names) < len(levels):
        rest = [term.factor.name for term in context.design.terms if term.factor.name not in names]
        how += (
            f"Groups of {listed(rest)} were left out by a rough first step from their share of the score, and the "
            f"model was fitted again without the {REFITTED} that seem most influential. "
        )
    return f"{how}The largest influence of a group is compared with that in data drawn from this model."


def _judge(context: Context, levels: list[Influenced]) -> Judged:
    p, first, limit = np.nan, 0, np.nan
    try:
        found = compared(context)
    except (NotChecked, MelogitError):
        pass
    else:
        observed, drawn = found.observed["influence"], found.drawn["influence"]
        p, first = joint_p(observed, drawn), int(np.argmax(departures(observed, drawn))) // 2
        if context.design.nested:  # where factors cross, the worlds' statistic is a rougher one than the refits
            limit = float(np.exp(np.nanquantile(drawn[:, 0], 0.95)))
    fixed = context.fit.n_fixed
    turned, far = [], []
    for level, units in enumerate(levels):
        for k in units.order[:REFITTED]:
            values = units.moved.dfbetas[k]
            for j in np.flatnonzero(np.abs(np.nan_to_num(values)) > MOVES):
                far.append((level, str(units.labels[k]), context.fit.names[j], float(values[j])))
        if units.refits is not None:
            turned += _turned(context.fit, units, fixed)
    return Judged(p, first, limit, tuple(turned), tuple(far))


def _turned(fit: Fit, units: Influenced, fixed: int) -> list[tuple[str, str]]:
    assert units.refits is not None
    base = z_and_p(fit.params[:fixed], np.sqrt(np.diag(fit.cov))[:fixed])
    out = []
    for unit, change, error in zip(units.refits.units, units.refits.change, units.refits.std_err, strict=True):
        z, p = z_and_p(fit.params[:fixed] + change[:fixed], error[:fixed])
        flips = ((p < 0.05) != (base[1] < 0.05)) | ((np.sign(z) != np.sign(base[0])) & (base[1] < 0.05))
        moves = np.abs(np.nan_to_num(units.moved.dfbetas[unit, :fixed])) > 0.1 * MOVES  # not just next to the line
        names = [fit.names[j] for j in np.flatnonzero(flips & moves & np.isfinite(p))]
        out += [(str(units.labels[unit]), name) for name in names if name != "Intercept"]
    return out


def _first_out(context: Context, top: Influenced) -> Fit | None:
    try:
        return without_units(context, 0, top.order[:1])
    except MelogitError:
        return None


def _bounded(context: Context) -> Bounded | None:
    try:
        return bounded_fit(context.design, context.fit)
    except (MelogitError, np.linalg.LinAlgError):
        return None


# ---------------------------------------------------------------------------------------------------- in words


def _meaning(context: Context, levels: list[Influenced], judged: Judged) -> str:
    names = [term.factor.name for term in context.design.terms]
    nested, first = context.design.nested, levels[judged.first]
    parts = []
    if judged.p < context.alpha:
        parts.append(
            f"'{names[judged.first]}' has groups with more influence than chance gives a group if the model is right "
            f"({p_text(judged.p)}): the first is group {first.labels[first.order[0]]}. {_most_moved(context, first)}"
        )
    elif nested and any(entry[0] > 0 for entry in judged.far):
        level, label, name, value = next(entry for entry in judged.far if entry[0] > 0)
        parts.append(f"Group {label} of '{names[level]}' alone moves {name} by {abs(value):.1f} standard errors.")
    else:
        parts.append(f"No group of {listed(names)} has more influence than chance gives one.")
    by_chance = not judged.p < context.alpha
    fixed = [entry for entry in judged.far if entry[2] in context.fit.names[: context.fit.n_fixed]]
    if judged.far and "moves" not in parts[0]:
        level, label, name, value = max(fixed or judged.far, key=lambda entry: abs(entry[3]))
        parts.append(
            f"Leaving out {label} of '{names[level]}' moves {name} by {abs(value):.1f} standard errors"
            + (", which groups of this size do by chance." if by_chance and (level == 0 or not nested) else ".")
        )
    if judged.turned:
        label, name = judged.turned[0]
        parts.append(f"Whether {name} differs from 0 at the 5 % level hangs on one group ({label}).")
    return " ".join(parts)


def _most_moved(context: Context, found: Influenced) -> str:
    """What the first group does to the coefficient that it moves most."""
    j = int(np.argmax(np.abs(np.nan_to_num(found.moved.dfbetas[found.order[0], : context.fit.n_fixed]))))
    size = abs(float(found.moved.dfbetas[found.order[0], j]))
    return f"Without it {context.fit.names[j]} moves by {size:.1f} standard errors."


def _advice(context: Context, judged: Judged, verdict: Verdict) -> tuple[str, ...]:
    if verdict is Verdict.FINE:
        return ()
    name = context.design.terms[judged.first].factor.name
    out = [
        f"Look at the data of the groups of '{name}' named here: errors of coding, another kind of patients or "
        "customers, another way of measuring.",
        "Report the results with and without them (table below); do not leave groups out only because they disagree.",
    ]
    if judged.turned:
        out.append("Do not rest a conclusion on a p-value that one group decides.")
    return tuple(out)


def _code(context: Context, top: Influenced) -> str:
    group = data_column(context.design, 0)
    return (
        f'found = fit.influence("{group}", exact=10)\n'
        f"print(found.top(10))\nprint(found.without({[str(v) for v in top.labels[top.order[:1]]]!r}))\n"
        "print(fit.robust_fit())"
    )


# ------------------------------------------------------------------------------------------- tables, pictures


def _table(context: Context, found: Influenced) -> CheckTable:
    design, fit = context.design, context.fit
    assert found.level is not None
    codes = codes_of(design, found.level)
    rows = np.bincount(codes, minlength=len(found.labels))
    events = np.bincount(codes, weights=design.weights * design.y, minlength=len(found.labels))
    trials = np.bincount(codes, weights=design.weights * design.trials, minlength=len(found.labels))
    lines = []
    for k in found.order[:REFITTED]:
        values = np.nan_to_num(found.moved.dfbetas[k, : fit.n_fixed])
        j = int(np.argmax(np.abs(values)))
        lines.append(
            (
                str(found.labels[k]),
                int(rows[k]),
                float(events[k] / trials[k]) if trials[k] > 0 else np.nan,
                float(found.moved.cook_fixed[k]),
                float(found.moved.cook_variance[k]),
                fit.names[j],
                float(values[j]),
                float(np.exp(fit.params[j])),
                float(np.exp(fit.params[j] + found.moved.change[k, j])),
            )
        )
    return CheckTable(
        f"The most influential groups of {design.terms[found.level].factor.name} (refitted without each)",
        (
            "group",
            "rows",
            "share of events",
            "Cook's distance, fixed effects",
            "Cook's distance, variances",
            "most moved coefficient",
            "DFBETAS",
            "odds ratio, all data",
            "odds ratio without",
        ),
        tuple(lines),
    )


def _side_by_side(context: Context, top: Influenced, first: Fit | None, bounded: Bounded | None) -> CheckTable:
    fit = context.fit
    label = str(top.labels[top.order[0]])
    se = np.sqrt(np.diag(fit.cov))
    robust = _robust_errors(context)
    columns = ["parameter", "estimate", "std. error", "robust std. error"]
    values: list[FloatArray] = [fit.params, se, robust]
    if first is not None:
        columns += [f"without {label}", f"std. error without {label}"]
        values += [first.params, np.sqrt(np.diag(first.cov))]
    if bounded is not None:
        columns += ["influence bounded", "std. error, bounded"]
        values += [bounded.params, bounded.std_err]
    rows = tuple((name, *(float(v[j]) for v in values)) for j, name in enumerate(fit.names))
    caption = f"All data, and the fit without group {label} of {context.design.terms[0].factor.name}"
    if bounded is not None:
        caption += f", and with the influence of {int(np.sum(bounded.weights < 1))} groups bounded"
    return CheckTable(caption, tuple(columns), rows)


def _robust_errors(context: Context) -> FloatArray:
    try:
        return np.sqrt(np.diag(sandwich(context.design, context.fit).cov))
    except MelogitError:
        return np.full(len(context.fit.params), np.nan)


def _index(context: Context, found: Influenced, judged: Judged) -> Picture:
    assert found.level is not None
    name = context.design.terms[found.level].factor.name
    data = {
        "value": found.moved.cook_fixed,
        "ylabel": "Cook's distance of the fixed effects",
        "xlabel": f"Groups of {name}, in order",
        "labels": [str(v) for v in found.labels],
        "label_index": [int(k) for k in np.argsort(-np.nan_to_num(found.moved.cook_fixed))[:REFITTED]],
    }
    if found.level == 0 and np.isfinite(judged.limit):
        data["limit"] = judged.limit
    first = found.labels[int(np.nanargmax(found.moved.cook_fixed))]
    alt = (
        f"Cook's distance of each group of {name}; the largest is {cell(float(np.nanmax(found.moved.cook_fixed)))} of "
        f"group {first}."
    )
    return Picture("index", f"Influence of each group of {name} on the coefficients", alt, data)


def _boxes(context: Context, top: Influenced) -> Picture:
    fit = context.fit
    shown = [j for j in range(len(fit.names)) if np.isfinite(top.moved.dfbetas[:, j]).any()]
    name = context.design.terms[0].factor.name
    worst = max(shown, key=lambda j: float(np.nanmax(np.abs(top.moved.dfbetas[:, j]))))
    return Picture(
        "box",
        f"How far each group of {name} moves each estimate",
        f"DFBETAS of the groups of {name}, one box per estimate; the widest is that of {fit.names[worst]}.",
        {
            "values": [top.moved.dfbetas[:, j] for j in shown],
            "names": [fit.names[j] for j in shown],
            "ylabel": "DFBETAS (estimate with the group less without, in standard errors)",
        },
    )
