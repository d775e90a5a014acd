"""Whether fitted probabilities agree with outcomes, and how well they tell events from others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from melogit.diagnostics.context import Context
from melogit.diagnostics.fit_statistics import BINS, Binned, binned, bins_by
from melogit.diagnostics.simulated import compared
from melogit.diagnostics.worlds import simulated_p
from melogit.effects.integrals import averaged
from melogit.errors import MelogitError
from melogit.inference.icc import intraclass_correlations
from melogit.inference.measures import explained_variance
from melogit.quality import metrics
from melogit.report.checks import Check, CheckTable, Measure, Picture, Verdict
from melogit.report.checks_text import p_text

FloatArray = NDArray[np.float64]
KEY, TITLE = "calibration", "Calibration and discrimination"
POINTS = 200  # of an ROC curve
REFERENCES = (
    "Hosmer, D. W. and Lemeshow, S. (1980). Goodness of fit tests for the multiple logistic regression model. Commun. "
    "Statist. A 9, 1043-1069.",
    "Gelman, A. and Hill, J. (2007). Data Analysis Using Regression and Multilevel/Hierarchical Models, section 5.6. "
    "Cambridge.",
    "Van Calster, B. et al. (2019). Calibration: the Achilles heel of predictive analytics. BMC Medicine 17, 230.",
    "Nakagawa, S. and Schielzeth, H. (2013). A general and simple method for obtaining R2 from generalized linear "
    "mixed-effects models. Methods Ecol. Evol. 4, 133-142.",
)


def check(context: Context) -> Check:
    """Compare observed with fitted events by fitted probability; measure how well the model tells events apart."""
    found = compared(context)
    design, mu = context.design, found.world.mu
    z, drawn = found.observed["bins"], found.drawn["bins"]
    stat, worlds = _statistic(z, drawn), np.array([_statistic(row, drawn) for row in drawn])
    p = simulated_p(stat, worlds)
    verdict = Verdict.LOOK if p < context.alpha else Verdict.FINE
    bins = binned(design, mu, bins_by(mu, design.trials), mu)
    plain = float(np.sum(z**2))
    marginal = _marginal(context)
    events, others = design.weights * design.y, design.weights * (design.trials - design.y)
    quality = {kind: metrics(events, others, p_) for kind, p_ in (("with", mu), ("without", marginal))}
    share = float(events.sum() / (events.sum() + others.sum()))
    majority = max(share, 1 - share)
    return Check(
        key=KEY,
        title=TITLE,
        verdict=verdict,
        tested="Rows were put into ten bins by their fitted probability (with the groups' effects), and observed "
        "events "
        "compared with fitted ones, as in the Hosmer-Lemeshow table. Its chi-square distribution does not hold for "
        "mixed "
        "models, whose fitted probabilities follow the outcomes: the distribution is that in "
        f"{found.worlds} data sets drawn from this model and fitted again.",
        measures=(
            Measure("Observed against fitted in ten bins, chi2-like sum", stat, p=p),
            Measure(
                "Hosmer-Lemeshow chi2",
                plain,
                df=BINS - 2,
                p=float(chdtrc(BINS - 2, plain)),
                note="for comparison only: this p-value does not hold for mixed models",
            ),
            Measure("ROC area with the groups' effects", quality["with"]["roc_auc"]),
            Measure("ROC area without them", quality["without"]["roc_auc"]),
            Measure("Accuracy with the groups' effects", quality["with"]["accuracy"]),
            Measure("Accuracy without them", quality["without"]["accuracy"]),
            Measure("Accuracy of guessing the majority", majority),
            *_explained(context),
        ),
        tables=(_table(bins, drawn, z), _quality(quality, majority)),
        meaning=_meaning(context, verdict, p, quality, majority, z, drawn),
        advice=_advice(verdict),
        pictures=(_curve(bins, drawn), _residuals(bins, drawn), _roc(events, others, mu, marginal, quality)),
        references=REFERENCES,
    )


def _statistic(z: FloatArray, drawn: FloatArray) -> float:
    """Squared distance of the bins' differences from their usual ones, each in its own standard deviation."""
    centre, spread = np.nanmean(drawn, axis=0), np.nanstd(drawn, axis=0)
    use = spread > 1e-9
    return float(np.sum(((z - centre)[use] / spread[use]) ** 2))


def _marginal(context: Context) -> FloatArray:
    design = context.design
    eta = design.offset + design.X @ context.beta
    variance = np.zeros(design.n_rows)
    for term, estimate in zip(design.terms, context.fit.terms, strict=True):
        variance += np.einsum("ij,jk,ik->i", term.Z, estimate.Sigma, term.Z)
    return averaged(eta, variance, 0)[0]


def _explained(context: Context) -> list[Measure]:
    out = []
    try:
        parts = explained_variance(context.design, context.fit)
        out += [
            Measure("R2 of the fixed effects (latent scale)", parts.fixed / parts.total),
            Measure("R2 with the groups' effects", (parts.fixed + float(parts.random.sum())) / parts.total),
        ]
    except MelogitError:
        pass
    constants = [f"{t.factor.name}:var(Intercept)" for t in context.design.terms]
    names = list(context.fit.names)
    if all(name in names for name in constants):
        at = [names.index(name) for name in constants]
        alone = None if context.fit.nested else np.eye(len(at), dtype=bool)
        found = intraclass_correlations(context.fit.params[at], context.fit.cov[np.ix_(at, at)], shared=alone)
        for name, icc in zip([t.factor.name for t in context.design.terms], found, strict=True):
            out.append(Measure(f"Intraclass correlation, {name}", icc.estimate))
    return out


def _meaning(
    context: Context,
    verdict: Verdict,
    p: float,
    quality: dict[str, dict[str, float]],
    majority: float,
    z: FloatArray,
    drawn: FloatArray,
) -> str:
    response = context.design.wording.response
    if verdict is Verdict.FINE:
        first = f"Fitted probabilities of {response} agree with what was observed ({p_text(p)})."
    else:
        spread = np.where(np.nanstd(drawn, axis=0) > 1e-9, np.nanstd(drawn, axis=0), np.inf)
        far = (z - np.nanmean(drawn, axis=0)) / spread
        k = int(np.argmax(np.abs(far)))
        word = "more" if far[k] > 0 else "fewer"
        first = (
            f"Fitted probabilities of {response} do not agree with what was observed ({p_text(p)}): in bin {k + 1} of "
            f"{BINS} there are clearly {word} events than the model says."
        )
    found = quality["with"]
    gain = found["accuracy"] - majority
    return (
        f"{first} With the groups' effects the model is right for {100 * found['accuracy']:.1f} % of outcomes "
        f"({'no better than' if gain < 0.005 else 'against'} {100 * majority:.1f} % for always guessing the majority), "
        f"and ranks an event above another row in {100 * found['roc_auc']:.0f} % of pairs; without them in "
        f"{100 * quality['without']['roc_auc']:.0f} %."
    )


def _advice(verdict: Verdict) -> tuple[str, ...]:
    if verdict is Verdict.FINE:
        return ()
    return (
        "Look first at linearity and at the residuals along each predictor: a curve or a product that is missing bends "
        "the calibration.",
        "A random slope that is missing, or effects of groups far from normal, bend it too.",
        "Do not use the fitted probabilities as risks before this is mended.",
    )


def _table(bins: Binned, drawn: FloatArray, z: FloatArray) -> CheckTable:
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    rows = []
    for k in range(BINS):
        if bins.count[k] > 0:
            rows.append(
                (
                    k + 1,
                    float(bins.centre[k]),
                    float(bins.count[k]),
                    float(bins.events[k]),
                    float(bins.expected[k]),
                    float(z[k]),
                    float(low[k]),
                    float(high[k]),
                )
            )
    columns = (
        "bin",
        "mean fitted probability",
        "outcomes",
        "events",
        "fitted events",
        "standardised difference",
        "usual from",
        "to",
    )
    return CheckTable("Observed and fitted events by fitted probability", columns, tuple(rows))


def _quality(quality: dict[str, dict[str, float]], majority: float) -> CheckTable:
    rows = [(name, quality["with"][name], quality["without"][name]) for name in quality["with"]]
    rows.insert(1, ("accuracy of guessing the majority", majority, majority))
    caption = "How well the fitted rows are predicted (optimistic: see fit.quality(folds=10) for rows held out)"
    return CheckTable(caption, ("measure", "with the groups' effects", "without"), tuple(rows))


def _usual(bins: Binned, drawn: FloatArray) -> tuple[NDArray[np.bool_], FloatArray, FloatArray]:
    """Which bins have rows, and the differences of shares that 95 % of worlds keep to."""
    use = bins.count > 0
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    scale = np.sqrt(bins.variance[use]) / bins.count[use]
    return use, low[use] * scale, high[use] * scale


def _curve(bins: Binned, drawn: FloatArray) -> Picture:
    use, low, high = _usual(bins, drawn)
    x, y = bins.centre[use], bins.events[use] / bins.count[use]
    return Picture(
        "curve",
        "Calibration curve",
        "Observed share of events against the fitted probability in ten bins, with the band that 95 % of data sets "
        "drawn "
        "from the model keep to.",
        {
            "x": x,
            "y": y,
            "low": x + low,
            "high": x + high,
            "points_x": x,
            "points_y": y,
            "diagonal": True,
            "xlabel": "Fitted probability",
            "ylabel": "Observed share of events",
        },
    )


def _residuals(bins: Binned, drawn: FloatArray) -> Picture:
    use, low, high = _usual(bins, drawn)
    gap = (bins.events[use] - bins.expected[use]) / bins.count[use]
    return Picture(
        "scatter",
        "Binned residuals",
        "Observed less fitted share of events in ten bins of the fitted probability, with the band that 95 % of data "
        "sets "
        "drawn from the model keep to.",
        {
            "x": bins.centre[use],
            "y": gap,
            "xlabel": "Fitted probability",
            "ylabel": "Observed less fitted share",
            "hline": 0.0,
            "smooth_x": bins.centre[use],
            "smooth_y": gap,
            "band_low": low,
            "band_high": high,
            "points_size": bins.count[use],
        },
    )


def roc_curve(events: FloatArray, others: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1).

    Examples
    --------
    >>> x, y = roc_curve(np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]), np.array([0.9, 0.5, 0.2]))
    >>> x.tolist(), y.tolist()
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0])
    """
    _, at = np.unique(-p, return_inverse=True)
    yes, no = np.cumsum(np.bincount(at, weights=events)), np.cumsum(np.bincount(at, weights=others))
    return np.append(0.0, no / no[-1]), np.append(0.0, yes / yes[-1])


def _roc(
    events: FloatArray, others: FloatArray, mu: FloatArray, marginal: FloatArray, quality: dict[str, dict[str, float]]
) -> Picture:
    x, y = roc_curve(events, others, mu)
    second = roc_curve(events, others, marginal)
    some = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
    other = np.unique(np.linspace(0, len(second[0]) - 1, 25).astype(int))
    return Picture(
        "curve",
        "ROC curve",
        f"ROC curve: area {quality['with']['roc_auc']:.3f} with the groups' effects (line), "
        f"{quality['without']['roc_auc']:.3f} without them (points).",
        {
            "x": x[some],
            "y": y[some],
            "points_x": second[0][other],
            "points_y": second[1][other],
            "diagonal": True,
            "xlabel": "Share of other outcomes called events",
            "ylabel": "Share of events called events",
        },
    )
