"""Accuracy against metrics, one point per network."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..errors import InputError
from ..results.labels import percent
from ..results.schema import metric_label, tidy_results
from ..stats.family_correlations import strongest_metrics
from .labels import with_minus
from .theme import INK, MUTED, figure, own_axes, pruner_color, pruner_order, sparsity_marker, style

__all__ = ["accuracy_against_metric", "scatter_panels"]


def accuracy_against_metric(
    table: pd.DataFrame,
    metric: str,
    ax: Axes | None = None,
    *,
    markers: dict[float, str] | None = None,
    title: str | None = None,
) -> Axes:
    """Accuracy against one metric: colour tells the pruner, marker the sparsity.

    The metric's axis is logarithmic where its values are positive and span more than a factor of 30.

    Parameters
    ----------
    table
        Results table of one dataset and model.
    metric
        Column on the horizontal axis.
    ax
        Axes to draw on; new ones of a fitting size when left out.
    markers
        Marker of every sparsity; those of the sparsities in the table when left out.
    title
        Title of the panel; the metric when left out.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        The table lacks the metric, or no sparse network has a value of it and an accuracy.

    Examples
    --------
    >>> from topo.results import example_results
    >>> accuracy_against_metric(example_results(), "edges").get_title(loc="left")
    'edges'
    """
    table = tidy_results(table)
    if metric not in table.columns:
        raise InputError(f"the table has no column {metric!r}.")
    table = table[(table["pruner"] != "dense") & table["accuracy"].notna() & np.isfinite(table[metric].astype(float))]
    if table.empty:
        raise InputError(f"no sparse network has both an accuracy and a value of {metric!r}.")
    markers = markers or sparsity_marker(table["sparsity"].unique())
    with style():
        ax, _ = own_axes(ax, 3.4, 3.0, (0.65, 0.2, 0.45, 0.4))
        for sparsity, group in table.groupby("sparsity"):
            ax.scatter(
                group[metric].astype(float),
                group["accuracy"],
                color=[pruner_color(p) for p in group["pruner"]],
                marker=markers[sparsity],
                s=24,
                alpha=0.8,
                linewidths=0,
                zorder=3,
                label=percent(sparsity),
            )
        values = table[metric].to_numpy(float)
        if values.min() > 0 and values.max() / values.min() > 30:
            ax.set_xscale("log")
            _decades(ax, values)
        else:
            _linear(ax, values)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        if table["accuracy"].max() <= 1.5:
            ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: percent(v)))
        ax.grid(True)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_title(title if title is not None else metric_label(metric), fontsize=9)
    return ax


def _linear(ax: Axes, values: np.ndarray) -> None:
    """Few plain tick labels; a common power of ten is written once, under the axis."""
    ax.xaxis.set_major_locator(MaxNLocator(4))
    largest = float(np.abs(values).max())
    power = floor(log10(largest)) if largest else 0
    power = 0 if -3 <= power < 4 else power
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: with_minus(f"{v / 10.0**power:.4g}")))
    if power:
        ax.set_xlabel(f"× {_ten(power)}", loc="right", fontsize=7.5, labelpad=1)


def _decades(ax: Axes, values: np.ndarray) -> None:
    low, high = floor(log10(values.min())), ceil(log10(values.max()))
    powers = range(low, high + 1, max(1, ceil((high - low) / 4)))
    ax.set_xticks([10.0**p for p in powers], [_ten(p) for p in powers])
    ax.set_xticks([], minor=True)
    ax.set_xlim(values.min() / 1.25, values.max() * 1.25)


def _ten(power: int) -> str:
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def scatter_panels(
    table: pd.DataFrame, metrics: Sequence[str] | None = None, *, columns: int = 3, title: str = ""
) -> Figure:
    """`accuracy_against_metric` for several metrics with one shared key.

    Parameters
    ----------
    table
        Results table of one dataset and model.
    metrics
        Columns; `topo.stats.strongest_metrics` of the table when left out.
    columns
        Panels side by side.
    title
        Title of the figure.

    Returns
    -------
    Figure
        One panel for each metric.

    Raises
    ------
    InputError
        No metric has a value beside an accuracy.

    Examples
    --------
    >>> from topo.results import example_results
    >>> len(scatter_panels(example_results(), ["edges", "spectral_gap"]).axes)
    2
    """
    table = tidy_results(table)
    table = table[(table["pruner"] != "dense") & table["accuracy"].notna()]
    if metrics is None:
        metrics = strongest_metrics(table)
    finite = [m for m in metrics if m in table.columns and np.isfinite(table[m].astype(float)).any()]
    if not finite:
        raise InputError("no metric has a value beside an accuracy, so there is nothing to draw.")
    columns = min(columns, len(finite))
    rows = ceil(len(finite) / columns)
    pruners = pruner_order(table["pruner"].unique())
    markers = sparsity_marker(table["sparsity"].unique())
    left, gap, bottom, top, key = 0.7, 0.6, 0.5, 0.4 + (0.25 if title else 0), 1.95
    wide, high = 2.25, 2.0
    width = left + columns * wide + (columns - 1) * gap + key
    lines = len(pruners) + len(markers) + 3
    height = max(rows * (high + bottom + 0.4) + top - 0.4, 0.175 * lines + 0.5)
    with style():
        grid = figure(width, height)
        for i, metric in enumerate(finite):
            row, column = divmod(i, columns)
            ax = grid.add_axes(
                (
                    (left + column * (wide + gap)) / width,
                    1 - (top + row * (high + bottom + 0.4) + high) / height,
                    wide / width,
                    high / height,
                )
            )
            accuracy_against_metric(table, metric, ax, markers=markers)
            if column == 0:
                ax.set_ylabel("test accuracy", color=MUTED)
        _key(grid, pruners, markers, 1 - (key - 0.25) / width, 1 - (top - 0.08) / height)
        if title:
            grid.text(left / width, 1 - 0.22 / height, title, fontsize=9.5, fontweight="bold", color=INK, va="center")
    return grid


def _key(grid: Figure, pruners: list[str], markers: dict[float, str], x: float, y: float) -> None:
    blank = Line2D([], [], linestyle="none")
    dots = [Line2D([], [], linestyle="none", marker="o", color=pruner_color(p), markersize=5.5) for p in pruners]
    signs = [Line2D([], [], linestyle="none", marker=m, color=MUTED, markersize=5.5) for m in markers.values()]
    handles = [blank, *dots, blank, blank, *signs]
    texts = ["Pruner", *pruners, " ", "Sparsity", *(percent(s) for s in markers)]
    legend = grid.legend(
        handles, texts, loc="upper left", bbox_to_anchor=(x, y), labelspacing=0.35, handletextpad=0.3, borderpad=0
    )
    for text in legend.get_texts():
        if text.get_text() in ("Pruner", "Sparsity"):
            text.set_fontweight("bold")
