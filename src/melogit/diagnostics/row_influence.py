"""Whether single rows make the result, and whether more outcomes are surprising than the model allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, pdtrc

from melogit.design import Design
from melogit.diagnostics.context import Context, needs_maximum
from melogit.diagnostics.deletion import Rows
from melogit.diagnostics.influence import Influenced, deletions, influence
from melogit.diagnostics.wording import listed
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import cell, p_text

FloatArray = NDArray[np.float64]
KEY, TITLE = "row_influence", "Outliers and influential rows"
SHOWN, REFITTED = 8, 3
MOVES = 1.0  # standard errors: a single row should not move a coefficient by more
# An outcome with a smaller tail probability, given all other rows, is surprising: the smallest of these limits that
# lets so many outcomes be surprising by chance.
LIMITS, ENOUGH = (0.001, 0.005, 0.01, 0.02, 0.05), 5.0
REFERENCES = (
    "Pregibon, D. (1981). Logistic regression diagnostics. Ann. Statist. 9, 705-724.",
    "Cook, R. D. (1977). Detection of influential observation in linear regression. Technometrics 19, 15-18.",
    "Geisser, S. (1980), in the discussion of Box: conditional predictive ordinates. J. R. Statist. Soc. A 143, "
    "416-417.",
)


@dataclass(frozen=True, slots=True)
class Surprises:
    """Outcomes that the other rows make improbable.

    Attributes
    ----------
    tail : (n,)
        Probability of an outcome at least as far out on its side, given all other rows; 1 for rows without trials.
    limit : float
    found : int
    expected : float
        How many there are if the model is right (a bound for grouped counts).
    p : float
        Of so many or more; NaN with frequency weights.
    """

    tail: FloatArray
    limit: float
    found: int
    expected: float
    p: float


def surprises(design: Design, rows: Rows) -> Surprises:
    """Count surprising outcomes against their expected number (Poisson: many rows, small probabilities)."""
    used = design.trials > 0
    binary = bool(np.all(design.trials[used] == 1))
    event = rows.others
    tail = np.where(design.y > 0, event, 1 - event) if binary else _tail_of_counts(design, rows)
    tail = np.where(used, tail, 1.0)
    limit, expected = LIMITS[-1], 0.0
    for limit in LIMITS:
        chance = event * (event < limit) + (1 - event) * (1 - event < limit)
        expected = float(chance[used].sum()) if binary else 2 * limit * float(used.sum())
        if expected >= ENOUGH:
            break
    found = int(np.sum(tail < limit))
    if np.any(design.weights != 1):
        return Surprises(tail, limit, found, expected, np.nan)
    return Surprises(tail, limit, found, expected, float(pdtrc(found - 1, expected)) if found else 1.0)


def _tail_of_counts(design: Design, rows: Rows) -> FloatArray:
    """The smaller of P(Y <= y) and P(Y >= y), the probability's spread taken up by three points."""
    sd = np.sqrt(3 * rows.others_variance)
    y, count = design.y, design.trials.astype(np.int64)
    upto, from_ = np.zeros(design.n_rows), np.zeros(design.n_rows)
    for shift, weight in ((-1, 1 / 6), (0, 2 / 3), (1, 1 / 6)):
        mu = np.clip(rows.others + shift * sd, 1e-9, 1 - 1e-9)
        upto += weight * bdtr(y, count, mu)
        from_ += weight * (1 - np.where(y > 0, bdtr(np.maximum(y - 1, 0), count, mu), 0.0))
    return np.minimum(upto, from_)


def check(context: Context) -> Check:
    """Leave out every row, and count surprising outcomes."""
    needs_maximum(context.fit)
    rows = deletions(context, rows=True).rows
    assert rows is not None
    found = influence(context, None, REFITTED)
    odd = surprises(context.design, rows)
    fixed = context.fit.n_fixed
    size = np.abs(np.nan_to_num(found.moved.dfbetas[:, :fixed]))
    far = size.max(axis=1, initial=0.0)
    movers = [int(k) for k in np.argsort(-far)[:SHOWN] if far[k] > MOVES]
    many = bool(odd.p < context.alpha)
    verdict = Verdict.LOOK if movers or many else Verdict.FINE
    assert found.rows is not None
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested="Every row was left out in turn, by one Newton step from the "
        + ("" if context.design.nested else "(approximate) ")
        + "score and information of the rest; without "
        f"the {REFITTED} most influential rows the model was fitted again. Outcomes with a probability below "
        f"{odd.limit:g} given all other rows are counted and compared with how many there should be.",
        measures=(
            Measure(
                "Surprising outcomes",
                odd.found,
                p=odd.p if np.isfinite(odd.p) else None,
                note=f"expected if the model is right: {cell(odd.expected)}",
            ),
            Measure("Largest DFBETAS of a coefficient", float(far.max(initial=0.0))),
            Measure("Largest Cook's distance, fixed effects", float(np.nanmax(found.moved.cook_fixed, initial=0.0))),
            Measure("Largest leverage", float(found.rows.leverage.max(initial=0.0))),
        ),
        tables=(_influential(context, found), _surprising(context, found, odd)),
        meaning=_meaning(context, found, odd, movers, size),
        advice=_advice(verdict, bool(movers), many),
        code="" if verdict is Verdict.FINE else "found = fit.influence()\nprint(found.top(20))",
        pictures=_pictures(context, found),
        references=REFERENCES,
    )


def _meaning(context: Context, found: Influenced, odd: Surprises, movers: list[int], size: FloatArray) -> str:
    names = context.fit.names
    response = context.design.wording.response
    parts = []
    if movers:
        k = movers[0]
        j = int(np.argmax(size[k]))
        parts.append(
            f"Row {found.labels[k]} alone moves the coefficient of {names[j]} by {size[k, j]:.1f} standard errors"
            + (f", and so do {len(movers) - 1} more rows." if len(movers) > 1 else ".")
        )
    if odd.p < context.alpha:
        worst = [str(found.labels[k]) for k in np.argsort(odd.tail)[:3]]
        parts.append(
            f"{odd.found} outcomes of {response} are very improbable given all other rows, where {odd.expected:.1f} "
            f"would be expected ({p_text(odd.p)}): the first are rows {listed(worst)}."
        )
    if not parts:
        j = int(np.argmax(size.max(axis=0, initial=0.0)))
        parts.append(
            f"No single row makes the result: the most that one moves a coefficient is {size.max(initial=0.0):.2f} "
            f"standard errors ({names[j]})."
        )
        parts.append(
            f"{odd.found} outcome{'' if odd.found == 1 else 's'} of {response} {'is' if odd.found == 1 else 'are'} "
            f"very improbable given all other rows; about {odd.expected:.1f} would be by chance."
        )
    return " ".join(parts)


def _advice(verdict: Verdict, moved: bool, many: bool) -> tuple[str, ...]:
    if verdict is Verdict.FINE:
        return ()
    out = ["Look at the rows named here in the data: wrong codes, wrong units, outcomes entered for another row."]
    if moved:
        out.append("Where a row is right and still decides a coefficient, say so, and give the fit without it as well.")
    if many:
        out.append(
            "If the outcomes are right, a predictor that explains them is missing, or outcomes are recorded with "
            "errors: the coefficients are then closer to 0 than they should be."
        )
    return tuple(out)


def _influential(context: Context, found: Influenced) -> CheckTable:
    fit, design, rows = context.fit, context.design, found.rows
    assert rows is not None
    lines = []
    for k in found.order[:SHOWN]:
        values = np.nan_to_num(found.moved.dfbetas[k])
        j = int(np.argmax(np.abs(values)))
        observed = design.y[k] / design.trials[k] if design.trials[k] else np.nan
        lines.append(
            (
                str(found.labels[k]),
                *(str(t.factor.levels[t.factor.codes[k]]) for t in design.terms),
                float(observed),
                float(rows.fitted[k]),
                float(rows.leverage[k]),
                float(found.moved.cook_fixed[k]),
                fit.names[j],
                float(values[j]),
                "refit" if found.exact[k] else "one step",
            )
        )
    groups = tuple(t.factor.name for t in design.terms)
    columns = ("row", *groups, "observed", "fitted", "leverage", "Cook's distance", "most moved", "DFBETAS", "by")
    return CheckTable("The most influential rows", columns, tuple(lines))


def _surprising(context: Context, found: Influenced, odd: Surprises) -> CheckTable:
    design, rows = context.design, found.rows
    assert rows is not None
    lines = []
    for k in np.argsort(odd.tail, kind="stable")[:SHOWN]:
        lines.append(
            (
                str(found.labels[k]),
                *(str(t.factor.levels[t.factor.codes[k]]) for t in design.terms),
                float(design.y[k] / design.trials[k]) if design.trials[k] else np.nan,
                float(rows.fitted[k]),
                float(odd.tail[k]),
                float(rows.pearson[k]),
                float(rows.deviance[k]),
            )
        )
    groups = tuple(t.factor.name for t in design.terms)
    columns = (
        "row",
        *groups,
        "observed",
        "fitted",
        "probability given all other rows",
        "standardised Pearson residual",
        "standardised deviance residual",
    )
    return CheckTable("The most surprising outcomes", columns, tuple(lines))


def _pictures(context: Context, found: Influenced) -> tuple[Picture, ...]:
    rows, design, fit = found.rows, context.design, context.fit
    assert rows is not None
    share = np.divide(design.y, design.trials, out=np.full(design.n_rows, np.nan), where=design.trials > 0)
    low, high = rows.deviance[share < rows.fitted], rows.deviance[share >= rows.fitted]
    shown = [j for j in range(len(fit.names)) if np.isfinite(found.moved.dfbetas[:, j]).any()]
    return (
        *_points(found),
        Picture(
            "box",
            "Standardised deviance residuals",
            "Boxes of the standardised deviance residuals of rows above and below their fitted probability.",
            {
                "values": [high, low],
                "names": ["observed above fitted", "observed below fitted"],
                "ylabel": "Standardised deviance residual",
            },
        ),
        Picture(
            "box",
            "How far each row moves each estimate",
            "DFBETAS of all rows, one box per estimate.",
            {
                "values": [found.moved.dfbetas[:, j] for j in shown],
                "names": [fit.names[j] for j in shown],
                "ylabel": "DFBETAS (with the row less without, in standard errors)",
            },
        ),
    )


def _points(found: Influenced) -> tuple[Picture, Picture]:
    """Cook's distances in order, and residuals against leverage."""
    rows, cook = found.rows, found.moved.cook_fixed
    assert rows is not None
    labels = [str(v) for v in found.labels]
    first = [int(k) for k in np.argsort(-np.nan_to_num(cook))[:SHOWN]]
    extreme = [int(k) for k in np.argsort(-np.abs(np.nan_to_num(rows.deviance)))[:SHOWN]]
    index = Picture(
        "index",
        "Cook's distance of every row",
        f"Cook's distance of the fixed effects for every row; the largest is {cell(float(np.nanmax(cook)))} of row "
        f"{labels[first[0]]}.",
        {
            "value": cook,
            "ylabel": "Cook's distance of the fixed effects",
            "labels": labels,
            "label_index": first,
            "xlabel": "Rows, in the order of the data",
        },
    )
    scatter = Picture(
        "scatter",
        "Residuals against leverage",
        "Standardised deviance residuals against leverage; rows far from 0 and far to the right pull most.",
        {
            "x": rows.leverage,
            "y": rows.deviance,
            "xlabel": "Leverage",
            "ylabel": "Standardised deviance residual",
            "labels": labels,
            "label_index": extreme,
            "hline": 0.0,
        },
    )
    return index, scatter
