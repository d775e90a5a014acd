"""``melogit diagnose``: fit a model, check what the method assumes, write the report."""

from __future__ import annotations

import argparse

import pandas as pd

from melogit.cli.commands import NOT_CONVERGED, fit_model
from melogit.cli.files import check_outputs, find_data, tell, write_text
from melogit.diagnostics.diagnose import chosen
from melogit.errors import DataError, ModelError
from melogit.formula.reading import read_table
from melogit.plots.canvas import pyplot
from melogit.plots.checks import as_svg
from melogit.report.markdown import build_markdown
from melogit.report.page import build_page


def run_diagnose(options: argparse.Namespace, version: str) -> int:
    """Check a model, print what was found, write the files asked for."""
    check_outputs([options.report, options.markdown])
    chosen(options.only)  # what is wrong is said before the work
    if options.seed < 0:
        raise ModelError(f"--seed {options.seed}: the seed must be 0 or more.")
    if options.report:
        pyplot()
    time = read_time(options)
    fit = fit_model(options)
    progress = True if options.log else False if options.quiet else None
    checks = fit.diagnose(options.only, time=time, seed=options.seed, threads=options.threads, progress=progress)
    if not options.quiet:
        print(checks.summary())
    if options.report:
        write_text(options.report, build_page(checks.report, draw=as_svg))
        tell(f"the report is in {options.report}")
    if options.markdown:
        write_text(options.markdown, build_markdown(checks.report))
    return 0 if fit.converged else NOT_CONVERGED


def read_time(options: argparse.Namespace) -> pd.Series | None:
    """Read the column of ``--time``, with the index that the fit has."""
    if options.time is None:
        return None
    source = find_data(options.data, say=False)  # the fit will say which data these are
    try:
        return read_table(source, [options.time]).iloc[:, 0]
    except DataError as fault:
        raise DataError(f"--time {options.time}: {fault}") from fault
