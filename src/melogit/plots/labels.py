"""Names beside points, so that no name lies on another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from melogit.plots.canvas import GREY, INK

SIZE = 8  # points
DISTANCES = (4.0, 11.0, 19.0, 28.0, 40.0, 54.0)  # from the point, in points
SIDES = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
NAMED_COUNT = 5  # a point that has a name is worth as many others
MOST_HIDDEN = 20
MARK = 2.0  # radius of a point, in points
LEADER = 8.0  # names further away than this get a thin line to their point

Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels


def short(text: object, width: int = 24) -> str:
    """Cut the middle out of a long name.

    Examples
    --------
    >>> short("a_very_long_predictor_name", 12)
    'a_very_…name'
    """
    plain = str(text)
    return plain if len(plain) <= width else f"{plain[: width - 5]}…{plain[-4:]}"


def name_points(ax: Any, x: ArrayLike, y: ArrayLike, names: Sequence[object], among: NDArray | None = None) -> int:
    """Write names beside points where there is room; names without room are left out.

    Call it after everything else is drawn: the axes' limits and the room that the layout leaves must stand.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y : (k,)
        The points, most important first.
    names : sequence, length k
    among : (n, 2), optional
        All points of the figure, which names keep away from where they can.

    Returns
    -------
    int
        How many names found room.
    """
    if not len(names):
        return 0
    ax.figure.draw_without_rendering()  # constrained layout moves the axes only now
    points = ax.transData.transform(np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)]))
    crowd = np.repeat(points, NAMED_COUNT, axis=0)
    if among is not None:
        crowd = np.vstack([crowd, ax.transData.transform(np.asarray(among, dtype=float))])
    frame = ax.get_window_extent()
    scale = ax.figure.dpi / 72
    taken: list[Box] = []
    for at, name, place in zip(points, names, np.column_stack([x, y]), strict=True):
        text = ax.annotate(short(name), place, xytext=(0, 0), textcoords="offset points", fontsize=SIZE, color=INK)
        extent = text.get_window_extent()
        found = _best(at, (extent.width, extent.height), crowd, taken, frame, scale)
        text.remove()
        if found is not None:
            dx, dy, sides, box = found
            taken.append(box)
            _write(ax, short(name), place, (dx, dy), sides)
    return len(taken)


def _best(
    at: NDArray, size: tuple[float, float], crowd: NDArray, taken: list[Box], frame: Any, scale: float
) -> tuple[float, float, tuple[int, int], Box] | None:
    """Choose the nearest free place that hides the fewest points: offset in points, side, box; None if none is free."""
    best, cost, edge = None, np.inf, MARK * scale
    for distance in DISTANCES:
        for side in SIDES:
            dx, dy = (distance * s / (np.sqrt(2) if all(side) else 1) for s in side)
            left = at[0] + dx * scale - size[0] * (1 - side[0]) / 2
            bottom = at[1] + dy * scale - size[1] * (1 - side[1]) / 2
            box = (left, bottom, left + size[0], bottom + size[1])
            outside = left < frame.x0 or box[2] > frame.x1 or bottom < frame.y0 or box[3] > frame.y1
            if outside or any(_overlap(box, other) for other in taken):
                continue
            x, y = crowd[:, 0], crowd[:, 1]
            hidden = np.sum((x > left - edge) & (x < box[2] + edge) & (y > bottom - edge) & (y < box[3] + edge))
            here = min(int(hidden), MOST_HIDDEN) * 4 + distance
            if here < cost:
                best, cost = (dx, dy, side, box), here
    return best


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _write(ax: Any, name: str, place: NDArray, offset: tuple[float, float], side: tuple[int, int]) -> None:
    far = np.hypot(*offset) > LEADER
    ax.annotate(
        name,
        place,
        xytext=offset,
        textcoords="offset points",
        ha=("right", "center", "left")[side[0] + 1],
        va=("top", "center", "bottom")[side[1] + 1],
        fontsize=SIZE,
        color=INK,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2} if far else None,
        zorder=6,
    )
