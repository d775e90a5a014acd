"""What a call of power asks for, checked, and multiplied out into studies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from melogit.errors import ModelError
from melogit.simulation.trial import Trial, iccs_of, logit_at, share_at, variances_of

MAX_STUDIES = 200
MAX_ROWS = 2_000_000
WORDS = {
    "clusters": "a whole number, 2 or more",
    "subclusters": "a whole number, 2 or more: clusters within each cluster",
    "cluster_size": "a whole number, 1 or more: rows in each lowest group",
    "baseline": "a number between 0 and 1: the share of events without treatment",
    "treated": "a number between 0 and 1: the share of events with treatment",
    "effect": "a finite number: the coefficient of the treatment, in log odds",
    "odds_ratio": "a number above 0",
    "icc": "0 or more and below 1; for clusters in clusters a tuple that rises from the top down, such as (0.02, 0.06)",
    "variance": "0 or more; for clusters in clusters a tuple such as (0.1, 0.2), top level first",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One study and the numbers it was described by; ``trial.clusters`` is 0 where it is to be found."""

    trial: Trial
    numbers: dict[str, float]


def plan_trials(
    given: Mapping[str, Any], *, treatment: str, share: float, size_cv: float, search: bool
) -> tuple[list[Planned], list[str]]:
    """Multiply out what was given.

    Parameters
    ----------
    given : mapping
        ``clusters, subclusters, cluster_size, baseline, treated, effect, odds_ratio, icc, variance``: a value, a list
        of values, or None.
    treatment, share, size_cv
        See ``Trial``.
    search : bool
        The number of clusters is to be found.

    Returns
    -------
    studies : list of Planned
    varied : list of str
        The names that have several values, in the order of nesting.
    """
    _check_given(given, search)
    _check_allocation(treatment, share, size_cv, given["subclusters"])
    levels = 1 if given["subclusters"] is None else 2
    choices = {name: read_values(name, value, levels) for name, value in given.items() if value is not None}
    if search:
        choices["clusters"] = [0]
    count = int(np.prod([len(values) for values in choices.values()]))
    if count > MAX_STUDIES:
        raise ModelError(f"The lists make {count:,} studies; the limit is {MAX_STUDIES}. Ask for fewer values.")
    order = sorted(choices, key=lambda name: (len(choices[name]) > 1 and name == "clusters", name != "clusters"))
    studies = []
    for values in itertools.product(*(choices[name] for name in order)):
        studies.append(_study(dict(zip(order, values, strict=True)), treatment, share, size_cv))
    return studies, [name for name in order if len(choices[name]) > 1]


def read_values(name: str, given: Any, levels: int = 1) -> list[Any]:
    """Read one value or a list of values; ``icc`` and ``variance`` become tuples, one number per level."""
    several = list(given) if isinstance(given, list | range | np.ndarray) else [given]
    if not several:
        raise ModelError(f"{name}= is an empty list. It must be {WORDS[name]}.")
    out = []
    for value in several:
        parts = tuple(value) if isinstance(value, tuple) else (value,)
        numbers = [_number(part) for part in parts]
        expected = levels if name in ("icc", "variance") else 1
        if len(numbers) != expected and name in ("icc", "variance"):
            raise ModelError(
                f"{name}={value!r} has {len(numbers)} number{'s' * (len(numbers) > 1)} for {expected} "
                f"level{'s' * (expected > 1)} of clusters. It must be {WORDS[name]}."
            )
        if len(numbers) != expected or not _fits(name, numbers):
            raise ModelError(f"{name}={value!r} cannot be used: it must be {WORDS[name]}.")
        whole = name in ("clusters", "subclusters", "cluster_size")
        out.append(tuple(numbers) if name in ("icc", "variance") else int(numbers[0]) if whole else numbers[0])
    return out


def _number(value: Any) -> float:
    if isinstance(value, bool | str | np.bool_) or not np.isscalar(value):
        return np.nan
    return float(value)  # type: ignore[arg-type]


def _fits(name: str, numbers: list[float]) -> bool:
    if not np.all(np.isfinite(numbers)):
        return False
    value = numbers[0]
    if name in ("clusters", "subclusters", "cluster_size"):
        return value == int(value) and value >= (1 if name == "cluster_size" else 2)
    if name in ("baseline", "treated"):
        return 0 < value < 1
    if name == "icc":
        return 0 <= value and numbers[-1] < 1 and bool(np.all(np.diff(numbers) >= 0))
    if name == "variance":
        return min(numbers) >= 0
    return value > 0 if name == "odds_ratio" else True


def _check_given(given: Mapping[str, Any], search: bool) -> None:
    for needed in ("cluster_size", "baseline") if search else ("clusters", "cluster_size", "baseline"):
        if given[needed] is None:
            other = ", or target=0.8 to have it found" if needed == "clusters" else ""
            raise ModelError(f"power needs {needed}=, {WORDS[needed]}{other}.")
    if search and given["clusters"] is not None:
        raise ModelError(
            "clusters= and target= do not go together: target= has the number of clusters found, clusters= the power "
            "of given numbers. Leave one out."
        )
    for group, what in (
        (("effect", "odds_ratio", "treated"), "the effect"),
        (("icc", "variance"), "how alike rows of a cluster are"),
    ):
        found = [name for name in group if given[name] is not None]
        if len(found) != 1:
            raise ModelError(
                f"power needs {what} in exactly one of {', '.join(f'{name}=' for name in group)}"
                f"{'; both were given' if len(found) == 2 else '; all were given' if found else ''}."
            )


def _check_allocation(treatment: str, share: Any, size_cv: Any, subclusters: Any) -> None:
    allowed = ("cluster", "row") if subclusters is None else ("cluster", "subcluster", "row")
    if treatment not in allowed:
        hint = " (subcluster needs subclusters=)" if treatment == "subcluster" else ""
        raise ModelError(f"treatment={treatment!r} is not one of {', '.join(map(repr, allowed))}{hint}.")
    if not 0 < _number(share) < 1:
        raise ModelError(f"share={share!r} must lie between 0 and 1: the share that is treated, 0.5 for one half.")
    if not 0 <= _number(size_cv) <= 3:
        raise ModelError(
            f"size_cv={size_cv!r} must lie between 0 and 3: standard deviation over mean of the rows per group."
        )


def _study(numbers: dict[str, Any], treatment: str, share: float, size_cv: float) -> Planned:
    variances = numbers["variance"] if "variance" in numbers else variances_of(numbers["icc"])
    intercept = logit_at(numbers["baseline"], variances)
    if "treated" in numbers:
        effect = logit_at(numbers["treated"], variances) - intercept
    else:
        effect = float(np.log(numbers["odds_ratio"])) if "odds_ratio" in numbers else numbers["effect"]
    trial = Trial(
        clusters=numbers["clusters"],
        subclusters=numbers.get("subclusters"),
        size=numbers["cluster_size"],
        size_cv=float(size_cv),
        share=float(share),
        treatment=treatment,
        intercept=intercept,
        effect=float(effect),
        variances=variances,
    )
    check_size(trial)
    described: dict[str, float] = {"clusters": trial.clusters}
    if trial.subclusters is not None:
        described["subclusters"] = trial.subclusters
    described |= {"cluster_size": trial.size, "baseline": numbers["baseline"]}
    described |= {"treated": share_at(intercept + effect, variances)}
    described |= {"effect": trial.effect, "odds_ratio": float(np.exp(trial.effect))}
    names = ("icc",) if trial.subclusters is None else ("icc", "icc_within")
    return Planned(trial, {**described, **dict(zip(names, iccs_of(variances), strict=True))})


def check_size(trial: Trial) -> None:
    """Refuse a study that has one arm only, or is too large to be tried out."""
    rows = trial.clusters * (trial.subclusters or 1) * trial.size
    if rows > MAX_ROWS:
        raise ModelError(f"This study has {rows:,} rows; the limit is {MAX_ROWS:,}. Plan smaller clusters, or fewer.")
    if trial.clusters:
        units = {"cluster": trial.clusters, "subcluster": trial.clusters * (trial.subclusters or 1), "row": rows}
        treated = int(units[trial.treatment] * trial.share + 1e-9)
        if not 0 < treated < units[trial.treatment]:
            raise ModelError(
                f"With share={trial.share:g} of {units[trial.treatment]} {trial.treatment}s, all or none are treated. "
                "Plan more clusters, or another share."
            )
