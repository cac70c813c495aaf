"""Lists of neighbours that are those of another node, shifted: what makes positions of a convolution alike."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["class_sizes", "join_positions", "shifted_lists"]


@njit
def shifted_lists(
    indptr: np.ndarray,
    indices: np.ndarray,
    part_of: np.ndarray,
    part_start: np.ndarray,
    part_stop: np.ndarray,
    shift: np.ndarray,
    wanted: np.ndarray,
) -> np.ndarray:
    """Whether the neighbours of each node are those of an earlier node of its part, shifted.

    Parameters
    ----------
    indptr, indices
        CSR pattern with sorted rows.
    part_of
        The part of each node, int32; the nodes of a part have consecutive numbers.
    part_start, part_stop
        The first number of each part and the one after its last, int64.
    shift
        By how much the numbers of each part move, int64: from the earlier node to this one, and from its neighbours to
        those of this one. Negative where no shift is known.
    wanted
        bool, the parts whose nodes are looked at.

    Returns
    -------
    array
        bool (nodes,).
    """
    found = np.zeros(len(indptr) - 1, np.bool_)
    for part in range(len(part_stop)):
        if not wanted[part]:
            continue
        for node in range(part_start[part] + shift[part], part_stop[part]):
            other = node - shift[part]
            size, back = indptr[node + 1] - indptr[node], indptr[node] - indptr[other]
            if indptr[other + 1] - indptr[other] != size:
                continue
            stop, moved, same = -1, 0, True
            for entry in range(indptr[node], indptr[node + 1]):
                neighbour = indices[entry]
                if neighbour >= stop:
                    stop, moved = part_stop[part_of[neighbour]], shift[part_of[neighbour]]
                if neighbour - indices[entry - back] != moved:
                    same = False
                    break
            found[node] = same
    return found


@njit
def join_positions(
    indptr: np.ndarray,
    indices: np.ndarray,
    part_of: np.ndarray,
    part_start: np.ndarray,
    part_stop: np.ndarray,
    rank: np.ndarray,
    shift: np.ndarray,
    active: np.ndarray,
    shifted: np.ndarray,
    first: np.ndarray,
) -> None:
    """Write to `first`, for nodes that stand for themselves, the earlier node whose surroundings are the same, shifted.

    Parameters
    ----------
    indptr, indices, part_of, part_start, part_stop, shift
        As for `shifted_lists`.
    rank
        Of each part, int64; neighbours in parts of lower rank count.
    active
        bool, the parts whose nodes are looked at.
    shifted
        What `shifted_lists` found: looked up for these nodes, and for neighbours in parts that move.
    first
        int64 (nodes,), changed in place.
    """
    for part in range(len(part_stop)):
        if not active[part]:
            continue
        for node in range(part_start[part] + shift[part], part_stop[part]):
            if first[node] != node or not shifted[node]:
                continue
            stop, counts, same = -1, False, True
            for entry in range(indptr[node], indptr[node + 1]):
                neighbour = indices[entry]
                if neighbour >= stop:
                    there = part_of[neighbour]
                    stop, counts = part_stop[there], rank[there] < rank[part] and shift[there] > 0
                if counts and not shifted[neighbour]:
                    same = False
                    break
            if same:
                first[node] = node - shift[part]


@njit
def class_sizes(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nodes that stand for themselves, and how many nodes each stands for.

    Parameters
    ----------
    first
        For each node itself or an earlier node; followed from node to node, and changed in place.

    Returns
    -------
    tuple
        Two int64 arrays.
    """
    sizes = np.zeros(len(first), np.int64)
    for node in range(len(first)):
        first[node] = first[first[node]]
        sizes[first[node]] += 1
    nodes = np.flatnonzero(sizes)
    return nodes, sizes[nodes]
