"""Neighbourhood metrics: what lies within one and two steps, and how four nodes hang together."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .graph_view import GraphView, chunks
from .kernels import compiler
from .positions import position_classes
from .registry import metric
from .subgraphs import four_cycles, triangle_family

WEDGES_AT_ONCE = 1 << 24


@metric(
    "one_hop",
    category="neighbourhood",
    per="edges",
    formula=r"\frac{1}{N} \sum_v |B_1(v)| = 1 + \frac{E}{N}",
    bounds=(1, "(N + 1) / 2"),
    cost="O(1)",
    computed_by="arrays",
)
def one_hop(view: GraphView) -> float:
    """Mean number of nodes reached in at most one step along the edges, the node itself included."""
    return (view.n_nodes + view.n_edges) / view.n_nodes


@metric(
    "two_hop",
    category="neighbourhood",
    per="edges",
    formula=r"\frac{1}{N} \sum_v |B_2(v)|",
    bounds=("1 + E / N", "(N + 1) / 2"),
    cost="O(N + out-degrees at the heads of all edges)",
    computed_by="kernel",
)
def two_hop(view: GraphView) -> float:
    """Mean number of nodes reached in at most two steps along the edges, the node itself included."""
    if view.is_bipartite:
        return (view.n_nodes + view.n_edges) / view.n_nodes  # the second side has no edges that go on
    if not compiler.available():
        return _nodes_within_two_steps(view) / view.n_nodes
    from .kernels.two_hop import nodes_within_two_steps

    indptr, indices = view.directed.indptr, view.directed.indices
    # The further an edge goes, the lower the rank: all neighbours count.
    rank = -np.array([part.level for part in view.parts], np.int64)
    nodes, sizes = position_classes(view, indptr, indices, rank, view.joined_parts)
    return nodes_within_two_steps(indptr, indices, nodes, sizes) / view.n_nodes


def _nodes_within_two_steps(view: GraphView) -> int:
    """Nodes reached in none, one or two steps, summed over the nodes, by sparse products."""
    directed = view.directed
    steps = sparse.csr_array((np.ones(directed.nnz, np.int32), directed.indices, directed.indptr), directed.shape)
    rows = np.repeat(np.arange(view.n_nodes), np.diff(steps.indptr))
    wedges = np.bincount(rows, weights=view.out_degree[steps.indices], minlength=view.n_nodes)
    reached = view.n_nodes
    for piece in chunks(wedges.astype(np.int64), WEDGES_AT_ONCE):
        one = steps[piece]
        two = one @ steps
        # Only where skips close triangles can a node be both one and two steps away.
        reached += (one + two).nnz if view.part_triangles else one.nnz + two.nnz
    return reached


@metric(
    "motifs",
    category="neighbourhood",
    per="edges",
    formula=r"|\{U \subseteq V : |U| = 4, \; G[U] \text{ connected}\}|",
    bounds=(0, "N * (N - 1) * (N - 2) * (N - 3) / 24"),
    cost="O(N + sum of squared degrees)",
    computed_by="kernel",
)
def motifs(view: GraphView) -> float:
    """Number of connected induced subgraphs on four nodes, direction ignored, exactly.

    Every connected graph on four nodes is counted once by the combination

        claws + paths - 3 C4 - 2 paws + 4 diamonds - 6 K4

    of non-induced counts, in which each graph's spanning subgraphs weigh 1 together.
    """
    degree = view.degree
    claws = sum(_binomial3(np.bincount(degree)))
    # (du - 1)(dv - 1) summed over edges; the paths that close into a triangle come out three times each.
    walks = view.edge_degree_product - int(degree @ degree) + view.n_edges
    triangles, paws, diamonds, cliques = triangle_family(view)
    return claws + walks - 3 * triangles - 3 * four_cycles(view) - 2 * paws + 4 * diamonds - 6 * cliques


def _binomial3(counts: np.ndarray) -> list[int]:
    """How often each degree occurs times its number of triples, as Python integers that cannot overflow."""
    return [int(count) * (d * (d - 1) * (d - 2) // 6) for d, count in enumerate(counts.tolist()) if count]
