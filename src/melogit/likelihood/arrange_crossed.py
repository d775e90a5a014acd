"""Sort a crossed design by its largest factor, scale its columns and hand it to the kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit import kernel
from melogit.design import Design
from melogit.errors import ModelError
from melogit.likelihood.covariance import CovarianceMap, covariance_map, lambdas
from melogit.likelihood.scaling import binomial_constant, fixed_scales, is_binary, random_scales, to_user, with_slack
from melogit.machine import memory

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crossed:
    """A crossed model in the scale in which it is fitted (see ``scaling``).

    A row's effects are numbered as its loadings are: the ``q`` of the eliminated factor, then those of the other
    factors in the order of the design.

    Attributes
    ----------
    problem : kernel.CrossedProblem
    X : (n, p)
        Scaled, rows sorted by group of the eliminated factor.
    offset : (n,)
    wy, wt : (n + 8,)
        Weight times successes, weight times trials.
    constant : float
        Sum of the logs of the binomial coefficients.
    covariance : CovarianceMap
    to_user : (p + m, p + m)
        Parameters in the user's units = to_user @ parameters here.
    order : (n,) int
        Row of the design that each sorted row is.
    eliminated : int
        Which of the design's terms is eliminated.
    first : (G + 1,)
        First row of each of its groups, which keep the order of the design.
    column : (n, r)
        Which effects of the rest each row loads on.
    starts : per term of the design
        First effect of each term of the rest; 0 for the eliminated one.
    Z : per term, (n, q_l)
        Scaled, sorted covariates of the effects.
    levels : per term
        Groups.
    at : per term
        First of its loadings.
    entry_columns : per entry of all Lambda, (covariate or None for the constant, loading)
    """

    problem: kernel.CrossedProblem
    X: FloatArray
    offset: FloatArray
    wy: FloatArray
    wt: FloatArray
    constant: float
    covariance: CovarianceMap
    to_user: FloatArray
    order: NDArray[np.int64]
    eliminated: int
    first: NDArray[np.int64]
    column: NDArray[np.int32]
    starts: tuple[int, ...]
    Z: tuple[FloatArray, ...]
    levels: tuple[int, ...]
    at: tuple[int, ...]
    entry_columns: tuple[tuple[FloatArray | None, int], ...]

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return self.X.shape[1]

    @property
    def m(self) -> int:
        """Number of covariance parameters."""
        return self.covariance.m

    def gathered(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sums over rows, by effect, of numbers (n, q + r) that belong to the rows' loadings."""
        q = self.problem.q
        zero = np.add.reduceat(rows[:, :q], self.first[:-1], axis=0)
        one = np.zeros(self.problem.rest)
        for k in range(self.problem.r):
            one += np.bincount(self.column[:, k], weights=rows[:, q + k], minlength=self.problem.rest)
        return zero, one

    def spread(self, u0: FloatArray, u1: FloatArray) -> FloatArray:
        """Every row's own effects (n, q + r)."""
        q = self.problem.q
        out = np.empty((self.problem.n_rows, q + self.problem.r))
        out[:, :q] = np.repeat(u0, np.diff(self.first), axis=0)
        out[:, q:] = u1[self.column]
        return out


def arrange_crossed(design: Design, *, threads: int | None = None, isa: str = "") -> Crossed:
    """Prepare a design whose factors need not be nested.

    Raises
    ------
    ModelError
        Too many effects, or more memory needed than the machine has.
    """
    effects = sum(len(t.names) for t in design.terms)
    if effects > kernel.MAX_EFFECTS:
        raise ModelError(
            f"The model has {effects} random effects on each observation; the limit is {kernel.MAX_EFFECTS}. "
            "Leave out some random slopes."
        )
    sizes = [t.factor.n_levels * len(t.names) for t in design.terms]
    big = int(np.argmax(sizes))
    rest = sum(sizes) - sizes[big]
    _check_memory(design, big, rest, effects)
    factor, q = design.terms[big].factor, len(design.terms[big].names)
    order = np.argsort(factor.codes, kind="stable")
    codes = factor.codes[order]
    first = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=factor.n_levels))]).astype(np.int64)
    starts, at, column = _rest(design, big, order)
    start, cols, local = _ties(codes, column, factor.n_levels, rest)
    wy, wt = with_slack(design.weights * design.y, order), with_slack(design.weights * design.trials, order)
    binary = is_binary(design)
    problem = kernel.crossed_problem(
        wy=wy,
        wt=wt,
        binary=binary,
        first=first,
        q=q,
        rest=rest,
        column=column,
        start=start,
        cols=cols,
        local=local,
        threads=threads,
        isa=isa,
    )
    shift, scale = fixed_scales(design)
    z_scales = random_scales(design)
    covariance = covariance_map(design.terms)
    Z = tuple(np.ascontiguousarray(t.Z[order] / s) for t, s in zip(design.terms, z_scales, strict=True))
    X = design.X[order]
    X -= shift
    X /= scale
    return Crossed(
        problem,
        X,
        design.offset[order],
        wy,
        wt,
        0.0 if binary else binomial_constant(design),
        covariance,
        to_user(design, covariance, shift, scale, z_scales),
        order,
        big,
        first,
        column,
        starts,
        Z,
        tuple(t.factor.n_levels for t in design.terms),
        at,
        _entry_columns(covariance, Z, at),
    )


def _rest(
    design: Design, big: int, order: NDArray[np.int64]
) -> tuple[tuple[int, ...], tuple[int, ...], NDArray[np.int32]]:
    """First effect and first loading of every term, and which effects of the rest each row loads on."""
    starts, at = [0] * len(design.terms), [0] * len(design.terms)
    begin, loading, columns = 0, len(design.terms[big].names), []
    for k, term in enumerate(design.terms):
        if k == big:
            continue
        q = len(term.names)
        starts[k], at[k] = begin, loading
        columns += [begin + term.factor.codes[order] * q + j for j in range(q)]
        begin, loading = begin + term.factor.n_levels * q, loading + q
    return tuple(starts), tuple(at), np.ascontiguousarray(np.column_stack(columns), dtype=np.int32)


def _entry_columns(
    covariance: CovarianceMap, Z: tuple[FloatArray, ...], at: tuple[int, ...]
) -> tuple[tuple[FloatArray | None, int], ...]:
    out = []
    for level, i, j in covariance.entries:
        z = np.ascontiguousarray(Z[level][:, i])
        out.append((None if np.all(z == 1.0) else z, at[level] + int(j)))
    return tuple(out)


def loadings(crossed: Crossed, theta: FloatArray) -> FloatArray:
    """Z Lambda of every row and all its effects, (n, q + r)."""
    out = np.empty((crossed.problem.n_rows, crossed.problem.q + crossed.problem.r))
    for Z, L, begin in zip(crossed.Z, lambdas(crossed.covariance, theta), crossed.at, strict=True):
        if Z.shape[1] == 1:
            np.multiply(Z[:, 0], L[0, 0], out=out[:, begin])
        else:
            out[:, begin : begin + Z.shape[1]] = Z @ L
    return out


def _ties(
    codes: NDArray[np.int32], column: NDArray[np.int32], groups: int, rest: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Which effects of the rest each group meets, and where each row's are in that list."""
    key = codes[:, None].astype(np.int64) * rest + column
    met, position = np.unique(key, return_inverse=True)
    group = met // rest
    start = np.searchsorted(group, np.arange(groups + 1)).astype(np.int64)
    local = position.reshape(column.shape) - start[codes][:, None]
    return start, (met % rest).astype(np.int32), np.ascontiguousarray(local, dtype=np.int32)


def _check_memory(design: Design, big: int, rest: int, effects: int) -> None:
    """Two dense matrices of the rest, and some thirty numbers per row and effect."""
    needed = 8 * (2.0 * rest**2 + 30.0 * design.n_rows * effects)
    available = memory()
    if needed <= available:
        return
    small = [t.factor.name for k, t in enumerate(design.terms) if k != big]
    raise ModelError(
        f"All grouping factors but the largest ('{design.terms[big].factor.name}') have {rest:,} random effects "
        f"together ({', '.join(small)}), and crossed factors need a dense matrix of that size, twice: about "
        f"{needed / 2**30:,.1f} GiB, of which this machine has {available / 2**30:,.1f}. Fit a part of the data, leave "
        "out one of these factors, or use a machine with more memory."
    )
