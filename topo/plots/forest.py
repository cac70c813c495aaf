"""Correlations with their intervals, one row a metric, one colour a group of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results.schema import category_of, metric_label
from .theme import FAMILY_COLORS, GRID, HUES, MARKERS, MUTED, figure, style

__all__ = ["forest_plot"]

ROW, PANEL = 0.25, 3.4


def forest_plot(
    table: pd.DataFrame,
    groups: Sequence[str],
    *,
    group: str = "scope",
    value: str = "r",
    low: str = "low",
    high: str = "high",
    names: Mapping[str, str] | None = None,
    colors: Mapping[str, str] | None = None,
    axis: str = "Spearman's ρ with accuracy",
    title: str = "",
) -> Figure:
    """A dot with its interval for every metric (row) and group (colour, marker), metrics parted by category.

    Parameters
    ----------
    table
        Columns metric, `group`, `value`, `low` and `high`; rows without a value are not drawn.
    groups
        Which groups, in the order of the legend.
    group
        Column with the group.
    value
        Column with the value.
    low
        Column with the lower end of the interval.
    high
        Column with the upper end of the interval.
    names
        What the legend calls them.
    colors
        By group; those of pruner families when left out.
    axis
        What the axis shows.
    title
        Title of the figure.

    Returns
    -------
    Figure
        One panel.

    Examples
    --------
    >>> rows = [("edges", "initial", 0.4, 0.2, 0.6), ("sink_nodes", "initial", -0.2, -0.5, 0.1)]
    >>> drawn = forest_plot(pd.DataFrame(rows, columns=["metric", "scope", "r", "low", "high"]), ["initial"])
    >>> [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    ['edges', 'sink nodes']
    """
    known = table[table[value].notna()]
    metrics = list(dict.fromkeys(known["metric"]))
    places, at, last = {}, 0.0, None
    for metric in metrics:
        category = category_of(metric)
        at += 0.45 if last not in (None, category) else 0
        places[metric], last, at = at, category, at + 1
    labels = [metric_label(m) for m in metrics]
    left = 0.25 + 0.068 * max(map(len, labels), default=0) + 0.9
    width = left + PANEL + 0.25
    entries = [(names or {}).get(name, name) for name in groups]
    lengths = [0.42 + 0.068 * len(entry) for entry in entries]
    across = len(groups) if sum(lengths) <= width - 0.2 else max(1, int((width - 0.2) / max(lengths)))
    bottom, top = 0.5, 0.18 + 0.19 * -(-len(groups) // across) + (0.28 if title else 0)
    high_in = ROW * at + bottom + top
    with style():
        drawn = figure(width, high_in)
        ax = drawn.add_axes((left / width, bottom / high_in, PANEL / width, (high_in - bottom - top) / high_in))
        shift = np.linspace(-0.26, 0.26, len(groups)) if len(groups) > 1 else [0.0]
        for i, name in enumerate(groups):
            part = known[known[group] == name]
            y = np.array([places[m] for m in part["metric"]]) + shift[i]
            color = (colors or FAMILY_COLORS).get(name, HUES[(i + 4) % len(HUES)])
            ax.hlines(y, part[low], part[high], color=color, linewidth=1.3, alpha=0.75)
            ax.plot(
                part[value],
                y,
                MARKERS[i % len(MARKERS)],
                color=color,
                markersize=4.6,
                label=(names or {}).get(name, name),
            )
        _frame(ax, metrics, labels, places, at)
        ends = known[[value, low, high]].to_numpy(float)
        reach = min(1.0, np.nanmax(np.abs(ends)) * 1.08) if len(ends) else 1.0
        ax.set_xlim(-reach, reach)
        ax.set_xlabel(axis)
        drawn.legend(
            *ax.get_legend_handles_labels(), loc="lower left", ncols=across, handletextpad=0.3, columnspacing=1.2,
            bbox_to_anchor=(0.1 / width, 1 - (top - 0.02) / high_in), borderaxespad=0,
        )  # fmt: skip
        if title:
            drawn.text(0.15 / width, 1 - 0.24 / high_in, title, fontsize=9.5, fontweight="bold", va="center")
    return drawn


def _frame(ax: Axes, metrics: Sequence[str], labels: Sequence[str], places: Mapping[str, float], end: float) -> None:
    """Rows, their names, their categories at the far left, and the line of no correlation."""
    ax.set_ylim(end - 0.4, -0.6)
    ax.set_yticks([places[m] for m in metrics], labels)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.grid(True, axis="x")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    wide = ax.get_window_extent().width / ax.figure.dpi
    x = -(0.068 * max(map(len, labels)) + 0.18) / wide
    for category in dict.fromkeys(map(category_of, metrics)):
        heights = [places[m] for m in metrics if category_of(m) == category]
        down = ax.get_yaxis_transform()
        ax.plot(
            (x, x), (heights[0] - 0.35, heights[-1] + 0.35), transform=down, color=GRID, linewidth=1.6, clip_on=False
        )
        ax.text(
            x - 0.07 / wide, (heights[0] + heights[-1]) / 2, category, transform=down, ha="right", va="center",
            fontsize=8, color=MUTED,
        )  # fmt: skip
