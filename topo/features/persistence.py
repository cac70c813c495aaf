"""Neural persistence: how the nodes of a network join up as its weights are added, the largest first."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from .graph_view import GraphView
from .registry import Undefined, metric


@metric(
    "neural_persistence",
    category="persistence",
    reads_weights=True,
    formula=r"\Big( \frac{1}{N - 1} \sum_{i=1}^{N-1} (1 - t_i)^2 \Big)^{1/2}, \qquad "
    r"t_i \text{ the weights of a maximum spanning forest over the largest weight, then } 0",
    bounds=(0, 1),
    cost="O(E log N)",
    computed_by="arrays",
)
def neural_persistence(view: GraphView) -> float:
    """Norm of the 0-dimensional persistence diagram of absolute weights, over the largest that it can have.

    Weights are divided by the largest of the graph, and edges added in descending order; all nodes are there from the
    beginning, at 1. Each edge of a maximum spanning forest, of weight w, ends a component that has persisted for 1 - w;
    what stays apart, as edges of weight zero would join it, has persisted for 1. The norm is the root of the sum of
    squares; n nodes have at most the root of n - 1. The paper takes layers one by one, as the encoding ``rolled`` has
    them, and divides by the largest weight of the network; here each graph is divided by its own.

    Rieck, Togninalli, Bock, Moor, Horn, Gumbsch, Borgwardt, *Neural persistence: a complexity measure for deep neural
    networks using algebraic topology*, ICLR 2019 (arXiv 1812.09764).
    """
    if view.n_nodes < 2:
        raise Undefined("a single node joins nothing")
    weights = view.directed.astype(np.float64)
    if not np.isfinite(weights.data).all():
        raise Undefined("the weights are not all finite")
    largest = weights.data.max(initial=0.0)
    if largest == 0:
        raise Undefined("the graph has no weight other than zero")
    # The least forest of negative weights is the largest of weights; edges of weight zero join at 1 as no edge does.
    falling = sparse.csr_array((-weights.data / largest, weights.indices, weights.indptr), weights.shape)
    forest = csgraph.minimum_spanning_tree(falling).data
    apart = view.n_nodes - 1 - len(forest)
    return float(np.sqrt((((1 + forest) ** 2).sum() + apart) / (view.n_nodes - 1)))
