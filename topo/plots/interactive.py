"""A drawing of a graph to be explored in a browser: every element, every edge, and what is under the pointer."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from ..encoding.drawers import DRAWERS
from ..encoding.graph import MultipartiteGraph
from ..encoding.parts import Block, Part
from ..errors import InputError, counted
from ..safe_files import replacing
from ..validation import whole_number
from .graph_drawing import DEAD, EDGE, SKIP
from .graph_layout import chosen_parts
from .theme import SEQUENTIAL

__all__ = ["InteractiveDrawing", "draw_interactively"]


@dataclass(frozen=True)
class InteractiveDrawing:
    """A page of its own that needs nothing else; a notebook shows it.

    Attributes
    ----------
    html
        The page.
    """

    html: str = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the page.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        Path
            `path`.
        """
        with replacing(path) as name:
            Path(name).write_text(self.html, encoding="utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{html.escape(self.html)}" width="100%" height="560" style="border: 0"></iframe>'


@DRAWERS.register("html")
def draw_interactively(
    graph: MultipartiteGraph,
    *,
    layers: str | Sequence[str] | None = None,
    max_edges: int = 300_000,
    title: str = "",
) -> InteractiveDrawing:
    """Draw every element and every edge of a graph as a page for a browser, also as ``graph.draw("html")``.

    A column is a tensor, a dot an element, channels in the order of their degree as in `draw_graph`. The pointer shows
    the tensor, channel, position and edges of an element and marks its edges; the wheel zooms, dragging moves.

    Parameters
    ----------
    graph
        Any `MultipartiteGraph`.
    layers
        Patterns of the parts that are shown, with the edges between them.
    max_edges
        Refuse a graph of more edges: browsers become slow.
    title
        Written at the top.

    Returns
    -------
    InteractiveDrawing
        To be saved, or shown by a notebook.

    Raises
    ------
    InputError
        The graph has no parts or too many edges, or no part matches.

    Examples
    --------
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> graph = BipartiteGraph(sparse.csr_array(np.eye(4, 3, dtype=np.float32)), "fc")
    >>> "3 edges" in draw_interactively(graph).html
    True
    """
    whole_number("max_edges", max_edges, minimum=1)
    if not graph.parts:
        raise InputError("the graph has no parts, so there is nothing to draw.")
    degree_in, degree_out = graph.degrees("in"), graph.degrees("out")
    graph, both = chosen_parts(graph, np.stack([degree_in, degree_out], axis=1), layers)
    if graph.n_edges > max_edges:
        raise InputError(
            f"the graph has {graph.n_edges:,} edges, more than the {max_edges:,} that a browser draws quickly; choose "
            "layers=, raise max_edges=, or draw it in groups with topo.plots.draw_graph."
        )
    total = both.sum(axis=1)
    levels = {level: column for column, level in enumerate(sorted({part.level for part in graph.parts}))}
    data = {
        "title": title,
        "head": f"{counted(graph.n_nodes, 'node')} · {counted(graph.n_edges, 'edge')}",
        "parts": [
            {"name": p.name, "shape": list(p.shape), "offset": p.offset, "size": p.size, "column": levels[p.level]}
            for p in graph.parts
        ],
        "height": _packed(_heights(graph, total), "<f4"),
        "in": _packed(both[:, 0], "<u4"),
        "out": _packed(both[:, 1], "<u4"),
        "edges": [_edges(graph, block, levels) for block in graph.blocks if block.matrix.nnz],
        "colors": {"edge": EDGE, "skip": SKIP, "dead": DEAD, "shades": [to_hex(SEQUENTIAL(i / 15)) for i in range(16)]},
    }
    page = files(__package__).joinpath("interactive.html").read_text(encoding="utf-8")
    # A name may hold anything, also the end of a script.
    return InteractiveDrawing(page.replace('"DATA"', json.dumps(data).replace("<", "\\u003c"), 1))


def _packed(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _edges(graph: MultipartiteGraph, block: Block, levels: dict[int, int]) -> dict[str, Any]:
    source, target = graph.parts[block.source], graph.parts[block.target]
    rows = np.repeat(np.arange(source.size), np.diff(block.matrix.indptr)) + source.offset
    return {
        "skip": not block.name and levels[target.level] - levels[source.level] > 1,
        "source": _packed(rows, "<u4"),
        "target": _packed(block.matrix.indices + target.offset, "<u4"),
    }


def _heights(graph: MultipartiteGraph, degree: np.ndarray) -> np.ndarray:
    """Height of every node in its column, from 0 to 1: channels by degree, those of input and output as they are."""
    heights = np.empty(graph.n_nodes)
    stacks: dict[int, list[Part]] = {}
    for part in graph.parts:
        stacks.setdefault(part.level, []).append(part)
    for stack in stacks.values():
        places, start = [], 0.0
        for part in stack:
            channels = part.shape[0] if part.shape else 1
            inside = prod(part.shape[1:])
            order = np.arange(channels)
            if part.role == "hidden":
                order = np.argsort(-degree[part.nodes].reshape(channels, -1).sum(axis=1), kind="stable")
            rank = np.empty(channels)
            rank[order] = np.arange(channels)
            gap = 0.6 if inside > 1 else 0.0  # between channels, in places of elements
            places.append(start + (rank[:, None] * (inside + gap) + np.arange(inside)).reshape(-1))
            start = places[-1].max() + 3.0
        most = max(places[-1].max(), 1.0)
        for part, place in zip(stack, places, strict=True):
            heights[part.nodes] = place / most if most > 1 or len(place) > 1 else 0.5
    return heights
