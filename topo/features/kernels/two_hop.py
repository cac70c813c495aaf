"""How many nodes are reached in at most two steps, summed over all nodes."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["nodes_within_two_steps"]


@njit
def nodes_within_two_steps(indptr: np.ndarray, indices: np.ndarray, nodes: np.ndarray, sizes: np.ndarray) -> int:
    """Nodes reached in none, one or two steps along the edges, summed over the start nodes.

    Parameters
    ----------
    indptr, indices
        CSR pattern of the directed graph.
    nodes
        Where to start.
    sizes
        How often each of them counts.

    Returns
    -------
    int
        The sum.
    """
    reached_from = np.full(len(indptr) - 1, -1, np.int32)
    total = 0
    for number in range(len(nodes)):
        node = nodes[number]
        reached_from[node] = number
        count = 1
        for edge in range(indptr[node], indptr[node + 1]):
            middle = indices[edge]
            if reached_from[middle] != number:
                reached_from[middle] = number
                count += 1
            for step in range(indptr[middle], indptr[middle + 1]):
                if reached_from[indices[step]] != number:
                    reached_from[indices[step]] = number
                    count += 1
        total += count * sizes[number]
    return total
