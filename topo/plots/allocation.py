"""Where the weights went: the density of every layer beside that of the network, pruner by pruner."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..errors import InputError
from ..results.labels import percent
from .layers import checked_layers, short_layer_names
from .theme import DIVERGING, cell_ink, corner_title, figure_of, name_cells, own_axes, pruner_order, style

__all__ = ["layer_allocation"]

# Eight times the network's density, or an eighth of it, has the deepest colour.
DEEPEST = 3.0
MOST_WITH_TEXT = 24


def layer_allocation(
    table: pd.DataFrame, ax: Axes | None = None, *, sparsity: float | None = None, title: str | None = None
) -> Axes:
    """How dense each layer is next to the whole network: a row a pruner, a column a layer, at one sparsity.

    Blue layers keep a larger share of their weights than the network does, brown ones a smaller share; white is the
    same. Cells hold the percentage of the layer's weights that is kept, the mean over networks (seeds).

    Parameters
    ----------
    table
        One dataset and model of what `topo.results.layer_table` returns.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    sparsity
        Which networks; those of the middle sparsity when left out.
    title
        Title of the figure; the sparsity when left out.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        The table holds several datasets or models, no rows, or no network of that sparsity.

    Examples
    --------
    >>> import topo
    >>> from topo.results import layer_table
    >>> net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    >>> masks = {name: topo.prune(net, name, sparsity=0.9, seed=0) for name in ("uniform", "erk")}
    >>> ax = layer_allocation(layer_table(masks))
    >>> [text.get_text() for text in ax.texts]
    ['10', '10', '10', '7.6', '11', '32']
    """
    table = checked_layers(table, ("pruner", "sparsity", "layer", "weights", "kept"))
    known = np.sort(table["sparsity"].unique())
    chosen = known[len(known) // 2] if sparsity is None else sparsity
    rows = table[np.isclose(table["sparsity"], chosen)]
    if rows.empty:
        raise InputError(f"no network has sparsity {chosen:g}; the table has {', '.join(f'{s:g}' for s in known)}.")
    layers, pruners = list(dict.fromkeys(rows["layer"])), pruner_order(rows["pruner"].unique())
    sums = rows.pivot_table(["kept", "weights"], "pruner", "layer", aggfunc="sum")
    whole = rows.groupby("pruner")[["kept", "weights"]].sum()
    density = (sums["kept"] / sums["weights"]).reindex(index=pruners, columns=layers).to_numpy(float)
    network = (whole["kept"] / whole["weights"]).reindex(pruners).to_numpy(float)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.clip(np.log2(density / network), -DEEPEST, DEEPEST)
    names = short_layer_names(layers)
    text = len(layers) <= MOST_WITH_TEXT
    cell = 0.36 if text else 0.16
    left = 0.4 + 0.075 * max(map(len, pruners))
    top = 0.45 + 0.07 * max(map(len, names))
    if title is None:
        what = "% of weights kept" if text else "Denser (blue) or sparser than the network"
        title = f"{what}, {percent(float(chosen))} sparsity"
    with style():
        width, height = max(left + cell * len(layers) + 0.2, 0.3 + 0.085 * len(title)), 0.27 * len(pruners) + top + 0.15
        margins = (left, width - left - cell * len(layers), 0.15, top)
        ax, own = own_axes(ax, width, height, margins)
        ax.pcolormesh(np.ma.masked_invalid(relative), cmap=DIVERGING, vmin=-DEEPEST, vmax=DEEPEST, edgecolors="white")
        for i, j in zip(*np.nonzero(np.isfinite(density)), strict=True) if text else ():
            ink = cell_ink(bool(abs(relative[i, j]) > 0.6 * DEEPEST))
            ax.text(j + 0.5, i + 0.5, _share(density[i, j]), ha="center", va="center", fontsize=6.8, color=ink)
        name_cells(ax, pruners, names, fontsize=7)
        if own:
            corner_title(figure_of(ax), title)
        else:
            ax.set_title(title)
    return ax


def _share(density: float) -> str:
    """A share as a percentage in three characters at most."""
    share = 100 * density
    if share >= 9.95 or share == 0:
        return f"{share:.0f}"
    return f"{share:.1f}".removeprefix("0") if share >= 0.05 else "<.1"
