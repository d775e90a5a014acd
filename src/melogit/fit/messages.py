"""What a fit has to say: one function per message, so that a test can read it."""

from __future__ import annotations

from collections.abc import Sequence

from melogit.fit.types import Integration, Status


def listed(names: Sequence[str], most: int = 6) -> str:
    """'a', 'b' and 'c'."""
    quoted = [f"'{n}'" for n in names]
    if len(quoted) > most:
        return ", ".join(quoted[:most]) + f" and {len(quoted) - most} more"
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def zero_variance(names: Sequence[str]) -> str:
    """A variance of 0."""
    if len(names) == 1:
        head, error, term = f"The variance {listed(names)} is", "that variance", "the term"
    else:
        head, error, term = f"The variances {listed(names)} are", "those variances", "the terms"
    return (
        f"{head} estimated as 0: the groups do not differ more than chance makes them. The fixed effects and their "
        f"standard errors hold; the standard error of {error} is not defined and is not reported. Consider leaving "
        f"{term} out."
    )


def perfect_correlation(names: Sequence[str]) -> str:
    """A correlation at its limit."""
    return (
        f"The correlation behind {listed(names)} is estimated at its limit (plus or minus 1, or the lowest that the "
        "structure allows): the data cannot tell these random effects apart. Consider "
        'covariance="independent" or leaving a random slope out.'
    )


def not_identified(names: Sequence[str]) -> str:
    """Variances that enter the model only through a combination."""
    return (
        f"The variance parameters {listed(names)} cannot be told apart: within the groups, their predictors vary so "
        "that only a combination of them enters the model. Leave out one of the random effects, or check whether a "
        "random slope is constant within groups."
    )


def flat(names: Sequence[str]) -> str:
    """A singular information matrix."""
    these = "this parameter" if len(names) == 1 else "these parameters"
    return (
        f"The likelihood does not bend along {listed(names)}: the data do not determine {these}, so no standard error "
        "is reported there. Simplify the model or check whether a predictor repeats another."
    )


def not_converged(status: Status, iterations: int, decrement: float, integration: Integration) -> str:
    """No maximum was reached."""
    how = f"Stopped after {iterations} iterations"
    if status is Status.STALLED:
        how += " because no further step raised the log-likelihood"
    if status is Status.NOT_FINITE:
        how += " because the log-likelihood was not a finite number"
    crude = integration.check_points and abs(integration.loglik_error) > 0.1
    advice = 'try intpoints="auto" (these points are too few here)' if crude else "raise max_iterations"
    return (
        f"{how}, with the estimates still about {decrement**0.5:.1g} standard errors from a maximum (target 3e-05). "
        "The estimates are not a maximum of the likelihood and must not be used. See the iteration log (.trace); "
        f"{advice}, or fit a simpler model."
    )


def too_many_paths(points: Sequence[int], effects: Sequence[int], limit: int) -> str:
    """A grid that no machine can walk."""
    paths = 1.0
    for k, q in zip(points, effects, strict=True):
        paths *= float(k) ** q
    return (
        f"Quadrature with {'/'.join(map(str, points))} points for {'/'.join(map(str, effects))} random effects needs "
        f"{paths:,.0f} evaluations of every observation; the limit is {limit:,}. Ask for fewer points (intpoints=), "
        'or use method="laplace".'
    )


def inaccurate(integration: Integration, limit: float, group_size: float | None = None) -> str:
    """The quadrature is less accurate than it should be."""
    if integration.draws:
        return inaccurate_crossed(integration, limit)
    points = "/".join(map(str, integration.points))
    if integration.method == "laplace":
        small = "" if group_size is None else f" (with groups that average {group_size:.3g} observations)"
        how = f"The Laplace approximation{small}"
    else:
        how = f"Quadrature with {points} points"
    if integration.loglik_error != integration.loglik_error:
        return (
            f"{how} could not be checked with more points: the model has too many random effects for a grid, or no "
            "nodes could be placed. The accuracy of the estimates is not known."
        )
    if integration.automatic:
        advice = "The points could not be raised further; simplify the random effects, or take the digits with care."
    else:
        advice = 'Refit with more points, or with intpoints="auto".'
    return (
        f"{how} is not accurate: with {'/'.join(map(str, integration.check_points))} points the log-likelihood "
        f"changes by {integration.loglik_error:.2g} and an estimate by {integration.max_shift_in_se:.2g} standard "
        f"errors (wanted: {limit:g}). {advice}"
    )


def inaccurate_crossed(integration: Integration, limit: float) -> str:
    """Crossed factors: Laplace is off, or the draws are too few."""
    if integration.method == "simulated":
        return (
            f"{integration.draws:,} draws leave a Monte Carlo error of {integration.loglik_noise:.2g} in the "
            f"log-likelihood and of {integration.shift_noise:.2g} standard errors in an estimate (wanted: {limit:g}); "
            f"the importance weights are worth {integration.effective:.0%} of the draws. Take the last digits with "
            "care."
        )
    return (
        f"The Laplace approximation is not exact here: by {integration.draws} draws, the exact log-likelihood at these "
        f"estimates differs by {integration.loglik_error:.2g} (Monte Carlo error {integration.loglik_noise:.1g}), and "
        f"an estimate would move by {integration.max_shift_in_se:.2g} (error {integration.shift_noise:.1g}) standard "
        "errors. Other software gives the same answer without saying so. For the exact maximum fit with "
        'method="simulated".'
    )


def no_joint_mode() -> str:
    """Not a number at the start."""
    return (
        "The likelihood of this model is not a finite number where the search begins, so nothing can be estimated. "
        "Look for extreme values among the predictors, the offset and the weights."
    )


def too_many_to_simulate(effects: int) -> str:
    """No quadrature for the largest factor."""
    return (
        f'method="simulated" takes the integrals of the grouping factor with most effects by quadrature, and {effects} '
        "random effects in each of its groups are too many for that (the limit is 4). Leave out some random slopes, or "
        "use the Laplace approximation (leave method= out)."
    )


def simulated_is_for_crossed() -> str:
    """A method where another is better."""
    return (
        'method="simulated" is for crossed grouping factors; the groups of this model are nested, and quadrature gives '
        "a far more accurate answer. Leave method= out."
    )


def separated(names: Sequence[str], rows: int, response: str) -> str:
    """Some coefficients are infinite."""
    verb, these = ("separates", "this coefficient") if len(names) == 1 else ("separate", "these coefficients")
    return (
        f"{listed(names)} {verb} the response '{response}': in {rows} rows the outcome is predicted perfectly, so the "
        f"estimate of {these} is infinite and has no standard error. The other estimates are those of the limit (as "
        "if these rows and columns were left out). Consider leaving the predictor out, joining categories, or a "
        "penalised method."
    )


def completely_separated(names: Sequence[str], response: str) -> str:
    """No estimate exists."""
    verb = "separates" if len(names) == 1 else "separate"
    return (
        f"{listed(names)} {verb} the response '{response}' completely: every outcome is predicted perfectly, so "
        "maximum-likelihood estimates do not exist (they are infinite). Leave the predictor out, check that it is "
        "not the response in another form, or collect more data."
    )


def coincide(names: Sequence[str]) -> str:
    """Two grouping factors with the same groups."""
    return (
        f"The grouping factors {listed(names)} have the same groups under different names, so the data cannot tell "
        "their random effects apart. Keep one of them."
    )


def no_grid_for_crossed(names: Sequence[str], method: str | None, points: object) -> str:
    """Quadrature was asked for where groups cross."""
    asked = f"method={method!r}" if method not in (None, "simulated") else f"intpoints={points!r}"
    then = "the Laplace approximation is used, with an estimate of its error"
    if method == "simulated":
        then = "draws are added until their error is small enough"
    return (
        f"The grouping factors {listed(names)} cross each other (groups of one meet several groups of the other), so "
        f"the integral does not fall apart into small ones that {asked} could take by quadrature. Leave {asked} out: "
        f"{then}. If ids of "
        f"'{names[-1]}' are used again in every '{names[0]}', the groups are nested: write (1 | {'/'.join(names)})."
    )
