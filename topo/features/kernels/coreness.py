"""Core numbers by taking away a node of least degree at a time, nodes kept in buckets by degree."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["core_numbers"]


@njit
def core_numbers(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The largest k of a k-core that holds each node.

    Batagelj, Zaversnik, *An O(m) algorithm for cores decomposition of networks*, arXiv cs/0310049 (2003).

    Parameters
    ----------
    indptr, indices
        Symmetric CSR pattern without loops and repeated entries.

    Returns
    -------
    array
        int64 (nodes,).
    """
    n_nodes = len(indptr) - 1
    degree = np.empty(n_nodes, np.int64)
    largest = 0
    for node in range(n_nodes):
        degree[node] = indptr[node + 1] - indptr[node]
        largest = max(largest, degree[node])
    # Nodes in order of their degrees; where the bucket of each degree begins, and where each node stands.
    begins = np.zeros(largest + 2, np.int32)
    for node in range(n_nodes):
        begins[degree[node] + 1] += 1
    for k in range(largest + 1):
        begins[k + 1] += begins[k]
    order, place = np.empty(n_nodes, np.int32), np.empty(n_nodes, np.int32)
    free = begins.copy()
    for node in range(n_nodes):
        place[node] = free[degree[node]]
        order[place[node]] = node
        free[degree[node]] += 1
    for step in range(n_nodes):
        node = order[step]
        for edge in range(indptr[node], indptr[node + 1]):
            other = indices[edge]
            if degree[other] > degree[node]:
                # It moves down a bucket: it changes places with the first of its own, which then begins one later.
                front = begins[degree[other]]
                if place[other] != front:
                    swapped = order[front]
                    order[front], order[place[other]] = other, swapped
                    place[swapped], place[other] = place[other], front
                begins[degree[other]] += 1
                degree[other] -= 1
    return degree
