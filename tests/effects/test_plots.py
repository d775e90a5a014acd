"""Figures: what is drawn where. How they look was checked by eye."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from melogit.errors import ModelError


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_curves_show_the_table(simple):
    margins = simple.margins(at={"x": [-1, 0, 1], "c": ["low", "top"]})
    ax = margins.plot()
    low = margins.table[margins.table.c == "low"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), low.margin)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["low", "top"]
    assert ax.get_xlabel() == "x" and ax.get_ylabel() == "Probability"
    ax.figure.canvas.draw()


def test_points_of_categories(simple):
    ax = simple.margins(at={"c": "levels"}).plot()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["low", "mid", "top"]


def test_effects_stand_in_rows(simple):
    ax = simple.margins(dydx="*").plot()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["x", "c: mid - low", "c: top - low"]
    assert simple.margins(at={"c": "levels"}, contrast="pairwise").plot().get_xlabel() == "Difference"


def test_many_groups_are_thin_curves(simple):
    ax = simple.margins(at={"x": [-1, 0, 1]}, over="g", kind="conditional").plot()
    assert len(ax.lines) == simple.groups.loc["g", "groups"] and ax.get_legend() is None


def test_axes_are_used_and_returned(simple):
    _, mine = plt.subplots()
    assert simple.margins(at={"x": [0, 1, 2]}).plot(ax=mine) is mine
    assert simple.plot_random_effects(ax=mine) is mine
    assert simple.plot_groups("x", ax=mine) is mine


def test_caterpillar_is_in_order(rich):
    ax = rich.plot_random_effects("h")
    names = [text.get_text() for text in ax.get_yticklabels()]
    effects = rich.random_effects(group="h")["Intercept"]
    assert names == list(effects.sort_values().index)
    assert "Random slope of x" in rich.plot_random_effects("g", "x").get_ylabel()


def test_curves_of_groups(rich):
    ax = rich.plot_groups("x", group="g", at={"c": "top"})
    assert len(ax.lines) == 48 + 1
    average = ax.lines[-1]
    x = average.get_xdata()
    expected = rich.predict({"x": x, "c": ["top"] * len(x), "z": [rich.recipe.sample["z"].mean()] * len(x)}, "marginal")
    np.testing.assert_allclose(average.get_ydata(), expected, atol=1e-9)
    assert "c = top" in ax.get_title("left")


def test_messages(rich):
    with pytest.raises(ModelError, match="x='z' is not a setting of these margins; they have x"):
        rich.margins(at={"x": [0, 1]}).plot(x="z")
    with pytest.raises(ModelError, match="no grouping factor 'q'"):
        rich.plot_random_effects("q")
    with pytest.raises(ModelError, match="'g' has no random effect 'w'; it has Intercept, x"):
        rich.plot_random_effects("g", "w")
    with pytest.raises(ModelError, match="draws against a number, and 'c' is a factor"):
        rich.plot_groups("c")
