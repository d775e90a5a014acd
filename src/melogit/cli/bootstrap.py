"""``melogit bootstrap``: fit a model, fit it anew to samples, print the table."""

from __future__ import annotations

import argparse
import re
from typing import Any, cast

from melogit.cli.commands import NOT_CONVERGED, fit_model, rows
from melogit.cli.files import check_outputs, write_json, write_text
from melogit.errors import ModelError
from melogit.results import Results
from melogit.results.bootstrap import BootstrapResults, Kind
from melogit.stata.fitted import StataResults, parameter_label

INTERRUPTED = 130
PREFIX = re.compile(r"\s*(bootstrap|bs)\b[^~]*:")


def run_bootstrap(options: argparse.Namespace, version: str) -> int:
    """Bootstrap a model, print its table, write the files asked for."""
    check_outputs([options.json, options.replicates, options.checkpoint])
    if PREFIX.match(options.formula):
        raise ModelError(
            "Give the command without its prefix 'bootstrap': reps(), seed() and cluster() are the options --reps, "
            "--seed and --group here. With the prefix it runs by: melogit run COMMAND --data DATA"
        )
    if options.odds_ratios and options.kind is not None:
        raise ModelError("--or goes with the table of normal intervals, not with --kind.")
    fit = fit_model(options)
    group = None if options.group is None else options.group if options.resample == "stagewise" else options.group[0]
    if options.group is not None and len(options.group) > 1 and options.resample != "stagewise":
        raise ModelError(
            f"--group takes one group with --resample {options.resample or 'cluster'}, several with stagewise."
        )
    boot = fit.bootstrap(
        options.reps,
        resample=options.resample,
        group=group,
        seed=options.seed,
        workers=options.workers,
        timeout=options.timeout,
        checkpoint=options.checkpoint,
        progress=True if options.log else False if options.quiet else None,
    )
    if not options.quiet and options.json != "-":
        print(boot.summary(options.kind, odds_ratios=options.odds_ratios, labels=lambda name: _label(fit, name)))
    if options.json:
        write_json(options.json, content(boot, version, options.formula))
    if options.replicates:
        write_text(options.replicates, boot.replicates.to_csv(lineterminator="\n"))
    if len(boot.replicates) < boot.reps:
        return INTERRUPTED
    return 0 if fit.converged else NOT_CONVERGED


def _label(fit: Results, name: str) -> str:
    """Stata's name of a parameter after a Stata command."""
    return parameter_label(name, fit.fit, fit.wording.labels) if isinstance(fit, StataResults) else name


def content(boot: BootstrapResults, version: str, formula: str) -> dict[str, Any]:
    """Everything about a bootstrap but the replicates, for ``--json``."""
    tables = {kind: boot.table(cast(Kind, kind)) for kind in boot.kinds}
    limits = {kind: table.drop(columns=["observed", "bias", "std_err"]) for kind, table in tables.items()}
    return {
        "melogit": version,
        "formula": formula,
        "resample": boot.resample,
        "drawn": list(boot.group),
        "seed": boot.seed,
        "reps": boot.reps,
        "done": len(boot.replicates),
        "used": len(boot.used),
        "failed": boot.failed.to_dict("records"),
        "warned": boot.warned.to_dict(),
        "level": boot.level,
        "parameters": rows(tables["normal"].drop(columns=["ci_low", "ci_high"]), "parameter"),
        "intervals": {kind: rows(table, "parameter") for kind, table in limits.items()},
        "no_intervals": boot.missing,
    }
