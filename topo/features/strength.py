"""Strength metrics: how much weight the nodes carry, and how deep they sit in dense cores."""

from __future__ import annotations

import numpy as np

from .graph_view import GraphView
from .kernels import compiler
from .registry import Undefined, metric


@metric(
    "strength",
    category="strength",
    reads_weights=True,
    per="edges",
    formula=r"\frac{1}{N} \sum_v \sum_{e \ni v} w_e = \frac{2}{N} \sum_e w_e",
    bounds=(0, "inf"),
    cost="O(N + E)",
    computed_by="arrays",
)
def strength(view: GraphView) -> float:
    """Mean over nodes of the summed absolute weights of their edges, in and out."""
    if not np.isfinite(view.total_weight):
        raise Undefined("the sum of the weights is not finite")
    return 2 * view.total_weight / view.n_nodes


@metric(
    "k_core",
    category="strength",
    per="edges",
    formula=r"\frac{1}{N} \sum_v \max \{k : v \text{ is in a subgraph of least degree } k\}",
    bounds=(0, "2 * E / N"),
    cost="O(N + E)",
    computed_by="kernel",
)
def k_core(view: GraphView) -> float:
    """Mean coreness over nodes, direction ignored."""
    return float(coreness(view).mean())


def coreness(view: GraphView) -> np.ndarray:
    """The largest k of a k-core that holds each node, int64 (N,)."""
    if compiler.available():
        from .kernels.coreness import core_numbers

        return core_numbers(*view.neighbours)
    return _coreness_by_rounds(view)


def _coreness_by_rounds(view: GraphView) -> np.ndarray:
    """The same by peeling all nodes of one round at once."""
    indptr, indices = view.neighbours
    remaining = view.degree.copy()
    core = np.zeros(view.n_nodes, np.int64)
    alive = np.ones(view.n_nodes, dtype=bool)
    left = np.arange(view.n_nodes)
    k = 0
    while len(left := left[alive[left]]):
        k = max(k, int(remaining[left].min()))
        peeled = left[remaining[left] <= k]
        while len(peeled):
            core[peeled] = k
            alive[peeled] = False
            touched = _neighbours(indptr, indices, peeled)
            touched = touched[alive[touched]]
            np.subtract.at(remaining, touched, 1)
            peeled = np.unique(touched[remaining[touched] <= k])
    return core


def _neighbours(indptr: np.ndarray, indices: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """The neighbours of all `nodes` one after the other, with repetitions."""
    counts = (indptr[nodes + 1] - indptr[nodes]).astype(np.int64)
    first = np.cumsum(counts) - counts
    return indices[np.arange(counts.sum()) + np.repeat(indptr[nodes] - first, counts)]
