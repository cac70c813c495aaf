"""Core numbers by taking away nodes of least degree until none is left."""

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
    left = np.arange(n_nodes).astype(np.int32)
    core = np.empty(n_nodes, np.int32)
    for node in range(n_nodes):
        core[node] = indptr[node + 1] - indptr[node]
    peeled = np.empty(n_nodes, np.int32)
    n_left, k = n_nodes, 0
    while n_left:
        # What is left has degree k or more; this pass leaves out what the last one has peeled.
        kept, first, above = 0, 0, n_nodes
        for place in range(n_left):
            node = left[place]
            degree = core[node]
            if degree > k:
                left[kept] = node
                kept += 1
                above = min(above, degree)
            elif degree == k:
                peeled[first] = node
                first += 1
        n_left = kept
        if first == 0:
            k = above
            continue
        taken = 0
        while taken < first:
            node = peeled[taken]
            taken += 1
            for edge in range(indptr[node], indptr[node + 1]):
                other = indices[edge]
                if core[other] > k:
                    core[other] -= 1
                    if core[other] == k:
                        peeled[first] = other
                        first += 1
        k += 1
    return core.astype(np.int64)
