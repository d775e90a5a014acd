"""What a fit has to say: one function per sentence, so that a test can read it."""

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
    one = len(names) == 1
    return (
        f"{'The variance' if one else 'The variances'} {listed(names)} {'is' if one else 'are'} estimated as 0: the groups "
        "do not differ more than chance makes them. The fixed effects and their standard errors hold; the standard "
        f"error of {'that variance' if one else 'those variances'} is not defined and is not reported. Consider leaving "
        f"{'the term' if one else 'the terms'} out."
    )


def perfect_correlation(names: Sequence[str]) -> str:
    """A correlation of +-1."""
    return (
        f"The correlation of random effects behind {listed(names)} is estimated as plus or minus 1: the data cannot tell "
        'these effects apart. Consider covariance="independent" or leaving a random slope out.'
    )


def flat(names: Sequence[str]) -> str:
    """A singular information matrix."""
    return (
        f"The likelihood does not bend along {listed(names)}: the data do not determine "
        f"{'this parameter' if len(names) == 1 else 'these parameters'}, so no standard error is reported there. Simplify "
        "the model or check whether a predictor repeats another."
    )


def not_converged(status: Status, iterations: int, decrement: float) -> str:
    """No maximum was reached."""
    how = {
        Status.MAX_ITERATIONS: f"Stopped after {iterations} iterations",
        Status.STALLED: f"Stopped after {iterations} iterations because no further step raised the log-likelihood",
        Status.NOT_FINITE: f"Stopped after {iterations} iterations because the log-likelihood was not a finite number",
    }[status]
    return (
        f"{how}, with the estimates still about {decrement**0.5:.1g} standard errors from a maximum (target 3e-05). The "
        "estimates are not a maximum of the likelihood and must not be used. See the iteration log (.trace); try a "
        "simpler model, or raise max_iterations."
    )


def inaccurate(integration: Integration, limit: float) -> str:
    """The quadrature is less accurate than it should be."""
    how = {"laplace": "The Laplace approximation"}.get(
        integration.method, f"Quadrature with {'/'.join(map(str, integration.points))} points"
    )
    if not integration.check_points or integration.loglik_error != integration.loglik_error:
        return (
            f"{how} could not be checked with more points: the model has too many random effects for a grid. The "
            "accuracy of the estimates is not known."
        )
    advice = (
        "The points could not be raised further; simplify the random effects, or treat the last digits with care."
        if integration.automatic
        else 'Refit with more points, or with intpoints="auto".'
    )
    return (
        f"{how} is not accurate: with {'/'.join(map(str, integration.check_points))} points the log-likelihood changes by "
        f"{integration.loglik_error:.2g} and an estimate by {integration.max_shift_in_se:.2g} standard errors "
        f"(wanted: {limit:g}). {advice}"
    )


def separated(names: Sequence[str], rows: int, response: str) -> str:
    """Some coefficients are infinite."""
    return (
        f"{listed(names)} separate{'s' if len(names) == 1 else ''} the response '{response}': in {rows} rows the outcome is "
        f"predicted perfectly, so the estimate of {'this coefficient' if len(names) == 1 else 'these coefficients'} is "
        "infinite and has no standard error. The other estimates are those of the limit (as if these rows and columns "
        "were left out). Consider leaving the predictor out, joining categories, or a penalised method."
    )


def completely_separated(names: Sequence[str], response: str) -> str:
    """No estimate exists."""
    return (
        f"{listed(names)} separate{'s' if len(names) == 1 else ''} the response '{response}' completely: every outcome is "
        "predicted perfectly, so maximum-likelihood estimates do not exist (they are infinite). Leave the predictor "
        "out, check that it is not the response in another form, or collect more data."
    )
