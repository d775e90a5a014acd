"""Whether predictors repeat each other, which of them, and what to do.

Variance inflation is read off the covariance matrix of the mixed model's own fixed effects (as car::vif does), so it
is inflation in this model; condition indices and variance proportions are those of the predictors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics.context import Context, NotChecked, Term
from melogit.diagnostics.remedies import instead_of
from melogit.fit.types import Status
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import cell

FloatArray = NDArray[np.float64]

VIF_LOOK, VIF_PROBLEM = 5.0, 10.0
INDEX_LOOK = 30.0  # Belsley, Kuh & Welsch's limit for a strong dependency
SHARE = 0.5  # of a coefficient's variance in one dependency: it takes part in it
HIGH = 0.7  # a correlation to be named
MOST_COLUMNS = 25  # in the correlation table and its picture
REFERENCES = (
    "Fox, J. and Monette, G. (1992). Generalized collinearity diagnostics. J. Amer. Statist. Assoc. 87, 178-183.",
    "Belsley, D. A., Kuh, E. and Welsch, R. E. (1980). Regression Diagnostics, chapter 3. Wiley.",
    "Fox, J. and Weisberg, S. (2019). An R Companion to Applied Regression, 3rd ed., section 8.8.1. Sage.",
)


@dataclass(frozen=True, slots=True)
class Inflation:
    """Generalised variance inflation of one term.

    Attributes
    ----------
    term : Term
    gvif : float
        Factor by which the squared volume of its joint confidence region grows; the VIF where it has one column.
    """

    term: Term
    gvif: float

    @property
    def df(self) -> int:
        """Number of columns."""
        return len(self.term.columns)

    @property
    def comparable(self) -> float:
        """GVIF^(1/df), on the scale of a VIF whatever the number of columns."""
        return self.gvif ** (1 / self.df)


def inflations(cov: FloatArray, terms: Sequence[Term]) -> list[Inflation]:
    """Generalised VIF of every term from the covariance of the fixed effects, the constant left out.

    Parameters
    ----------
    cov : (p, p)
    terms : sequence of Term
        Their columns are places in ``cov``.

    References
    ----------
    Fox & Monette (1992), equation 10: det(R11) det(R22) / det(R).
    """
    at = [j for term in terms for j in term.columns]
    size = np.sqrt(np.diag(cov)[at])
    R = cov[np.ix_(at, at)] / np.outer(size, size)
    place = {j: k for k, j in enumerate(at)}
    whole = np.linalg.slogdet(R)[1]
    out = []
    for term in terms:
        mine = [place[j] for j in term.columns]
        rest = [k for k in range(len(at)) if k not in mine]
        parts = np.linalg.slogdet(R[np.ix_(mine, mine)])[1] + np.linalg.slogdet(R[np.ix_(rest, rest)])[1]
        out.append(Inflation(term, float(np.exp(parts - whole))))
    return out


def condition_indices(X: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Condition indices of the columns at unit length, and the shares of each coefficient's variance.

    Parameters
    ----------
    X : (n, p)
    weights : (n,)

    Returns
    -------
    indices : (p,)
        From the smallest, 1, to the largest.
    shares : (p, p)
        Row k: the share of each coefficient's variance that belongs to index k; columns add to 1.

    References
    ----------
    Belsley, Kuh & Welsch (1980), sections 3.1 and 3.2.
    """
    scaled = X * np.sqrt(weights)[:, None]
    scaled = scaled / np.linalg.norm(scaled, axis=0)
    singular, V = np.linalg.svd(scaled, full_matrices=False)[1:]
    parts = (V / np.maximum(singular, 1e-300)[:, None]) ** 2
    return singular[0] / np.maximum(singular, 1e-300), parts / parts.sum(axis=0)


def check(context: Context) -> Check:
    """Look for predictors that repeat each other."""
    terms = _usable(context)
    if "Intercept" not in context.design.x_names:
        raise NotChecked("The model has no constant, so inflation has no yardstick: check the same model with one.")
    if len(terms) < 2:
        whose = " with finite coefficients" if context.fit.status is Status.SEPARATED else ""
        raise NotChecked(f"The model has fewer than two predictors{whose}, so none can repeat another.")
    found = inflations(context.fit.cov[: len(context.beta), : len(context.beta)], terms)
    at = [j for term in terms for j in term.columns]
    X, names = context.design.X, context.design.x_names
    indices, shares = condition_indices(X, context.weight)
    inner = [j for j in range(len(names)) if names[j] != "Intercept"]
    centred = X[:, inner] - np.average(X[:, inner], axis=0, weights=context.weight)
    involved, strongest = _involved(*condition_indices(centred, context.weight), [names[j] for j in inner])
    high = sorted((f for f in found if f.comparable > VIF_LOOK), key=lambda f: -f.comparable)
    structural = [f for f in high if _only_by_construction(context, f.term, terms)]
    real = [f for f in high if f not in structural]
    r = _correlations(X[:, at], context.weight)
    worst = max(found, key=lambda f: f.comparable)
    grave = any(f.comparable > VIF_PROBLEM for f in real)
    some = high or len(involved) > 1
    advice, code = _advice(context, real, structural)
    pictures = [_bars(found)] + ([_heatmap(r, [names[j] for j in at])] if 2 < len(at) <= MOST_COLUMNS else [])
    return Check(
        key="collinearity",
        title="Collinearity",
        verdict=Verdict.PROBLEM if grave else Verdict.LOOK if some else Verdict.FINE,
        tested="How much larger the variance of each coefficient is than if its predictor were unrelated to the others "
        "(VIF; generalised VIF for factors, shown per column), and which predictors are nearly combinations of others "
        "(condition indices).",
        measures=(
            Measure(f"largest VIF ({worst.term.name})", worst.comparable),
            Measure("largest condition index, columns centred", strongest, note="above 30: a near dependency"),
            Measure(
                "largest condition index with the constant", float(indices[-1]), note="large where origins are far"
            ),
        ),
        tables=(
            _vif_table(found),
            _belsley_table(indices, shares, names),
            *_drop_table(context, real, terms),
            *_correlation_tables(r, [names[j] for j in at]),
        ),
        meaning=_meaning(worst, real, structural, involved),
        advice=advice,
        code=code,
        pictures=tuple(pictures),
        references=REFERENCES,
    )


def _usable(context: Context) -> list[Term]:
    """The terms of the fixed part but for the constant and for infinite coefficients."""
    names, variance = context.design.x_names, np.diag(context.fit.cov)
    out = []
    for term in context.terms:
        columns = tuple(j for j in term.columns if np.isfinite(variance[j]) and names[j] != "Intercept")
        if columns:
            out.append(Term(term.name, columns, term.variables))
    return out


def _only_by_construction(context: Context, term: Term, terms: Sequence[Term]) -> bool:
    """Whether a term is inflated by terms made of the same variable (x beside x:z or x^2), and not without them."""
    related = [t for t in terms if t.name != term.name and t.variables & term.variables]
    if not related:
        return False
    rest = [t for t in terms if t not in related]
    if len(rest) < 2:
        return True
    cov = without(context.fit.cov[: len(context.beta), : len(context.beta)], [j for t in related for j in t.columns])
    return next(f for f in inflations(cov, rest) if f.term == term).comparable <= VIF_LOOK


def without(cov: FloatArray, columns: Sequence[int]) -> FloatArray:
    """Covariance of the coefficients (p, p) if some were left out of the model; theirs is NaN.

    In the information matrix, leaving a predictor out is leaving out its row and column.
    """
    free = np.flatnonzero(np.isfinite(np.diag(cov)))
    kept = np.isin(free, columns, invert=True)
    information = np.linalg.inv(cov[np.ix_(free, free)])
    out = np.full(cov.shape, np.nan)
    out[np.ix_(free[kept], free[kept])] = np.linalg.inv(information[np.ix_(kept, kept)])
    return out


def _involved(indices: FloatArray, shares: FloatArray, names: Sequence[str]) -> tuple[list[str], float]:
    """The predictors that take part in the strongest dependency, where it is beyond the limit; its index."""
    strongest = float(indices[-1])
    if strongest <= INDEX_LOOK:
        return [], strongest
    return [n for n, s in zip(names, shares[-1], strict=True) if s > SHARE], strongest


def _correlations(X: FloatArray, weights: FloatArray) -> FloatArray:
    centred = X - np.average(X, axis=0, weights=weights)
    cov = (centred * weights[:, None]).T @ centred
    size = np.sqrt(np.diag(cov))
    return np.clip(cov / np.outer(size, size), -1.0, 1.0)


# ------------------------------------------------------------------------------------------------------- words


def _meaning(
    worst: Inflation, real: Sequence[Inflation], structural: Sequence[Inflation], involved: Sequence[str]
) -> str:
    if real:
        listed = ", ".join(f"{f.term.name} (VIF {cell(f.comparable)})" for f in real)
        growth = cell(float(np.sqrt(real[0].comparable)))
        return (
            f"{listed} largely repeat what other predictors say. The standard error of {real[0].term.name} is {growth} "
            "times what it would be otherwise; such coefficients are uncertain one by one, though their joint effect "
            "and the predictions are not."
        )
    if structural:
        listed = ", ".join(f"{f.term.name} (VIF {cell(f.comparable)})" for f in structural)
        return (
            f"{listed} are correlated because they are made of the same variable (a product or a power). That is no "
            "fault of the model: predictions and the test of the highest term do not change with the origin, but the "
            "coefficient of the variable itself is its effect where the others are 0."
        )
    if len(involved) > 1:
        return (
            f"{' and '.join(involved)} are nearly combinations of each other, although each VIF is small (the largest "
            f"is {cell(worst.comparable)}, {worst.term.name})."
        )
    return f"No predictor repeats the others: the largest VIF is {cell(worst.comparable)} ({worst.term.name})."


def _advice(
    context: Context, real: Sequence[Inflation], structural: Sequence[Inflation]
) -> tuple[tuple[str, ...], str]:
    lines, code = [], []
    numeric = [f.term.name for f in real if f.df == 1 and f.term.name in {p.name for p in context.predictors}]
    if real:
        names = ", ".join(f.term.name for f in real)
        lines.append(
            f"If {names} measure the same thing, keep the one that matters or was measured best, or combine them into "
            "one score; judge them together, not one by one."
        )
        tested = ", ".join(repr(f.term.name) for f in real)
        code.append(f"fit.test({tested})  # all of them together")
    if len(numeric) > 1:
        lines.append(
            f"Or turn {', '.join(numeric)} into principal components, which are uncorrelated; their loadings say what "
            "each stands for, and coefficients() takes the result back to the columns."
        )
        code += [f"pc = me.principal_components(data, {numeric!r})", "print(pc.loadings, pc.explained)"]
        formula = instead_of(context.fit.wording.formula, numeric, "{pc.formula}")
        if formula:
            code += [f"better = me.melogit(f{formula!r}, pc.data)", "print(pc.coefficients(better))"]
    if structural and not real:
        lines.append("To make the single coefficients readable, centre the variables before they are multiplied.")
    return tuple(lines), "\n".join(code)


# ------------------------------------------------------------------------------------------ tables and pictures


def _vif_table(found: Sequence[Inflation]) -> CheckTable:
    rows = tuple((f.term.name, f.gvif, f.df, f.comparable, 1 / f.comparable) for f in found)
    columns = ("term", "VIF or GVIF", "df", "per column: GVIF^(1/df)", "tolerance")
    return CheckTable("Variance inflation", columns, rows)


def _belsley_table(indices: FloatArray, shares: FloatArray, names: Sequence[str]) -> CheckTable:
    keep = slice(max(0, len(indices) - 8), None)
    rows = tuple((float(i), *map(float, s)) for i, s in zip(indices[keep], shares[keep], strict=True))
    return CheckTable("Condition indices and variance proportions", ("index", *names), rows)


def _drop_table(context: Context, real: Sequence[Inflation], terms: Sequence[Term]) -> list[CheckTable]:
    """What the VIFs of the rest would be without each of the terms in question."""
    if len(terms) < 3 or not real:
        return []
    rows = []
    for f in real:
        cov = without(context.fit.cov[: len(context.beta), : len(context.beta)], f.term.columns)
        others = [t for t in terms if t.name != f.term.name]
        worst = max(inflations(cov, others), key=lambda i: i.comparable)
        b = context.beta[list(f.term.columns)]
        V = context.fit.cov[np.ix_(f.term.columns, f.term.columns)]
        rows.append((f.term.name, worst.comparable, worst.term.name, float(b @ np.linalg.solve(V, b)), len(b)))
    columns = ("left out", "largest VIF of the rest", "of", "its Wald chi2", "df")
    return [CheckTable("What leaving out one of them would do", columns, tuple(rows))]


def _correlation_tables(r: FloatArray, names: Sequence[str]) -> list[CheckTable]:
    k = len(names)
    pairs = sorted(((abs(r[i, j]), i, j) for i in range(k) for j in range(i)), reverse=True)
    if k <= MOST_COLUMNS:
        rows = tuple((names[i], *(float(v) for v in r[i, : i + 1]), *[""] * (k - i - 1)) for i in range(k))
        return [CheckTable("Correlations of the predictors", ("", *names), rows)]
    rows = tuple((names[j], names[i], float(r[i, j])) for _, i, j in pairs[:30])
    return [CheckTable("The strongest correlations", ("predictor", "and", "correlation"), rows)]


def _bars(found: Sequence[Inflation]) -> Picture:
    top = sorted(found, key=lambda f: -f.comparable)[:MOST_COLUMNS]
    data = {
        "names": [f.term.name for f in top],
        "value": np.array([f.comparable for f in top]),
        "limit": VIF_LOOK,
        "xlabel": "Variance inflation (GVIF^(1/df))",
    }
    listed = ", ".join(f"{f.term.name} {cell(f.comparable)}" for f in top[:6])
    return Picture(
        "bars", "Variance inflation", f"Bars of the variance inflation of each term: {listed}; limit 5.", data
    )


def _heatmap(r: FloatArray, names: Sequence[str]) -> Picture:
    k = len(names)
    i, j = max(((i, j) for i in range(k) for j in range(i)), key=lambda at: abs(r[at]))
    alt = f"Correlations of {k} columns; the strongest is {cell(float(r[i, j]))}, of {names[j]} and {names[i]}."
    return Picture("heatmap", "Correlations of the predictors", alt, {"names": list(names), "value": r})
