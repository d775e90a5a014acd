"""Whether the fit reached a maximum, whether a variance is at its boundary, and how accurate the integral is.

Both checks read what the fit recorded about itself; nothing is computed anew.
"""

from __future__ import annotations

import numpy as np

from melogit.diagnostics.context import Context
from melogit.fit.types import Fit, Integration, Status
from melogit.report.checks import Check, CheckTable, Measure, Verdict
from melogit.report.checks_text import cell
from melogit.report.numbers import brief, number

SHIFT_LOOK, SHIFT_PROBLEM = 0.02, 0.2  # of an estimate, in standard errors, on doubling the points
CONDITION = 1e10  # of the information matrix in standardised parameters: estimates cannot be told apart


def check_convergence(context: Context) -> Check:
    """Tell a maximum from an early stop, and an interior maximum from one at the boundary."""
    fit = context.fit
    steps = [row for row in fit.trace if row.stage == "full"]
    decrement = steps[-1].decrement if steps else np.nan
    measures = [Measure("distance from the maximum in standard errors", float(np.sqrt(max(decrement, 0.0))))]
    condition = _condition(fit)
    if np.isfinite(condition):
        measures.append(Measure("condition number of the information", condition, note="parameters in standard units"))
    verdict, meaning, advice, code = _judge_convergence(fit, condition)
    rows = tuple((row.stage, row.iteration, number(row.loglik), row.decrement) for row in fit.trace)
    table = CheckTable("Iterations", ("stage", "iteration", "log-likelihood", "decrement"), rows)
    return Check(
        key="convergence",
        title="Convergence and boundary",
        verdict=verdict,
        tested="Whether the estimates are a maximum of the likelihood (the Newton decrement g'H^-1 g is the squared "
        "distance from it in standard errors), and whether a variance or a correlation is at the edge of "
        "what it can be.",
        measures=tuple(measures),
        tables=(table,),
        meaning=meaning,
        advice=advice,
        code=code,
        references=("Boyd, S. and Vandenberghe, L. (2004). Convex Optimization, section 9.5. Cambridge.",),
    )


def _condition(fit: Fit) -> float:
    """Condition number of the correlation matrix of the estimates that have standard errors."""
    free = np.isfinite(np.diag(fit.cov)) & (np.diag(fit.cov) > 0)
    if free.sum() < 2:
        return np.nan
    cov = fit.cov[np.ix_(free, free)]
    size = np.sqrt(np.diag(cov))
    return float(np.linalg.cond(cov / np.outer(size, size)))


def boundary_names(fit: Fit) -> list[str]:
    """Variances at 0 and correlations at +-1, by the names of their parameters."""
    names = []
    for term in fit.terms:
        size = np.diag(term.Sigma)
        for name, variance in zip(term.names, size, strict=True):
            if variance <= 1e-10:
                names.append(f"{term.name}:var({name})")
        if (size > 1e-10).all() and len(size) > 1:
            scale = np.sqrt(np.outer(size, size))
            if np.linalg.eigvalsh(term.Sigma / scale)[0] < 1e-7:
                names.append(f"the correlation of the random effects of {term.name}")
    return names


def _judge_convergence(fit: Fit, condition: float) -> tuple[Verdict, str, tuple[str, ...], str]:
    if fit.status not in (Status.CONVERGED, Status.BOUNDARY, Status.SEPARATED):
        return (
            Verdict.PROBLEM,
            f"The fit is not a maximum of the likelihood: it {fit.status.value}. Its coefficients, standard errors and "
            "tests are not to be used.",
            ("Allow more iterations, or simplify the random effects.",),
            f"fit = me.melogit({fit.wording.formula!r}, data, max_iterations=500)",
        )
    edge = boundary_names(fit)
    if edge:
        listed = " and ".join(edge)
        return (
            Verdict.LOOK,
            f"The maximum lies at the boundary: {listed} {'is' if len(edge) == 1 else 'are'} at the edge of what is "
            "possible (a variance of 0, a correlation of 1). The data show no sign of that part of the random effects; "
            "the coefficients and their standard errors hold.",
            (
                "Leave that random effect out, or keep it where the design of the study demands it; either way the "
                "coefficients stay as they are.",
                "A variance estimated as 0 need not be 0: ask for its profile interval.",
            ),
            'fit.confint(kind="profile")',
        )
    if condition > CONDITION:
        return (
            Verdict.LOOK,
            f"The data can hardly tell some of the estimates apart (condition number {cell(condition)}). Standard "
            "errors may be inaccurate.",
            ("See the check of collinearity; centre and rescale predictors; simplify the random effects.",),
            "",
        )
    if fit.status is Status.SEPARATED:
        return (
            Verdict.LOOK,
            "The finite coefficients are at their maximum, but some coefficients are infinite: see "
            "the check of separation.",
            (),
            "",
        )
    return Verdict.FINE, "The estimates are a maximum of the likelihood, away from the boundary.", (), ""


def _by_draws(found: Integration) -> tuple[Verdict, str]:
    """Crossed factors, where the exact likelihood is estimated by drawing."""
    shift, noise = found.max_shift_in_se, found.shift_noise
    if found.method == "simulated":
        verdict = Verdict.FINE if found.accurate else Verdict.LOOK
        return verdict, (
            f"The likelihood was simulated with {found.draws:,} draws, whose Monte Carlo error is at most "
            f"{brief(noise)} of an estimate's standard error."
        )
    sure = shift - 2 * noise
    verdict = Verdict.PROBLEM if sure > SHIFT_PROBLEM else Verdict.LOOK if sure > SHIFT_LOOK else Verdict.FINE
    return verdict, (
        "The integral was taken by the Laplace approximation, because groups cross: with the exact likelihood an "
        f"estimate would move by about {brief(shift)} of its standard error (by {found.draws:,} random draws, whose "
        f"own error is {brief(noise)}), and the log-likelihood by {brief(found.loglik_error)}."
    )


def check_integration(context: Context) -> Check:
    """Read the certificate of the integral over the random effects."""
    fit, found = context.fit, context.fit.integration
    points = " x ".join(str(p) for p in found.points)
    shift, change = found.max_shift_in_se, abs(found.loglik_error)
    if not np.isfinite(shift) and not np.isfinite(change):
        verdict = Verdict.SKIPPED
        how = "the Laplace approximation" if found.method == "laplace" else f"{found.method} with {points} points"
        meaning = f"The integral was taken by {how}, and nothing finer was affordable to compare it with."
    elif found.draws:
        verdict, meaning = _by_draws(found)
    elif shift > SHIFT_PROBLEM:
        verdict = Verdict.PROBLEM
        meaning = (
            f"The integral over the random effects is not accurate: with about twice the points an estimate moves by "
            f"{brief(shift)} of its standard error. Coefficients and variances depend on the number of points."
        )
    elif shift > SHIFT_LOOK or (found.automatic and not found.accurate):
        verdict = Verdict.LOOK
        meaning = (
            f"The integral over the random effects is rough: with about twice the points ({found.method}, {points} "
            f"now) an estimate moves by {brief(shift)} of its standard error, the log-likelihood by {brief(change)}."
        )
    else:
        verdict = Verdict.FINE
        meaning = (
            f"The integral is accurate: about twice the points move no estimate by more than {brief(shift)} of its "
            f"standard error, and the log-likelihood by {brief(change)}."
        )
    advice, code = (), ""
    if verdict in (Verdict.LOOK, Verdict.PROBLEM):
        advice = ("Let melogit choose the points, or take more.",)
        code = f'fit = me.melogit({fit.wording.formula!r}, data, intpoints="auto")'
        if found.draws:
            advice = ("Maximise the exact likelihood, by simulation.",)
            code = f'fit = me.melogit({fit.wording.formula!r}, data, method="simulated")'
    finer = f"{found.draws} draws" if found.draws else " x ".join(str(p) for p in found.check_points)
    rows = ((found.method, points, finer, found.loglik_error, shift),)
    columns = ("method", "points per dimension", "compared with", "change of log-likelihood", "largest shift in SE")
    return Check(
        key="integration",
        title="Accuracy of the integral",
        verdict=verdict,
        tested="How far estimates and log-likelihood move when the random effects are integrated out "
        + ("with about twice as many points." if not found.draws else "by random draws, without an approximation."),
        measures=(
            Measure("largest move of an estimate, in standard errors", shift),
            Measure("change of log-likelihood", change),
        ),
        tables=(CheckTable("Certificate", columns, rows),),
        meaning=meaning,
        advice=advice,
        code=code,
        references=(
            "Lesaffre, E. and Spiessens, B. (2001). On the effect of the number of quadrature points in a logistic "
            "random-effects model. Applied Statistics 50, 325-335.",
        ),
    )
