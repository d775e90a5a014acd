"""``stata``: a command in, results out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from melogit import api
from melogit.errors import DataError, FormulaError
from melogit.results import Results
from melogit.stata.bootstrap import read_repetition, repeated
from melogit.stata.data import Dataset, open_data
from melogit.stata.expressions import condition, row_range
from melogit.stata.factors import find_column
from melogit.stata.fitted import StataResults, Wording, dressed
from melogit.stata.grammar import ESTIMATION, Command, parse_command
from melogit.stata.model import Model, percent, read_model
from melogit.stata.translate import translate


def fit_command(command: Command, data: Dataset, seed: int | None = None) -> StataResults:
    """Fit the model of an estimation command, and repeat it on samples where ``bootstrap`` stands before it.

    Parameters
    ----------
    command : Command
    data : Dataset
    seed : int, optional
        Of the bootstrap, where the command names none.

    Raises
    ------
    FormulaError, DataError, ModelError
    """
    model = read_model(command)
    repetition = None if command.bootstrap is None else read_repetition(command, model, data)
    if repetition is not None:
        model = repetition.model
    used = chosen_rows(command, data)
    translation = translate(model, used)
    options = {**translation.options, **_vce(model, used)}
    results = api.melogit(translation.formula, used.frame, **options)
    wording = Wording(
        command=command.text.strip(),
        name=command.name,
        odds_ratios=model.odds_ratios,
        log=model.log,
        labels=translation.labels,
        notes=translation.notes,
    )
    fit = dressed(results, wording)
    return fit if repetition is None else repeated(fit, repetition, seed)


def chosen_rows(command: Command, data: Dataset) -> Dataset:
    """Apply ``if`` and ``in``."""
    main = command.main
    keep = np.ones(len(data.frame), dtype=bool)
    if main.within:
        keep &= row_range(command.text, main.within, len(keep))
    if main.condition:
        keep &= condition(command.text, main.condition, data)
    if keep.all():
        return data
    if not keep.any():
        words = " and ".join(w for w, tokens in (("if", main.condition), ("in", main.within)) if tokens)
        raise DataError(f"No rows are left: '{words}' of the command excludes all {len(keep):,} rows of the data.")
    return data.rows(keep)


def _vce(model: Model, data: Dataset) -> dict[str, Any]:
    """Standard errors other than the default, in the words of ``melogit.melogit``."""
    if model.vce == "oim":
        return {}
    if model.cluster is None:
        return {"vce": model.vce}
    name = find_column(model.command.text, model.cluster, data.names)
    return {"vce": model.vce, "cluster": name}


def stata(command: str, data: Any) -> StataResults:
    """Fit a model that is written as a Stata command.

    Parameters
    ----------
    command : str
        ``melogit``, ``meqrlogit`` or ``xtmelogit`` with its levels and options, as typed in Stata:
        ``"melogit remission il6 i.cancerstage || hid: || did:, or"``. ``/// `` at the end of a line continues it.
    data : data frame or path, or StataResults
        As for ``melogit.melogit``. Columns are found without regard to upper and lower case. With the results of an
        earlier command, ``"melogit, or"`` shows them anew.

    Returns
    -------
    StataResults
        The usual results; ``print`` shows Stata's table, ``.log`` the iterations. Seven integration points as in
        Stata, and below the table how far they are from the answer.

    Raises
    ------
    FormulaError
        With a caret under the word that is not understood, and what is supported.
    DataError, ModelError

    Examples
    --------
    >>> import melogit as me
    >>> fit = me.stata("melogit purchase minutes || consumer:", me.load_dataset("retail"))
    >>> fit.fit.wording.formula, fit.integration.points
    ('purchase ~ minutes + (1 | consumer)', (7,))
    """
    parsed = parse_command(joined(command))
    if parsed.name not in ESTIMATION:
        raise parsed.error(
            parsed.start,
            f"stata() fits models: {', '.join(ESTIMATION)}. The other commands belong into a do-file: "
            "melogit do FILE.do",
        )
    if isinstance(data, Results):
        return replay(parsed, data)
    if not parsed.main.body and not parsed.levels:
        raise parsed.error(
            parsed.start, f"'{parsed.name}' alone shows the last fit again; give that fit in place of data."
        )
    return fit_command(parsed, open_data(data, command))


def replay(command: Command, fit: Results) -> StataResults:
    """Show the last fit again: ``melogit, or``.

    Raises
    ------
    FormulaError
        More stands in the command than ``or`` and ``level(#)``.
    """
    if command.main.body or command.levels:
        raise command.error(command.main.start, "a new model needs data, not the results of another one.")
    if not isinstance(fit, StataResults):
        fit = dressed(fit, Wording(name=command.name))
    for name, option in command.main.options.items():
        if name not in ("or", "level", "nolog"):
            raise command.error(
                option.start,
                f"'{command.name}' without a model shows the last fit; {name} would have to be fitted anew.",
            )
    level = percent(command, command.main.options["level"]) if "level" in command.main.options else fit.level
    chosen = replace(fit.wording, odds_ratios="or" in command.main.options)
    return replace(fit, level=level, wording=chosen)


def joined(text: str) -> str:
    """Join lines that end in ``///``; positions stay where they are."""
    if not isinstance(text, str):
        raise FormulaError(f"A Stata command is text, not {type(text).__name__}.")
    return re.sub(r"///[^\n]*\n", lambda match: " " * len(match[0]), text)


class Formula(str):
    """A formula that a command was translated to: text, with the other options of ``melogit.melogit`` beside it.

    Attributes
    ----------
    options : dict
        ``me.melogit(formula, data, **formula.options)`` fits the same model.
    """

    options: dict[str, Any]


def to_formula(command: str, data: Any = None) -> Formula:
    """Translate a Stata command to a formula.

    Parameters
    ----------
    command : str
        ``melogit``, ``meqrlogit`` or ``xtmelogit``.
    data : data frame or path, optional
        Gives the names their upper and lower case, and tells text from numbers: ``i.stage`` is ``stage`` where the
        column holds text, and ``C(stage)`` without data.

    Returns
    -------
    Formula
        Text, with the command's options in ``.options``: points, method, covariance structures, trials, ...

    Raises
    ------
    FormulaError
        The command is not understood, or has ``if``, ``in`` or another part that no formula can say.

    Examples
    --------
    >>> formula = to_formula("melogit remission il6 i.cancerstage || hid: || did: il6")
    >>> print(formula)
    remission ~ il6 + C(cancerstage) + (1 | hid) + (0 + il6 + 1 || hid:did)
    >>> formula.options
    {'method': 'mvaghermite', 'intpoints': 7}
    """
    parsed = parse_command(joined(command))
    if parsed.name not in ESTIMATION:
        raise parsed.error(parsed.start, f"only models have a formula: {', '.join(ESTIMATION)}.")
    model = read_model(parsed)
    for tokens, word in ((parsed.main.condition, "if"), (parsed.main.within, "in")):
        if tokens:
            raise parsed.error(tokens[0].start, f"'{word}' chooses rows, which no formula can say; choose them first.")
    if parsed.bootstrap is not None:
        raise parsed.error(0, "bootstrap is no part of a formula.")
    used = None if data is None else open_data(data)
    translation = translate(model, used)
    result = Formula(translation.formula)
    result.options = dict(translation.options)
    if model.vce != "oim":
        result.options["vce"] = model.vce
        if model.cluster is not None:
            names = () if used is None else used.names
            own = model.cluster.pattern if used is None else find_column(command, model.cluster, names)
            result.options["cluster"] = own
    return result
