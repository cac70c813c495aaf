"""Components, cut edges and cut nodes, and the way to them through igraph, for where no kernel can be compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

if TYPE_CHECKING:
    import igraph

__all__ = ["Connectivity", "certificate", "connectivity_by_certificate"]


class Connectivity(NamedTuple):
    """How the nodes of a graph hang together, direction ignored."""

    n_components: int
    """Connected components, every isolated node one of them."""
    component: np.ndarray
    """int32 (N,): the component of each node."""
    colour: np.ndarray
    """bool (N,): the ends of an edge differ, wherever a component can be coloured so."""
    odd: np.ndarray
    """bool (components,): whether a component has a cycle of odd length, so cannot be coloured."""
    cut_edges: int
    """Edges whose removal disconnects their component."""
    cut_nodes: int
    """Nodes whose removal disconnects their component."""


def connectivity_by_certificate(indptr: np.ndarray, indices: np.ndarray) -> Connectivity:
    """What hangs together, found by igraph on a subgraph of at most 2N edges.

    Parameters
    ----------
    indptr, indices
        Symmetric CSR pattern without loops and repeated entries.

    Returns
    -------
    Connectivity
        Of the whole graph.
    """
    adjacency = _adjacency(indptr, indices)
    count, component = _components(adjacency)
    forest = _breadth_first_forest(adjacency, component)
    colour = _depth_parity(forest)
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    odd = np.zeros(count, dtype=bool)
    odd[component[rows[colour[rows] == colour[indices]]]] = True
    few = certificate(indptr, indices)
    return Connectivity(count, component, colour, odd, len(few.bridges()), len(few.articulation_points()))


def certificate(indptr: np.ndarray, indices: np.ndarray) -> igraph.Graph:
    """Undirected graph with the bridges, cut nodes and components of the whole, and at most 2N edges.

    The union of two successive breadth-first forests; Cheriyan, Kao, Thurimella, *Scan-first search
    and sparse certificates*, SIAM J. Computing 22 (1993).

    Parameters
    ----------
    indptr, indices
        Symmetric CSR pattern without loops and repeated entries.

    Returns
    -------
    igraph.Graph
        On the same nodes.
    """
    import igraph  # here, for it loads matplotlib

    adjacency = _adjacency(indptr, indices)
    first = _breadth_first_forest(adjacency, _components(adjacency)[1])
    rest = _without_forest(adjacency, first)
    second = _breadth_first_forest(rest, _components(rest)[1])
    graph = igraph.Graph(n=len(first))
    for forest in (first, second):
        child = np.flatnonzero(forest >= 0)
        graph.add_edges(zip(child.tolist(), forest[child].tolist(), strict=True))
    return graph


def _adjacency(indptr: np.ndarray, indices: np.ndarray) -> sparse.csr_array:
    n_nodes = len(indptr) - 1
    return sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(n_nodes, n_nodes))


def _depth_parity(forest: np.ndarray) -> np.ndarray:
    """bool (N,): the parity of each node's depth in a forest; the only 2-colouring there can be."""
    odd = forest >= 0
    parent = np.where(odd, forest, np.arange(len(forest)))
    while True:
        grandparent = parent[parent]
        if np.array_equal(grandparent, parent):
            return odd
        odd = odd ^ odd[parent]
        parent = grandparent


def _components(adjacency: sparse.csr_array) -> tuple[int, np.ndarray]:
    # Strong components of a symmetric matrix are its components, and need no transposed copy.
    return csgraph.connected_components(adjacency, directed=True, connection="strong")


def _breadth_first_forest(adjacency: sparse.csr_array, labels: np.ndarray) -> np.ndarray:
    """Parents (N,) in a breadth-first forest with one tree a component; -1 at the roots and at isolates."""
    n_nodes = adjacency.shape[0]
    roots = np.unique(labels, return_index=True)[1]
    # One search from an extra node that points at a root of every component.
    indices = np.concatenate([adjacency.indices, roots.astype(adjacency.indices.dtype)])
    indptr = np.append(adjacency.indptr, adjacency.indptr.dtype.type(len(indices)))
    extended = sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(n_nodes + 1, n_nodes + 1))
    parents = csgraph.breadth_first_order(extended, n_nodes, directed=True)[1][:n_nodes]
    parents[roots] = -1
    return parents


def _without_forest(adjacency: sparse.csr_array, parents: np.ndarray) -> sparse.csr_array:
    """The symmetric adjacency less the edges of a forest."""
    rows = np.repeat(np.arange(adjacency.shape[0], dtype=adjacency.indices.dtype), np.diff(adjacency.indptr))
    kept = (parents[rows] != adjacency.indices) & (parents[adjacency.indices] != rows)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=adjacency.shape[0]))])
    pieces = (np.ones(int(indptr[-1])), adjacency.indices[kept], indptr.astype(adjacency.indptr.dtype))
    return sparse.csr_array(pieces, shape=adjacency.shape)
