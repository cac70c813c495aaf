"""The number of 4-cycles by counting, for each node, how often the nodes before it are reached in two steps."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["four_cycles_closed"]


@njit
def four_cycles_closed(
    indptr: np.ndarray,
    indices: np.ndarray,
    part_of: np.ndarray,
    part_stop: np.ndarray,
    rank: np.ndarray,
    nodes: np.ndarray,
    sizes: np.ndarray,
) -> int:
    """4-cycles of which the given nodes are the last: parts in order of their rank, nodes by number within a part.

    Parameters
    ----------
    indptr, indices
        Symmetric CSR pattern with sorted rows.
    part_of
        The part of each node, int32; no edge joins two nodes of one part.
    part_stop
        The number after the last node of each part, int64.
    rank
        Of each part, int64, all different.
    nodes
        The nodes that close cycles.
    sizes
        How often each of them counts.

    Returns
    -------
    int
        The sum over pairs of such a node and a node before it of C(c, 2), with c their common neighbours before both.
    """
    # A counter below the base of the present node is left from an earlier one, and means zero.
    counters = np.zeros(len(indptr) - 1, np.int64)
    base, total = 1, 0
    for number in range(len(nodes)):
        node = nodes[number]
        own = part_of[node]
        pairs = 0
        for edge in range(indptr[node], indptr[node + 1]):
            middle = indices[edge]
            if rank[part_of[middle]] >= rank[own]:
                continue
            stop, wanted = -1, False
            for step in range(indptr[middle], indptr[middle + 1]):
                other = indices[step]
                if other >= stop:
                    there = part_of[other]
                    wanted, stop = rank[there] <= rank[own], part_stop[there]
                if other == node:
                    wanted = False
                if wanted:
                    common = max(counters[other], base)
                    pairs += common - base
                    counters[other] = common + 1
        base += indptr[node + 1] - indptr[node] + 1
        total += pairs * sizes[number]
    return total
