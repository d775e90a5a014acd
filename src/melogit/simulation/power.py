"""Try a planned study out many times: how often its test finds the effect."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import chdtrc, log_ndtr, ndtr, ndtri, stdtr

from melogit.design import Design
from melogit.errors import MelogitError, MelogitWarning, ModelError
from melogit.fit import Settings, fit_design
from melogit.fit.types import Fit, Status
from melogit.inference import critical_value
from melogit.simulation.scenario import Scenario

FloatArray = NDArray[np.float64]
TESTS = ("wald", "t", "lr")
MAX_CLUSTERS = 20_000
MAX_ROUNDS = 8
CLOSE = 0.03  # a number of clusters nearer than this to one already tried is not tried any more


@dataclass(frozen=True, slots=True)
class Tried:
    """One replicate: p-value, estimate and standard error (NaN where it failed, with the reason)."""

    p: float
    estimate: float
    std_err: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the replicates of one study gave.

    Attributes
    ----------
    p, estimate, std_err : (replicates,)
        NaN where a replicate failed.
    failures : tuple of (replicate, reason)
        They count as not significant.
    replicates : tuple of int
        Their numbers, counted from 1.
    """

    p: FloatArray
    estimate: FloatArray
    std_err: FloatArray
    failures: tuple[tuple[int, str], ...]
    replicates: tuple[int, ...]

    def significant(self, alpha: float) -> int:
        """Replicates whose p-value is below ``alpha``."""
        return int(np.sum(self.p < alpha))


def try_once(scenario: Scenario, settings: Settings, test: str, seed: int, r: int) -> Tried:
    """Draw replicate r, fit it and test the effect. It depends on the study, the seed and r alone."""
    rng = np.random.default_rng([seed, scenario.key, r])
    settings = replace(settings, start=scenario.start, lean=True, threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MelogitWarning)
        try:
            design = scenario.draw(rng)
            fit = fit_design(design, settings)
            return _tested(scenario, design, fit, settings, test)
        except (MelogitError, np.linalg.LinAlgError) as error:
            return Tried(np.nan, np.nan, np.nan, str(error) or type(error).__name__)


def _tested(scenario: Scenario, design: Design, fit: Fit, settings: Settings, test: str) -> Tried:
    column = scenario.column
    estimate = float(fit.params[column])
    if fit.status is Status.SEPARATED or not fit.converged:
        return Tried(np.nan, np.nan, np.nan, fit.status.value)
    std_err = float(np.sqrt(fit.cov[column, column]))
    if not np.isfinite(std_err):
        return Tried(np.nan, np.nan, np.nan, "the effect has no standard error")
    if test == "wald":
        return Tried(2 * float(ndtr(-abs(estimate) / std_err)), estimate, std_err)
    if test == "t":
        df = between_within(design, column)
        if df < 1:
            return Tried(np.nan, np.nan, np.nan, "no degrees of freedom are left for the effect")
        return Tried(2 * float(stdtr(df, -abs(estimate) / std_err)), estimate, std_err)
    keep = np.arange(design.X.shape[1]) != column
    smaller = replace(
        design,
        X=np.ascontiguousarray(design.X[:, keep]),
        x_names=tuple(name for name, kept in zip(design.x_names, keep, strict=True) if kept),
    )
    beta, theta = scenario.start
    null = fit_design(smaller, replace(settings, start=(beta[keep], theta)))
    if not null.converged:
        return Tried(np.nan, np.nan, np.nan, f"without the effect: {null.status.value}")
    return Tried(float(chdtrc(1, max(0.0, 2 * (fit.loglik - null.loglik)))), estimate, std_err)


def between_within(design: Design, column: int) -> int:
    """Degrees of freedom of a coefficient: groups of the level at which its column varies, less what they determine.

    A column that is constant within the groups of a level, but not within those above, is judged by how these groups
    differ: their number, less the groups above, less the columns of this kind. Elsewhere rows take the place of groups.

    References
    ----------
    Schluchter, M. D. and Elashoff, J. T. (1990). J. Stat. Comput. Simul. 37, 69-87. Li, P. and Redden, D. T. (2015).
    BMC Med. Res. Methodol. 15, 38.
    """
    kinds = np.full(design.X.shape[1], len(design.terms))
    for level in range(len(design.terms) - 1, -1, -1):
        factor = design.terms[level].factor
        first = np.zeros((factor.n_levels, design.X.shape[1]))
        first[factor.codes] = design.X
        kinds[np.all(first[factor.codes] == design.X, axis=0)] = level
    counts = [0, *(term.factor.n_levels for term in design.terms), design.n_rows]
    kind = int(kinds[column])
    return counts[kind + 1] - counts[kind] - int(np.sum(kinds == kind))


def tally(answers: dict[int, Tried]) -> Tally:
    """Put replicates together, in the order of their numbers."""
    numbers = tuple(sorted(answers))
    values = np.array([[answers[r].p, answers[r].estimate, answers[r].std_err] for r in numbers], dtype=np.float64).T
    failures = tuple((r, answers[r].reason) for r in numbers if answers[r].reason)
    return Tally(values[0], values[1], values[2], failures, numbers)


def wilson(successes: int, count: int, level: float) -> tuple[float, float]:
    """Interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Examples
    --------
    >>> [round(limit, 4) for limit in wilson(8, 10, 0.95)]
    [0.4902, 0.9433]
    """
    z = critical_value(level)
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low = 0.0 if successes == 0 else float(middle - half)
    return low, 1.0 if successes == count else float(middle + half)


# ------------------------------------------------------------------------------------------- sample size


@dataclass(frozen=True, slots=True)
class SampleSize:
    """The number of clusters that gives the power asked for, with the Monte Carlo range of that number.

    ``tried`` has the tally of every number of clusters that was simulated, ``clusters`` among them.
    """

    clusters: int
    low: int
    high: int
    tried: dict[int, Tally]


def find_clusters(
    run: Callable[[int], Tally], first: float, target: float, alpha: float, least: int, level: float = 0.95
) -> SampleSize:
    r"""Find the smallest number of clusters that reaches a power.

    Power rises with the number n of clusters as $\Phi(\delta \sqrt n - z_{1-\alpha/2})$, nearly. $\delta$ is estimated
    from the trials near the answer so far, the next trial made where it says, until that is where one was made.

    Parameters
    ----------
    run : callable
        Number of clusters -> Tally.
    first : float
        Where to begin.
    target, alpha : float
    least : int
        Fewest clusters possible.
    level : float
        Of the range ``low`` to ``high``, which allows for the Monte Carlo error of the trials.

    Raises
    ------
    ModelError
        More clusters than ``MAX_CLUSTERS`` are needed.
    """
    need = float(ndtri(1 - alpha / 2) + ndtri(target))
    z = critical_value(level)
    tried: dict[int, Tally] = {}
    at = round(min(max(first, least), MAX_CLUSTERS))
    while True:
        tried[at] = run(at)
        delta, spread = _slope(tried, at, alpha)
        following = max(least, int(np.ceil((need / delta) ** 2)))
        if following > MAX_CLUSTERS:
            raise ModelError(
                f"A power of {target:g} needs more than {MAX_CLUSTERS:,} clusters. Look for a larger effect, or for "
                "larger clusters."
            )
        settled = min(abs(following / n - 1) for n in tried) <= CLOSE or len(tried) == MAX_ROUNDS
        if settled or following in tried:
            break
        at = following
    if following not in tried:
        tried[following] = run(following)
    low = max(least, int(np.ceil((need / (delta + z * spread)) ** 2)))
    high = int(np.ceil((need / max(delta - z * spread, delta / 10)) ** 2))
    return SampleSize(following, low, high, tried)


def _slope(tried: dict[int, Tally], at: int, alpha: float) -> tuple[float, float]:
    """Estimate delta, and its standard error, from the trials; those within a third of ``at`` count, if any."""
    near = {n: t for n, t in tried.items() if abs(np.log(n / at)) < np.log(4 / 3)} or tried
    z = float(ndtri(1 - alpha / 2))
    root = np.sqrt(np.array(list(near), dtype=np.float64))
    hits = np.array([tally.significant(alpha) for tally in near.values()], dtype=np.float64)
    misses = np.array([len(tally.p) for tally in near.values()]) - hits

    def loss(delta: float) -> float:
        # Half a hit and half a miss more: a power of 0 or 1 in all trials must not send the search to the end.
        return -float((hits + 0.5) @ log_ndtr(delta * root - z) + (misses + 0.5) @ log_ndtr(z - delta * root))

    top = (z + 5) / root.min()
    found: Any = minimize_scalar(loss, bounds=(1e-6, top), method="bounded", options={"xatol": 1e-10 * top})
    delta = float(found.x)
    step = 1e-3 * delta
    bend = (loss(delta + step) - 2 * loss(delta) + loss(delta - step)) / step**2
    return delta, float(1 / np.sqrt(max(bend, 1e-300)))
