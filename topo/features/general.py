"""General metrics: size, density, degrees and how degrees mix."""

from __future__ import annotations

import numpy as np

from .graph_view import GraphView
from .registry import Undefined, metric


@metric(
    "nodes",
    category="general",
    formula="N = |V|",
    bounds=(1, "inf"),
    cost="O(1)",
    computed_by="arrays",
)
def nodes(view: GraphView) -> float:
    """Number of nodes, isolated ones included."""
    return view.n_nodes


@metric(
    "edges",
    category="general",
    formula=r"E = |\{\{u, v\} : u \text{ and } v \text{ joined}\}|",
    bounds=(0, "N * (N - 1) / 2"),
    cost="O(1)",
    computed_by="arrays",
)
def edges(view: GraphView) -> float:
    """Number of edges; edges between the same two nodes count as one."""
    return view.n_edges


@metric(
    "density",
    category="general",
    formula=r"\frac{E}{N (N - 1)} \text{ of a network}, \qquad \frac{E}{|L| \, |R|} \text{ of a layer}",
    bounds=(0, 1),
    cost="O(1)",
    computed_by="arrays",
)
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
    formula={
        "mean_degree": r"\bar d = \frac{1}{N} \sum_v d_v = \frac{2 E}{N}",
        "std_degree": r"\Big( \frac{1}{N} \sum_v (d_v - \bar d)^2 \Big)^{1/2}",
        "min_degree": r"\min_v d_v",
        "max_degree": r"\max_v d_v",
        "max_in_degree": r"\max_v d^-_v",
        "max_out_degree": r"\max_v d^+_v",
    },
    bounds={
        "mean_degree": (0, "N - 1"),
        "std_degree": (0, "(N - 1) / 2"),
        "min_degree": (0, "2 * E / N"),
        "max_degree": ("2 * E / N", "N - 1"),
        "max_in_degree": ("E / N", "N - 1"),
        "max_out_degree": ("E / N", "N - 1"),
    },
    cost="O(N + E)",
    computed_by="arrays",
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


@metric(
    "assortativity",
    category="general",
    formula=r"\frac{\frac{1}{E} \sum_{\{u, v\}} d_u d_v - \mu^2}{\frac{1}{2E} \sum_v d_v (d_v - \mu)^2}, \qquad "
    r"\mu = \frac{1}{2E} \sum_v d_v^2",
    bounds=(-1, 1),
    cost="O(N + E)",
    computed_by="kernel",
)
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


@metric(
    "strong_components",
    category="general",
    formula="N",
    bounds=("N", "N"),
    cost="O(1)",
    computed_by="arrays",
)
def strong_components(view: GraphView) -> float:
    """Number of strongly connected components; levels rise along every edge, so each node is its own."""
    return view.n_nodes
