"""Accuracy against sparsity in one small figure: a panel for each of the few pairs that tell most, one legend."""

from __future__ import annotations

from math import ceil

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..results.schema import PAIR, tidy_results
from ..stats.pruners import accuracy_summary
from .accuracy import accuracy_against_sparsity, networks_with_accuracy
from .theme import INK, figure, pruner_color, pruner_dashes, pruner_marker, pruner_order, style

__all__ = ["accuracy_overview", "networks_of", "telling_pairs"]

WIDTH = 5.3


def telling_pairs(table: pd.DataFrame, most: int = 4) -> list[tuple[str, str]]:
    """A few pairs of dataset and model, those that bring new names first, then those in which pruners differ most.

    Parameters
    ----------
    table
        Results table.
    most
        How many pairs at most.

    Returns
    -------
    list
        Of pairs, in alphabetical order.

    Examples
    --------
    >>> from topo.results import example_results
    >>> telling_pairs(example_results(models=("a", "b", "c")), most=2)
    [('digits', 'a'), ('digits', 'b')]
    """
    summary = accuracy_summary(tidy_results(table))
    sparse = summary[summary["pruner"] != "dense"]
    groups = sparse.groupby([*PAIR, "sparsity"])["mean"]
    spread = (groups.max() - groups.min()).groupby(list(PAIR)).mean()
    left = {(str(d), str(m)): value for (d, m), value in spread.items()}
    chosen: list[tuple[str, str]] = []
    while left and len(chosen) < most:
        seen = {name for pair in chosen for name in pair}
        best = max(sorted(left), key=lambda pair: (len(set(pair) - seen), left[pair]))
        chosen.append(best)
        del left[best]
    return sorted(chosen)


def accuracy_overview(table: pd.DataFrame, *, most: int = 4) -> Figure:
    """Accuracy against sparsity of every pruner, in a panel for each of the pairs of `telling_pairs`.

    Parameters
    ----------
    table
        Results table.
    most
        Panels at most.

    Returns
    -------
    Figure
        As wide as half a page.

    Raises
    ------
    InputError
        No network has an accuracy.

    Examples
    --------
    >>> from topo.results import example_results
    >>> len(accuracy_overview(example_results(models=("a", "b"))).axes)
    2
    """
    table = networks_with_accuracy(table)
    pairs = telling_pairs(table, most) or list(table[[*PAIR]].drop_duplicates().itertuples(index=False, name=None))
    pairs = pairs[:most]
    if len(pairs) == 1:
        return _single(networks_of(table, pairs[0]), " · ".join(pairs[0]))
    names = pruner_order(table.loc[table["pruner"] != "dense", "pruner"].unique())
    columns = 2
    rows = ceil(len(pairs) / columns)
    legend_rows = ceil((len(names) + 1) / 4)
    left, right, bottom, top, wide = 0.42, 0.1, 0.28, 0.3, WIDTH / columns - 0.52
    high = 2.6 if rows == 1 else 1.62
    cell = (left + wide + right, bottom + high + top)
    foot = 0.22 * legend_rows + 0.1
    height = rows * cell[1] + foot
    with style():
        grid = figure(WIDTH, height)
        for i, pair in enumerate(pairs):
            row, column = divmod(i, columns)
            box = (
                (column * cell[0] + left) / WIDTH,
                (foot + (rows - 1 - row) * cell[1] + bottom) / height,
                wide / WIDTH,
                high / height,
            )
            ax = accuracy_against_sparsity(
                networks_of(table, pair), grid.add_axes(box), title=" · ".join(pair), named=False
            )  # fmt: skip
            ax.set_xlabel("")
            ax.set_ylabel("")
        handles = [
            Line2D([], [], color=pruner_color(n), linestyle=pruner_dashes(n), marker=pruner_marker(n), label=n)
            for n in names
        ]
        if (table["pruner"] == "dense").any():
            handles.append(Line2D([], [], color=INK, linewidth=1, linestyle=(0, (3, 2)), label="dense"))
        grid.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0.02, 0), ncols=4, fontsize=8, handlelength=2.2,
            columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip
    return grid


def networks_of(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """The rows of one dataset and model.

    Parameters
    ----------
    table
        Results table.
    pair
        Dataset and model.

    Returns
    -------
    DataFrame
        Rows of the table.
    """
    return table[(table["dataset"] == pair[0]) & (table["model"] == pair[1])]


def _single(table: pd.DataFrame, title: str) -> Figure:
    with style():
        whole = figure(WIDTH, 4.2)
        ax = whole.add_axes((0.62 / WIDTH, 0.5 / 4.2, (WIDTH - 0.62 - 1.5) / WIDTH, (4.2 - 0.85) / 4.2))
        accuracy_against_sparsity(table, ax, title=title)
    return whole
