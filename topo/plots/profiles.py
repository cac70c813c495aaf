"""Quantities along the layers of networks: density, degree, a metric, a panel each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..errors import InputError
from ..results.labels import percent
from ..results.schema import metric_label
from ..validation import real_number
from .labels import label_line_ends, plain_number, text_width
from .layers import checked_layers, name_layers, short_layer_names
from .theme import GRID, SMALL, Width, figure, inches_of, pruner_color, pruner_dashes, pruner_order, style

__all__ = ["layer_profiles"]

PANEL = 1.15
WIDE_RANGE = 20
"""Values whose largest is so many times the smallest have a logarithmic axis."""
WORDS = {"density": "weights kept", "kept": "weights kept", "mean_abs_weight": "mean size of weights"}


def layer_profiles(
    table: pd.DataFrame,
    columns: str | Sequence[str] = "density",
    *,
    sparsity: float | None = None,
    width: Width = "column",
) -> Figure:
    """Quantities along the layers, one panel below the other, a line a pruner.

    A line is the mean over the networks (seeds) of a pruner, a band their lowest to highest. Layers are in the order of
    their first appearance. An axis is logarithmic where all values are positive and far apart.

    Parameters
    ----------
    table
        Long, a row a network and layer, of one dataset and model: as `topo.results.layer_table` makes it and
        ``layers.parquet`` of a study holds it, with columns of your own if you like.
    columns
        Those to draw, such as ``"density"`` or ``"rolled__mean_degree"``.
    sparsity
        Which networks; those of the middle sparsity when left out.
    width
        Inches, or ``"column"`` (3.4) or ``"page"`` (7) of a journal. Letters keep their size.

    Returns
    -------
    Figure
        With a panel a column.

    Raises
    ------
    InputError
        A column is not there or holds no number, the table has several datasets or models or no rows, or no network has
        that sparsity.

    Examples
    --------
    >>> rows = [(p, 0.9, layer, d, 10 * d) for p in ("snip", "er") for layer, d in (("conv1", 0.4), ("fc", 0.1))]
    >>> table = pd.DataFrame(rows, columns=["pruner", "sparsity", "layer", "density", "rolled__mean_degree"])
    >>> figure = layer_profiles(table, ["density", "rolled__mean_degree"])
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['weights kept', 'mean degree']
    """
    columns = [columns] if isinstance(columns, str) else list(columns)
    if not columns:
        raise InputError("columns is empty; name what to draw along the layers, such as 'density'.")
    table = checked_layers(table, ("pruner", "sparsity", "layer", *columns))
    for column in columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise InputError(f"column {column!r} of the layer table holds no numbers; draw another.")
    known = np.sort(table["sparsity"].unique())
    chosen = known[len(known) // 2] if sparsity is None else real_number("sparsity", sparsity)
    rows = table[np.isclose(table["sparsity"], chosen)]
    if rows.empty:
        raise InputError(f"no network has sparsity {chosen:g}; the table has {', '.join(f'{s:g}' for s in known)}.")
    inches = inches_of(width)
    layers, pruners = list(dict.fromkeys(rows["layer"])), pruner_order(rows["pruner"].unique())
    names = max(text_width(pruner, SMALL, bold=True) for pruner in pruners)
    left, right, top = 0.62, min(names + 0.22, inches / 2), 0.3
    bottom = 0.15 + max(text_width(name, SMALL) for name in short_layer_names(layers))
    height = top + len(columns) * PANEL + (len(columns) - 1) * 0.16 + bottom
    with style():
        drawn = figure(inches, height)
        for place, column in enumerate(columns):
            y = height - top - (place + 1) * PANEL - place * 0.16
            box = (left / inches, y / height, (inches - left - right) / inches, PANEL / height)
            ax = drawn.add_axes(box)
            _draw(ax, rows, column, layers, pruners)
            if place == len(columns) - 1:
                name_layers(ax, layers, fontsize=SMALL)
            else:
                ax.set_xticks(range(len(layers)), [""] * len(layers))
        drawn.axes[0].set_title(f"{percent(float(chosen))} sparsity", fontsize=SMALL + 1)
    return drawn


def _draw(ax: Axes, rows: pd.DataFrame, column: str, layers: list[str], pruners: list[str]) -> None:
    ends: list[tuple[float, float]] = []
    shown: list[str] = []
    x = np.arange(len(layers))
    values = rows[column].to_numpy(float)
    values = values[np.isfinite(values)]
    logarithmic = len(values) > 0 and values.min() > 0 and values.max() > WIDE_RANGE * values.min()
    for pruner in pruners:
        drawn = rows[rows["pruner"] == pruner].groupby("layer")[column].agg(["mean", "min", "max"]).reindex(layers)
        if drawn["mean"].notna().sum() == 0:
            continue
        color = pruner_color(pruner)
        dashes = pruner_dashes(pruner)
        ax.plot(x, drawn["mean"], color=color, linestyle=dashes, marker="o", markersize=2.4, linewidth=1.1, zorder=3)
        ax.fill_between(x, drawn["min"], drawn["max"], color=color, alpha=0.16, linewidth=0, zorder=2)
        last = drawn["mean"].dropna()
        ends.append((layers.index(last.index[-1]), float(last.iloc[-1])))
        shown.append(pruner)
    ax.set_xlim(-0.3, max(len(layers) - 0.7, 0.3))
    if logarithmic:
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    if column == "density":
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    elif not logarithmic:
        ax.yaxis.set_major_formatter(FuncFormatter(plain_number))
    ax.tick_params(labelsize=SMALL)
    ax.grid(axis="y", color=GRID)
    ax.set_ylabel(WORDS.get(column, metric_label(column)), fontsize=SMALL)
    ax.set_ylim(*ax.get_ylim())
    label_line_ends(ax, ends, shown, [pruner_color(pruner) for pruner in shown], fontsize=SMALL, inset=5)
