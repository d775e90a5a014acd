"""What can be typed after ``melogit``."""

from __future__ import annotations

import argparse
from typing import NoReturn

from melogit.api import METHODS
from melogit.cli.power import add_power, workers
from melogit.diagnostics.diagnose import all_checks
from melogit.effects.margins import ELASTICITIES
from melogit.errors import ModelError
from melogit.inference.drawing import SCHEMES
from melogit.inference.intervals import KINDS

EXIT_CODES = "Exit codes: 0 all well, 2 bad input, 3 the fit did not converge, 130 interrupted."

FIT_EXAMPLES = (
    """examples:
  melogit fit hospital "remission ~ Age + CancerStage + (1 | HID/DID)"
  melogit fit patients.csv "remission ~ IL6 + CRP + (1 | DID)" --intpoints 7 --or
  melogit fit herds.dta "cbind(cases, size - cases) ~ period + (1 | herd)" --save herds.json

"""
    + EXIT_CODES
)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors begin like all others of ours."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and where to read more; exit code 2."""
        self.exit(2, f"melogit: error: {message}. Try: {self.prog} --help\n")


def points(text: str) -> int | tuple[int, ...] | str:
    """Read ``7``, ``7,5`` or ``auto``."""
    if text == "auto":
        return text
    try:
        several = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a whole number, nor one per level of nesting (7,5), nor auto"
        ) from None
    return several if "," in text else several[0]


def structures(given: list[str] | None) -> str | dict[str, str] | None:
    """Turn ``--covariance`` options into one structure for all groups, or one by group (``doctor=independent``)."""
    if not given:
        return None
    pairs = [item.rpartition("=") for item in given]
    if len(pairs) == 1 and not pairs[0][1]:
        return given[0]
    if any(not separator for _, separator, _ in pairs):
        raise ModelError(
            f"--covariance {' --covariance '.join(given)}: give one kind for all groups, or GROUP=KIND for each."
        )
    return {group: kind for group, _, kind in pairs}


def build_parser(version: str) -> argparse.ArgumentParser:
    """Build the parser with all its commands."""
    parser = Parser(
        prog="melogit",
        description="Mixed-effects logistic regression with a certificate of accuracy.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"melogit {version}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    add_fit(commands)
    add_margins(commands)
    add_bootstrap(commands)
    add_diagnose(commands)
    add_describe(commands)
    add_power(commands)
    add_show(commands)
    add_datasets(commands)
    add_run(commands)
    add_do(commands)
    return parser


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the argument that says where the data are."""
    command.add_argument(
        "data",
        metavar="DATA",
        help="a .csv, .parquet, .dta or .sav file, or the name of a bundled data set",
    )


def add_fit(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit fit``."""
    fit = commands.add_parser(
        "fit",
        help="fit a model and print its table",
        epilog=FIT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model(fit)
    output = fit.add_argument_group("output")
    output.add_argument("--or", dest="odds_ratios", action="store_true", help="odds ratios in place of coefficients")
    output.add_argument("--json", metavar="FILE", nargs="?", const="-", help="estimates as JSON; alone: to the screen")
    output.add_argument("--save", metavar="FILE", help="save the model, to be read by: melogit show, melogit.load")
    output.add_argument("--html", metavar="FILE", help="the table as a web page")
    talk = output.add_mutually_exclusive_group()
    talk.add_argument("--log", action="store_true", help="show every iteration (on standard error)")
    talk.add_argument("--quiet", action="store_true", help="no table and no progress; warnings and errors only")


def add_model(command: argparse.ArgumentParser) -> None:
    """Add the data, the model and how it is fitted: the same for every command that fits."""
    add_data(command)
    command.add_argument(
        "formula",
        metavar="FORMULA",
        help='for example "remission ~ age + stage + (1 | hospital/doctor)"; or a Stata command',
    )
    model = command.add_argument_group("model")
    model.add_argument("--event", metavar="VALUE", help="the value of the response whose probability is modelled")
    model.add_argument("--trials", metavar="COLUMN", help="number of trials of each row")
    model.add_argument("--weights", metavar="COLUMN", help="frequency weights: 3 stands for three such rows")
    model.add_argument("--offset", metavar="COLUMN", help="a term with coefficient 1")
    model.add_argument(
        "--covariance",
        metavar="KIND",
        action="append",
        help="unstructured, independent, identity or exchangeable; for one group only: GROUP=KIND (may be repeated)",
    )
    model.add_argument("--missing", choices=("drop", "error"), default="drop", help="rows that lack a value")
    model.add_argument("--level", type=float, default=0.95, help="confidence level (default 0.95)")
    add_engine(command.add_argument_group("integration and engine"))


def add_engine(engine: argparse._ArgumentGroup) -> None:
    """Add the options of the integration and the optimiser."""
    engine.add_argument("--method", choices=METHODS, help="default: whatever is accurate fastest")
    engine.add_argument(
        "--intpoints",
        metavar="POINTS",
        type=points,
        default="auto",
        help="7, or one per level of nesting from the top (7,5), or auto (default): as many as accuracy needs",
    )
    engine.add_argument(
        "--tolerance",
        type=float,
        default=1e-3,
        help="accuracy asked of auto: standard errors and log-likelihood (default 0.001)",
    )
    engine.add_argument("--max-iterations", type=int, default=100, metavar="N", help="most iterations (default 100)")
    engine.add_argument("--threads", type=int, metavar="N", help="default: all cores; the result does not depend on it")


DIAGNOSE_EXAMPLES = (
    """examples:
  melogit diagnose hospital "remission ~ Age + CancerStage + (1 | HID/DID)" --report report.html
  melogit diagnose visits.csv "relapse ~ dose + (1 | patient)" --time week --only linearity serial
  melogit diagnose hospital "melogit remission age i.cancerstage || hid: || did:" --report report.html

"""
    + EXIT_CODES
)


def add_diagnose(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit diagnose``."""
    diagnose = commands.add_parser(
        "diagnose",
        help="fit a model and check what the method assumes",
        epilog=DIAGNOSE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model(diagnose)
    checks = diagnose.add_argument_group("checks")
    checks.add_argument("--only", metavar="CHECK", nargs="+", help=f"make these checks only: {', '.join(all_checks())}")
    checks.add_argument("--time", metavar="COLUMN", help="when each row was observed, to check for serial correlation")
    checks.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (default 0)")
    output = diagnose.add_argument_group("output")
    output.add_argument("--report", metavar="FILE", help="the report as one web page (.html), with its pictures")
    output.add_argument("--markdown", metavar="FILE", help="the report as Markdown, its pictures in words")
    talk = output.add_mutually_exclusive_group()
    talk.add_argument("--log", action="store_true", help="show every iteration and every step (on standard error)")
    talk.add_argument("--quiet", action="store_true", help="no text and no progress; warnings and errors only")


MARGINS_EXAMPLES = (
    """examples:
  melogit margins hospital "remission ~ Age + CancerStage + (1 | HID/DID)" --at "Age=40(10)70" CancerStage=levels
  melogit margins hospital "remission ~ Age + CancerStage + (1 | DID)" --dydx Age CancerStage
  melogit margins hospital "remission ~ CancerStage + (1 | DID)" --at CancerStage=levels --contrast pairwise
  melogit margins hospital "remission ~ Age + (1 | DID)" --at Age=40,70 --effect --plot margins.png

Several settings are combined with each other. A value is a number, a level, or mean, median, min, max, p25 ...; 1(1)10
is 1, 2, ..., 10.
"""
    + EXIT_CODES
)


def add_margins(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit margins``."""
    command = commands.add_parser(
        "margins",
        help="average predictions and effects of the population",
        epilog=MARGINS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model(command)
    asked = command.add_argument_group("margins")
    asked.add_argument("--at", metavar="NAME=VALUES", nargs="+", action="extend", help="set predictors: Age=40,60")
    for measure, what in zip(
        ELASTICITIES,
        ("average effects of these predictors (all: '*')", "elasticities", "semi-elasticities", "semi-elasticities"),
        strict=True,
    ):
        asked.add_argument(f"--{measure}", metavar="NAME", nargs="+", help=what)
    asked.add_argument("--over", metavar="NAME", nargs="+", help="averages within these groups")
    asked.add_argument(
        "--kind",
        choices=("marginal", "fixed", "conditional"),
        default="marginal",
        help="averaged over the random effects (default), with random effects 0, or at the groups' own",
    )
    asked.add_argument("--atmeans", action="store_true", help="one prediction, all else at its mean")
    asked.add_argument(
        "--margin-points", type=int, metavar="N", help="Gauss-Hermite points of the average (7: Stata's digits)"
    )
    asked.add_argument("--contrast", choices=("pairwise", "reference", "adjacent"), help="differences of the margins")
    asked.add_argument(
        "--adjust",
        choices=("none", "bonferroni", "sidak", "holm", "scheffe", "tukey"),
        default="none",
        help="p-values and intervals of --contrast for their number",
    )
    asked.add_argument(
        "--effect",
        action="store_true",
        help="risk difference, ratio, odds ratio, number needed to treat: two margins",
    )
    output = command.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", nargs="?", const="-", help="the table as JSON; alone: to the screen")
    output.add_argument("--csv", metavar="FILE", help="the table as a .csv file")
    output.add_argument("--plot", metavar="FILE", help="a picture: a .png, .svg or .pdf file")
    talk = output.add_mutually_exclusive_group()
    talk.add_argument("--log", action="store_true", help="show every iteration (on standard error)")
    talk.add_argument("--quiet", action="store_true", help="no table and no progress; warnings and errors only")


BOOTSTRAP_EXAMPLES = (
    """examples:
  melogit bootstrap hospital "remission ~ Age + CancerStage + (1 | DID)" --intpoints 7 --reps 1000 --seed 1
  melogit bootstrap patients.csv "remission ~ IL6 + (1 | DID)" --seed 1 --kind bca --checkpoint boot.ckpt
  melogit bootstrap pupils.dta "melogit pass hours || school:" --resample weights --kind all

A run that was killed or interrupted goes on where it was by the same command, if it had a --checkpoint.
"""
    + EXIT_CODES
)


def add_bootstrap(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit bootstrap``."""
    command = commands.add_parser(
        "bootstrap",
        help="standard errors and intervals by fitting anew to samples",
        epilog=BOOTSTRAP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model(command)
    samples = command.add_argument_group("samples")
    samples.add_argument("--reps", type=int, default=1000, metavar="N", help="number of samples (default 1000)")
    samples.add_argument(
        "--resample",
        choices=SCHEMES,
        help="what is drawn: whole top-level groups (default; where groups cross, simulated responses), groups and "
        "rows stage by stage, simulated responses, "
        "single rows (never for inference), random weights on groups",
    )
    samples.add_argument(
        "--group", metavar="GROUP", nargs="+", help="draw the groups of this level; with stagewise: of these"
    )
    samples.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same numbers")
    work = command.add_argument_group("work")
    work.add_argument("--workers", type=workers, metavar="N", help="threads, or processes:N; no number depends on it")
    work.add_argument("--timeout", type=float, metavar="SECONDS", help="most that a replicate may take in a process")
    work.add_argument("--checkpoint", metavar="FILE", help="keep finished replicates here, and go on from there")
    output = command.add_argument_group("output")
    output.add_argument("--kind", choices=(*KINDS, "all"), help="interval, in the table of Stata's estat bootstrap")
    output.add_argument("--or", dest="odds_ratios", action="store_true", help="odds ratios in place of coefficients")
    output.add_argument("--json", metavar="FILE", nargs="?", const="-", help="tables as JSON; alone: to the screen")
    output.add_argument("--replicates", metavar="FILE", help="the replicates as a .csv file")
    talk = output.add_mutually_exclusive_group()
    talk.add_argument("--log", action="store_true", help="show every iteration and a bar (on standard error)")
    talk.add_argument("--quiet", action="store_true", help="no table and no progress; warnings and errors only")


def add_describe(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit describe``."""
    describe = commands.add_parser(
        "describe", help="summaries, tabulations and correlations", epilog=EXIT_CODES, allow_abbrev=False
    )
    add_data(describe)
    describe.add_argument("columns", metavar="COLUMN", nargs="*", help="columns to summarise (default: all)")
    describe.add_argument("--tabulate", metavar="COLUMN", nargs="+", default=[], help="count the values of columns")
    describe.add_argument("--correlate", metavar="COLUMN", nargs="+", default=[], help="correlate two columns or more")
    describe.add_argument("--json", metavar="FILE", nargs="?", const="-", help="tables as JSON; alone: to the screen")


def add_show(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit show``."""
    show = commands.add_parser("show", help="print the table of a saved model", epilog=EXIT_CODES, allow_abbrev=False)
    show.add_argument("model", metavar="MODEL", help="a file written by: melogit fit --save")
    show.add_argument("--or", dest="odds_ratios", action="store_true", help="odds ratios in place of coefficients")


def add_datasets(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit datasets``."""
    datasets = commands.add_parser(
        "datasets", help="list, explain or write the bundled data", epilog=EXIT_CODES, allow_abbrev=False
    )
    datasets.add_argument("name", metavar="NAME", nargs="?", help="explain this one: columns, formula, true values")
    datasets.add_argument("--out", metavar="FILE", help="write it as a .csv file")


RUN_EXAMPLES = (
    """examples:
  melogit run "melogit remission age i.cancerstage || hid: || did:, or" --data hospital
  melogit run "meqrlogit y x || school: x, intpoints(5)" --data pupils.dta

"""
    + EXIT_CODES
)


def add_run(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit run``."""
    run = commands.add_parser(
        "run",
        help="run one Stata command on data",
        epilog=RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run.add_argument("stata", metavar="COMMAND", help="as typed in Stata, in quotes")
    run.add_argument("--data", metavar="DATA", required=True, help="a data file, or the name of a bundled data set")
    run.add_argument("--save", metavar="FILE", help="save the model, to be read by: melogit show, melogit.load")


def add_do(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit do``."""
    do = commands.add_parser("do", help="run a Stata do-file", epilog=EXIT_CODES, allow_abbrev=False)
    do.add_argument("script", metavar="SCRIPT", help="a do-file")
    do.add_argument("--data", metavar="DATA", help="data in memory at the start, where the do-file reads none")
