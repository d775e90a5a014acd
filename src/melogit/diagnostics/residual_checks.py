"""Whether outcomes are distributed as the model says: quantile residuals, with and without the groups' effects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.diagnostics.context import Context, generator
from melogit.diagnostics.fit_statistics import binned, unconditional
from melogit.diagnostics.quantile_residuals import Tested, dispersion, outliers, scaled_residuals, uniformity
from melogit.diagnostics.simulated import compared, predictor_bins
from melogit.diagnostics.wording import listed
from melogit.diagnostics.worlds import Compared, World, departures, joint_p, simulated_p
from melogit.inference.model_test import simulate_response
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import p_text

FloatArray = NDArray[np.float64]
KEY, TITLE = "residuals", "Distribution of the outcomes"
DRAWS = 250
MOST_DRAWN = 25_000_000  # numbers; fewer draws for more rows
KINDS = ("unconditional", "conditional")
TESTS = ("uniformity", "dispersion", "outliers")
REFERENCES = (
    "Dunn, P. K. and Smyth, G. K. (1996). Randomized quantile residuals. J. Comput. Graph. Stat. 5, 236-244.",
    "Hartig, F. (2024). DHARMa: residual diagnostics for hierarchical regression models. R package.",
    "Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, section 4.4. Cambridge.",
)


@dataclass(frozen=True, slots=True)
class Residuals:
    """Scaled residuals of one kind, (n,), and their tests in the order of ``TESTS``."""

    values: FloatArray
    tests: tuple[Tested, ...]
    draws: int


def quantile_residuals(context: Context, world: World) -> dict[str, Residuals]:
    """Scaled residuals by simulation, with new effects of the groups and at their posterior means.

    Parameters
    ----------
    world : World
        The data's own.
    """
    design, mu = context.design, world.mu
    fitted = {KINDS[0]: unconditional(world)[2], KINDS[1]: mu}
    rng = generator(context, "quantile residuals")
    draws = int(np.clip(MOST_DRAWN // design.n_rows, 20, DRAWS))
    trials = design.trials.astype(np.int64)
    used = design.trials > 0
    out = {}
    for kind in KINDS:
        drawn = np.empty((design.n_rows, draws))
        for s in range(draws):
            drawn[:, s] = simulate_response(design, context.fit, rng) if kind == KINDS[0] else rng.binomial(trials, mu)
        drawn, observed = drawn[used], design.y[used]
        values = scaled_residuals(observed, drawn, rng.random(len(observed)))
        tests = (
            uniformity(values),
            dispersion(observed, drawn, (design.trials * fitted[kind])[used]),
            outliers(values, draws),
        )
        out[kind] = Residuals(values, tests, draws)
    return out


def check(context: Context) -> Check:
    """Compare outcomes with what the model draws, over all rows and along every predictor."""
    found = compared(context)
    middle = np.nanmedian(found.drawn["residuals"], axis=0)
    away = np.abs(found.observed["residuals"] - middle)
    drawn = np.abs(found.drawn["residuals"] - middle)
    by_predictor = "predictors" in found.observed
    if by_predictor:
        away = np.concatenate([away, found.observed["predictors"]])
        drawn = np.hstack([drawn, found.drawn["predictors"]])
    p = joint_p(away, drawn)
    each = [simulated_p(float(away[k]), drawn[:, k]) for k in range(len(away))]
    worst = int(np.argmax(departures(away, drawn)))
    if worst < 6:  # too much spread makes outliers and bends the distribution: it is then named as what it is
        worst = next((k for k in (4, 1) if each[k] < context.alpha), worst)
    verdict = Verdict.LOOK if p < context.alpha else Verdict.FINE
    residuals = quantile_residuals(context, found.world)
    names = [name for name, _, _ in predictor_bins(context)] if by_predictor else []
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested=f"Every outcome was placed among {residuals[KINDS[0]].draws} draws from the model, once with new "
        "effects "
        "of the groups (unconditional) and once at their own effects (conditional): quantile residuals, uniform if the "
        "model is right. Their uniformity, dispersion and outliers, and their mean along every predictor, are compared "
        f"with those in {found.worlds} data sets drawn from this model and fitted again.",
        measures=(
            Measure(
                f"Comparisons that stand out, of {np.isfinite(each).sum()}",
                int(np.sum(np.array(each) < context.alpha)),
                p=p,
            ),
            *(
                Measure(f"{test}, {kind}", residuals[kind].tests[k].statistic, p=each[3 * i + k])
                for i, kind in enumerate(KINDS)
                for k, test in enumerate(TESTS)
                if np.isfinite(each[3 * i + k])
            ),
        ),
        tables=(_tests(residuals, each), *([_predictors(names, away[6:], each[6:])] if names else [])),
        meaning=_meaning(context, verdict, p, worst, found, names),
        advice=_advice(verdict, worst, names),
        pictures=(*(_qq(residuals[kind], kind) for kind in KINDS), *_along(context, found, names, each)),
        references=REFERENCES,
    )


def _meaning(context: Context, verdict: Verdict, p: float, k: int, found: Compared, names: list[str]) -> str:
    response = context.design.wording.response
    if verdict is Verdict.FINE:
        along = f", along {listed(names)} too" if names else ""
        return f"The outcomes of {response} are distributed as the model says ({p_text(p)}){along}."
    if k >= 6:
        return (
            f"The outcomes of {response} differ from what the model says along {names[k - 6]} ({p_text(p)}): for "
            "some of "
            "its values there are more events than fitted, for others fewer."
        )
    kind, test = KINDS[k // 3], TESTS[k % 3]
    if test == "dispersion":
        more = found.observed["residuals"][k] > np.nanmedian(found.drawn["residuals"][:, k])
        what = f"vary {'more' if more else 'less'} than the model says"
    else:
        what = "fall into the outer parts of their distribution too often" if test == "outliers" else "depart from it"
    return f"The outcomes of {response} {what} ({kind} residuals, {p_text(p)})."


def _advice(verdict: Verdict, k: int, names: list[str]) -> tuple[str, ...]:
    if verdict is Verdict.FINE:
        return ()
    if k >= 6:
        return (
            f"See the check of linearity for {names[k - 6]}; try a spline, or its product with another predictor.",
            "A random slope of the predictor that the model lacks shows here too.",
        )
    if k % 3 == 1:
        return (
            "More spread than binomial: add a random effect per row, (1 | row), or look for a grouping that is "
            "missing. "
            "Less spread: outcomes of a row or group depend on each other, as when a total is fixed.",
        )
    return ("Look at the rows that the check of single rows names, and for a predictor or product that is missing.",)


def _tests(residuals: dict[str, Residuals], each: list[float]) -> CheckTable:
    rows = []
    for i, kind in enumerate(KINDS):
        for k, test in enumerate(TESTS):
            tested = residuals[kind].tests[k]
            rows.append((kind, test, tested.statistic, tested.p, each[3 * i + k]))
    caption = (
        "Tests of the quantile residuals: uniformity (Kolmogorov-Smirnov distance), dispersion (ratio to the model's), "
        "outliers (share among the outermost draws). 'p, plain' takes rows as independent and estimates as known, as "
        "DHARMa "
        "does; "
        "the verdict rests on 'p, simulated', which does not."
    )
    return CheckTable(caption, ("residuals", "test", "statistic", "p, plain", "p, simulated"), tuple(rows))


def _predictors(names: list[str], statistics: FloatArray, each: list[float]) -> CheckTable:
    rows = tuple((name, float(s), p) for name, s, p in zip(names, statistics, each, strict=True))
    caption = "Observed against fitted events in bins of every predictor (sum of squared standardised differences)"
    return CheckTable(caption, ("predictor", "statistic", "p, simulated"), rows)


def _qq(found: Residuals, kind: str) -> Picture:
    n = len(found.values)
    count = min(n, 1000)
    at = (np.arange(1, count + 1) - 0.5) / count
    half = 1.36 / np.sqrt(n)  # the 5 % limit of the Kolmogorov-Smirnov distance
    return Picture(
        "qq",
        f"Quantile residuals, {kind}",
        f"QQ plot of {kind} quantile residuals against the uniform distribution, with 95 % limits; the largest "
        "distance is "
        f"{found.tests[0].statistic:.3f}.",
        {
            "theoretical": at,
            "observed": np.quantile(found.values, at),
            "low": np.clip(at - half, 0, 1),
            "high": np.clip(at + half, 0, 1),
            "middle": at,
            "xlabel": "Expected (uniform)",
            "ylabel": f"Quantile residual, {kind}",
        },
    )


def _along(context: Context, found: Compared, names: list[str], each: list[float]) -> tuple[Picture, ...]:
    """Observed less fitted share along the predictors that fit worst."""
    places = predictor_bins(context)
    continuous = [k for k in range(len(names)) if not context.predictors[k].levels]
    out = []
    for k in sorted(continuous, key=lambda k: each[6 + k])[:3]:
        name, place, bins = places[k]
        bin_ = binned(context.design, found.world.mu, place, context.predictors[k].values, bins)
        use = bin_.count > 0
        x, count = bin_.centre[use], bin_.count[use]
        gap = (bin_.events[use] - bin_.expected[use]) / count
        half = 1.96 * np.sqrt(bin_.variance[use]) / count
        out.append(
            Picture(
                "scatter",
                f"Residuals along {name}",
                f"Observed less fitted share of events in bins of {name}, with limits that 95 % of bins keep to; "
                "simulated "
                f"p-value {each[6 + k]:.2f}.",
                {
                    "x": x,
                    "y": gap,
                    "xlabel": name,
                    "ylabel": "Observed less fitted share",
                    "hline": 0.0,
                    "smooth_x": x,
                    "smooth_y": gap,
                    "band_low": -half,
                    "band_high": half,
                    "points_size": count,
                },
            )
        )
    return tuple(out)
