"""Whether a mixed-effects logistic model is the method for these data at all, and which one is if not."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from melogit.diagnostics.context import Context
from melogit.diagnostics.sparse import event_counts
from melogit.inference import against_logistic
from melogit.inference.icc import LOGISTIC_VARIANCE
from melogit.report.checks import Check, CheckTable, Measure, Verdict
from melogit.report.checks_text import cell, p_text
from melogit.report.numbers import count

ROWS_PER_GROUP = 1.5
NEARLY_ALL = 0.9  # intraclass correlation above which rows of a group hardly differ
REFERENCES = (
    "Self, S. G. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators and likelihood ratio "
    "tests under nonstandard conditions. J. Amer. Statist. Assoc. 82, 605-610.",
    "Agresti, A. (2013). Categorical Data Analysis, 3rd ed., chapters 8 and 13. Wiley.",
)


@dataclass(frozen=True, slots=True)
class Doubt:
    """One reason to think of another method."""

    meaning: str
    advice: str
    code: str = ""


def check(context: Context) -> Check:
    """Ask whether groups matter and whether the response is one of two values by nature."""
    fit, design = context.fit, context.design
    shares = _shares(context)
    icc = sum(shares)
    test = against_logistic(fit.loglik, fit.loglik_fixed_only, len(fit.names) - fit.n_fixed)
    doubts = [d for d in (_many_values(context), _clustering(context, icc, test.p), _almost_fixed(context, icc)) if d]
    events, others = event_counts(design)
    rows = tuple(
        (t.factor.name, t.factor.n_levels, float(design.weights.sum()) / t.factor.n_levels, share)
        for t, share in zip(design.terms, shares, strict=True)
    )
    names = [term.factor.name for term in design.terms]
    lowest = names[-1] if fit.nested else " and ".join(names)
    meaning = " ".join(d.meaning for d in doubts) or (
        f"Rows of the same {lowest} resemble each other (intraclass correlation {cell(icc)}), so a plain logistic "
        f"regression would not do; the response has two values ({count(events)} events, {count(others)} others)."
    )
    return Check(
        key="right_model",
        title="Is this the right model",
        verdict=Verdict.LOOK if doubts else Verdict.FINE,
        tested="Whether rows of a group resemble each other (likelihood-ratio test against plain logistic regression, "
        "intraclass correlation), whether groups have several rows, and whether the response had only two values.",
        measures=(
            Measure(
                "Test of the random effects, LR chi2",
                test.stat,
                test.df,
                test.p,
                f"against plain logistic regression, {test.kind}",
            ),
            Measure("intraclass correlation", icc),
        ),
        tables=(CheckTable("Groups", ("group", "groups", "rows per group", "share of variance"), rows),),
        meaning=meaning,
        advice=tuple(d.advice for d in doubts),
        code="\n".join(d.code for d in doubts if d.code),
        references=REFERENCES,
    )


def _shares(context: Context) -> list[float]:
    """Each grouping factor's share of the latent variance, (L,), random slopes at the rows' own predictors."""
    weights = context.weight
    sizes = [
        float(np.average(np.einsum("ni,ij,nj->n", term.Z, found.Sigma, term.Z), weights=weights))
        for term, found in zip(context.design.terms, context.fit.terms, strict=True)
    ]
    total = sum(sizes) + LOGISTIC_VARIANCE
    return [size / total for size in sizes]


def _many_values(context: Context) -> Doubt | None:
    """One value of several was made the event."""
    if len(context.outcomes) < 3:
        return None
    wording = context.fit.wording
    others = [v for v in context.outcomes if v != wording.event]
    shown = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
    return Doubt(
        f"The response {wording.response} has {len(context.outcomes)} values; here '{wording.event}' counts as the "
        f"event and {shown} count alike.",
        "If its values have an order (mild, moderate, severe), an ordinal (cumulative logit) mixed model uses all of "
        "them; if not, a multinomial one does. R's packages ordinal (clmm) and mclogit (mblogit) fit these.",
    )


def _clustering(context: Context, icc: float, p: float) -> Doubt | None:
    """Groups that do not matter, or that have a row each."""
    design = context.design
    lowest = design.terms[-1].factor
    per_group = float(design.weights.sum()) / lowest.n_levels
    wording = context.fit.wording
    plain = re.sub(r"\s*\+?\s*\([^()|]*\|[^()]*\)", "", wording.formula)
    code = f"import statsmodels.formula.api as smf\nsmf.logit({plain!r}, data).fit().summary()"
    code = code if wording.event is None else ""  # statsmodels wants the response as 0 and 1
    if per_group < ROWS_PER_GROUP and (design.trials <= 1).all():
        return Doubt(
            f"There are {cell(per_group)} rows per group of {lowest.name}: with about one row each, the variance "
            "between groups can hardly be told from that within them.",
            "A plain logistic regression, with standard errors that allow for the few groups of several rows, is the "
            "method for such data.",
            code,
        )
    if p >= context.alpha:
        names = " and ".join(t.factor.name for t in design.terms)
        return Doubt(
            f"Rows of the same {names} do not resemble each other more than chance makes them ({p_text(p)}, intraclass "
            f"correlation {cell(icc)}): there is no sign of clustering.",
            "A plain logistic regression gives nearly the same coefficients. Keep the random effects where the study "
            "was designed in groups.",
            code,
        )
    return None


def _almost_fixed(context: Context, icc: float) -> Doubt | None:
    """Groups whose rows hardly differ."""
    if not icc > NEARLY_ALL or not np.isfinite(icc):
        return None
    name = context.design.terms[-1].factor.name
    return Doubt(
        f"Rows of the same {name} nearly always have the same outcome (intraclass correlation {cell(icc)}); "
        f"coefficients are for a given {name} and much larger than differences between people drawn at random.",
        "Report population-averaged probabilities beside the odds ratios; for effects within groups only, conditional "
        "logistic regression asks nothing of the distribution of the random effects.",
        "fit.margins()",
    )
