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
SHOWN = {"bc": "BC", "bca": "BCa"}


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
    panels[0].set_ylabel("Replicates")
    lines = panels[0].lines[:2]
    words = ["observed", f"{level * 100:g}% {SHOWN.get(kind, kind)} interval"][: len(lines)]
    if axes is None:
        panels[0].figure.legend(lines, words, frameon=False, fontsize=8, loc="outside upper left", ncols=2)
    else:
        panels[0].legend(lines, words, fontsize=8)
    return panels[: len(names)]


def _panels(k: int) -> Any:
    first = axes(None, 3.1 * min(k, ACROSS), 2.4 * -(-k // ACROSS) + 0.4)
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
