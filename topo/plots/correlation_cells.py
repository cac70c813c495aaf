"""Cells of heat maps of correlations."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from .labels import with_minus
from .theme import cell_ink

__all__ = ["SCALE", "UNDEFINED_HATCH", "cell_rectangle", "write_correlation"]

SCALE = Normalize(-1, 1)
UNDEFINED_HATCH = "//////"


def cell_rectangle(x: float, y: float, **properties: Any) -> Rectangle:
    """A cell of size one with a thin gap around it.

    Parameters
    ----------
    x, y
        Its lower left corner.
    properties
        Of the rectangle.

    Returns
    -------
    Rectangle
        Not drawn yet.
    """
    return Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, **properties)


def write_correlation(ax: Axes, x: float, y: float, value: float, *, bold: bool) -> None:
    """Write a correlation into its cell.

    Parameters
    ----------
    ax
        The heat map.
    x, y
        Lower left corner of the cell.
    value
        The correlation.
    bold
        Whether it is emphasised.
    """
    ax.text(
        x + 0.5, y + 0.52, _signed(value), ha="center", va="center", fontsize=7.2,
        fontweight="bold" if bold else "normal", color=cell_ink(abs(value) > 0.62), alpha=1 if bold else 0.8,
    )  # fmt: skip


def _signed(value: float) -> str:
    """A correlation with its sign and without a leading zero."""
    text = f"{value:+.2f}"
    return ".00" if text[1:] == "0.00" else with_minus(text).replace("0.", ".", 1)
