"""Studies ready to be tried out at any number of clusters: from numbers, or from a model that was fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtri

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit.types import Fit, Status
from melogit.formula.tokens import nearest
from melogit.simulation.plan import check_size, plan_trials, read_values
from melogit.simulation.scenario import Scenario, fit_scenario
from melogit.simulation.trial import Trial, first_guess, trial_scenario

LEAST_CLUSTERS = 4  # fewer leave next to nothing to estimate a variance from


@dataclass(frozen=True, slots=True)
class Study:
    """A study of any number of clusters.

    Attributes
    ----------
    numbers : dict
        What it is described by, for the table.
    clusters : int
        0 where it is to be found.
    effect : float
    scenario : callable
        Number of clusters -> Scenario.
    rows : callable
        Number of clusters -> rows, on average.
    guess : callable
        Effect over standard error -> number of clusters, nearly.
    least : int
        Fewest clusters to look at.
    """

    numbers: dict[str, float]
    clusters: int
    effect: float
    scenario: Callable[[int], Scenario]
    rows: Callable[[int], float]
    guess: Callable[[float], float]
    least: int

    def first(self, target: float, alpha: float) -> float:
        """Number of clusters to begin the search with."""
        return self.guess(float(ndtri(1 - alpha / 2) + ndtri(target)))


def planned_studies(
    given: Mapping[str, Any], *, search: bool, treatment: str, share: float, size_cv: float
) -> tuple[list[Study], list[str], list[str]]:
    """Studies described by numbers, the names of what varies, and sentences about what does not."""
    planned, varied = plan_trials(given, treatment=treatment, share=share, size_cv=size_cv, search=search)
    studies = []
    for one in planned:
        trial = one.trial
        _check_effect(trial.effect, search)
        studies.append(
            Study(
                numbers=one.numbers,
                clusters=trial.clusters,
                effect=trial.effect,
                scenario=partial(_trial_of, trial),
                rows=partial(_rows_of, trial),
                guess=partial(first_guess, trial),
                least=LEAST_CLUSTERS,
            )
        )
    names = {"treated": "treated", "effect": "effect", "odds_ratio": "odds_ratio", "variance": "icc"}
    varied = [names.get(name, name) for name in varied]
    return studies, varied, _about(planned[0].trial, planned[0].numbers, varied)


def _trial_of(trial: Trial, clusters: int) -> Scenario:
    changed = replace(trial, clusters=clusters)
    check_size(changed)
    return trial_scenario(changed)


def _rows_of(trial: Trial, clusters: int) -> float:
    return clusters * (trial.subclusters or 1) * trial.size


def _check_effect(effect: float, search: bool) -> None:
    if search and abs(effect) < 1e-6:
        raise ModelError("The effect is 0, and no number of clusters gives that a power. Leave target= out.")


def _about(trial: Trial, numbers: Mapping[str, float], varied: list[str]) -> list[str]:
    """Say what all studies have in common."""
    units = {"cluster": "clusters", "subcluster": "subclusters", "row": "rows, evenly within clusters"}
    facts = [f"treatment: {trial.share:.0%} of the {units[trial.treatment]}"]
    lowest = "subcluster" if trial.subclusters is not None else "cluster"
    if trial.subclusters is not None and "subclusters" not in varied:
        facts.append(f"{trial.subclusters} subclusters per cluster")
    if "cluster_size" not in varied:
        facts.append(f"{trial.size} rows per {lowest}")
    if trial.size_cv > 0:
        facts.append(f"coefficient of variation of that {trial.size_cv:g}")
    if "baseline" not in varied:
        facts.append(f"share of events untreated {numbers['baseline']:.3g}")
    if not {"effect", "odds_ratio", "treated", "baseline", "icc"} & set(varied):
        facts.append(f"treated {numbers['treated']:.3g}")
    if not {"effect", "odds_ratio", "treated"} & set(varied):
        facts.append(f"odds ratio {numbers['odds_ratio']:.3g}")
    if "icc" not in varied:
        inner = f" and {numbers['icc_within']:.3g}" if "icc_within" in numbers else ""
        facts.append(f"ICC {numbers['icc']:.3g}{inner}")
    return ["; ".join(facts)]


# ---------------------------------------------------------------------------------------------- from a fit


def fitted_studies(
    fit: Fit, design: Design | None, term: str | None, given: Mapping[str, Any], changed: list[str], *, search: bool
) -> tuple[list[Study], list[str], list[str]]:
    """Studies like one that was fitted, with other values of a coefficient and other numbers of clusters."""
    foreign = [name for name in given if given[name] is not None and name not in ("clusters", "effect", "odds_ratio")]
    if foreign or changed:
        raise ModelError(
            f"{', '.join(f'{name}=' for name in [*foreign, *changed])} cannot be given with fit=, whose predictors, "
            "groups and variances the studies have. Give clusters=, and effect= or odds_ratio= of term=."
        )
    design = _usable(fit, design)
    column = _column(fit, term)
    estimate = float(fit.params[column])
    if given["effect"] is not None and given["odds_ratio"] is not None:
        raise ModelError("effect= and odds_ratio= are the same thing twice. Leave one out.")
    if search and given["clusters"] is not None:
        raise ModelError("clusters= and target= do not go together. Leave one out.")
    effects = [estimate]
    if given["effect"] is not None:
        effects = read_values("effect", given["effect"])
    if given["odds_ratio"] is not None:
        effects = [float(np.log(ratio)) for ratio in read_values("odds_ratio", given["odds_ratio"])]
    own = design.terms[0].factor.n_levels
    if not design.nested and (search or given["clusters"] is not None):
        names = " and ".join(f"'{t.factor.name}'" for t in design.terms)
        raise ModelError(
            f"{names} cross each other, so that no cluster can be added without cutting through others. Leave "
            "clusters= and target= out: the power is then that of these groups."
        )
    numbers = [0] if search else [own] if given["clusters"] is None else read_values("clusters", given["clusters"])
    as_it_is = not search and given["clusters"] is None
    std_err = float(np.sqrt(fit.cov[column, column]))
    studies = []
    for effect in effects:
        _check_effect(effect, search)
        for clusters in numbers:
            studies.append(
                Study(
                    numbers={"clusters": clusters, "effect": effect, "odds_ratio": float(np.exp(effect))},
                    clusters=clusters,
                    effect=effect,
                    scenario=partial(_fitted, design, fit, column, effect, as_it_is),
                    rows=partial(_mean_rows, design.n_rows / own),
                    guess=partial(_guess, own, std_err, effect),
                    least=max(LEAST_CLUSTERS, len(fit.names)),
                )
            )
    varied = (["effect" if given["effect"] is not None else "odds_ratio"] if len(effects) > 1 else []) + (
        ["clusters"] if len(numbers) > 1 else []
    )
    top = design.terms[0].factor.name
    every = top if design.nested else " and ".join(t.factor.name for t in design.terms)
    groups = f"the groups of {every} as they are" if as_it_is else f"groups of {top} drawn with replacement"
    about = [f"like {fit.wording.formula}, fitted before, {groups}"]
    now = "" if len(effects) > 1 else f" = {effects[0]:.4g} (odds ratio {np.exp(effects[0]):.4g})"
    about.append(f"tested: {fit.names[column]}{now}; estimated as {estimate:.4g}")
    return studies, varied, about


def _fitted(design: Design, fit: Fit, column: int, effect: float, as_it_is: bool, clusters: int) -> Scenario:
    return fit_scenario(design, fit, column, effect, None if as_it_is else clusters)


def _mean_rows(per_cluster: float, clusters: int) -> float:
    return per_cluster * clusters


def _guess(clusters: int, std_err: float, effect: float, needed: float) -> float:
    return clusters * (needed * std_err / effect) ** 2


def _usable(fit: Fit, design: Design | None) -> Design:
    if design is None:
        raise ModelError(
            "This model was loaded from a file, and model files do not hold the data, whose predictors and groups the "
            "studies are to have. Fit the model again with melogit(formula, data)."
        )
    if fit.status is Status.SEPARATED or not fit.converged:
        raise ModelError(
            f"This model cannot be simulated from: {fit.status.value}. Leave the predictor out, or simplify the model."
        )
    if np.any(design.weights != 1):
        raise ModelError(
            "The rows of this model have frequency weights, and the copies that a row stands for would be simulated "
            "alike. Write the rows out, or give counts with trials=."
        )
    return design


def _column(fit: Fit, term: str | None) -> int:
    names = list(fit.names[: fit.n_fixed])
    if term is None:
        raise ModelError(f"Which effect is to be found? Give term=, one of {', '.join(names)}.")
    if term not in names:
        raise ModelError(f"There is no coefficient {term!r} in this model.{nearest(str(term), names)}")
    if not np.isfinite(fit.cov[names.index(term), names.index(term)]):
        raise ModelError(f"The coefficient of '{term}' has no standard error in this fit. Simplify the model.")
    return names.index(term)
