"""The methods of ``Results`` that work on rows: each calls the function that does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from numpy.typing import ArrayLike

from melogit.results import after, answers, bridge, updates
from melogit.results.curves import draw_groups
from melogit.results.figures_margins import draw_caterpillar
from melogit.results.margins import Margins

if TYPE_CHECKING:
    from typing import Self

    from melogit.design import Design
    from melogit.effects.posterior import Posterior
    from melogit.fit.types import Fit
    from melogit.formula.recipe import Recipe

Kind = Literal["mu", "mu_fixed", "marginal", "xb", "eta"]


class Predictions:
    """Predictions, residuals, margins and posteriors of new groups."""

    __slots__ = ()

    if TYPE_CHECKING:
        fit: Fit
        design: Design | None
        level: float
        recipe: Recipe | None
        posterior: Posterior | None

        def _level(self, level: float | None) -> float: ...

    def predict(
        self,
        newdata: Any = None,
        kind: Kind = "mu",
        *,
        std_err: bool = False,
        level: float | None = None,
        draws: int | None = None,
        seed: int | None = None,
        offset: ArrayLike | None = None,
    ) -> pd.Series | pd.DataFrame:
        """Predict rows: those of the fit, or new ones.

        Parameters
        ----------
        newdata : data frame or path, optional
            By default the rows of the fit. Rows that lack a value get NaN.
        kind : {"mu", "mu_fixed", "marginal", "xb", "eta"}
            ``mu``: probability at the posterior means of the row's groups; what is not known of the row (a new
            doctor, in a known hospital or a new one) is averaged over. ``mu_fixed``: probability with all random
            effects 0. ``marginal``: probability averaged over all random effects. ``xb``: linear predictor of the
            fixed part, offset included. ``eta``: linear predictor with the posterior means, 0 for new groups.
        std_err : bool
            Return a table with ``std_err, ci_low, ci_high`` too: delta method over fixed effects and variances, and
            for ``mu`` and ``eta`` the posterior uncertainty of the groups' effects. Intervals of probabilities are
            symmetric in the log odds.
        level : float, optional
        draws : int, optional
            Return that many draws from the approximate distribution of the prediction in place of it, one column
            each; ``seed`` makes them repeatable.
        offset : array, optional
            For new data of a model whose offset was given as numbers.

        Returns
        -------
        Series or DataFrame
            With the index of the data.

        Raises
        ------
        DataError
            A column that is missing or of another type, a level of a factor that the fitted data did not have.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("purchase ~ minutes + (1 | consumer)", me.load_dataset("retail"))
        >>> fit.predict({"minutes": [10.0], "consumer": ["nobody yet"]}).round(3).tolist()
        [...]
        """
        model = after.Model(self.fit, self.design, self.recipe, self.posterior)
        how = answers.Prediction(kind, std_err, self._level(level), draws, seed, offset)
        return answers.predict_rows(model, newdata, how)

    def residuals(
        self,
        kind: Literal["response", "pearson", "deviance", "anscombe", "quantile"] = "response",
        *,
        fitted: Kind = "mu",
        seed: int | None = None,
    ) -> pd.Series:
        """Compute residuals of the rows of the fit.

        Parameters
        ----------
        kind : {"response", "pearson", "deviance", "anscombe", "quantile"}
            ``quantile`` (randomised, ``seed``) is standard normal if the model is right and ``fitted`` describes the
            rows as they arose.
        fitted : {"mu", "mu_fixed", "marginal"}
            The probabilities that outcomes are compared with.

        Returns
        -------
        Series
            With the index of the data; NaN for rows with zero trials.
        """
        model = after.Model(self.fit, self.design, self.recipe, self.posterior)
        return answers.find_residuals(model, kind, fitted, seed)

    def update(
        self,
        newdata: Any,
        *,
        trials: str | int | None = None,
        weights: str | ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> Self:
        """Learn about groups from new rows, with the estimates as they are: nothing is refitted.

        Parameters
        ----------
        newdata : data frame or path
            Rows with outcomes: of new groups, and of groups of the fit, whose new rows are taken together with those
            they had.
        trials : str or int, optional
            As in the fit, for counts of successes.
        weights : str or array, optional
            Frequency weights of the new rows; by default the column that the fit was given. 1 for none.
        offset : array, optional
            For a model whose offset was given as numbers.

        Returns
        -------
        Results
            The same estimates; ``random_effects()`` and ``predict`` know what the new rows say. Everything else
            (``nobs``, margins over the rows of the fit ...) is that of the fit.

        Raises
        ------
        DataError, ModelError
            A group that lies in another group than in the fit; more rows of a known group where the model was read from
            a file, or was updated before.
        """
        model = after.Model(self.fit, self.design, self.recipe, self.posterior)
        return updates.updated(self, model, newdata, updates.Given(trials, weights, offset))

    def margins(
        self,
        at: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        dydx: str | Sequence[str] | None = None,
        eyex: str | Sequence[str] | None = None,
        eydx: str | Sequence[str] | None = None,
        dyex: str | Sequence[str] | None = None,
        over: str | Sequence[str] | None = None,
        contrast: Literal["pairwise", "reference", "adjacent"] | None = None,
        adjust: Literal["none", "bonferroni", "sidak", "holm", "scheffe", "tukey"] = "none",
        kind: Literal["marginal", "fixed", "conditional"] = "marginal",
        atmeans: bool = False,
        weights: str | ArrayLike | None = None,
        data: Any = None,
        intpoints: int | None = None,
        level: float | None = None,
    ) -> Margins:
        """Average predictions or effects over the rows of the fit, as Stata's ``margins`` does.

        Parameters
        ----------
        at : dict or list of dict, optional
            Values that predictors are set to in every row: a number or level, several, ``"levels"`` (all levels of a
            factor), ``"mean"``, ``"median"``, ``"min"``, ``"max"`` or a percentile such as ``"p25"``. All
            combinations of a dict are used; a list of dicts gives several grids.
        dydx, eyex, eydx, dyex : str or list of str, optional
            Average effects of these predictors (``"*"``: all) in place of predictions: derivatives for numbers,
            differences from the base level for factors; or elasticities and semi-elasticities.
        over : str or list of str, optional
            Average within the groups of these columns: predictors or grouping factors, with ``data`` any column.
        contrast : {"pairwise", "reference", "adjacent"}, optional
            Return the differences of the margins; see ``Margins.contrast``.
        adjust : str
            Adjustment of the contrasts for their number.
        kind : {"marginal", "fixed", "conditional"}
            Averaged over the random effects; with random effects 0; or at the posterior means of the groups (with
            their uncertainty).
        atmeans : bool
            Predict once, with all other predictors at their means (factors at the shares of their levels).
        weights : str or array, optional
            Weights of the rows in the average. By default the frequency weights of the fit.
        data : data frame or path, optional
            Average over these rows instead.
        intpoints : int, optional
            Gauss-Hermite points of the average over the random effects; 7 gives Stata's digits. By default exact.
        level : float, optional

        Returns
        -------
        Margins
            ``table``, ``cov``, ``contrast()``, ``effect()``, ``plot()``.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("purchase ~ minutes + member + (1 | consumer)", me.load_dataset("retail"))
        >>> list(fit.margins(at={"member": "levels"}).table.columns)
        ['member', 'margin', 'std_err', 'z', 'p', 'ci_low', 'ci_high']
        """
        measures = {"dydx": dydx, "eyex": eyex, "eydx": eydx, "dyex": dyex}
        asked = after.Asked(at, measures, over, kind, atmeans, weights, data, intpoints, self._level(level))
        found = after.find_margins(after.Model(self.fit, self.design, self.recipe, self.posterior), asked)
        return found if contrast is None else found.contrast(contrast, adjust)

    def for_marginaleffects(self) -> Any:
        """Wrap the model for the ``marginaleffects`` package: ``avg_slopes(fit.for_marginaleffects())`` and the like.

        Predictions are averaged over the random effects, and the covariance is that of fixed effects and variances,
        so that its population-averaged results are those of ``margins``. Its derivatives are numerical.
        """
        return bridge.as_marginaleffects(after.Model(self.fit, self.design, self.recipe, self.posterior))

    def plot_random_effects(
        self, group: str | None = None, effect: str | None = None, level: float | None = None, ax: Any = None
    ) -> Any:
        """Draw random effects in order with their intervals (caterpillar plot).

        Parameters
        ----------
        group : str, optional
            Grouping factor; by default the lowest.
        effect : str, optional
            By default the intercept.
        level : float, optional
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        return draw_caterpillar(self.fit, group, effect, self._level(level), ax)

    def plot_groups(
        self,
        x: str,
        group: str | None = None,
        at: Mapping[str, Any] | None = None,
        *,
        most: int = 200,
        level: float | None = None,
        ax: Any = None,
    ) -> Any:
        """Draw each group's predicted probability against a predictor (spaghetti plot).

        Parameters
        ----------
        x : str
            A numeric predictor.
        group : str, optional
            Grouping factor; by default the lowest. Groups stand with their own effects and those of the groups that
            they lie in; effects below them are averaged over.
        at : dict, optional
            Values of other predictors; by default their means and commonest levels.
        most : int
            Of more groups than this, so many are drawn, evenly spaced in the order of their effects.
        level : float, optional
            Of the interval around the average over all groups.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        model = after.Model(self.fit, self.design, self.recipe, self.posterior)
        return draw_groups(model, x, group, dict(at or {}), most, self._level(level), ax)
