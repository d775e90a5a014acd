"""Sort a nested design by group, scale its columns and hand it to the kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from melogit import kernel
from melogit.design import Design, RandomTerm
from melogit.errors import ModelError
from melogit.likelihood.covariance import CovarianceMap, covariance_map, row_scales

FloatArray = NDArray[np.float64]
MAX_EFFECTS = 24
MAX_LEVELS = 8
SLACK = kernel.calls.SLACK


@dataclass(frozen=True, slots=True)
class Nested:
    """A nested model in the scale in which it is fitted.

    Columns of X are centred (where there is a constant to take up the shift) and divided by their standard
    deviation, columns of Z divided by their root mean square, so that no answer depends on a predictor's units.

    Attributes
    ----------
    problem : kernel.Problem
        Parameters there are (beta, entries of Lambda); everywhere else (beta, theta).
    X : (n, p)
        Scaled, rows sorted.
    offset, y_weighted, trials_weighted : (n,)
    constant : float
        Sum of the logs of the binomial coefficients.
    covariance : CovarianceMap
    to_user : (p + m, p + m)
        Parameters in the user's units = to_user @ parameters here.
    order : (n,) int
        Row of the design that each sorted row is.
    unit_of_code : per level, (G,)
        Position, among the kernel's groups of that level, of each group of the design.
    parents : per level, (G,)
        The group of the level above (position there) that each group lies in; zeros at the top.
    """

    problem: kernel.Problem
    X: FloatArray
    offset: FloatArray
    y_weighted: FloatArray
    trials_weighted: FloatArray
    constant: float
    covariance: CovarianceMap
    to_user: FloatArray
    order: NDArray[np.int64]
    unit_of_code: tuple[NDArray[np.int64], ...]
    parents: tuple[NDArray[np.int64], ...]

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return self.X.shape[1]

    @property
    def m(self) -> int:
        """Number of covariance parameters."""
        return self.covariance.m


def arrange(design: Design, *, threads: int | None = None, isa: str = "") -> Nested:
    """Prepare a design for the nested likelihood.

    Raises
    ------
    ModelError
        More levels or effects than the kernel takes.
    """
    effects = sum(len(t.names) for t in design.terms)
    if len(design.terms) > MAX_LEVELS or effects > MAX_EFFECTS:
        raise ModelError(
            f"The model has {len(design.terms)} levels with {effects} random effects on each observation; the limit is "
            f"{MAX_LEVELS} levels and {MAX_EFFECTS} effects. Leave out some random slopes."
        )
    order, first, unit_of_code = _tree(design)
    X, shift, scale = _scaled_fixed(design)
    X = X[order]
    Z, z_scales = _scaled_random(design.terms, design.weights)
    Q, z_columns, z_in_Q, z_of_effect = _columns(X, [z[order] for z in Z])
    covariance = covariance_map(design.terms)
    y, trials, weights = design.y[order], design.trials[order], design.weights[order]
    binary = bool(np.all(trials == 1) and np.all(weights == 1) and np.all((y == 0) | (y == 1)))
    problem = kernel.problem(
        Q=Q,
        wy=weights * y,
        wt=weights * trials,
        binary=binary,
        z_columns=z_columns,
        z_in_Q=z_in_Q,
        first=first,
        z_of_effect=z_of_effect,
        entries=covariance.entries,
        p=X.shape[1],
        threads=threads,
        isa=isa,
    )
    constant = 0.0
    if not binary:
        constant = float(np.sum(weights * (gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1))))
    return Nested(
        problem,
        X,
        design.offset[order],
        weights * y,
        weights * trials,
        constant,
        covariance,
        _to_user(design, covariance, shift, scale, z_scales),
        order,
        unit_of_code,
        (
            np.zeros(len(first[0]) - 1, dtype=np.int64),
            *[np.repeat(np.arange(len(f) - 1), np.diff(f)) for f in first[:-1]],
        ),
    )


def _tree(design: Design) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], tuple[NDArray[np.int64], ...]]:
    """Row order, first child of every group, and where each group code went."""
    codes = [t.factor.codes for t in design.terms]
    order = np.arange(len(codes[0]))
    key = codes[0].astype(np.int64)
    for below in codes[1:]:
        # Groups of the level below lie within those above, so one integer orders both.
        key = key * (int(below.max()) + 1) + below
        key = np.unique(key, return_inverse=True)[1] if key.max() > 2**40 else key
    if np.any(np.diff(key) < 0):
        order = np.argsort(key, kind="stable")
    starts = []
    for code in codes:
        sorted_code = code[order]
        starts.append(np.concatenate([[0], np.flatnonzero(np.diff(sorted_code)) + 1]))
    first = []
    unit_of_code = []
    n = len(order)
    for level, start in enumerate(starts):
        below = starts[level + 1] if level + 1 < len(starts) else None
        first.append(np.append(start, n) if below is None else np.searchsorted(below, np.append(start, n)))
        position = np.empty(design.terms[level].factor.n_levels, dtype=np.int64)
        position[codes[level][order[start]]] = np.arange(len(start))
        unit_of_code.append(position)
    return order, [f.astype(np.int64) for f in first], tuple(unit_of_code)


def _scaled_fixed(design: Design) -> tuple[FloatArray, FloatArray, FloatArray]:
    p = len(design.x_names)
    shift, scale = np.zeros(p), np.ones(p)
    total = design.weights.sum()
    has_constant = "Intercept" in design.x_names
    X = np.empty_like(design.X)
    for j, name in enumerate(design.x_names):
        column = design.X[:, j]
        if has_constant and name != "Intercept":
            shift[j] = design.weights @ column / total
        centred = column - shift[j]
        if name != "Intercept":
            scale[j] = np.sqrt(design.weights @ centred**2 / total) or 1.0
        X[:, j] = centred / scale[j]
    return X, shift, scale


def _scaled_random(terms: tuple[RandomTerm, ...], weights: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
    """Divide each column of Z by its root mean square; columns that share a variance share the divisor."""
    Z, scales = [], []
    for term in terms:
        rms = np.ones(len(term.names))
        for k, name in enumerate(term.names):
            if name != "Intercept":
                rms[k] = np.sqrt(weights @ term.Z[:, k] ** 2 / weights.sum()) or 1.0
        for block in term.blocks:
            if block.size > 1 and block.structure in ("identity", "exchangeable"):
                span = slice(block.start, block.start + block.size)
                rms[span] = np.sqrt(np.mean(rms[span] ** 2))
        Z.append(term.Z / rms)
        scales.append(rms)
    return Z, scales


def _columns(
    X: FloatArray, Z: list[FloatArray]
) -> tuple[FloatArray, list[FloatArray | None], list[int], list[list[int]]]:
    """The distinct columns of X and Z, and which of them each random effect multiplies."""
    Q = [X[:, j] for j in range(X.shape[1])]
    z_columns: list[FloatArray | None] = [None]
    z_in_Q = [-1]
    z_of_effect: list[list[int]] = []

    def place_in_Q(column: FloatArray) -> int:
        for k, known in enumerate(Q):
            if column[0] == known[0] and np.array_equal(column, known):
                return k
        Q.append(column)
        return len(Q) - 1

    for block in Z:
        positions = []
        for k in range(block.shape[1]):
            column = block[:, k]
            at = place_in_Q(column)
            if np.all(column == 1.0):
                z_in_Q[0] = at
                positions.append(0)
            elif at in z_in_Q:
                positions.append(z_in_Q.index(at))
            else:
                z_columns.append(column)
                z_in_Q.append(at)
                positions.append(len(z_in_Q) - 1)
        z_of_effect.append(positions)
    return np.ascontiguousarray(np.column_stack(Q)), z_columns, z_in_Q, z_of_effect


def _to_user(
    design: Design, covariance: CovarianceMap, shift: FloatArray, scale: FloatArray, z_scales: list[FloatArray]
) -> FloatArray:
    p = len(scale)
    out = np.zeros((p + covariance.m, p + covariance.m))
    out[np.arange(p), np.arange(p)] = 1.0 / scale
    if "Intercept" in design.x_names:
        constant = design.x_names.index("Intercept")
        out[constant, :p] -= shift / scale
    out[np.arange(p, len(out)), np.arange(p, len(out))] = row_scales(covariance, z_scales)
    return out
