"""Confusion matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .theme import INK, SEQUENTIAL, cell_ink, corner_title, figure_of, name_cells, own_axes, style

__all__ = ["confusion_matrix"]


def confusion_matrix(shares: pd.DataFrame, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Shares of each true label (row) predicted as each label (column); shares below .005 stay blank.

    Parameters
    ----------
    shares
        Square, as `topo.stats.classification.confusion_shares` returns it.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    title
        Title of the figure.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Examples
    --------
    >>> shares = pd.DataFrame([[0.9, 0.1], [0.2, 0.8]], index=["snip", "er"], columns=["snip", "er"])
    >>> len(confusion_matrix(shares).texts)
    4
    """
    values = shares.to_numpy(float)
    rows, columns = values.shape
    left = 0.5 + 0.075 * max(len(str(n)) for n in shares.index)
    top = 0.45 + 0.075 * max(len(str(n)) for n in shares.columns) + (0.3 if title else 0)
    with style():
        width, height = max(left + 0.42 * columns + 0.2, 0.3 + 0.09 * len(title), 1.8), 0.3 * rows + top + 0.15
        ax, own = own_axes(ax, width, height, (left, width - left - 0.42 * columns, 0.15, top))
        ax.pcolormesh(np.ma.masked_invalid(values), cmap=SEQUENTIAL, vmin=0, vmax=1, edgecolors="face", linewidth=0)
        for i, j in zip(*np.nonzero(np.nan_to_num(values) >= 0.005), strict=True):
            color = cell_ink(values[i, j] > 0.45)
            text = f"{values[i, j]:.2f}".removeprefix("0")
            ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7.2, color=color)
        name_cells(ax, shares.index, shares.columns)
        if own:
            parent = figure_of(ax)
            high, wide = parent.get_figheight(), parent.get_figwidth()
            corner_title(parent, title)
            ax.set_ylabel("made by", color=INK)
            parent.text(left / wide, 1 - (0.18 + 0.26 * bool(title)) / high, "taken for", fontsize=9, va="center")
    return ax
