"""The likelihood-ratio test of two nested models, with the reference distribution that their difference calls for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, expit

from melogit import kernel
from melogit.design import Design
from melogit.errors import MelogitError, MelogitWarning, ModelError, warn
from melogit.fit import Settings, fit_design
from melogit.fit.integrate import Integrator, Placed, settle
from melogit.fit.types import Fit, Status
from melogit.inference.cone import cone_p, mixture_p
from melogit.inference.likelihood_ratio import LikelihoodRatio
from melogit.inference.nesting import Tested, check_comparable, compare_structure
from melogit.inference.summit import Summit, cluster_scores
from melogit.likelihood import nested as likelihood
from melogit.likelihood.arrange import arrange
from melogit.likelihood.covariance import CovarianceMap, covariance_map, reported_variances
from melogit.parallel import Lost, Workers, run

FloatArray = NDArray[np.float64]

# Standard deviation given to the new effects where the information at (almost) zero is wanted.
NEAR_ZERO = 0.03
FEWEST_SAMPLES = 19  # of a parametric bootstrap: its p-value can be 0.05
# And where the fits of simulated responses begin.
START_SD = 0.3
Start = tuple[FloatArray, FloatArray]


def likelihood_ratio(
    a: Fit, b: Fit, design_a: Design | None, design_b: Design | None, *, seed: int = 0
) -> LikelihoodRatio:
    """Compare a model with one that contains it.

    Parameters
    ----------
    a, b : Fit
        In either order: the one with more parameters is taken as the larger.
    design_a, design_b : Design or None
    seed : int
        Of the simulation that several variances at once need.

    Raises
    ------
    ModelError
        Different rows, different integration, not nested.
    """
    a, b, design_a, design_b = ordered(a, b, design_a, design_b)
    tested = compare_structure(a, b, design_a, design_b)
    stat = _statistic(a, b)
    free, dims = tested.free, tested.edged
    df = free + dims
    if dims == 0:
        return LikelihoodRatio(stat, df, float(chdtrc(df, stat)), f"chi2({df})")
    if dims == 1:
        kind = "chibar2(01)" if free == 0 else f"0.5 chi2({free}) + 0.5 chi2({free + 1})"
        return LikelihoodRatio(stat, df, mixture_p(stat, free), kind)
    if design_a is None or design_b is None:
        return LikelihoodRatio(stat, df, float(chdtrc(df, stat)), f"chi2({df}), conservative: a model has no data")
    if not design_b.nested:
        return LikelihoodRatio(stat, df, float(chdtrc(df, stat)), f"chi2({df}), conservative: the groups cross")
    found = null_information(a, b, design_a, design_b, tested)
    if found is None:
        return LikelihoodRatio(stat, df, float(chdtrc(df, stat)), f"chi2({df}), conservative: few top-level groups")
    information, blocks = found
    p, weights = cone_p(stat, information, blocks, seed=seed)
    if weights is None:
        return LikelihoodRatio(stat, df, p, "mixture of chi2 over a cone, simulated")
    parts = [f"{w:.2f} chi2({j})" for j, w in enumerate(weights) if w > 0]
    return LikelihoodRatio(stat, df, p, " + ".join(parts) + ", weights simulated")


def ordered(
    a: Fit, b: Fit, design_a: Design | None, design_b: Design | None
) -> tuple[Fit, Fit, Design | None, Design | None]:
    """Put the smaller model first, and refuse what cannot be compared."""
    check_comparable(a, b, design_a, design_b)
    if a.df_model == b.df_model:
        raise ModelError(
            f"Both models have {a.df_model} parameters, so neither contains the other: {a.wording.formula} and "
            f"{b.wording.formula}. me.compare shows their AIC and BIC."
        )
    return (a, b, design_a, design_b) if a.df_model < b.df_model else (b, a, design_b, design_a)


def _statistic(a: Fit, b: Fit) -> float:
    stat = 2 * (b.loglik - a.loglik)
    allowed = 2 * (abs(np.nan_to_num(a.integration.loglik_error)) + abs(np.nan_to_num(b.integration.loglik_error)))
    if stat < -max(1e-4, 2 * allowed):
        raise ModelError(
            f"The larger model has the smaller log-likelihood ({b.loglik:.5f} against {a.loglik:.5f}), which cannot "
            "be: one of the fits ended at a lower peak, or its integral is inaccurate. See fit.integration of both; "
            'fit them with intpoints="auto".'
        )
    # A variance estimated as (almost) 0 leaves a difference of rounding size: it is 0, with a p-value of 1.
    return float(stat) if stat > 1e-6 else 0.0


def null_information(
    a: Fit, b: Fit, design_a: Design, design_b: Design, tested: Tested
) -> tuple[FloatArray, list[tuple[int, ...]]] | None:
    """Information about what is tested, at the smaller model's estimates, nuisance parameters allowed for.

    From the outer products of the top-level groups' scores in the larger model, with its new variances next to 0.

    Returns
    -------
    information (k, k) with the cones' positions in it, or None where the groups are too few
    """
    summit = _larger_at_smaller(a, b, design_a, design_b, tested)
    scores = np.linalg.solve(summit.nested.to_user.T, cluster_scores(summit).T).T
    p = b.n_fixed
    theta = (summit.nested.to_user @ summit.x)[p:]
    jacobian = reported_variances(summit.nested.covariance, theta)[1]
    scores[:, p:] = np.linalg.solve(jacobian.T, scores[:, p:].T).T
    names = list(b.names)
    cone_names = [name for cone in tested.cones for name in cone]
    cone_names += [name for *pair, _ in tested.exchangeable for name in pair]
    new_fixed = _new_fixed(a, b, design_a, design_b)
    chosen = [*new_fixed, *(names.index(n) for n in tested.interior), *(names.index(n) for n in cone_names)]
    rest = [k for k in range(len(names)) if k not in chosen]
    if len(scores) <= len(names):
        return None
    scale = np.sqrt(np.sum(scores**2, axis=0))
    full = (scores / scale).T @ (scores / scale)
    inner = full[np.ix_(chosen, rest)] @ np.linalg.pinv(full[np.ix_(rest, rest)], rcond=1e-10)
    information = full[np.ix_(chosen, chosen)] - inner @ full[np.ix_(rest, chosen)]
    information = information * np.outer(scale[chosen], scale[chosen])
    where = {names[index]: position for position, index in enumerate(chosen)}
    cones = [tuple(where[name] for name in cone) for cone in tested.cones]
    turn = np.eye(len(chosen))
    for variance, covariance, size in tested.exchangeable:
        # v and c are a matrix of that kind where its two eigenvalues, v - c and v + (size - 1) c, are not negative.
        pair = [where[variance], where[covariance]]
        turn[np.ix_(pair, pair)] = np.array([[size - 1, 1], [-1, 1]]) / size
        cones += [(pair[0],), (pair[1],)]
    information = turn.T @ information @ turn
    return (information + information.T) / 2, cones


def _new_fixed(a: Fit, b: Fit, design_a: Design, design_b: Design) -> list[int]:
    """Columns of the larger model that, added to the smaller's, span all of its own."""
    chosen: list[int] = []
    space = design_a.X / np.sqrt(np.mean(design_a.X**2, axis=0))
    for index in range(b.n_fixed):
        if len(chosen) == b.n_fixed - a.n_fixed:
            break
        column = design_b.X[:, index] / np.sqrt(np.mean(design_b.X[:, index] ** 2))
        left = column - space @ np.linalg.lstsq(space, column, rcond=None)[0]
        if np.sqrt(np.mean(left**2)) > 1e-6:
            chosen.append(index)
            space = np.column_stack([space, column])
    return chosen


def _larger_at_smaller(a: Fit, b: Fit, design_a: Design, design_b: Design, tested: Tested) -> Summit:
    nested = arrange(design_b)
    beta, theta = values_in_larger(a, b, design_a, design_b, tested, NEAR_ZERO)
    x = np.asarray(np.linalg.solve(nested.to_user, np.concatenate([beta, theta])), dtype=np.float64)
    ok, nodes = likelihood.mode_nodes(nested, x, kernel.new_nodes(nested.problem, spread=True))
    if not ok:
        raise ModelError("The information near a variance of 0 could not be computed. Ask for bootstrap=500 instead.")
    points = b.integration.points if b.integration.method not in ("trapezoid", "laplace") else (7,) * len(b.terms)
    by = Integrator("mvaghermite" if b.integration.method == "mvaghermite" else "curvature", points)
    placed = settle(nested, by, x, nodes, rounds=20) if by.method == "mvaghermite" else nodes
    return Summit(nested, x, by, Placed(placed))


def values_in_larger(
    a: Fit, b: Fit, design_a: Design, design_b: Design, tested: Tested, new_sd: float
) -> tuple[FloatArray, FloatArray]:
    """The smaller model's estimates as parameters (beta, theta) of the larger, new effects with a small spread.

    Parameters
    ----------
    new_sd : float
        Standard deviation of what a new effect adds to a row, and the least that an old one has.
    """
    eta = design_a.X @ a.params[: a.n_fixed] + design_a.offset - design_b.offset
    beta = np.asarray(np.linalg.lstsq(design_b.X, eta, rcond=None)[0], dtype=np.float64)
    covariances = []
    for term, match, data in zip(b.terms, tested.terms, design_b.terms, strict=True):
        size = np.sqrt(np.mean(data.Z**2, axis=0))
        for block in data.blocks:
            if block.structure in ("identity", "exchangeable"):  # one variance for all
                span = slice(block.start, block.start + block.size)
                size[span] = size[span].max()
        Sigma = np.diag((new_sd / np.where(size > 0, size, 1.0)) ** 2)
        if match is not None:
            old = a.terms[match]
            at = [term.names.index(name) for name in old.names]
            Sigma[np.ix_(at, at)] = np.where(
                np.eye(len(at)) > 0, np.maximum(old.Sigma, Sigma[np.ix_(at, at)]), old.Sigma
            )
        covariances.append(Sigma)
    return beta, theta_of(covariance_map(design_b.terms), covariances)


def theta_of(covariance: CovarianceMap, Sigmas: list[FloatArray]) -> FloatArray:
    """Cholesky-scale parameters of given covariance matrices (q, q) per level."""
    values = np.empty(len(covariance.entries))
    roots = []
    for level, Sigma in enumerate(Sigmas):
        mine = covariance.entries[covariance.entries[:, 0] == level]
        symmetric = bool(np.any(mine[:, 1] < mine[:, 2]))  # exchangeable: Lambda is the symmetric root
        eigen, basis = np.linalg.eigh(Sigma)
        if symmetric:
            roots.append((basis * np.sqrt(np.maximum(eigen, 0.0))) @ basis.T)
        else:
            roots.append(np.linalg.cholesky(Sigma + max(0.0, 1e-12 - float(eigen[0])) * np.eye(len(Sigma))))
    for e, (level, i, j) in enumerate(covariance.entries):
        values[e] = roots[level][i, j]
    return np.asarray(np.linalg.lstsq(covariance.basis, values, rcond=None)[0], dtype=np.float64)


# ------------------------------------------------------------------------------------------------ bootstrap


def settings_of(fit: Fit, *, threads: int | None = None) -> Settings:
    """The choices that a fit was made with, as far as they shape its numbers."""
    integration = fit.integration
    if integration.automatic:
        method = integration.method if integration.method in ("mvaghermite", "ghermite") else None
        return Settings(method=method, tolerance=integration.tolerance, threads=threads)
    return Settings(
        integration.method, integration.points, tolerance=integration.tolerance, threads=threads, max_iterations=200
    )


def normal_effects(Sigma: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Effects (count, q) of so many groups, drawn from their normal distribution."""
    eigen, basis = np.linalg.eigh(Sigma)
    root = basis * np.sqrt(np.maximum(eigen, 0.0))
    return rng.standard_normal((count, len(Sigma))) @ root.T


def simulate_response(design: Design, fit: Fit, rng: np.random.Generator) -> FloatArray:
    """New responses (n,) from a fitted model, random effects drawn anew."""
    eta = design.offset + design.X @ fit.params[: fit.n_fixed]
    for term, estimate in zip(design.terms, fit.terms, strict=True):
        effects = normal_effects(estimate.Sigma, term.factor.n_levels, rng)
        eta = eta + np.einsum("ij,ij->i", term.Z, effects[term.factor.codes])
    return rng.binomial(design.trials.astype(np.int64), expit(eta)).astype(float)


def parametric_bootstrap(
    a: Fit,
    b: Fit,
    design_a: Design,
    design_b: Design,
    *,
    samples: int,
    seed: int = 0,
    workers: Workers,
    show: Callable[[int], None] | None = None,
) -> LikelihoodRatio:
    """P-value from refitting both models to responses simulated from the smaller one.

    ``(1 + number of simulated statistics at least as large) / (1 + samples that could be fitted)``. Sample r depends on
    ``(seed, r)`` alone. ``show`` is called with the number of samples done. After Ctrl-C the p-value rests on those, if
    they are ``FEWEST_SAMPLES`` or more, with a warning.

    References
    ----------
    Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, section 4.2. Cambridge.
    """
    a, b, first, second = ordered(a, b, design_a, design_b)
    assert first is not None and second is not None
    for fit in (a, b):
        if fit.status is Status.SEPARATED:
            raise ModelError("A model with infinite coefficients (separation) cannot be simulated from.")
    tested = compare_structure(a, b, first, second)
    if np.any(first.weights != 1):
        raise ModelError(
            "The parametric bootstrap does not know how rows with frequency weights vary: their copies would be "
            "simulated alike. Write the rows out, or give counts with trials=."
        )
    stat = _statistic(a, b)
    starts = (
        (a.params[: a.n_fixed], np.where(np.abs(a.theta) < START_SD, START_SD, a.theta)),
        values_in_larger(a, b, first, second, tested, START_SD),
    )
    found: dict[int, float] = {}

    def done(r: int, answer: Any) -> None:
        found[r] = np.nan if isinstance(answer, Lost) else answer
        if show is not None:
            show(len(found))

    with warnings.catch_warnings():  # filters belong to all threads together
        warnings.simplefilter("ignore", MelogitWarning)
        task = partial(_simulated_statistic, first, second, a, b, starts, seed)
        try:
            run(task, range(1, samples + 1), workers, done)
        except KeyboardInterrupt:
            if len(found) < FEWEST_SAMPLES:
                raise
    if len(found) < samples:
        warn(f"Interrupted: the p-value rests on {len(found):,} of {samples:,} samples.", MelogitWarning)
        samples = len(found)
    values = np.array(list(found.values()))
    fitted = int(np.isfinite(values).sum())
    if fitted < 0.5 * samples:
        raise ModelError(
            f"Only {fitted} of {samples} simulated data sets could be fitted by both models, too few for a p-value. "
            "The models are too rich for these data."
        )
    beyond = int(np.sum(values >= stat - 1e-6))
    df = tested.free + tested.edged
    lost = f", {samples - fitted} could not be fitted" if fitted < samples else ""
    return LikelihoodRatio(stat, df, (1 + beyond) / (1 + fitted), f"parametric bootstrap, {samples} samples{lost}")


def _simulated_statistic(
    small: Design, large: Design, a: Fit, b: Fit, starts: tuple[Start, Start], seed: int, r: int
) -> float:
    """The statistic of sample r; NaN where a model could not be fitted."""
    y = simulate_response(small, a, np.random.default_rng([seed, r]))
    try:
        first, second = (
            fit_design(replace(design, y=y), replace(settings_of(fit, threads=1), start=start, lean=True))
            for design, fit, start in zip((small, large), (a, b), starts, strict=True)
        )
    except (MelogitError, np.linalg.LinAlgError):
        return np.nan
    if not (first.converged and second.converged):
        return np.nan
    return max(0.0, 2 * (second.loglik - first.loglik))
