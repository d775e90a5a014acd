"""What every figure starts from: axes, and the few lines that make them plain."""

from __future__ import annotations

from typing import Any

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
