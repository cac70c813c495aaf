"""Quantities of a network along its training, a panel each: metrics of its graph, what changed, accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..errors import InputError
from ..features import METRICS
from ..results.labels import percent
from ..results.schema import metric_column, metric_label
from .labels import label_line_ends, plain_number, text_width
from .theme import GRID, MUTED, SMALL, Width, figure, inches_of, pruner_color, pruner_dashes, pruner_order, style

__all__ = ["metric_course"]

PANEL, LEFT, TOP, BOTTOM = 1.15, 0.62, 0.28, 0.42
"""Inches: the height of a panel, and what is beside, above and below it."""
SHARES = ("changed", "explored", "sparsity", "density", "accuracy", "test_accuracy", "train_accuracy")


def metric_course(
    table: pd.DataFrame,
    metrics: str | Sequence[str],
    *,
    x: str = "epoch",
    random: pd.DataFrame | None = None,
    columns: int = 2,
    width: Width = "page",
) -> Figure:
    """Columns of a table along the training, a panel each, a line a pruner.

    A line is the mean over the rows (seeds) of a pruner at a time, a band their lowest to highest.

    Parameters
    ----------
    table
        Long, a row a network and time: a column ``pruner``, one for the time, and those to draw, as
        `topo.study.measure_trajectory` gives them for one network.
    metrics
        Names of the columns to draw, such as ``"k_core"`` or ``"explored"``.
    x
        The column of the time.
    random
        A table as of `topo.z_scores`: what random masks have, its ``mean`` plus and minus two of its ``sd``, is a grey
        band in the panels of the metrics that it has; of metrics that are never negative, it ends at 0.
    columns
        Panels beside each other.
    width
        Inches, or ``"column"`` (3.4) or ``"page"`` (7) of a journal. Letters keep their size.

    Returns
    -------
    Figure
        With a panel a metric.

    Raises
    ------
    InputError
        A column is not there or holds no number, or there is nothing to draw.

    Examples
    --------
    >>> rows = [(pruner, epoch, 4.0 + epoch) for pruner in ("set", "rigl") for epoch in range(3)]
    >>> table = pd.DataFrame(rows, columns=["pruner", "epoch", "k_core"])
    >>> random = pd.DataFrame({"mean": [4.0], "sd": [0.1]}, index=["k_core"])
    >>> figure = metric_course(table, "k_core", random=random, width="column")
    >>> figure.axes[0].get_title("left")
    'k core'
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    _check(table, metrics, x, random)
    pruners = pruner_order(table["pruner"].unique())
    inches = inches_of(width)
    columns = max(1, min(columns, len(metrics)))
    rows = -(-len(metrics) // columns)
    names = [*pruners, "random"] if random is not None else pruners
    right = 0.2 + max(text_width(name, SMALL, bold=True) for name in names)
    cell, height = inches / columns, rows * (TOP + PANEL + BOTTOM)
    with style():
        drawn = figure(inches, height)
        for place, metric in enumerate(metrics):
            row, column = divmod(place, columns)
            bottom = height - row * (TOP + PANEL + BOTTOM) - TOP - PANEL
            box = ((column * cell + LEFT) / inches, bottom / height, (cell - LEFT - right) / inches, PANEL / height)
            ax = drawn.add_axes(box)
            band = random.loc[metric] if random is not None and metric in random.index else None
            _draw(ax, table, metric, x, pruners, band)
            ax.set_title(metric_label(metric), fontsize=SMALL + 1)
            if place + columns >= len(metrics):
                ax.set_xlabel(x, fontsize=SMALL)
    return drawn


def _draw(ax: Axes, table: pd.DataFrame, metric: str, x: str, pruners: Sequence[str], random: pd.Series | None) -> None:
    ends: list[tuple[float, float]] = []
    shown: list[str] = []
    colors: list[str] = []
    for pruner in pruners:
        found = table[table["pruner"] == pruner].groupby(x)[metric].agg(["mean", "min", "max"]).dropna()
        if found.empty:
            continue
        color = pruner_color(pruner)
        line = {"color": color, "linestyle": pruner_dashes(pruner)}
        ax.plot(found.index, found["mean"], marker="o", markersize=2.2, linewidth=1.1, zorder=3, **line)
        ax.fill_between(found.index, found["min"], found["max"], color=color, alpha=0.16, linewidth=0, zorder=2)
        ends.append((float(found.index[-1]), float(found["mean"].iloc[-1])))
        shown.append(pruner)
        colors.append(color)
    if random is not None and np.isfinite([random["mean"], random["sd"]]).all():
        low, high = (float(random["mean"] + sign * 2 * random["sd"]) for sign in (-1, 1))
        if low < 0 and _is_never_negative(metric):
            low = 0.0
        ax.axhspan(low, high, color=MUTED, alpha=0.22, linewidth=0, zorder=1)
        ends.append((float(table[x].max()), float(random["mean"])))
        shown.append("random")
        colors.append(MUTED)
    ax.set_xlim(table[x].min(), max(table[x].max(), table[x].min() + 1))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=pd.api.types.is_integer_dtype(table[x])))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    as_share = metric in SHARES
    ax.yaxis.set_major_formatter(FuncFormatter((lambda value, _: percent(value)) if as_share else plain_number))
    ax.tick_params(labelsize=SMALL)
    ax.grid(axis="y", color=GRID)
    ax.set_ylim(*ax.get_ylim())
    label_line_ends(ax, ends, shown, colors, fontsize=SMALL, inset=5)


def _is_never_negative(column: str) -> bool:
    known = metric_column(column)
    if known is None or "z" in known.suffixes:
        return False
    return any(entry.info["bounds"].get(known.metric, ("",))[0] == 0 for entry in METRICS.entries())


def _check(table: pd.DataFrame, metrics: Sequence[str], x: str, random: pd.DataFrame | None) -> None:
    if not metrics:
        raise InputError("metrics is empty; name what to draw along the training, such as 'k_core'.")
    missing = [name for name in ("pruner", x, *metrics) if name not in table.columns]
    if missing:
        raise InputError(
            f"the table has no column {', '.join(map(repr, missing))}; it needs 'pruner', {x!r} and what is drawn, as "
            "topo.study.measure_trajectory gives them."
        )
    if table.empty:
        raise InputError("the table has no rows, so there is nothing to draw.")
    for name in (x, *metrics):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise InputError(f"column {name!r} of the table holds no numbers; draw another.")
    if random is not None and not {"mean", "sd"} <= set(random.columns):
        raise InputError("random has no columns 'mean' and 'sd'; give a table as topo.z_scores returns it.")
