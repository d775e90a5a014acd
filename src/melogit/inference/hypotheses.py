"""Hypotheses about the parameters, from text to matrices, and their tests."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from melogit.errors import FormulaError, ModelError
from melogit.inference.expressions import affine, evaluate, parse
from melogit.inference.wald import Wald
from melogit.report.rows import split_levels

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Linear:
    """Hypotheses ``R params = r``.

    Attributes
    ----------
    R : (k, n)
    r : (k,)
    labels : (k,) tuple of str
        Each restriction as written.
    """

    R: FloatArray
    r: FloatArray
    labels: tuple[str, ...]


def linear_combination(text: str, names: Sequence[str]) -> tuple[float, FloatArray]:
    """Read a linear expression: its constant and its coefficients (n,).

    Raises
    ------
    FormulaError
        If it cannot be read, or is not linear.
    """
    found = affine(parse(text, names), len(names))
    if found is None:
        raise FormulaError(f"'{text}' is not linear in the parameters. For functions of them use nlcom('{text}').")
    return found


def read_hypotheses(given: str | Sequence[str], names: Sequence[str], n_fixed: int) -> Linear:
    """Turn terms and restrictions into matrices.

    Parameters
    ----------
    given : str or sequence of str
        Each a term (``CancerStage``: all its coefficients are 0), a coefficient, an expression that is to be 0, or
        a restriction (``IL6 = CRP``, ``2*IL6 - CRP = 0``, ``a = b = c``). A comma outside brackets also separates.
    names : sequence of str, length n
        All parameters.
    n_fixed : int
        How many of them are fixed effects; terms are looked for among those.

    Examples
    --------
    >>> found = read_hypotheses("stage", ["Intercept", "stage[II]", "stage[III]"], 3)
    >>> found.R.tolist(), found.labels
    ([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], ('stage[II] = 0', 'stage[III] = 0'))
    """
    pieces = [piece for text in _as_list(given) for piece in _split(text, names)]
    rows, values, labels = [], [], []
    for piece in pieces:
        members = _members(piece, names[:n_fixed])
        if members:
            for index in members:
                rows.append(np.eye(len(names))[index])
                values.append(0.0)
                labels.append(f"{names[index]} = 0")
            continue
        sides = [side.strip() for side in _sides(piece, names)]
        if len(sides) == 1:
            _check_term(piece, names, n_fixed)
            sides.append("0")
        first, *others = [linear_combination(side, names) for side in sides]
        for side, other in zip(sides[1:], others, strict=True):
            rows.append(first[1] - other[1])
            values.append(other[0] - first[0])
            labels.append(f"{sides[0]} = {side}")
    return Linear(np.array(rows).reshape(-1, len(names)), np.array(values), tuple(labels))


def _as_list(given: str | Sequence[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else list(given)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise FormulaError(
            "Name what is to be tested: a term such as 'age', or a restriction such as 'age = 2*weight'."
        )
    return texts


def _split(text: str, names: Sequence[str]) -> list[str]:
    """Split at commas outside brackets."""
    if text.strip() in names:
        return [text.strip()]
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:])]


def _sides(piece: str, names: Sequence[str]) -> list[str]:
    """Split a restriction at ``=`` outside brackets (a name such as ``I(a == b)`` may hold one)."""
    parts, depth, start = [], 0, 0
    at = 0
    while at < len(piece):
        letter = piece[at]
        depth += (letter in "([") - (letter in ")]")
        if letter == "=" and depth == 0:
            parts.append(piece[start:at])
            at += piece.startswith("==", at)
            start = at + 1
        at += 1
    return [*parts, piece[start:]]


def _members(term: str, fixed: Sequence[str]) -> list[int]:
    """Positions of the coefficients of a term: itself, or all its levels."""
    if term in fixed:
        return [list(fixed).index(term)]
    return [index for index, name in enumerate(fixed) if split_levels(name)[0] == term and name != term]


def _check_term(piece: str, names: Sequence[str], n_fixed: int) -> None:
    """A lone name that is neither a coefficient nor a term gets the nearest of both."""
    if not piece.replace("_", "a").isidentifier() or piece in names:
        return
    known = list(dict.fromkeys([*(split_levels(name)[0] for name in names[:n_fixed]), *names]))
    close = difflib.get_close_matches(piece, known, n=1, cutoff=0.6)
    hint = f"Did you mean '{close[0]}'?" if close else f"The model has {', '.join(known)}."
    raise FormulaError(f"There is no term or parameter '{piece}' in this model. {hint}")


def check_usable(rows: FloatArray, params: FloatArray, cov: FloatArray, names: Sequence[str]) -> None:
    """Refuse parameters that are infinite or at a boundary: they have no covariance to work with."""
    for index in map(int, np.flatnonzero(np.any(rows != 0, axis=0))):
        if not np.isfinite(params[index]):
            raise ModelError(
                f"The coefficient of '{names[index]}' is infinite (separation), so it has no standard error and "
                "nothing can be computed from it. Leave it out of the expression."
            )
        if not np.isfinite(cov[index, index]):
            raise ModelError(
                f"'{names[index]}' has no standard error (a variance at 0, or a direction in which the likelihood is "
                "flat), so nothing can be tested with it. For variances compare models with me.lrtest(a, b)."
            )


def wald_test(hypotheses: Linear, params: FloatArray, cov: FloatArray, names: Sequence[str], n_fixed: int) -> Wald:
    """Joint Wald test of linear hypotheses; restrictions that repeat others lower the degrees of freedom.

    Raises
    ------
    ModelError
        If a restriction sets a variance to 0 (the boundary), contradicts the others, or says nothing.

    Examples
    --------
    >>> names = ["a", "b"]
    >>> test = wald_test(read_hypotheses("a = b", names, 2), np.array([1.0, 2.0]), np.eye(2), names, 2)
    >>> round(test.stat, 6), test.df
    (0.5, 1)
    """
    R, r = hypotheses.R, hypotheses.r
    for row, value, label in zip(R, r, hypotheses.labels, strict=True):
        used = np.flatnonzero(row)
        if len(used) == 0:
            raise ModelError(f"The restriction '{label}' has no parameter in it, or the parameters cancel.")
        if len(used) == 1 and used[0] >= n_fixed and value == 0 and ":var(" in names[used[0]]:
            raise ModelError(
                f"'{label}' puts a variance on the boundary of its range, where a Wald test does not hold. Fit the "
                "model without that random effect and compare the two with me.lrtest(smaller, larger)."
            )
    check_usable(R, params, cov, names)
    used = np.flatnonzero(np.any(R != 0, axis=0))
    scale = np.sqrt(np.diag(cov))[used]
    scale = np.where(scale > 0, scale, 1.0)  # a coefficient that stands for 0 in sums of infinite ones
    A = R[:, used] * scale  # restrictions on z-values: no predictor's unit matters
    length = np.linalg.norm(A, axis=1)
    A, gap = A / length[:, None], (R[:, used] @ params[used] - r) / length
    correlation = cov[np.ix_(used, used)] / np.outer(scale, scale)
    left, sizes, _ = np.linalg.svd(A, full_matrices=False)
    rank = int(np.sum(sizes > 1e-10 * sizes[0]))
    if rank < len(A) and np.linalg.norm(gap - left[:, :rank] @ (left[:, :rank].T @ gap)) > 1e-8 * (
        1 + np.linalg.norm(gap)
    ):
        raise ModelError(f"The restrictions contradict each other: {'; '.join(hypotheses.labels)}.")
    basis = left[:, :rank].T
    middle = basis @ A @ correlation @ A.T @ basis.T
    distance = basis @ gap
    stat = float(distance @ np.linalg.solve(middle, distance))
    return Wald(stat, rank, float(chdtrc(rank, stat)))


def delta_method(
    texts: Sequence[str], params: FloatArray, cov: FloatArray, names: Sequence[str], *, linear: bool
) -> tuple[FloatArray, FloatArray]:
    """Values of expressions (k,) and their covariance matrix (k, k).

    Raises
    ------
    FormulaError, ModelError
        Where an expression cannot be read, is not linear though it must be, or has no finite value or slope.
    """
    values, gradients = np.empty(len(texts)), np.empty((len(texts), len(params)))
    for k, text in enumerate(texts):
        if linear:
            constant, gradients[k] = linear_combination(text, names)
            check_usable(gradients[[k]], params, cov, names)
            used = gradients[k] != 0
            values[k] = constant + gradients[k, used] @ params[used]
            continue
        node = parse(text, names)
        values[k], gradients[k] = evaluate(node, params)
        check_usable(_occurring(node, len(params)), params, cov, names)
        if not np.isfinite(values[k]) or not np.all(np.isfinite(gradients[k])):
            raise ModelError(
                f"'{text}' is {values[k]:g} at the estimates, or its slope is not finite there: it has no standard "
                "error. Check for a logarithm or root of a negative number, and for division by 0."
            )
    used = np.any(gradients != 0, axis=0)
    part = gradients[:, used]
    return values, part @ cov[np.ix_(used, used)] @ part.T


def _occurring(node, n: int) -> FloatArray:
    """Mark (1, n) the parameters that occur in an expression."""
    marks = np.zeros((1, n))
    stack = [node]
    while stack:
        here = stack.pop()
        if here.kind == "parameter":
            marks[0, here.index] = 1.0
        stack += here.parts
    return marks
