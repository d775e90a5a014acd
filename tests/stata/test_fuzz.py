"""Whatever is typed, nothing but our own errors comes out, and nothing typed is executed."""

import builtins
import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melogit.errors import MelogitError
from melogit.stata import front, stata
from melogit.stata.data import Dataset
from melogit.stata.expressions import compute
from melogit.stata.grammar import parse_command
from melogit.stata.model import read_model
from melogit.stata.script import read_script
from melogit.stata.session import begin, run_script, step
from melogit.stata.translate import translate
from melogit.stata.words import tokenize

PIECES = [
    "melogit", "meqrlogit", "xtmelogit", "bootstrap", "quietly", "margins", "predict", "test", "testparm", "lincom",
    "estat", "generate", "replace", "drop", "keep", "encode", "rename", "summarize", "tab1", "tabulate", "correlate",
    "lrtest", "estimates", "set", "y", "x", "stage", "did", "hid", "age", "sex", "arm", "_all", "_cons", "_n", "R.",
    "i.", "c.", "ib2.", "ib(last).", "ibn.", "2.", "#", "##", "||", "|", ":", ",", "(", ")", "[", "]", "=", "==", "!=",
    "<", ">", "&", "!", "~", "+", "-", "*", "/", "^", ".", "1", "7", "2.5", "1e400", "1/10", "(1(1)10)", "if", "in",
    "using", "[fw=w]", "or", "nocons", "cov(un)", "cov(", "intpoints(7)", "intp(5 3)", "vce(cluster hid)", "offset(x)",
    "binomial(n)", "level(90)", "at(x=1)", "dydx(*)", "over(sex)", "reffects", "gen(z)", "store m", '"I"', '"', "`",
    "'", "ln(", "cond(", "missing(", "x*", "x-age", "?", "é", "\0", "\n", "///", "//", "/*", "__import__", "lambda",
    "{", "}", "foreach i of varlist x age {", "`i'", "class", "None", "\U0001d7d9", "٣", "²",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).flatmap(
    lambda pieces: st.sampled_from([" ".join(pieces), "".join(pieces)])
)
MODELS = st.builds(
    lambda head, middle, tail: f"{head} {middle} || {tail}",
    st.sampled_from(["melogit y", "meqrlogit y x", "melogit y i.stage", "xtmelogit"]),
    TEXT,
    TEXT.map(lambda text: f"did: {text}"),
)


def translated(text, data):
    command = parse_command(text)
    model = read_model(command)
    translate(model, None)
    used = front.chosen_rows(command, data)
    translate(model, used)


def only_our_errors(function, *arguments):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*arguments)
    except MelogitError as error:
        assert str(error).strip()


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXT, MODELS, st.text(max_size=60)))
def test_parsing_and_translating(text):
    only_our_errors(translated, text, DATASET)


@settings(max_examples=200, deadline=None)
@given(st.one_of(TEXT, st.text(max_size=40)))
def test_expressions(text):
    only_our_errors(lambda: compute(text, tokenize(text), DATASET))


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_do_files(text):
    only_our_errors(lambda: read_script(text))
    only_our_errors(lambda: run_script(text, begin(DATASET), lambda said: None))


@settings(max_examples=60, deadline=None)
@given(MODELS)
def test_fits(text):
    only_our_errors(stata, text, DATASET)


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_commands_after_a_fit(text):
    word = random.Random(len(text)).choice(
        [
            "margins",
            "predict",
            "test",
            "testparm",
            "lincom",
            "estat",
            "estimates",
            "lrtest",
            "melogit,",
            "generate",
            "su",
        ]
    )
    only_our_errors(step, FITTED(), f"{word} {text}")


def test_nothing_is_executed(monkeypatch):
    def forbidden(*arguments, **options):
        raise AssertionError("eval or exec was called")

    monkeypatch.setattr(builtins, "eval", forbidden)
    monkeypatch.setattr(builtins, "exec", forbidden)
    state = begin(DATASET)
    for text in ("gen z = __import__", "gen z = eval(x)", "replace x = x.__class__", 'drop if exec("1")'):
        with pytest.raises(MelogitError):
            step(state, text)
    step(state, "gen z = exp(x) + cond(x > 0, 1, 2)^2")


def _dataset():
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(3)
    did = np.repeat(np.arange(12), 6)
    frame = pd.DataFrame(
        {
            "Y": rng.integers(0, 2, 72),
            "X": rng.normal(size=72),
            "Age": rng.integers(20, 60, 72),
            "Stage": rng.choice(["I", "II"], 72),
            "Sex": pd.Categorical(rng.choice(["m", "f"], 72)),
            "Arm": rng.integers(1, 3, 72),
            "DID": did,
            "HID": did // 3,
            "N": 5,
            "W": 1,
        }
    )
    return Dataset(frame)


DATASET = _dataset()
_CACHE = []


def FITTED():
    if not _CACHE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _CACHE.append(step(begin(DATASET), "quietly melogit y x i.stage || did:")[0])
    return _CACHE[0]
