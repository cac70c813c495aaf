"""What each metric of a graph costs, in seconds and in sparse matrix-vector products."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd

from ..encoding.graph import BipartiteGraph, LayerGraphs, MultipartiteGraph
from ..registry import Entry
from .graph_view import GraphView
from .preparation import prepare_kernels
from .registry import Metric, Undefined, select

__all__ = ["VIEW", "profile", "seconds_of_a_product", "time_metrics"]

VIEW = "(view)"
"""The row of what is done before the first metric."""


def profile(
    graph: MultipartiteGraph | LayerGraphs,
    *,
    metrics: str | Iterable[str] | None = None,
    imdb_rule: str = "mean_degree",
) -> pd.DataFrame:
    """Time every metric of a graph, or of all graphs of a network's layers.

    A metric pays for what it is the first to need, such as the adjacency. Compiled code is made ready before.

    Parameters
    ----------
    graph, metrics, imdb_rule
        As for `topo.measure`.

    Returns
    -------
    DataFrame
        A row a metric, by its name: ``seconds`` of the processor, and ``products``, how many float32 matrix-vector
        products with all blocks of the graph take as long, the unit in which costs compare across machines.
        ``table.attrs["seconds_product"]`` is that unit.

    Examples
    --------
    >>> from scipy import sparse
    >>> from topo.encoding import BipartiteGraph
    >>> graph = BipartiteGraph(sparse.csr_array(np.ones((2, 3), dtype=np.float32)))
    >>> table = profile(graph, metrics=["edges", "two_hop"])
    >>> table.index.tolist(), table.columns.tolist()
    (['(view)', 'edges', 'two_hop'], ['seconds', 'products'])
    """
    graphs: list[MultipartiteGraph] = list(graph.values()) if isinstance(graph, LayerGraphs) else [graph]
    prepare_kernels()
    unit = seconds_of_a_product(graphs)
    layers = all(isinstance(one, BipartiteGraph) for one in graphs)
    seconds, _ = time_metrics(graphs, select(metrics, layers=layers), imdb_rule=imdb_rule)
    table = pd.DataFrame({"seconds": seconds}).rename_axis("metric")
    table["products"] = table["seconds"] / unit
    table.attrs["seconds_product"] = unit
    return table


def time_metrics(
    graphs: Sequence[MultipartiteGraph], entries: Sequence[Entry[Metric]], *, imdb_rule: str = "mean_degree"
) -> tuple[dict[str, float], list[float]]:
    """Seconds of the processor that each metric takes over all graphs, and every value in order, NaN where it has none.

    Parameters
    ----------
    graphs
        The graphs, one after the other.
    entries
        Metrics, as `topo.features.registry.select` returns them.
    imdb_rule
        As for `topo.measure`.

    Returns
    -------
    tuple
        Name -> seconds, and the values.
    """
    seconds = {VIEW: 0.0, **{entry.name: 0.0 for entry in entries}}
    values: list[float] = []
    for graph in graphs:
        start = time.process_time()
        view = GraphView(graph, imdb_rule=imdb_rule)
        seconds[VIEW] += time.process_time() - start
        for entry in entries:
            start = time.process_time()
            try:
                measured: Any = entry.item(view)
            except Undefined as reason:
                measured = reason
            seconds[entry.name] += time.process_time() - start
            found = measured.values() if isinstance(measured, Mapping) else [measured]
            values += [nan if isinstance(value, Undefined) else float(value) for value in found]
    return seconds, values


def seconds_of_a_product(graphs: Sequence[MultipartiteGraph]) -> float:
    """Seconds of the processor for a float32 product of every block of the graphs with ones, the least of 20.

    Parameters
    ----------
    graphs
        The graphs.

    Returns
    -------
    float
        Seconds.
    """
    pairs = [(block.matrix, np.ones(block.matrix.shape[1], np.float32)) for g in graphs for block in g.blocks]
    least = inf
    for _ in range(20):
        start = time.process_time()
        for matrix, vector in pairs:
            matrix @ vector
        least = min(least, time.process_time() - start)
    return least
