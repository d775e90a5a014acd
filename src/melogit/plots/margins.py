"""Figures of margins: curves and points with their intervals, and effects in rows.

Every function takes plain numbers and an optional ``ax``, and returns the Axes it drew on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.plots.canvas import ACCENT, INK, SHADES, axes, plain

FloatArray = NDArray[np.float64]
DODGE = 0.14  # distance of the points of two series at one category, in categories


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: its label, and estimates with intervals at ``x`` (numbers, or positions of categories)."""

    label: str
    x: FloatArray
    estimate: FloatArray
    low: FloatArray
    high: FloatArray


def margin_curves(series: Sequence[Series], x_label: str, y_label: str, by_label: str = "", *, ax: Any = None) -> Any:
    """Margins against a number, as curves with shaded intervals.

    Parameters
    ----------
    series : sequence of Series
        With more than six, curves are drawn thin and without intervals.
    x_label, y_label, by_label : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plain(axes(ax, 5.6, 3.8))
    many = len(series) > len(SHADES)
    for k, one in enumerate(series):
        colour = ACCENT if many else SHADES[k]
        order = np.argsort(one.x)
        x, estimate = one.x[order], one.estimate[order]
        if not many:
            ax.fill_between(x, one.low[order], one.high[order], color=colour, alpha=0.16, linewidth=0)
        ax.plot(x, estimate, color=colour, linewidth=1.0 if many else 1.9, alpha=0.55 if many else 1.0, label=one.label)
        if len(x) <= 12 and not many:
            ax.plot(x, estimate, "o", color=colour, markersize=4)
    if len(series) > 1 and not many:
        ax.legend(title=by_label or None, frameon=False, fontsize=9, title_fontsize=9)
    elif many:
        ax.set_title(f"{len(series)} levels of {by_label}", fontsize=9, loc="left", color=INK)
    _label(ax, x_label, y_label)
    return ax


def margin_points(
    series: Sequence[Series],
    categories: Sequence[str],
    x_label: str,
    y_label: str,
    by_label: str = "",
    *,
    ax: Any = None,
) -> Any:
    """Margins of categories, as points with intervals; several series stand side by side.

    Parameters
    ----------
    series : sequence of Series
        ``x`` are positions in ``categories``.
    categories : sequence of str
    x_label, y_label, by_label : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plain(axes(ax, min(9.0, max(4.2, 0.45 * len(categories) * max(1, len(series) / 3) + 1.8)), 3.8))
    step = min(DODGE, 0.7 / max(1, len(series)))
    for k, one in enumerate(series):
        colour = SHADES[k] if len(series) <= len(SHADES) else _shade(k, len(series))
        x = one.x + step * (k - (len(series) - 1) / 2)
        ax.vlines(x, one.low, one.high, color=colour, linewidth=1.6)
        ax.plot(x, one.estimate, "o", color=colour, markersize=5.5, label=one.label)
    wide = max(len(text) for text in categories) * len(categories) > 80
    crowded = len(categories) > 15
    ax.set_xticks(
        np.arange(len(categories)), list(categories), rotation=60 if wide else 0, fontsize=7 if crowded else 9
    )
    ax.set_xlim(-0.6, len(categories) - 0.4)
    if len(series) > 1:
        ax.legend(title=by_label or None, frameon=False, fontsize=9, title_fontsize=9, ncols=1 + (len(series) - 1) // 8)
    _label(ax, x_label, y_label)
    return ax


def effect_rows(
    labels: Sequence[str],
    estimate: FloatArray,
    low: FloatArray,
    high: FloatArray,
    x_label: str,
    *,
    ax: Any = None,
) -> Any:
    """Effects or contrasts with intervals, one row each, around a line at no effect.

    Parameters
    ----------
    labels : sequence of str, length k
        From top to bottom.
    estimate, low, high : (k,)
    x_label : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plain(axes(ax, 5.8, 0.3 * len(labels) + 1.0), grid="x")
    rows = np.arange(len(labels))[::-1]
    ax.axvline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    ax.hlines(rows, low, high, color=ACCENT, linewidth=1.6, zorder=2)
    ax.plot(estimate, rows, "o", color=ACCENT, markersize=5.5, zorder=3)
    ax.set_yticks(rows, list(labels), fontsize=9)
    ax.set_ylim(-0.7, len(labels) - 0.3)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(x_label)
    return ax


def _shade(k: int, count: int) -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis"](0.05 + 0.85 * k / max(1, count - 1))


def _label(ax: Any, x_label: str, y_label: str) -> None:
    """Name the axes; a probability's axis never leaves 0 to 1."""
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    if y_label.startswith("Probability"):
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, 0.0), min(high, 1.0))
