"""Commands about data: each takes the state and returns the new one with what there is to say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from melogit.datasets import dataset_names, load_dataset
from melogit.describe import describe
from melogit.errors import DataError
from melogit.stata.data import Dataset, kind_of, levels_of, open_data
from melogit.stata.expressions import Value, as_column, compute, condition, row_range
from melogit.stata.factors import find_column, find_columns, read_names
from melogit.stata.grammar import Command
from melogit.stata.state import State, data_of
from melogit.stata.words import Token, is_operator

Step = tuple[State, str]
_RESERVED = frozenset(("if", "in", "using", "with", "_all", "_b", "_cons", "_n", "_N", "_pi", "_rc", "_se"))
_TYPES = re.compile(r"byte|int|long|float|double|str\d*|strL")


# ----------------------------------------------------------------------------------------------- reading files


def read_file(state: State, command: Command) -> Step:
    """``use``, ``insheet using`` and ``import delimited``; the imports lower the names, as Stata's do."""
    given = command.main.options
    tokens = command.main.using or command.main.body
    if command.name == "import":
        first, *rest = command.main.body or (None,)
        if first is None or first.text not in ("delimited", "delim"):
            place = command.main.start if first is None else first.start
            raise command.error(place, "only 'import delimited' is supported.")
        tokens = command.main.using or tuple(rest)
    if not tokens:
        raise command.error(command.main.end, "the name of a file is missing here.")
    if state.data is not None and "clear" not in given:
        raise command.error(
            command.start, "the data in memory would be replaced. Add the option clear if that is meant."
        )
    name = tokens[0].text if len(tokens) == 1 and tokens[0].kind == "string" else command.raw(tokens)
    data = _find(command, name.strip(), tokens[0])
    keeps_case = command.name == "use" or ("case" in given and given["case"].text in ("", "preserve"))
    if not keeps_case:
        data = lowered(data)
    rows, columns = data.frame.shape
    return replace(state, data=data), f"({columns:,} vars, {rows:,} obs)"


def _find(command: Command, name: str, place: Token) -> Dataset:
    if re.match(r"\w+://", name):
        stem = name.rpartition("/")[2].partition(".")[0]
        if stem in dataset_names():  # the teaching data of tutorials, by their well-known name
            return open_data(load_dataset(stem))
        raise command.error(place.start, "files are not fetched from the network. Download it, and give its path.")
    path = Path(name).expanduser()
    for candidate in (path, path.with_name(path.name + (".dta" if command.name == "use" else ".csv"))):
        if candidate.is_file():
            return open_data(str(candidate))
    if name in dataset_names():
        return open_data(load_dataset(name))
    return open_data(name)  # says that there is no such file


def lowered(data: Dataset) -> Dataset:
    """Lower the names; refuse two that would become one."""
    new: dict[str, str] = {}
    for name in data.names:
        same = next((old for old, low in new.items() if low == name.lower()), None)
        if same is not None:
            raise DataError(
                f"The columns '{same}' and '{name}' would both be called '{name.lower()}'. Rename one of them."
            )
        new[name] = name.lower()
    return data.renamed(new)


# -------------------------------------------------------------------------------------------- changing columns


def _rows(command: Command, data: Dataset) -> np.ndarray:
    keep = np.ones(len(data.frame), dtype=bool)
    if command.main.within:
        keep &= row_range(command.text, command.main.within, len(keep))
    if command.main.condition:
        keep &= condition(command.text, command.main.condition, data)
    return keep


def _new_name(command: Command, token: Token, data: Dataset) -> str:
    name = token.text
    if token.kind != "name" or name in _RESERVED or len(name) > 32:
        raise command.error(token.start, f"'{name}' cannot be the name of a new variable.")
    if name in data.names:
        raise command.error(token.start, f"there is a variable '{name}' already.")
    return name


def _assignment(command: Command) -> tuple[Token, tuple[Token, ...]]:
    """Split ``name = expression``, with an optional storage type before the name."""
    body = command.main.body
    if len(body) > 1 and _TYPES.fullmatch(body[0].text) and body[1].kind == "name":
        body = body[1:]
    if len(body) < 3 or body[0].kind != "name" or not is_operator(body[1], "="):
        place = body[0].start if body else command.main.start
        raise command.error(place, f"write: {command.name} name = expression.")
    return body[0], body[2:]


def generate(state: State, command: Command) -> Step:
    """``generate new = expression``: missing where ``if`` or ``in`` leave a row out."""
    data = data_of(state, command)
    target, tokens = _assignment(command)
    name = _new_name(command, target, data)
    value = compute(command.text, tokens, data)
    column = as_column(_only(value, _rows(command, data)), data.frame.index)
    missing = int(column.isna().sum())
    said = f"({missing:,} missing value{'s' if missing != 1 else ''} generated)" if missing else ""
    return replace(state, data=data.with_column(name, column)), said


def _only(value: Value, keep: np.ndarray) -> Value:
    if value.numbers is not None:
        return Value(np.where(keep, value.numbers, np.nan))
    assert value.texts is not None
    return Value(None, np.where(keep, value.texts, ""))


def replace_values(state: State, command: Command) -> Step:
    """``replace old = expression``: only where ``if`` and ``in`` hold."""
    data = data_of(state, command)
    target, tokens = _assignment(command)
    name = find_column(command.text, read_names(command.text, [target])[0], data.names)
    column = data.column(name)
    value = compute(command.text, tokens, data)
    keep = _rows(command, data)
    numeric = kind_of(column) == "number"
    if numeric == (value.numbers is None) or isinstance(column.dtype, pd.CategoricalDtype):
        holds = "numbers" if numeric else "labelled categories" if name in data.codes else "text"
        gives = "text" if value.numbers is None else "numbers"
        raise command.error(target.start, f"'{name}' holds {holds}, which cannot be replaced by {gives} here.")
    if value.numbers is not None:
        old = column.to_numpy(dtype=float, na_value=np.nan)
        new = np.where(keep, value.numbers, old)
        changes = int((~((old == new) | (np.isnan(old) & np.isnan(new)))).sum())
        written = as_column(Value(new), data.frame.index)
    else:
        was = np.array(["" if missing else str(x) for x, missing in zip(column, column.isna(), strict=True)], object)
        assert value.texts is not None
        texts = np.where(keep, value.texts, was)
        changes = int((texts != was).sum())
        written = as_column(Value(None, texts), data.frame.index)
    said = f"({changes:,} real change{'s' if changes != 1 else ''} made)"
    return replace(state, data=data.with_column(name, written)), said


def encode(state: State, command: Command) -> Step:
    """``encode text, generate(new)``: the labels in alphabetical order, numbered from 1."""
    data = data_of(state, command)
    names = read_names(command.text, command.main.body)
    if len(names) != 1 or "generate" not in command.main.options:
        raise command.error(command.main.start, "write: encode variable, generate(newname).")
    name = find_column(command.text, names[0], data.names)
    new = command.main.options["generate"].argument or ()
    if len(new) != 1:
        raise command.error(command.main.options["generate"].start, "generate() takes one new name.")
    target = _new_name(command, new[0], data)
    column = data.column(name)
    if kind_of(column) != "category":
        raise command.error(names[0].start, f"'{name}' does not hold text; only text can be encoded.")
    labels = sorted(str(level) for level in levels_of(data, name))
    texts = column.astype("object").where(column.notna(), None).map(lambda x: None if x is None else str(x))
    values = pd.Categorical(texts, categories=labels)
    return replace(state, data=data.with_column(target, values, dict(enumerate(labels, 1)))), ""


def drop_or_keep(state: State, command: Command) -> Step:
    """``drop`` and ``keep``: variables, or rows by ``if`` and ``in``."""
    data = data_of(state, command)
    by_rows = bool(command.main.condition or command.main.within)
    if by_rows == bool(command.main.body):
        message = f"{command.name} takes variables, or rows by 'if' and 'in', one of the two."
        raise command.error(command.main.start, message)
    if by_rows:
        chosen = _rows(command, data)
        keep = chosen if command.name == "keep" else ~chosen
        gone = int((~keep).sum())
        said = f"({gone:,} observation{'s' if gone != 1 else ''} deleted)"
        return replace(state, data=data.rows(keep)), said
    names = _columns(command, data)
    kept = [name for name in data.frame.columns if (name in names) == (command.name == "keep")]
    codes = {name: labels for name, labels in data.codes.items() if name in kept}
    return replace(state, data=Dataset(data.frame.loc[:, kept], codes)), ""


def rename(state: State, command: Command) -> Step:
    """``rename old new``."""
    data = data_of(state, command)
    if len(command.main.body) != 2:
        raise command.error(command.main.start, "write: rename old new.")
    old, new = command.main.body
    name = find_column(command.text, read_names(command.text, [old])[0], data.names)
    if new.text == name:
        return state, ""
    return replace(state, data=data.renamed({name: _new_name(command, new, data)})), ""


def _columns(command: Command, data: Dataset) -> list[str]:
    """Columns of a list of variables, once each; all of them where nothing is listed."""
    found: dict[str, None] = {}
    for variable in read_names(command.text, command.main.body):
        found.update(dict.fromkeys(find_columns(command.text, variable, data.names)))
    return list(found)


# ------------------------------------------------------------------------------------------------ describing


def show(state: State, command: Command) -> Step:
    """``summarize``, ``tab1``, ``tabulate`` and ``correlate``."""
    data = data_of(state, command)
    used = data.rows(_rows(command, data))
    names = _columns(command, data)
    if command.name == "summarize":
        return state, str(describe(used.frame, names or list(data.names)))
    if command.name == "correlate":
        names = names or [name for name in data.names if kind_of(data.column(name)) == "number"]
        complete = used.frame[names].dropna()  # correlate uses complete rows only, unlike pwcorr
        return state, str(describe(complete, correlate=names))
    if not names:
        raise command.error(command.main.end, f"{command.name} needs the names of variables.")
    if command.name == "tabulate" and len(names) > 1:
        if len(names) > 2:
            raise command.error(command.main.start, "tabulate takes one variable or two; tab1 takes any.")
        return state, crossed_table(used.frame, *names)
    return state, str(describe(used.frame, tabulate=names))


def crossed_table(frame: pd.DataFrame, row: str, column: str) -> str:
    """Count the combinations of two variables."""
    counts = pd.crosstab(frame[row], frame[column], margins=True, margins_name="Total")
    labels = [str(label) for label in counts.index]
    heads = [str(label) for label in counts.columns]
    left = max(10, len(row), *map(len, labels))
    width = max(11, 1 + max(map(len, heads)))
    rule = "-" * (left + 1) + "+" + "-" * (width * len(heads))
    lines = [f"{'':>{left}} | {column}", f"{row:>{left}} |" + "".join(f"{head:>{width}}" for head in heads), rule]
    for i, label in enumerate(labels):
        if i == len(labels) - 1:
            lines.append(rule)
        lines.append(f"{label:>{left}} |" + "".join(f"{int(n):>{width},}" for n in counts.to_numpy()[i]))
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------- settings


def settings(state: State, command: Command) -> Step:
    """``set seed``, ``set more off`` (no effect), ``clear`` and ``version`` (no effect)."""
    body = command.main.body
    if command.name == "clear":
        return State(seed=state.seed), ""
    if command.name == "version":
        return state, ""
    words = [token.text for token in body]
    if words[:1] == ["seed"] and len(body) == 2 and body[1].text.isdecimal() and len(body[1].text) < 19:
        return replace(state, seed=int(body[1].text)), ""
    if words[:1] in (["more"], ["linesize"], ["scheme"], ["type"]) and len(words) == 2:
        return state, ""
    raise command.error(command.main.start, "supported: set seed #, and set more, linesize, scheme (no effect here).")
