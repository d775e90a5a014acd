"""What every figure starts from: axes, and the few lines that make them plain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError

INK, ACCENT, PALE = "#222222", "#1f5fa8", "#c9d7ea"
SHADES = ("#1f5fa8", "#c27a1a", "#4f8a5b", "#8a4f8a", "#a83f3f", "#5b6b7b")
GREY, GRID, PAPER = "#9a9a9a", "#e6e6e6", "#ffffff"


def pyplot() -> Any:
    """Return matplotlib's way to new figures.

    Raises
    ------
    ModelError
        matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ModelError('Figures need matplotlib, which is not installed: pip install "melogit[plot]".') from error
    return plt


def axes(ax: Any, width: float, height: float) -> Any:
    """Return the axes given, or new ones of this size in inches.

    Raises
    ------
    ModelError
        matplotlib is not installed.
    """
    return pyplot().subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def plain(ax: Any, *, grid: str = "y") -> Any:
    """Leave away the frame's upper and right side, and put a light grid behind the data."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(axis=grid, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(length=3, color=GREY)
    return ax


def odds_ticks(ax: Any, values: NDArray) -> None:
    """Ticks at round odds ratios within the range, few enough to read; the axis is logarithmic."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = float(values.min()) / 1.08, float(values.max()) * 1.08
    ax.set_xlim(low, high)
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    span = np.log(high / low)
    ticks: list[float] = []
    # Rounder numbers first, as long as they keep apart from those that are there.
    for steps in ((1,), (2, 5), (3,), (1.5, 7), (1.2, 4), (1.1, 9), (1.05, 9.5)):
        for value in sorted(np.outer(steps, decades).ravel(), key=lambda v: abs(np.log(v))):
            apart = all(abs(np.log(value / tick)) > 0.1 * span for tick in ticks)
            if low <= value <= high and apart:
                ticks.append(float(value))
    if len(ticks) < 3:
        ticks = [1.0, *(float(f"{v:.3g}") for v in (low * 1.02, high / 1.02) if abs(np.log(v)) > 0.2 * span)]
    ax.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
