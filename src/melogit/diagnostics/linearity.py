"""Whether the log-odds are a straight line in each continuous predictor.

Each is tested by two models that hold the present one: with x ln x added (Box and Tidwell) and with the curved part
of a restricted cubic spline added, both with the random effects as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from melogit.diagnostics.context import (
    Context,
    NotChecked,
    Predictor,
    conditional_predictor,
    needs_maximum,
)
from melogit.diagnostics.extension import Extension, extend, holm
from melogit.diagnostics.remedies import Remedy, remedies
from melogit.diagnostics.splines import (
    box_tidwell_shift,
    box_tidwell_term,
    class_means,
    classes,
    knots_of,
    spline_terms,
)
from melogit.errors import ModelError
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import cell, p_text

FloatArray = NDArray[np.float64]

LARGE = 0.5  # log odds between curve and line, within the middle 90 % of the data: with p < STRICT a problem
STRICT = 0.001
MOST_PICTURES = 8  # predictors shown, the most curved first
PARTIAL_CLASSES, LOGIT_CLASSES = 20, 10
GRID = 80
REFERENCES = (
    "Box, G. E. P. and Tidwell, P. W. (1962). Transformation of the independent variables. Technometrics 4, 531-550.",
    "Harrell, F. E. (2015). Regression Modeling Strategies, 2nd ed., sections 2.4 and 4.1. Springer.",
    "Landwehr, J. M., Pregibon, D. and Shoemaker, A. C. (1984). Graphical methods for assessing logistic regression "
    "models. J. Amer. Statist. Assoc. 79, 61-71.",
)


@dataclass(frozen=True, slots=True)
class Curve:
    """How the log-odds depend on one predictor.

    Attributes
    ----------
    predictor : Predictor
    label : str
        Its column in the model: ``IL6`` or ``log(IL6)``.
    x : (n,)
    column : int
        Of X.
    shift : float
        Added before the logarithm.
    tidwell, spline : Extension or None
    knots : (k,)
    departure : float
        Largest distance of the spline from its best straight line in the middle 90 % of the data, in log odds.
    """

    predictor: Predictor
    label: str
    x: FloatArray
    column: int
    shift: float
    tidwell: Extension | None
    spline: Extension | None
    knots: FloatArray
    departure: float


def check(context: Context) -> Check:
    """Test every continuous predictor for curvature."""
    needs_maximum(context.fit)
    curves, left_out = _curves(context)
    tests = [(c, e) for c in curves for e in (c.tidwell, c.spline) if e is not None]
    adjusted = holm([e.p for _, e in tests])
    smallest = {id(c): min(p for (d, _), p in zip(tests, adjusted, strict=True) if d is c) for c in curves}
    curved = sorted((c for c in curves if smallest[id(c)] < context.alpha), key=lambda c: smallest[id(c)])
    grave = [c for c in curved if smallest[id(c)] < STRICT and c.departure > LARGE]
    found = {c.label: remedies(context, c.predictor, c.column) for c in curved}
    verdict = Verdict.PROBLEM if grave else Verdict.LOOK if curved else Verdict.FINE
    lines, code = _advice(context, curved, found)
    ranked = sorted(curves, key=lambda c: smallest[id(c)])
    return Check(
        key="linearity",
        title="Linearity of the log-odds",
        verdict=verdict,
        tested="Whether the log-odds are a straight line in each continuous predictor: the model with x ln x added "
        "(Box-Tidwell), and with the curved part of a restricted cubic spline added; the random effects stay in. "
        f"P-values in the verdict are adjusted for the {len(tests)} tests (Holm).",
        measures=_measures(ranked, smallest),
        tables=(_table(curves, smallest), *_remedy_tables(found)),
        meaning=_meaning(curves, curved, smallest, left_out),
        advice=lines,
        code=code,
        pictures=tuple(p for c in ranked[:MOST_PICTURES] for p in _pictures(context, c)),
        references=REFERENCES,
    )


# ------------------------------------------------------------------------------------------------------- tests


def _curves(context: Context) -> tuple[list[Curve], list[str]]:
    """Test what can be tested; a sentence for every number that cannot."""
    curves, left_out = [], []
    for predictor in context.predictors:
        if predictor.levels or len(predictor.columns) == 0:
            continue
        if not predictor.continuous:
            continue  # two values: any function of it is a straight line
        if len(predictor.own) != 1:
            how = "is a curve already" if len(predictor.own) > 1 else "stands only in products with others"
            left_out.append(f"{predictor.name} {how}")
            continue
        context.tell(f"Linearity: {predictor.name}")
        curve = _curve(context, predictor)
        if curve.tidwell is None and curve.spline is None:
            left_out.append(f"{predictor.name} cannot be tested: the models with a curve in it did not converge")
        else:
            curves.append(curve)
    if not curves:
        why = f" ({'; '.join(left_out)})" if left_out else ""
        raise NotChecked(f"The model has no continuous predictor that stands in it as a straight line{why}.")
    return curves, left_out


def _curve(context: Context, predictor: Predictor) -> Curve:
    column = predictor.own[0]
    x = context.design.X[:, column]
    label = context.design.x_names[column]
    shift = box_tidwell_shift(x)
    knots = knots_of(x)
    tidwell = _extended(context, box_tidwell_term(x, shift)[:, None], f"{label} ln {label}")
    spline = None
    if len(knots) >= 3:
        spline = _extended(context, spline_terms(x, knots), f"{label} (spline)")
    departure = 0.0
    if spline is not None:
        low, high = np.quantile(x, [0.05, 0.95])
        grid = np.linspace(low, high, GRID)
        line = np.polynomial.Polynomial.fit(grid, fitted := _fitted(spline, column, grid, knots), 1)
        departure = float(np.abs(fitted - line(grid)).max())
    return Curve(predictor, label, x, column, shift, tidwell, spline, knots, departure)


def _extended(context: Context, columns: FloatArray, name: str) -> Extension | None:
    try:
        return extend(context, columns, [f"{name} {j + 1}" for j in range(columns.shape[1])])
    except ModelError:
        return None


def _fitted(spline: Extension, column: int, grid: FloatArray, knots: FloatArray) -> FloatArray:
    """The spline's contribution to the log odds, without the constant."""
    return grid * spline.coefficients[column] + spline_terms(grid, knots) @ spline.coefficients[spline.added]


# ------------------------------------------------------------------------------------------------------- words


def _measures(ranked: Sequence[Curve], smallest: dict[int, float]) -> tuple[Measure, ...]:
    out = []
    for c in ranked:
        for what, e in (("spline", c.spline), ("Box-Tidwell", c.tidwell)):
            if e is not None:
                out.append(Measure(f"{c.label}: {what} LR chi2", e.lr, e.df, e.p))
    worst = ranked[0]
    return (Measure(f"smallest p-value, adjusted ({worst.label})", smallest[id(worst)]), *out)


def _table(curves: Sequence[Curve], smallest: dict[int, float]) -> CheckTable:
    columns = (
        "predictor", "added for ln", "x ln x", "std. err.", "Wald p", "Box-Tidwell LR p", "power suggested",
        "spline df", "spline LR chi2", "spline LR p", "adjusted p", "departure (log odds)",
    )  # fmt: skip
    rows = []
    for c in curves:
        t, s = c.tidwell, c.spline
        b = np.nan if t is None else t.coefficients[-1]
        se = np.nan if t is None else np.sqrt(t.cov[-1, -1])
        rows.append(
            (
                c.label,
                c.shift,
                float(b),
                float(se),
                np.nan if t is None else t.wald()[1],
                np.nan if t is None else t.p,
                _power(c),
                0 if s is None else s.df,
                np.nan if s is None else s.lr,
                np.nan if s is None else s.p,
                smallest[id(c)],
                c.departure,
            )
        )
    return CheckTable("Tests of each continuous predictor", columns, tuple(rows))


def _power(c: Curve) -> float:
    """First step of Box and Tidwell's iteration: the power of x (or of x shifted) that a straight line would fit."""
    if c.tidwell is None or c.tidwell.p >= 0.05:
        return np.nan
    slope = float(c.tidwell.coefficients[c.column] + c.tidwell.coefficients[-1] * (1 + np.log(c.x + c.shift).mean()))
    return float(1 + c.tidwell.coefficients[-1] / slope) if abs(slope) > 1e-12 else np.nan


def _meaning(curves: Sequence[Curve], curved: Sequence[Curve], smallest: dict[int, float], left_out: list[str]) -> str:
    names = ", ".join(c.label for c in curves)
    if not curved:
        text = f"A straight line on the log-odds scale does for {names}: neither test finds a curve."
    else:
        said = [f"{c.label} ({p_text(smallest[id(c)])}, up to {cell(c.departure)} log odds off)" for c in curved]
        text = f"The log-odds are not a straight line in {', '.join(said)}. "
        text += "The odds ratio per unit of such a predictor is an average over stretches where the effect differs."
        others = [c.label for c in curves if c not in curved]
        if others:
            text += f" A straight line does for {', '.join(others)}."
    shifted = [f"{c.label} + {cell(c.shift)}" for c in curves if c.shift]
    if shifted:
        text += f" Values of 0 or below have no logarithm, so Box-Tidwell used {', '.join(shifted)}."
    if left_out:
        text += f" Not tested: {'; '.join(left_out)}."
    return text


def _advice(context: Context, curved: Sequence[Curve], found: dict[str, list[Remedy]]) -> tuple[tuple[str, ...], str]:
    if not curved:
        return (), ""
    lines, code = [], []
    for c in curved:
        best = found[c.label][0] if found[c.label] else None
        if best is None:
            lines.append(f"Look at the pictures of {c.label} and choose a transformation or a spline.")
            continue
        lines.append(f"Enter {c.label} {best.words}: that lowers AIC by about {cell(best.gain)}.")
        code.append(f"better = me.melogit({best.formula!r}, data)")
        code.append("me.compare(fit, better)")
    lines.append(
        "Choose by what is known of the subject and by the pictures, not by p-values alone; then show the curve with "
        "margins."
    )
    return tuple(lines), "\n".join(code)


def _remedy_tables(found: dict[str, list[Remedy]]) -> list[CheckTable]:
    return [
        CheckTable(
            f"Other forms of {label}, best first",
            ("form", "df", "AIC less than now by"),
            tuple((r.form, r.df, r.gain) for r in options),
        )
        for label, options in found.items()
        if options
    ]


# ---------------------------------------------------------------------------------------------------- pictures


def _pictures(context: Context, c: Curve) -> list[Picture]:
    return [*_partial(context, c), _empirical(context, c)]


def _partial(context: Context, c: Curve) -> list[Picture]:
    """Means of partial residuals in classes of x, the model's line, and the spline with its band."""
    if c.spline is None:
        return []
    design = context.design
    mu = expit(conditional_predictor(context))
    weight = context.weight * mu * (1 - mu)
    use = (weight > 1e-12) & (design.trials > 0)
    residual = (design.y - design.trials * mu)[use] / (design.trials * mu * (1 - mu))[use]
    x, slope = c.x[use], float(context.beta[c.column])
    middle = float(np.average(x, weights=weight[use]))
    codes = classes(x, PARTIAL_CLASSES)
    size, at, rest = class_means(codes, weight[use], x, residual)
    low, high = np.quantile(x, [0.005, 0.995])
    grid = np.linspace(low, high, GRID)
    basis = np.column_stack([grid - middle, spline_terms(grid, c.knots) - spline_terms(np.array([middle]), c.knots)])
    place = [c.column, *range(len(c.spline.coefficients) - c.spline.df, len(c.spline.coefficients))]
    # The spline is shown at the level of the line, so that the eye compares their shapes.
    curve = basis @ c.spline.coefficients[place]
    shown = spline_terms(x, c.knots) - spline_terms(np.array([middle]), c.knots)
    inside = np.column_stack([x - middle, shown]) @ c.spline.coefficients[place]
    curve -= float(np.average(inside - slope * (x - middle), weights=weight[use]))
    half = 1.96 * np.sqrt(np.einsum("ij,jk,ik->i", basis, c.spline.cov[np.ix_(place, place)], basis))
    bent = "curved" if c.spline.p < context.alpha else "close to straight"
    data = {
        "x": at, "y": rest + slope * (at - middle), "points_size": size,
        "smooth_x": grid, "smooth_y": curve, "band_low": curve - half, "band_high": curve + half,
        "line_x": grid, "line_y": slope * (grid - middle),
        "xlabel": c.label, "ylabel": "Partial residual (log odds)",
    }  # fmt: skip
    alt = (
        f"Partial residuals of {c.label}, averaged in {len(at)} classes, with the model's straight line (slope "
        f"{cell(slope)}) and a spline with its 95 % band; the spline is {bent}, with at most {cell(c.departure)} log "
        "odds between it and a straight line."
    )
    return [Picture("scatter", f"Partial residuals of {c.label}", alt, data)]


def _empirical(context: Context, c: Curve) -> Picture:
    """Observed log odds in classes of x beside what the model expects there."""
    design = context.design
    use = context.weight > 0
    x, weight = c.x[use], context.weight[use]
    codes = classes(x, LOGIT_CLASSES)
    mu = expit(conditional_predictor(context))[use]
    size, at, share, expected = class_means(codes, weight, x, (design.y[use] / design.trials[use]), mu)
    events = share * size
    data = {
        "x": at, "y": np.log((events + 0.5) / (size - events + 0.5)), "points_size": size,
        "line_x": at, "line_y": np.log(expected / (1 - expected)),
        "xlabel": c.label, "ylabel": "Log odds observed",
    }  # fmt: skip
    alt = (
        f"Observed log odds in {len(at)} classes of {c.label} of about equal size (points), and the log odds of the "
        "model's mean probability in the same classes (line)."
    )
    return Picture("scatter", f"Empirical logits of {c.label}", alt, data)
