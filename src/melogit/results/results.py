"""``Results``: a fitted model in the user's hands. The methods are short; the work is done in the rooms they call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from melogit.design import Design
from melogit.effects.posterior import Posterior
from melogit.errors import ModelError
from melogit.fit.types import Fit, Integration
from melogit.formula.recipe import Recipe
from melogit.inference import LikelihoodRatio, Wald, against_logistic, critical_value, joint_wald
from melogit.report import Summary, count, number
from melogit.results import inferences, tables
from melogit.results.diagnosis import Checking
from melogit.results.influence import Influencing
from melogit.results.overview import summarise
from melogit.results.predictions import Predictions
from melogit.results.questions import Questions
from melogit.results.resampling import Resampling
from melogit.results.tidy import tidy_table


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Results(Questions, Predictions, Resampling, Checking, Influencing):
    """A fitted mixed-effects logistic regression.

    Names follow statsmodels. Tables over parameters list the fixed effects first, then variances and covariances of
    the random effects on their own scale (``DID:var(Intercept)``).

    Attributes
    ----------
    fit : Fit
        Estimates, covariance, iterations and integration, as plain arrays.
    design : Design or None
        The data as arrays; None after ``load``.
    level : float
        Confidence level of tables that are not asked for another.
    oim : Fit or None
        Where the tables have robust standard errors: the fit with those from the observed information.
    recipe : Recipe or None
        How the matrices are built from new data.
    posterior : Posterior or None
        Of the groups; None while it can be computed from the data.

    Examples
    --------
    >>> import melogit as me
    >>> results = me.melogit("purchase ~ minutes + (1 | consumer)", me.load_dataset("retail"))
    >>> results
    <melogit.Results: purchase ~ minutes + (1 | consumer); 3,199 observations, ...; converged>
    >>> list(results.params.index)
    ['Intercept', 'minutes', 'consumer:var(Intercept)']
    """

    fit: Fit
    design: Design | None = None
    level: float = 0.95
    oim: Fit | None = None
    recipe: Recipe | None = None
    posterior: Posterior | None = None

    def __post_init__(self) -> None:
        critical_value(self.level)

    # ------------------------------------------------------------------------------------------- estimates

    @property
    def params(self) -> pd.Series:
        """Estimates of all parameters, fixed effects first."""
        return pd.Series(self.fit.params.copy(), index=list(self.fit.names), name="estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors of all parameters; NaN at a boundary (variance 0) and for infinite coefficients."""
        return pd.Series(tables.standard_errors(self.fit), index=list(self.fit.names), name="std_err")

    @property
    def fe_params(self) -> pd.Series:
        """Fixed effects, on the log-odds scale."""
        return self.params.iloc[: self.fit.n_fixed]

    @property
    def zvalues(self) -> pd.Series:
        """Fixed effects over their standard errors."""
        return tables.coefficients(self.fit, self.level).loc[:, "z"]

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided normal p-values of the fixed effects."""
        return tables.coefficients(self.fit, self.level).loc[:, "p"]

    def conf_int(self, level: float | None = None) -> pd.DataFrame:
        """Confidence intervals of all parameters (``ci_low, ci_high``).

        Fixed effects and covariances: normal. Variances: normal on the log scale.
        """
        return tables.intervals(self.fit, self._level(level))

    def cov_params(
        self, kind: Literal["oim", "robust", "cluster"] | None = None, cluster: object = None
    ) -> pd.DataFrame:
        """Covariance matrix of all parameters, in the order and on the scale of ``params``.

        Parameters
        ----------
        kind : {"oim", "robust", "cluster"}, optional
            From the observed information, or a sandwich on the scores of the top-level groups (``robust``) or of
            ``cluster``. By default the one that the tables use. Nothing is refitted.
        cluster : str, Series or array, optional
            For ``cluster``: a grouping factor, a column of the data, or a value for every row used. Clusters must be
            at or above the top level of the model.

        Notes
        -----
        Both sandwiches have the factor G / (G - 1) for G clusters, as Stata's.
        """
        return inferences.covariance_table(self.fit, self.oim, self.design, kind, cluster)

    @property
    def varcomp(self) -> pd.DataFrame:
        """Variances and covariances of the random effects by (group, term), with standard errors and intervals."""
        return tables.variance_components(self.fit, self.level)

    @property
    def sdcorr(self) -> pd.DataFrame:
        """Standard deviations and correlations of the random effects by (group, term).

        Standard errors by the delta method; intervals on the log and atanh scales.
        """
        return tables.standard_deviations(self.fit, self.level)

    def odds_ratios(self, level: float | None = None) -> pd.DataFrame:
        """Odds ratios of the fixed effects (``odds_ratio, std_err, z, p, ci_low, ci_high``).

        Standard errors by the delta method; intervals by exponentiating those of the coefficients, whose z and p
        are shown.
        """
        return tables.odds_ratios(self.fit, self._level(level))

    # ------------------------------------------------------------------------------------------ fit as a whole

    @property
    def llf(self) -> float:
        """Log-likelihood, binomial constants included."""
        return self.fit.loglik

    @property
    def llf_fixed_only(self) -> float:
        """Log-likelihood of the plain logistic regression with the same fixed effects."""
        return self.fit.loglik_fixed_only

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return 2 * self.fit.df_model - 2 * self.fit.loglik

    @property
    def bic(self) -> float:
        """Bayesian information criterion, with ``nobs`` as the sample size."""
        return float(np.log(self.fit.n_obs)) * self.fit.df_model - 2 * self.fit.loglik

    @property
    def nobs(self) -> int | float:
        """Observations: rows that entered the fit, counted with their frequency weights."""
        return tables.whole(self.fit.n_obs)

    @property
    def df_model(self) -> int:
        """Number of parameters estimated: fixed effects, variances and covariances."""
        return self.fit.df_model

    @property
    def groups(self) -> pd.DataFrame:
        """Per grouping factor: number of ``groups``; ``min``, ``mean`` and ``max`` of observations per group."""
        return tables.group_counts(self.fit)

    @property
    def wald(self) -> Wald:
        """Joint test of all fixed effects except the constant (``stat, df, p``)."""
        names = self.fit.names[: self.fit.n_fixed]
        at = [position for position, name in enumerate(names) if name != tables.CONSTANT]
        return joint_wald(self.fit.params[at], self.fit.cov[np.ix_(at, at)])

    @property
    def lr_test(self) -> LikelihoodRatio:
        """Likelihood-ratio test against plain logistic regression (``stat, df, p, kind``)."""
        n_variance = len(self.fit.names) - self.fit.n_fixed
        return against_logistic(self.fit.loglik, self.fit.loglik_fixed_only, n_variance)

    @property
    def converged(self) -> bool:
        """Whether the estimates are a maximum of the likelihood."""
        return self.fit.converged

    @property
    def status(self) -> str:
        """Why the fit ended, as a sentence."""
        return self.fit.status.value

    @property
    def trace(self) -> pd.DataFrame:
        """The iteration log: one row per iteration of the fixed-effects model, the starting values, the full model."""
        return tables.iterations(self.fit)

    @property
    def integration(self) -> Integration:
        """How the random effects were integrated out, and the accuracy reached."""
        return self.fit.integration

    # ------------------------------------------------------------------------------------------ random effects

    def random_effects(self, kind: Literal["mean", "mode"] = "mean", group: str | None = None) -> pd.DataFrame:
        """Predicted random effects, one row per group.

        Parameters
        ----------
        kind : {"mean", "mode"}
            Posterior means (empirical Bayes means) or posterior modes.
        group : str, optional
            Grouping factor. Without it, all of them, indexed by (group, level) if there are several.

        Returns
        -------
        DataFrame
            A column per random effect and, named ``<effect>_se``, its posterior standard deviation at the
            estimated parameters.
        """
        return tables.group_effects(self.fit, kind, group)

    def icc(self, level: float | None = None) -> pd.DataFrame:
        """Intraclass correlations of the latent response (``icc, std_err, ci_low, ci_high``).

        One row per level of nesting, cumulative from the top: ``DID|HID`` is the correlation of two rows that share
        the doctor, and with the doctor the hospital. Where groups cross, a row per factor, the correlation of two
        rows that share its group and no other (``school:pupil`` includes the school), and one of rows that share all.
        With random slopes it is that at slopes of 0 (all predictors
        with random slopes equal to 0). A variance at 0 is taken as known to be 0.
        """
        return tables.intraclass(self.fit, self._level(level))

    # ------------------------------------------------------------------------------------------------- tables

    def summary(self, odds_ratios: bool = False) -> Summary:
        """Lay out the table of results, to print or to show in a notebook."""
        return summarise(self.fit, self.level, self.wald, self.lr_test, odds_ratios)

    def tidy(
        self,
        conf_int: bool = True,
        exponentiate: bool = False,
        effects: str | Sequence[str] = ("fixed", "ran_pars"),
        level: float | None = None,
    ) -> pd.DataFrame:
        """One row per term, with the column names of R's broom.mixed.

        Parameters
        ----------
        conf_int : bool
            Add ``conf.low`` and ``conf.high``.
        exponentiate : bool
            Odds ratios in place of the fixed effects' coefficients.
        effects : str or sequence of str
            Any of ``fixed``, ``ran_pars`` (variances and covariances) and ``ran_vals`` (posterior means).
        level : float, optional
            Confidence level.
        """
        return tidy_table(self.fit, self._level(level), conf_int, exponentiate, effects)

    def glance(self) -> pd.DataFrame:
        """One row about the whole model."""
        wald, lr_test, integration = self.wald, self.lr_test, self.integration
        row = {
            "nobs": self.nobs,
            **{f"n.{name}": groups for name, groups in self.groups["groups"].items()},
            "logLik": self.llf,
            "AIC": self.aic,
            "BIC": self.bic,
            "df": self.df_model,
            "wald.statistic": wald.stat,
            "wald.df": wald.df,
            "wald.p.value": wald.p,
            "lr.statistic": lr_test.stat,
            "lr.p.value": lr_test.p,
            "converged": self.converged,
            "method": integration.method,
            "logLik.error": integration.loglik_error,
        }
        return pd.DataFrame([row])

    def augment(self) -> pd.DataFrame:
        """Tell what the model says about each row that entered the fit.

        The index is that of the data, so that ``data.join(fit.augment()[["mu", "residual"]])`` adds to them.

        Returns
        -------
        DataFrame
            The response (as a share of its trials), ``eta_fixed`` (offset and fixed effects), ``eta`` (with the
            posterior means of the random effects), ``mu`` (the probability at ``eta``), ``residual`` (response
            minus ``mu``), the number of trials where it is not always 1, and the group labels.

        Raises
        ------
        ModelError
            For a model read from a file, which does not hold the data.
        """
        if self.design is None:
            raise ModelError(
                "This model was loaded from a file, and model files do not hold the data. "
                "augment() needs them: fit the model again with melogit(formula, data)."
            )
        return tables.data_rows(self.fit, self.design)

    # ---------------------------------------------------------------------------------------------------- file

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the data to a JSON file that ``melogit.load`` reads."""
        from melogit.results.files import save_results  # which makes Results

        save_results(self, path)

    # ------------------------------------------------------------------------------------------------- display

    def _level(self, level: float | None) -> float:
        return self.level if level is None else level

    def __repr__(self) -> str:
        groups = ", ".join(f"{count(term.means.shape[0])} {term.name}" for term in self.fit.terms)
        state = "converged" if self.converged else f"not converged: {self.status}"
        return (
            f"<melogit.Results: {self.fit.wording.formula}; {count(self.fit.n_obs)} observations, {groups}; "
            f"log-likelihood {number(self.llf)}; {state}>"
        )

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()
