"""Ramanujan metrics of a layer's bipartite graph: how near its spectrum comes to that of an ideal expander.

Isolated nodes are removed first. dL and dR are the mean degrees of the two sides, and the bound is
sqrt(dL - 1) + sqrt(dR - 1). In a bipartite graph abs(l3) is the second singular value.

The iterative metrics average over the d-left-regular subgraphs: all left nodes of one degree d >= 3 and
the right nodes they reach. Rule ``"mean_degree"`` (the default) takes those with dL >= 3 and dR >= 3;
rule ``"min_nodes"`` takes those with at least three left nodes.

Hoang, Liu, Marculescu, Wang, *Revisiting pruning at initialization through the lens of Ramanujan graph*,
ICLR 2023.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .graph_view import GraphView
from .registry import Undefined, metric
from .spectra import top_singular_values

__all__ = ["IMDB_RULES"]

MINIMUM_DEGREE = 3
MINIMUM_NODES = 3
IMDB_RULES = ("mean_degree", "min_nodes")


@metric(
    "delta_r",
    category="ramanujan",
    encodings="layers",
    formula=r"\frac{\beta - \sigma_2}{\beta}, \qquad \beta = \sqrt{\bar d_L - 1} + \sqrt{\bar d_R - 1}",
    bounds=("-inf", 1),
    cost="O(p (N + E)), p products until it converges; dense where a side is small",
    computed_by="products",
)
def delta_r(view: GraphView) -> float:
    """Difference of bound, (bound - abs(l3)) / bound, of the unweighted graph."""
    bound = _bound(view.shared(_layer))
    if bound == 0:
        raise Undefined("all nodes have one edge, so the bound is zero")
    return (bound - view.shared(_spectrum)[1]) / bound


@metric(
    "delta_s",
    category="ramanujan",
    columns=("delta_s", "delta_s_relative"),
    encodings="layers",
    formula={
        "delta_s": r"2 \sqrt{\sigma_1 - 1} - \sigma_2",
        "delta_s_relative": r"1 - \frac{\sigma_2}{2 \sqrt{\sigma_1 - 1}}",
    },
    bounds={"delta_s": ("-inf", "inf"), "delta_s_relative": ("-inf", 1)},
    cost="O(p (N + E)), p products until it converges; dense where a side is small",
    computed_by="products",
)
def delta_s(view: GraphView) -> dict[str, float]:
    """2 sqrt(l1 - 1) - l2 of the unweighted graph, and the same divided by 2 sqrt(l1 - 1).

    l2 is the largest eigenvalue but that of the trivial pair +-l1: the second singular value.
    """
    first, second = view.shared(_spectrum)
    if first <= 1 + 1e-9:
        raise Undefined("the largest eigenvalue is 1, so the bound 2 sqrt(l1 - 1) is zero")
    bound = 2 * np.sqrt(first - 1)
    return {"delta_s": bound - second, "delta_s_relative": (bound - second) / bound}


@metric(
    "imdb",
    category="ramanujan",
    encodings="layers",
    formula=r"\frac{1}{|K|} \sum_{k \in K} \frac{\beta_k - \sigma_2^{(k)}}{\beta_k}, \qquad "
    r"K \text{ the left-regular subgraphs}",
    bounds=("-inf", 1),
    cost="O(p (N + E)), p products until it converges; dense where a side is small",
    computed_by="products",
)
def imdb(view: GraphView) -> float:
    """Iterative mean difference of bound: mean of delta_r over the d-left-regular subgraphs."""
    parts = view.shared(_left_regular)
    return float(np.mean([1 - top_singular_values(_pattern(part), 2)[1] / _bound(part) for part in parts]))


@metric(
    "iwsg",
    category="ramanujan",
    reads_weights=True,
    encodings="layers",
    formula=r"\frac{1}{|K|} \sum_{k \in K} \sigma_1^{(k)} - \sigma_2^{(k)}, \qquad \text{of weighted subgraphs}",
    bounds=(0, "inf"),
    cost="O(p (N + E)), p products until it converges; dense where a side is small",
    computed_by="products",
)
def iwsg(view: GraphView) -> float:
    """Iterative weighted spectral gap: mean of abs(l1) - abs(l3), weighted, over the d-left-regular subgraphs."""
    if not view.weights_are_finite:
        raise Undefined("some weights are not finite")
    gaps = [-np.diff(top_singular_values(part, 2)) for part in view.shared(_left_regular)]
    return float(np.mean(gaps))


def _layer(view: GraphView) -> sparse.csr_array:
    if not view.is_bipartite:
        raise Undefined("defined on the bipartite graph of one layer")
    if view.n_edges == 0:
        raise Undefined("the layer has no edge")
    (matrix,) = view.blocks.values()
    return _without_isolates(matrix)


def _without_isolates(matrix: sparse.csr_array) -> sparse.csr_array:
    """float64, rows and columns without a stored entry removed."""
    rows = np.flatnonzero(np.diff(matrix.indptr))
    columns = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))
    return matrix[rows][:, columns].astype(np.float64)


def _spectrum(view: GraphView) -> np.ndarray:
    layer = view.shared(_layer)
    if min(layer.shape) < 2:
        raise Undefined("one side has fewer than two connected nodes, so there is no second singular value")
    return top_singular_values(_pattern(layer), 2)


def _left_regular(view: GraphView) -> list[sparse.csr_array]:
    """The d-left-regular subgraphs that the view's rule keeps."""
    layer = view.shared(_layer)
    degree = np.diff(layer.indptr)
    kept = []
    for d in np.unique(degree[degree >= MINIMUM_DEGREE]):
        rows = np.flatnonzero(degree == d)
        ends = layer.indices[layer.indptr[rows][:, None] + np.arange(d)]
        if view.imdb_rule == "mean_degree":
            enough = ends.size >= MINIMUM_DEGREE * np.count_nonzero(np.bincount(ends.ravel()))
        else:
            enough = len(rows) >= MINIMUM_NODES
        # Most are not wanted, and building one costs more than looking.
        if enough:
            kept.append(_without_isolates(layer[rows]))
    if not kept:
        by_degree = view.imdb_rule == "mean_degree"
        wanted = "a mean right degree of at least 3" if by_degree else "at least 3 left nodes"
        raise Undefined(f"no subgraph of left nodes of one degree >= 3 has {wanted}")
    return kept


def _bound(layer: sparse.csr_array) -> float:
    return sum(float(np.sqrt(layer.nnz / size - 1)) for size in layer.shape)


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
