"""Pictures of checks: ``draw`` gives each kind of picture to the function that draws it.

A picture is plain: a kind, a title, and arrays and texts by name. Every drawing function takes these arrays and the
Axes to draw on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from melogit.errors import ModelError
from melogit.plots import check_points, check_rows
from melogit.plots.canvas import INK, axes, pyplot
from melogit.plots.vector import to_svg

WIDTH, HEIGHT = 4.7, 3.2  # inches: legible at the width of a phone
COLUMNS = 2

KINDS = {
    "scatter": check_points.scatter,
    "index": check_points.index,
    "qq": check_points.qq,
    "curve": check_points.curve,
    "histogram": check_points.histogram,
    "box": check_rows.box,
    "bars": check_rows.bars,
    "forest": check_rows.forest,
    "heatmap": check_rows.heatmap,
}


class Drawable(Protocol):
    """What ``draw`` needs to know of a picture."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def alt(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> Mapping[str, Any]: ...  # noqa: D102


def draw(picture: Drawable, ax: Any = None) -> Any:
    """Draw a picture of a check.

    Parameters
    ----------
    picture : Picture
        ``kind`` is one of ``KINDS``.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ModelError
        There is no such kind, something that this kind needs is missing, or matplotlib is not installed.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> data = {"x": [1.0, 2.0, 3.0], "y": [0.2, 0.1, 0.4], "xlabel": "age", "ylabel": "residual"}
    >>> draw(SimpleNamespace(kind="scatter", title="Residuals", alt="", data=data)).get_title(loc="left")
    'Residuals'
    """
    if picture.kind not in KINDS:
        raise ModelError(f"There is no picture of kind '{picture.kind}'. There are: {', '.join(KINDS)}.")
    ax = axes(ax, *size(picture))
    import matplotlib
    from matplotlib.text import Text

    for text in ax.findobj(Text):  # a column may be called cost$a$; the same for the texts to come
        text.set_parse_math(False)
    with matplotlib.rc_context({"text.parse_math": False}):
        ax.set_title(picture.title, loc="left", fontsize=10, color=INK, wrap=True)
        try:
            KINDS[picture.kind](ax, **picture.data)
        except TypeError as error:
            raise ModelError(f"The picture '{picture.title}' of kind '{picture.kind}': {error}.") from error
    return ax


def size(picture: Drawable) -> tuple[float, float]:
    """Width and height in inches; pictures made of rows grow with them."""
    rows = len(picture.data.get("names", ()))
    if picture.kind in ("box", "bars", "forest"):
        return WIDTH, max(1.6, 0.27 * rows + 1.1)
    if picture.kind == "heatmap":
        return WIDTH, max(2.2, min(0.3 * rows + 0.9, 6.0))
    return WIDTH, HEIGHT


def draw_all(pictures: Sequence[Drawable], title: str = "") -> list[Any]:
    """Draw several pictures in one figure, two in a row.

    Parameters
    ----------
    pictures : sequence of Picture
    title : str
        Above all of them.

    Returns
    -------
    list of matplotlib Axes
    """
    if not pictures:
        raise ModelError("There is nothing to draw: these checks have no pictures.")
    first = axes(None, WIDTH, HEIGHT)
    if len(pictures) == 1:
        first.figure.set_size_inches(*size(pictures[0]))
        return [draw(pictures[0], first)]
    figure = first.figure
    first.remove()
    sizes = [size(picture)[1] for picture in pictures]
    heights = [max(sizes[k : k + COLUMNS]) for k in range(0, len(sizes), COLUMNS)]
    figure.set_size_inches(WIDTH * COLUMNS, sum(heights) + (0.4 if title else 0.0))
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
    if title:
        figure.suptitle(title, fontsize=12, x=0.01, ha="left", parse_math=False)
    places = [figure.add_subplot(grid[k // COLUMNS, k % COLUMNS]) for k in range(len(pictures))]
    return [draw(picture, ax) for picture, ax in zip(pictures, places, strict=True)]


def as_svg(picture: Drawable) -> str:
    """Draw a picture as an inline ``<svg>`` without its title, which the page writes itself.

    Parameters
    ----------
    picture : Picture

    Returns
    -------
    str
        An ``<svg>`` with ``role="img"`` and the picture's ``alt`` as its label.
    """
    pyplot()
    from matplotlib.figure import Figure

    figure = Figure(figsize=size(picture), layout="constrained")  # not of pyplot: no window, nothing to close
    draw(picture, figure.subplots()).set_title("", loc="left")
    return to_svg(figure, picture.title, picture.alt)
