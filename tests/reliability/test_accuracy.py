"""Silent numerical error: rows 1 to 5, 48, 49 and 56 of the list of faults. Nothing wrong may come without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import IntegrationWarning, ModelError
from quiet import quietly

F = "y ~ x + (1 | g)"


def tiny_groups(variance: float, groups: int = 300, size: int = 3, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    u = np.repeat(rng.normal(scale=np.sqrt(variance), size=groups), size)
    x = rng.normal(size=groups * size)
    y = (rng.random(groups * size) < 1 / (1 + np.exp(-0.5 * x - u))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "g": np.repeat(np.arange(groups), size)})


@pytest.mark.parametrize("method", ["mvaghermite", "mcaghermite"])
def test_used_too_few_points(method, warns):
    """The message says by how much the log-likelihood moves, from how many points to how many, and what to do."""
    words = ("log-likelihood", r"\b3\b", r"auto")
    fit = warns(IntegrationWarning, words, F, tiny_groups(6.0), method=method, intpoints=3)
    assert not fit.integration.accurate
    assert fit.integration.points == (3,)
    assert all(more >= 6 for more in fit.integration.check_points)
    assert "3" in str(fit.summary())


@pytest.mark.parametrize("variance", [30.0, 76.0])
def test_had_a_very_large_variance_and_three_rows_per_group(variance):
    """lme4's 25 points are off by 3 here and it says nothing. Automatic points must reach the accuracy or say so."""
    data = tiny_groups(variance)
    fitted = quietly(me.melogit, F, data)
    fit = fitted.result
    assert fit.integration.accurate or any("log-likelihood" in m for m in fitted.messages)
    assert fit.params["g:var(Intercept)"] > 10
    # the truth at the estimates, by a fine trapezoidal rule over each group's one effect
    u = np.linspace(-12, 12, 24001)
    sd = np.sqrt(fit.params["g:var(Intercept)"])
    eta = (fit.params["Intercept"] + fit.params["x"] * data.x).to_numpy()
    log_p = np.zeros((data.g.nunique(), len(u)))
    for i, g in enumerate(data.g):
        at = eta[i] + sd * u
        log_p[g] += data.y[i] * at - np.logaddexp(0, at)
    truth = np.log(np.trapezoid(np.exp(log_p - u**2 / 2) / np.sqrt(2 * np.pi), u, axis=1)).sum()
    assert abs(fit.llf - truth) <= 2 * abs(fit.integration.loglik_error) + 1e-6


def test_used_laplace_on_small_groups(warns):
    """lme4's Laplace of guImmun is off by 32; here every print is labelled, and small groups are warned about."""
    fit = warns(IntegrationWarning, ("Laplace", r"average 3(\.0)? observations"), F, tiny_groups(3.0), method="laplace")
    assert "Laplace" in str(fit.summary())
    assert "Laplace" in fit._repr_html_()


def test_compared_grouped_counts_with_their_expanded_rows():
    """One definition of the log-likelihood: differences between models are equal in both forms of the data."""
    rng = np.random.default_rng(8)
    counts = pd.DataFrame({"g": np.repeat(np.arange(30), 3), "x": np.tile([-1.0, 0.0, 1.0], 30), "n": 6})
    counts["k"] = rng.binomial(6, 1 / (1 + np.exp(-counts.x - np.repeat(rng.normal(size=30), 3))))
    rows = counts.loc[counts.index.repeat(6)].copy()
    rows["y"] = (rows.groupby(level=0).cumcount() < rows.k).astype(int)
    options = {"method": "mcaghermite", "intpoints": 15}
    gains = []
    for left, data in (("cbind(k, n - k)", counts), ("y", rows.reset_index(drop=True))):
        with_x = quietly(me.melogit, f"{left} ~ x + (1 | g)", data, **options).result
        without = quietly(me.melogit, f"{left} ~ 1 + (1 | g)", data, **options).result
        gains.append(with_x.llf - without.llf)
    assert gains[0] == pytest.approx(gains[1], abs=1e-8)


@pytest.mark.parametrize("points", [-3, 0, 2.5, 5000, "many", "7", True, None, (), (7, 0)])
def test_gave_an_impossible_number_of_points(clean, refuses, points):
    refuses(ModelError, ("intpoints=", "1 to 1001|auto"), F, clean, intpoints=points)


def test_gave_points_for_two_levels_of_a_model_with_one(clean, refuses):
    refuses(ModelError, (r"intpoints=\(7, 7\)", "1 grouping", "g"), F, clean, intpoints=(7, 7))


def test_asked_for_quadrature_of_crossed_effects(clean, refuses):
    """Never quietly Laplace instead."""
    data = clean.assign(item=np.tile(np.arange(10), 40))
    text = refuses(ModelError, ("'g'|'item'", "cross"), "y ~ x + (1 | g) + (1 | item)", data, intpoints=7)
    assert "item" in text


def test_asked_for_a_grid_too_large_for_any_machine(refuses):
    """Five effects with 15 points each are 759,375 nodes per row: said before the work starts, with the way out."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(60, 4)), columns=["a", "b", "c", "d"])
    data = data.assign(y=rng.integers(0, 2, 60), g=np.arange(60) // 6)
    refuses(
        ModelError, ("759,?375", "laplace"), "y ~ a + (a + b + c + d | g)", data, method="mcaghermite", intpoints=15
    )


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("method", "laplase", ("laplase", "Did you mean 'laplace'")),
        ("vce", "sandwich", ("vce='sandwich'",)),
        ("tolerance", 0.0, ("tolerance=0.0", "between 0 and 1")),
        ("max_iterations", 0, ("max_iterations=0", "1 or more")),
        ("threads", -2, ("threads=-2", "1 or more")),
        ("missing", "keep", ("missing='keep'", "drop", "error")),
        ("level", 95, ("95", "between 0 and 1|0.95")),
        ("covariance", "diagonal", ("diagonal", "independent")),
    ],
)
def test_gave_an_option_a_value_it_cannot_have(clean, refuses, option, value, words):
    refuses(ModelError, words, F, clean, **{option: value})


def test_left_the_points_out_with_laplace_and_gave_them_with_laplace(clean, refuses):
    refuses(ModelError, ("laplace", "intpoints=7", "mcaghermite"), F, clean, method="laplace", intpoints=7)
