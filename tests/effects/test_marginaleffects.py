"""The ``marginaleffects`` package, where it is installed, gives our population-averaged numbers."""

import warnings

import numpy as np
import pytest
from cases import fitted

from melogit.errors import ModelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import marginaleffects
    except ImportError:
        marginaleffects = None


@pytest.mark.skipif(marginaleffects is None, reason="needs the package marginaleffects (extra: marginaleffects)")
@pytest.mark.filterwarnings("ignore")
def test_population_averaged_slopes(rich):
    assert marginaleffects is not None
    theirs = marginaleffects.avg_slopes(rich.for_marginaleffects(), variables="x")
    ours = rich.margins(dydx="x").table
    np.testing.assert_allclose(theirs["estimate"].to_numpy(), ours.margin, rtol=1e-5)
    np.testing.assert_allclose(theirs["std_error"].to_numpy(), ours.std_err, rtol=1e-3)
    theirs = marginaleffects.avg_comparisons(rich.for_marginaleffects(), variables="c")
    ours = rich.margins(dydx="c").table
    np.testing.assert_allclose(theirs["estimate"].to_numpy(), ours.margin, rtol=1e-6)
    np.testing.assert_allclose(theirs["std_error"].to_numpy(), ours.std_err, rtol=1e-4)


@pytest.mark.skipif(marginaleffects is not None, reason="the package marginaleffects is installed")
def test_without_the_package(data):
    with pytest.raises(ModelError, match="package marginaleffects, which is not installed"):
        fitted("y ~ x + (1 | g)", data).for_marginaleffects()
