"""The methods of ``Results`` that answer questions about a finished fit: each calls the function that does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import pandas as pd

from melogit.inference import Wald
from melogit.results import inferences

if TYPE_CHECKING:
    from melogit.design import Design
    from melogit.fit.types import Fit

Adjustment = Literal["none", "bonferroni", "sidak", "holm", "scheffe", "tukey"]


class Questions:
    """Tests, combinations, contrasts and robust variances of a fit."""

    __slots__ = ()

    if TYPE_CHECKING:
        fit: Fit
        design: Design | None
        level: float

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
        >>> abs(icc.loc["icc", "std_err"] - fit.icc().loc["DID", "std_err"]) < 1e-12
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
    ) -> pd.DataFrame:
        """Contrasts between the levels of a factor, on the log-odds scale.

        Parameters
        ----------
        term : str
            A factor of the fixed part that is in no interaction.
        kind : str
            Each level against the base (``reference``), the one before (``adjacent``), the mean of all (``mean``) or
            of those before (``helmert``); or trends over equally spaced levels (``polynomial``).
        adjust : str
            p-values and intervals for there being several: ``none``, ``bonferroni``, ``sidak``, ``holm`` (its
            intervals are Bonferroni's) or ``scheffe``. ``tukey`` is for pairs, see ``pwcompare``.
        odds_ratios : bool
        level : float, optional
        """
        return inferences.contrast_table(self.fit, term, kind, self._level(level), adjust, odds_ratios)

    def pwcompare(
        self, term: str, adjust: Adjustment = "none", odds_ratios: bool = False, level: float | None = None
    ) -> pd.DataFrame:
        """All differences between two levels of a factor, on the log-odds scale.

        Parameters
        ----------
        term : str
            A factor of the fixed part that is in no interaction.
        adjust : {"none", "bonferroni", "sidak", "holm", "scheffe", "tukey"}
            p-values and intervals for there being many; the intervals of ``holm`` are Bonferroni's.
        odds_ratios : bool
        level : float, optional

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("remission ~ Age + CancerStage + (1 | DID)", me.load_dataset("hospital"))
        >>> list(fit.pwcompare("CancerStage", adjust="tukey").index)[:3]
        ['II vs I', 'III vs I', 'IV vs I']
        """
        return inferences.pairwise_table(self.fit, term, self._level(level), adjust, odds_ratios)

    def scores(self) -> pd.DataFrame:
        """Score (derivative of the log-likelihood) of every top-level group in every parameter, at the estimates.

        The columns add to zero. Parameters at a boundary have none.
        """
        return inferences.score_table(inferences.needs_data(self.design, "scores()"), self.fit)
