"""Distance matrix in the order of a hierarchical clustering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from ..errors import InputError
from .theme import MUTED, SEQUENTIAL, cell_ink, figure, pruner_color, style

__all__ = ["clustered_distances"]

CELL = 0.36
TREE = 1.15


def clustered_distances(distances: pd.DataFrame, families: Mapping[str, str] | None = None) -> Figure:
    """Mean distances as numbers in coloured cells (dark: small) beside the tree that orders them.

    Parameters
    ----------
    distances
        Square, the same names along rows and columns; the diagonal is the distance within a kind, NaN where unknown.
    families
        Kind -> its family, which is written behind its name.

    Returns
    -------
    Figure
        The tree and the cells.

    Raises
    ------
    InputError
        There are fewer than two kinds.

    Examples
    --------
    >>> table = pd.DataFrame([[0.1, 0.4, 0.9], [0.4, 0.1, 0.8], [0.9, 0.8, 0.2]], list("abc"), list("abc"))
    >>> [tick.get_text() for tick in clustered_distances(table).axes[0].get_yticklabels()]
    ['c', 'b', 'a']
    """
    names = list(distances.index)
    if len(names) < 2:
        raise InputError("a matrix of distances takes two kinds at least.")
    values = distances.loc[names, names].to_numpy(float)
    apart = np.where(np.isfinite(values), values, np.nanmean(values))
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    placed = dendrogram(tree, no_plot=True)
    order = placed["leaves"]
    shown, texts = values[np.ix_(order, order)], [_text(names[i], families) for i in order]
    left, side = 0.25 + 0.073 * max(map(len, texts)), CELL * len(names)
    top, bottom, right = 0.12 + 0.07 * max(map(len, names)), 0.68, 0.45
    width, height = left + side + 0.12 + TREE + right, bottom + 0.75 * side + top
    finite = shown[np.isfinite(shown)]
    low, high = finite.min(), max(finite.max(), finite.min() + 1e-9)
    with style():
        drawn = figure(width, height)
        ax = drawn.add_axes((left / width, bottom / height, side / width, 0.75 * side / height))
        ax.pcolormesh(np.ma.masked_invalid(shown), cmap=SEQUENTIAL.reversed(), vmin=low, vmax=high, edgecolors="face",
                      linewidth=0)  # fmt: skip
        for i, j in zip(*np.nonzero(np.isfinite(shown)), strict=True):
            color = cell_ink((shown[i, j] - low) / (high - low) < 0.55)
            weight = "bold" if i == j else "normal"
            text = f"{shown[i, j]:.2f}".removeprefix("0")
            ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7.2, color=color, fontweight=weight)
        ax.set_ylim(len(names), 0)
        ax.set_xticks(np.arange(len(names)) + 0.5, [names[i] for i in order], rotation=90)
        ax.set_yticks(np.arange(len(names)) + 0.5, texts)
        for tick, i in zip(ax.get_yticklabels(), order, strict=True):
            tick.set_color(pruner_color(names[i]))
        ax.xaxis.tick_top()
        ax.tick_params(length=0, pad=3)
        ax.spines[:].set_visible(False)
        place = ((left + side + 0.12) / width, bottom / height, TREE / width, 0.75 * side / height)
        _tree(drawn.add_axes(place), placed, len(names))
        drawn.text(left / width, 0.13 / height, "bold: among own seeds · tree: average linkage of the distances",
                   fontsize=7.5, color=MUTED)  # fmt: skip
    return drawn


def _tree(ax: Axes, placed: dict[str, Any], leaves: int) -> None:
    for x, y in zip(placed["icoord"], placed["dcoord"], strict=True):
        # The tree counts its leaves 5, 15, 25, ...
        ax.plot(y, np.array(x) / 10, color=MUTED, linewidth=0.9)
    ax.set_ylim(leaves, 0)
    ax.set_xlim(0, None)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=3)
    ax.set_xlabel("distance")


def _text(name: str, families: Mapping[str, str] | None) -> str:
    return f"{name} ({families[name]})" if families and name in families else name
