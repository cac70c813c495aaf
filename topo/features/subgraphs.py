"""Exact counts of small non-induced subgraphs from sparse products in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from .graph_view import GraphView, chunks
from .kernels import compiler
from .positions import position_classes

__all__ = ["four_cycles", "triangle_family"]

WEDGES_AT_ONCE = 1 << 24


def four_cycles(view: GraphView) -> int:
    """Number of 4-cycles, direction ignored, with or without chords.

    Each cycle is counted at the last of its nodes u, as a pair of common neighbours that u and the
    opposite node w have among the nodes before u: the sum of C(c, 2) over pairs w < u. Parts of high mean
    degree come last, which leaves the fewest wedges to follow; within a part the order stays, because
    neighbouring nodes share neighbours.

    Parameters
    ----------
    view
        The graph.

    Returns
    -------
    int
        Of the whole graph.
    """
    mean_degree = [view.degree[part.nodes].mean() if part.size else 0.0 for part in view.parts]
    rank = np.empty(len(view.parts), np.int64)
    rank[np.argsort(mean_degree, kind="stable")] = np.arange(len(view.parts))
    if not compiler.available():
        return _four_cycles_by_products(view, np.argsort(rank[view.part_of], kind="stable"))
    from .kernels.four_cycles import four_cycles_closed

    classes = position_classes(view, *view.neighbours, rank, view.joined_parts | view.joined_parts.T)
    return int(four_cycles_closed(*view.neighbours, view.part_of, view.part_stops, rank, *classes))


def _four_cycles_by_products(view: GraphView, order: np.ndarray) -> int:
    """The same by sparse products, with the nodes in the given order."""
    pattern = _relabelled(*view.neighbours, order)
    before = sparse.tril(pattern, -1, format="csr")
    rows = np.repeat(np.arange(view.n_nodes, dtype=before.indices.dtype), np.diff(before.indptr))
    wedges = np.bincount(rows, weights=np.diff(pattern.indptr)[before.indices], minlength=view.n_nodes)
    wedges = wedges.astype(np.int64)
    del rows
    total = 0
    # Cutting off the columns that come later saves wedges but costs a pass over the edges: once a band.
    for band in chunks(wedges, max(WEDGES_AT_ONCE, 8 * pattern.nnz)):
        first, second = before[band][:, : band.stop], pattern[: band.stop, : band.stop]
        for piece in chunks(wedges[band], WEDGES_AT_ONCE):
            common = _rows(first, piece) @ second
            node = np.arange(band.start + piece.start, band.start + piece.stop, dtype=common.indices.dtype)
            shared = common.data[common.indices < np.repeat(node, np.diff(common.indptr))].astype(np.int64)
            total += int(shared @ (shared - 1)) // 2
    return total


def triangle_family(view: GraphView) -> tuple[int, int, int, int]:
    """Numbers of triangles, paws, diamonds and 4-cliques (non-induced), direction ignored.

    Parameters
    ----------
    view
        The graph.

    Returns
    -------
    tuple
        Four integers, in this order.
    """
    triangles = paws = cliques = 0
    on_edge: dict[tuple[int, int], sparse.csr_array] = {}
    columns: dict[tuple[int, int], sparse.csr_array] = {}
    for a, b, c in view.part_triangles:
        fourth = [d for _, y, d in view.part_triangles if y == c and {(a, d), (b, d)} <= view.blocks.keys()]
        for u, v, w in _triangles(view, columns, a, b, c):
            triangles += len(u)
            for part, nodes in ((a, u), (b, v), (c, w)):
                paws += int((view.degree[view.parts[part].nodes][nodes] - 2).sum())
            for pair, ends in (((a, b), (u, v)), ((b, c), (v, w)), ((a, c), (u, w))):
                here = sparse.coo_array((np.ones(len(u), np.int64), ends), shape=view.blocks[pair].shape).tocsr()
                on_edge[pair] = on_edge[pair] + here if pair in on_edge else here
            for d in sorted(set(fourth)):
                cliques += _completions(view, (a, b, c, d), (u, v, w))
    diamonds = sum(int((counts.data * (counts.data - 1)).sum()) // 2 for counts in on_edge.values())
    return triangles, paws, diamonds, cliques


def _triangles(
    view: GraphView, columns: dict[tuple[int, int], sparse.csr_array], a: int, b: int, c: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Triangles (u, v, w) with one node in each of the parts a, b and c, as local node numbers, in chunks.

    They are found from the edges of the block with the fewest: for every edge, what its ends have in common.
    """
    first, second = min(((a, b), (b, c), (a, c)), key=lambda pair: view.blocks[pair].nnz)
    third = ({a, b, c} - {first, second}).pop()
    edges = view.blocks[first, second].tocoo()
    if compiler.available():
        from .kernels.triangles import triangles_on_edges

        parts = [view.parts[part] for part in (first, second, third)]
        ends = edges.row + parts[0].offset, edges.col + parts[1].offset
        most = int(view.degree.max())
        found = np.empty((3, max(most, min(WEDGES_AT_ONCE, 4 * edges.nnz))), np.int64)
        edge = 0
        while edge < edges.nnz:
            edge, count = triangles_on_edges(
                *view.neighbours, *ends, edge, parts[2].nodes.start, parts[2].nodes.stop, found
            )
            nodes = {p: found[k, :count] - view.parts[p].offset for k, p in enumerate((first, second, third))}
            yield nodes[a], nodes[b], nodes[c]
        return

    def neighbours(centre: int, other: int) -> sparse.csr_array:
        if (centre, other) in view.blocks:
            return view.blocks[centre, other]
        if (centre, other) not in columns:
            columns[centre, other] = view.blocks[other, centre].T.tocsr()
        return columns[centre, other]

    one, two = neighbours(first, third), neighbours(second, third)
    work = np.diff(one.indptr)[edges.row].astype(np.int64) + np.diff(two.indptr)[edges.col]
    for piece in chunks(work, WEDGES_AT_ONCE):
        common = _pattern(one[edges.row[piece]]).multiply(_pattern(two[edges.col[piece]])).tocoo()
        nodes = {first: edges.row[piece][common.row], second: edges.col[piece][common.row], third: common.col}
        yield nodes[a], nodes[b], nodes[c]


def _completions(view: GraphView, parts: tuple[int, ...], triangle: tuple[np.ndarray, ...]) -> int:
    """Number of nodes of the last part that are joined to all three nodes of a triangle, summed over triangles."""
    *firsts, last = parts
    blocks = [view.blocks[first, last] for first in firsts]
    work = sum(np.diff(block.indptr)[nodes].astype(np.int64) for block, nodes in zip(blocks, triangle, strict=True))
    total = 0
    for piece in chunks(work, WEDGES_AT_ONCE):
        one, two, three = (_pattern(block[nodes[piece]]) for block, nodes in zip(blocks, triangle, strict=True))
        total += one.multiply(two).multiply(three).nnz
    return total


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    """The same stored entries, all 1: an edge of weight 0.0 is an edge."""
    return sparse.csr_array((np.ones(matrix.nnz, np.int8), matrix.indices, matrix.indptr), shape=matrix.shape)


def _rows(matrix: sparse.csr_array, piece: slice) -> sparse.csr_array:
    """Consecutive rows of a CSR matrix, without copying their entries."""
    start, stop = int(matrix.indptr[piece.start]), int(matrix.indptr[piece.stop])
    arrays = matrix.data[start:stop], matrix.indices[start:stop], matrix.indptr[piece.start : piece.stop + 1] - start
    return sparse.csr_array(arrays, shape=(piece.stop - piece.start, matrix.shape[1]))


def _relabelled(indptr: np.ndarray, indices: np.ndarray, order: np.ndarray) -> sparse.csr_array:
    """The int32 pattern of a square CSR matrix, rows and columns in the given order."""
    rank = np.empty(len(order), indices.dtype)
    rank[order] = np.arange(len(order), dtype=rank.dtype)
    pattern = sparse.csr_array((np.ones(len(indices), np.int32), indices, indptr), shape=(len(order), len(order)))
    rows = pattern[order]
    moved = sparse.csr_array((rows.data, rank[rows.indices], rows.indptr), shape=rows.shape)
    moved.sort_indices()
    return moved
