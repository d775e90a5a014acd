"""A session: commands one after the other, as in a do-file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from melogit.errors import MelogitError
from melogit.stata import after, data_commands, margins
from melogit.stata.data import open_data
from melogit.stata.data_commands import Step
from melogit.stata.factors import find_columns, read_names
from melogit.stata.fitted import StataResults
from melogit.stata.front import fit_command, joined, replay
from melogit.stata.grammar import ESTIMATION, Command, parse_command
from melogit.stata.script import Statement, read_script, substituted
from melogit.stata.state import State, data_of
from melogit.stata.words import tokenize


def _estimate(state: State, command: Command) -> Step:
    """Fit a model, or show the last one again."""
    if not command.main.body and not command.levels:
        if state.fit is None:
            message = "there is no fit to show again; a model is written as melogit y x || group:"
            raise command.error(command.start, message)
        return state, str(replay(command, state.fit))
    fit = fit_command(command, data_of(state, command), state.seed)
    return replace(state, fit=fit, margins=None), report(fit)


def report(fit: StataResults) -> str:
    """The iterations, unless ``nolog``, and the table."""
    return f"{fit.log}\n\n{fit}" if fit.wording.log else str(fit)


HANDLERS: Mapping[str, Callable[[State, Command], Step]] = {
    **dict.fromkeys(ESTIMATION, _estimate),
    **dict.fromkeys(("use", "insheet", "import"), data_commands.read_file),
    "encode": data_commands.encode,
    "generate": data_commands.generate,
    "replace": data_commands.replace_values,
    **dict.fromkeys(("drop", "keep"), data_commands.drop_or_keep),
    "rename": data_commands.rename,
    **dict.fromkeys(("summarize", "tab1", "tabulate", "correlate"), data_commands.show),
    **dict.fromkeys(("set", "clear", "version"), data_commands.settings),
    "estimates": after.estimates,
    "estat": after.estat,
    "predict": after.predict,
    **dict.fromkeys(("test", "testparm"), after.wald_test),
    "lincom": after.combination,
    "lrtest": after.likelihood_ratio,
    "margins": margins.margins,
    "marginsplot": margins.marginsplot,
}


def step(state: State, text: str) -> Step:
    """Run one command.

    Parameters
    ----------
    state : State
    text : str

    Returns
    -------
    State, str
        The new state, and what Stata would print.

    Raises
    ------
    FormulaError, DataError, ModelError

    Examples
    --------
    >>> state, said = step(State(), "use retail")
    >>> said
    '(7 vars, 3,199 obs)'
    """
    command = parse_command(joined(text))
    new, said = HANDLERS[command.name](state, command)
    return new, "" if command.quietly else said


def begin(data: Any = None, command: str | None = None) -> State:
    """Start a session, with data in memory if they are given: all, or what one estimation command may mean."""
    if data is None:
        return State()
    alone = command is not None and parse_command(joined(command)).name in ESTIMATION
    opened = open_data(data, command if alone else None)
    if not opened.frame.index.is_unique:  # new columns find their rows by the index
        opened = replace(opened, frame=opened.frame.reset_index(drop=True))
    return State(data=opened)


def run_script(text: str, state: State, say: Callable[[str], None]) -> State:
    """Run a do-file.

    Parameters
    ----------
    text : str
        Of the do-file.
    state : State
    say : callable
        Called with each command (after a dot, as in Stata's log) and with what it prints.

    Raises
    ------
    FormulaError, DataError, ModelError
        With the line of the do-file; what ran before has been said.
    """
    return _run(read_script(text), state, {}, say)


def _run(statements: tuple[Statement, ...], state: State, macros: dict[str, str], say: Callable[[str], None]) -> State:
    for statement in statements:
        text = substituted(statement.text, macros, statement.line)
        try:
            if statement.loop:
                items = _items(statement, text, state)
            else:
                say(f". {text}")
                state, said = step(state, text)
                if said:
                    say(f"\n{said}\n")
                continue
        except MelogitError as error:
            raise type(error)(f"Line {statement.line} of the do-file: {error}") from error
        for item in items:
            state = _run(statement.body, state, {**macros, statement.loop: item}, say)
    return state


def _items(statement: Statement, text: str, state: State) -> list[str]:
    """What ``foreach`` goes through; a list of variables is looked up before the first pass."""
    if not statement.varlist:
        return text.split()
    names = () if state.data is None else state.data.names
    found: dict[str, None] = {}
    for variable in read_names(text, tokenize(text)):
        found.update(dict.fromkeys(find_columns(text, variable, names)))
    return list(found)
