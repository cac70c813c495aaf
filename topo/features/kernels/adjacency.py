"""The symmetric adjacency of a directed graph in one pass over its edges."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["place_rows", "symmetric"]


@njit
def symmetric(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, in_degree: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CSR arrays with every edge in both directions, columns of a row in ascending order.

    Parameters
    ----------
    indptr, indices, weights
        CSR arrays of a directed graph without loops and with sorted rows, of which no two edges join the same nodes.
        `weights` may be empty; then no weights are returned either.
    in_degree
        Edges that enter each node.

    Returns
    -------
    tuple
        ``indptr``, ``indices`` and float64 ``weights``.
    """
    n_nodes, weighted = len(indptr) - 1, len(weights) > 0
    both_indptr = np.zeros(n_nodes + 1, indptr.dtype)
    for node in range(n_nodes):
        both_indptr[node + 1] = both_indptr[node] + in_degree[node] + indptr[node + 1] - indptr[node]
    both = np.empty(2 * len(indices), indices.dtype)
    both_weights = np.empty(2 * len(weights), np.float64)
    free = both_indptr[:-1].copy()
    # Sources come in ascending order, so what enters a node is sorted; what leaves it follows, and is mixed in after.
    for node in range(n_nodes):
        for edge in range(indptr[node], indptr[node + 1]):
            place = free[indices[edge]]
            both[place] = node
            if weighted:
                both_weights[place] = weights[edge]
            free[indices[edge]] = place + 1
    for node in range(n_nodes):
        first, place = both_indptr[node], free[node]
        for edge in range(indptr[node], indptr[node + 1]):
            target = indices[edge]
            here = place
            # Rarely taken: node numbers rise along nearly every edge.
            while here > first and both[here - 1] > target:
                both[here] = both[here - 1]
                if weighted:
                    both_weights[here] = both_weights[here - 1]
                here -= 1
            both[here] = target
            if weighted:
                both_weights[here] = weights[edge]
            place += 1
    return both_indptr, both, both_weights


@njit
def place_rows(
    indptr: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray,
    shift: int,
    free: np.ndarray,
    all_columns: np.ndarray,
    all_weights: np.ndarray,
) -> None:
    """Write the rows of a matrix to the places that are free for them in a matrix with more columns.

    Parameters
    ----------
    indptr, columns, weights
        CSR arrays.
    shift
        Where its first column is in the larger matrix.
    free
        The first free place of each row there; moved on behind what is written.
    all_columns, all_weights
        Arrays of the larger matrix.
    """
    for row in range(len(indptr) - 1):
        place = free[row]
        for entry in range(indptr[row], indptr[row + 1]):
            all_columns[place] = columns[entry] + shift
            all_weights[place] = weights[entry]
            place += 1
        free[row] = place
