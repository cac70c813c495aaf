"""The symmetric adjacency of a directed graph in one pass over its edges."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["symmetric"]


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
