"""Sweeps over a directed graph in order of its levels: what lies on paths, how many paths, sums over edges."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["degree_products", "edges_on_paths", "path_counts"]


@njit
def edges_on_paths(
    indptr: np.ndarray, indices: np.ndarray, order: np.ndarray, inputs: np.ndarray, outputs: np.ndarray
) -> int:
    """Edges on some path from an input node to an output node.

    Parameters
    ----------
    indptr, indices
        CSR pattern of the directed graph.
    order
        All nodes, each after those that it has edges from.
    inputs, outputs
        bool, where paths begin and end.

    Returns
    -------
    int
        How many.
    """
    reached, reaching = inputs.copy(), outputs.copy()
    for node in order:
        if reached[node]:
            for edge in range(indptr[node], indptr[node + 1]):
                reached[indices[edge]] = True
    total = 0
    for node in order[::-1]:
        useful = 0
        for edge in range(indptr[node], indptr[node + 1]):
            useful += reaching[indices[edge]]
        if useful:
            reaching[node] = True
            if reached[node]:
                total += useful
    return total


@njit
def path_counts(
    indptr: np.ndarray, indices: np.ndarray, order: np.ndarray, inputs: np.ndarray, moduli: np.ndarray
) -> np.ndarray:
    """Paths from input nodes that end at each node, modulo several numbers.

    Parameters
    ----------
    indptr, indices
        CSR pattern of the directed graph.
    order
        All nodes, each after those that it has edges from.
    inputs
        bool, where paths begin.
    moduli
        int64, below 2**31, so that sums over fewer than 2**31 edges fit int64.

    Returns
    -------
    array
        int64 (nodes, moduli).
    """
    counts = np.zeros((len(indptr) - 1, len(moduli)), np.int64)
    for node in order:
        reached = False
        for k in range(len(moduli)):
            counts[node, k] = (counts[node, k] + inputs[node]) % moduli[k]
            reached |= counts[node, k] > 0
        if reached:
            for edge in range(indptr[node], indptr[node + 1]):
                for k in range(len(moduli)):
                    counts[indices[edge], k] += counts[node, k]
    return counts


@njit
def degree_products(indptr: np.ndarray, indices: np.ndarray, degree: np.ndarray) -> int:
    """Sum over edges of the product of the degrees of their ends.

    Parameters
    ----------
    indptr, indices
        CSR pattern of the directed graph.
    degree
        int64, of each node.

    Returns
    -------
    int
        The sum.
    """
    total = 0
    for node in range(len(indptr) - 1):
        ends = 0
        for edge in range(indptr[node], indptr[node + 1]):
            ends += degree[indices[edge]]
        total += degree[node] * ends
    return total
