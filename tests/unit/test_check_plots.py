"""Pictures of checks: every kind is drawn, also from poor data; names do not lie on each other."""

import re
import warnings
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from invented_checks import HOSTILE, picture, pictures

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Text  # noqa: E402

from melogit.errors import ModelError  # noqa: E402
from melogit.plots.checks import KINDS, as_svg, draw, draw_all  # noqa: E402
from melogit.plots.labels import name_points  # noqa: E402


def axes():
    return Figure(figsize=(4.7, 3.2), layout="constrained").subplots()


def test_there_is_a_picture_of_every_kind():
    assert {shown.kind for shown in pictures()} == set(KINDS)


@pytest.mark.parametrize("shown", pictures(), ids=lambda shown: f"{shown.kind}, {shown.title}")
def test_each_is_drawn_and_becomes_sound_svg(shown):
    root = ElementTree.fromstring(as_svg(shown))
    assert root.get("role") == "img" and root.get("aria-label") == shown.alt
    assert "width" not in root.attrib and root.get("viewBox")


def test_svg_is_the_same_every_time_and_asks_the_page_for_its_colours():
    svg = as_svg(pictures()[5])
    assert svg == as_svg(pictures()[5])
    bare = re.sub(r"var\(--picture-[a-z0-9-]+, #[0-9a-f]{6}\)", "", svg)
    assert not re.search(r"#[0-9a-f]{6}\b", bare)
    assert (
        "<style" not in svg and "<metadata" not in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    )


def test_many_points_become_an_image_and_the_file_stays_small():
    rng = np.random.default_rng(0)
    many = picture("scatter", x=rng.normal(size=50_000), y=rng.normal(size=50_000), xlabel="x", ylabel="y")
    svg = as_svg(many)
    assert "data:image/png;base64," in svg and len(svg) < 150_000


def test_a_hundred_thousand_quantiles_stay_small_too():
    line = np.linspace(0, 1, 100_000)
    for shift in (0.0, 1.0):  # all within the band, and all outside
        shown = picture("qq", theoretical=line, observed=line + shift, low=line - 0.1, high=line + 0.1)
        assert len(as_svg(shown)) < 60_000


POOR = {
    "scatter": [dict(x=v, y=v, xlabel="x", ylabel="y") for v in ([], [1.0], [np.nan, np.nan], [1, np.inf, 2])],
    "index": [dict(value=v, ylabel="y", limit=1.0) for v in ([], [0.0], [np.nan, 1.0], [0.0] * 5, [1, np.inf, 2])],
    "qq": [dict(theoretical=v, observed=v) for v in ([], [1.0], [0.0, np.nan])],
    "curve": [dict(x=v, y=v, xlabel="x", ylabel="y", diagonal=True) for v in ([], [1.0], [np.nan, 1.0])],
    "histogram": [dict(values=v, xlabel="x", line_at=w)
                  for v, w in (([], None), ([1.0], np.nan), ([2.0] * 9, 2.0), ([np.nan, np.inf, 1.0], [0.0, 1.0]))],
    "box": [dict(values=v, names=["a"] * len(v), ylabel="y") for v in ([], [[]], [[1.0]], [[np.nan], [1.0, 2.0]])],
    "bars": [dict(names=["a"] * len(v), value=v, xlabel="x", limit=w)
             for v, w in (([], None), ([0.0], 5.0), ([np.nan, np.inf], None), ([-3.0, 2.0], [-2.0, 2.0]))],
    "forest": [dict(names=["a"] * len(v), estimate=v, low=v, high=v, xlabel="x", log=log)
               for log in (False, True) for v in ([], [1.0], [np.nan], [0.5, np.inf])],
    "heatmap": [dict(names=["a"] * k, value=np.full((k, k), v)) for k, v in ((0, 0), (1, 1.0), (2, np.nan), (20, -1))],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_poor_data_draw_without_complaint(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in POOR[kind]:
            ax = draw(picture(kind, **data), Figure().subplots())  # a layout of its own would take most of the time
            ax.figure.draw_without_rendering()
            assert ax.get_xlabel() or kind == "heatmap"


@pytest.mark.parametrize("seed", range(2))
def test_names_of_points_do_not_lie_on_each_other_and_stay_inside(seed):
    rng = np.random.default_rng(seed)
    near = rng.normal(0, 0.02, size=(8, 2)) + 1.0  # eight points on one spot: the hardest case
    shown = picture(
        "scatter", x=np.r_[rng.normal(size=200), near[:, 0]], y=np.r_[rng.normal(size=200), near[:, 1]],
        labels=[f"doctor {k}" for k in range(208)], label_index=range(200, 208), xlabel="x", ylabel="y",
    )  # fmt: skip
    ax = draw(shown, axes())
    ax.figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # without the line to the point
    frame = ax.get_window_extent()
    assert len(boxes) >= 6
    assert not [1 for a, b in combinations(boxes, 2) if a.shrunk(0.97, 0.9).overlaps(b.shrunk(0.97, 0.9))]
    assert all(frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1 for box in boxes)


def test_names_without_room_are_left_out():
    ax = axes()
    ax.plot([0, 1], [0, 1])
    crowd = np.full(60, 0.5)
    assert 4 < name_points(ax, crowd, crowd, [f"row {k}" for k in range(60)]) < 60


def test_only_what_exceeds_the_limit_stands_out_in_bars():
    ax = draw(picture("bars", names=["a", "b"], value=[1.0, 9.0], limit=5.0, xlabel="VIF"), axes())
    low, high = (bar.get_facecolor() for bar in ax.patches)
    assert low != high
    assert [text.get_text() for text in ax.texts] == ["1.00", "9.00"]


def test_the_title_stands_on_the_axes_but_not_in_the_svg():
    shown = pictures()[6]
    assert draw(shown, axes()).get_title(loc="left") == "Calibration"
    assert ">Calibration<" not in as_svg(shown)


def test_labels_may_be_given_for_all_points_or_for_those_named():
    data = dict(value=[1.0, 9.0, 2.0], ylabel="y", label_index=[1])
    for labels in (["a", "b", "c"], ["b"]):
        ax = draw(picture("index", **data, labels=labels), axes())
        assert [text.get_text() for text in ax.texts] == ["b"]


def test_dollars_in_names_are_dollars():
    ax = draw(picture("scatter", HOSTILE, x=[1, 2], y=[1, 2], xlabel="cost$a$", ylabel="y_b"), axes())
    ax.figure.draw_without_rendering()
    assert not ax.xaxis.label.get_parse_math()
    draw(picture("box", values=[[1.0, 2.0]], names=["$\\frac{$"], ylabel="$^$"), axes()).figure.draw_without_rendering()


def test_several_in_one_figure():
    drawn = draw_all(pictures()[:5], "All")
    assert len(drawn) == 5 and len({ax.figure for ax in drawn}) == 1
    assert drawn[0].figure.get_suptitle() == "All"
    import matplotlib.pyplot as plt

    plt.close(drawn[0].figure)
    with pytest.raises(ModelError, match="nothing to draw"):
        draw_all([])


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ModelError, match=r"no picture of kind 'pie'\. There are: scatter"):
        draw(picture("pie"))
    with pytest.raises(ModelError, match=r"'A picture' of kind 'index': .*ylabel"):
        draw(picture("index", value=[1.0]), axes())
