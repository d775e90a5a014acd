"""Conditional modes and predictions at lme4's own estimates: see lme4_modes.R."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.effects.posterior import find_posterior, spread

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "reference" / "data"
MODELS = {
    "cbpp": ("cbpp", "cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", {"herd": "herd"}),
    "ticks": (
        "grouseticks",
        "any ~ YEAR + height + (1 | LOCATION/BROOD)",
        {"LOCATION": "LOCATION", "LOCATION:BROOD": "BROOD:LOCATION"},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_modes_and_predictions(name):
    file, formula, groups = MODELS[name]
    theirs = json.loads((HERE / "lme4_modes.json").read_text())[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = me.melogit(formula, pd.read_csv(DATA / f"{file}.csv"), method="laplace")
    sd = dict(zip(theirs["effects"], np.atleast_1d(theirs["theta"]), strict=True))
    theta = np.array([sd[groups[term.name]] for term in results.fit.terms])
    terms = tuple(replace(t, Sigma=np.array([[s * s]])) for t, s in zip(results.fit.terms, theta, strict=True))
    params = np.concatenate([theirs["beta"], theta**2])
    fit = replace(results.fit, params=params, theta=theta, terms=terms)
    posterior = find_posterior(results.design, fit, slopes=False)
    for level, (term, found) in enumerate(zip(fit.terms, posterior, strict=True)):
        recorded = theirs["effects"][groups[term.name]]
        labels = [":".join(reversed(text.split(":"))) if ":" in text else text for text in recorded["level"]]
        order = [labels.index(str(label)) for label in term.levels]
        np.testing.assert_allclose(found.mode[:, 0], np.array(recorded["mode"])[order], atol=2e-5)
        chain = [np.arange(len(term.levels))]
        for above in range(level, 0, -1):
            chain.insert(0, posterior[above].parent[chain[0]])
        Z = tuple(np.full((len(term.levels), 1), float(k == level)) for k in range(level + 1))
        np.testing.assert_allclose(
            np.sqrt(spread(posterior[: level + 1], chain, Z)), np.array(recorded["sd"])[order], rtol=2e-4
        )
    now = replace(
        results, fit=replace(fit, terms=tuple(replace(t, means=p.mode) for t, p in zip(terms, posterior, strict=True)))
    )
    np.testing.assert_allclose(now.predict(), theirs["conditional"], atol=1e-5)
    np.testing.assert_allclose(now.predict(kind="mu_fixed"), theirs["fixed"], atol=1e-10)
