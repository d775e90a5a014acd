"""Figures of bootstrap replicates. Plain numbers in, matplotlib Axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.plots.canvas import ACCENT, GREY, INK, PALE, axes, plain

FloatArray = NDArray[np.float64]
ACROSS = 3  # panels side by side


def replicate_histograms(
    names: Sequence[str],
    values: Sequence[FloatArray],
    observed: FloatArray,
    low: FloatArray,
    high: FloatArray,
    *,
    kind: str,
    level: float,
    axes: Any = None,
) -> Any:
    """One histogram per parameter, with the observed value and the limits of an interval.

    Parameters
    ----------
    names : sequence of str, length k
    values : sequence of (r,) arrays, length k
        Replicates.
    observed, low, high : (k,)
        NaN limits are left out.
    kind : str
        Of the interval, in a word.
    level : float
    axes : array of k matplotlib Axes, optional

    Returns
    -------
    (k,) array of matplotlib Axes
    """
    panels = np.ravel(_panels(len(names)) if axes is None else np.array(axes, dtype=object))
    if len(panels) < len(names):
        raise ModelError(f"There are {len(names)} parameters to draw and {len(panels)} axes. Give one for each.")
    for k, (ax, name) in enumerate(zip(panels, names, strict=False)):
        _histogram(ax, name, values[k], float(observed[k]), float(low[k]), float(high[k]))
        if k == 0:
            ax.set_ylabel("Replicates")
            limits = f"{level * 100:g}% {kind} interval"
            handles = ax.lines[:1] + [line for line in ax.lines[1:2]]
            ax.legend(handles, ["observed", limits][: len(handles)], frameon=False, fontsize=8, loc="upper left")
            ax.set_ylim(0, 1.35 * ax.get_ylim()[1])
    return panels[: len(names)]


def _panels(k: int) -> Any:
    first = axes(None, 3.1 * min(k, ACROSS), 2.4 * -(-k // ACROSS) + 0.2)
    figure = first.figure
    first.remove()
    made = figure.subplots(-(-k // ACROSS), min(k, ACROSS), squeeze=False).ravel()
    for ax in made[k:]:
        ax.remove()
    return made[:k]


def _histogram(ax: Any, name: str, values: FloatArray, observed: float, low: float, high: float) -> None:
    plain(ax)
    ax.hist(values, bins=int(np.clip(np.sqrt(len(values)) * 1.2, 5, 45)), color=PALE, edgecolor="white", linewidth=0.4)
    ax.axvline(observed, color=INK, linewidth=1.6)
    for limit in (low, high):
        if np.isfinite(limit):
            ax.axvline(limit, color=ACCENT, linewidth=1.2, linestyle="--")
    ax.set_title(name, loc="left", fontsize=9, color=INK)
    ax.tick_params(labelsize=8, labelcolor=INK, color=GREY)
    ax.locator_params(axis="x", nbins=5)
