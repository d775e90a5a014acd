"""The methods of ``Results`` that answer questions about a finished fit: each calls the function that does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from melogit.errors import ModelError
from melogit.inference import Wald
from melogit.results import contrasts, figures, inferences, measures, plugin, profiles
from melogit.results.quality import Quality, judge

if TYPE_CHECKING:
    from melogit.design import Design
    from melogit.fit.types import Fit
    from melogit.formula.recipe import Recipe

Adjustment = Literal["none", "bonferroni", "sidak", "holm", "scheffe", "tukey"]


class Questions:
    """Tests, combinations, contrasts and robust variances of a fit."""

    __slots__ = ()

    if TYPE_CHECKING:
        fit: Fit
        design: Design | None
        level: float
        oim: Fit | None
        recipe: Recipe | None

        def glance(self) -> pd.DataFrame: ...  # noqa: D102

        def _level(self, level: float | None) -> float: ...

    def test(self, *hypotheses: str | Sequence[str]) -> Wald:
        """Joint Wald test (``stat, df, p``).

        Parameters
        ----------
        *hypotheses : str or sequence of str
            Terms (``"CancerStage"``: all its coefficients are 0), coefficients, or linear restrictions such as
            ``"IL6 = CRP"``, ``"2*IL6 - CRP = 0"``, ``"a = b = c"``. All are tested together.

        Raises
        ------
        FormulaError, ModelError
            Unknown name; not linear; a variance set to 0, which a Wald test cannot judge; a contradiction.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("remission ~ Age + CancerStage + (1 | DID)", me.load_dataset("hospital"))
        >>> fit.test("CancerStage").df, fit.test("CancerStage[II] = CancerStage[III]", "Age").df
        (3, 2)
        """
        return inferences.test_hypotheses(self.fit, hypotheses)

    def lincom(
        self,
        *expressions: str | Sequence[str] | Mapping[str, str],
        odds_ratios: bool = False,
        level: float | None = None,
        **named: str,
    ) -> pd.DataFrame:
        """Linear combinations of parameters, with standard errors, z, p and intervals.

        Parameters
        ----------
        *expressions : str, sequence or mapping of label to str
            ``"IL6 + 2*CRP"``; the constant of an expression counts.
        odds_ratios : bool
            Exponentiate: the odds ratio of the combination.
        level : float, optional
            Confidence level.
        **named : str
            Expressions with their labels: ``fit.lincom(ten_years="10*Age")``.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("remission ~ Age + CancerStage + (1 | DID)", me.load_dataset("hospital"))
        >>> list(fit.lincom("CancerStage[III] - CancerStage[II]", odds_ratios=True).columns)
        ['odds_ratio', 'std_err', 'z', 'p', 'ci_low', 'ci_high']
        """
        return inferences.combination_table(
            self.fit, expressions, named, self._level(level), linear=True, odds_ratios=odds_ratios
        )

    def nlcom(
        self, *expressions: str | Sequence[str] | Mapping[str, str], level: float | None = None, **named: str
    ) -> pd.DataFrame:
        """Functions of the parameters, variances included, with delta-method standard errors.

        Parameters
        ----------
        *expressions : str, sequence or mapping of label to str
            ``+ - * / ^``, numbers, parameter names and ``exp, log, ln, sqrt, expit, invlogit, logit, tanh, atanh,
            normal``. They are read by a parser of our own, never executed; derivatives are exact.
        level : float, optional
            Confidence level.
        **named : str
            Expressions with their labels: ``fit.nlcom(ratio="IL6 / CRP")``.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("remission ~ Age + (1 | DID)", me.load_dataset("hospital"))
        >>> icc = fit.nlcom(icc="DID:var(Intercept) / (DID:var(Intercept) + 3.289868133696453)")
        >>> bool(abs(icc.loc["icc", "std_err"] - fit.icc().loc["DID", "std_err"]) < 1e-12)
        True
        """
        return inferences.combination_table(self.fit, expressions, named, self._level(level), linear=False)

    def contrast(
        self,
        term: str,
        kind: Literal["reference", "adjacent", "mean", "helmert", "polynomial"] = "reference",
        adjust: Adjustment = "none",
        odds_ratios: bool = False,
        level: float | None = None,
        *,
        at: Mapping[str, Any] | None = None,
        by: str | Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Contrasts between the levels of a factor, on the log-odds scale.

        Parameters
        ----------
        term : str
            A factor of the fixed part. Where it is in interactions, the differences are averaged over the levels of
            the other factors, each with the same weight (as Stata does).
        kind : str
            Each level against the base (``reference``), the one before (``adjacent``), the mean of all (``mean``) or
            of those before (``helmert``); or trends over equally spaced levels (``polynomial``).
        adjust : str
            p-values and intervals for there being several: ``none``, ``bonferroni``, ``sidak``, ``holm`` (its
            intervals are Bonferroni's) or ``scheffe``. ``tukey`` is for pairs, see ``pwcompare``.
        odds_ratios : bool
        level : float, optional
        at : mapping, optional
            Values of predictors that the factor interacts with; needed for numbers: ``at={"age": 50}``.
        by : str or sequence of str, optional
            Factors whose levels are kept apart: differences at each of them. Adjusted within each.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("remission ~ CancerStage * FamilyHx + (1 | DID)", me.load_dataset("hospital"))
        >>> list(fit.contrast("CancerStage", by="FamilyHx").index)[:3]
        ['II vs I | FamilyHx=no', 'III vs I | FamilyHx=no', 'IV vs I | FamilyHx=no']
        """
        asked = contrasts.Compared(term, at, by, self._level(level), adjust, odds_ratios)
        return contrasts.contrast_table(self.fit, self.recipe, kind, asked)

    def pwcompare(
        self,
        term: str,
        adjust: Adjustment = "none",
        odds_ratios: bool = False,
        level: float | None = None,
        *,
        at: Mapping[str, Any] | None = None,
        by: str | Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """All differences between two levels of a factor, on the log-odds scale.

        Parameters
        ----------
        term : str
            A factor of the fixed part; in interactions as for ``contrast``.
        adjust : {"none", "bonferroni", "sidak", "holm", "scheffe", "tukey"}
            p-values and intervals for there being many; the intervals of ``holm`` are Bonferroni's.
        odds_ratios : bool
        level : float, optional
        at, by
            As for ``contrast``.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("remission ~ Age + CancerStage + (1 | DID)", me.load_dataset("hospital"))
        >>> list(fit.pwcompare("CancerStage", adjust="tukey").index)[:3]
        ['II vs I', 'III vs I', 'IV vs I']
        """
        asked = contrasts.Compared(term, at, by, self._level(level), adjust, odds_ratios)
        return contrasts.pairwise_table(self.fit, self.recipe, asked)

    def profile(self, parameter: str, points: int = 8, level: float | None = None) -> profiles.ProfileCurve:
        """Profile likelihood of a coefficient, a variance or a covariance: curve and interval, with ``plot()``.

        Parameters
        ----------
        parameter : str
        points : int
            Points of the curve on each side of the estimate.
        level : float, optional

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("remission ~ Age + (1 | HID)", me.load_dataset("hospital"))
        >>> profile = fit.profile("HID:var(Intercept)")
        >>> profile.ci_low < profile.estimate < profile.ci_high
        True
        """
        design = inferences.needs_data(self.design, "profile()")
        return profiles.curve(design, self.oim or self.fit, parameter, self._level(level), points)

    def confint(
        self,
        kind: Literal["wald", "profile"] = "wald",
        parameters: str | Sequence[str] | None = None,
        level: float | None = None,
    ) -> pd.DataFrame:
        """Confidence intervals (``ci_low, ci_high``), of all parameters or those named.

        Parameters
        ----------
        kind : {"wald", "profile"}
            ``wald`` as in ``conf_int``. ``profile``: where the log-likelihood, maximised over all else, has fallen by
            half a chi-squared quantile; better than Wald for variances and in small samples. Where the data allow a
            variance of 0, its lower limit is 0.
        parameters : str or sequence of str, optional
        level : float, optional
        """
        if kind not in ("wald", "profile"):
            raise ModelError(f"kind={kind!r} is not one of 'wald', 'profile'.")
        if kind == "wald":
            return profiles.wald_intervals(self.fit, parameters, self._level(level))
        design = inferences.needs_data(self.design, 'confint(kind="profile")')
        return profiles.profile_intervals(design, self.oim or self.fit, parameters, self._level(level))

    def scores(self) -> pd.DataFrame:
        """Score (derivative of the log-likelihood) of every top-level group in every parameter, at the estimates.

        The columns add to zero. Parameters at a boundary have none.
        """
        return inferences.score_table(inferences.needs_data(self.design, "scores()"), self.fit)

    # ------------------------------------------------------------------------------------------- what variances mean

    def median_odds_ratio(self, level: float | None = None) -> pd.DataFrame:
        """Median odds ratio of each grouping factor (``median_odds_ratio, std_err, ci_low, ci_high``).

        Two rows alike in all but their group, taken at random: half of the time the odds of one are at least this
        many times those of the other. With several levels, the two groups lie in the same group of the level above.
        """
        return measures.median_odds_ratios(self.fit, self._level(level))

    def interval_odds_ratio(
        self, term: str, group: str | None = None, by: float = 1.0, coverage: float = 0.8
    ) -> pd.DataFrame:
        """Interval odds ratio of a predictor that describes groups (``odds_ratio, ior_low, ior_high, opposed_share``).

        Each is followed by its delta-method standard error (``ior_low_se``). They say how well the interval is known;
        its width is how much groups differ.

        Parameters
        ----------
        term : str
            Its coefficient's name.
        group : str, optional
            The groups that it describes; all grouping factors by default.
        by : float
            Difference in the predictor.
        coverage : float
            The share of pairs of groups whose odds ratios lie within; ``opposed_share`` of them point the other way.
        """
        return measures.interval_odds_ratios(self.fit, term, group, by, coverage)

    def r2(self, std_err: bool = False, level: float | None = None) -> pd.Series | pd.DataFrame:
        """Explained share of the latent variance: ``marginal`` (fixed effects) and ``conditional`` (random ones too).

        Nakagawa and Schielzeth's, with pi^2/3 for the residual and random slopes by Johnson's extension;
        ``mckelvey_zavoina`` leaves the random effects out of the total. ``marginal_delta`` and ``conditional_delta``
        have the observation-level variance 1 / (p (1 - p)) in place of pi^2/3, p the share of events in the data
        (Nakagawa, Johnson and Schielzeth 2017; R's MuMIn takes p from a model without predictors instead).

        Parameters
        ----------
        std_err : bool
            A table with standard errors (delta method; predictors and p count as known) and intervals on the logit
            scale (``r2, std_err, ci_low, ci_high``).
        level : float, optional
            Confidence level of the intervals.
        """
        design = inferences.needs_data(self.design, "r2()")
        if std_err:
            return measures.r_squared_table(design, self.fit, self._level(level))
        return measures.r_squared(design, self.fit)

    def variance_partition(self) -> pd.DataFrame:
        """Latent variance by source (``variance, share``): fixed effects, each grouping factor, residual."""
        return measures.variance_partition(inferences.needs_data(self.design, "variance_partition()"), self.fit)

    def quality(
        self,
        threshold: float = 0.5,
        folds: int | None = None,
        hold: Literal["groups", "rows"] = "groups",
        seed: int = 0,
    ) -> Quality:
        """How well the model predicts: metrics with scikit-learn's names, in-sample or cross-validated.

        Parameters
        ----------
        threshold : float
            An event is predicted where the probability is at least this.
        folds : int, optional
            Cross-validation with so many folds, each predicted by a fit without it; in-sample by default.
        hold : {"groups", "rows"}
            Hold out whole top-level groups (how the model does for a new group), or rows within groups (for new rows
            of groups it knows).
        seed : int
            Of the folds.

        Returns
        -------
        Quality
            ``table`` (accuracy, recall, specificity, roc_auc, brier_score_loss, log_loss, calibration ...),
            ``confusion`` and ``predictions``, with the group's own effects where these are known and without.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("purchase ~ minutes + member + (1 | consumer)", me.load_dataset("retail"))
        >>> list(fit.quality().table.columns)
        ['with_group_effects', 'without_group_effects']
        """
        design = inferences.needs_data(self.design, "quality()")
        return judge(design, self.fit, threshold, folds, hold, seed)

    # ----------------------------------------------------------------------------------------------------- figures

    def plot_odds_ratios(self, ax: Any = None, level: float | None = None, intercept: bool = False) -> Any:
        """Forest plot of the odds ratios; returns the matplotlib Axes (``pip install melogit[plot]``).

        Parameters
        ----------
        ax : matplotlib Axes, optional
        level : float, optional
        intercept : bool
            Show the odds at the base levels too.
        """
        return figures.odds_ratios(self.fit, self._level(level), ax, intercept)

    def plot_variance_partition(self, ax: Any = None) -> Any:
        """Bar of the latent variance by source; returns the matplotlib Axes (``pip install melogit[plot]``)."""
        return figures.partition(self.variance_partition(), ax)

    # --------------------------------------------------------------------------------- the package maketables

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        """Coefficients and variances (``b, se, t, p, ci95l, ci95u``) for the package maketables."""
        return plugin.coefficient_table(self.fit)

    def __maketables_stat__(self, key: str) -> float | int | str | None:
        """Fit statistics for the package maketables."""
        return plugin.statistic(self.fit, self.glance().iloc[0].to_dict(), key)

    @property
    def __maketables_depvar__(self) -> str:
        """Name of the response, for the package maketables."""
        return self.fit.wording.response

    @property
    def __maketables_vcov_info__(self) -> dict[str, str]:
        """Kind of standard errors, for the package maketables."""
        return {"vcov_type": "robust" if inferences.is_robust(self.fit) else "oim"}

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        """Labels of the statistics, for the package maketables."""
        return plugin.LABELS

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        """Statistics that are shown unless others are asked for, for the package maketables."""
        return plugin.DEFAULT
