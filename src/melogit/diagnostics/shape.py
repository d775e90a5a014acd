"""How much the coefficients depend on the random effects being normal: the same model with a free distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics.context import Context, NotChecked, needs_maximum
from melogit.diagnostics.mass_points import MassPoints, fit_mass_points
from melogit.diagnostics.wording import listed
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import cell

FloatArray = NDArray[np.float64]
KEY, TITLE = "shape", "Coefficients without the normal distribution"
# Standard errors. Coefficients of predictors of groups move by one or so even where the effects are normal, because a
# free distribution tells less about them.
MOVES = 2.0
REFERENCES = (
    "Laird, N. (1978). Nonparametric maximum likelihood estimation of a mixing distribution. J. Amer. Statist. Assoc. "
    "73, 805-811.",
    "Aitkin, M. (1999). A general maximum likelihood analysis of variance components in generalized linear models. "
    "Biometrics 55, 117-128.",
    "McCulloch, C. E. and Neuhaus, J. M. (2011). Misspecifying the shape of a random effects distribution: why getting "
    "it wrong may not matter. Statist. Sci. 26, 388-402.",
)


def check(context: Context) -> Check:
    """Fit masses at points in place of a normal distribution, and compare the coefficients."""
    needs_maximum(context.fit)
    design, fit = context.design, context.fit
    term, *others = design.terms
    if others:
        raise NotChecked("A free distribution is fitted for models with one grouping factor; this one has several.")
    if term.names != ("Intercept",):
        raise NotChecked("A free distribution is fitted for models with a random intercept alone; this one has slopes.")
    sd = float(np.sqrt(max(fit.terms[0].Sigma[0, 0], 0.0)))
    if sd < 1e-4:
        raise NotChecked("The variance of the random intercept is estimated as 0, so it has no distribution to free.")
    group = term.factor.name
    found = fit_mass_points(design, context.beta, sd)
    if not found.converged:
        raise NotChecked("The model with a free distribution did not reach a maximum.")
    at = [j for j, name in enumerate(design.x_names) if name != "Intercept"]
    se = np.sqrt(np.diag(fit.cov))[at]
    shift = (found.beta - context.beta[at]) / se
    far = [k for k in range(len(at)) if abs(shift[k]) > MOVES]
    verdict = Verdict.LOOK if far else Verdict.FINE
    names = [design.x_names[j] for j in at]
    gain = found.loglik - fit.loglik
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested=f"The model was fitted again with the distribution of the effects of '{group}' left free: masses at as "
        "many points as raise the likelihood (nonparametric maximum likelihood). Coefficients that move by more than "
        f"{MOVES:g} standard errors rest on the normal distribution; less is usual for predictors of groups.",
        measures=(
            Measure("Largest change of a coefficient, in standard errors", float(np.max(np.abs(shift), initial=0.0))),
            Measure("Points of the free distribution", len(found.points)),
            Measure(
                "Log-likelihood above the normal model's",
                float(gain),
                note="a free distribution can follow the data, so some gain is no finding",
            ),
        ),
        tables=(_table(context, found, at, shift), _masses(found, group)),
        meaning=_meaning(names, far, shift, found, fit.terms[0].Sigma[0, 0], group),
        advice=()
        if verdict is Verdict.FINE
        else (
            f"Report {listed([names[k] for k in far])} from both fits (table), or with robust standard errors.",
            f"Look for a predictor that tells two kinds of '{group}' apart: masses far from each other point to one.",
        ),
        pictures=(_forest(context, found, at, names), _bars(found, group)),
        references=REFERENCES,
    )


def _meaning(
    names: list[str], far: list[int], shift: FloatArray, found: MassPoints, variance: float, group: str
) -> str:
    size = np.abs(shift)
    if not len(size):
        first = "The model has no predictors whose coefficients could depend on the distribution of the effects."
    elif far:
        first = (
            f"{listed([names[k] for k in far])} depend{'s' if len(far) == 1 else ''} on the effects of '{group}' being "
            f"normal: with a free distribution {names[int(np.argmax(size))]} moves by {size.max():.1f} standard errors."
        )
    else:
        first = (
            f"The coefficients do not depend on the effects of '{group}' being normal: with a free distribution none "
            "moves "
            f"by more than {size.max():.2f} standard errors."
        )
    return (
        f"{first} The free distribution has {len(found.points)} points and a variance of {cell(found.variance)} "
        f"(normal: {cell(variance)})."
    )


def _table(context: Context, found: MassPoints, at: list[int], shift: FloatArray) -> CheckTable:
    se = np.sqrt(np.diag(context.fit.cov))
    rows = tuple(
        (
            context.design.x_names[j],
            float(context.beta[j]),
            float(se[j]),
            float(found.beta[k]),
            float(found.std_err[k]),
            float(shift[k]),
        )
        for k, j in enumerate(at)
    )
    columns = ("predictor", "normal", "std. error", "free", "std. error, free", "change in std. errors")
    return CheckTable("Coefficients with normal effects and with a free distribution (log-odds)", columns, rows)


def _masses(found: MassPoints, group: str) -> CheckTable:
    rows = []
    for point, mass in zip(found.points, found.masses, strict=True):
        beyond = "beyond this" if point in found.limits else ""
        rows.append((float(point), float(point - found.mean), float(mass), beyond))
    return CheckTable(
        f"The free distribution of the effects of {group}", ("constant", "effect", "mass", ""), tuple(rows)
    )


def _forest(context: Context, found: MassPoints, at: list[int], names: list[str]) -> Picture:
    se = np.sqrt(np.diag(context.fit.cov))[at]
    half = 1.959963984540054
    normal = context.beta[at]
    return Picture(
        "forest",
        "Coefficients with normal effects and with a free distribution",
        f"Coefficients with 95 % intervals of {listed(names) if names else 'no predictors'}, from both fits.",
        {
            "names": names,
            "estimate": normal,
            "low": normal - half * se,
            "high": normal + half * se,
            "estimate2": found.beta,
            "low2": found.beta - half * found.std_err,
            "high2": found.beta + half * found.std_err,
            "series": ("normal", "free"),
            "reference": 0.0,
            "xlabel": "Coefficient (log-odds)",
        },
    )


def _bars(found: MassPoints, group: str) -> Picture:
    return Picture(
        "bars",
        f"The free distribution of the effects of {group}",
        f"Masses of the {len(found.points)} points of the free distribution.",
        {
            "names": [f"{point - found.mean:+.2f}" for point in found.points],
            "value": found.masses,
            "xlabel": "Share of groups with this effect (log-odds)",
        },
    )
