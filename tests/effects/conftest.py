import matplotlib
import pytest
from cases import FORMULA, fitted, invented

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def data():
    return invented()


@pytest.fixture(scope="session")
def rich(data):
    """Two levels, a random slope, an interaction, a polynomial."""
    return fitted(FORMULA, data)


@pytest.fixture(scope="session")
def simple(data):
    return fitted("y ~ x + c + (1 | g)", data)
