"""Confounders by algorithm at equal sparsity: one dot a network, relative to the median of its group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from .heatmap import ordered_families
from .theme import HUES, INK, MUTED, figure, pruner_color, pruner_order, style

__all__ = ["relative_strips"]

ROW = 0.24
# Most dots of a strip; of more values, evenly spaced ones in sorted order are drawn, the extremes included.
MOST_DOTS = 400


def relative_strips(table: pd.DataFrame, columns: dict[str, str], *, density: pd.DataFrame | None = None) -> Figure:
    """Panels of strips, one row an algorithm; and the correlation of layer-wise metrics with layer density.

    Parameters
    ----------
    table
        Columns pruner, family and those of `columns`, each a ratio to the group's median (1: like the others).
    columns
        Column -> heading of its panel.
    density
        Columns metric (its label), group, r; drawn as a last panel where given.

    Returns
    -------
    Figure
        Panels side by side.

    Examples
    --------
    >>> table = pd.DataFrame({"pruner": ["snip", "er"], "family": "initial", "edges": [0.5, 2.0]})
    >>> len(relative_strips(table, {"edges": "edges"}).axes)
    1
    """
    rows, heads, at = {}, [], 0.0
    for family in ordered_families(table["family"].unique()):
        heads.append((family, at))
        for pruner in pruner_order(table.loc[table["family"] == family, "pruner"].unique()):
            rows[pruner] = at
            at += 1
        at += 0.7
    left = 0.3 + 0.075 * max(map(len, rows))
    left += 0.75
    panel, gap, bottom, top = 2.6, 0.45, 0.5, 0.55
    width = left + len(columns) * panel + (len(columns) - 1) * gap + 0.3
    if density is not None:
        width += 1.35 + panel
    height = max(ROW * at, 1.4) + bottom + top
    with style():
        drawn = figure(width, height)
        for i, (column, head) in enumerate(columns.items()):
            x = left + i * (panel + gap)
            box = (x / width, bottom / height, panel / width, 1 - (bottom + top) / height)
            ax = drawn.add_axes(box)
            _strips(ax, table, column, rows)
            ax.set_title(head)
            ax.set_ylim(at - 0.9, -0.8)
            ax.set_yticks(list(rows.values()), list(rows) if i == 0 else [""] * len(rows))
            if i == 0:
                for family, first in heads:
                    count = sum(table.loc[table["pruner"] == p, "family"].iloc[0] == family for p in rows)
                    ax.text(
                        -(0.075 * max(map(len, rows)) + 0.2) / panel, first + (count - 1) / 2, family, ha="right",
                        va="center", transform=ax.get_yaxis_transform(), color=MUTED, fontsize=8,
                    )  # fmt: skip
        if density is not None:
            x = left + len(columns) * (panel + gap) + 0.9
            _density(drawn.add_axes((x / width, bottom / height, panel / width, 1 - (bottom + top) / height)), density)
    return drawn


def _strips(ax: Axes, table: pd.DataFrame, column: str, rows: dict[str, float]) -> None:
    """A dot per network on a logarithmic axis, shifted within its row in a fixed pattern; a bar at the median."""
    values = table[column].to_numpy(float)
    known = np.isfinite(values) & (values > 0)
    for pruner, y in rows.items():
        of_pruner = values[known & (table["pruner"] == pruner).to_numpy()]
        if not len(of_pruner):
            continue
        middle = np.median(of_pruner)
        if len(of_pruner) > MOST_DOTS:
            of_pruner = np.sort(of_pruner)[np.linspace(0, len(of_pruner) - 1, MOST_DOTS).astype(int)]
        # A low-discrepancy sequence spreads the dots evenly without randomness.
        shift = (np.arange(len(of_pruner)) * 0.618034 % 1 - 0.5) * 0.6
        ax.plot(of_pruner, y + shift, "o", color=pruner_color(pruner), markersize=2.6, alpha=0.55, markeredgewidth=0)
        ax.vlines(middle, y - 0.42, y + 0.42, color=INK, linewidth=1.4, zorder=4)
    ax.set_xscale("log")
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.5, 2.0)
    ticks = [t for t in _ticks(low, high) if low / 1.2 <= t <= high * 1.2]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([f"{t:.3g}×" for t in ticks])
    ax.set_xlim(low / 1.15, high * 1.15)
    ax.axvline(1, color=MUTED, linewidth=0.8)
    ax.grid(True, axis="x")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xlabel("relative to the group's median")


def _ticks(low: float, high: float) -> Sequence[float]:
    """Powers of two where they are few, with halves between them where very few, else powers of ten."""
    if high / low < 2:
        return [0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.4, 1.7, 2]
    if high / low < 6:
        return [0.18, 0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6]
    if high / low < 100:
        return [2.0**p for p in range(-7, 8)]
    return [10.0**p for p in range(-9, 10, 1 if high / low < 1e6 else 2)]


def _density(ax: Axes, density: pd.DataFrame) -> None:
    """A dot per group (dataset and architecture) and metric."""
    names = list(dict.fromkeys(density["metric"]))
    for i, name in enumerate(names):
        r = density.loc[density["metric"] == name, "r"].dropna().to_numpy(float)
        ax.plot(r, np.full(len(r), i) + np.linspace(-0.16, 0.16, len(r)), "o", color=HUES[i], markersize=4.2, alpha=0.8)
        if len(r):
            ax.vlines(np.median(r), i - 0.32, i + 0.32, color=INK, linewidth=1.4)
            ax.text(np.median(r), i - 0.38, f"{np.median(r):.2f}", ha="center", va="bottom", fontsize=8)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.75)
    ax.set_xlim(min(0.0, density["r"].min()), 1)
    ax.grid(True, axis="x")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title("ρ with layer density")
    ax.set_xlabel("one dot a dataset and architecture")
