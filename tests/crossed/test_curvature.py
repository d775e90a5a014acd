"""The curvature at the maximum, from which standard errors come, against differences of high order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melogit.fit import Settings, fit_design
from melogit.formula import build_design
from melogit.likelihood import crossed as likelihood
from melogit.likelihood.arrange_crossed import arrange_crossed
from quiet import quietly

DATA = Path(__file__).resolve().parents[1] / "reference" / "data"
CASES = {
    "salamander": ("mated ~ female_type * male_type + (1 | female) + (1 | male)", {}),
    "ratings": ("cbind(successes, n - successes) ~ x + (x | s) + (1 | r) + (1 | t)", {}),
    "verbagg": ("said ~ Anger + Gender + btype + (1 | id) + (1 | item)", {"event": "1"}),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_curvature_is_right_to_a_hundred_thousandth(name):
    formula, options = CASES[name]
    data = pd.read_csv(DATA / f"{name}.csv", dtype={"said": str})
    design = quietly(build_design, formula, data, **options).result
    fit = quietly(fit_design, design, Settings(method="laplace", lean=True)).result
    crossed = arrange_crossed(design)
    x = np.linalg.solve(crossed.to_user, np.concatenate([fit.params[: fit.n_fixed], fit.theta]))
    u0, u1 = np.zeros((crossed.problem.groups, crossed.problem.q)), np.zeros(crossed.problem.rest)
    mode = likelihood.laplace(crossed, x, u0, u1).mode

    def score(at):
        return likelihood.laplace(crossed, at, mode.u0, mode.u1).score

    h, exact = 2e-3, np.empty((len(x), len(x)))
    for j, e in enumerate(np.eye(len(x))):
        near, far = score(x + h * e) - score(x - h * e), score(x + 2 * h * e) - score(x - 2 * h * e)
        exact[j] = (8 * near - far) / (12 * h)
    back = np.linalg.inv(crossed.to_user)
    ours = -np.linalg.inv(back @ fit.cov_theta @ back.T)
    size = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert np.max(np.abs(ours - (exact + exact.T) / 2) / size) < 1e-5
