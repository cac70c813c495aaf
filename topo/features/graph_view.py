"""What the metrics of one graph share: degrees, adjacency, components, a sparse certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from ..encoding.graph import BipartiteGraph, MultipartiteGraph

if TYPE_CHECKING:
    import igraph

__all__ = ["GraphView", "chunks", "undirected_igraph"]

T = TypeVar("T")


class GraphView:
    """A graph as its metrics see it; everything here is computed when first asked for, then kept.

    The view is of a simple graph: edges between the same two nodes are one edge whose weight is their
    sum. Nodes are numbered as in the graph, N nodes and E edges in all.

    Parameters
    ----------
    graph
        The graph to look at; it is not changed.
    imdb_rule
        Which subgraphs the iterative Ramanujan metrics average over; see `topo.features.ramanujan`.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from topo.encoding.graph import BipartiteGraph
    >>> view = GraphView(BipartiteGraph(sparse.csr_array(np.ones((2, 3), dtype=np.float32))))
    >>> view.n_edges, view.degree.tolist(), view.components[0]
    (6, [3, 3, 2, 2, 2], 1)
    """

    def __init__(self, graph: MultipartiteGraph, *, imdb_rule: str = "mean_degree") -> None:
        self.graph = graph
        self.imdb_rule = imdb_rule
        self.parts = graph.parts
        self.blocks = _simple_blocks(graph)
        self.n_nodes = graph.n_nodes
        self.n_edges = sum(matrix.nnz for matrix in self.blocks.values())
        self._shared: dict[Callable[[GraphView], Any], Any] = {}
        self.is_bipartite = isinstance(graph, BipartiteGraph)

    @property
    def attributes(self) -> dict[str, Any]:
        """The graph's own facts; those that cost a sweep over the network are found when first read."""
        return self.graph.attributes

    def shared(self, compute: Callable[[GraphView], T]) -> T:
        """``compute(view)``, computed once: for what several metrics of one file share.

        Parameters
        ----------
        compute
            A function of a view, by which its result is known.

        Returns
        -------
        object
            What it returns.
        """
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return self._shared[compute]

    @cached_property
    def inputs(self) -> np.ndarray:
        """Bool (N,): the nodes of input parts."""
        return self.graph.nodes_with_role("input")

    @cached_property
    def outputs(self) -> np.ndarray:
        """Bool (N,): the nodes of output parts."""
        return self.graph.nodes_with_role("output")

    @cached_property
    def out_degree(self) -> np.ndarray:
        """int64 (N,): edges that leave each node."""
        degree = np.zeros(self.n_nodes, np.int64)
        for (source, _), matrix in self.blocks.items():
            degree[self.parts[source].nodes] += np.diff(matrix.indptr)
        return degree

    @cached_property
    def in_degree(self) -> np.ndarray:
        """int64 (N,): edges that enter each node."""
        degree = np.zeros(self.n_nodes, np.int64)
        for (_, target), matrix in self.blocks.items():
            degree[self.parts[target].nodes] += np.bincount(matrix.indices, minlength=matrix.shape[1])
        return degree

    @cached_property
    def degree(self) -> np.ndarray:
        """int64 (N,): edges at each node."""
        return self.in_degree + self.out_degree

    @cached_property
    def directed(self) -> sparse.csr_array:
        """float32 CSR (N, N): weight of the edge from row to column, indices sorted."""
        kind = _index_type(max(self.n_nodes, self.n_edges))
        indptr = np.concatenate([[0], np.cumsum(self.out_degree)]).astype(kind)
        indices, weights = np.empty(self.n_edges, kind), np.empty(self.n_edges, np.float32)
        for source, part in enumerate(self.parts):
            targets = sorted((t for s, t in self.blocks if s == source), key=lambda t: self.parts[t].offset)
            here = slice(int(indptr[part.offset]), int(indptr[part.offset + part.size]))
            rows = indptr[part.offset : part.offset + part.size + 1] - indptr[part.offset]
            pieces = [(self.blocks[source, target], self.parts[target].offset) for target in targets]
            _join_rows(pieces, rows, indices[here], weights[here])
        return sparse.csr_array((weights, indices, indptr), shape=(self.n_nodes, self.n_nodes))

    @cached_property
    def undirected(self) -> sparse.csr_array:
        """float64 CSR (N, N), symmetric: every edge in both directions, indices sorted."""
        forward = self.directed
        backward = forward.T.tocsr()
        kind = _index_type(max(self.n_nodes, 2 * self.n_edges))
        indptr = forward.indptr.astype(kind) + backward.indptr.astype(kind)
        indices, weights = np.empty(2 * self.n_edges, kind), np.empty(2 * self.n_edges, np.float64)
        # Levels rise with node numbers in most graphs; then predecessors before successors is sorted.
        _join_rows([(backward, 0), (forward, 0)], indptr, indices, weights)
        both = sparse.csr_array((weights, indices, indptr), shape=(self.n_nodes, self.n_nodes))
        both.sort_indices()
        return both

    @cached_property
    def weights_are_finite(self) -> bool:
        """Whether no weight is NaN or infinite, as those of a diverged network are."""
        return all(bool(np.isfinite(matrix.data).all()) for matrix in self.blocks.values())

    @cached_property
    def edge_degree_product(self) -> int:
        """Sum over edges of the product of the two end degrees."""
        total = 0
        for (source, target), matrix in self.blocks.items():
            left, right = self.degree[self.parts[source].nodes], self.degree[self.parts[target].nodes]
            total += int(np.repeat(left, np.diff(matrix.indptr)) @ right[matrix.indices])
        return total

    @cached_property
    def components(self) -> tuple[int, np.ndarray]:
        """Number of connected components, direction ignored, and the component of each node, int32 (N,)."""
        return _components(self.undirected)

    @cached_property
    def forest(self) -> np.ndarray:
        """Integers (N,): each node's parent in a breadth-first forest of the undirected graph, -1 at a root."""
        return _breadth_first_forest(self.undirected, self.components[1])

    @cached_property
    def colour(self) -> np.ndarray:
        """bool (N,): the parity of each node's depth in `forest`; the only 2-colouring there can be."""
        parent = np.where(self.forest < 0, np.arange(self.n_nodes), self.forest)
        odd = self.forest >= 0
        while True:
            grandparent = parent[parent]
            if np.array_equal(grandparent, parent):
                return odd
            odd = odd ^ odd[parent]
            parent = grandparent

    @cached_property
    def certificate(self) -> igraph.Graph:
        """Undirected graph with the bridges, cut nodes and components of the whole, and at most 2N edges.

        The union of two successive breadth-first forests; Cheriyan, Kao, Thurimella, *Scan-first search
        and sparse certificates*, SIAM J. Computing 22 (1993).
        """
        first = self.forest
        rest = _without_forest(self.undirected, first)
        second = _breadth_first_forest(rest, _components(rest)[1])
        child = np.flatnonzero(first >= 0), np.flatnonzero(second >= 0)
        return undirected_igraph(
            self.n_nodes, np.concatenate(child), np.concatenate([first[child[0]], second[child[1]]])
        )

    @cached_property
    def part_triangles(self) -> list[tuple[int, int, int]]:
        """Triples of parts (first, second, third) that are joined by three blocks, so can hold triangles."""
        after: dict[int, set[int]] = {}
        for source, target in self.blocks:
            after.setdefault(source, set()).add(target)
        return [(a, b, c) for a, b in self.blocks for c in sorted(after.get(b, set()) & after[a])]


def _simple_blocks(graph: MultipartiteGraph) -> dict[tuple[int, int], sparse.csr_array]:
    """One canonical CSR per pair of parts that are joined by edges, in order of the target's level."""
    matrices_of: dict[tuple[int, int], list[sparse.csr_array]] = {}
    for block in sorted(graph.blocks, key=lambda block: graph.parts[block.target].level):
        if block.matrix.nnz:
            matrices_of.setdefault((block.source, block.target), []).append(block.matrix)
    return {pair: _merged(matrices) for pair, matrices in matrices_of.items()}


def _merged(matrices: list[sparse.csr_array]) -> sparse.csr_array:
    """Sum of CSR matrices that keeps entries which are stored as 0.0 (scipy's own sum drops them)."""
    if len(matrices) == 1 and matrices[0].has_canonical_format:
        return matrices[0]
    pieces = [matrix.tocoo() for matrix in matrices]
    ends = tuple(np.concatenate([piece.coords[axis] for piece in pieces]) for axis in (0, 1))
    weights = np.concatenate([piece.data for piece in pieces])
    return sparse.coo_array((weights, ends), shape=matrices[0].shape).tocsr()


def _join_rows(
    pieces: list[tuple[sparse.csr_array, int]], indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray
) -> None:
    """Write CSR matrices of the same rows side by side, each with its columns shifted, into the arrays of one."""
    start = indptr[:-1].copy()
    for matrix, shift in pieces:
        counts = np.diff(matrix.indptr)
        where = np.repeat(start - matrix.indptr[:-1], counts)
        where += np.arange(matrix.nnz, dtype=where.dtype)
        indices[where] = matrix.indices + indices.dtype.type(shift)
        weights[where] = matrix.data
        start += counts.astype(start.dtype)


def _index_type(largest: int) -> type[np.signedinteger]:
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


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


def undirected_igraph(n_nodes: int, source: np.ndarray, target: np.ndarray) -> igraph.Graph:
    """An undirected `igraph.Graph` from arrays of edge ends, a million edges at a time.

    Parameters
    ----------
    n_nodes
        Number of nodes.
    source, target
        Ends of the edges, integers (edges,).

    Returns
    -------
    igraph.Graph
        Edges in the order given.
    """
    import igraph  # here, for it loads matplotlib

    graph = igraph.Graph(n=n_nodes)
    for start in range(0, len(source), 1 << 20):
        piece = slice(start, start + (1 << 20))
        graph.add_edges(zip(source[piece].tolist(), target[piece].tolist(), strict=True))
    return graph


def chunks(work: np.ndarray, limit: int) -> Iterator[slice]:
    """Slices of consecutive rows whose summed `work` stays under `limit`, or of one row that exceeds it.

    Parameters
    ----------
    work
        Work of each row, (rows,).
    limit
        Most work of one slice.

    Yields
    ------
    slice
        Consecutive slices that cover all rows.

    Examples
    --------
    >>> import numpy as np
    >>> [(piece.start, piece.stop) for piece in chunks(np.array([3, 3, 9, 1, 1]), 6)]
    [(0, 2), (2, 3), (3, 5)]
    """
    done = np.cumsum(work, dtype=np.int64)
    start = 0
    while start < len(work):
        before = done[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(done, before + limit, side="right")))
        yield slice(start, stop)
        start = stop
