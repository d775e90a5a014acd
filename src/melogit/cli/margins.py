"""``melogit margins``: fit a model, print its margins or marginal effects."""

from __future__ import annotations

import argparse
import re
from typing import Any

from melogit.cli.commands import NOT_CONVERGED, fit_model, rows
from melogit.cli.files import check_outputs, write_json, write_text
from melogit.cli.power import PICTURES
from melogit.effects.margins import ELASTICITIES
from melogit.errors import ModelError
from melogit.results import Results
from melogit.results.margins import Margins

STEPS = re.compile(r"(?P<first>[-+.\deE]+)\((?P<step>[-+.\deE]+)\)(?P<last>[-+.\deE]+)")
MAX_STEPS = 10_000


def run_margins(options: argparse.Namespace, version: str) -> int:
    """Fit, print the margins, write the files asked for."""
    check_outputs([options.json, options.csv, options.plot])
    if options.plot and not options.plot.lower().endswith(PICTURES):
        raise ModelError(f"--plot {options.plot}: a picture is one of {', '.join(PICTURES)}.")
    if options.adjust != "none" and options.contrast is None:
        raise ModelError(f"--adjust {options.adjust} goes with --contrast.")
    settings = [_split(text) for text in options.at or ()]
    fit = fit_model(options)
    found = fit.margins(
        {name: _values(fit, name, values) for name, values in settings} or None,
        **{measure: _names(getattr(options, measure)) for measure in ELASTICITIES},
        over=options.over,
        kind=options.kind,
        atmeans=options.atmeans,
        intpoints=options.margin_points,
        contrast=options.contrast,
        adjust=options.adjust,
    )
    effect = _effect(found) if options.effect else None
    if not options.quiet and options.json != "-":
        print(found)
        if effect is not None:
            print(f"\nThe second against the first:\n{effect.to_string(float_format='%.6g')}")
    if options.json:
        content = _content(found, version, options.formula)
        write_json(options.json, content if effect is None else {**content, "effect": rows(effect, "measure")})
    if options.csv:
        write_text(options.csv, found.table.to_csv(index=False, lineterminator="\n"))
    if options.plot:
        found.plot().figure.savefig(options.plot, dpi=150, bbox_inches="tight")
    return 0 if fit.converged else NOT_CONVERGED


def _split(text: str) -> tuple[str, list[str]]:
    """``Age=40,60`` as a name and its values."""
    name, sign, values = text.partition("=")
    if not sign or not name.strip() or not values.strip():
        raise ModelError(f"--at {text!r} cannot be read: give a predictor and its values, such as Age=40,60.")
    return name.strip(), [value.strip() for value in values.split(",")]


def _values(fit: Results, name: str, texts: list[str]) -> Any:
    """Values of a predictor: numbers where it is one; a lone word is handed on as it is."""
    kind = next((c.kind for c in fit.recipe.columns if c.name == name), "") if fit.recipe is not None else ""
    values: list[Any] = []
    for text in texts:
        values += _numbers(text) if kind == "number" else [text]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else values


def _numbers(text: str) -> list[Any]:
    """``2``, ``1(1)10``, or a word such as ``mean``."""
    try:
        steps = STEPS.fullmatch(text)
        if steps is None:
            return [float(text)]
        first, step, last = (float(part) for part in steps.groups())
    except ValueError:
        return [text]
    count = (last - first) / step if step else -1.0
    if not 0 <= count < MAX_STEPS:
        raise ModelError(f"{text} does not lead from {first:g} to {last:g}, or by more than {MAX_STEPS:,} steps.")
    return [first + k * step for k in range(int(count + 1e-9) + 1)]


def _names(given: list[str] | None) -> Any:
    """All predictors for ``*``."""
    return "*" if given == ["*"] else given


def _effect(found: Margins) -> Any:
    if len(found) != 2:
        raise ModelError(f"--effect compares two margins, and there are {len(found)}: name two settings with --at.")
    return found.effect(0, 1)


def _content(found: Margins, version: str, formula: str) -> dict[str, Any]:
    return {
        "melogit": version,
        "formula": formula,
        "kind": found.kind,
        "measure": found.measure,
        "level": found.level,
        "margins": found.table.to_dict("records"),
        "covariance": found.cov.tolist(),
        "notes": list(found.notes),
    }
