"""Accuracy against sparsity, one line per pruner."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from ..errors import InputError, counted
from ..results.labels import percent
from ..results.schema import PAIR, tidy_results
from ..stats.pruners import accuracy_summary
from .labels import label_line_ends
from .theme import INK, MUTED, figure, own_axes, pruner_color, pruner_dashes, pruner_marker, pruner_order, style

__all__ = ["accuracy_against_sparsity", "accuracy_grid", "networks_with_accuracy"]

# Points between the markers of neighbouring lines.
ASIDE = 1.6


def accuracy_against_sparsity(
    table: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None, named: bool = True
) -> Axes:
    """Mean accuracy over seeds against sparsity for each pruner, on one dataset and model.

    Bars span the lowest to the highest seed; the dashed line is the mean of the dense networks; lines are named
    at their right end. The horizontal axis is the logarithm of density, so that 90% to 95% is as long as
    80% to 90%.

    Parameters
    ----------
    table
        Results table; see `topo.results.tidy_results`.
    ax
        Axes to draw on; new ones when left out.
    title
        Left out: dataset and model.
    named
        Whether lines have their names at their right end.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        The table holds several datasets or models (see `accuracy_grid`) or no accuracy at all.

    Examples
    --------
    >>> from topo.results import example_results
    >>> ax = accuracy_against_sparsity(example_results())
    >>> ax.get_xlabel()
    'sparsity'
    """
    table = tidy_results(table)
    pairs = table[[*PAIR]].drop_duplicates()
    if len(pairs) != 1:
        held = counted(len(pairs), "pair")
        raise InputError(f"the table holds {held} of dataset and model; use accuracy_grid for several.")
    summary = accuracy_summary(table)
    if summary.empty:
        raise InputError("no network in the table has an accuracy, so there is nothing to draw.")
    dense = summary[summary["pruner"] == "dense"]
    sparse = summary[summary["pruner"] != "dense"]
    names = pruner_order(sparse["pruner"].unique())
    with style():
        ax, _ = own_axes(ax, 6.5, 3.9, (0.65, 1.75, 0.55, 0.4))
        dpi_scale = ax.figure.dpi_scale_trans
        ends = []
        for i, name in enumerate(names):
            line = sparse[sparse["pruner"] == name].sort_values("sparsity")
            x, y = _depth(line["sparsity"]), line["mean"].to_numpy()
            # Bars of neighbouring lines would hide each other: shift them on paper, not in the data.
            shift = ScaledTranslation((i - (len(names) - 1) / 2) * ASIDE / 72, 0, dpi_scale)
            color = pruner_color(name)
            ax.plot(
                x, y, color=color, linestyle=pruner_dashes(name), marker=pruner_marker(name), label=name,
                transform=ax.transData + shift, markeredgewidth=0, zorder=3,
            )  # fmt: skip
            ax.vlines(
                x, line["low"], line["high"], color=color, linewidth=1.1, alpha=0.6, zorder=2,
                transform=ax.transData + shift,
            )  # fmt: skip
            ends.append((x[-1], y[-1]))
        sparsities = np.sort((sparse if len(sparse) else dense)["sparsity"].unique())
        _limits(ax, sparsities, summary, aside=(len(names) - 1) * ASIDE / 2)
        texts, colors = list(names), [pruner_color(n) for n in names]
        if len(dense):
            level = float(dense["mean"].iloc[0])
            ax.axhline(level, color=INK, linewidth=1, linestyle=(0, (3, 2)), zorder=1.5, label="dense")
            ends.append((ax.get_xlim()[1], level))
            texts.append("dense")
            colors.append(INK)
        ax.set_title(title if title is not None else " · ".join(pairs.iloc[0]))
        ax.set_xlabel("sparsity")
        ax.set_ylabel("test accuracy")
        ax.grid(axis="y")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        if named:
            label_line_ends(ax, ends, texts, colors)
    return ax


def _depth(sparsity: np.ndarray) -> np.ndarray:
    return -np.log10(np.maximum(1 - np.asarray(sparsity, dtype=float), 1e-6))


def _limits(ax: Axes, sparsities: np.ndarray, summary: pd.DataFrame, aside: float) -> None:
    """Limits that hold every marker, `aside` points of paper beside its place at most."""
    x = _depth(sparsities)
    share = min((aside + 4) / (ax.get_window_extent().width * 72 / ax.figure.dpi), 0.3)
    margin = max(share / (1 - 2 * share) * np.ptp(x), 0.03)
    ax.set_xlim(x[0] - margin, x[-1] + margin)
    low, high = summary["low"].min(), summary["high"].max()
    margin = max(0.06 * (high - low), 0.005 * (1 if high <= 1.5 else 100))
    ax.set_ylim(low - margin, high + margin)
    if high <= 1.5:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: percent(v)))
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    # Ticks from the sparsest end, leaving out those whose labels would touch.
    width = ax.get_window_extent().width * 72 / ax.figure.dpi / np.ptp(ax.get_xlim())
    kept = [len(x) - 1]
    for i in range(len(x) - 2, -1, -1):
        if (x[kept[-1]] - x[i]) * width >= 5.2 * max(len(percent(sparsities[i])), 3) + 3:
            kept.append(i)
    ax.set_xticks(x[kept[::-1]], [percent(s) for s in sparsities[kept[::-1]]])
    ax.set_xticks(x, minor=True)


def accuracy_grid(table: pd.DataFrame, *, columns: int | None = None) -> Figure:
    """`accuracy_against_sparsity` for every pair of dataset and model, a panel each.

    Parameters
    ----------
    table
        Results table.
    columns
        Panels side by side; two at most when left out.

    Returns
    -------
    Figure
        One panel each.

    Raises
    ------
    InputError
        No network has an accuracy.

    Examples
    --------
    >>> from topo.results import example_results
    >>> len(accuracy_grid(example_results(models=("a", "b"))).axes)
    2
    """
    table = networks_with_accuracy(table)
    groups = list(table.groupby(list(PAIR), sort=True))
    columns = columns or min(len(groups), 2)
    rows = ceil(len(groups) / columns)
    names = table["pruner"].nunique()
    left, right, bottom, top = 0.65, 1.75, 0.55, 0.4
    wide, high = (4.6 if columns == 1 else 3.1), max(2.7, 0.17 * names)
    cell = (left + wide + right, bottom + high + top)
    with style():
        grid = figure(columns * cell[0], rows * cell[1])
        for i, ((dataset, model), group) in enumerate(groups):
            row, column = divmod(i, columns)
            ax = grid.add_axes(
                (
                    (column * cell[0] + left) / (columns * cell[0]),
                    ((rows - 1 - row) * cell[1] + bottom) / (rows * cell[1]),
                    wide / (columns * cell[0]),
                    high / (rows * cell[1]),
                )
            )
            accuracy_against_sparsity(group, ax, title=f"{dataset} · {model}")
            ax.yaxis.label.set_color(MUTED)
    return grid


def networks_with_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """The networks of a results table that have an accuracy, in tidy form.

    Parameters
    ----------
    table
        Results table.

    Returns
    -------
    DataFrame
        At least one row.

    Raises
    ------
    InputError
        No network has one.
    """
    table = tidy_results(table)
    table = table[table["accuracy"].notna()]
    if table.empty:
        raise InputError("no network in the table has an accuracy, so there is nothing to draw.")
    return table
