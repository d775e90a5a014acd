"""Where a fit begins, and what it leaves out, must not change where it ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from melogit.fit import Settings, fit_design
from melogit.formula import build_design
from quiet import quietly

OPTIONS = [{}, {"intpoints": 7}, {"method": "mcaghermite", "intpoints": 5}, {"method": "laplace"}]
FORMULAS = ["y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (1 | h/g)"]


def design_of(formula, seed=3, sd=1.2):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(60), 9)
    h, x = g // 6, rng.normal(size=len(g))
    eta = -0.3 + 0.7 * x + (sd * rng.normal(size=60))[g] + (0.6 * sd * rng.normal(size=60))[g] * x
    eta += (0.7 * rng.normal(size=10))[h]
    y = (rng.random(len(g)) < 1 / (1 + np.exp(-eta))).astype(int)
    return build_design(formula, pd.DataFrame({"y": y, "x": x, "g": g, "h": h}))


def fitted(design, **options):
    return quietly(fit_design, design, Settings(**options)).result


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("factor", [1.0, 0.6, 0.0])
def test_a_start_leads_to_the_same_maximum(formula, options, factor):
    """Also from variances of 0, where the likelihood is flat."""
    design = design_of(formula)
    cold = fitted(design, **options)
    start = cold.params[: cold.n_fixed] + (1 - factor), cold.theta * factor
    for lean in (False, True):
        warm = fitted(design, **options, start=start, lean=lean)
        assert warm.converged
        assert warm.loglik == pytest.approx(cold.loglik, abs=3e-5)
        np.testing.assert_allclose(warm.params, cold.params, atol=2e-4 * np.sqrt(np.diag(cold.cov)).min())
        np.testing.assert_allclose(warm.cov, cold.cov, rtol=5e-3, atol=1e-5)


def test_lean_fits_leave_out_what_they_say():
    design = design_of("y ~ x + (1 | h/g)")
    full = fitted(design, intpoints=7)
    lean = fitted(design, intpoints=7, start=(full.params[:2], full.theta), lean=True)
    assert np.isnan(lean.loglik_fixed_only)
    assert np.isnan(lean.integration.max_shift_in_se)
    assert [t.means.shape for t in lean.terms] == [(0, 1), (0, 1)]
    np.testing.assert_allclose(lean.terms[1].Sigma, full.terms[1].Sigma, rtol=1e-5)


def test_separation_is_found_from_a_warm_start_too():
    design = design_of("y ~ x + (1 | g)")
    cold = fitted(design)
    X = np.column_stack([design.X, design.y * (np.arange(design.n_rows) % 3 == 0)])
    separated = replace(design, X=X, x_names=(*design.x_names, "hit"))
    start = np.append(cold.params[:2], 1.0), cold.theta
    warm = fitted(separated, start=start, lean=True)
    assert np.isinf(warm.params[2])
