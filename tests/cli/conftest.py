"""Running the program in this process."""

from __future__ import annotations

import pytest

from melogit.cli.main import main


@pytest.fixture
def run(capsys):
    """Run the program: (exit code, standard output, standard error)."""

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return call
