"""Pooled correlations in blocks of columns (architectures, sparsities, datasets), one row a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..results.labels import percent
from ..results.schema import metric_label
from ..stats.significance import FALSE_DISCOVERY_RATE, significant
from .correlation_cells import SCALE, cell_rectangle, hatch_cells, write_correlation
from .theme import DIVERGING, GRID, INK, MUTED, figure, style

__all__ = ["pooled_heatmap"]

CELL = (0.47, 0.235)
GAP = 0.35


def pooled_heatmap(
    blocks: Mapping[str, pd.DataFrame],
    metrics: Sequence[str],
    *,
    value: str = "r",
    title: str = "",
) -> Figure:
    """Pooled correlations of metrics (rows) by the levels of several groupings (blocks of columns).

    Bold numbers are clear by the rule of `topo.stats.significant`; hatched cells are undefined.

    Parameters
    ----------
    blocks
        Heading of a block -> table with the columns metric, level (the column's name), `value` and q.
    metrics
        The rows.
    value
        Column with the correlations.
    title
        Title of the figure.

    Returns
    -------
    Figure
        The blocks side by side.

    Examples
    --------
    >>> table = pd.DataFrame({"metric": ["edges"], "level": ["conv6"], "r": [0.5], "q": [0.01]})
    >>> len(pooled_heatmap({"architecture": table}, ["edges"]).axes)
    1
    """
    columns, x = [], 0.0
    for head, table in blocks.items():
        for level in dict.fromkeys(table["level"]):
            columns.append((head, str(level), x))
            x += 1
        x += GAP
    wide, tall = x - GAP, len(metrics)
    left = 0.2 + 0.068 * max(len(metric_label(m)) for m in metrics)
    heads = 0.068 * max(len(level) for _, level, _ in columns) * 0.72 + 0.42
    top, bottom, right = heads + (0.3 if title else 0.05), 0.35, 0.45
    width, height = left + CELL[0] * wide + right, CELL[1] * tall + top + bottom
    with style():
        drawn = figure(width, height)
        box = (left / width, bottom / height, CELL[0] * wide / width, CELL[1] * tall / height)
        ax = drawn.add_axes(box)
        undefined = []
        for head, level, at in columns:
            table = blocks[head]
            rows = table[table["level"].astype(str) == level].set_index("metric")
            for i, metric in enumerate(metrics):
                known = metric in rows.index and np.isfinite(rows.loc[metric, value])
                if not known:
                    undefined.append(cell_rectangle(at, i))
                    continue
                r = float(rows.loc[metric, value])
                ax.add_patch(cell_rectangle(at, i, facecolor=DIVERGING(SCALE(r)), linewidth=0))
                write_correlation(ax, at, i, r, bold=bool(significant(rows).loc[metric]))
        hatch_cells(ax, undefined, GRID)
        ax.set_xlim(0, wide)
        ax.set_ylim(tall, 0)
        ax.set_yticks(np.arange(tall) + 0.5, [metric_label(m) for m in metrics])
        ax.set_xticks([at + 0.5 for _, _, at in columns], [level for _, level, _ in columns], rotation=45, ha="left")
        ax.xaxis.tick_top()
        ax.tick_params(length=0, pad=2)
        ax.spines[:].set_visible(False)
        for head in blocks:
            lefts = [at for name, _, at in columns if name == head]
            ax.text(
                lefts[0] + 0.05,
                -(heads - 0.18) / CELL[1],
                head,
                fontsize=8.5,
                fontweight="bold",
                color=INK,
                va="center",
            )
        note = f"bold: clear at a {percent(FALSE_DISCOVERY_RATE)} false-discovery rate"
        drawn.text(0.15 / width, 0.12 / height, note, fontsize=7.5, color=MUTED)
        if title:
            drawn.text(0.15 / width, 1 - 0.18 / height, title, fontsize=9.5, fontweight="bold", va="center")
    return drawn
