"""What each command does; every function returns the exit code."""

from __future__ import annotations

import argparse
import dataclasses
import html
from pathlib import Path
from typing import Any

import pandas as pd

from melogit.api import load, melogit
from melogit.cli.arguments import structures
from melogit.cli.files import check_outputs, find_data, write_json, write_text
from melogit.datasets import dataset_facts, dataset_names, load_dataset
from melogit.describe import describe
from melogit.errors import DataError, ModelError
from melogit.results import Results
from melogit.stata import stata
from melogit.stata.grammar import ESTIMATION

NOT_CONVERGED = 3


def run_fit(options: argparse.Namespace, version: str) -> int:
    """Fit a model, print its table, write the files asked for."""
    check_outputs([options.json, options.save, options.html])
    fit = fit_model(options)
    summary = fit.summary(odds_ratios=True) if options.odds_ratios else fit.summary()
    if not options.quiet and options.json != "-":
        print(summary)
    if options.json:
        write_json(options.json, fit_content(fit, version))
    if options.save:
        fit.save(options.save)
    if options.html:
        write_text(options.html, page(options.formula, summary._repr_html_()))
    return 0 if fit.converged else NOT_CONVERGED


def fit_model(options: argparse.Namespace) -> Results:
    """Fit the model of a formula or of a Stata command."""
    return fit_stata(options) if is_command(options.formula) else fit_formula(options)


def fit_formula(options: argparse.Namespace) -> Results:
    """Fit the model of a formula and the options beside it."""
    return melogit(
        options.formula,
        find_data(options.data),
        method=options.method,
        intpoints=options.intpoints,
        covariance=structures(options.covariance),
        event=options.event,
        trials=options.trials,
        weights=options.weights,
        offset=options.offset,
        missing=options.missing,
        level=options.level,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
        threads=options.threads,
        progress=True if options.log else False if options.quiet else None,
    )


def is_command(text: str) -> bool:
    """Tell a Stata command from a formula."""
    return "~" not in text and text.split()[:1] != [] and text.split()[0] in ESTIMATION


def fit_stata(options: argparse.Namespace) -> Results:
    """Fit the model of a Stata command, which says everything about the model itself."""
    defaults = {"intpoints": "auto", "missing": "drop", "level": 0.95, "tolerance": 1e-3, "max_iterations": 100}
    for name in ("event", "trials", "weights", "offset", "covariance", "method", "threads", *defaults):
        if getattr(options, name) != defaults.get(name):
            raise ModelError(
                f"--{name.replace('_', '-')} goes with a formula. A Stata command has options of its own: "
                "intpoints(), binomial(), offset(), level() ..."
            )
    return stata(options.formula, find_data(options.data))


def fit_content(fit: Results, version: str) -> dict[str, Any]:
    """Everything about a fit but the data, for ``--json``."""
    wording = fit.fit.wording
    return {
        "melogit": version,
        "formula": wording.formula,
        "response": wording.response,
        "event": wording.event,
        "status": fit.status,
        "converged": fit.converged,
        "warnings": list(fit.fit.messages),
        "notes": list(wording.notes),
        "nobs": fit.nobs,
        "rows_read": wording.rows_read,
        "rows_used": wording.rows_used,
        "rows_missing": dict(wording.rows_missing),
        "dropped_columns": dict(wording.dropped_columns),
        "groups": rows(fit.groups, "group"),
        "level": fit.level,
        "fixed_effects": rows(fixed_effects(fit), "term"),
        "odds_ratios": rows(fit.odds_ratios(), "term"),
        "variance_components": fit.varcomp.reset_index().to_dict("records"),
        "parameters": list(fit.fit.names),
        "covariance": fit.fit.cov,
        "loglik": fit.llf,
        "loglik_fixed_only": fit.llf_fixed_only,
        "aic": fit.aic,
        "bic": fit.bic,
        "df_model": fit.df_model,
        "wald": fit.wald._asdict(),
        "lr_test": fit.lr_test._asdict(),
        "integration": {**dataclasses.asdict(fit.integration), "accurate": fit.integration.accurate},
        "iterations": len(fit.trace),
        "seconds": fit.fit.seconds,
    }


def fixed_effects(fit: Results) -> pd.DataFrame:
    """Coefficients with standard errors, tests and intervals."""
    names = fit.fe_params.index
    table = pd.DataFrame({"estimate": fit.fe_params, "std_err": fit.bse[names], "z": fit.zvalues, "p": fit.pvalues})
    return table.join(fit.conf_int().loc[names])


def rows(table: pd.DataFrame, name: str) -> list[dict[Any, Any]]:
    """Rows of a table as dicts, its index under ``name``."""
    return table.reset_index(names=name).to_dict("records")


def page(title: str, body: str) -> str:
    """Put a whole web page around a table."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n"
        "<style>body { font-family: sans-serif; margin: 2em; }</style>\n"
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def run_describe(options: argparse.Namespace, version: str) -> int:
    """Print summaries, tabulations and correlations."""
    check_outputs([options.json])
    found = describe(
        find_data(options.data), options.columns or None, tabulate=options.tabulate, correlate=options.correlate
    )
    if options.json != "-":
        print(found)
    if options.json:
        write_json(options.json, {"melogit": version, **found.to_dict()})
    return 0


def run_show(options: argparse.Namespace, version: str) -> int:
    """Print the table of a saved model."""
    fit = load(options.model)
    print(fit.summary(odds_ratios=options.odds_ratios))
    return 0 if fit.converged else NOT_CONVERGED


def run_datasets(options: argparse.Namespace, version: str) -> int:
    """List the data sets, explain one, or write it as CSV."""
    if options.name is None:
        if options.out:
            raise DataError("--out needs the name of a data set: melogit datasets hospital --out hospital.csv")
        for name in dataset_names():
            facts = dataset_facts(name)
            print(f"{name:<11}{facts['rows']:>6,} rows  {facts['title']}")
        return 0
    facts = dataset_facts(options.name)
    if options.out:
        check_outputs([options.out])
        write_text(options.out, load_dataset(options.name).to_csv(index=False, lineterminator="\n"))
        print(f"{facts['rows']:,} rows written to {Path(options.out)}")
    else:
        print(explanation(facts))
    return 0


def explanation(facts: dict[str, Any]) -> str:
    """Say in text what a data set holds."""
    lines = [facts["title"], f"{facts['rows']:,} rows", "", "A model that suits it:", f"  {facts['formula']}"]
    if facts["columns"]:
        width = max(len(name) for name in facts["columns"])
        lines += ["", "Columns:", *(f"  {name:<{width}}  {text}" for name, text in facts["columns"].items())]
    if "true_fixed" in facts:
        truth = {**facts["true_fixed"], **facts["true_variance"]}
        width = max(len(name) for name in truth)
        lines += ["", "It was simulated with:", *(f"  {name:<{width}}  {value:g}" for name, value in truth.items())]
    return "\n".join(lines)
