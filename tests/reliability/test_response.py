"""Faults in the response: rows 7 to 16 of the list of faults. Each test says what the user did."""

from __future__ import annotations

import numpy as np
import pytest

import melogit as me
from melogit.errors import DataError, FormulaError, MelogitError

F = "y ~ x + (1 | g)"


def test_coded_the_response_1_and_2(clean, refuses):
    data = clean.assign(y=clean.y + 1)
    refuses(DataError, ("'y'", "1, 2", "0/1", "event=2"), F, data)
    fit = me.melogit(F, data, event=2)
    assert fit.llf == pytest.approx(me.melogit(F, clean).llf, abs=1e-10)


def test_gave_a_response_with_three_numbers(clean, refuses):
    data = clean.copy()
    data.loc[:13, "y"] = 2
    refuses(DataError, ("'y'", "three", "0, 1, 2", "event="), F, data)


def test_gave_a_response_with_three_labels(clean, refuses):
    data = clean.assign(y=np.where(clean.y == 1, "well", np.where(clean.x > 0, "ill", "dead")))
    refuses(DataError, ("'y'", "three", "dead", "ill", "well", "event="), F, data)
    fit = me.melogit(F, data, event="well")
    assert fit.llf == pytest.approx(me.melogit(F, clean).llf, abs=1e-10)
    assert "well" in str(fit.summary())


def test_gave_yes_and_no(clean):
    fit = me.melogit(F, clean.assign(y=np.where(clean.y == 1, "yes", "no")))
    assert fit.llf == pytest.approx(me.melogit(F, clean).llf, abs=1e-10)
    assert "yes" in str(fit.summary()).split("Intercept")[0]  # the header names the event


def test_gave_booleans(clean):
    fit = me.melogit(F, clean.assign(y=clean.y == 1))
    assert fit.llf == pytest.approx(me.melogit(F, clean).llf, abs=1e-10)


def test_named_an_event_that_does_not_occur(clean, refuses):
    refuses(DataError, ("event='maybe'", "'y'", "no", "yes"), F,
            clean.assign(y=np.where(clean.y == 1, "yes", "no")), event="maybe")  # fmt: skip


def test_left_one_value_of_0_3_among_zeros_and_ones(clean, refuses):
    data = clean.assign(y=clean.y.astype(float))
    data.loc[3, "y"] = 0.3
    refuses(DataError, ("row 3|row 4", "0.3", "not 0 or 1", "trials="), F, data)


def test_left_a_negative_response(clean, refuses):
    data = clean.copy()
    data.loc[7, "y"] = -9
    refuses(DataError, ("row 7|row 8", "y = -9", "negative"), F, data)


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (1, "1"), ("no", "no"), (True, "True")])
def test_gave_a_response_that_never_varies(clean, refuses, value, shown):
    refuses(DataError, ("'y'", "constant", shown), F, clean.assign(y=value))


def test_gave_counts_that_never_vary(clean, refuses):
    refuses(DataError, ("constant", "failures"), "cbind(a, b) ~ x + (1 | g)", clean.assign(a=0, b=5))


def test_gave_proportions_without_their_trials(clean, refuses):
    rng = np.random.default_rng(0)
    refuses(DataError, ("'y'", "proportion", "trials="), F, clean.assign(y=rng.random(len(clean)).round(2)))


def test_gave_proportions_and_trials(clean):
    data = clean.assign(n=5, k=np.random.default_rng(0).integers(0, 6, len(clean)))
    counts = me.melogit("cbind(k, n - k) ~ x + (1 | g)", data)
    shares = me.melogit("share ~ x + (1 | g)", data.assign(share=data.k / data.n), trials="n")
    assert shares.llf == pytest.approx(counts.llf, abs=1e-9)


def test_gave_more_successes_than_trials(clean, refuses):
    data = clean.assign(k=1, n=5)
    data.loc[4, "k"] = 7
    refuses(DataError, ("row 4|row 5", "successes 7 > trials 5"), "k ~ x + (1 | g)", data, trials="n")


def test_gave_negative_failures(clean, refuses):
    data = clean.assign(k=1, b=4)
    data.loc[4, "b"] = -2
    refuses(DataError, ("row 4|row 5", "-2"), "cbind(k, b) ~ x + (1 | g)", data)


def test_had_rows_with_zero_trials(clean):
    """They stay, contribute nothing, are not counted as observations, and the table says so."""
    data = clean.assign(n=5, k=np.random.default_rng(0).integers(0, 6, len(clean)))
    data.loc[:9, ["k", "n"]] = 0
    options = {"trials": "n", "method": "mcaghermite", "intpoints": 7}
    fit = me.melogit("k ~ x + (1 | g)", data, **options)
    # Without them the first group is gone; its integral, that of the prior, is 1.
    without = me.melogit("k ~ x + (1 | g)", data.iloc[10:], **options)
    assert fit.llf == pytest.approx(without.llf, abs=1e-9)
    assert fit.nobs == len(clean) - 10
    assert fit.bic == pytest.approx(without.bic, abs=1e-8)
    assert "10 rows have zero trials" in str(fit.summary())


def test_used_the_response_as_a_predictor(clean, refuses):
    refuses(FormulaError, ("'y'", "response|both sides"), "y ~ x + y + (1 | g)", clean)


def test_every_refusal_says_what_to_do_next(clean):
    """Row 7's message and its like end in advice, not only in a complaint."""
    with pytest.raises(MelogitError, match=r"Use event=2"):
        me.melogit(F, clean.assign(y=clean.y + 1))
