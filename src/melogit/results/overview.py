"""From a fit to the plain content of its summary, and the sentences in it."""

from __future__ import annotations

import math

import pandas as pd

from melogit.errors import ModelError
from melogit.fit.messages import inaccurate
from melogit.fit.types import Fit, Integration, Status
from melogit.inference import LikelihoodRatio, Wald
from melogit.report import GroupRow, Row, Section, Summary, coefficient_rows
from melogit.report.numbers import brief, probability, statistic
from melogit.results import tables


def summarise(fit: Fit, level: float, wald: Wald, lr_test: LikelihoodRatio, odds_ratios: bool) -> Summary:
    """Everything a table of results says, in the order in which it is read."""
    if odds_ratios not in (True, False):
        raise ModelError(f"odds_ratios={odds_ratios!r} must be True or False.")
    table = tables.odds_ratios(fit, level) if odds_ratios else tables.coefficients(fit, level)
    omitted = [name for name, _ in fit.wording.dropped_columns]
    rows = coefficient_rows(_as_lists(table), fit.wording.base_levels, omitted, 1.0 if odds_ratios else 0.0)
    return Summary(
        title="Mixed-effects logistic regression",
        n_obs=fit.n_obs,
        groups=tuple(GroupRow(*row) for row in tables.group_counts(fit).itertuples(name=None)),
        method="Laplace approximation" if fit.integration.method == "laplace" else fit.integration.method,
        points=_points(fit.integration),
        loglik=fit.loglik,
        wald=(wald.stat, wald.df, wald.p) if wald.df else None,
        alert="" if fit.converged or fit.status is Status.SEPARATED else _alert(fit),
        response=_outcome(fit),
        estimate_label="Odds ratio" if odds_ratios else "Coefficient",
        level=level,
        sections=(Section("", rows), *_variance_sections(tables.variance_components(fit, level))),
        test=_test(lr_test),
        notes=tuple(_notes(fit, lr_test, odds_ratios)),
    )


def _outcome(fit: Fit) -> str:
    """The response, with the event that is modelled where it was not coded 0/1."""
    wording = fit.wording
    return wording.response if wording.event is None else f"{wording.response} = {wording.event}"


def _as_lists(table: pd.DataFrame) -> dict[str, list[float]]:
    return {str(name): list(row) for name, row in zip(table.index, table.to_numpy().tolist(), strict=True)}


def _variance_sections(table: pd.DataFrame) -> list[Section]:
    sections: dict[str, list[Row]] = {}
    for (group, term), values in zip(table.index, table.to_numpy().tolist(), strict=True):
        estimate, std_err, low, high = values
        sections.setdefault(group, []).append(Row(term, (estimate, std_err, None, None, low, high)))
    return [Section(group, tuple(rows)) for group, rows in sections.items()]


# Importance weights that are worth less of the draws say little.
RELIABLE_SHARE = 0.05


def _points(integration: Integration) -> str:
    if integration.method == "simulated":
        return f"{integration.draws:,} draws"
    distinct = dict.fromkeys(integration.points)
    return ", ".join(str(points) for points in (distinct if len(distinct) == 1 else integration.points))


def _alert(fit: Fit) -> str:
    return (
        f"NOT CONVERGED: {fit.status.value}. The numbers above are not maximum-likelihood estimates. "
        "Look at fit.trace; raise max_iterations=, or simplify the model."
    )


def _test(lr_test: LikelihoodRatio) -> tuple[str, str]:
    name = "chibar2" if lr_test.df == 1 else "chi2"
    kind = "chibar2(01)" if lr_test.df == 1 else f"chi2({lr_test.df})"
    relation = ">=" if lr_test.df == 1 else ">"
    left = f"LR test vs. logistic model: {kind} = {statistic(lr_test.stat)}"
    return left, f"Prob {relation} {name} = {probability(lr_test.p, 4)}"


def _notes(fit: Fit, lr_test: LikelihoodRatio, odds_ratios: bool) -> list[str]:
    wording = fit.wording
    notes = ["The LR test is conservative and provided only for reference."] if lr_test.df > 1 else []
    notes.append(f"Model: {wording.formula}")
    if wording.event is not None:
        notes.append(f"Modelling P({wording.response} = {wording.event}).")
    given = (("Trials", wording.trials), ("Frequency weights", wording.weights), ("Offset", wording.offset))
    notes += [f"{name}: {text}." for name, text in given if text is not None]
    notes += [f"Omitted '{name}': {reason.rstrip('.')}." for name, reason in wording.dropped_columns]
    notes += wording.notes
    if odds_ratios and "Intercept" in fit.names[: fit.n_fixed]:
        notes.append("Intercept is the odds at the base levels and at 0 of all else, for random effects of 0.")
    # The certificate says what a warning about the integration says.
    ending = " (Monte Carlo" if fit.integration.draws else " (wanted"
    fact, has_numbers, _ = inaccurate(fit.integration, 0.0).partition(ending)
    warned = [message for message in fit.messages if not (has_numbers and message.startswith(fact))]
    notes += [message for message in warned if message not in notes]
    notes.append(certificate(fit.integration))
    return notes


def certificate(integration: Integration) -> str:
    """How accurate the integration is, in one sentence, and what to do where that is not enough.

    Examples
    --------
    >>> print(certificate(Integration("mcaghermite", (15,), 2e-5, 3e-4, (31,), True, 1e-3)))
    Accuracy: going from 15 to 31 points moves the log-likelihood by 0.00002 and no parameter by more than 0.0003 \
standard errors.
    """
    change, shift = integration.loglik_error, integration.max_shift_in_se
    label = "Laplace approximation" if integration.method == "laplace" else "Accuracy"
    if integration.draws:
        return _certificate_by_draws(integration)
    if math.isnan(change) or math.isnan(shift):
        return f"{label}: how far the answer would move with more integration points is not known for this fit."
    here, there = _points(integration), ", ".join(map(str, dict.fromkeys(integration.check_points)))
    fact = (
        f"{label}: going from {here} to {there} points moves the log-likelihood by {brief(change)} "
        f"and no parameter by more than {brief(shift)} standard errors"
    )
    if integration.accurate:
        return fact + "."
    asked = f"The accuracy asked for is {integration.tolerance:g}"
    if integration.method == "laplace":
        return f'{fact}. {asked}: leave method= out and fit with intpoints="auto".'
    if integration.automatic:
        return f"{fact}. {asked}, which could not be reached: take the last digits with care."
    return f'{fact}. {asked}: fit with intpoints="auto" to reach it.'


def _certificate_by_draws(integration: Integration) -> str:
    """The same for crossed factors, where the exact likelihood is estimated by drawing."""
    draws = f"{integration.draws:,} draws"
    if integration.method == "simulated":
        return (
            f"Accuracy: {draws} leave a Monte Carlo error of {brief(integration.loglik_noise)} in the log-likelihood "
            f"and of at most {brief(integration.shift_noise)} standard errors in an estimate."
        )
    fact = (
        f"Laplace approximation: by {draws}, the exact log-likelihood at these estimates differs by "
        f"{brief(integration.loglik_error)} (Monte Carlo error {brief(integration.loglik_noise)}), and at its maximum "
        f"no estimate differs by more than about {brief(integration.max_shift_in_se)} standard errors "
        f"({brief(integration.shift_noise)})"
    )
    if integration.effective < RELIABLE_SHARE:
        fact += f"; the draws are worth {integration.effective:.1%} of their number, so both are rough"
    return f'{fact}. method="simulated" maximises the exact likelihood.'
