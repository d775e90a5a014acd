"""Sort a nested design by group, scale its columns and hand it to the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from melogit import kernel
from melogit.design import Design
from melogit.errors import ModelError
from melogit.likelihood.covariance import CovarianceMap, covariance_map
from melogit.likelihood.scaling import (
    binomial_constant,
    fixed_scales,
    is_binary,
    pieces,
    random_scales,
    to_user,
    with_slack,
)

FloatArray = NDArray[np.float64]
MAX_LEVELS = 8


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
    offset : (n + 8,)
    constant : float
        Sum of the logs of the binomial coefficients.
    has_offset : bool
    covariance : CovarianceMap
    entries_by_parameter : (P, p + m), optional
        Derivative of the kernel's parameters in ours; None where they are the same.
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
    constant: float
    has_offset: bool
    covariance: CovarianceMap
    entries_by_parameter: FloatArray | None
    to_user: FloatArray
    order: NDArray[np.int64]
    unit_of_code: tuple[NDArray[np.int64], ...]
    parents: tuple[NDArray[np.int64], ...]
    last_predictor: dict[bytes, FloatArray] = field(default_factory=dict)  # beta -> linear predictor, the last one only

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
        Factors that cross; more levels or effects than the kernel takes.
    """
    if not design.nested:
        names = " and ".join(f"'{term.factor.name}'" for term in design.terms)
        raise ModelError(
            f"This takes the integral over each top-level group by itself, and {names} cross each other, so that there "
            "are no such integrals. It is available for nested groups only."
        )
    effects = sum(len(t.names) for t in design.terms)
    if len(design.terms) > MAX_LEVELS or effects > kernel.MAX_EFFECTS:
        raise ModelError(
            f"The model has {len(design.terms)} levels with {effects} random effects on each observation; the limit is "
            f"{MAX_LEVELS} levels and {kernel.MAX_EFFECTS} effects. Leave out some random slopes."
        )
    order, first, unit_of_code = _tree(design)
    n = design.n_rows
    shift, scale = fixed_scales(design)
    z_scales = random_scales(design)
    z_columns, z_in_Q, z_of_effect = _random_columns(design, z_scales, order)
    Q = _rows(design, shift, scale, z_columns, z_in_Q, order)
    covariance = covariance_map(design.terms)
    y, trials, weights = design.y, design.trials, design.weights
    binary = is_binary(design)
    constant = 0.0 if binary else binomial_constant(design)
    p = len(design.x_names)
    problem = kernel.problem(
        Q=Q,
        n=n,
        wy=with_slack(weights * y, order),
        wt=with_slack(weights * trials, order),
        binary=binary,
        z_columns=z_columns,
        z_in_Q=z_in_Q,
        first=first,
        z_of_effect=z_of_effect,
        entries=covariance.entries,
        p=p,
        threads=threads,
        isa=isa,
    )
    above = [np.repeat(np.arange(len(f) - 1), np.diff(f)) for f in first[:-1]]
    return Nested(
        problem,
        Q[: -kernel.SLACK].reshape(n, -1)[:, :p],
        with_slack(design.offset, order),
        constant,
        bool(np.any(design.offset)),
        covariance,
        _entries_by_parameter(covariance, p),
        to_user(design, covariance, shift, scale, z_scales),
        order,
        unit_of_code,
        (np.zeros(len(first[0]) - 1, dtype=np.int64), *above),
    )


def _entries_by_parameter(covariance: CovarianceMap, p: int) -> FloatArray | None:
    basis = covariance.basis
    if np.array_equal(basis, np.eye(covariance.m)):
        return None
    out = np.zeros((p + len(basis), p + covariance.m))
    out[:p, :p] = np.eye(p)
    out[p:, p:] = basis
    return out


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
        order = _stable_order(key)
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


def _stable_order(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort by counting: building a sparse matrix row by row takes time proportional to the number of rows."""
    if key.max() > 4 * len(key):
        return np.argsort(key, kind="stable")
    n = len(key)
    by_key = csr_array((np.ones(n, dtype=np.int8), (key, np.arange(n))), shape=(int(key.max()) + 1, n))
    return by_key.indices.astype(np.int64)


def _random_columns(
    design: Design, z_scales: list[FloatArray], order: NDArray[np.int64]
) -> tuple[list[FloatArray | None], list[int], list[list[int]]]:
    """The distinct scaled columns of Z (entry 0: the constant), their places in Q, and each effect's column."""
    p = len(design.x_names)
    columns: list[FloatArray | None] = [None]
    places = [-1]
    of_effect: list[list[int]] = []
    extra = 0
    for term, rms in zip(design.terms, z_scales, strict=True):
        mine = []
        for k in range(len(term.names)):
            if np.all(term.Z[:, k] == rms[k]):
                if places[0] < 0:
                    places[0] = design.x_names.index("Intercept") if "Intercept" in design.x_names else p + extra
                    extra += places[0] >= p
                mine.append(0)
                continue
            column = with_slack(term.Z[:, k] / rms[k], order)
            known = [j for j, c in enumerate(columns) if c is not None and np.array_equal(c, column)]
            if known:
                mine.append(known[0])
            else:
                columns.append(column)
                places.append(p + extra)
                extra += 1
                mine.append(len(columns) - 1)
        of_effect.append(mine)
    return columns, places, of_effect


def _rows(
    design: Design,
    shift: FloatArray,
    scale: FloatArray,
    z_columns: list[FloatArray | None],
    z_in_Q: list[int],
    order: NDArray[np.int64],
) -> FloatArray:
    """Q, row by row with slack at the end: scaled X, then the columns of Z that X does not have."""
    n, p = design.X.shape
    c = max([p, *[place + 1 for place in z_in_Q]])
    flat = np.zeros(n * c + kernel.SLACK)
    Q = flat[: -kernel.SLACK].reshape(n, c)
    sorted_already = order[0] == 0 and bool(np.all(order[1:] > order[:-1]))
    factor = 1.0 / scale
    for part in pieces(n):
        block = Q[part, :p]
        np.subtract(design.X[part] if sorted_already else design.X[order[part]], shift, out=block)
        block *= factor
    for column, place in zip(z_columns, z_in_Q, strict=True):
        if place >= p:
            Q[:, place] = 1.0 if column is None else column[: -kernel.SLACK]
    return flat
