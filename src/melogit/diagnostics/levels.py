"""Whether the effects of one level are independent of what lies within, and of the size of the groups."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from melogit.diagnostics.context import Context, NotChecked
from melogit.diagnostics.simulated import compared
from melogit.diagnostics.worlds import departures, joint_p, simulated_p
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import p_text

KEY, TITLE = "levels", "Independence of the levels"
REFERENCES = (
    "Snijders, T. A. B. and Bosker, R. J. (2012). Multilevel Analysis, 2nd ed., section 10.4. Sage.",
    "Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, section 4.4. Cambridge.",
)


def check(context: Context) -> Check:
    """Compare the ties between neighbouring levels with those in data drawn from the fit."""
    terms = context.design.terms
    if len(terms) < 2:
        raise NotChecked("The model has one level of groups, so there are no levels to be independent of each other.")
    if not context.design.nested:
        raise NotChecked("The grouping factors cross each other, so none lies within another.")
    found = compared(context)
    observed, drawn = found.observed["levels"], found.drawn["levels"]
    if not np.isfinite(observed).any():
        raise NotChecked(
            f"Fewer than eight groups of '{terms[0].factor.name}' have two groups of '{terms[1].factor.name}' or more "
            "whose effects can be told apart: too few to see ties between the levels."
        )
    centre = np.nanmedian(drawn, axis=0)
    away, drawn_away = np.abs(observed - centre), np.abs(drawn - centre)
    p = joint_p(away, drawn_away)
    verdict = Verdict.LOOK if p < context.alpha else Verdict.FINE
    each = [simulated_p(float(away[k]), drawn_away[:, k]) for k in range(len(away))]
    texts = _texts(context)
    rows = tuple(
        (text, float(observed[k]), float(centre[k]), each[k])
        for k, text in enumerate(texts)
        if np.isfinite(observed[k])
    )
    first = int(np.argmax(departures(away, drawn_away)))
    meaning, advice = _in_words(context, verdict, p, texts[first], float(observed[first]), float(centre[first]))
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested="Rank correlations between the effects of a level, the mean and spread of the effects of the level "
        "below "
        f"within each group, and how many there are, compared with those in {found.worlds} data sets drawn from this "
        "model and fitted again.",
        measures=(Measure("Strongest tie between levels (rank correlation)", float(observed[first]), p=p),),
        tables=(
            CheckTable("Ties between the levels", ("between", "rank correlation", "usual in this model", "p"), rows),
        ),
        meaning=meaning,
        advice=advice,
        pictures=(_picture(observed, drawn, first, texts[first]),),
        references=REFERENCES,
    )


def _in_words(
    context: Context, verdict: Verdict, p: float, text: str, observed: float, usual: float
) -> tuple[str, tuple[str, ...]]:
    """Meaning and advice."""
    upper, lower = (term.factor.name for term in context.design.terms[:2])
    if verdict is Verdict.FINE:
        return f"The effects of '{upper}' and of '{lower}' within them show no ties ({p_text(p)}).", ()
    meaning = (
        f"The levels are tied to each other ({p_text(p)}): {text} are correlated ({observed:+.2f}, about "
        f"{usual:+.2f} if "
        "the levels were independent)."
    )
    return meaning, (
        f"Add what the groups of '{upper}' have in common as a predictor: their size, or the mean of a predictor over "
        f"their groups of '{lower}'.",
        "Where the spread differs between kinds of upper groups, give each kind a variance of its own (a random "
        "slope of "
        "its 0/1 column).",
    )


def _texts(context: Context) -> list[str]:
    out = []
    names = [term.factor.name for term in context.design.terms]
    for upper, lower in pairwise(names):
        out += [
            f"the effect of {upper} and the mean effect of {lower} in it",
            f"the effect of {upper} and the spread of {lower} in it",
            f"the effect of {upper} and the number of {lower} in it",
            f"the number of {lower} in {upper} and their spread",
        ]
    return out


def _picture(observed: np.ndarray, drawn: np.ndarray, first: int, text: str) -> Picture:
    return Picture(
        "histogram",
        "The strongest tie between levels",
        f"Rank correlation between {text}: {observed[first]:+.2f} in the data (line), and its distribution in data "
        "drawn "
        "from the model.",
        {"values": drawn[:, first], "line_at": float(observed[first]), "xlabel": "Rank correlation"},
    )
