"""Pictures of checks that are rows with a name each: boxes, bars, estimates with intervals, correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from melogit.plots.canvas import ACCENT, GREY, INK, PALE, SHADES, odds_ticks, plain
from melogit.plots.labels import short

STAND_OUT = SHADES[1]
DASHED = (0, (4, 3))
MANY = 1_500  # more values than this: those beyond the whiskers are drawn as an image
NUMBERED = 14  # correlations are written into the cells of a table of at most so many rows


def box(ax: Any, values: Sequence[ArrayLike], names: Sequence[object], ylabel: str) -> None:
    """Boxes from the first to the third quartile, whiskers to 1.5 times their length, points beyond.

    Parameters
    ----------
    ax : matplotlib Axes
    values : sequence of arrays, length k
        From top to bottom.
    names : sequence, length k
    ylabel : str
        What the values are.
    """
    plain(ax, grid="x")
    cleaned = [np.asarray(one, dtype=float)[np.isfinite(np.asarray(one, dtype=float))] for one in values]
    many = sum(map(len, cleaned)) > MANY
    for place, one in zip(np.arange(len(cleaned))[::-1], cleaned, strict=True):
        if not len(one):
            continue
        q1, middle, q3 = np.quantile(one, [0.25, 0.5, 0.75])
        inside = one[(one >= q1 - 1.5 * (q3 - q1)) & (one <= q3 + 1.5 * (q3 - q1))]
        beyond = one[(one < inside.min()) | (one > inside.max())]
        ax.hlines(place, inside.min(), inside.max(), color=ACCENT, linewidth=1.1, zorder=2)
        ax.barh(place, q3 - q1, left=q1, height=0.55, color=PALE, edgecolor=ACCENT, linewidth=1.1, zorder=3)
        ax.vlines(middle, place - 0.275, place + 0.275, color=INK, linewidth=1.8, zorder=4)
        ax.plot(beyond, np.full(len(beyond), place), "o", color=STAND_OUT, markersize=2.8, markeredgewidth=0,
                alpha=0.4 if many else 0.9, rasterized=many, zorder=3)  # fmt: skip
    _rows(ax, names)
    ax.set_xlabel(ylabel, wrap=True)


def bars(
    ax: Any, names: Sequence[object], value: ArrayLike, xlabel: str, *, limit: float | Sequence[float] | None = None
) -> None:
    """One bar per name; those beyond the limit stand out.

    Parameters
    ----------
    ax : matplotlib Axes
    names : sequence, length k
        From top to bottom.
    value : (k,)
    xlabel : str
    limit : float or several, optional
    """
    plain(ax, grid="x")
    value = np.asarray(value, dtype=float)
    limits = [] if limit is None else [float(one) for one in np.atleast_1d(limit)]
    places = np.arange(len(value))[::-1]
    beyond = np.abs(value) > min((abs(one) for one in limits), default=np.inf)
    finite = np.isfinite(value)
    ax.barh(places[finite], value[finite], height=0.6, color=np.where(beyond, STAND_OUT, ACCENT)[finite])
    for one in limits:
        ax.axvline(one, color=INK, linewidth=0.9, linestyle=DASHED)
    for place, one in zip(places, value, strict=True):
        side = -1 if one < 0 else 1
        text = f"{one:#.3g}".removesuffix(".") if np.isfinite(one) else "not defined" if np.isnan(one) else "infinite"
        ax.annotate(
            text,
            (one if np.isfinite(one) else 0.0, place),
            xytext=(3 * side, 0),
            textcoords="offset points",
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=8,
            color=INK,
        )
    ax.margins(x=0.14)
    low, high = ax.get_xlim()
    ax.set_xlim(low if (value[finite] < 0).any() else min(0.0, low), max(high, 1.06 * max(limits, default=high)))
    if not (value[finite] < 0).any():
        ax.set_xlim(left=0.0)
    _rows(ax, names)
    ax.set_xlabel(xlabel, wrap=True)


def forest(
    ax: Any,
    names: Sequence[object],
    estimate: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    xlabel: str,
    *,
    reference: float | None = None,
    estimate2: ArrayLike | None = None,
    low2: ArrayLike | None = None,
    high2: ArrayLike | None = None,
    series: Sequence[str] = (),
    log: bool = False,
) -> None:
    """Estimates with intervals, one row per name; a second series stands below the first.

    Parameters
    ----------
    ax : matplotlib Axes
    names : sequence, length k
        From top to bottom.
    estimate, low, high : (k,)
    xlabel : str
    reference : float, optional
        No effect.
    estimate2, low2, high2 : (k,), optional
    series : sequence of str
        Names of the two series, for the legend.
    log : bool
        Logarithmic axis.
    """
    plain(ax, grid="x")
    places = np.arange(len(names), dtype=float)[::-1]
    shift = 0.0 if estimate2 is None else 0.16
    if reference is not None:
        ax.axvline(reference, color=INK, linewidth=0.9, linestyle=DASHED, zorder=1)
    drawn = [(estimate, low, high, shift, ACCENT, "o")]
    if estimate2 is not None and low2 is not None and high2 is not None:
        drawn.append((estimate2, low2, high2, -shift, STAND_OUT, "s"))
    for k, (middle, left, right, up, colour, mark) in enumerate(drawn):
        ax.hlines(places + up, left, right, color=colour, linewidth=1.7, zorder=2)
        ax.plot(middle, places + up, mark, color=colour, markersize=5, zorder=3, label=series[k] if series else None)
    if log:
        ax.set_xscale("log")
        limits = np.concatenate([np.ravel(part) for _, left, right, *_ in drawn for part in (left, right)])
        odds_ticks(ax, np.append(limits[np.isfinite(limits) & (limits > 0)], 1.0 if reference is None else reference))
    if series and len(drawn) > 1:
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, fontsize=8.5, borderaxespad=0.2)
        ax.set_title(ax.get_title(loc="left"), loc="left", fontsize=10, color=INK, pad=22)
    _rows(ax, names)
    ax.set_xlabel(xlabel, wrap=True)


def heatmap(ax: Any, names: Sequence[object], value: ArrayLike) -> None:
    """Correlations below the diagonal: blue above 0, orange below, stronger where further from 0.

    Parameters
    ----------
    ax : matplotlib Axes
    names : sequence, length k
    value : (k, k)
        From -1 to 1.
    """
    value = np.asarray(value, dtype=float)
    k = len(names)
    for row in range(1, k):
        for column in range(row):
            one = value[row, column]
            if not np.isfinite(one):
                continue
            colour = ACCENT if one > 0 else STAND_OUT
            ax.add_patch(_square(column, row, colour, 0.06 + 0.5 * min(abs(one), 1.0)))
            if k <= NUMBERED:
                ax.text(column, row, f"{round(one, 2) + 0.0:.2f}", ha="center", va="center", fontsize=7.5, color=INK)
    ax.set_xlim(-0.5, max(k - 1.5, 0.5))
    ax.set_ylim(max(k, 1) - 0.5, -0.5)
    ax.set_yticks(np.arange(k), [f"{short(name)}  {row}" for row, name in enumerate(names, start=1)])
    ax.set_xticks(np.arange(max(k - 1, 0)), [str(column) for column in range(1, k)])
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)


def _square(column: int, row: int, colour: str, strength: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, facecolor=colour, edgecolor="none", alpha=strength)


def _rows(ax: Any, names: Sequence[object]) -> None:
    """Name the rows from top to bottom."""
    ax.set_yticks(np.arange(len(names))[::-1], [short(name) for name in names], fontsize=9)
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_color(GREY)
    if ax.get_xscale() == "linear":
        ax.xaxis.get_major_locator().set_params(nbins=6)  # the names take much of the width
