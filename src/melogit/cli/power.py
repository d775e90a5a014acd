"""``melogit power``: power and sample size by simulation."""

from __future__ import annotations

import argparse
from typing import Any

from melogit.api import melogit
from melogit.cli.files import check_outputs, find_data, write_json
from melogit.errors import ModelError
from melogit.results import power

PICTURES = (".png", ".svg", ".pdf")

EXAMPLES = """examples:
  melogit power --clusters 20 30 40 --cluster-size 25 --baseline 0.3 --odds-ratio 1.5 2 --icc 0.05
  melogit power --target 0.8 --cluster-size 10 25 50 --baseline 0.3 --treated 0.45 --icc 0.05 --plot clusters.png
  melogit power --clusters 12 --subclusters 3 --cluster-size 20 --baseline 0.2 --odds-ratio 2 --icc 0.02,0.06
  melogit power --fit pilot.csv "remission ~ age + drug + (1 | hospital)" --term drug --clusters 20 40

Several values of an option are combined with those of all others. --icc and --variance take one number per level of
clusters, joined by commas.
Exit codes: 0 all well, 2 bad input, 130 interrupted."""


def add_power(commands: argparse._SubParsersAction) -> None:
    """Add ``melogit power``."""
    parser = commands.add_parser(
        "power",
        help="power and sample size of a planned study, by simulation",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    study = parser.add_argument_group("study")
    for option, kind, text in (
        ("--clusters", int, "top-level groups"),
        ("--subclusters", int, "groups within each cluster"),
        ("--cluster-size", int, "rows of each lowest group"),
        ("--baseline", float, "share of events without treatment"),
        ("--treated", float, "share of events with treatment"),
        ("--odds-ratio", float, "of the treatment, within a cluster"),
        ("--effect", float, "the same as log odds"),
        ("--icc", per_level, "intraclass correlation; one per level of clusters: 0.02,0.06"),
        ("--variance", per_level, "of the clusters, in place of --icc"),
    ):
        study.add_argument(option, type=kind, nargs="+", metavar="VALUE", help=text)
    study.add_argument("--treatment", default="cluster", help="cluster (default), subcluster or row is treated")
    study.add_argument("--share", type=float, default=0.5, help="share that is treated (default 0.5)")
    study.add_argument("--size-cv", type=float, default=0.0, help="coefficient of variation of the rows per group")
    study.add_argument("--fit", nargs=2, metavar=("DATA", "FORMULA"), help="a study like this one")
    study.add_argument("--term", metavar="NAME", help="with --fit: the coefficient that is tested")
    how = parser.add_argument_group("simulation")
    how.add_argument("--target", type=float, metavar="POWER", help="find the number of clusters with this power")
    how.add_argument("--test", choices=("wald", "t", "lr"), default="wald", help="z (default), t or likelihood ratio")
    how.add_argument("--alpha", type=float, default=0.05, help="two-sided significance level (default 0.05)")
    how.add_argument("--reps", type=int, default=1000, help="replicates of each study (default 1000)")
    how.add_argument("--seed", type=int, help="the same seed gives the same numbers")
    how.add_argument("--workers", type=workers, metavar="N", help="threads, or processes:N; no number depends on it")
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", nargs="?", const="-", help="the table as JSON; alone: to the screen")
    output.add_argument("--plot", metavar="FILE", help="power curves: a .png, .svg or .pdf file")
    talk = output.add_mutually_exclusive_group()
    talk.add_argument("--log", action="store_true", help="say what is being done (on standard error)")
    talk.add_argument("--quiet", action="store_true", help="no progress line")


def per_level(text: str) -> float | tuple[float, ...]:
    """Read ``0.05`` or ``0.02,0.06``."""
    try:
        several = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor numbers joined by commas") from None
    return several if "," in text else several[0]


def workers(text: str) -> int | str:
    """Read ``4`` or ``processes:4``."""
    return int(text) if text.isdecimal() else text


def run_power(options: argparse.Namespace, version: str) -> int:
    """Simulate, print the table, write the files asked for."""
    check_outputs([options.json, options.plot])
    if options.plot and not options.plot.lower().endswith(PICTURES):
        raise ModelError(f"--plot {options.plot}: a picture is one of {', '.join(PICTURES)}.")
    names = (
        "clusters",
        "subclusters",
        "cluster_size",
        "baseline",
        "treated",
        "odds_ratio",
        "effect",
        "icc",
        "variance",
    )
    given = {name: _values(getattr(options, name)) for name in names}
    fit = None
    if options.fit is not None:
        data, formula = options.fit
        fit = melogit(formula, find_data(data))
    found = power(
        fit,
        **given,
        treatment=options.treatment,
        share=options.share,
        size_cv=options.size_cv,
        term=options.term,
        target=options.target,
        test=options.test,
        alpha=options.alpha,
        reps=options.reps,
        seed=options.seed,
        workers=options.workers,
        progress=True if options.log else False if options.quiet else None,
    )
    if options.json != "-":
        print(found)
    if options.json:
        content = {"melogit": version, "seed": found.seed, "test": found.test, "alpha": found.alpha}
        write_json(options.json, {**content, "about": found.about, "studies": found.table.to_dict("records")})
    if options.plot:
        found.plot().figure.savefig(options.plot, dpi=150)
    return 0


def _values(given: list[Any] | None) -> Any:
    return given[0] if given is not None and len(given) == 1 else given
