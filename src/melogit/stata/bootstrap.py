"""The prefix ``bootstrap, reps(#) cluster(group) idcluster(new):`` and ``estat bootstrap``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from melogit.errors import DataWarning, ModelError, warn
from melogit.results.resampling import Request, bootstrap
from melogit.stata.data import Dataset
from melogit.stata.factors import Variable, find_column, read_names
from melogit.stata.fitted import StataResults, parameter_label
from melogit.stata.grammar import Command, Option
from melogit.stata.model import Model, percent

REPS = 50  # Stata's default
STATAS = ("normal", "percentile", "bc", "bca")  # the kinds that Stata knows, in its order

RESAMPLES_ROWS = (
    "bootstrap without cluster() resamples single rows as if they were independent, which breaks the groups up and "
    "gives standard errors that are too small for what varies between groups; to resample whole groups, write "
    "cluster({group}) idcluster(newid) before the colon and newid as the group after it."
)
NEW_IDS = (
    "cluster({group}) without idcluster(): a group that is drawn twice counts as two groups here, whereas Stata would "
    "merge the two into one; with idcluster(newid), and newid as the group after the colon, both programs agree."
)


@dataclass(frozen=True, slots=True)
class Repetition:
    """What the prefix asks for.

    Attributes
    ----------
    model : Model
        With the cluster variable in the place of the name in ``idcluster()``.
    reps : int
    seed : int or None
    level : float or None
    cluster : str or None
        Column of the data.
    place : int
        Where ``cluster()`` stands.
    """

    model: Model
    reps: int
    seed: int | None
    level: float | None
    cluster: str | None
    place: int


def read_repetition(command: Command, model: Model, data: Dataset) -> Repetition:
    """Read the options of the prefix.

    Raises
    ------
    FormulaError
        An option that is not understood; ``idcluster()`` without ``cluster()``, or with the name of a variable.

    Warns
    -----
    DataWarning
        Rows are resampled, or repeated groups would be merged in Stata.
    """
    given = command.bootstrap or {}
    cluster = _variable(command, given["cluster"]) if "cluster" in given else None
    if "idcluster" in given:
        model = _with_cluster(command, model, data, given["idcluster"], cluster)
    elif cluster is not None:
        warn(NEW_IDS.format(group=cluster.pattern), DataWarning)
    if cluster is None:
        first = next(v for level in model.levels for v in (level.group, level.crossed) if v is not None)
        warn(RESAMPLES_ROWS.format(group=first.pattern), DataWarning)
    return Repetition(
        model,
        _whole(command, given["reps"], 2) if "reps" in given else REPS,
        _whole(command, given["seed"], 0) if "seed" in given else None,
        percent(command, given["level"]) if "level" in given else None,
        None if cluster is None else find_column(command.text, cluster, data.names),
        0 if cluster is None else cluster.start,
    )


def _with_cluster(command: Command, model: Model, data: Dataset, option: Option, cluster: Variable | None) -> Model:
    """Put the cluster variable where the model names its copy with new numbers."""
    new = _variable(command, option)
    if cluster is None:
        message = "idcluster() numbers the groups that cluster() draws; cluster(group) is missing beside it."
        raise command.error(option.start, message)
    if new.pattern.lower() in (name.lower() for name in data.names):
        raise command.error(new.start, f"idcluster() names a new variable, and there is a variable '{new.pattern}'.")
    levels = tuple(
        replace(level, group=replace(level.group, pattern=cluster.pattern))
        if level.group is not None and level.group.pattern.lower() == new.pattern.lower()
        else level
        for level in model.levels
    )
    return replace(model, levels=levels)


def repeated(fit: StataResults, asked: Repetition, seed: int | None) -> StataResults:
    """Repeat a fit on samples.

    Raises
    ------
    FormulaError
        ``cluster()`` names another variable than the top-level group.
    """
    assert fit.design is not None
    top = fit.design.terms[0].factor
    if asked.cluster is not None and asked.cluster != top.name:
        raise asked.model.command.error(
            asked.place,
            f"cluster() draws whole groups of the top level, and the top level of this model is '{top.name}', not "
            f"'{asked.cluster}'. Other groups would be cut through, or torn from those above: cluster({top.name}).",
        )
    request = Request(
        asked.reps,
        "rows" if asked.cluster is None else "cluster",
        seed=asked.seed if asked.seed is not None else seed,
        level=asked.level,
    )
    boot = bootstrap(fit, request)
    return replace(fit, bootstrapped=boot, level=boot.level)


def interval_report(fit: StataResults, command: Command, given: dict[str, Option]) -> str:
    """``estat bootstrap, bc|bca|normal|percentile|all``: observed values, bias, standard errors, intervals."""
    if fit.bootstrapped is None:
        raise ModelError(
            "'estat bootstrap' needs a fit with the prefix bootstrap, such as "
            "bootstrap, reps(1000) cluster(group) idcluster(new): melogit y x || new:"
        )
    chosen = [name for name in (*STATAS, "all") if name in given]
    if len(chosen) > 1:
        raise command.error(given[chosen[1]].start, f"choose one of {' and '.join(chosen)}; all shows all kinds.")
    kinds = chosen or ["bc"]
    if kinds == ["all"]:
        kinds = [kind for kind in STATAS if kind in fit.bootstrapped.kinds]
    return fit.bootstrapped.summary(
        kinds, labels=lambda name: parameter_label(name, fit.fit, fit.wording.labels), level=fit.level
    )


def _variable(command: Command, option: Option) -> Variable:
    found = read_names(command.text, option.argument or ())
    if len(found) != 1 or not found[0].single:
        raise command.error(option.start, f"{option.name}() takes one variable.")
    return found[0]


def _whole(command: Command, option: Option, least: int) -> int:
    text = option.text
    if not text.isdecimal() or int(text) < least or len(text) > 18:
        raise command.error(option.start, f"{option.name}() takes one whole number, {least} or more.")
    return int(text)
