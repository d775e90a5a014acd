"""Probabilities to judge: of the rows that were fitted, or of rows held out.

With the group's own effect a probability is that at the posterior mean; without it, it is averaged over the
distribution of the random effects, which is what one knows of a row whose group has not been seen.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from melogit.design import Design, subset
from melogit.effects.integrals import averaged
from melogit.effects.parameters import check_defined, linear_predictor
from melogit.errors import MelogitError, MelogitWarning, ModelError
from melogit.fit import fit_design
from melogit.fit.types import Fit
from melogit.inference.model_test import settings_of

FloatArray = NDArray[np.float64]
Holding = Literal["groups", "rows"]

FAR = 700.0  # stands for an infinite linear predictor: its probability is 0 or 1, and random effects change nothing


@dataclass(frozen=True, slots=True)
class Predicted:
    """Probabilities of every row.

    Attributes
    ----------
    with_effects : (n,) or None
        Using the group's own effects; None where whole groups are held out.
    without_effects : (n,)
    fold : (n,) int or None
        In which fold each row was held out.
    """

    with_effects: FloatArray | None
    without_effects: FloatArray
    fold: NDArray[np.int64] | None


def in_sample(design: Design, fit: Fit) -> Predicted:
    """Probabilities of the rows that were fitted."""
    known = [np.ones(design.n_rows, dtype=bool)] * len(design.terms)
    means = [term.means[data.factor.codes] for data, term in zip(design.terms, fit.terms, strict=True)]
    return Predicted(
        _probability(design, fit, known, means), _probability(design, fit, [~k for k in known], means), None
    )


def _probability(design: Design, fit: Fit, known: list[NDArray[np.bool_]], means: list[FloatArray]) -> FloatArray:
    """Probability (n,) given the effects that are known, averaged over those that are not."""
    beta = fit.params[: fit.n_fixed]
    eta = linear_predictor(design.X, beta, design.offset)
    check_defined(eta, beta, fit.names)
    eta = np.clip(eta, -FAR, FAR)
    variance = np.zeros(design.n_rows)
    for data, term, seen, mean in zip(design.terms, fit.terms, known, means, strict=True):
        eta += np.where(seen, np.einsum("ij,ij->i", data.Z, mean), 0.0)
        variance += np.where(seen, 0.0, np.einsum("ij,jk,ik->i", data.Z, term.Sigma, data.Z))
    return averaged(eta, variance, 0)[0]


# ------------------------------------------------------------------------------------------- cross-validation


def cross_validate(design: Design, fit: Fit, folds: int, hold: Holding, seed: int) -> Predicted:
    """Fit without each fold in turn, and predict it.

    Parameters
    ----------
    folds : int
    hold : {"groups", "rows"}
        Whole top-level groups, or rows spread evenly over the lowest-level groups.
    seed : int

    Raises
    ------
    ModelError
        More folds than groups or rows; a fold without which the model cannot be fitted.
    """
    fold = _folds(design, folds, hold, np.random.default_rng(seed))
    without = np.empty(design.n_rows)
    within = np.empty(design.n_rows) if hold == "rows" else None
    for k in range(folds):
        out = fold == k
        trained = _fit_without(design, fit, ~out, k, folds)
        held = subset(design, out)
        known, means = _carried_over(held, trained)
        without[out] = _probability(held, trained, [np.zeros(held.n_rows, dtype=bool)] * len(known), means)
        if within is not None:
            within[out] = _probability(held, trained, known, means)
    return Predicted(within, without, fold)


def _folds(design: Design, folds: int, hold: Holding, rng: np.random.Generator) -> NDArray[np.int64]:
    top, bottom = design.terms[0].factor, design.terms[-1].factor
    most = top.n_levels if hold == "groups" else design.n_rows
    if folds > most:
        what = f"groups of {top.name}" if hold == "groups" else "rows"
        raise ModelError(f"There are {most:,} {what}, too few for {folds} folds. Ask for fewer folds.")
    if hold == "groups":
        of_group = np.empty(top.n_levels, dtype=np.int64)
        of_group[rng.permutation(top.n_levels)] = np.arange(top.n_levels) % folds
        return of_group[top.codes]
    # Rows in random order within each group are dealt out in turn, from group to group without a break.
    order = np.lexsort((rng.random(design.n_rows), bottom.codes))
    out = np.empty(design.n_rows, dtype=np.int64)
    out[order] = np.arange(design.n_rows) % folds
    return out


def _fit_without(design: Design, fit: Fit, rows: NDArray[np.bool_], k: int, folds: int) -> Fit:
    training = subset(design, rows)
    where = f"Without fold {k + 1} of {folds} ({int((~rows).sum()):,} rows)"
    scale = np.sqrt(np.mean(design.X**2, axis=0))
    if np.linalg.matrix_rank(training.X / scale) < training.X.shape[1]:
        raise ModelError(
            f"{where} the predictors are collinear, most likely because a rare level is only in that fold. "
            "Ask for more folds, another seed, or merge the level."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MelogitWarning)
        try:
            return fit_design(training, settings_of(fit))
        except MelogitError as error:
            raise ModelError(f"{where} the model cannot be fitted: {error}") from error


def _carried_over(held: Design, trained: Fit) -> tuple[list[NDArray[np.bool_]], list[FloatArray]]:
    """Which rows' groups the training rows knew, and the posterior means of these (n, q)."""
    known, means = [], []
    for data, term in zip(held.terms, trained.terms, strict=True):
        position = {label: at for at, label in enumerate(term.levels)}
        at = np.array([position.get(label, -1) for label in data.factor.levels])[data.factor.codes]
        known.append(at >= 0)
        means.append(np.where((at >= 0)[:, None], term.means[np.maximum(at, 0)], 0.0))
    return known, means
