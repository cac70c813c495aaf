"""Distributions: of the degrees of graphs, and of a metric over networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from ..encoding.graph import MultipartiteGraph
from ..errors import InputError
from ..results.schema import metric_label
from .labels import plain_number
from .theme import HUES, Width, inches_of, is_pruner, own_axes, pruner_color, style

__all__ = ["degree_distribution", "metric_distribution"]

MARGINS = (0.7, 1.75, 0.55, 0.4)
MOST_INSIDE = 5
"""Names that a key within the axes may have."""


def degree_distribution(
    graphs: Mapping[str, MultipartiteGraph],
    ax: Axes | None = None,
    *,
    direction: str = "all",
    title: str = "",
    width: Width = 4.95,
) -> Axes:
    """Share of nodes with at least so many edges, of several graphs, on logarithmic axes.

    The share of nodes of degree d or more, the complementary distribution function, needs no bins; a power law is a
    straight line in it. Nodes without an edge count in the share but have no place on the axis.

    Parameters
    ----------
    graphs
        Name -> graph. Where all are named after pruners, lines have the colours of these.
    ax
        Axes to draw on; new ones when left out.
    direction
        ``"all"`` edges of a node, those that come ``"in"``, or those that go ``"out"``.
    title
        Title of the figure.
    width
        Of new axes: inches, or ``"column"`` (3.4) or ``"page"`` (7) of a journal. Letters keep their size.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        There is no graph, or none has an edge.

    Examples
    --------
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> graph = BipartiteGraph(sparse.csr_array(np.array([[1, 1], [1, 0]], dtype=np.float32)))
    >>> degree_distribution({"mine": graph}).lines[0].get_xydata().tolist()
    [[1.0, 1.0], [2.0, 0.5]]
    """
    if not isinstance(graphs, Mapping) or not graphs:
        raise InputError("degree_distribution needs a mapping from names to graphs, with one graph at least.")
    degrees = {name: graph.degrees(direction) for name, graph in graphs.items()}
    if not any(degree.any() for degree in degrees.values()):
        raise InputError("no graph has an edge, so there is no distribution of degrees to draw.")
    inches = inches_of(width)
    inside = len(degrees) <= MOST_INSIDE
    named = all(is_pruner(name) for name in degrees)
    with style():
        ax, _ = own_axes(ax, inches, min(0.75 * inches, 3.2), (0.7, 0.15 if inside else 1.75, 0.5, 0.35))
        for i, (name, degree) in enumerate(degrees.items()):
            values, counts = np.unique(degree, return_counts=True)
            share = counts[::-1].cumsum()[::-1] / len(degree)
            shown = values > 0
            color = pruner_color(name) if named else HUES[i % len(HUES)]
            ax.plot(values[shown], share[shown], color=color, label=name, drawstyle="steps-pre")
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
            axis.set_major_formatter(plain_number)
            axis.set_minor_formatter(NullFormatter())
        ax.set_xlabel({"all": "edges at a node", "in": "edges into a node", "out": "edges out of a node"}[direction])
        ax.set_ylabel("nodes with as many or more")
        # A falling line leaves the corner below it free.
        place = {"loc": "lower left"} if inside else {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        ax.legend(**place)
        ax.set_title(title)
    return ax


def metric_distribution(table: pd.DataFrame, metric: str, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Share of networks whose metric is at most so large, a line for each pruner.

    Parameters
    ----------
    table
        A table of results; of networks that can be compared, such as those of one model and sparsity.
    metric
        One of its columns.
    ax
        Axes to draw on; new ones when left out.
    title
        Title of the figure; the metric's name when left out.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        The table has no such column, or no value in it.

    Examples
    --------
    >>> from topo.results import example_results
    >>> ax = metric_distribution(example_results(), "edges")
    >>> all(line.get_ydata()[-1] == 1 for line in ax.lines)
    True
    """
    for name in ("pruner", metric):
        if name not in table.columns:
            raise InputError(f"the table has no column {name!r}.")
    known = table[np.isfinite(pd.to_numeric(table[metric], errors="coerce"))]
    if known.empty:
        raise InputError(f"no network of the table has a value of {metric!r}, so there is nothing to draw.")
    with style():
        ax, _ = own_axes(ax, 4.95, 3.2, MARGINS)
        for pruner, values in known.groupby("pruner")[metric]:
            x = np.sort(values.to_numpy(float))
            y = np.arange(len(x) + 1) / len(x)
            ax.plot(np.r_[x[0], x], y, color=pruner_color(str(pruner)), label=str(pruner), drawstyle="steps-post")
        ax.xaxis.set_major_formatter(plain_number)
        ax.yaxis.set_major_formatter(plain_number)
        ax.set_xlabel(metric_label(metric))
        ax.set_ylabel("share of networks up to there")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        ax.set_title(title or metric_label(metric))
    return ax
