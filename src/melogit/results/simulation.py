"""``me.simulate``: new responses from a fitted model, as a table with the index of the data."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from melogit.effects.rows import EffectRows
from melogit.errors import DataError, ModelError
from melogit.fit.types import Fit
from melogit.formula.newdata import NewRows
from melogit.results.after import Model, new_rows, posterior_of, rows_of_fit
from melogit.results.results import Results
from melogit.simulation.responses import draw_responses

MAX_CELLS = 500_000_000


def simulate(
    fit: Results,
    n: int = 1,
    newdata: Any = None,
    *,
    groups: Literal["new", "posterior"] = "new",
    seed: int | None = None,
    trials: str | int | None = None,
    offset: ArrayLike | None = None,
) -> pd.DataFrame:
    """Draw new responses from a fitted model.

    Parameters
    ----------
    fit : Results
    n : int
        Number of responses to draw for every row.
    newdata : data frame or path, optional
        By default the rows of the fit. Rows of ``newdata`` with the same group label share their random effects. Rows
        that lack a value get NaN.
    groups : {"new", "posterior"}
        ``new``: all random effects are drawn anew, as for other groups like these. ``posterior``: those of the fitted
        groups are drawn from what is known of them after their data (a normal distribution; the estimates are taken
        as exact), those of other groups anew.
    seed : int, optional
        Column j depends on ``(seed, j)`` alone, so that more columns begin with the same ones. One is chosen where
        none is given; ``table.attrs["seed"]`` holds it.
    trials : str or int, optional
        For new data of a model of counts: the column with the number of trials, or that number. By default the column
        that the fit was given as ``trials=``.
    offset : array, optional
        For new data of a model whose offset was given as numbers.

    Returns
    -------
    DataFrame
        A column per draw (``sim_1``, ``sim_2``, ...), with the index of the data: 1 for the event that is modelled
        and 0 otherwise, or the number of successes.

    Raises
    ------
    ModelError, DataError
        Rows with frequency weights (their copies would be drawn alike); counts without trials; no data.

    Examples
    --------
    >>> import melogit as me
    >>> fit = me.melogit("purchase ~ minutes + (1 | consumer)", me.load_dataset("retail"))
    >>> drawn = me.simulate(fit, 3, seed=1)
    >>> drawn.shape, sorted(drawn["sim_1"].unique().tolist())
    ((3199, 3), [0, 1])
    """
    if not isinstance(fit, Results):
        raise ModelError(f"simulate needs a fitted model, and this is a {type(fit).__name__}: give what melogit gave.")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ModelError(f"n={n!r} must be a whole number, 1 or more: how many responses to draw for every row.")
    if groups not in ("new", "posterior"):
        raise ModelError(
            f"groups={groups!r} is not known. Use 'new' (random effects drawn anew) or 'posterior' (those of the "
            "fitted groups drawn from what is known of them)."
        )
    seed = checked_seed(seed)
    model = Model(fit.fit, fit.design, fit.recipe, fit.posterior)
    if newdata is None:
        rows, counts, codes, index, keep, total = _fitted(model, trials, offset)
    else:
        rows, counts, codes, index, keep, total = _new(model, newdata, trials, offset)
    if total * int(n) > MAX_CELLS:
        raise ModelError(f"{n:,} draws of {total:,} rows are too many for one table. Draw some at a time.")
    posterior = None
    if groups == "posterior":
        posterior = posterior_of(model, "Responses of the fitted groups", slopes=False)
    drawn = draw_responses(rows, counts, codes, fit.fit, posterior, seed, int(n))
    if keep is not None:
        wide = np.full((total, int(n)), np.nan)
        wide[keep] = drawn
        drawn = wide
    table = pd.DataFrame(drawn, index=index, columns=[f"sim_{j}" for j in range(1, int(n) + 1)])
    table.attrs["seed"] = seed
    return table


def checked_seed(seed: Any) -> int:
    """Refuse a seed that is none, and choose one where there is none."""
    if seed is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ModelError(f"seed={seed!r} must be a whole number, 0 or more.")
    return int(seed)


Rows = tuple[EffectRows, NDArray[np.int64], list[NDArray[np.int64]], pd.Index | None, NDArray[np.int64] | None, int]


def _fitted(model: Model, trials: Any, offset: Any) -> Rows:
    if trials is not None or offset is not None:
        raise ModelError("trials= and offset= go with newdata; the rows of the fit have their own.")
    design, rows = rows_of_fit(model, "Simulated responses")
    if np.any(design.weights != 1):
        raise ModelError(
            "The rows of this model have frequency weights, and the copies that a row stands for would be simulated "
            "alike. Write the rows out, or give counts with trials=; or name the rows to simulate by newdata=."
        )
    index = pd.Index(design.row_labels) if len(design.row_labels) else None
    codes = [term.factor.codes.astype(np.int64) for term in design.terms]
    return rows, design.trials.astype(np.int64), codes, index, None, rows.n


def _new(model: Model, newdata: Any, trials: Any, offset: Any) -> Rows:
    trials = trials if trials is not None else _trials_of(model.fit)
    extra = [trials] if isinstance(trials, str) else []
    new, rows = new_rows(model, newdata, groups=True, what="Simulated responses", extra=extra, offset=offset)
    sizes = [len(term.levels) for term in model.fit.terms]
    codes = [_numbered(*level) for level in zip(new.codes, new.labels, sizes, strict=True)]
    return rows, _counts(new, trials), codes, new.rows.index, new.rows.keep, new.rows.n_read


def _numbered(fitted: NDArray[np.int64], labels: NDArray, size: int) -> NDArray[np.int64]:
    """Number the groups: fitted ones as in the fit, so that its own rows as new data give the same draws."""
    others = np.flatnonzero(fitted < 0)
    out = np.array(fitted, dtype=np.int64)
    if len(others):
        numbers = np.unique(labels[others].astype(str), return_inverse=True)[1]
        out[others] = size + np.asarray(numbers, dtype=np.int64)
    return out


def _trials_of(fit: Fit) -> str | int:
    """The trials as the fit was given them; 1 for a 0/1 response."""
    text = fit.wording.trials
    if text is not None:
        return int(text) if text.isdigit() else text
    if fit.wording.response.startswith("cbind("):
        raise ModelError(
            f"The response of this model is {fit.wording.response}, and the new data do not say how many trials a row "
            "is to have. Give trials=, a column or a number."
        )
    return 1


def _counts(new: NewRows, trials: str | int) -> NDArray[np.int64]:
    n = len(new.X)
    if isinstance(trials, str):
        values = np.asarray(pd.to_numeric(new.extra[trials], errors="coerce"), dtype=np.float64)
    else:
        values = np.full(n, trials, dtype=np.float64)
    wrong = ~np.isfinite(values) | (values < 0) | (values != np.rint(values))
    if wrong.any():
        where = new.rows.name(int(wrong.argmax()))
        raise DataError(f"{where}: the number of trials must be a whole number, 0 or more (trials={trials!r}).")
    return values.astype(np.int64)
