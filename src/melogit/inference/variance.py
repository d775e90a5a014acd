"""Variances, covariances, standard deviations and correlations of random effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Block
from melogit.fit.types import TermFit
from melogit.inference.wald import atanh_interval, log_interval, normal_interval
from melogit.likelihood.covariance import CovarianceMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Role:
    """What one variance parameter stands for.

    Attributes
    ----------
    label : str
        ``var(Intercept)`` or ``cov(x,Intercept)``: the parameter's name without its group.
    variance : int or None
        For a variance: its own position among the term's parameters.
    pair : tuple of int or None
        For a covariance: the positions of the two variances it belongs to (the same one twice for the
        ``exchangeable`` structure).
    effects : tuple of int
        Columns of the random term that a variance applies to (several for ``identity`` and ``exchangeable``).
    """

    label: str
    variance: int | None
    pair: tuple[int, int] | None
    effects: tuple[int, ...]


def parameter_roles(
    group: str, effects: Sequence[str], blocks: Sequence[Block], parameters: Sequence[str]
) -> list[Role]:
    """Read the roles of a term's parameters from their names and the block structure.

    Parameters
    ----------
    group : str
        Name of the grouping factor.
    effects : sequence of str
        Names of the q random effects.
    blocks : sequence of Block
    parameters : sequence of str
        ``DID:var(Intercept)`` and so on, block by block.

    Examples
    --------
    >>> block = Block(0, 2, "unstructured")
    >>> names = ["g:var(x)", "g:cov(x,Intercept)", "g:var(Intercept)"]
    >>> [role.pair for role in parameter_roles("g", ["x", "Intercept"], [block], names)]
    [None, (0, 2), None]
    """
    roles: list[Role] = []
    for block in blocks:
        start = len(roles)
        labels = [name.removeprefix(f"{group}:") for name in parameters[start : start + _n_parameters(block)]]
        columns = range(block.start, block.start + block.size)
        if block.structure in ("identity", "exchangeable"):
            roles.append(Role(labels[0], start, None, tuple(columns)))
            roles += [Role(label, None, (start, start), ()) for label in labels[1:]]
            continue
        position = {column: start + labels.index(f"var({effects[column]})") for column in columns}
        pairs = {
            f"cov({effects[i]},{effects[j]})": (position[i], position[j]) for i in columns for j in columns if i != j
        }
        variances = {at: column for column, at in position.items()}
        for at, label in enumerate(labels, start):
            if at in variances:
                roles.append(Role(label, at, None, (variances[at],)))
            else:
                roles.append(Role(label, None, pairs[label], ()))
    return roles


def covariance_basis(terms: Sequence[TermFit], layout: CovarianceMap) -> list[FloatArray]:
    """Derivative of each term's covariance matrix, which is linear in them, in all variance parameters: (m, q, q)."""
    basis = [np.zeros((layout.m, q, q)) for q in layout.sizes]
    for r, (term, i, j) in enumerate(layout.reported):
        block = next(b for b in terms[term].blocks if b.start <= i < b.start + b.size)
        span = slice(block.start, block.start + block.size)
        if block.structure in ("identity", "exchangeable") and block.size > 1:
            unit = np.eye(block.size)
            basis[term][r, span, span] = unit if i == j else 1.0 - unit
        else:
            basis[term][r, i, j] = basis[term][r, j, i] = 1.0
    return basis


def _n_parameters(block: Block) -> int:
    """Free parameters of a covariance block."""
    if block.structure == "independent":
        return block.size
    if block.structure == "unstructured":
        return block.size * (block.size + 1) // 2
    return 1 if block.structure == "identity" or block.size == 1 else 2


def variance_intervals(
    roles: Sequence[Role], estimate: FloatArray, std_err: FloatArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Confidence intervals of one term's parameters: variances on the log scale, covariances symmetric.

    Parameters
    ----------
    roles : sequence of Role, length k
    estimate, std_err : (k,)
    level : float

    Examples
    --------
    >>> role = Role("var(Intercept)", 0, None, (0,))
    >>> low, high = variance_intervals([role], np.array([4.0]), np.array([0.4]), 0.95)
    >>> round(low.item(), 4)
    3.2881
    """
    is_variance = np.array([role.variance is not None for role in roles], dtype=bool)
    on_log = log_interval(estimate, std_err, level)
    symmetric = normal_interval(estimate, std_err, level)
    return np.where(is_variance, on_log[0], symmetric[0]), np.where(is_variance, on_log[1], symmetric[1])


def deviations_and_correlations(
    roles: Sequence[Role], estimate: FloatArray, cov: FloatArray, level: float
) -> tuple[list[str], FloatArray]:
    """Compute standard deviations and correlations of one term, with delta-method standard errors.

    Parameters
    ----------
    roles : sequence of Role, length k
    estimate : (k,)
        Variances and covariances.
    cov : (k, k)
        Their covariance matrix.
    level : float

    Returns
    -------
    labels : list of str
        ``sd(Intercept)``, ``corr(x,Intercept)``.
    table : (k, 4)
        Estimate, standard error and interval (log scale for standard deviations, atanh for correlations).

    Examples
    --------
    >>> role = Role("var(Intercept)", 0, None, (0,))
    >>> labels, table = deviations_and_correlations([role], np.array([4.0]), np.array([[0.16]]), 0.95)
    >>> labels, table[0, :2].tolist()
    (['sd(Intercept)'], [2.0, 0.1])
    """
    labels, rows = [], []
    for at, role in enumerate(roles):
        gradient = np.zeros(len(roles))
        with np.errstate(divide="ignore", invalid="ignore"):
            if role.pair is None:
                value = np.sqrt(estimate[at])
                gradient[at] = 1 / (2 * value)
                labels.append("sd" + role.label.removeprefix("var"))
            else:
                first, second = role.pair
                scale = np.sqrt(estimate[first] * estimate[second])
                value = estimate[at] / scale
                gradient[at] = 1 / scale
                gradient[first] -= value / (2 * estimate[first])
                gradient[second] -= value / (2 * estimate[second])
                labels.append("corr" + role.label.removeprefix("cov"))
            # Only the parameters involved: another variance at 0 has NaN in cov and would spoil the product.
            used = gradient != 0
            std_err = np.sqrt(gradient[used] @ cov[np.ix_(used, used)] @ gradient[used])
        interval = log_interval if role.pair is None else atanh_interval
        low, high = interval(value, std_err, level)
        rows.append([value, std_err, low, high])
    return labels, np.array(rows, dtype=float).reshape(len(roles), 4)
