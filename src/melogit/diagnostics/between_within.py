"""Whether the random effects are independent of the predictors: effects between groups against effects within them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from melogit.design import Design
from melogit.diagnostics.context import Context, NotChecked, needs_maximum, reason, refit, with_columns
from melogit.diagnostics.wording import data_column, listed
from melogit.errors import MelogitError
from melogit.fit.types import Fit
from melogit.inference.wald import z_and_p
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import p_text

FloatArray = NDArray[np.float64]
KEY, TITLE = "between_within", "Independence of random effects and predictors"
# A predictor of whose variance less than this lies within groups (or between them) has no two effects to compare.
LEAST_SHARE = 0.01
SPARE_GROUPS = 5  # groups that must be left over when the means are taken in
REFERENCES = (
    "Mundlak, Y. (1978). On the pooling of time series and cross section data. Econometrica 46, 69-85.",
    "Neuhaus, J. M. and Kalbfleisch, J. D. (1998). Between- and within-cluster covariate effects in the analysis of "
    "clustered data. Biometrics 54, 638-645.",
    "Bell, A., Fairbrother, M. and Jones, K. (2019). Fixed and random effects models: making an informed choice. Qual. "
    "Quant. 53, 1051-1074.",
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Effects of the predictors within and between the groups of one level.

    Attributes
    ----------
    level : int
    columns : tuple of int
        Columns of X whose group means were added.
    fit : Fit
        With the means, in the order of ``columns``, after the predictors.
    stat, df, p : float
        Likelihood-ratio test of all means at once; ``p`` from F with the groups left over as denominator.
    """

    level: int
    columns: tuple[int, ...]
    fit: Fit
    stat: float
    df: int
    p: float


def group_means(design: Design, level: int, values: FloatArray) -> FloatArray:
    """The mean of a column over the rows of each row's group, (n,)."""
    codes = design.terms[level].factor.codes
    G = design.terms[level].factor.n_levels
    weights = design.weights * design.trials
    total = np.bincount(codes, weights=weights, minlength=G)
    mean = np.bincount(codes, weights=weights * values, minlength=G) / np.where(total > 0, total, 1.0)
    return mean[codes]


def comparable_columns(design: Design, level: int) -> list[int]:
    """Columns of X that vary both within and between the groups of a level, and whose means tell apart."""
    kept: list[int] = []
    basis = design.X
    for j, name in enumerate(design.x_names):
        if name == "Intercept":
            continue
        x = design.X[:, j]
        mean = group_means(design, level, x)
        within, total = float(np.var(x - mean)), float(np.var(x))
        if total <= 0 or within < LEAST_SHARE * total or float(np.var(mean)) < 1e-3 * LEAST_SHARE * total:
            continue
        trial = np.column_stack([basis, mean])
        size = np.sqrt(np.mean(trial**2, axis=0))
        if np.linalg.matrix_rank(trial / size, tol=1e-7 * np.sqrt(len(trial))) == trial.shape[1]:
            kept.append(j)
            basis = trial
    return kept


def compare_level(context: Context, level: int) -> Compared:
    """Add the group means of all predictors that vary within the groups of a level, and test them together.

    Raises
    ------
    NotChecked
        No predictor varies within groups; too few groups for their means.
    ModelError
        The model with means could not be fitted.
    """
    design, fit = context.design, context.fit
    name = design.terms[level].factor.name
    columns = comparable_columns(design, level)
    if not columns:
        raise NotChecked(f"No predictor varies both within and between the groups of '{name}'.")
    constant = _between_columns(design, level)
    spare = design.terms[level].factor.n_levels - len(columns) - constant
    if spare < SPARE_GROUPS:
        raise NotChecked(
            f"'{name}' has {design.terms[level].factor.n_levels} groups, too few to add the means of "
            f"{len(columns)} predictor{'s' if len(columns) > 1 else ''} (at least {SPARE_GROUPS} groups must "
            "be left over)."
        )
    means = {f"mean of {design.x_names[j]} by {name}": group_means(design, level, design.X[:, j]) for j in columns}
    found = refit(context, with_columns(design, means))
    stat, df = max(0.0, 2 * (found.loglik - fit.loglik)), len(columns)
    # Group means live on the number of groups, not of rows: the F distribution allows for few of them.
    p = float(fdtrc(df, spare, stat / df)) if spare < 200 else float(chdtrc(df, stat))
    return Compared(level, tuple(columns), found, stat, df, p)


def _between_columns(design: Design, level: int) -> int:
    """Columns of X that are constant within the groups of a level: they use up groups too."""
    count = 0
    for j in range(design.X.shape[1]):
        x = design.X[:, j]
        within = float(np.var(x - group_means(design, level, x)))
        count += within < LEAST_SHARE * max(float(np.var(x)), 1e-300) or design.x_names[j] == "Intercept"
    return count


def check(context: Context) -> Check:
    """Compare the effects of predictors within and between groups, at every level."""
    needs_maximum(context.fit)
    found: list[Compared] = []
    why: list[str] = []
    for level in range(len(context.design.terms)):
        try:
            found.append(compare_level(context, level))
        except NotChecked as reason_:
            why.append(str(reason_))
        except MelogitError as error:
            why.append(f"At the level of '{context.design.terms[level].factor.name}': {reason(error)}")
    if not found:
        raise NotChecked(" ".join(why))
    corrected = [min(1.0, f.p * len(found)) for f in found]
    worst = int(np.argmin(corrected))
    verdict = Verdict.LOOK if corrected[worst] < context.alpha else Verdict.FINE
    names = [context.design.terms[f.level].factor.name for f in found]
    rows = [_rows(context, f) for f in found]
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested="The mean of every predictor over each group was added to the model: if the groups' effects are "
        "unrelated "
        "to the predictors, a predictor has the same effect between groups as within them, and its mean adds nothing "
        "(Mundlak's test, by likelihood ratio; F with the groups left over, so that few groups do not raise false "
        "alarms).",
        measures=tuple(
            Measure(f"Group means of {name}, LR chi2", f.stat, f.df, f.p) for name, f in zip(names, found, strict=True)
        ),
        tables=tuple(_table(name, lines) for name, lines in zip(names, rows, strict=True)),
        meaning=_meaning(context, found[worst], corrected[worst], rows[worst], names, verdict),
        advice=_advice(context, found[worst], verdict),
        code=_code(context, found[worst], rows[worst]) if verdict is not Verdict.FINE else "",
        pictures=tuple(_picture(name, lines) for name, lines in zip(names, rows, strict=True)),
        references=REFERENCES,
    )


Line = tuple[str, float, float, float, float, float]


def _rows(context: Context, found: Compared) -> list[Line]:
    """Name, effect within, its standard error, effect between, its standard error, p of their difference."""
    fit, p = found.fit, len(context.beta)
    out = []
    for k, j in enumerate(found.columns):
        at = p + k
        total = fit.cov[j, j] + fit.cov[at, at] + 2 * fit.cov[j, at]
        difference = z_and_p(fit.params[[at]], np.sqrt(np.diag(fit.cov))[[at]])[1][0]
        out.append(
            (
                context.design.x_names[j],
                float(fit.params[j]),
                float(np.sqrt(fit.cov[j, j])),
                float(fit.params[j] + fit.params[at]),
                float(np.sqrt(max(total, 0.0))),
                float(difference),
            )
        )
    return out


def _table(name: str, lines: list[Line]) -> CheckTable:
    columns = ("predictor", "effect within", "std. error", "effect between", "std. error", "p: equal")
    return CheckTable(f"Effects within and between the groups of {name} (log-odds)", columns, tuple(lines))


def _meaning(context: Context, found: Compared, p: float, lines: list[Line], names: list[str], verdict: Verdict) -> str:
    name = context.design.terms[found.level].factor.name
    if verdict is Verdict.FINE:
        return (
            f"The effects of the groups ({listed(names)}) show no relation to the predictors: effects between groups "
            f"agree with those within ({p_text(p)})."
        )
    far = min(lines, key=lambda line: line[5])
    return (
        f"The effects of the groups of '{name}' are related to the predictors ({p_text(p)}): {far[0]} has a "
        "coefficient "
        f"of {far[1]:.3g} within groups and {far[3]:.3g} between them ({p_text(far[5])}). The model's coefficient "
        "mixes "
        "the two, and is biased for the effect within groups."
    )


def _advice(context: Context, found: Compared, verdict: Verdict) -> tuple[str, ...]:
    if verdict is Verdict.FINE:
        return ()
    group = data_column(context.design, found.level)
    return (
        f"Add the mean of the predictor over each group ({group}) to the formula: the predictor's own coefficient is "
        "then "
        "its effect within groups, free of everything that is constant in them.",
        "Report the effects within and between groups apart; they answer different questions.",
    )


def _code(context: Context, found: Compared, lines: list[Line]) -> str:
    group = data_column(context.design, found.level)
    levels = {p.name: p.levels for p in context.predictors}
    for line in sorted(lines, key=lambda line: line[5]):
        name, _, level = line[0].rstrip("]").partition("[")
        if name not in levels or bool(level) != bool(levels[name]):
            continue  # a column made by a function or a product
        values, new = f'data["{name}"]', f"{name}_mean"
        if level:
            values, new = f'(data["{name}"].astype(str) == "{level}")', f"{name}_{level}_mean"
        return (
            f'data["{new}"] = {values}.groupby(data["{group}"]).transform("mean")\n'
            f'fit2 = me.melogit("{context.fit.wording.formula} + {new}", data)\nprint(fit2)'
        )
    return ""


def _picture(name: str, lines: list[Line]) -> Picture:
    within, between = np.array([line[1:3] for line in lines]).T, np.array([line[3:5] for line in lines]).T
    half = 1.959963984540054
    return Picture(
        "forest",
        f"Effects within and between the groups of {name}",
        f"Coefficients with 95 % intervals of {listed([line[0] for line in lines])}, within and between the groups of "
        f"{name}.",
        {
            "names": [line[0] for line in lines],
            "estimate": within[0],
            "low": within[0] - half * within[1],
            "high": within[0] + half * within[1],
            "estimate2": between[0],
            "low2": between[0] - half * between[1],
            "high2": between[0] + half * between[1],
            "series": ("within groups", "between groups"),
            "reference": 0.0,
            "xlabel": "Coefficient (log-odds)",
        },
    )
