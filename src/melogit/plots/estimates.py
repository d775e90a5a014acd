"""Figures of estimates: odds ratios, variance by source, profile likelihoods.

Every function takes plain numbers and an optional ``ax``, and returns the Axes it drew on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from melogit.plots.canvas import ACCENT, INK, PALE, SHADES, axes, odds_ticks

NEUTRAL = "#d9d9d9"


def _bare(ax: Any, *sides: str) -> None:
    for side in sides:
        ax.spines[side].set_visible(False)


def odds_ratio_forest(
    labels: Sequence[str],
    estimate: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    headings: Sequence[bool] = (),
    indented: Sequence[bool] = (),
    level: float = 0.95,
    ax: Any = None,
) -> Any:
    """Odds ratios with intervals, one row each, on a logarithmic axis; the numbers stand at the right.

    Parameters
    ----------
    labels : sequence of str, length k
        From top to bottom.
    estimate, low, high : (k,)
        NaN leaves a row without a mark; a row with ``low`` NaN is a base level, drawn hollow at 1.
    headings, indented : sequence of bool, length k, optional
        Rows that name a factor, and rows that are its levels.
    level : float
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    estimate, low, high = (np.asarray(values, dtype=float) for values in (estimate, low, high))
    ax = axes(ax, 7.0, 0.32 * len(labels) + 1.1)
    rows = np.arange(len(labels))[::-1]
    ax.axvline(1.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    whole = np.isfinite(estimate) & np.isfinite(low) & np.isfinite(high)
    base = np.isfinite(estimate) & ~whole
    ax.hlines(rows[whole], low[whole], high[whole], color=ACCENT, linewidth=1.6, zorder=2)
    ax.plot(estimate[whole], rows[whole], "s", color=ACCENT, markersize=5.5, zorder=3)
    ax.plot(estimate[base], rows[base], "s", markerfacecolor="white", markeredgecolor=ACCENT, markersize=5.5, zorder=3)
    ax.set_xscale("log")
    odds_ticks(ax, np.concatenate([low[whole], high[whole], [1.0]]))
    ax.set_ylim(-0.7, len(labels) - 0.3)
    shown = [("    " if k < len(indented) and indented[k] else "") + str(label) for k, label in enumerate(labels)]
    ax.set_yticks(rows, shown, ha="left")
    ax.tick_params(axis="y", length=0, pad=_label_pad(ax, shown))
    for k, text in enumerate(ax.get_yticklabels()):
        if k < len(headings) and headings[k]:
            text.set_fontweight("bold")
    for row, value, a, b in zip(rows, estimate, low, high, strict=True):
        words = f"{value:.2f} ({a:.2f}, {b:.2f})" if np.isfinite(a) else "1 (base)" if np.isfinite(value) else ""
        ax.text(1.02, row, words, transform=ax.get_yaxis_transform(), va="center", ha="left", fontsize=9, color=INK)
    ax.text(
        1.02,
        len(labels) - 0.25,
        f"OR ({level * 100:g}% CI)",
        transform=ax.get_yaxis_transform(),
        fontsize=9,
        fontweight="bold",
        va="bottom",
        ha="left",
    )
    ax.set_xlabel("Odds ratio (log scale)")
    _bare(ax, "left", "right", "top")
    return ax


def _label_pad(ax: Any, labels: Sequence[str]) -> float:
    """Room in points for labels that are aligned at their left."""
    return 5 + 5.6 * max(len(text) for text in labels)


def variance_bar(sources: Sequence[str], shares: ArrayLike, *, ax: Any = None) -> Any:
    """Latent variance by source: one bar that adds to 100 %, each part labelled with its share.

    Parameters
    ----------
    sources : sequence of str, length k
        The last is the residual, drawn grey.
    shares : (k,)
        They add to 1.
    ax : matplotlib Axes, optional
    """
    shares = np.asarray(shares, dtype=float)
    ax = axes(ax, 7.0, 1.9)
    left = 0.0
    for k, (source, share) in enumerate(zip(sources, shares, strict=True)):
        colour = NEUTRAL if k == len(sources) - 1 else SHADES[k % len(SHADES)]
        ax.barh(0, share, left=left, color=colour, edgecolor="white", linewidth=1.2, height=0.6, label=source)
        if share >= 0.05:
            ink = INK if k == len(sources) - 1 else "white"
            ax.text(left + share / 2, 0, f"{share:.0%}", ha="center", va="center", color=ink, fontsize=10)
        left += share
    names = [f"{source} ({share:.1%})" for source, share in zip(sources, shares, strict=True)]
    handles, _ = ax.get_legend_handles_labels()
    ax.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=min(4, len(names)),
        frameon=False,
        fontsize=9,
        handlelength=1.0,
        columnspacing=1.4,
        borderaxespad=0.2,
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.4, 0.4)
    ax.set_yticks([])
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("Share of the variance on the latent scale")
    _bare(ax, "left", "right", "top")
    return ax


def profile_plot(
    values: ArrayLike,
    loglik: ArrayLike,
    *,
    name: str,
    interval: tuple[float, float],
    level: float = 0.95,
    ax: Any = None,
) -> Any:
    """Profile log-likelihood over a parameter, less its maximum, with the cut that gives the interval.

    Parameters
    ----------
    values, loglik : (k,)
        Points of the curve, in ascending order of ``values``.
    name : str
    interval : tuple of float
        Limits; not drawn where infinite or outside the curve.
    level : float
    ax : matplotlib Axes, optional
    """
    from scipy.interpolate import PchipInterpolator
    from scipy.special import chdtri

    values, fall = np.asarray(values, dtype=float), np.asarray(loglik, dtype=float)
    fall = fall - fall.max()
    cut = -0.5 * float(chdtri(1, 1 - level))
    ax = axes(ax, 5.5, 3.6)
    fine = np.linspace(values[0], values[-1], 400)
    # The signed root is nearly a straight line, so it is what to interpolate.
    root = np.sign(values - values[np.argmax(fall)]) * np.sqrt(-2 * fall)
    smooth = PchipInterpolator(values, root)
    curve = -0.5 * smooth(fine) ** 2
    low, high = interval
    inside = (fine >= low) & (fine <= high)
    ax.fill_between(fine[inside], np.full(inside.sum(), cut), curve[inside], color=PALE, linewidth=0, zorder=1)
    ax.plot(fine, curve, color=ACCENT, linewidth=1.8, zorder=3)
    ax.axhline(cut, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2)
    floor = min(float(fall.min()), cut) * 1.08
    for end in (low, high):
        if np.isfinite(end) and values[0] <= end <= values[-1]:
            top = -0.5 * float(smooth(end)) ** 2
            ax.vlines(end, floor, top, color=ACCENT, linewidth=0.9, zorder=2)
            side = "left" if end == low else "right"
            ax.text(end, floor, f" {end:.4g} ", fontsize=9, color=ACCENT, va="bottom", ha=side)
    peak = float(values[int(np.argmax(fall))])
    ax.plot(peak, 0.0, "o", color=ACCENT, markersize=5, zorder=4)
    ax.annotate(f"{peak:.4g}", (peak, 0.0), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9)
    ax.text(values[-1], cut, f"{level * 100:g}%", fontsize=9, color=INK, va="bottom", ha="right")
    ax.set_ylim(floor, -0.12 * floor)
    ax.set_xlim(values[0], values[-1])
    ax.set_xlabel(name)
    ax.set_ylabel("Log-likelihood below its maximum")
    _bare(ax, "right", "top")
    return ax
