"""General metrics: size, density, degrees and how degrees mix."""

from __future__ import annotations

import numpy as np

from .graph_view import GraphView
from .registry import Undefined, metric


@metric("nodes", category="general")
def nodes(view: GraphView) -> float:
    """Number of nodes, isolated ones included."""
    return view.n_nodes


@metric("edges", category="general")
def edges(view: GraphView) -> float:
    """Number of edges; edges between the same two nodes count as one."""
    return view.n_edges


@metric("density", category="general")
def density(view: GraphView) -> float:
    """Edges as a fraction of those that there can be: E / (N (N - 1)), in the bipartite graph of a layer E / (L R).

    Of a whole network all ordered pairs of nodes count, as in the published tables; of a layer, the pairs of a left and
    a right node, so that a dense layer has density 1 in the rolled encodings. A grouped convolution can join only the
    nodes of one group: dense, it has one over the number of groups.
    """
    if view.is_bipartite:
        possible = view.parts[0].size * view.parts[1].size
        if possible == 0:
            raise Undefined("one side of the layer has no node")
        return view.n_edges / possible
    if view.n_nodes < 2:
        raise Undefined("a single node has no pairs")
    return view.n_edges / (view.n_nodes * (view.n_nodes - 1))


@metric(
    "degrees",
    category="general",
    columns=("mean_degree", "std_degree", "min_degree", "max_degree", "max_in_degree", "max_out_degree"),
)
def degrees(view: GraphView) -> dict[str, float]:
    """Mean, standard deviation, least and largest number of edges at a node, and the largest in and out."""
    return {
        "mean_degree": float(view.degree.mean()),
        "std_degree": float(view.degree.std()),
        "min_degree": int(view.degree.min()),
        "max_degree": int(view.degree.max()),
        "max_in_degree": int(view.in_degree.max()),
        "max_out_degree": int(view.out_degree.max()),
    }


@metric("assortativity", category="general")
def assortativity(view: GraphView) -> float:
    """Pearson correlation of the degrees at the two ends of an edge, direction ignored.

    Newman, *Assortative mixing in networks*, Physical Review Letters 89 (2002).
    """
    if view.n_edges == 0:
        raise Undefined("the graph has no edge")
    degree = view.degree.astype(np.float64)
    mean = (degree @ degree) / (2 * view.n_edges)
    variance = (degree @ (degree - mean) ** 2) / (2 * view.n_edges)
    if variance <= 1e-12 * mean**2:
        raise Undefined("all edges end at nodes of the same degree")
    # The covariance from whole numbers, so that it does not cancel.
    return (view.edge_degree_product / view.n_edges - mean**2) / variance


@metric("strong_components", category="general")
def strong_components(view: GraphView) -> float:
    """Number of strongly connected components; levels rise along every edge, so each node is its own."""
    return view.n_nodes
