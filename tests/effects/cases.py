"""Small invented data with every complication: two levels, a random slope, factors, a curve."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

import melogit as me

FORMULA = "y ~ x * c + poly(z, 2) + (1 | h) + (1 + x | g)"


def invented(n: int = 900, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(1, 5, size=n),
            "c": rng.choice(["low", "mid", "top"], size=n, p=[0.5, 0.3, 0.2]),
            "h": rng.integers(0, 12, size=n),
        }
    )
    data["g"] = data.h * 4 + rng.integers(0, 4, size=n)
    slope = rng.normal(size=48)[data.g] * 0.8
    eta = rng.normal(size=12)[data.h] * 0.9 + rng.normal(size=48)[data.g] + (0.6 + slope) * data.x
    eta += 0.4 * (data.c == "top") - 0.2 * data.z
    data["y"] = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)
    return data


def fitted(formula: str, data: pd.DataFrame, **options) -> me.Results:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return me.melogit(formula, data, **options)


def moved_fit(fit, j, step):
    """The same fit with one parameter changed: a fixed effect or a variance on its own scale."""
    params = fit.params.copy()
    params[j] += step
    terms = []
    for term in fit.terms:
        Sigma = np.zeros_like(term.Sigma)
        for name in term.parameters:
            inside = name.split("(", 1)[1].rstrip(")").split(",")
            i, k = term.names.index(inside[0]), term.names.index(inside[-1])
            Sigma[i, k] = Sigma[k, i] = params[fit.names.index(name)]
        terms.append(replace(term, Sigma=Sigma))
    return replace(fit, params=params, terms=tuple(terms))
