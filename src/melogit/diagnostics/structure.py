"""The design: groups, the levels that predictors belong to, and random slopes that depend on an origin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from melogit.design import Block, Design, RandomTerm
from melogit.diagnostics.context import Context, needs_maximum, reason, refit
from melogit.errors import ModelError
from melogit.fit.types import Fit
from melogit.formula.groups import reused_ids
from melogit.report.checks import Check, CheckTable, Measure, Verdict
from melogit.report.checks_text import cell
from melogit.report.numbers import count

FloatArray = NDArray[np.float64]

FEW_GROUPS, VERY_FEW_GROUPS = 20, 6
SINGLE_SHARE = 0.5  # of groups that have one row
VARYING_SHARE = 0.25  # of groups within which a slope's predictor varies
GROUPS_PER_COEFFICIENT = 10
SHIFT_LOOK, SHIFT_PROBLEM = 0.1, 0.5  # of a fixed effect, in standard errors, when a slope is centred
LOGLIK_LOOK, LOGLIK_PROBLEM = 0.5, 1.92  # 1.92: half of chi-squared's 95 % point with 1 degree of freedom
REFERENCES = (
    "Maas, C. J. M. and Hox, J. J. (2005). Sufficient sample sizes for multilevel modeling. Methodology 1, 86-92.",
    "Snijders, T. A. B. and Bosker, R. J. (2012). Multilevel Analysis, 2nd ed., section 5.1. Sage.",
    "Barr, D. J., Levy, R., Scheepers, C. and Tily, H. J. (2013). Random effects structure for confirmatory hypothesis "
    "testing. J. Memory and Language 68, 255-278.",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say: how grave, what it means, what to do, the code, and a table."""

    verdict: Verdict
    meaning: str
    advice: str = ""
    code: str = ""
    table: CheckTable | None = None
    measure: Measure | None = None


def check(context: Context) -> Check:
    """Look at groups, levels of predictors and random slopes."""
    findings = [
        *_groups(context),
        *_reused(context),
        *_slopes(context),
        *_origins(context),
        *_levels(context),
    ]
    findings.sort(key=lambda f: -f.verdict.rank)
    notable = [f for f in findings if f.verdict is not Verdict.FINE]
    tables = [f.table for f in findings if f.table is not None]
    smallest = min(context.design.terms, key=lambda t: t.factor.n_levels).factor
    return Check(
        key="design",
        title="Design of groups and slopes",
        verdict=max((f.verdict for f in findings), key=lambda v: v.rank, default=Verdict.FINE),
        tested="Whether there are enough groups, whether ids are used again in other upper groups, whether predictors "
        "of random slopes vary within groups, whether the fit depends on where a slope's predictor has its 0, and at "
        "which level each predictor varies.",
        measures=(
            *(f.measure for f in findings if f.measure is not None),
            Measure(f"groups of {smallest.name}", float(smallest.n_levels)),
        ),
        tables=(_group_table(context.design), *tables),
        meaning=" ".join(f.meaning for f in notable) or _fine(context.design),
        advice=tuple(f.advice for f in notable if f.advice),
        code="\n".join(f.code for f in notable if f.code),
        references=REFERENCES,
    )


def _fine(design: Design) -> str:
    listed = " and ".join(f"{count(t.factor.n_levels)} groups of {t.factor.name}" for t in design.terms)
    return f"There are enough groups ({listed}), and predictors and random effects fit to them."


def _sizes(design: Design, term: RandomTerm) -> FloatArray:
    sizes = np.bincount(term.factor.codes, weights=design.weights, minlength=term.factor.n_levels)
    return np.asarray(sizes, dtype=np.float64)


def _group_table(design: Design) -> CheckTable:
    rows = []
    for term in design.terms:
        sizes = _sizes(design, term)
        rows.append((term.factor.name, len(sizes), float(sizes.min()), float(np.median(sizes)), float(sizes.max())))
    return CheckTable("Groups", ("group", "groups", "fewest rows", "median", "most rows"), tuple(rows))


# ------------------------------------------------------------------------------------------------------ groups


def _groups(context: Context) -> list[Finding]:
    out = []
    for term in context.design.terms:
        name, G = term.factor.name, term.factor.n_levels
        if G < FEW_GROUPS:
            verdict = Verdict.PROBLEM if G < VERY_FEW_GROUPS else Verdict.LOOK
            out.append(
                Finding(
                    verdict,
                    f"{name} has only {G} groups, so its variance is estimated from {G} values: it is uncertain and "
                    f"tends to be too small, as are standard errors of what varies between groups of {name}.",
                    f"Give profile intervals; or enter {name} as a factor in place of the random term, if its groups "
                    "are all there are to be known.",
                    'fit.confint(kind="profile")',
                )
            )
        single = float(np.mean(_sizes(context.design, term) == 1))
        if single > SINGLE_SHARE and (context.design.trials <= 1).all():
            out.append(
                Finding(
                    Verdict.LOOK,
                    f"{100 * single:.0f} % of the groups of {name} have one row only; such rows say nothing of the "
                    "variance between groups.",
                    f"Check that {name} is the right grouping and its ids are spelled alike.",
                )
            )
    return out


def _reused(context: Context) -> list[Finding]:
    factors = [term.factor for term in context.design.terms]
    for i, a in enumerate(factors):
        for b in factors[i + 1 :]:
            found = reused_ids(a, b)
            if found is not None:
                upper, lower = found
                return [
                    Finding(
                        Verdict.PROBLEM,
                        f"The ids of {lower.name} start anew in every group of {upper.name}, so rows of different "
                        f"groups of {lower.name} are taken as one group.",
                        f"If {lower.name} {lower.levels[0]} of one {upper.name} is not that of another, nest it.",
                        f"# in the formula: (1 | {upper.name}/{lower.name})",
                    )
                ]
    return []


# ------------------------------------------------------------------------------------------------------ slopes


def _slopes(context: Context) -> list[Finding]:
    """Slopes whose predictor hardly varies within groups, or has no fixed effect."""
    out = []
    for term in context.design.terms:
        name = term.factor.name
        for k, column in enumerate(term.names):
            if column == "Intercept":
                continue
            share = _varying_share(term, k)
            if not share >= VARYING_SHARE:
                nowhere = not share > 0
                verdict = Verdict.PROBLEM if nowhere else Verdict.LOOK
                how = (
                    "does not vary within any group" if nowhere else f"varies within {100 * share:.0f} % of the groups"
                )
                out.append(
                    Finding(
                        verdict,
                        f"{column} has a random slope over the groups of {name} but {how}, so its slope there can "
                        "hardly be told from the group's own level.",
                        f"Leave the random slope of {column} over {name} out.",
                    )
                )
            if not _in_span(context.design.X, term.Z[:, k]):
                out.append(
                    Finding(
                        Verdict.LOOK,
                        f"{column} has a random slope over {name} but no fixed effect, so its mean effect over the "
                        "groups is held at 0.",
                        f"Add {column} to the fixed part, unless its mean effect is known to be 0.",
                    )
                )
    return out


def _varying_share(term: RandomTerm, k: int) -> float:
    """Share of the groups of several rows within which a column of Z varies; NaN without such groups."""
    codes, G, z = term.factor.codes, term.factor.n_levels, term.Z[:, k]
    low, high = np.full(G, np.inf), np.full(G, -np.inf)
    np.minimum.at(low, codes, z)
    np.maximum.at(high, codes, z)
    several = np.bincount(codes, minlength=G) > 1
    return float(np.mean((high > low)[several])) if several.any() else np.nan


def _in_span(X: FloatArray, z: FloatArray) -> bool:
    scale = np.linalg.norm(X, axis=0)
    left = z - X / scale @ np.linalg.lstsq(X / scale, z, rcond=None)[0]
    return float(np.linalg.norm(left)) <= 1e-8 * max(float(np.linalg.norm(z)), 1e-300)


# ----------------------------------------------------------------------------------------------------- origins


def _origins(context: Context) -> list[Finding]:
    """Refit with centred slopes where intercept and slope may not correlate: the model then depends on the origin."""
    out = []
    for level, term in enumerate(context.design.terms):
        for k in _bound_to_origin(term):
            needs_maximum(context.fit)
            out.append(_origin(context, level, k))
    return out


def _bound_to_origin(term: RandomTerm) -> list[int]:
    """Numbers with a slope that may not correlate with the intercept."""
    block_of = {k: b for b in term.blocks for k in range(b.start, b.start + b.size)}
    if "Intercept" not in term.names:
        return []
    constant = term.names.index("Intercept")
    together = block_of[constant].structure == "unstructured"
    return [
        k
        for k in range(len(term.names))
        if k != constant and not (together and block_of[k] is block_of[constant]) and len(np.unique(term.Z[:, k])) > 2
    ]


def _origin(context: Context, level: int, k: int) -> Finding:
    term = context.design.terms[level]
    column, name = term.names[k], term.factor.name
    middle = float(np.average(term.Z[:, k], weights=context.weight))
    context.tell(f"Design: {column} centred")
    try:
        centred = refit(context, with_term(context.design, level, _centred(term, k, middle)), full=True)
    except ModelError as error:
        return Finding(Verdict.LOOK, f"The model with {column} centred could not be fitted: {reason(error)}")
    free = _freed(context, level)
    slopes = [j for j, n in enumerate(context.design.x_names) if n != "Intercept"]
    se = np.sqrt(np.diag(context.fit.cov))[slopes]
    moved = np.abs(centred.params[slopes] - context.fit.params[slopes]) / se
    j = int(np.argmax(moved)) if len(moved) else 0
    shift, change = float(moved.max(initial=0.0)), centred.loglik - context.fit.loglik
    table = _origin_table(context.fit, centred, free, column, middle)
    measure = Measure(f"change of log-likelihood on centring {column}", change, note=f"in its slope over {name}")
    depends = abs(change) > LOGLIK_LOOK or shift > SHIFT_LOOK
    if not depends:
        return Finding(Verdict.FINE, "", table=table, measure=measure)
    grave = abs(change) > LOGLIK_PROBLEM or shift > SHIFT_PROBLEM
    said = f"with {column} centred at {cell(middle)} the log-likelihood changes by {cell(change)}"
    if len(moved):
        said += f", and the coefficient of {context.design.x_names[slopes[j]]} by {cell(shift)} standard errors"
    said += "."
    if free is not None:
        gain = cell(free.loglik - context.fit.loglik)
        said += f" Letting them correlate gains {gain} in log-likelihood and does not depend on the origin."
    return Finding(
        Verdict.PROBLEM if grave else Verdict.LOOK,
        f"The fit depends on where {column} has its 0, because the random intercept and slope of {name} are held "
        f"uncorrelated: {said}",
        f"Let intercept and slope of {name} correlate, or centre {column} where independence makes sense.",
        f"# in the formula: (1 + {column} | {name}), or centre it first:\n"
        f'data["{column}_c"] = data["{column}"] - {cell(middle)}',
        table,
        measure,
    )


def with_term(design: Design, level: int, term: RandomTerm) -> Design:
    """The design with another random term at a level."""
    terms = list(design.terms)
    terms[level] = term
    return replace(design, terms=tuple(terms))


def _centred(term: RandomTerm, k: int, middle: float) -> RandomTerm:
    Z = term.Z.copy()
    Z[:, k] -= middle
    return replace(term, Z=Z)


def _freed(context: Context, level: int) -> Fit | None:
    """The fit with all effects of a term correlated; None where it cannot be had."""
    term = context.design.terms[level]
    joined = replace(term, blocks=(Block(0, len(term.names), "unstructured"),))
    context.tell(f"Design: effects of {term.factor.name} correlated")
    try:
        return refit(context, with_term(context.design, level, joined), start=False, full=True)
    except ModelError:
        return None


def _origin_table(now: Fit, centred: Fit, free: Fit | None, column: str, middle: float) -> CheckTable:
    heads = ["", "as fitted", f"{column} - {cell(middle)}"]
    rows: list[list[object]] = [["log-likelihood", now.loglik, centred.loglik]]
    for j, name in enumerate(now.names):
        rows.append([name, float(now.params[j]), float(centred.params[j])])
    if free is not None:
        heads.append("correlated")
        known = dict(zip(free.names, free.params, strict=True))
        for row in rows[1:]:
            row.append(float(known.get(str(row[0]), np.nan)))
        rows[0].append(free.loglik)
    body = tuple(tuple(f"{v:.4f}" if isinstance(v, float) else v for v in row) for row in rows)
    return CheckTable(f"Estimates with {column} moved to its mean in the random effects", tuple(heads), body)


# ------------------------------------------------------------------------------------------------------ levels


def _levels(context: Context) -> list[Finding]:
    """At which level each predictor varies, and whether there are enough groups for those of groups."""
    out, rows = [], []
    belongs: dict[str, list[str]] = {}
    for predictor in context.predictors:
        level = next((t.factor for t in context.design.terms if _constant_within(predictor.values, t)), None)
        rows.append((predictor.name, "row" if level is None else level.name, _units(context.design, level)))
        if level is not None:
            belongs.setdefault(level.name, []).append(predictor.name)
    for name, predictors in belongs.items():
        term = next(t for t in context.design.terms if t.factor.name == name)
        columns = sum(len(context.predictor(p).own) for p in predictors)
        if columns and term.factor.n_levels / columns < GROUPS_PER_COEFFICIENT:
            out.append(
                Finding(
                    Verdict.LOOK,
                    f"The values of {', '.join(predictors)} are those of the groups of {name}, not of the rows: "
                    f"{columns} coefficient{'s' if columns > 1 else ''} rest on {term.factor.n_levels} groups, however "
                    "many rows there are.",
                    f"Use fewer predictors of {name}, and judge them by profile or bootstrap intervals over {name}.",
                )
            )
    if rows:
        table = CheckTable(
            "Level at which each predictor varies", ("predictor", "level", "separate values from"), tuple(rows)
        )
        out.append(Finding(Verdict.FINE, "", table=table))
    return out


def _units(design: Design, factor: object) -> str:
    if factor is None:
        return f"{count(design.n_rows)} rows"
    return f"{count(factor.n_levels)} groups"  # pyright: ignore[reportAttributeAccessIssue]


def _constant_within(values: FloatArray, term: RandomTerm) -> bool:
    return _varying_share(replace(term, Z=values[:, None]), 0) == 0.0
