"""Whether rows of a group that follow each other in time are more alike than other rows of the group."""

from __future__ import annotations

import numpy as np

from melogit.diagnostics.context import Context, NotChecked
from melogit.diagnostics.simulated import compared, in_order
from melogit.diagnostics.worlds import simulated_p
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import p_text

KEY, TITLE = "time", "Serial correlation within groups"
LEAST_PAIRS = 30
REFERENCES = (
    "Diggle, P. J., Heagerty, P., Liang, K.-Y. and Zeger, S. L. (2002). Analysis of Longitudinal Data, 2nd ed., "
    "section "
    "5.2. Oxford.",
    "Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, section 4.4. Cambridge.",
)


def check(context: Context) -> Check:
    """Correlate residuals of rows that follow each other."""
    group = context.design.terms[-1].factor.name
    if context.time is None:
        raise NotChecked(
            "No time column was named. If rows of a group were observed one after the other, name it: "
            "fit.diagnose(time=...)."
        )
    pairs = int(in_order(context)[1].sum())
    if pairs < LEAST_PAIRS:
        raise NotChecked(f"Only {pairs} rows follow another row of the same group of '{group}', too few to judge by.")
    found = compared(context)
    observed, drawn = float(found.observed["serial"][0]), found.drawn["serial"][:, 0]
    usual = float(np.nanmedian(drawn))
    p = simulated_p(abs(observed - usual), np.abs(drawn - usual))
    verdict = Verdict.FINE
    if p < context.alpha:
        verdict = Verdict.PROBLEM if observed - usual > 0.1 else Verdict.LOOK
    name = context.time_name or "time"
    rows = f"rows of the same group of '{group}' that follow each other in {name}"
    meaning, advice, code = _in_words(context, verdict, rows, observed, usual, p)
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested=f"The correlation of the Pearson residuals of {pairs:,} pairs of {rows}, compared with that in "
        f"{found.worlds} data sets drawn from this model and fitted again (it is not 0 there, because the groups' "
        "effects "
        "are estimated).",
        measures=(Measure("Correlation with the next row", observed, p=p, note=f"usual in this model: {usual:+.3f}"),),
        tables=(
            CheckTable(
                "Correlation of residuals with those of the next row",
                ("pairs", "correlation", "usual in this model", "p"),
                ((pairs, observed, usual, p),),
            ),
        ),
        meaning=meaning,
        advice=advice,
        code=code,
        pictures=(
            Picture(
                "histogram",
                "Correlation with the next row",
                f"The correlation of residuals that follow each other, {observed:+.3f} in the data (line), and its "
                "distribution in data drawn from the model.",
                {"values": drawn, "line_at": observed, "xlabel": "Correlation of residuals that follow each other"},
            ),
        ),
        references=REFERENCES,
    )


def _in_words(
    context: Context, verdict: Verdict, rows: str, observed: float, usual: float, p: float
) -> tuple[str, tuple[str, ...], str]:
    """Meaning, advice and code."""
    if verdict is Verdict.FINE:
        return f"Residuals of {rows} are no more alike than the model says ({p_text(p)}).", (), ""
    name, group = context.time_name or "time", context.design.terms[-1].factor.name
    word, size = ("more", "small") if observed > usual else ("less", "large")
    meaning = (
        f"Residuals of {rows} are {word} alike than the model says ({p_text(p)}): a correlation of {observed:+.3f}, "
        "where "
        f"{usual:+.3f} is usual. Standard errors of predictors that change over time are too {size}."
    )
    advice = (
        f"Add a trend: {name} as a predictor, linear or as a spline, and a random slope of {name}.",
        "Add the previous outcome of the group as a predictor where it can act on the next (rows without one are "
        "lost).",
        'At least use robust standard errors, which allow for any correlation within a top-level group: vce="robust".',
    )
    code = f'refit = me.melogit("{context.fit.wording.formula} + ({name} | {group})", data, vce="robust")'
    return meaning, advice, code
