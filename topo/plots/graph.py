"""Drawings of multipartite graphs: parts as columns of channel blocks, edges as ribbons, skips as arcs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..encoding.drawers import DRAWERS
from ..encoding.graph import MultipartiteGraph
from ..errors import InputError
from ..validation import real_number, whole_number
from .graph_drawing import Drawing
from .theme import Width, figure, inches_of, style

__all__ = ["draw_graph", "draw_graphs"]


@DRAWERS.register("matplotlib")
def draw_graph(
    graph: MultipartiteGraph,
    ax: Axes | None = None,
    *,
    width: Width | None = None,
    layers: str | Sequence[str] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    max_groups: int = 16,
    max_single_nodes: int = 400,
    max_single_edges: int = 4000,
    title: str = "",
) -> Axes:
    """Draw a multipartite or bipartite graph from input (left) to output (right).

    Small graphs show every element as a dot and every edge as a line. In large ones a square is a channel, or
    several channels of similar rank, shaded by the degree of its elements like an image; a ribbon joins two squares,
    wider and darker the denser their edges are within the layer. Channels are sorted by degree, those of input and
    output keep their order. Edges that pass over a column are arcs above: skip connections, and layers that read an
    earlier tensor.

    Parameters
    ----------
    graph
        Any `MultipartiteGraph`.
    ax
        Axes to draw on, all of them; new ones of a fitting size when left out.
    width
        Of new Axes: inches, or ``"column"`` (3.4) or ``"page"`` (7) of a journal. Columns move together, letters keep
        their size.
    layers
        Patterns such as ``"layer1*"``: only the parts whose names match, with the edges between them. Shades and
        counts of edges stay those of the whole graph.
    vmin, vmax
        Degrees at the ends of the scale of shades; those of the graph when left out.
    max_groups
        Most squares in one column; parts that share a column share them, three each at least.
    max_single_nodes, max_single_edges
        Above either, elements are drawn in groups.
    title
        Written at the top left, before the size of the graph.

    Returns
    -------
    Axes
        `ax`, or new ones.

    Raises
    ------
    InputError
        `graph` is no such graph or has no parts, no part matches, or a setting is impossible.

    Examples
    --------
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> graph = BipartiteGraph(sparse.csr_array(np.eye(4, 3, dtype=np.float32)), "fc")
    >>> float(draw_graph(graph, width="column").figure.get_figwidth())
    3.4
    """
    options = {"max_groups": max_groups, "max_single_nodes": max_single_nodes, "max_single_edges": max_single_edges}
    drawing = Drawing(graph, layers=layers, title=title, **options)
    with style():
        if ax is None:
            drawing.fit(None if width is None else inches_of(width))
            ax = figure(drawing.width, drawing.height).add_axes((0, 0, 1, 1))
        else:
            box, dpi = ax.get_window_extent(), ax.figure.dpi
            drawing.fit(box.width / dpi, box.height / dpi)
        drawing.draw(ax, _scale(drawing.shades, vmin, vmax))
    return ax


def draw_graphs(
    graphs: Mapping[str, MultipartiteGraph],
    *,
    columns: int = 1,
    width: Width = "page",
    layers: str | Sequence[str] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    max_groups: int = 16,
    max_single_nodes: int = 400,
    max_single_edges: int = 4000,
) -> Figure:
    """Draw several graphs, a panel each, with one scale of shades for all, so that they can be compared.

    Parameters
    ----------
    graphs
        Title -> graph.
    columns
        Panels beside each other.
    width
        Of the figure: inches, or ``"column"`` (3.4) or ``"page"`` (7) of a journal.
    layers, vmin, vmax, max_groups, max_single_nodes, max_single_edges
        As for `draw_graph`.

    Returns
    -------
    Figure
        With one key, below the panels.

    Raises
    ------
    InputError
        There is no graph, `columns` is below 1, or `draw_graph` would refuse one.

    Examples
    --------
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> dense, thin = (BipartiteGraph(sparse.csr_array(m.astype(np.float32))) for m in (np.ones((5, 4)), np.eye(5, 4)))
    >>> len(draw_graphs({"dense": dense, "sparse": thin}, columns=2).axes)
    3
    """
    if not isinstance(graphs, Mapping) or not graphs:
        raise InputError("draw_graphs needs a mapping from titles to graphs, with one graph at least.")
    columns = min(whole_number("columns", columns, minimum=1), len(graphs))
    inches = inches_of(width)
    options = {"max_groups": max_groups, "max_single_nodes": max_single_nodes, "max_single_edges": max_single_edges}
    drawings = [Drawing(g, layers=layers, title=title, **options) for title, g in graphs.items()]
    norm = _scale(np.concatenate([drawing.shades for drawing in drawings]), vmin, vmax)
    marks = list(dict.fromkeys(mark for drawing in drawings for mark in drawing.marks))
    with style():
        for drawing in drawings:
            drawing.fit(inches / columns, with_key=False)
        rows = [drawings[i : i + columns] for i in range(0, len(drawings), columns)]
        for row in rows:
            lines = max(drawing.head_lines for drawing in row)
            for drawing in row:
                drawing.head_lines = lines
        heights = [max(drawing.height for drawing in row) for row in rows]
        key_height = drawings[0].key_height(marks, inches)
        total = sum(heights) + key_height
        drawn = figure(inches, total)
        top = total
        for row, height in zip(rows, heights, strict=True):
            for place, drawing in enumerate(row):
                box = (place / columns, (top - drawing.height) / total, 1 / columns, drawing.height / total)
                drawing.draw(drawn.add_axes(box), norm, key=False)
            top -= height
        key = drawn.add_axes((0, 0, 1, key_height / total))
        key.set_xlim(0, inches)
        key.set_ylim(0, key_height)
        key.axis("off")
        drawings[0].draw_key(key, 0.1, key_height - 0.15, norm, marks, inches)
    return drawn


def _scale(shades: np.ndarray, vmin: float | None, vmax: float | None) -> LogNorm:
    """From the second percentile of what is shown to its maximum: a few small values must not flatten the scale."""
    low, high = (np.quantile(shades, 0.02), shades.max()) if len(shades) else (1.0, 2.0)
    low = low if vmin is None else real_number("vmin", vmin, above=0)
    high = max(high, 1.5 * low) if vmax is None else real_number("vmax", vmax, above=low)
    return LogNorm(low, high)
