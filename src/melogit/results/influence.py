"""``fit.influence()``: what every row or group does to the estimates, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.diagnostics.context import Context, NotChecked, needs_maximum
from melogit.diagnostics.exact import codes_of
from melogit.diagnostics.influence import Influenced, in_context, influence, without_units
from melogit.diagnostics.robust import bounded_fit
from melogit.errors import DataError, ModelError
from melogit.inference.resampling import level_named
from melogit.inference.wald import z_and_p
from melogit.report.progress import step_display
from melogit.results.inferences import needs_data

if TYPE_CHECKING:
    from melogit.design import Design
    from melogit.fit.types import Fit

SHOWN = 10


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Influence:
    """What leaving out each unit (row or group) does to the estimates.

    Attributes
    ----------
    unit : str
        ``row``, or the name of the grouping factor.
    table : DataFrame
        One row per unit. For rows: ``observed`` (share of trials), ``fitted`` (probability with the groups' effects),
        ``leverage``, ``pearson`` and ``deviance`` (standardised residuals), ``own_probability`` (probability of the
        outcome given all other rows). For groups: ``rows`` and ``observed``. For both: ``cook_fixed`` and
        ``cook_variance`` (Cook's distance of the fixed effects and of the variance parameters), ``max_dfbetas`` (the
        largest in size) and ``most_moved`` (whose it is), and ``exact`` (refitted, rather than by one Newton step).
    dfbetas : DataFrame
        Units by parameters: estimate with all data minus estimate without the unit, in standard errors of the former.
    change : DataFrame
        Units by parameters: estimate without the unit minus estimate with all data.
    odds_ratios : DataFrame
        Units by fixed effects: odds ratio without the unit.
    failures : dict
        Units whose refit failed, and why.
    """

    unit: str
    table: pd.DataFrame
    dfbetas: pd.DataFrame
    change: pd.DataFrame
    odds_ratios: pd.DataFrame
    failures: dict[str, str]
    _context: Context
    _found: Influenced

    def top(self, n: int = SHOWN) -> pd.DataFrame:
        """The most influential units, by how far they move all estimates together, in standard errors."""
        return self.table.iloc[self._found.order[:n]]

    def without(self, units: Any = None, *, top: int | None = None) -> pd.DataFrame:
        """Fit again without some units, all left out at once, and put both fits side by side.

        Parameters
        ----------
        units : label or sequence of labels, optional
            As in the index of ``table``.
        top : int, optional
            In their place: so many of the most influential units.

        Returns
        -------
        DataFrame
            One row per parameter: estimate, standard error and p-value with all data and without the units, and the
            change in standard errors.
        """
        if (units is None) == (top is None):
            raise ModelError("Say which units to leave out: without(['150', '230']), or without(top=3).")
        at = self._found.order[: int(top)] if top is not None else self._places(units)
        found = without_units(self._context, self._found.level, at)
        return side_by_side(self._context.fit, found.params, np.sqrt(np.diag(found.cov)), "without")

    def _places(self, units: Any) -> NDArray[np.int64]:
        wanted = [units] if isinstance(units, (str, int, float, np.generic)) else list(units)
        known = {str(label): k for k, label in enumerate(self._found.labels)}
        for label in wanted:
            if str(label) not in known:
                raise DataError(f"There is no {self.unit} {label!r} in this table; its index shows what there is.")
        if not wanted:
            raise DataError("No units are named. Give some labels of the table's index.")
        return np.array([known[str(label)] for label in wanted], dtype=np.int64)

    def __repr__(self) -> str:
        shown = self.top().to_string(float_format=lambda v: f"{v:.4g}")
        head = f"Influence of {len(self.table):,} {'rows' if self.unit == 'row' else 'groups of ' + self.unit}"
        return f"{head}, the most influential first\n\n{shown}"

    def _repr_html_(self) -> str:
        return self.top().to_html(float_format=lambda v: f"{v:.4g}")


def side_by_side(fit: Fit, params: np.ndarray, std_err: np.ndarray, name: str) -> pd.DataFrame:
    """Two sets of estimates, and how far apart they are in the first one's standard errors."""
    se = np.sqrt(np.diag(fit.cov))
    p = fit.n_fixed
    columns: dict[str, np.ndarray] = {}
    for suffix, value, error in (("all", fit.params, se), (name, params, std_err)):
        pvalue = np.full(len(value), np.nan)
        pvalue[:p] = z_and_p(value[:p], error[:p])[1]
        columns |= {f"estimate_{suffix}": value, f"std_err_{suffix}": error, f"p_{suffix}": pvalue}
    columns["change_in_se"] = (params - fit.params) / se
    return pd.DataFrame(columns, index=list(fit.names))


def tabulate(design: Design, context: Context, found: Influenced, unit: str) -> Influence:
    """Lay out what was found as tables."""
    fit, moved = context.fit, found.moved
    names, p = list(fit.names), context.fit.n_fixed
    index = pd.Index(found.labels, name=unit)
    columns: dict[str, Any] = {}
    if found.level is None:
        index = pd.Index(design.row_labels if len(design.row_labels) else np.arange(design.n_rows))
        columns["observed"] = _share(design.y, design.trials)
    else:
        codes, N = codes_of(design, found.level), len(found.labels)
        columns["rows"] = np.bincount(codes, minlength=N)
        totals = [np.bincount(codes, weights=design.weights * v, minlength=N) for v in (design.y, design.trials)]
        columns["observed"] = _share(*totals)
    if found.rows is not None:
        columns |= {
            "fitted": found.rows.fitted,
            "leverage": found.rows.leverage,
            "pearson": found.rows.pearson,
            "deviance": found.rows.deviance,
            "own_probability": found.rows.own_probability,
        }
    size = np.nan_to_num(np.abs(moved.dfbetas), nan=-1.0)
    worst = size.argmax(axis=1)
    columns |= {
        "cook_fixed": moved.cook_fixed,
        "cook_variance": moved.cook_variance,
        "max_dfbetas": moved.dfbetas[np.arange(len(worst)), worst],
        "most_moved": np.array(names, dtype=object)[worst],
        "exact": found.exact,
    }
    refits = found.refits
    return Influence(
        unit,
        pd.DataFrame(columns, index=index),
        pd.DataFrame(moved.dfbetas, index=index, columns=names),
        pd.DataFrame(moved.change, index=index, columns=names),
        pd.DataFrame(np.exp(fit.params[:p] + moved.change[:, :p]), index=index, columns=names[:p]),
        {} if refits is None else {str(found.labels[k]): why for k, why in refits.failures},
        context,
        found,
    )


def _share(events: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(events, total, out=np.full(len(total), np.nan), where=total > 0)


class Influencing:
    """Influence of rows and groups."""

    __slots__ = ()

    if TYPE_CHECKING:
        fit: Fit
        design: Design | None
        oim: Fit | None

    def influence(
        self, group: str | None = None, *, exact: bool | int = False, progress: bool | None = None
    ) -> Influence:
        """Measure what leaving out each row, or each group, does to the estimates.

        Parameters
        ----------
        group : str, optional
            A grouping factor (``"DID"``): leave out its groups one at a time. Without it: rows.
        exact : bool or int
            False: by one Newton step from the exact score and information of the remaining data, without refitting.
            True: refit the model without each unit. A number: refit without each of so many most influential ones.
        progress : bool, optional
            Show on standard error how far refits are; by default in a terminal, after a second.

        Returns
        -------
        Influence

        Raises
        ------
        ModelError
            An unknown group; a model read from a file, which does not hold the data; a fit without a maximum.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("purchase ~ minutes + member + (1 | consumer)", me.load_dataset("retail"))
        >>> found = fit.influence("consumer")
        >>> found.top(3)["rows"].tolist()
        [10, 11, 12]
        >>> list(found.without(top=1).columns)[:2]
        ['estimate_all', 'std_err_all']
        """
        design = needs_data(self.design, "influence()")
        if not isinstance(exact, (bool, int, np.integer)) or (not isinstance(exact, bool) and exact < 1):
            raise ModelError(f"exact={exact!r} must be True, False, or a number of units to refit without.")
        level = None if group is None else level_named(design, group)
        unit = "row" if level is None else design.terms[level].factor.name
        with step_display(progress, "Leaving out units") as tell:
            context = in_context(design, self.oim or self.fit, tell=tell)
            try:
                needs_maximum(context.fit)
                found = influence(context, level, exact if isinstance(exact, bool) else int(exact))
            except NotChecked as why:
                raise ModelError(str(why)) from why
        return tabulate(design, context, found, unit)

    def robust_fit(self) -> pd.DataFrame:
        """Fit with the influence of every top-level group bounded, beside the maximum-likelihood fit.

        Groups that move the estimates far more than others are given less weight (a bounded-influence estimator on
        the scores of groups; standard errors are a sandwich). It is a comparison, no replacement: where both agree, no
        few groups make the result.

        Returns
        -------
        DataFrame
            One row per parameter: estimate, standard error and p-value of both, and the change in standard errors. The
            weights of the groups that were given less than 1 are in ``.attrs["weights"]``.
        """
        design = needs_data(self.design, "robust_fit()")
        fit = self.oim or self.fit
        found = bounded_fit(design, fit)
        table = side_by_side(fit, found.params, found.std_err, "bounded")
        down = np.flatnonzero(found.weights < 1)
        levels = design.terms[0].factor.levels
        table.attrs["weights"] = {str(levels[k]): float(found.weights[k]) for k in down}
        return table
