"""The front door: a formula and data in, results out."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

from numpy.typing import ArrayLike

from melogit.design import Design
from melogit.errors import ModelError
from melogit.fit import Settings, fit_design
from melogit.fit.settings import MAX_POINTS, METHODS
from melogit.formula import build
from melogit.inference import critical_value
from melogit.report.progress import iteration_display
from melogit.results import Results
from melogit.results.files import load_results
from melogit.results.inferences import column_of, with_vce

Method = Literal["mvaghermite", "mcaghermite", "ghermite", "laplace", "simulated"]
Points = int | Sequence[int] | Literal["auto"]


def melogit(
    formula: str,
    data: Any,
    *,
    method: Method | None = None,
    intpoints: Points = "auto",
    vce: Literal["oim", "robust", "cluster"] = "oim",
    cluster: Any = None,
    covariance: str | Mapping[str, str] | None = None,
    event: object = None,
    trials: str | int | None = None,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    missing: Literal["drop", "error"] = "drop",
    level: float = 0.95,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
    threads: int | None = None,
    progress: bool | None = None,
) -> Results:
    """Fit a mixed-effects logistic regression by maximum likelihood.

    Parameters
    ----------
    formula : str
        ``"remission ~ age + stage + (1 | doctor)"``: the fixed part in Wilkinson notation, random parts as in R's
        lme4. ``cbind(successes, failures) ~ ...`` for counts.
    data : data frame or path
        pandas, polars, pyarrow table, DuckDB relation, or a .csv, .parquet, .dta or .sav file.
    method : {"mvaghermite", "mcaghermite", "ghermite", "laplace", "simulated"}, optional
        How the random effects are integrated out: mean-variance adaptive, mode-curvature adaptive or non-adaptive
        Gauss-Hermite quadrature, or the Laplace approximation. By default whatever reaches the accuracy asked for
        fastest, or ``mvaghermite`` if ``intpoints`` is given. Where groups cross, ``laplace`` (the default, with an
        estimate of its error) or ``simulated``, exact maximum likelihood by importance sampling.
    intpoints : int, sequence of int, or "auto"
        Integration points per random effect, for all levels of nesting or one number each, top level first.
        ``"auto"`` raises them until neither the log-likelihood nor any parameter moves by more than ``tolerance``.
    vce : {"oim", "robust", "cluster"}
        Standard errors from the observed information; or from the scores of the top-level groups (``robust``) or of
        ``cluster`` (a sandwich), which hold where the groups do not vary as the model has it. Crossed groups need
        ``cluster``, around whole groups of every factor.
    cluster : str, Series or array, optional
        With ``vce="cluster"``: a column of the data, or a value per row. Clusters at or above the top level.
    covariance : str or mapping, optional
        Structure of the random effects' covariance (``unstructured``, ``independent``, ``identity``,
        ``exchangeable``), for all terms or by group.
    event : optional
        Value of the response whose probability is modelled, where it is not coded 0/1.
    trials : str or int, optional
        Column with the number of trials of each row, or that number.
    weights, offset : str or array, optional
        Frequency weights (3 stands for three such rows), and what is added to the linear predictor.
    missing : {"drop", "error"}
        What to do with rows that lack a value.
    level : float
        Confidence level of the tables.
    tolerance : float
        Accuracy of the integration: in standard errors, and in units of log-likelihood.
    max_iterations : int
        Limit of the optimiser's iterations.
    threads : int, optional
        Threads to use; all cores by default. The result does not depend on it.
    progress : bool, optional
        Show the iterations on standard error. By default, in a terminal, when the fit lasts longer than a second.

    Returns
    -------
    Results

    Raises
    ------
    FormulaError, DataError, ModelError
        With what is wrong, in the words of the formula and the data, and what to do about it.

    Examples
    --------
    >>> import melogit as me
    >>> fit = me.melogit("purchase ~ minutes + member + (1 | consumer)", me.load_dataset("retail"))
    >>> fit.converged, fit.integration.accurate
    (True, True)
    >>> list(fit.odds_ratios().index)
    ['Intercept', 'minutes', 'member[yes]']
    """
    critical_value(level)
    _check_vce(vce, cluster)
    _check_choice("missing", missing, ("drop", "error"))
    _check_choice("progress", progress, (None, True, False))
    checked = {
        "method": _method(method),
        "intpoints": _points(intpoints, method),
        "tolerance": _tolerance(tolerance),
        "max_iterations": _positive("max_iterations", max_iterations),
        "threads": None if threads is None else _positive("threads", threads),
    }
    columns = {"trials": trials, "weights": weights, "offset": offset}
    design, recipe = build(formula, data, covariance=covariance, event=event, missing=missing, **columns)
    _check_levels(checked["intpoints"], design)
    with iteration_display(progress) as show:
        fit = fit_design(design, Settings(**checked, progress=show))
    results = Results(fit, design, level, recipe=recipe)
    return results if vce == "oim" else with_vce(results, column_of(data, cluster))


def load(path: str | os.PathLike[str]) -> Results:
    """Read a model that ``Results.save`` wrote.

    Everything works as before except what needs the data, which the file does not hold: predictions of new data work,
    and margins where rows are given (``data=``).

    Raises
    ------
    DataError
        If the file is missing, damaged (the message names the section), foreign, or from a newer version.

    Examples
    --------
    >>> import tempfile
    >>> import melogit as me
    >>> fit = me.melogit("purchase ~ minutes + (1 | consumer)", me.load_dataset("retail"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fit.save(f"{folder}/model.json")
    ...     print(str(me.load(f"{folder}/model.json")) == str(fit))
    True
    """
    return load_results(path)


# ------------------------------------------------------------------------------------------- checks of options


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ModelError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}.")


def _check_vce(vce: Any, cluster: Any) -> None:
    _check_choice("vce", vce, ("oim", "robust", "cluster"))
    if (cluster is None) == (vce == "cluster"):
        raise ModelError(
            'vce="cluster" and cluster= go together: vce="cluster", cluster="hospital" for standard errors that allow '
            'for any dependence within hospitals. vce="robust" clusters by the top level of the model.'
        )


def _method(method: Any) -> str | None:
    if method is None or method in METHODS:
        return method
    close = get_close_matches(method, METHODS, n=1) if isinstance(method, str) else []
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise ModelError(f"method={method!r} is not one of {', '.join(map(repr, METHODS))}.{hint}")


def _whole(value: Any) -> int | None:
    """Give the value as an int if it is one (NumPy's included); True and 2.0 are not."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _points(intpoints: Any, method: Any) -> int | tuple[int, ...] | Literal["auto"]:
    if isinstance(intpoints, str) and intpoints == "auto":
        return "auto"
    several = isinstance(intpoints, tuple | list)
    points = tuple(map(_whole, intpoints)) if several else (_whole(intpoints),)
    if not points or any(value is None or not 1 <= value <= MAX_POINTS for value in points):
        raise ModelError(
            f"intpoints={intpoints!r} cannot be used: give a whole number from 1 to {MAX_POINTS}, one such number "
            'for each level of nesting, top first, or "auto".'
        )
    if method == "laplace" and any(value != 1 for value in points):
        raise ModelError(
            f'method="laplace" has a single integration point, and intpoints={intpoints!r} asks for more. '
            'Leave intpoints out, or use method="mcaghermite", which is the same with more points.'
        )
    whole = tuple(value for value in points if value is not None)
    return whole if several else whole[0]


def _check_levels(intpoints: Any, design: Design) -> None:
    if isinstance(intpoints, tuple) and len(intpoints) != len(design.terms):
        names = ", ".join(term.factor.name for term in design.terms)
        raise ModelError(
            f"intpoints={intpoints!r} has {len(intpoints)} numbers, and the model has {len(design.terms)} grouping "
            f"factors ({names}). Give one number for each, in that order, or a single one for all."
        )


def _positive(name: str, value: Any) -> int:
    whole = _whole(value)
    if whole is None or whole < 1:
        raise ModelError(f"{name}={value!r} must be a whole number, 1 or more.")
    return whole


def _tolerance(tolerance: Any) -> float:
    if isinstance(tolerance, bool | str) or not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        raise ModelError(
            f"tolerance={tolerance!r} must be a number between 0 and 1: the accuracy asked of the integration, in "
            "standard errors and in units of log-likelihood (default 0.001)."
        )
    return float(tolerance)
