"""The plain logistic model, and starting values for the variances."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.fit.integrate import Integrator, Placed
from melogit.fit.types import TraceRow
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import Nested
from melogit.likelihood.covariance import CovarianceMap
from melogit.optimize import Ending, Iterate, maximise

if TYPE_CHECKING:
    from melogit.fit.climb import Summit

FloatArray = NDArray[np.float64]

# Total random-effect variances tried, on the scale of the linear predictor: first the middle two, then outwards.
TOTAL_VARIANCES = (1.0, 4.0, 16.0, 0.15)
# A logistic coefficient shrinks by about 1/sqrt(1 + c^2 v) when an intercept of variance v is averaged out
# (Zeger, Liang & Albert 1988, Biometrics 44, 1049-1060): c^2 = (16 sqrt(3) / (15 pi))^2.
ATTENUATION = (16 * np.sqrt(3) / (15 * np.pi)) ** 2
# Beyond this linear predictor a fitted probability is so extreme that separation is looked for.
SUSPICIOUS_ETA = 15.0
# Least standard deviation to start from.
LEAST_SD = 0.2


@dataclass(frozen=True, slots=True)
class Logistic:
    """The fit without random effects."""

    beta: FloatArray
    loglik: float
    suspicious: bool  # did not converge, or fitted probabilities of 0 or 1


# Where the plain logistic model is not wanted.
NO_LOGISTIC = Logistic(np.zeros(0), np.nan, False)


def reached_safely(X: FloatArray, summit: Summit) -> bool:
    """A maximum with no fitted probability so extreme that separation is to be looked for."""
    extreme = float(np.max(np.abs(X @ summit.x[: X.shape[1]]), initial=0.0)) > SUSPICIOUS_ETA
    return summit.ending is Ending.CONVERGED and not extreme


def in_search_scale(start: tuple[FloatArray, FloatArray], to_user: FloatArray, covariance: CovarianceMap) -> FloatArray:
    """(beta, theta) in the user's units -> (p + m,), with no standard deviation at 0, where the likelihood is flat."""
    x = np.asarray(np.linalg.solve(to_user, np.concatenate(start)), dtype=np.float64)
    theta = x[len(x) - covariance.m :]
    theta[standard_deviations(covariance) & (np.abs(theta) < LEAST_SD)] = LEAST_SD
    return x


def given_start(nested: Nested, start: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, Placed]:
    """The start that the settings give, in the scale of the search, with the modes there."""
    x = in_search_scale(start, nested.to_user, nested.covariance)
    ok, nodes = likelihood.mode_nodes(nested, x, kernel.new_nodes(nested.problem, spread=True), tolerance=1e-6)
    return x, Placed(nodes if ok else kernel.new_nodes(nested.problem, spread=True))


def standard_deviations(covariance: CovarianceMap) -> NDArray[np.bool_]:
    """Which thetas are on the diagonal of a Lambda, and only there or in the common part of an exchangeable one."""
    entries = covariance.entries
    diagonal = (covariance.basis.T @ (entries[:, 1] == entries[:, 2]).astype(float)) > 0
    exchangeable_off = covariance.basis.sum(axis=0) > np.array(
        [covariance.sizes[level] for level in covariance.term_of]
    )
    return diagonal & ~exchangeable_off


# beta -> finite?, log-likelihood, score, Hessian of the model without random effects
PlainLikelihood = Callable[[FloatArray], tuple[bool, float, FloatArray, FloatArray]]


def fit_logistic(
    plain: PlainLikelihood, X: FloatArray, log: Callable[[TraceRow], None], max_iterations: int
) -> Logistic:
    """Maximise the likelihood with all variances 0; ``X`` (n, p) are the scaled predictors."""
    p = X.shape[1]
    began = time.perf_counter()

    def at(beta: FloatArray, _: object) -> Iterate:
        ok, loglik, score, hessian = plain(beta)
        return Iterate(beta, loglik, score, hessian, ok=ok)

    def watch(k: int, it: Iterate, decrement: float, step: float) -> None:
        log(TraceRow("fixed", k, it.value, decrement, step, time.perf_counter() - began))

    if p == 0:
        return Logistic(np.zeros(0), at(np.zeros(0), None).value, False)
    best = maximise(at, at(np.zeros(p), None), watch=watch, radius=5.0, max_iterations=max_iterations)
    beta = best.at.x + best.polish
    extreme = float(np.max(np.abs(X @ beta), initial=0.0)) > SUSPICIOUS_ETA
    return Logistic(beta, best.at.value, extreme or best.ending is not Ending.CONVERGED)


def starting_point(
    nested: Nested, by: Integrator, logistic: Logistic, log: Callable[[TraceRow], None]
) -> tuple[FloatArray, Placed]:
    """The best of a small grid over the variances, with the fixed effects scaled to match."""
    began = time.perf_counter()
    sizes = nested.covariance.sizes
    deviations = standard_deviations(nested.covariance)
    best: tuple[float, FloatArray, int, Placed] | None = None
    fresh = kernel.new_nodes(nested.problem, spread=True)
    quick = Integrator("curvature", by.points) if by.method != "ghermite" else by
    for k, total in enumerate(TOTAL_VARIANCES):
        if best is not None and ((k == 2 and best[2] == 0) or (k == 3 and best[2] > 0)):
            continue
        theta = np.where(deviations, np.sqrt(total / sum(sizes)), 0.0)
        x = np.concatenate([logistic.beta * np.sqrt(1 + ATTENUATION * total), theta])
        ok, nodes = likelihood.mode_nodes(nested, x, fresh, tolerance=1e-6)
        if not ok:
            continue
        at = kernel.new_nodes(nested.problem, spread=True) if quick.method == "ghermite" else nodes
        rules = likelihood.hermite_rules(nested, quick.points)
        point = likelihood.evaluate(nested, x, rules, at, information=False, score=False)
        log(TraceRow("start", k, point.loglik, np.nan, total, time.perf_counter() - began))
        if point.ok and (best is None or point.loglik > best[0]):
            best = (point.loglik, x, k, Placed(nodes))
    if best is None:
        return np.concatenate([logistic.beta, np.full(nested.m, 0.5)]), Placed(fresh)
    return best[1], best[3]
