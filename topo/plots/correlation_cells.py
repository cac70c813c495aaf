"""Cells of heat maps of correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from .labels import with_minus
from .theme import cell_ink

__all__ = ["SCALE", "cell_rectangle", "hatch_cells", "write_correlation"]

SCALE = Normalize(-1, 1)
# Where the lines of a hatched cell cross its lower side, as a share of its width; negative ones begin at its left side.
HATCH = (-0.6, -0.2, 0.2, 0.6)


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


def hatch_cells(ax: Axes, cells: Sequence[Rectangle], color: str, alpha: float = 1.0) -> None:
    """Draw diagonal lines into cells that hold no value.

    They are lines and no hatch of matplotlib's, which becomes a picture in every cell when a page is printed.

    Parameters
    ----------
    ax
        The heat map.
    cells
        Rectangles of cells.
    color, alpha
        Of the lines.
    """
    lines = []
    for left, bottom, width, height in (cell.get_bbox().bounds for cell in cells):
        for start in HATCH:
            ends = np.array([[max(start, 0), max(-start, 0)], [min(1, 1 + start), min(1, 1 - start)]])
            lines.append(ends * [width, height] + [left, bottom])
    ax.add_collection(LineCollection(lines, colors=color, linewidths=0.5, alpha=alpha))


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
