"""Figures of groups: their random effects in order, and their predicted curves.

Every function takes plain numbers and an optional ``ax``, and returns the Axes it drew on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.plots.canvas import ACCENT, GREY, INK, axes, plain

FloatArray = NDArray[np.float64]
NAMED = 40  # up to so many groups stand with their names


def caterpillar(
    labels: Sequence[str],
    estimate: FloatArray,
    low: FloatArray,
    high: FloatArray,
    name: str,
    group: str,
    *,
    ax: Any = None,
) -> Any:
    """Random effects in increasing order with their intervals; those that leave out 0 stand out.

    Parameters
    ----------
    labels : sequence of str, length G
    estimate, low, high : (G,)
    name : str
        What is drawn, for the axis.
    group : str
        The grouping factor.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    order = np.argsort(estimate, kind="stable")
    estimate, low, high = estimate[order], low[order], high[order]
    named = len(labels) <= NAMED
    ax = axes(ax, 4.6 if named else 6.4, 0.22 * len(labels) + 1.0 if named else 3.8)
    plain(ax, grid="x" if named else "y")
    place = np.arange(len(labels))
    clear = (low > 0) | (high < 0)
    width = float(np.clip(220 / len(labels), 0.35, 1.6))
    for which, colour in ((~clear, GREY), (clear, ACCENT)):
        if named:
            ax.hlines(place[which], low[which], high[which], color=colour, linewidth=width)
            ax.plot(estimate[which], place[which], "o", color=colour, markersize=4)
        else:
            ax.vlines(place[which], low[which], high[which], color=colour, linewidth=width, alpha=0.65)
            ax.plot(place[which], estimate[which], "o", color=colour, markersize=float(np.clip(2.2 * width, 1.2, 4)))
    if named:
        ax.axvline(0.0, color=INK, linewidth=0.8, zorder=0)
        ax.set_yticks(place, [str(labels[int(k)]) for k in order], fontsize=8)
        ax.set_ylim(-0.8, len(labels) - 0.2)
        ax.set_xlabel(name)
        ax.set_ylabel(group)
    else:
        ax.axhline(0.0, color=INK, linewidth=0.8, zorder=3)
        ax.set_xlim(-0.02 * len(labels), 1.02 * len(labels))
        ax.set_xlabel(f"{len(labels):,} groups of {group}, in order")
        ax.set_ylabel(name)
        ax.set_xticks([])
    ax.set_title(f"{int(clear.sum()):,} of {len(labels):,} intervals leave out 0", loc="left", fontsize=9, color=INK)
    return ax


def spaghetti(
    x: FloatArray,
    curves: FloatArray,
    average: FloatArray,
    low: FloatArray,
    high: FloatArray,
    x_label: str,
    group: str,
    *,
    subtitle: str = "",
    ax: Any = None,
) -> Any:
    """Predicted probability of every group against a predictor, and the population's average with its interval.

    Parameters
    ----------
    x : (k,)
    curves : (G, k)
    average, low, high : (k,)
    x_label, group, subtitle : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = plain(axes(ax, 5.6, 3.8))
    alpha = float(np.clip(12 / len(curves), 0.12, 0.6))
    for k, curve in enumerate(curves):
        label = f"{group} ({len(curves):,} groups)" if k == 0 else None
        ax.plot(x, curve, color=GREY, linewidth=0.9, alpha=alpha, label=label)
    ax.fill_between(x, low, high, color=ACCENT, alpha=0.22, linewidth=0)
    ax.plot(x, average, color=ACCENT, linewidth=2.2, label="averaged over all groups")
    legend = ax.legend(frameon=False, fontsize=9, loc="best")
    for handle in legend.get_lines():
        handle.set_alpha(1.0)
    ax.set_xlim(float(x.min()), float(x.max()))
    ax.set_ylim(0.0, 1.0)
    ax.set_xlabel(x_label)
    ax.set_ylabel("Probability")
    if subtitle:
        ax.set_title(subtitle, loc="left", fontsize=8, color=INK)
    return ax
