"""A report with invented checks: every kind of picture, every verdict, and names that try to break the page."""

import functools

import numpy as np

import melogit as me
from melogit.report.checks import Check, CheckTable, Measure, Picture, Report, Verdict
from melogit.report.checks_text import verdict_lines

HOSTILE = "</style><script>alert('x')</script>&amp;\"'$a_b$"


def picture(kind, title="A picture", **data):
    return Picture(kind, title, f"In words: {title}.", data)


@functools.cache
def pictures():
    rng = np.random.default_rng(1)
    n, groups = 5_000, 120
    x, line = rng.gamma(2, 2, n), np.linspace(0, 15, 40)
    cook = rng.gamma(1, 1, groups)
    normal = np.sort(rng.normal(size=groups))
    normal[-2:] += 1.5
    quantiles = np.linspace(-2.4, 2.4, groups)
    names = [f"doctor {k}" for k in range(groups)]
    worst = [int(k) for k in np.argsort(-cook)[:8]]
    share = np.linspace(0, 1, 12)
    return (
        picture("scatter", "Partial residuals", x=x, y=rng.normal(size=n), xlabel="IL6", ylabel="Partial residual",
                smooth_x=line, smooth_y=np.sin(line / 5), band_low=np.sin(line / 5) - 0.2,
                band_high=np.sin(line / 5) + 0.2, line_x=[0, 15], line_y=[0.5, 0.2]),
        picture("scatter", "Empirical logits", x=share, y=share**2, xlabel="CRP", ylabel="Log-odds",
                points_size=np.arange(12)),
        picture("scatter", "Leverage and Cook's distance", x=rng.gamma(2, 2, groups), y=cook, xlabel="Leverage",
                ylabel="Cook's distance", hline=4.0, labels=names, label_index=worst),
        picture("index", "Cook's distance of each doctor", value=cook, ylabel="Cook's distance", labels=names,
                label_index=worst, limit=3.0),
        picture("index", "Deviance residuals", value=rng.normal(size=n), ylabel="Residual", limit=(-3, 3)),
        picture("qq", "Random intercepts", theoretical=quantiles, observed=normal, low=quantiles - 0.5,
                high=quantiles + 0.5, labels=names),
        picture("curve", "Calibration", x=share, y=share**1.1, low=share**1.1 - 0.05, high=share**1.1 + 0.05,
                points_x=share, points_y=share, diagonal=True, xlabel="Predicted", ylabel="Observed"),
        picture("histogram", "Dispersion", values=rng.normal(1, 0.02, 250), line_at=1.07, xlabel="Dispersion"),
        picture("box", "Residuals by stage", values=[rng.normal(size=200) for _ in range(4)], ylabel="Residual",
                names=["I", "II", "III", "the very long name of a level of a factor"]),
        picture("bars", "Variance inflation", names=["Age", HOSTILE, "IL6"], value=[1.2, 12.0, np.inf], limit=5.0,
                xlabel="VIF"),
        picture("forest", "Between and within", names=["Age", "IL6"], estimate=[-0.05, 0.1], low=[-0.1, 0.05],
                high=[0.0, 0.15], estimate2=[-0.02, 0.2], low2=[-0.2, 0.05], high2=[0.1, 0.35],
                series=("within", "between"), reference=0.0, xlabel="Coefficient"),
        picture("heatmap", "Correlations", names=["Age", "IL6", "CRP", "Stage"],
                value=np.corrcoef(rng.normal(size=(4, 9)))),
    )  # fmt: skip


def checks():
    drawn = pictures()
    doctors = tuple((f"doctor {k}", 20 + k, 0.01 * k, 1.0 + 0.001 * k) for k in range(16))
    books = ("Cook (1977), Technometrics 19, 15-18.", "Harrell (2015), Regression Modeling Strategies, 2nd ed.")
    return (
        Check(
            "linearity", "Linearity of the log-odds", Verdict.LOOK, "A spline was compared with the straight line.",
            (Measure("LR chi2", 12.345, 3, 0.0063, "LengthofStay"), Measure("Box-Tidwell z", 1.2, None, 0.23)),
            (CheckTable("By predictor", ("Predictor", "chi2", "df", "p"), (("Age", 1.23, 3, 0.75),)),),
            "The log-odds do not fall along a straight line with LengthofStay. For Age a straight line will do.",
            ("Replace LengthofStay by a spline.", "Look at the partial residuals first."),
            'fit2 = me.melogit("remission ~ bs(LengthofStay, df=4) + a_rather_long_predictor_name + (1 | DID)", data)',
            drawn[:2], (books[1],),
        ),
        Check(
            "influence_groups", "Influence of doctors", Verdict.PROBLEM, "Each doctor was left out in turn.",
            (Measure("largest Cook's distance", 0.12),),
            (CheckTable("The most influential", ("DID", "rows", "Cook's distance", "odds ratio"), doctors),),
            "Without doctor 3 the odds ratio of Experience would be 1.12 in place of 1.16.",
            ("Look at the records.",), "", drawn[2:5], books,
        ),
        Check("fit", "Fit", Verdict.FINE, "Simulated.", (), (), "The model fits.", (), "", drawn[5:9]),
        Check("hostile", HOSTILE, Verdict.LOOK, HOSTILE, (Measure(HOSTILE, np.nan, None, np.nan, HOSTILE),),
              (CheckTable(HOSTILE, (HOSTILE, "b"), ((HOSTILE, np.inf),)),), HOSTILE, (HOSTILE,), HOSTILE,
              (*drawn[9:], picture("histogram", HOSTILE, values=[], xlabel=HOSTILE)), (HOSTILE,)),
        Check("serial", "Serial correlation", Verdict.SKIPPED, "", (), (), "No time column was named.", ()),
    )  # fmt: skip


@functools.cache
def report():
    data = me.load_dataset("retail")
    fit = me.melogit("purchase ~ minutes + member + (1 | consumer)", data)
    made = checks()
    return Report(
        title=f"Checks of the model of purchase {HOSTILE}",
        formula=fit.fit.wording.formula,
        model=fit.summary(odds_ratios=True),
        full=fit.summary(),
        checks=made,
        verdict=verdict_lines(made),
        facts=(("Seed", "0"), ("Packages", "numpy, scipy"), (HOSTILE, HOSTILE)),
    )
