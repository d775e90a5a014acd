"""Power curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from melogit.plots.canvas import GREY, INK, SHADES, axes, plain
from melogit.plots.margins import Series


def draw_power(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    by_label: str = "",
    *,
    level: float = 0.95,
    target: float | None = None,
    alpha: float = 0.05,
    ax: Any = None,
) -> Any:
    """Power (or clusters needed) against a number, one curve per series, with Monte Carlo intervals.

    Parameters
    ----------
    series : sequence of Series
    x_label, y_label, by_label : str
    level : float
        Of the intervals, for the note.
    target : float or None
        None: the vertical axis is power from 0 to 1, with a line at 0.8.
    alpha : float
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    import matplotlib

    ax = plain(axes(ax, 5.6, 3.8))
    few = len(series) <= len(SHADES)
    for k, one in enumerate(series):
        colour = SHADES[k] if few else matplotlib.colormaps["viridis"](0.05 + 0.85 * k / (len(series) - 1))
        order = np.argsort(one.x)
        x, y, low, high = (values[order] for values in (one.x, one.estimate, one.low, one.high))
        ax.vlines(x, low, high, color=colour, linewidth=1.3, alpha=0.7)
        ax.plot(x, y, "o-", color=colour, markersize=4.5, linewidth=1.7, label=one.label)
    if target is None:
        ax.set_ylim(0, 1.02)
        ax.axhline(0.8, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        if min(float(one.estimate.min()) for one in series) < 3 * alpha:
            ax.axhline(alpha, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    else:
        ax.set_ylim(bottom=0)
    if len(series) > 1:
        ax.legend(title=by_label or None, frameon=False, fontsize=9, title_fontsize=9)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.set_title(f"bars: {level * 100:g}% Monte Carlo intervals", fontsize=8, loc="right", color=GREY)
    return ax
