"""Design -> Fit: the order of events in one fit."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, RandomTerm, subset
from melogit.errors import (
    BoundaryWarning,
    ConvergenceWarning,
    IntegrationWarning,
    MelogitWarning,
    ModelError,
    SeparationWarning,
    warn,
)
from melogit.fit import messages
from melogit.fit.assemble import Estimates, estimates, term_fits
from melogit.fit.climb import Summit, climb
from melogit.fit.climb_crossed import climb_crossed
from melogit.fit.climb_sampled import certify_crossed, climb_sampled
from melogit.fit.identify import coinciding, unidentified
from melogit.fit.posterior import Effects, crossed_posterior, no_effects, posterior
from melogit.fit.separation import Separation, find_separation
from melogit.fit.settings import Settings
from melogit.fit.start import NO_LOGISTIC, PlainLikelihood, fit_logistic, reached_safely
from melogit.fit.types import FiniteSums, Fit, Integration, Status, TermFit, TraceRow
from melogit.likelihood import crossed as crossed_likelihood
from melogit.likelihood import nested as nested_likelihood
from melogit.likelihood.arrange import Nested, arrange
from melogit.likelihood.arrange_crossed import Crossed, arrange_crossed
from melogit.optimize import Ending

# A rule that the user chose is called inaccurate when doubling its points moves an estimate by more standard errors
# than this, or the log-likelihood by more than its fellow (reference: RELIABILITY row 1).
WARN_SHIFT = 0.02
WARN_LOGLIK = 0.01


def fit_design(design: Design, settings: Settings) -> Fit:
    """Fit a mixed-effects logistic model by maximum likelihood: nested factors by quadrature, crossed by Laplace.

    Raises
    ------
    ModelError
        Two grouping factors are the same; a predictor separates the response completely; an option does not fit.

    Warns
    -----
    BoundaryWarning, SeparationWarning, ConvergenceWarning, IntegrationWarning
    """
    began = time.perf_counter()
    trace: list[TraceRow] = []

    def log(row: TraceRow) -> None:
        trace.append(row)
        if settings.progress is not None:
            settings.progress(row)

    arranged = _arranged(design, settings)
    confounded = unidentified(arranged.covariance, design)
    if confounded:
        raise ModelError(messages.not_identified(confounded))
    logistic = NO_LOGISTIC
    if settings.start is None or not settings.lean:
        logistic = fit_logistic(_plain_likelihood(arranged), arranged.X, log, settings.max_iterations)
        separation = find_separation(design) if logistic.suspicious else None
        if separation is not None:
            return _fit_limit(design, replace(settings, start=None), separation)
    if isinstance(arranged, Nested):
        summit = climb(arranged, settings, logistic, log)
    else:
        summit = climb_crossed(arranged, settings, logistic, log)
        if settings.method == "simulated" and summit.ending is Ending.CONVERGED:
            summit = climb_sampled(arranged, settings, summit, log)
        elif not settings.lean:
            summit = replace(summit, integration=certify_crossed(arranged, summit, settings))
    if settings.start is not None and not reached_safely(arranged.X, summit):
        return fit_design(design, replace(settings, start=None))
    found = estimates(arranged, design, summit)
    size = design.n_rows / max(t.factor.n_levels for t in design.terms)
    checked = not settings.lean or summit.integration.automatic
    said = _warn(found, summit.integration, trace, size, checked=checked)
    return Fit(
        names=(*design.x_names, *arranged.covariance.names),
        n_fixed=arranged.p,
        params=found.params,
        cov=found.cov,
        # With every variance at 0 the two models are one; rounding must not tell them apart.
        loglik=logistic.loglik if len(found.zero) == arranged.m and np.isfinite(logistic.loglik) else summit.loglik,
        loglik_fixed_only=logistic.loglik,
        df_model=arranged.p + arranged.m,
        n_obs=float(design.weights[design.trials > 0].sum()),
        terms=term_fits(arranged, design, summit, found, _effects(arranged, settings, summit)),
        status=found.status,
        trace=tuple(trace),
        integration=summit.integration,
        wording=design.wording,
        messages=tuple(said),
        theta=found.theta,
        cov_theta=found.cov_theta,
        seconds=time.perf_counter() - began,
        nested=design.nested,
    )


def _arranged(design: Design, settings: Settings) -> Nested | Crossed:
    """The data in the layout of the engine that fits them: quadrature where groups are nested, else joint modes."""
    if design.nested:
        if settings.method == "simulated":
            raise ModelError(messages.simulated_is_for_crossed())
        return arrange(design, threads=settings.threads)
    names = [t.factor.name for t in design.terms]
    alike = coinciding(design)
    if alike:
        raise ModelError(messages.coincide(alike))
    points = settings.intpoints
    one = points == "auto" or all(k == 1 for k in (points if isinstance(points, tuple) else (points,)))
    if settings.method not in (None, "laplace", "simulated") or not one:
        raise ModelError(messages.no_grid_for_crossed(names, settings.method, settings.intpoints))
    return arrange_crossed(design, threads=settings.threads)


def _plain_likelihood(arranged: Nested | Crossed) -> PlainLikelihood:
    if isinstance(arranged, Nested):
        return lambda beta: nested_likelihood.without_effects(arranged, beta)
    return lambda beta: crossed_likelihood.without_effects(arranged, beta)


def _effects(arranged: Nested | Crossed, settings: Settings, summit: Summit) -> Effects:
    if settings.lean:
        return no_effects(arranged.covariance.sizes)
    return posterior(arranged, summit) if isinstance(arranged, Nested) else crossed_posterior(arranged, summit)


def _warn(
    found: Estimates, integration: Integration, trace: list[TraceRow], size: float, *, checked: bool
) -> list[str]:
    said: list[tuple[str, type[MelogitWarning]]] = []
    if found.zero:
        said.append((messages.zero_variance(found.zero), BoundaryWarning))
    if found.perfect:
        said.append((messages.perfect_correlation(found.perfect), BoundaryWarning))
    if found.status not in (Status.CONVERGED, Status.BOUNDARY):
        last = trace[-1]
        said.append(
            (messages.not_converged(found.status, last.iteration, last.decrement, integration), ConvergenceWarning)
        )
    elif found.flat:
        said.append((messages.flat(found.flat), ConvergenceWarning))
    limit_shift = integration.tolerance if integration.automatic else WARN_SHIFT
    limit_loglik = integration.tolerance if integration.automatic else WARN_LOGLIK
    if integration.draws and integration.method == "laplace":  # beyond what chance makes of the check
        limit_shift += 2 * integration.shift_noise
        limit_loglik += 2 * integration.loglik_noise
    elif integration.method == "simulated":
        limit_shift = limit_loglik = integration.tolerance
    fine = integration.max_shift_in_se <= limit_shift and abs(integration.loglik_error) <= limit_loglik
    reached = found.status in (Status.CONVERGED, Status.BOUNDARY)
    if checked and not fine and (reached or not integration.automatic):
        said.append((messages.inaccurate(integration, limit_shift, size), IntegrationWarning))
    for text, category in said:
        warn(text, category)
    return [text for text, _ in said]


def _fit_limit(design: Design, settings: Settings, separation: Separation) -> Fit:
    """Fit what remains when the separated rows are fitted perfectly, and put the infinite coefficients back."""
    infinite = separation.direction != 0
    names = [n for n, far in zip(design.x_names, infinite, strict=True) if far and n != "Intercept"] or ["Intercept"]
    response = design.wording.response
    rest = ~separation.rows
    y, trials = design.y[rest], design.trials[rest]
    if not rest.any() or np.all(y == 0) or np.all(y == trials):
        raise ModelError(messages.completely_separated(names, response))
    candidates = [j for j in np.flatnonzero(infinite) if design.x_names[j] != "Intercept"] or list(
        np.flatnonzero(infinite)
    )
    keep = np.ones(len(infinite), dtype=bool)
    for j in candidates:  # leave out as many of the infinite columns as the remaining rows cannot tell apart
        trial = keep.copy()
        trial[j] = False
        X = design.X[rest]
        if np.linalg.matrix_rank(_unit(X[:, keep])) == np.linalg.matrix_rank(_unit(X[:, trial])):
            keep = trial
    text = messages.separated(names, int(separation.rows.sum()), response)
    remaining = replace(
        subset(design, rest),
        X=np.ascontiguousarray(design.X[np.ix_(rest, keep)]),
        x_names=tuple(n for n, k in zip(design.x_names, keep, strict=True) if k),
    )
    inner = fit_design(remaining, settings)
    warn(text, SeparationWarning)
    return _expand(design, inner, separation, keep, rest, text)


def _unit(X: NDArray) -> NDArray:
    return X / np.maximum(np.sqrt((X**2).sum(axis=0)), 1e-300)


def _expand(
    design: Design,
    inner: Fit,
    separation: Separation,
    kept: NDArray[np.bool_],
    rest: NDArray[np.bool_],
    text: str,
) -> Fit:
    p = len(design.x_names)
    m = len(inner.names) - inner.n_fixed
    where = np.concatenate([np.flatnonzero(kept), np.arange(p, p + m)])
    params = np.full(p + m, np.nan)
    cov, cov_theta = np.full((p + m, p + m), np.nan), np.full((p + m, p + m), np.nan)
    params[where] = inner.params
    cov[np.ix_(where, where)] = inner.cov
    cov_theta[np.ix_(where, where)] = inner.cov_theta
    far = np.flatnonzero(separation.direction != 0)
    params[far] = np.sign(separation.direction[far]) * np.inf
    for j in far:
        cov[j, :] = cov[:, j] = cov_theta[j, :] = cov_theta[:, j] = np.nan
    status = Status.SEPARATED if inner.converged or inner.status is Status.SEPARATED else inner.status
    return replace(
        inner,
        names=(*design.x_names, *inner.names[inner.n_fixed :]),
        n_fixed=p,
        params=params,
        cov=cov,
        cov_theta=cov_theta,
        df_model=p + m,
        n_obs=float(design.weights[design.trials > 0].sum()),
        terms=tuple(
            _all_groups(t, f, rest, design) if len(f.means) else f
            for t, f in zip(design.terms, inner.terms, strict=True)
        ),
        status=status,
        messages=(text, *inner.messages),
        sums=_finite_sums(design, inner, where, kept, rest),
    )


def _finite_sums(
    design: Design, inner: Fit, where: NDArray[np.int64], kept: NDArray[np.bool_], rest: NDArray[np.bool_]
) -> FiniteSums:
    """The coefficients of the columns that were kept, 0 for the others, and which combinations that says nothing of."""
    p, size = len(kept), len(inner.params) + int((~kept).sum())
    params, cov = np.zeros(size), np.zeros((size, size))
    base = inner.sums
    params[where] = inner.params if base is None else base.params
    cov[np.ix_(where, where)] = inner.cov if base is None else base.cov
    columns = design.X[np.ix_(rest, kept)]
    lost = np.eye(p)[:, ~kept]
    lost[kept] = -np.linalg.lstsq(_unit(columns), design.X[np.ix_(rest, ~kept)], rcond=None)[0]
    lost[kept] /= np.maximum(np.sqrt((columns**2).sum(axis=0)), 1e-300)[:, None]
    if base is not None:
        more = np.zeros((p, base.lost.shape[1]))
        more[kept] = base.lost
        lost = np.hstack([lost, more])
    return FiniteSums(params, cov, lost)


def _all_groups(term: RandomTerm, fit: TermFit, rest: NDArray[np.bool_], design: Design) -> TermFit:
    """Groups all of whose rows are fitted perfectly keep their prior: mean 0."""
    seen = np.unique(term.factor.codes[rest])
    G, q = term.factor.n_levels, len(term.names)
    means, modes = np.zeros((G, q)), np.zeros((G, q))
    sd = np.tile(np.sqrt(np.diag(fit.Sigma)), (G, 1))
    means[seen], modes[seen], sd[seen] = fit.means, fit.modes, fit.std_err
    sizes = np.bincount(term.factor.codes, weights=design.weights, minlength=G)
    return replace(fit, levels=term.factor.levels, means=means, modes=modes, std_err=sd, group_sizes=sizes)
