"""Two or more models side by side: the likelihood-ratio test and the table of fit statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from melogit.errors import ModelError
from melogit.inference import LikelihoodRatio
from melogit.inference.model_test import FEWEST_SAMPLES, likelihood_ratio, parametric_bootstrap
from melogit.inference.nesting import check_comparable
from melogit.parallel import read_workers
from melogit.report.replicates import replicate_display
from melogit.results.inferences import needs_data
from melogit.results.measures import variance_change as change_of_variance
from melogit.results.results import Results


def lrtest(
    a: Results,
    b: Results,
    *,
    bootstrap: int | None = None,
    seed: int = 0,
    workers: Any = None,
    progress: bool | None = None,
) -> LikelihoodRatio:
    """Likelihood-ratio test of a model against one that contains it (``stat, df, p, kind``), in either order.

    Where the larger model has new variances, the null hypothesis lies on the boundary, and chi-squared would make
    p-values too large. One new variance: the exact 50:50 mixture (Self & Liang 1987), a new slope that is correlated
    with effects already there included (Stram & Lee 1994). Several: a mixture whose weights are simulated from the
    information at the smaller model. ``kind`` says which.

    Parameters
    ----------
    a, b : Results
        Fitted to the same rows, by the same integration or both to a certified accuracy.
    bootstrap : int, optional
        Number of samples of a parametric bootstrap: responses simulated from the smaller model, both models
        refitted. Needs no theory, and holds with few groups.
    seed : int
        Of either simulation.
    workers : int, str or Dask client, optional
        Who fits the samples: threads (by default one per core), ``"processes"``, or a Dask cluster.
    progress : bool, optional
        A bar with the time left on standard error; by default on a terminal after a second. Ctrl-C gives the p-value of
        the samples that are done.

    Raises
    ------
    ModelError
        Different rows, different integration, neither model contains the other, a model that did not converge.

    Examples
    --------
    >>> import melogit as me
    >>> data = me.load_dataset("hospital")
    >>> one = me.melogit("remission ~ Age + CancerStage + (1 | DID)", data)
    >>> two = me.melogit("remission ~ Age + CancerStage + (1 | HID/DID)", data)
    >>> test = me.lrtest(one, two)
    >>> test.df, test.kind
    (1, 'chibar2(01)')
    """
    _check(a, b)
    if bootstrap is None:
        return likelihood_ratio(_plain(a), _plain(b), a.design, b.design, seed=seed)
    whole = isinstance(bootstrap, int | float | np.number) and not isinstance(bootstrap, bool)
    if not whole or bootstrap % 1 != 0 or bootstrap < FEWEST_SAMPLES:
        raise ModelError(
            f"bootstrap={bootstrap!r} must be a whole number of samples, 19 or more: with 19 the smallest p-value is "
            "0.05, with 999 it is 0.001."
        )
    first, second = (needs_data(model.design, "The parametric bootstrap") for model in (a, b))
    who = read_workers(workers)
    with replicate_display(progress, int(bootstrap)) as show:
        return parametric_bootstrap(
            _plain(a), _plain(b), first, second, samples=int(bootstrap), seed=seed, workers=who, show=show
        )


def compare(*models: Results, names: Sequence[str] | None = None, seed: int = 0) -> pd.DataFrame:
    """Models in rows: log-likelihood, df, AIC, AICc, BIC, ICC, and a likelihood-ratio test against the row above.

    The test is shown where the row above is a special case of the model, or the reverse; elsewhere it is missing.

    Parameters
    ----------
    *models : Results
        Two or more, fitted to the same rows.
    names : sequence of str, optional
        Row labels; the formulas by default.
    seed : int
        Of the simulation that tests of several variances need.

    Returns
    -------
    DataFrame
        ``nobs, loglik, df, aic, aicc, bic, delta_aic, icc`` (all levels together), ``lr_stat, lr_df, lr_p, lr_kind``.

    Examples
    --------
    >>> import melogit as me
    >>> data = me.load_dataset("hospital")
    >>> one = me.melogit("remission ~ Age + (1 | DID)", data)
    >>> two = me.melogit("remission ~ Age + CancerStage + (1 | DID)", data)
    >>> me.compare(one, two, names=["age", "age and stage"]).loc["age and stage", "lr_df"].item()
    3.0
    """
    if len(models) < 2:
        raise ModelError(f"compare needs two models or more, and got {len(models)}: compare(first, second, ...).")
    for model in models[1:]:
        _check(models[0], model)
        check_comparable(models[0].fit, model.fit, models[0].design, model.design)
    labels = list(names) if names is not None else [model.fit.wording.formula for model in models]
    if len(labels) != len(models):
        raise ModelError(f"names has {len(labels)} entries for {len(models)} models.")
    rows = [_statistics(model) for model in models]
    table = pd.DataFrame(rows, index=pd.Index(labels, name="model"))
    table.insert(6, "delta_aic", table["aic"] - table["aic"].min())
    tests = [LikelihoodRatio(np.nan, 0, np.nan, "")]
    tests += [_test(a, b, seed) for a, b in zip(models, models[1:], strict=False)]  # noqa: RUF007
    table["lr_stat"] = [test.stat for test in tests]
    table["lr_df"] = [float(test.df) if test.kind else np.nan for test in tests]
    table["lr_p"] = [test.p for test in tests]
    table["lr_kind"] = [test.kind for test in tests]
    return table


def variance_change(before: Results, after: Results) -> pd.DataFrame:
    """Proportional change of each intercept variance (``before, after, proportional_change, std_err``).

    How much of the variation between groups the added predictors account for. Predictors that vary within groups
    also stretch the scale of a logistic model, so that the variance can grow and the change be negative.

    The two variances come from the same rows and move together; the standard error is the delta method on their joint
    covariance, a sandwich over the scores of the top-level groups in both models. Where there are no such scores
    (crossed groups, a loaded model, a variance of 0) it is missing.

    Parameters
    ----------
    before, after : Results
        The model without and with the predictors, fitted to the same rows.

    Examples
    --------
    >>> import melogit as me
    >>> data = me.load_dataset("hospital")
    >>> one = me.melogit("remission ~ Age + (1 | DID)", data)
    >>> two = me.melogit("remission ~ Age + CancerStage + (1 | DID)", data)
    >>> list(me.variance_change(one, two).columns)
    ['before', 'after', 'proportional_change', 'std_err']
    """
    _check(before, after)
    check_comparable(before.fit, after.fit, before.design, after.design)
    return change_of_variance(_plain(before), _plain(after), (before.design, after.design))


def _check(a: Any, b: Any) -> None:
    for model in (a, b):
        if not isinstance(model, Results):
            raise ModelError(
                f"A fitted model is needed, and this is a {type(model).__name__}: give what melogit returned."
            )


def _plain(model: Results):
    return model.oim or model.fit


def _statistics(model: Results) -> dict[str, float]:
    n, k = model.nobs, model.df_model
    try:
        icc = float(model.icc()["icc"].iloc[-1])
    except ModelError:  # random slopes only: no intraclass correlation
        icc = np.nan
    return {
        "nobs": n,
        "loglik": model.llf,
        "df": k,
        "aic": model.aic,
        "aicc": model.aic + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.nan,
        "bic": model.bic,
        "icc": icc,
    }


def _test(a: Results, b: Results, seed: int) -> LikelihoodRatio:
    try:
        return likelihood_ratio(_plain(a), _plain(b), a.design, b.design, seed=seed)
    except ModelError:
        return LikelihoodRatio(np.nan, 0, np.nan, "")
