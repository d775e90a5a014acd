"""The scale in which models are fitted, so that no answer depends on a predictor's units.

Columns of X are centred (where there is a constant to take up the shift) and divided by their standard deviation,
columns of Z divided by their root mean square.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from melogit import kernel
from melogit.design import Design
from melogit.likelihood.covariance import CovarianceMap, row_scales

FloatArray = NDArray[np.float64]
ROWS_AT_A_TIME = 2048


def fixed_scales(design: Design) -> tuple[FloatArray, FloatArray]:
    """What to subtract from each column of X and what to divide it by."""
    p = len(design.x_names)
    shift, scale = np.zeros(p), np.ones(p)
    share = design.weights / design.weights.sum()
    others = np.array([name != "Intercept" for name in design.x_names], dtype=bool)
    if not others.all():
        shift[others] = (share @ design.X)[others]
    squares = np.zeros(p)
    for part in pieces(design.n_rows):
        centred = design.X[part] - shift
        squares += share[part] @ np.square(centred, out=centred)
    scale[others] = np.sqrt(squares[others])
    scale[scale == 0] = 1.0
    return shift, scale


def pieces(n: int) -> Iterator[slice]:
    """Runs of rows few enough to stay in the processor's cache."""
    for begin in range(0, n, ROWS_AT_A_TIME):
        yield slice(begin, begin + ROWS_AT_A_TIME)


def random_scales(design: Design) -> list[FloatArray]:
    """Root mean square of each column of Z; columns that share a variance share the divisor."""
    scales = []
    share = design.weights / design.weights.sum()
    for term in design.terms:
        rms = np.ones(len(term.names))
        for k, name in enumerate(term.names):
            if name != "Intercept":
                rms[k] = np.sqrt(share @ term.Z[:, k] ** 2) or 1.0
        for block in term.blocks:
            if block.size > 1 and block.structure in ("identity", "exchangeable"):
                span = slice(block.start, block.start + block.size)
                rms[span] = np.sqrt(np.mean(rms[span] ** 2))
        scales.append(rms)
    return scales


def to_user(
    design: Design, covariance: CovarianceMap, shift: FloatArray, scale: FloatArray, z_scales: list[FloatArray]
) -> FloatArray:
    """Matrix (p + m, p + m) that takes parameters of this scale to those in the user's units."""
    p = len(scale)
    out = np.zeros((p + covariance.m, p + covariance.m))
    out[np.arange(p), np.arange(p)] = 1.0 / scale
    if "Intercept" in design.x_names:
        constant = design.x_names.index("Intercept")
        out[constant, :p] -= shift / scale
    out[np.arange(p, len(out)), np.arange(p, len(out))] = row_scales(covariance, z_scales)
    return out


def is_binary(design: Design) -> bool:
    """Every weight and number of trials is 1, every response 0 or 1."""
    y = design.y
    return bool(np.all(design.trials == 1) and np.all(design.weights == 1) and np.all((y == 0) | (y == 1)))


def binomial_constant(design: Design) -> float:
    """Sum of the logs of the binomial coefficients."""
    y, trials = design.y, design.trials
    return float(np.sum(design.weights * (gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1))))


def with_slack(values: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    """Numbers of rows in the order given, with room at the end for the kernel's vectors."""
    out = np.zeros(len(values) + kernel.SLACK)
    np.take(values, order, out=out[: -kernel.SLACK])
    return out
