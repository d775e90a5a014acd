"""Commands after the fit: each asks the results, and lays the answer out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from melogit.errors import ModelError
from melogit.report import number, probability
from melogit.report.numbers import statistic
from melogit.results import Results, lrtest
from melogit.stata.bootstrap import interval_report
from melogit.stata.data import Dataset
from melogit.stata.data_commands import Step
from melogit.stata.factors import read_terms
from melogit.stata.fitted import StataResults, coefficient_label, group_label
from melogit.stata.grammar import Command, Option
from melogit.stata.model import percent
from melogit.stata.references import References
from melogit.stata.state import State, data_of, fit_of
from melogit.stata.words import Token, find_top, is_operator, match_word


def available(fit: Results, method: str, command: Command) -> None:
    """Refuse a command whose method the results do not have yet."""
    if not hasattr(fit, method):
        raise ModelError(f"'{command.name}' is not available in this version: results have no {method}().")


def own_options(command: Command, table: dict[str, str]) -> dict[str, Option]:
    """Check the options of a command that reads its own; shortened names are completed."""
    found: dict[str, Option] = {}
    for name, option in command.main.options.items():
        entry = match_word(name, table)
        if entry is None:
            known = ", ".join(key.lower() for key in table) or "none"
            raise command.error(option.start, f"{command.name} has no option '{name}' here. Supported: {known}.")
        if ("(" in entry) != bool(option.argument):
            raise command.error(option.start, f"this option is written as {entry.lower()}.")
        found[entry.partition("(")[0].lower()] = option
    return found


def references(state: State, command: Command) -> References:
    """Read names of coefficients in this command."""
    return References(command.text, fit_of(state, command), data_of(state, command))


# ---------------------------------------------------------------------------------------------------- estat

BOOTSTRAP = {
    "bc": "bias-corrected intervals, the default",
    "Normal": "from the standard errors",
    "Percentile": "quantiles of the replicates",
    "bca": "bias-corrected and accelerated intervals",
    "all": "all of these",
}


def estat(state: State, command: Command) -> Step:
    """``estat icc``, ``group``, ``ic``, ``sd`` and ``bootstrap``."""
    fit = fit_of(state, command)
    word = command.main.body[0].text if command.main.body else ""
    kinds = {"icc": _icc, "group": _groups, "ic": _criteria, "sd": _deviations}
    if (word != "bootstrap" and word not in kinds) or len(command.main.body) > 1:
        raise command.error(command.main.end, f"supported: estat {', estat '.join([*kinds, 'bootstrap'])}.")
    if word == "bootstrap":
        return state, interval_report(fit, command, own_options(command, BOOTSTRAP))
    own_options(command, {})
    return state, kinds[word](fit)


def _icc(fit: StataResults) -> str:
    table = fit.icc()
    table.index = [_nested(str(label)) for label in table.index]
    return "Intraclass correlation\n\n" + laid_out(table, "Level", ["ICC", "Std. err."], fit.level)


def _nested(label: str) -> str:
    return label.lower()


def _groups(fit: StataResults) -> str:
    table = fit.groups
    lines = [f"{'Group variable':>16} |{'No. of groups':>15}{'Minimum':>11}{'Average':>11}{'Maximum':>11}"]
    lines.append("-" * 17 + "+" + "-" * 48)
    for name, row in table.to_dict(orient="index").items():
        cells = f"{row['groups']:>15,}{row['min']:>11,}{row['mean']:>11,.1f}{row['max']:>11,}"
        lines.append(f"{group_label(str(name), last=True):>16} |{cells}")
    return "\n".join(lines)


def _criteria(fit: StataResults) -> str:
    heads = ("N", "ll(null)", "ll(model)", "df", "AIC", "BIC")
    cells = (f"{fit.nobs:,}", ".", number(fit.llf), str(fit.df_model), number(fit.aic), number(fit.bic))
    lines = ["Akaike's information criterion and Bayesian information criterion", ""]
    lines.append(f"{'Model':>12} |" + "".join(f"{head:>12}" for head in heads))
    lines += ["-" * 13 + "+" + "-" * 72, f"{'.':>12} |" + "".join(f"{cell:>12}" for cell in cells)]
    return "\n".join(lines)


def _deviations(fit: StataResults) -> str:
    table = fit.sdcorr
    labels = [f"{group_label(group)}: {_cons(term)}" for group, term in table.index]
    return laid_out(table.set_axis(labels), "", ["Estimate", "Std. err."], fit.level)


def _cons(term: str) -> str:
    return term.replace("Intercept", "_cons").lower()


def laid_out(table: pd.DataFrame, head: str, columns: list[str], level: float) -> str:
    """Lay out a table of an estimate, a standard error, perhaps z and p, and an interval."""
    width = max(12, len(head), *(len(str(label)) for label in table.index))
    interval = f"[{level * 100:g}% conf. interval]"
    titles = "".join(f"{title:>{12 if i < 2 else 8}}" for i, title in enumerate(columns))
    rule = "-" * (width + 1) + "+" + "-" * (len(titles) + 24)
    lines = [f"{head:>{width}} |{titles}{interval:>24}", rule]
    for label, row in zip(table.index, table.to_numpy(dtype=float).tolist(), strict=True):
        cells = f"{number(row[0]):>12}{number(row[1]):>12}"
        if len(columns) > 2:
            cells += f"{statistic(row[2]):>8}{probability(row[3]):>8}"
        lines.append(f"{label:>{width}} |{cells}{number(row[-2]):>12}{number(row[-1]):>12}")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- tests


def wald_test(state: State, command: Command) -> Step:
    """``test il6 crp``, ``test il6 = crp``, ``test (a = b) (c = 0)``, ``testparm i.stage``."""
    fit = fit_of(state, command)
    available(fit, "test", command)
    own_options(command, {})
    body = command.main.body
    if not body:
        raise command.error(command.main.end, f"{command.name} needs the names of coefficients.")
    reader = references(state, command)
    if command.name == "testparm":
        hypotheses = _all_zero(fit, reader.of_terms(read_terms(command.text, body)))
    elif not any(is_operator(token, "=", "==") for token in body):
        hypotheses = _all_zero(fit, reader.listed(body))
    else:
        hypotheses = _restrictions(reader, command, body)
    found = fit.test(*hypotheses)
    lines = [f" ({i})  {shown}" for i, shown in enumerate(hypotheses.values(), 1)]
    lines += ["", f"           chi2({found.df:>3}) = {statistic(found.stat):>8}"]
    return state, "\n".join([*lines, f"         Prob > chi2 = {probability(found.p, 4):>8}"])


def _all_zero(fit: StataResults, names: list[str]) -> dict[str, str]:
    """Hypothesis -> how it is shown."""
    return {f"{name} = 0": f"{coefficient_label(name, fit.wording.labels)} = 0" for name in names}


def _restrictions(reader: References, command: Command, body: tuple[Token, ...]) -> dict[str, str]:
    if find_top(body, "=", "=="):
        return {reader.translated(body): command.raw(body)}
    found, i = {}, 0
    while i < len(body):
        if not is_operator(body[i], "("):
            raise command.error(body[i].start, "several restrictions stand in brackets each: test (a = b) (c = 0).")
        depth, j = 0, i
        while True:
            depth += is_operator(body[j], "(") - is_operator(body[j], ")")
            if depth == 0:
                break
            j += 1
        inner = body[i + 1 : j]
        found[reader.translated(inner)] = command.raw(inner)
        i = j + 1
    return found


def combination(state: State, command: Command) -> Step:
    """``lincom 2.stage - 3.stage, or``."""
    fit = fit_of(state, command)
    available(fit, "lincom", command)
    given = own_options(command, {"or": "odds ratio", "Level(#)": "confidence level"})
    if not command.main.body:
        raise command.error(command.main.end, "lincom needs a combination of coefficients, such as lincom il6 + 2*crp.")
    expression = references(state, command).translated(command.main.body)
    level = percent(command, given["level"]) if "level" in given else fit.level
    table = fit.lincom({"(1)": expression}, odds_ratios="or" in given, level=level)
    columns = ["Odds ratio" if "or" in given else "Coefficient", "Std. err.", "z", "P>|z|"]
    return state, f" ( 1)  {command.raw(command.main.body)}\n\n" + laid_out(table, "", columns, level)


def likelihood_ratio(state: State, command: Command) -> Step:
    """``lrtest m1 m2``; ``.`` or nothing stands for the last fit."""
    own_options(command, {})
    names = [token.text for token in command.main.body]
    if not 1 <= len(names) <= 2:
        raise command.error(command.main.start, "lrtest compares two fits stored by estimates store: lrtest m1 m2.")
    models = [fit_of(state, command) if name == "." else stored(state, command, i) for i, name in enumerate(names)]
    a, b = models if len(models) == 2 else (models[0], fit_of(state, command))
    found = lrtest(a, b)
    lines = ["Likelihood-ratio test", f"Assumption: {' nested within '.join([*names, '.'][:2])}, or the reverse", ""]
    lines.append(f" LR {found.kind} = {statistic(found.stat):>8}")
    return state, "\n".join([*lines, f"Prob > {found.kind.split('(')[0]} = {probability(found.p, 4):>8}"])


def stored(state: State, command: Command, place: int) -> StataResults:
    """A fit by the name it was stored under."""
    token = command.main.body[place]
    if token.text not in state.stored:
        known = ", ".join(state.stored) or "none yet"
        raise command.error(token.start, f"no fit is stored as '{token.text}' (stored: {known}).")
    return state.stored[token.text]


def estimates(state: State, command: Command) -> Step:
    """``estimates store name``, ``estimates restore name``, ``estimates dir``."""
    words = [token.text for token in command.main.body]
    if words[:1] == ["store"] and len(words) == 2 and command.main.body[1].kind == "name":
        return replace(state, stored={**state.stored, words[1]: fit_of(state, command)}), ""
    if words[:1] == ["restore"] and len(words) == 2:
        return replace(state, fit=stored(state, command, 1)), f"(results {words[1]} are active now)"
    if words == ["dir"]:
        lines = [f"{name:>12} | {fit.wording.command}" for name, fit in state.stored.items()]
        return state, "\n".join(lines) or "(nothing is stored)"
    raise command.error(command.main.start, "supported: estimates store name, estimates restore name, estimates dir.")


# ---------------------------------------------------------------------------------------------- predictions

PREDICT = {
    "mu": "probability, given the groups' own effects; the default",
    "FIXEDonly": "random effects 0",
    "CONDitional(text)": "conditional(fixedonly): random effects 0",
    "MARGinal": "averaged over the random effects",
    "xb": "linear predictor of the fixed part",
    "eta": "linear predictor with the groups' own effects",
    "REFfects": "the groups' random effects: posterior means",
    "EBMEANs": "posterior means, the default",
    "EBMODEs": "posterior modes",
    "RESEs(text)": "with reffects: new variables for their standard errors",
    "RESiduals": "response residuals",
    "PEarson": "Pearson residuals",
    "DEViance": "deviance residuals",
    "ANScombe": "Anscombe residuals",
}
RESIDUALS = {"residuals": "response", "pearson": "pearson", "deviance": "deviance", "anscombe": "anscombe"}


def prediction_kind(command: Command, given: dict[str, Option]) -> str:
    """``mu``, ``mu_fixed``, ``marginal``, ``xb`` or ``eta``, from the options of ``predict``."""
    fixed = "fixedonly" in given or "conditional" in given
    if "conditional" in given and given["conditional"].text not in ("fixedonly", "fixed", "ebmeans"):
        raise command.error(given["conditional"].start, "supported: conditional(ebmeans) and conditional(fixedonly).")
    fixed = fixed and not ("conditional" in given and given["conditional"].text == "ebmeans")
    chosen = [kind for kind in ("marginal", "xb", "eta") if kind in given] + (["mu_fixed"] if fixed else [])
    if chosen == ["eta", "mu_fixed"]:
        return "xb"
    if len(chosen) > 1:
        raise command.error(command.main.end, f"choose one of {' and '.join(chosen)}.")
    return chosen[0] if chosen else "mu"


def predict(state: State, command: Command) -> Step:
    """``predict new, mu|xb|eta|reffects|residuals ...``: new variables, missing for rows that are not in the fit."""
    fit, data = fit_of(state, command), data_of(state, command)
    given = own_options(command, PREDICT)
    if fit.design is None or not pd.Index(fit.design.row_labels).isin(data.frame.index).all():
        raise ModelError("Rows of the fit have been dropped since, so predictions have no place in the data.")
    if "reffects" in given:
        columns = _random_effects(fit, command, given)
    else:
        names = _stubs(command, command.main.body, 1, command.main.end)
        residual = next((RESIDUALS[name] for name in RESIDUALS if name in given), None)
        if residual is not None:
            available(fit, "residuals", command)
            values = cast(Any, fit).residuals(residual)
        else:
            kind = prediction_kind(command, given)
            available(fit, "predict", command)
            values = cast(Any, fit).predict(kind=kind)
        columns = {names[0]: np.asarray(values, dtype=float)}
    return replace(state, data=_added(data, fit, columns, command)), ""


def _added(data: Dataset, fit: StataResults, columns: dict[str, np.ndarray], command: Command) -> Dataset:
    assert fit.design is not None
    for name, values in columns.items():
        if name in data.names:
            raise command.error(command.main.start, f"there is a variable '{name}' already.")
        data = data.with_column(name, pd.Series(values, index=fit.design.row_labels).reindex(data.frame.index))
    return data


def _random_effects(fit: StataResults, command: Command, given: dict[str, Option]) -> dict[str, np.ndarray]:
    assert fit.design is not None
    values, errors = [], []
    for term, found in zip(fit.design.terms, fit.fit.terms, strict=True):
        chosen = found.modes if "ebmodes" in given else found.means
        values += [chosen[term.factor.codes, k] for k in range(len(term.names))]
        errors += [found.std_err[term.factor.codes, k] for k in range(len(term.names))]
    columns = dict(zip(_stubs(command, command.main.body, len(values), command.main.end), values, strict=True))
    if "reses" in given:
        option = given["reses"]
        columns.update(zip(_stubs(command, option.argument or (), len(errors), option.start), errors, strict=True))
    return columns


def _stubs(command: Command, tokens: tuple[Token, ...], n: int, place: int) -> list[str]:
    """Names of n new variables: written out, or ``re*`` for re1, re2, ..."""
    if len(tokens) == 2 and tokens[0].kind == "name" and is_operator(tokens[1], "*"):
        return [f"{tokens[0].text}{k}" for k in range(1, n + 1)]
    names = [token.text for token in tokens if token.kind == "name"]
    if len(names) != n or len(tokens) != n or len(set(names)) != n:
        wanted = "one new variable" if n == 1 else f"{n} new variables, or a stub such as re*,"
        raise command.error(place, f"{wanted} must be named here.")
    return names
