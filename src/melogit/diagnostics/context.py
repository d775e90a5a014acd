"""What every check is given: the fit, its rows and predictors, and quiet refits with a change."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design
from melogit.effects.posterior import Posterior
from melogit.errors import MelogitError, MelogitWarning, ModelError
from melogit.fit import Settings, fit_design
from melogit.fit.types import Fit, Status
from melogit.formula.recipe import Recipe, factor_levels
from melogit.inference.model_test import settings_of

FloatArray = NDArray[np.float64]
ALPHA = 0.05
# Rows x integration points of one evaluation above which refits are made with few points per random effect, provided
# that no estimate moves by more than so many standard errors.
COSTLY, FEW_POINTS, NEAR_ENOUGH = 5_000_000, 7, 0.1


class NotChecked(Exception):  # noqa: N818 (an answer, no error)
    """A check does not apply to this model or these data; the text says why, as a whole sentence."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A column of the user's data that stands in the fixed part.

    Attributes
    ----------
    name : str
    values : (n,)
        Numbers; codes of ``levels`` for a factor.
    levels : tuple of str
        Empty for a number.
    columns : tuple of int
        The columns of ``design.X`` that depend on it.
    own : tuple of int
        Those of them that depend on nothing else: all but its products with others.
    plain : bool
        A number that stands in the formula as it is, outside products, powers and splines.
    """

    name: str
    values: FloatArray
    levels: tuple[str, ...]
    columns: tuple[int, ...]
    own: tuple[int, ...]
    plain: bool

    @property
    def continuous(self) -> bool:
        """A number with more than two different values."""
        return not self.levels and len(np.unique(self.values)) > 2


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the fixed part: its name as written, its columns of X, and the data columns it is made of."""

    name: str
    columns: tuple[int, ...]
    variables: frozenset[str]


@dataclass(frozen=True, slots=True)
class Context:
    """What a check is given.

    Attributes
    ----------
    fit : Fit
        With standard errors from the information, even where the tables use robust ones.
    design : Design
        The rows of the fit.
    predictors : tuple of Predictor
        Those of the fixed part, in the order of the formula; empty where the recipe is not known.
    terms : tuple of Term
        Of the fixed part; without a recipe, every column is one.
    posterior : Posterior or None
        Of the groups, with its slopes, where it was kept; ``find_posterior(design, fit)`` computes it.
    seed : int
    alpha : float
        Level of the tests.
    threads : int or None
    time : (n,) or None
        The time of each row, where the user named a time column.
    time_name : str
    outcomes : tuple of str
        The values of a response that was not coded 0/1.
    tell : callable
        ``tell("12 of 407 doctors")`` shows how far a long check is.
    memory : dict
        What one check worked out and another needs too.
    """

    fit: Fit
    design: Design
    predictors: tuple[Predictor, ...]
    terms: tuple[Term, ...] = ()
    posterior: Posterior | None = None
    seed: int = 0
    alpha: float = ALPHA
    threads: int | None = None
    time: FloatArray | None = None
    time_name: str = ""
    outcomes: tuple[str, ...] = ()
    tell: Callable[[str], None] = field(default=lambda _: None)
    memory: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def beta(self) -> FloatArray:
        """Fixed effects, (p,)."""
        return self.fit.params[: self.fit.n_fixed]

    @property
    def weight(self) -> FloatArray:
        """Trials that each row stands for, frequency weights counted, (n,)."""
        return self.design.weights * self.design.trials

    def predictor(self, name: str) -> Predictor:
        """Look up a predictor by name."""
        return next(p for p in self.predictors if p.name == name)


# -------------------------------------------------------------------------------------------------- predictors


def read_predictors(design: Design, recipe: Recipe | None) -> tuple[Predictor, ...]:
    """Collect the predictors of the fixed part from what the fit remembers of its rows."""
    if recipe is None or recipe.sample is None or recipe.fixed is None:
        return ()
    place = {column: k for k, column in enumerate(recipe.kept)}
    out = []
    for column in recipe.columns:
        own, at = _columns_of(recipe, column.name, place)
        if not at:
            continue
        values = recipe.sample[column.name]
        levels = factor_levels(recipe, column.name)
        if column.kind == "category":
            numbers = np.asarray(values.codes, dtype=np.float64)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            numbers = np.asarray(values, dtype=np.float64)
            if levels is not None and column.kind == "number":
                numbers = np.searchsorted(np.array(levels, dtype=np.float64), numbers).astype(np.float64)
        plain = levels is None and len(at) == 1 and design.x_names[at[0]] == column.name
        texts = () if levels is None else tuple(_label(level) for level in levels)
        out.append(Predictor(column.name, numbers, texts, at, own, plain))
    return tuple(out)


def _columns_of(recipe: Recipe, name: str, place: Mapping[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which columns of X depend on a predictor alone, and which on it at all."""
    assert recipe.fixed is not None
    known = {column.name for column in recipe.columns}
    own, all_ = [], []
    for term, variables in recipe.fixed.term_variables.items():
        names = {str(v) for v in variables} & known
        if name in names:
            at = [place[i] for i in recipe.fixed.term_indices[term] if i in place]
            all_ += at
            own += at if names == {name} else []
    return tuple(sorted(own)), tuple(sorted(all_))


def read_terms(design: Design, recipe: Recipe | None) -> tuple[Term, ...]:
    """Collect the terms of the fixed part, the constant among them."""
    if recipe is None or recipe.fixed is None:
        return tuple(Term(name, (j,), frozenset({name})) for j, name in enumerate(design.x_names))
    place = {column: k for k, column in enumerate(recipe.kept)}
    known = {column.name for column in recipe.columns}
    out = []
    for term, variables in recipe.fixed.term_variables.items():
        at = tuple(place[i] for i in recipe.fixed.term_indices[term] if i in place)
        if at:
            name = "Intercept" if str(term) == "1" else str(term)
            out.append(Term(name, at, frozenset(str(v) for v in variables) & known))
    return tuple(out)


def _label(level: object) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)


def conditional_predictor(context: Context) -> FloatArray:
    """Linear predictor of every row with its groups' effects at their posterior means, (n,)."""
    design, fit = context.design, context.fit
    eta = design.offset + design.X @ context.beta
    for term, found in zip(design.terms, fit.terms, strict=True):
        eta = eta + np.einsum("ij,ij->i", term.Z, found.means[term.factor.codes])
    return eta


def row_name(design: Design, row: int) -> str:
    """What the user calls a row: its label in the index of the data."""
    return str(design.row_labels[row]) if len(design.row_labels) else str(row)


# ------------------------------------------------------------------------------------------------------ refits


def generator(context: Context, key: str) -> np.random.Generator:
    """Random numbers of one check: the same whichever other checks are made."""
    return np.random.default_rng([context.seed, zlib.crc32(key.encode())])


def needs_maximum(fit: Fit) -> None:
    """Refuse fits whose estimates are no finite maximum of the likelihood.

    Raises
    ------
    NotChecked
    """
    if fit.status is Status.SEPARATED:
        raise NotChecked("Some coefficients of this model are infinite (separation); see the check of separation.")
    if not fit.converged:
        raise NotChecked(f"The fit is not a maximum of the likelihood: it {fit.status.value}.")


def with_columns(design: Design, columns: Mapping[str, FloatArray]) -> Design:
    """Append predictors to the fixed part, each (n,)."""
    X = np.ascontiguousarray(np.column_stack([design.X, *columns.values()]))
    return replace(design, X=X, x_names=(*design.x_names, *columns))


def without_columns(design: Design, columns: tuple[int, ...]) -> Design:
    """Leave out columns of the fixed part."""
    keep = [j for j in range(design.X.shape[1]) if j not in columns]
    return replace(design, X=np.ascontiguousarray(design.X[:, keep]), x_names=tuple(design.x_names[j] for j in keep))


def starting_at(context: Context, design: Design) -> tuple[FloatArray, FloatArray]:
    """The estimates as starting values for another design: 0 for columns that the fit does not have."""
    known = dict(zip(context.fit.names, context.beta, strict=False))
    return np.array([known.get(name, 0.0) for name in design.x_names]), context.fit.theta


@dataclass(frozen=True, slots=True)
class Lighter:
    """How models are refitted: as the fit was, or with fewer points where the fit's own would take minutes.

    Attributes
    ----------
    settings : Settings
    base : Fit
        All data fitted that way; the fit itself where refits are made as it was.
    """

    settings: Settings
    base: Fit


def lighter(context: Context) -> Lighter:
    """Choose how to refit, once per diagnosis.

    Costly grids give way to seven points per random effect if that moves no estimate by more than a tenth of a
    standard error; models of crossed factors are refitted by the Laplace approximation.
    """
    known = context.memory.get("lighter")
    if known is None:
        known = context.memory["lighter"] = _lighter(context)
    return known


def _lighter(context: Context) -> Lighter:
    design, fit = context.design, context.fit
    own = settings_of(fit, threads=context.threads)
    as_it_was = Lighter(own, fit)
    if not design.nested:
        laplace = replace(own, method="laplace", intpoints="auto")
        if fit.integration.method == "laplace":
            return Lighter(laplace, fit)
        return Lighter(laplace, _fitted(design, replace(laplace, start=starting_at(context, design), lean=True)))
    if design.n_rows * paths_per_row(design, fit) <= COSTLY:
        return as_it_was
    method = "mcaghermite" if any(len(term.names) > 1 for term in design.terms) else "mvaghermite"
    few = replace(own, method=method, intpoints=FEW_POINTS)
    try:
        base = _fitted(design, replace(few, start=starting_at(context, design), lean=True))
    except ModelError:
        return as_it_was
    cheaper = 3 * paths_per_row(design, base) <= paths_per_row(design, fit)
    with np.errstate(invalid="ignore"):
        shift = np.abs(base.params - fit.params) / np.sqrt(np.diag(fit.cov))
    return Lighter(few, base) if cheaper and np.nanmax(shift) <= NEAR_ENOUGH else as_it_was


def paths_per_row(design: Design, fit: Fit) -> float:
    """Combinations of integration points at which every row is evaluated."""
    points = fit.integration.points
    return float(np.prod([float(max(k, 1)) ** len(t.names) for k, t in zip(points, design.terms, strict=True)]))


def refit(context: Context, design: Design, *, start: bool = True, full: bool = False) -> Fit:
    """Fit a changed design, quietly, from the estimates, leaving out what only tables need.

    Parameters
    ----------
    design : Design
        With the same random effects; other rows, responses or columns of the fixed part.
    start : bool
        Begin at the fit's estimates.
    full : bool
        With all points of the fit (for a change of the random part).

    Returns
    -------
    Fit
        Where it was made with fewer points than the fit, estimates and log-likelihood are those of the fit plus the
        difference between two refits of the lighter kind, with the change and without.

    Raises
    ------
    ModelError
        It cannot be fitted, or did not reach a finite maximum.
    """
    way = lighter(context)
    if full and design.nested:
        way = Lighter(settings_of(context.fit, threads=context.threads), context.fit)
    fit = _fitted(design, replace(way.settings, start=starting_at(context, design) if start else None, lean=True))
    return fit if way.base is context.fit else _carried_over(context.fit, way.base, fit)


def refit_alike(context: Context, design: Design) -> Fit:
    """Fit drawn data as ``lighter`` says, without carrying anything over: to compare with its ``base``.

    Raises
    ------
    ModelError
    """
    return _fitted(design, replace(lighter(context).settings, start=starting_at(context, design), lean=True))


def _fitted(design: Design, settings: Settings) -> Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MelogitWarning)
        try:
            fit = fit_design(design, settings)
        except np.linalg.LinAlgError as error:
            raise ModelError(f"a refit could not be computed ({error})") from error
    if not fit.converged:
        raise ModelError(f"a refit {fit.status.value}")
    return fit


def _carried_over(fit: Fit, base: Fit, found: Fit) -> Fit:
    """The fit, plus the difference of two lighter fits."""
    gap = dict(zip(fit.names, fit.params - base.params, strict=True))
    params = found.params + np.array([gap.get(name, 0.0) for name in found.names])
    theta = found.theta + (fit.theta - base.theta) if len(found.theta) == len(fit.theta) else found.theta
    return replace(found, params=params, theta=theta, loglik=found.loglik + fit.loglik - base.loglik)


def refits_in_words(context: Context) -> str:
    """How the refits of the checks were made, where it is not as the fit was; empty else."""
    way = context.memory.get("lighter")
    if way is None or way.base is context.fit:
        return ""
    how = "by the Laplace approximation"
    if context.design.nested:
        how = f"with {FEW_POINTS} integration points per random effect, in place of {context.fit.integration.points}"
    with np.errstate(invalid="ignore"):
        shift = np.abs(way.base.params - context.fit.params) / np.sqrt(np.diag(context.fit.cov))
    return (
        f"{how}, to save time; that moves the estimates of all data by {np.nanmax(shift):.2f} standard errors at most, "
        "and the checks use differences between fits of this kind"
    )


def reason(error: MelogitError) -> str:
    """Say why a refit failed, as the end of a sentence."""
    text = str(error)
    return text if text.endswith(".") else f"{text}."
