"""``melogit run`` and ``melogit do``: Stata commands from a shell."""

from __future__ import annotations

import argparse
from pathlib import Path

from melogit.cli.commands import NOT_CONVERGED
from melogit.cli.files import check_outputs, find_data
from melogit.errors import DataError, ModelError
from melogit.stata.session import begin, run_script, step


def run_command(options: argparse.Namespace, version: str) -> int:
    """Run one command on data, and print what Stata would print."""
    check_outputs([options.save])
    state, said = step(begin(find_data(options.data), options.stata), options.stata)
    if said:
        print(said)
    if options.save:
        if state.fit is None:
            raise ModelError("--save needs a command that fits a model.")
        state.fit.save(options.save)
    return NOT_CONVERGED if state.fit is not None and not state.fit.converged else 0


def run_do_file(options: argparse.Namespace, version: str) -> int:
    """Run a do-file, and print its log."""
    path = Path(options.script)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        reason = getattr(fault, "strerror", None) or "it is not UTF-8 text"
        raise DataError(f"The do-file {options.script!r} cannot be read: {reason}.") from fault
    state = begin(None if options.data is None else find_data(options.data))
    state = run_script(text, state, lambda said: print(said, flush=True))
    return NOT_CONVERGED if state.fit is not None and not state.fit.converged else 0
