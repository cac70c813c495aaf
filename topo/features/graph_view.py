"""What the metrics of one graph share: degrees, adjacency, components."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from ..encoding.graph import BipartiteGraph, MultipartiteGraph
from .cuts import Connectivity, connectivity_by_certificate
from .kernels import compiler

__all__ = ["GraphView", "chunks"]

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
        self._start(graph, imdb_rule)
        self.blocks = _simple_blocks(graph)
        self.n_edges = sum(matrix.nnz for matrix in self.blocks.values())

    def _start(self, graph: MultipartiteGraph, imdb_rule: str) -> None:
        self.graph = graph
        self.imdb_rule = imdb_rule
        self.parts = graph.parts
        self.n_nodes = graph.n_nodes
        self.is_bipartite = isinstance(graph, BipartiteGraph)
        self._shared: dict[Callable[[GraphView], Any], Any] = {}

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
        indptr, indices, weights = self._symmetric(self.directed.data)
        return sparse.csr_array((weights, indices, indptr), shape=(self.n_nodes, self.n_nodes))

    @cached_property
    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the neighbours of each node begin, (N + 1,), and the neighbours, ascending, (2E,): CSR arrays."""
        if "undirected" in self.__dict__:
            return self.undirected.indptr, self.undirected.indices
        return self._symmetric(np.zeros(0, np.float32))[:2]

    def _symmetric(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """CSR arrays of the symmetric adjacency, with these weights of the directed edges or with none."""
        kind = _index_type(max(self.n_nodes, 2 * self.n_edges))
        indptr, indices = (array.astype(kind, copy=False) for array in (self.directed.indptr, self.directed.indices))
        if compiler.available():
            from .kernels.adjacency import symmetric

            return symmetric(indptr, indices, weights, self.in_degree)
        forward = sparse.csr_array((self.directed.data.astype(np.float64), indices, indptr), shape=self.directed.shape)
        # Edges that are stored as 0.0 are edges: stacked as entries, for sums of matrices drop them.
        ends = forward.tocoo()
        rows, columns = np.concatenate([ends.row, ends.col]), np.concatenate([ends.col, ends.row])
        both = sparse.coo_array((np.tile(ends.data, 2), (rows, columns)), shape=forward.shape).tocsr()
        return both.indptr.astype(kind), both.indices.astype(kind), both.data

    @cached_property
    def part_of(self) -> np.ndarray:
        """int32 (N,): the part of each node."""
        return np.repeat(np.arange(len(self.parts), dtype=np.int32), [part.size for part in self.parts])

    @cached_property
    def by_level(self) -> np.ndarray:
        """int32 (N,): the nodes in order of their levels, so each after those that it has edges from."""
        parts = sorted(self.parts, key=lambda part: part.level)
        return np.concatenate([np.arange(part.nodes.start, part.nodes.stop, dtype=np.int32) for part in parts])

    @cached_property
    def part_stops(self) -> np.ndarray:
        """int64: the number after the last node of each part."""
        return np.array([part.nodes.stop for part in self.parts], np.int64)

    @cached_property
    def joined_parts(self) -> np.ndarray:
        """bool (parts, parts): whether edges lead from one part to another."""
        joined = np.zeros((len(self.parts), len(self.parts)), bool)
        for pair in self.blocks:
            joined[pair] = True
        return joined

    @cached_property
    def weights_are_finite(self) -> bool:
        """Whether no weight is NaN or infinite, as those of a diverged network are."""
        return all(bool(np.isfinite(matrix.data).all()) for matrix in self.blocks.values())

    @property
    def scaled_product(self) -> tuple[Callable[[np.ndarray, np.ndarray], object], int] | None:
        """Where there are no edges to multiply with: writes the product of the undirected weighted adjacency over a
        power of two with a vector, float64 (N,), to a second one; and that power."""
        return None

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights of all edges."""
        return sum(float(matrix.data.sum(dtype=np.float64)) for matrix in self.blocks.values())

    @cached_property
    def most_paths(self) -> int:
        """An upper bound on the number of paths from input to output nodes, from each block's largest in-degree."""
        most = [int(part.role == "input") for part in self.parts]
        for (source, target), matrix in self.blocks.items():
            most[target] += most[source] * int(np.bincount(matrix.indices).max())
        return sum(most[i] * part.size for i, part in enumerate(self.parts) if part.role == "output")

    def paths_modulo(self, moduli: np.ndarray) -> np.ndarray:
        """Number of paths from input to output nodes, modulo several numbers.

        Parameters
        ----------
        moduli
            int64, below 2**31.

        Returns
        -------
        array
            int64, one remainder each.
        """
        if compiler.available():
            from .kernels.paths import path_counts

            at_nodes = path_counts(self.directed.indptr, self.directed.indices, self.by_level, self.inputs, moduli)
            return at_nodes[self.outputs].sum(axis=0)
        counts = {i: np.zeros((part.size, len(moduli)), np.int64) for i, part in enumerate(self.parts)}
        for i, part in enumerate(self.parts):
            counts[i] += part.role == "input"
        # Blocks come in order of their target's level, so a source is complete before it is read.
        for (source, target), matrix in self.blocks.items():
            ones = sparse.csr_array((np.ones(matrix.nnz, np.int64), matrix.indices, matrix.indptr), shape=matrix.shape)
            counts[target] = (counts[target] + ones.T @ counts[source]) % moduli
        ends = [counts[i] for i, part in enumerate(self.parts) if part.role == "output"]
        return sum((end.sum(axis=0) for end in ends), np.zeros(len(moduli), np.int64))

    @cached_property
    def edges_on_paths(self) -> int:
        """Edges on some path from an input node to an output node."""
        if compiler.available():
            from .kernels.paths import edges_on_paths

            return int(
                edges_on_paths(self.directed.indptr, self.directed.indices, self.by_level, self.inputs, self.outputs)
            )
        reached, reaching = self.inputs.copy(), self.outputs.copy()
        for (source, target), matrix in self.blocks.items():
            into = reached[self.parts[target].nodes]
            into[matrix.indices[np.repeat(reached[self.parts[source].nodes], np.diff(matrix.indptr))]] = True
        for (source, target), matrix in reversed(self.blocks.items()):
            reaching[self.parts[source].nodes] |= _useful(matrix, reaching[self.parts[target].nodes]) > 0
        return sum(
            int(_useful(matrix, reaching[self.parts[target].nodes])[reached[self.parts[source].nodes]].sum())
            for (source, target), matrix in self.blocks.items()
        )

    @cached_property
    def edge_degree_product(self) -> int:
        """Sum over edges of the product of the two end degrees."""
        if compiler.available():
            from .kernels.paths import degree_products

            return int(degree_products(self.directed.indptr, self.directed.indices, self.degree))
        total = 0
        for (source, target), matrix in self.blocks.items():
            left, right = self.degree[self.parts[source].nodes], self.degree[self.parts[target].nodes]
            total += int(np.repeat(left, np.diff(matrix.indptr)) @ right[matrix.indices])
        return total

    @cached_property
    def connectivity(self) -> Connectivity:
        """Components, cut edges, cut nodes and colours, direction ignored."""
        if compiler.available():
            from .kernels.low_points import low_points

            return Connectivity(*low_points(*self.neighbours))
        return connectivity_by_certificate(*self.neighbours)

    @property
    def components(self) -> tuple[int, np.ndarray]:
        """Number of connected components, direction ignored, and the component of each node, int32 (N,)."""
        return self.connectivity.n_components, self.connectivity.component

    @cached_property
    def part_triangles(self) -> list[tuple[int, int, int]]:
        """Triples of parts (first, second, third) that are joined by three blocks, so can hold triangles."""
        after: dict[int, set[int]] = {}
        for source, target in self.blocks:
            after.setdefault(source, set()).add(target)
        return [(a, b, c) for a, b in self.blocks for c in sorted(after.get(b, set()) & after[a])]


def _useful(matrix: sparse.csr_array, wanted: np.ndarray) -> np.ndarray:
    """Per row, the number of entries in wanted columns."""
    before = np.concatenate([[0], np.cumsum(wanted[matrix.indices])])
    return before[matrix.indptr[1:]] - before[matrix.indptr[:-1]]


def _simple_blocks(graph: MultipartiteGraph) -> dict[tuple[int, int], sparse.csr_array]:
    """One canonical CSR per pair of parts that are joined by edges, in order of the target's level."""
    matrices_of: dict[tuple[int, int], list[sparse.csr_array]] = {}
    for block in sorted(graph.blocks, key=lambda block: graph.parts[block.target].level):
        if block.matrix.nnz:
            matrices_of.setdefault((block.source, block.target), []).append(block.matrix)
    return {pair: _merged(matrices) for pair, matrices in matrices_of.items()}


def _merged(matrices: list[sparse.csr_array]) -> sparse.csr_array:
    """Sum of CSR matrices that keeps entries which are stored as 0.0 (scipy's own sum drops them)."""
    if len(matrices) == 1:
        if matrices[0].has_canonical_format:
            return matrices[0]
        matrix = matrices[0].copy()
        matrix.sum_duplicates()
        return matrix
    pieces = [matrix.tocoo() for matrix in matrices]
    ends = tuple(np.concatenate([piece.coords[axis] for piece in pieces]) for axis in (0, 1))
    weights = np.concatenate([piece.data for piece in pieces])
    return sparse.coo_array((weights, ends), shape=matrices[0].shape).tocsr()


def _join_rows(
    pieces: list[tuple[sparse.csr_array, int]], indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray
) -> None:
    """Write CSR matrices of the same rows side by side, each with its columns shifted, into the arrays of one."""
    start = indptr[:-1].copy()
    if compiler.available():
        from .kernels.adjacency import place_rows

        for matrix, shift in pieces:
            place_rows(matrix.indptr, matrix.indices, matrix.data, shift, start, indices, weights)
        return
    for matrix, shift in pieces:
        counts = np.diff(matrix.indptr)
        where = np.repeat(start - matrix.indptr[:-1], counts)
        where += np.arange(matrix.nnz, dtype=where.dtype)
        indices[where] = matrix.indices + indices.dtype.type(shift)
        weights[where] = matrix.data
        start += counts.astype(start.dtype)


def _index_type(largest: int) -> type[np.signedinteger]:
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


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
