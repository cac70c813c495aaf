"""Edges as CSR matrices: building, composing and merging them without losing an edge to a zero weight."""

from __future__ import annotations

import numpy as np
from scipy import sparse

__all__ = ["compose", "csr", "kronecker", "merge", "merge_duplicates", "repeat_block"]

# Stands for a kept weight of exactly 0.0 while matrices are multiplied, so that its edge is not dropped.
ZERO = np.float32(1e-30)


def compose(first: sparse.csr_array, second: sparse.csr_array) -> sparse.csr_array:
    """Edges of one map after another; parallel edges merge, their weights add, none is lost to a zero weight.

    Parameters
    ----------
    first
        (sources, between), weights of the edges of the first map.
    second
        (between, targets).

    Returns
    -------
    csr_array
        (sources, targets), indices int32.
    """
    lengths = np.diff(first.indptr)
    if (lengths <= 1).all() and (first.data == 1).all():
        # Every source element becomes at most one element in between: it takes over that element's row.
        picked = second[first.indices]
        counts = np.zeros(first.shape[0], picked.indptr.dtype)
        counts[lengths == 1] = np.diff(picked.indptr)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(picked.indptr.dtype)
        return sparse.csr_array((picked.data, picked.indices, indptr), shape=(first.shape[0], second.shape[1]))
    return _as_int32(_without_zeros(first) @ _without_zeros(second))


def merge(matrices: list[sparse.csr_array]) -> sparse.csr_array:
    """Edges of maps side by side; parallel edges merge, their weights add, none is lost to a zero weight.

    Parameters
    ----------
    matrices
        At least one, all of shape (sources, targets).

    Returns
    -------
    csr_array
        (sources, targets); with one matrix that very matrix.
    """
    if len(matrices) == 1:
        return matrices[0]
    total = _without_zeros(matrices[0])
    for matrix in matrices[1:]:
        total = total + _without_zeros(matrix)
    return _as_int32(total.tocsr())


def _without_zeros(matrix: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(
        (np.maximum(matrix.data, ZERO), matrix.indices, matrix.indptr), shape=matrix.shape, copy=False
    )


def _as_int32(matrix: sparse.csr_array) -> sparse.csr_array:
    """With 32-bit indices where they suffice, and zero weights zero again."""
    matrix.data[matrix.data < 1e-25] = 0.0
    if matrix.indices.dtype != np.int32 and matrix.nnz <= np.iinfo(np.int32).max:
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    matrix.data = matrix.data.astype(np.float32, copy=False)
    return matrix


def csr(weights: np.ndarray, sources: np.ndarray, targets: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """CSR of distinct edges, in the order given within a row.

    Parameters
    ----------
    weights
        (edges,).
    sources, targets
        Row and column of each edge, (edges,).
    shape
        (sources, targets).

    Returns
    -------
    csr_array
        Of the given shape.
    """
    edges = sparse.coo_array((weights, (sources, targets)), shape=shape)
    edges.has_canonical_format = True  # the edges are distinct: no search for parallel ones
    return edges.tocsr()


def merge_duplicates(
    weights: np.ndarray, sources: np.ndarray, targets: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_array:
    """CSR of edges that need not be distinct; parallel ones merge, their weights add.

    Parameters
    ----------
    weights
        (edges,).
    sources, targets
        Row and column of each edge, (edges,).
    shape
        (sources, targets).

    Returns
    -------
    csr_array
        Of the given shape.
    """
    edges = sparse.coo_array((np.maximum(weights, ZERO), (sources, targets)), shape=shape)
    edges.sum_duplicates()
    return _as_int32(edges.tocsr())


def repeat_block(block: sparse.csr_array, times: int) -> sparse.csr_array:
    """Block-diagonal matrix of `times` copies: the Kronecker product of an identity and the block.

    Parameters
    ----------
    block
        (rows, columns).
    times
        Number of copies, at least one.

    Returns
    -------
    csr_array
        (times rows, times columns).
    """
    if times == 1:
        return block
    rows, columns = block.shape
    indices = np.add.outer(np.arange(times, dtype=np.int64) * columns, block.indices).ravel()
    starts = np.add.outer(np.arange(times, dtype=np.int64) * block.nnz, block.indptr[:-1]).ravel()
    indptr = np.append(starts, block.nnz * times)
    matrix = sparse.csr_array((np.tile(block.data, times), indices, indptr), shape=(rows * times, columns * times))
    return _as_int32(matrix)


def kronecker(first: sparse.csr_array, second: sparse.csr_array) -> sparse.csr_array:
    """The Kronecker product of two maps: every edge of the one with every edge of the other.

    Parameters
    ----------
    first
        (sources, targets).
    second
        (sources, targets) of its own.

    Returns
    -------
    csr_array
        The products of the numbers of sources and of targets.
    """
    return _as_int32(sparse.kron(_without_zeros(first), _without_zeros(second), format="csr"))
