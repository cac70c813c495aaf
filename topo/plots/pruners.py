"""Pruners ranked: mean accuracy with interval at each sparsity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..errors import InputError, counted
from ..results.labels import percent
from ..results.schema import PAIR, tidy_results
from ..stats.pruners import pruner_means, pruner_ranking
from .theme import FAMILY_COLORS, GRID, INK, MUTED, figure, style

__all__ = ["ranked_pruners"]

FAMILY_NAMES = {
    "initial": "at initialisation",
    "dynamic": "during training",
    "trained": "dense to sparse",
    "structured": "whole units",
}


def ranked_pruners(table: pd.DataFrame) -> Figure:
    """Dot plot of one dataset and model: a row per pruner, best mean rank on top, a panel per sparsity.

    Dots are means over seeds, bars their 95% t-intervals (cut at the panel's edge), the dashed line the mean of the
    dense networks; colours are families.

    Parameters
    ----------
    table
        Results table of one dataset and model.

    Returns
    -------
    Figure
        One panel for each sparsity.

    Raises
    ------
    InputError
        The table holds several datasets or models, or no accuracy of a pruned network.

    Examples
    --------
    >>> from topo.results import example_results
    >>> len(ranked_pruners(example_results()).axes)
    3
    """
    table = tidy_results(table)
    pairs = table[[*PAIR]].drop_duplicates()
    if len(pairs) != 1:
        raise InputError(f"the table holds {counted(len(pairs), 'pair')} of dataset and model; choose one.")
    means = pruner_means(table)
    if means["mean"].notna().sum() == 0:
        raise InputError("no pruned network in the table has an accuracy, so there is nothing to draw.")
    names = pruner_ranking(table)["pruner"].tolist()
    place = {name: len(names) - 1 - i for i, name in enumerate(names)}
    sparsities = sorted(means["sparsity"].unique())
    dense = table.loc[table["pruner"] == "dense", "accuracy"].mean()
    width, height = max(1.5 + 1.55 * len(sparsities), 5.7), 1.15 + 0.175 * len(names)
    with style():
        new = figure(width, height)
        for i, sparsity in enumerate(sparsities):
            left, step = 1.35 / width, 1.55 / width
            box = (left + i * step, 0.5 / height, step * 0.88, 1 - 1.15 / height)
            ax = new.add_axes(box)
            _panel(ax, means[means["sparsity"] == sparsity], place, dense)
            ax.set_title(f"{percent(sparsity)} sparse")
            ax.set_yticks(range(len(names)), names[::-1] if i == 0 else [])
            ax.set_ylim(-0.7, len(names) - 0.3)
            ax.tick_params(axis="y", length=0)
        new.axes[0].set_xlabel("test accuracy", loc="left")
        _key(new, means, width, height)
    return new


def _panel(ax, means: pd.DataFrame, place: dict[str, int], dense: float) -> None:
    ax.hlines(range(len(place)), 0, 1, color=GRID, linewidth=0.5, transform=ax.get_yaxis_transform(), zorder=0)
    low, high = means["mean"].min(), max(means["mean"].max(), dense if np.isfinite(dense) else 0)
    margin = 0.06 * max(high - low, 0.01)
    ax.set_xlim(low - margin, high + margin)
    if np.isfinite(dense):
        ax.axvline(dense, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for row in means.itertuples():
        color = FAMILY_COLORS.get(row.family, INK)
        y = place[row.pruner]
        ax.plot([row.low, row.high], [y, y], color=color, linewidth=1.1, alpha=0.55, solid_capstyle="butt", zorder=2)
        ax.plot(row.mean, y, "o", color=color, markersize=4, markeredgewidth=0, zorder=3)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))


def _key(new: Figure, means: pd.DataFrame, width: float, height: float) -> None:
    x = 0.12 / width
    y = 1 - 0.24 / height
    for family in FAMILY_NAMES:
        if family in set(means["family"]):
            new.text(x, y, f"● {FAMILY_NAMES[family]}", color=FAMILY_COLORS[family], fontsize=8.5, va="center")
            x += (0.32 + 0.072 * len(FAMILY_NAMES[family])) / width
    new.text(x, y, "┆ dense", color=MUTED, fontsize=8.5, va="center")
