"""The shape of the distribution of degrees: how unequal, how heavy its tail, how many nodes are of use."""

from __future__ import annotations

import numpy as np

from .graph_view import GraphView
from .registry import Undefined, metric

TAIL = 10
"""The tail of a distribution is one of so many nodes."""


@metric(
    "degree_gini",
    category="degree-shape",
    formula=r"\frac{\sum_u \sum_v |d_u - d_v|}{2 N^2 \bar d}",
    bounds=(0, "1 - 1 / N"),
    cost="O(N log N)",
    computed_by="arrays",
)
def degree_gini(view: GraphView) -> float:
    """Gini coefficient of the degrees: 0 where all are equal, near 1 where a few nodes have all edges.

    Half the mean difference of two nodes' degrees, over the mean degree.
    """
    if view.n_edges == 0:
        raise Undefined("the graph has no edge")
    degree = np.sort(view.degree)
    place = 2 * np.arange(1, len(degree) + 1) - len(degree) - 1
    return float(place @ degree) / (len(degree) * float(degree.sum()))


@metric(
    "degree_tail_exponent",
    category="degree-shape",
    formula=r"1 + \frac{k}{\sum_{i=1}^{k} \ln (d_{(i)} / d_{(k+1)})}, \qquad "
    r"k = \lceil |\{v : d_v > 0\}| / 10 \rceil, \; d_{(1)} \ge d_{(2)} \ge \dots",
    bounds=(1, "inf"),
    cost="O(N log N)",
    computed_by="arrays",
)
def degree_tail_exponent(view: GraphView) -> float:
    """Exponent of a power law that the largest degrees follow, by Hill's estimator on a tenth of the nodes with edges.

    The density of degrees d falls like d ** -exponent. With the k largest degrees, the tenth rounded up, and the next
    one d_0 it is 1 + k / sum(log(d / d_0)) (Hill, *Annals of Statistics* 3, 1975).
    """
    degree = np.sort(view.degree[view.degree > 0])[::-1].astype(np.float64)
    k = -(-len(degree) // TAIL)
    if k >= len(degree):
        raise Undefined("fewer than two nodes have edges")
    spread = float(np.log(degree[:k] / degree[k]).sum())
    if spread == 0:
        raise Undefined("the largest degrees are equal")
    return 1 + k / spread


@metric(
    "active_nodes",
    category="degree-shape",
    formula=r"\frac{1}{N} |\{v : d_v > 0, \; (d^-_v > 0 \text{ or } v \in I), \; (d^+_v > 0 \text{ or } v \in O)\}|",
    bounds=(0, 1),
    cost="O(N + E)",
    computed_by="arrays",
)
def active_nodes(view: GraphView) -> float:
    """Share of the nodes that something enters and that something leaves, where these are neither input nor output."""
    entered = (view.in_degree > 0) | view.inputs
    left = (view.out_degree > 0) | view.outputs
    alone = view.degree == 0
    return float((entered & left & ~alone).mean())
