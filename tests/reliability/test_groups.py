"""Faults in the grouping: rows 29 to 36 of the list of faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import DataError, DataWarning, FormulaError, MelogitError, ModelError
from melogit.formula import build_design

F = "y ~ x + (1 | g)"


def test_had_only_one_group(clean, refuses):
    refuses(DataError, ("'g'", "one group|1 group|single group"), F, clean.assign(g="all"))


def test_made_every_row_its_own_group(clean, refuses):
    refuses(DataError, ("'id'", "row", "identified"), "y ~ x + (1 | id)", clean.assign(id=np.arange(len(clean))))


def test_made_every_row_of_counts_its_own_group(clean):
    """An effect per row of counts is overdispersion: a model like any other."""
    rng = np.random.default_rng(91)
    p = 1 / (1 + np.exp(-clean.x - rng.normal(size=len(clean))))
    data = clean.assign(k=rng.binomial(8, p), n=8, id=np.arange(len(clean)))
    fit = me.melogit("k ~ x + (1 | id)", data, trials="n")
    assert fit.converged
    assert fit.params["id:var(Intercept)"] > 0.2


def test_had_three_groups(clean, warns):
    data = clean.assign(g=clean.g % 3)
    warns(DataWarning, ("only 3 groups", "'g'"), F, data.assign(y=np.random.default_rng(2).integers(0, 2, len(data))))


def test_grouped_by_a_measurement(clean, warns):
    warns(DataWarning, ("'w'", "not whole|non-integer|fraction|decimal|continuous"), "y ~ x + (1 | w)",
          clean.assign(w=(clean.z * 10).round() / 10))  # fmt: skip


def test_grouped_by_a_float_column_of_whole_numbers(clean):
    """What a missing value makes of an integer column in pandas: no warning, the same groups."""
    assert me.melogit(F, clean.astype({"g": float})).llf == pytest.approx(me.melogit(F, clean).llf, abs=1e-10)


def test_mixed_the_number_1_and_the_text_1_as_group_labels(clean, warns):
    mixed = clean.g.astype(object)
    mixed.iloc[::2] = mixed.iloc[::2].astype(str)
    fit = warns(DataWarning, ("'g'", "text", "number"), F, clean.assign(g=mixed))
    assert fit.groups.loc["g", "groups"] == 40


def test_used_doctor_numbers_again_in_every_hospital(clean, refuses):
    """R fits that as crossed without a word. Where the numbers restart, (1 | h/d) may be meant."""
    data = clean.assign(h=clean.g % 8, d=clean.g // 8)
    with pytest.warns(DataWarning, match=r"ids of 'd' repeat across 'h'.*crossed.*\(1 \| h/d\)"):
        build_design("y ~ x + (1 | h) + (1 | d)", data)


def test_used_unique_doctor_numbers_and_wrote_the_terms_apart(clean):
    """Nesting is found in the data."""
    data = clean.assign(h=clean.g % 8)
    apart = me.melogit("y ~ x + (1 | h) + (1 | g)", data)
    slash = me.melogit("y ~ x + (1 | h/g)", data)
    assert apart.llf == pytest.approx(slash.llf, abs=1e-9)


def test_asked_for_more_random_effects_than_rows(refuses):
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"y": rng.integers(0, 2, 60), "x": rng.normal(size=60), "v": rng.normal(size=60), "g": np.arange(60) // 2}
    )
    refuses(ModelError, ("90", "60 rows|60", "'g'"), "y ~ x + (x + v | g)", data)


def test_wrote_the_group_as_its_own_random_slope(clean):
    with pytest.raises(MelogitError, match="g"):
        me.melogit("y ~ x + (g | g)", clean.assign(g=clean.g.astype(str)))


def test_wrote_no_random_term(clean):
    with pytest.raises(MelogitError, match=r"random") as caught:
        me.melogit("y ~ x", clean)
    assert isinstance(caught.value, FormulaError | ModelError)
    assert "(1 |" in str(caught.value)


def test_gave_two_factors_with_the_same_groups(clean, refuses):
    refuses(ModelError, ("'g'", "'same'", "40"), "y ~ x + (1 | g) + (1 | same)", clean.assign(same=clean.g * 7))
