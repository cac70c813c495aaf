"""Density of every layer, pruner by pruner."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from ..errors import InputError, counted
from ..results.labels import percent
from ..results.schema import PAIR
from .labels import label_line_ends
from .theme import GRID, figure, figure_of, own_axes, pruner_color, pruner_order, style

__all__ = ["checked_layers", "layer_density", "layer_density_grid", "short_layer_names"]

NEEDED = ("pruner", "sparsity", "layer", "density")


def checked_layers(table: pd.DataFrame, needed: Sequence[str] = NEEDED) -> pd.DataFrame:
    """A table of layers that has the needed columns, some rows, and one dataset and model.

    Parameters
    ----------
    table
        As of `topo.results.layer_table`.
    needed
        Names of columns.

    Returns
    -------
    DataFrame
        `table`.

    Raises
    ------
    InputError
        When it has not.
    """
    missing = [c for c in needed if c not in table.columns]
    if missing:
        raise InputError(
            f"the layer table has no column {', '.join(map(repr, missing))}; it needs {', '.join(needed)}, as "
            "topo.results.layer_table gives them."
        )
    if table.empty:
        raise InputError("the layer table has no rows, so there is nothing to draw.")
    for name in PAIR:
        values = table[name].unique() if name in table.columns else []
        if len(values) > 1:
            raise InputError(
                f"the layer table holds {len(values)} {name}s ({', '.join(map(str, values[:3]))}); draw one at a time: "
                f"table[table[{name!r}] == {values[0]!r}]."
            )
    return table


def layer_density(
    table: pd.DataFrame, ax: Axes | None = None, *, floor: float | None = None, title: str | None = None
) -> Axes:
    """Share of weights kept in each layer, a line per sparsity, for one pruner.

    The mean over the rows of a layer and sparsity (seeds) is drawn, the lowest to highest as a band; layers are in
    the order of their first appearance. A layer that keeps nothing is drawn at the foot of the logarithmic axis.

    Parameters
    ----------
    table
        Columns pruner, sparsity, layer, density, one row a network and layer, as of `topo.results.layer_table`.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    floor
        Foot of the density axis; left out, a little below the smallest density.
    title
        Title of the panel; the pruner when left out.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        The table holds several pruners, datasets or models, or no rows.

    Examples
    --------
    >>> rows = [("snip", 0.9, "conv1", 0.4), ("snip", 0.9, "fc", 0.1)]
    >>> table = pd.DataFrame(rows, columns=["pruner", "sparsity", "layer", "density"])
    >>> layer_density(table).lines[0].get_ydata().tolist()
    [0.4, 0.1]
    """
    table = checked_layers(table)
    pruners = table["pruner"].unique()
    if len(pruners) != 1:
        raise InputError(
            f"the layer table holds {counted(len(pruners), 'pruner')}; use layer_density_grid for several."
        )
    layers = list(dict.fromkeys(table["layer"]))
    sparsities = sorted(table["sparsity"].unique())
    with style():
        ax, _ = own_axes(ax, 3.6, 3.0, (0.6, 0.65, 1.05, 0.4))
        floor = floor or _floor(table)
        ends: list[tuple[float, float]] = []
        texts: list[str] = []
        colors: list[str] = []
        for i, sparsity in enumerate(sparsities):
            rows = table[table["sparsity"] == sparsity].groupby("layer")["density"].agg(["mean", "min", "max"])
            rows = rows.reindex(layers)
            color = _paler(pruner_color(pruners[0]), i, len(sparsities))
            x = np.arange(len(layers))
            ax.plot(x, rows["mean"].clip(lower=floor), color=color, marker="o", markersize=3, linewidth=1.3, zorder=3)
            low, high = rows["min"].clip(lower=floor), rows["max"].clip(lower=floor)
            ax.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0, zorder=2)
            shown = rows["mean"].clip(lower=floor).dropna()
            if len(shown):
                ends.append((layers.index(shown.index[-1]), shown.iloc[-1]))
                texts.append(percent(sparsity))
                colors.append(color)
        ax.set_xlim(-0.4, len(layers) - 0.6)
        ax.set_yscale("log")
        ax.set_ylim(floor / 1.15, 1.15)
        decades = [d for d in (1, 0.1, 0.01, 0.001, 0.0001) if d >= floor / 1.15]
        ticks = decades if len(decades) > 2 else [t for t in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) if t >= floor / 1.15]
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: percent(v)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.grid(axis="y", color=GRID)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        name_layers(ax, layers)
        ax.set_title(title if title is not None else pruners[0], color=pruner_color(pruners[0]))
        label_line_ends(ax, ends, texts, colors, fontsize=7.5, inset=6)
    return ax


def _floor(table: pd.DataFrame) -> float:
    kept = table.loc[table["density"] > 0, "density"]
    return max(float(kept.min()), 1e-4) / 1.5 if len(kept) else 1e-3


def _paler(color: str, index: int, count: int) -> str:
    """The colour itself for the highest sparsity, paler towards the lowest."""
    pale = 0.55 * (1 - index / max(count - 1, 1)) if count > 1 else 0
    red, green, blue = (c + (0.75 - c) * pale for c in to_rgb(color))
    return to_hex((red, green, blue))


def name_layers(ax: Axes, layers: list[str], fontsize: float = 7) -> None:
    """Upright layer names under the x axis, every k-th where they would touch.

    Parameters
    ----------
    ax
        Axes with a layer at every whole number.
    layers
        Names in order.
    fontsize
        Size of the names.
    """
    points = ax.get_window_extent().width * 72 / figure_of(ax).dpi
    every = max(1, ceil(len(layers) * fontsize * 1.3 / points))
    shown = list(range(0, len(layers), every))
    names = short_layer_names([layers[i] for i in shown])
    ax.set_xticks(shown, names, rotation=90, fontsize=fontsize)
    ax.set_xticks(range(len(layers)), minor=True)


def short_layer_names(layers: Sequence[str], length: int = 22) -> list[str]:
    """Names of layers as figures write them: without ``.weight``, and only their last parts where they are long.

    Parameters
    ----------
    layers
        Names.
    length
        Characters of the longest.

    Returns
    -------
    list
        Of names.

    Examples
    --------
    >>> short_layer_names(["conv1.weight", "encoder.layers.0.attention.query.weight"])
    ['conv1', '…0.attention.query']
    """
    return [_short(str(layer).removesuffix(".weight"), length) for layer in layers]


def _short(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    end = name[-(length - 1) :]
    whole = end.partition(".")[2] if name[-length] != "." else end  # from where a part begins
    return "…" + (whole or end)


def layer_density_grid(table: pd.DataFrame, *, columns: int = 3) -> Figure:
    """`layer_density` for every pruner on the same axes, a panel each.

    Parameters
    ----------
    table
        Columns pruner, sparsity, layer, density, one row a network and layer, as of `topo.results.layer_table`.
    columns
        Panels side by side.

    Returns
    -------
    Figure
        One panel for each pruner.

    Raises
    ------
    InputError
        The table holds several datasets or models, or no rows.

    Examples
    --------
    >>> rows = [(p, 0.9, layer, d) for p in ("snip", "er") for layer, d in (("conv1", 0.4), ("fc", 0.1))]
    >>> table = pd.DataFrame(rows, columns=["pruner", "sparsity", "layer", "density"])
    >>> len(layer_density_grid(table).axes)
    2
    """
    table = checked_layers(table)
    pruners = pruner_order(table["pruner"].unique())
    columns = min(columns, len(pruners))
    rows = ceil(len(pruners) / columns)
    longest = max(map(len, short_layer_names(table["layer"].unique())))
    left, right, bottom, top, wide, high = 0.55, 0.5, 0.15 + 0.058 * longest, 0.38, 2.4, 1.5
    wide = 3.6 if columns == 1 else wide
    width, height = columns * (left + wide + right), rows * (bottom + high + top)
    with style():
        grid = figure(width, height)
        floor = _floor(table)
        for i, pruner in enumerate(pruners):
            row, column = divmod(i, columns)
            x = column * (left + wide + right) + left
            y = (rows - 1 - row) * (bottom + high + top) + bottom
            ax = grid.add_axes((x / width, y / height, wide / width, high / height))
            layer_density(table[table["pruner"] == pruner], ax, floor=floor)
            if column == 0:
                ax.set_ylabel("weights kept", fontsize=8)
    return grid
