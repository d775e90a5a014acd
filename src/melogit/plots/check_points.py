"""Pictures of checks that are points and curves: scatter, index, quantiles, calibration, histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from melogit.plots.canvas import ACCENT, GREY, INK, PALE, SHADES, plain
from melogit.plots.labels import name_points

FloatArray = NDArray[np.float64]

STAND_OUT = SHADES[1]
MANY = 1_000  # more points than this are drawn as an image within the picture
CROWD = "#3f7fc4"  # of an image, whose colour cannot follow the page: legible on light and on dark
DASHED = (0, (4, 3))
NAMES = 8  # at most


def scatter(
    ax: Any,
    x: ArrayLike,
    y: ArrayLike,
    xlabel: str,
    ylabel: str,
    *,
    smooth_x: ArrayLike | None = None,
    smooth_y: ArrayLike | None = None,
    band_low: ArrayLike | None = None,
    band_high: ArrayLike | None = None,
    labels: Sequence[object] | None = None,
    label_index: Sequence[int] | None = None,
    hline: float | Sequence[float] | None = None,
    line_x: ArrayLike | None = None,
    line_y: ArrayLike | None = None,
    points_size: ArrayLike | None = None,
) -> None:
    """Points, with a smooth curve and its band, a dashed line of comparison, and names of some points.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y : (n,)
    xlabel, ylabel : str
    smooth_x, smooth_y, band_low, band_high : (k,), optional
    labels, label_index : optional
        The points to name: names of all points and which to take, or names of the points in ``label_index``.
    hline : float or several, optional
    line_x, line_y : (k,), optional
        What the model assumes.
    points_size : (n,), optional
        Areas in proportion: numbers of rows behind the points.
    """
    plain(ax)
    x, y = _numbers(x), _numbers(y)
    for level in _several(hline):
        ax.axhline(level, color=INK, linewidth=0.8, zorder=1)
    marked, names = _to_name(labels, label_index, len(x))
    _points(ax, x, y, points_size)
    ax.plot(x[marked], y[marked], "o", color=STAND_OUT, markersize=4.5, zorder=4)
    if line_x is not None and line_y is not None:
        ax.plot(line_x, line_y, color=INK, linewidth=1.3, linestyle=DASHED, zorder=4)
    if smooth_x is not None and smooth_y is not None:
        _band(ax, smooth_x, band_low, band_high)
        ax.plot(smooth_x, smooth_y, color=STAND_OUT if line_x is None else ACCENT, linewidth=2.0, zorder=5)
    _label(ax, xlabel, ylabel)
    if names:
        ax.margins(0.08, 0.12)  # room for names beside the outermost points
    name_points(ax, x[marked], y[marked], names, _some(x, y))


def index(
    ax: Any,
    value: ArrayLike,
    ylabel: str,
    *,
    labels: Sequence[object] | None = None,
    label_index: Sequence[int] | None = None,
    limit: float | Sequence[float] | None = None,
    xlabel: str = "In the order of the data",
) -> None:
    """One value per row or group in order, with a limit and the names of those that stand out.

    Parameters
    ----------
    ax : matplotlib Axes
    value : (n,)
    ylabel, xlabel : str
    labels, label_index : optional
        As for ``scatter``.
    limit : float or several, optional
    """
    plain(ax)
    value = _numbers(value)
    place = np.arange(1, len(value) + 1, dtype=float)
    marked, names = _to_name(labels, label_index, len(value))
    if len(value) <= 500:
        stems = np.stack([np.zeros_like(value), value, np.full_like(value, np.nan)], axis=1).ravel()
        width = float(np.clip(260 / max(len(value), 1), 0.6, 3.0))
        ax.plot(np.repeat(place, 3), stems, color=PALE, linewidth=width, zorder=1)
        ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    _points(ax, place, value)
    ax.plot(place[marked], value[marked], "o", color=STAND_OUT, markersize=4.5, zorder=4)
    _limits(ax, limit)
    ax.set_xlim(place[0] - 0.02 * len(value) - 0.5, place[-1] + 0.02 * len(value) + 0.5) if len(value) else None
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.margins(y=0.12)
    if np.nanmin(value, initial=0.0) >= 0:
        ax.set_ylim(bottom=0.0)
    _label(ax, xlabel, ylabel)
    name_points(ax, place[marked], value[marked], names, _some(place, value))


def qq(
    ax: Any,
    theoretical: ArrayLike,
    observed: ArrayLike,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    middle: ArrayLike | None = None,
    labels: Sequence[object] | None = None,
    label_index: Sequence[int] | None = None,
    xlabel: str = "Expected",
    ylabel: str = "Observed",
) -> None:
    """Observed against expected quantiles, with the band in which they lie if the model holds.

    Parameters
    ----------
    ax : matplotlib Axes
    theoretical, observed : (n,)
        In increasing order of ``theoretical``.
    low, high : (n,), optional
        Limits of the band.
    middle : (n,), optional
        Where the points are expected; by default the middle of the band, or the diagonal.
    labels, label_index : optional
        As for ``scatter``; without ``label_index`` the points furthest outside the band are named.
    xlabel, ylabel : str
    """
    plain(ax, grid="both")
    x, y = _numbers(theoretical), _numbers(observed)
    outside = np.zeros(len(x), dtype=bool)
    few = np.unique(np.linspace(0, max(len(x) - 1, 0), 400).astype(int))[: len(x)]  # lines need no more
    if low is not None and high is not None:
        low, high = _numbers(low), _numbers(high)
        _band(ax, x[few], low[few], high[few])
        outside = (y < low) | (y > high)
        middle = (low + high) / 2 if middle is None else middle
        if labels is not None and label_index is None:
            beyond = np.where(outside, np.maximum(low - y, y - high), 0.0)
            label_index = [int(k) for k in np.argsort(-beyond)[:NAMES] if beyond[k] > 0]
    centre = x if middle is None else _numbers(middle)
    ax.plot(x[few], centre[few], color=INK, linewidth=0.9, linestyle=DASHED, zorder=2)
    _points(ax, x[~outside], y[~outside])
    many = int(outside.sum()) > MANY
    ax.plot(x[outside], y[outside], "o", color=STAND_OUT, markersize=3.6, markeredgewidth=0, zorder=4, rasterized=many)
    _label(ax, xlabel, ylabel)
    marked, names = _to_name(labels, label_index, len(x))
    name_points(ax, x[marked], y[marked], names, _some(x, y))


def curve(
    ax: Any,
    x: ArrayLike,
    y: ArrayLike,
    xlabel: str,
    ylabel: str,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    points_x: ArrayLike | None = None,
    points_y: ArrayLike | None = None,
    diagonal: bool = False,
) -> None:
    """A curve with its band, points beside it, and the diagonal where curve and axis agree.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y : (k,)
    xlabel, ylabel : str
    low, high : (k,), optional
    points_x, points_y : (n,), optional
    diagonal : bool
    """
    plain(ax, grid="both")
    x, y = _numbers(x), _numbers(y)
    _band(ax, x, low, high)
    if diagonal:
        ends = np.concatenate([x, y, [] if points_x is None else _numbers(points_x)])
        ends = [np.nanmin(ends), np.nanmax(ends)] if len(ends) else [0.0, 1.0]
        ax.plot(ends, ends, color=INK, linewidth=0.9, linestyle=DASHED, zorder=2)
    ax.plot(x, y, color=ACCENT, linewidth=2.0, zorder=3)
    if points_x is not None and points_y is not None:
        ax.plot(points_x, points_y, "o", color=STAND_OUT, markersize=4.5, zorder=4)
    _label(ax, xlabel, ylabel)


def histogram(
    ax: Any,
    values: ArrayLike,
    xlabel: str,
    *,
    line_at: float | Sequence[float] | None = None,
    ylabel: str = "How many",
) -> None:
    """How often values occur, and where one of them stands.

    Parameters
    ----------
    ax : matplotlib Axes
    values : (n,)
        For example a statistic in data simulated from the model.
    xlabel, ylabel : str
    line_at : float or several, optional
        For example the statistic in the data.
    """
    plain(ax)
    values = _numbers(values)
    values = values[np.isfinite(values)]
    if len(values):
        bins = int(np.clip(round(np.sqrt(len(values)) * 1.6), 8, 40))
        ax.hist(values, bins=min(bins, max(1, len(np.unique(values)))), color=PALE, edgecolor=ACCENT, linewidth=0.7)
    for place in _several(line_at):
        ax.axvline(place, color=STAND_OUT, linewidth=2.2, zorder=4)
    _label(ax, xlabel, ylabel)


def _numbers(values: ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=float).ravel()


def _several(value: float | Sequence[float] | None) -> list[float]:
    return [] if value is None else [float(one) for one in np.atleast_1d(value) if np.isfinite(one)]


def _some(x: FloatArray, y: FloatArray) -> FloatArray:
    """Enough of the points to know where they lie."""
    step = max(1, len(x) // 4_000)
    return np.column_stack([x, y])[::step]


def _points(ax: Any, x: FloatArray, y: FloatArray, size: ArrayLike | None = None) -> None:
    if size is not None:
        weight = _numbers(size)
        area = 12 + 110 * weight / max(float(np.nanmax(weight, initial=0.0)), 1e-300)
        ax.scatter(x, y, s=area, color=ACCENT, alpha=0.55, linewidth=0, zorder=3)
        return
    many = len(x) > MANY
    alpha = float(np.clip(600 / max(len(x), 1), 0.25, 0.8))
    mark = 2.2 if many else float(np.clip(60 / np.sqrt(max(len(x), 1)), 2.6, 4.5))
    ax.plot(x, y, "o", color=CROWD if many else ACCENT, markersize=mark, markeredgewidth=0, alpha=alpha, zorder=3,
            rasterized=many)  # fmt: skip


def _band(ax: Any, x: ArrayLike, low: ArrayLike | None, high: ArrayLike | None) -> None:
    if low is not None and high is not None:
        ax.fill_between(_numbers(x), _numbers(low), _numbers(high), color=ACCENT, alpha=0.2, linewidth=0, zorder=1.5)


def _limits(ax: Any, limit: float | Sequence[float] | None) -> None:
    for level in _several(limit):
        ax.axhline(level, color=STAND_OUT, linewidth=1.1, linestyle=DASHED, zorder=2)


def _to_name(
    labels: Sequence[object] | None, chosen: Sequence[int] | None, n: int
) -> tuple[NDArray[np.int64], list[object]]:
    """Which points to name, and the names."""
    if labels is None or chosen is None:
        return np.array([], dtype=np.int64), []
    at = np.asarray(chosen, dtype=np.int64)[:NAMES]
    names = [labels[k] for k in at] if len(labels) == n else list(labels)[: len(at)]
    return at, names


def _label(ax: Any, xlabel: str, ylabel: str) -> None:
    ax.set_xlabel(xlabel, wrap=True)
    ax.set_ylabel(ylabel, wrap=True)
