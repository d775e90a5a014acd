"""The outcome: 0/1, yes/no, an event among several, or counts of successes. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.errors import DataError
from melogit.formula.columns import categorical, factorize, is_boolean, is_numeric, numbers
from melogit.formula.rows import Rows

FloatArray = NDArray[np.float64]

# Which method a response is for that this one is not.
CONTINUOUS = (
    "A response on a continuous scale is for a linear mixed model (statsmodels' MixedLM, R's lme4::lmer), or cut it at "
    "a value that matters: data['high'] = data[...] > ..."
)
SEVERAL = (
    "Values in order (mild, moderate, severe) are for an ordinal mixed model (R's ordinal::clmm), those without order "
    "for a multinomial one (R's mclogit::mblogit)."
)
COUNTED = (
    "Counts without a number of trials are for a Poisson or negative binomial mixed model (R's glmmTMB), a continuous "
    "scale for a linear one (statsmodels' MixedLM, R's lme4::lmer)."
)
MOST_CLASSES = 10  # more different whole numbers than this are counts or a scale, not classes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Successes ``y`` (n,) out of ``trials`` (n,); ``event`` is the label of the outcome modelled, if not coded 1."""

    y: FloatArray
    trials: FloatArray
    event: str | None
    notes: tuple[str, ...]


def binary(values: pd.Series, name: str, rows: Rows, event: object) -> Outcome:
    """Read a response with one trial per row.

    Parameters
    ----------
    values : Series
        The used rows, without missing values.
    name : str
        The response as written.
    rows : Rows
    event : object
        The value that counts as the event, or None.

    Raises
    ------
    DataError
        Anything but two values, of which one is plainly the event.
    """
    if event is not None:
        y, label = _matching(values, name, event)
    elif is_boolean(values):
        y, label = values.to_numpy(dtype=np.float64), "True"
    elif is_numeric(values):
        y, label = numbers(values, name, rows), None
        _check_constant(y, name)
        _check_coded(y, name, rows)
    else:
        y, label = _second_of_two(values, name)
    _check_constant(y, name, label)
    return Outcome(y, np.ones(len(y)), label, ())


def counts(successes: FloatArray, failures: FloatArray, name: str, rows: Rows) -> Outcome:
    """Read ``cbind(successes, failures)``."""
    total = successes + failures
    if (failures < 0).any():
        i = int((failures < 0).argmax())
        if successes[i] >= 0 and total[i] >= 0:
            raise DataError(
                f"{rows.name(i)}: successes {successes[i]:g} > trials {total[i]:g} in {name} "
                f"(failures = {failures[i]:g}). Correct the counts."
            )
    for label, array in (("successes", successes), ("failures", failures)):
        _check_counts(array, f"{label} in {name}", rows)
    return _grouped(successes, total, name, rows)


def of_trials(y: FloatArray, trials: FloatArray, name: str, rows: Rows) -> Outcome:
    """Read a response with given numbers of trials: counts, or proportions that come out as whole counts."""
    _check_counts(trials, "trials", rows)
    if (y < 0).any():
        i = int((y < 0).argmax())
        raise DataError(f"{rows.name(i)}: {name} = {y[i]:g} is negative; the number of successes is 0 or more.")
    whole = y == np.round(y)
    if not whole.all() and (y <= 1).all():
        product = y * trials
        rounded = np.round(product)
        off = np.abs(product - rounded) > 1e-6
        if off.any():
            i = int(off.argmax())
            raise DataError(
                f"{rows.name(i)}: {name} = {y[i]:.6g} of {trials[i]:g} trials is {product[i]:.6g} successes, "
                "not a whole number. Give counts, or proportions with all their digits."
            )
        return _grouped(rounded, trials, name, rows)
    _check_counts(y, name, rows)
    return _grouped(y, trials, name, rows)


def _grouped(y: FloatArray, trials: FloatArray, name: str, rows: Rows) -> Outcome:
    if (y > trials).any():
        i = int((y > trials).argmax())
        raise DataError(f"{rows.name(i)}: successes {y[i]:g} > trials {trials[i]:g} in {name}. Correct the counts.")
    empty = int((trials == 0).sum())
    if empty == len(trials):
        raise DataError(f"All rows of {name} have zero trials, so there is nothing to fit.")
    if y.sum() == 0 or (y == trials).all():
        which = "failures" if y.sum() == 0 else "successes"
        raise DataError(f"The response {name} is constant: all trials are {which}. Nothing can be estimated from it.")
    notes: tuple[str, ...] = ()
    if empty:
        counted = f"{empty:,} rows have zero trials and add" if empty > 1 else "1 row has zero trials and adds"
        notes = (f"{counted} nothing to the likelihood.",)
    return Outcome(y, trials, None, notes)


def _check_counts(array: FloatArray, what: str, rows: Rows) -> None:
    bad = array < 0
    if bad.any():
        i = int(bad.argmax())
        raise DataError(f"{rows.name(i)}: {what} = {array[i]:g} is negative; counts are 0 or more.")
    bad = array != np.round(array)
    if bad.any():
        i = int(bad.argmax())
        raise DataError(f"{rows.name(i)}: {what} = {array[i]:.6g} is not a whole number; counts are.")


def _matching(values: pd.Series, name: str, event: object) -> tuple[FloatArray, str]:
    codes, levels = factorize(values)
    kind = isinstance(event, (bool, np.bool_))  # 1 == True, but a user who writes 1 means the number
    hits = [i for i, level in enumerate(levels) if level == event and isinstance(level, (bool, np.bool_)) == kind]
    if not hits:  # the command line gives text, whatever the column holds
        hits = [i for i, level in enumerate(levels) if label(level) == label(event)]
    if not hits:
        raise DataError(f"event={event!r} does not occur in the response '{name}', whose values are {_listed(levels)}.")
    return (codes == hits[0]).astype(np.float64), label(levels[hits[0]])


def _second_of_two(values: pd.Series, name: str) -> tuple[FloatArray, str | None]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        array = categorical(values).remove_unused_categories()
        codes, levels = np.asarray(array.codes), list(array.categories)
    else:
        codes, found = factorize(values)
        if any(isinstance(level, str) for level in found) and not all(isinstance(level, str) for level in found):
            raise DataError(f"The response '{name}' mixes text and numbers ({_listed(found)}). Recode it.")
        order = sorted(range(len(found)), key=lambda i: label(found[i]))
        rank = np.empty(len(found), dtype=np.intp)
        rank[order] = np.arange(len(found))
        codes, levels = rank[codes], [found[i] for i in order]
    if len(levels) == 1:
        raise DataError(
            f"The response '{name}' is constant: it is '{label(levels[0])}' in all {len(codes):,} rows. "
            "Nothing can be estimated from it."
        )
    if len(levels) != 2:
        raise DataError(
            f"The response '{name}' must have two values; it has {_count(len(levels))} ({_listed(levels)}). "
            f"Name the one that is the event, such as event={label(levels[-1])!r}; all others count as 0. "
            f"{SEVERAL}"
        )
    chosen = label(levels[1])
    coded = {label(level) for level in levels} == {"0", "1"}
    return (codes == 1).astype(np.float64), None if coded else chosen


def _check_constant(y: FloatArray, name: str, event: str | None = None) -> None:
    if len(y) and (y == y[0]).all():
        if event is None:
            text = f"it is {y[0]:g} in all {len(y):,} rows"
        else:
            text = f"it is {'' if y[0] else 'never '}'{event}'{' in all' if y[0] else ' in'} {len(y):,} rows"
        raise DataError(f"The response '{name}' is constant: {text}. Nothing can be estimated from it.")


def _check_coded(y: FloatArray, name: str, rows: Rows) -> None:
    """Refuse everything but 0 and 1, each wrong coding with its own advice."""
    wrong = (y != 0) & (y != 1)
    if not wrong.any():
        return
    i = int(wrong.argmax())
    if (y < 0).any():
        i = int((y < 0).argmax())
        raise DataError(f"{rows.name(i)}: {name} = {y[i]:g} is negative; expected 0 or 1. Correct or recode it.")
    distinct, sizes = np.unique(y, return_counts=True)
    shown = _listed(list(distinct))
    if (y != np.round(y)).any():
        i = int((y != np.round(y)).argmax())
        if (y <= 1).all() and wrong.mean() > 0.5:
            raise DataError(
                f"The response '{name}' holds proportions ({rows.name(i)}: {y[i]:.6g}) without their numbers of "
                "trials. Give trials=, a column name or a number."
            )
        hint = f" {CONTINUOUS}" if wrong.mean() > 0.5 else ""
        raise DataError(
            f"{rows.name(i)}: {name} = {y[i]:.6g} is not 0 or 1. Correct it; for proportions give trials=.{hint}"
        )
    if len(distinct) == 2:
        raise DataError(
            f"The response '{name}' has values {{{shown}}}; expected 0/1, booleans or two named levels. "
            f"Use event={distinct[1]:g} to say which is the event."
        )
    last, count = distinct[-1], int(sizes[-1])
    raise DataError(
        f"The response '{name}' must have two values; it has {_count(len(distinct))} ({shown}). Recode it, use "
        f"event= to say which value is the event, or drop the {count:,} row{'s' if count > 1 else ''} with {last:g}. "
        f"For counts of successes give trials=. {SEVERAL if len(distinct) <= MOST_CLASSES else COUNTED}"
    )


def label(value: object) -> str:
    """Return the text of a level: whole floats without their ``.0``."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(float(value)) < 2**53:
        return str(int(value))
    return str(value)


def _listed(levels: Sequence) -> str:
    shown = [label(level) for level in levels[:8]]
    return ", ".join(shown) + (", ..." if len(levels) > 8 else "")


def _count(number: int) -> str:
    words = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    return words.get(number, f"{number:,}")
