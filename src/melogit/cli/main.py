"""The program ``melogit``: parse, run, and turn every outcome into text and an exit code."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from melogit import __version__
from melogit.cli import bootstrap, commands, diagnose, margins, power, stata
from melogit.cli.arguments import build_parser
from melogit.cli.files import tell
from melogit.errors import MelogitError, MelogitWarning

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141

COMMANDS = {
    "fit": commands.run_fit,
    "margins": margins.run_margins,
    "bootstrap": bootstrap.run_bootstrap,
    "diagnose": diagnose.run_diagnose,
    "describe": commands.run_describe,
    "power": power.run_power,
    "show": commands.run_show,
    "datasets": commands.run_datasets,
    "run": stata.run_command,
    "do": stata.run_do_file,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What was typed after ``melogit``; by default that of this process.

    Returns
    -------
    int
        0 all well, 2 bad input, 3 not converged, 130 interrupted. (As argparse does, wrong options, ``--help`` and
        ``--version`` end the process by ``SystemExit``.)

    Examples
    --------
    >>> main(["datasets", "tv"])  # doctest: +SKIP
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that this terminal cannot show must not end the program
            stream.reconfigure(errors="backslashreplace")
    options = build_parser(__version__).parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", MelogitWarning)
            warnings.showwarning = show_warning
            code = COMMANDS[options.command](options, __version__)
        sys.stdout.flush()
        return code
    except MelogitError as fault:
        tell(f"error: {fault}")
        return BAD_INPUT
    except MemoryError:
        tell("error: there is not enough memory for this. Name fewer columns, or use a machine with more")
        return BAD_INPUT
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has gone; keep Python from complaining once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as a plain sentence, without the place in the code."""
    tell(f"warning: {message}")


if __name__ == "__main__":
    sys.exit(main())
