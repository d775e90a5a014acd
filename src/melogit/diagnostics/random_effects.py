"""Whether the groups' effects look as if drawn from a normal distribution, the same for large and small groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics.context import Context, NotChecked
from melogit.diagnostics.group_statistics import SHAPE, effect_names, normal_scores, qq_points
from melogit.diagnostics.simulated import compared
from melogit.diagnostics.wording import listed
from melogit.diagnostics.worlds import Compared, departures, joint_p, simulated_p
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import cell, p_text

FloatArray = NDArray[np.float64]
KEY, TITLE = "random_effects", "Normality of the random effects"
SHOWN = 8
BAND = 0.95
MEANINGS = (
    "their QQ plot bends",
    "they are skewed",
    "their tails are too heavy or too light",
    "one group lies far out",
    "they spread more, or less, in large groups",
    "they are larger, or smaller, in large groups",
)
REFERENCES = (
    "Lange, N. and Ryan, L. (1989). Assessing normality in random effects models. Ann. Statist. 17, 624-642.",
    "Loy, A., Hofmann, H. and Cook, D. (2017). Model choice and diagnostics for linear mixed-effects models using "
    "statistics on street corners. J. Comput. Graph. Stat. 26, 478-492.",
    "Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, section 4.4. Cambridge.",
    "McCulloch, C. E. and Neuhaus, J. M. (2011). Misspecifying the shape of a random effects distribution: why getting "
    "it wrong may not matter. Statist. Sci. 26, 388-402.",
)


def check(context: Context) -> Check:
    """Compare the groups' effects with those in data drawn from the fit."""
    found = compared(context)
    observed, drawn = found.observed["shape"], found.drawn["shape"]
    if not np.isfinite(observed).any():
        raise NotChecked(
            "No grouping factor has eight groups or more whose effects can be told apart, too few to see a "
            "distribution."
        )
    p = joint_p(observed, drawn)
    names = effect_names(context.design)
    each = np.array([simulated_p(observed[k], drawn[:, k]) for k in range(len(observed))]).reshape(len(names), -1)
    verdict = Verdict.LOOK if p < context.alpha else Verdict.FINE
    pictures = tuple(
        _qq(found, position, len(context.design.terms[level].factor.levels), name, context)
        for position, (level, _, name) in enumerate(names)
        if np.isfinite(each[position]).any()
    )
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested="The groups' posterior means, divided by the standard deviation that they have if the model is right, "
        "are "
        f"compared with those in {found.worlds} data sets drawn from this model and fitted again. (The plain test of "
        "normality would be wrong: estimates of single groups are pulled towards 0, small groups more than large "
        "ones.)",
        measures=(
            Measure(
                f"Comparisons that stand out, of {np.isfinite(each).sum()}", int(np.sum(each < context.alpha)), p=p
            ),
            *(
                Measure(
                    f"{name}, {SHAPE[k]}", _shown(observed.reshape(len(names), -1)[position], k), p=each[position, k]
                )
                for position, (_, _, name) in enumerate(names)
                for k in range(len(SHAPE))
                if np.isfinite(each[position, k])
            ),
        ),
        tables=tuple(
            _outlying(context, found, position) for position in range(len(names)) if _known(found, names, position)
        ),
        meaning=_meaning(context, verdict, p, int(np.argmax(departures(observed, drawn)))),
        advice=_advice(verdict),
        code="" if verdict is Verdict.FINE else 'checks = fit.diagnose(only="shape")\nprint(checks["shape"])',
        pictures=pictures,
        references=REFERENCES,
    )


def _shown(values: FloatArray, k: int) -> float:
    """The statistic as it is named; the first is kept as the log of 1 - correlation."""
    return float(1 - np.exp(values[0])) if k == 0 else float(values[k])


def _known(found: Compared, names: list[tuple[int, int, str]], position: int) -> bool:
    level, k, _ = names[position]
    return bool(np.isfinite(found.world.effects[level].z[:, k]).any())


def _meaning(context: Context, verdict: Verdict, p: float, worst: int) -> str:
    names = effect_names(context.design)
    if verdict is Verdict.FINE:
        what = listed([name for _, _, name in names])
        return (
            f"The effects of the groups ({what}) look like draws from a normal distribution ({p_text(p)}), as far as "
            "these data can tell."
        )
    position, k = divmod(worst, len(SHAPE))
    return (
        f"The effects of the groups ({names[position][2]}) do not look like draws from one normal distribution "
        f"({p_text(p)}): {MEANINGS[k]}. Coefficients of predictors that vary within groups hardly suffer from "
        "this; "
        "the constant, predictors of groups, the variance and predictions for single groups can."
    )


def _advice(verdict: Verdict) -> tuple[str, ...]:
    if verdict is Verdict.FINE:
        return ()
    return (
        "See the check 'shape': the coefficients with a distribution of the effects that is left free, side by side.",
        "Look at the groups named in the table, and for a predictor of groups that is missing: two kinds of groups "
        "make "
        "two humps.",
        'Use robust standard errors (vce="robust") for predictors of groups.',
    )


def _outlying(context: Context, found: Compared, position: int) -> CheckTable:
    """The groups furthest out, with the chance that any group of a world is as far out."""
    level, k, name = effect_names(context.design)[position]
    effects, factor = found.world.effects[level], context.design.terms[level].factor
    z = effects.z[:, k]
    size = np.bincount(factor.codes, minlength=len(z))
    largest = found.drawn["shape"].reshape(found.worlds, -1, len(SHAPE))[:, position, SHAPE.index("largest effect")]
    order = np.argsort(-np.abs(np.nan_to_num(z)), kind="stable")[: min(SHOWN, int(np.isfinite(z).sum()))]
    rows = tuple(
        (
            str(factor.levels[g]),
            int(size[g]),
            float(effects.mean[g, k]),
            float(effects.std_err[g, k]),
            float(z[g]),
            simulated_p(abs(float(z[g])), largest),
        )
        for g in order
    )
    columns = ("group", "rows", "effect", "posterior std. dev.", "standardised", "p: any group so far out")
    return CheckTable(f"The groups furthest out: {name}", columns, rows)


def _qq(found: Compared, position: int, groups: int, name: str, context: Context) -> Picture:
    names = effect_names(context.design)
    lengths = [len(qq_points(len(context.design.terms[level].factor.levels))) for level, _, _ in names]
    start = int(np.sum(lengths[:position]))
    part = slice(start, start + lengths[position])
    drawn = found.drawn["quantiles"][:, part]
    low, high = np.nanquantile(drawn, [(1 - BAND) / 2, (1 + BAND) / 2], axis=0)
    observed = found.observed["quantiles"][part]
    outside = int(np.sum((observed < low) | (observed > high)))
    data: dict[str, object] = {
        "theoretical": normal_scores(lengths[position]),
        "observed": observed,
        "low": low,
        "high": high,
        "middle": np.nanmedian(drawn, axis=0),
        "xlabel": "Expected of a normal distribution",
        "ylabel": "Standardised effect",
    }
    level, k, _ = names[position]
    z = found.world.effects[level].z[:, k]
    if np.isfinite(z).all() and lengths[position] == groups:  # every point is one group
        data["labels"] = [str(v) for v in context.design.terms[level].factor.levels[np.argsort(z, kind="stable")]]
    alt = (
        f"QQ plot of the standardised effects, {name}: {outside} of {lengths[position]} points lie outside the band "
        "that "
        f"{share_text(BAND)} of data sets drawn from the model keep to, point by point."
    )
    return Picture("qq", f"Effects against a normal distribution: {name}", alt, data)


def share_text(value: float) -> str:
    """A share as whole percent."""
    return f"{cell(100 * value)} %"
