"""Nodes whose surroundings are shifts of each other, so that what is counted around one holds for all of them.

A convolution joins every position of a channel to positions at the same offsets. Away from the borders, and with a
stride for every phase of it, the lists of neighbours of two positions then differ by an added number alone, and so do
the lists of their neighbours. This is read off the lists themselves, so it is exact for every graph: a graph
without such positions has as many classes as nodes.
"""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["position_classes"]

Classes = tuple[np.ndarray, np.ndarray]


@njit
def _mixed(code: int, value: int) -> int:
    """A hash of all values so far and of one more."""
    code = (code ^ value) * 0x2545F4914F6CDD1D
    return code ^ (code >> 29)


@njit
def _table_size(entries: int) -> int:
    """A power of two that leaves at least half of a hash table empty."""
    size = 2
    while size < 2 * entries:
        size *= 2
    return size


@njit
def _runs(indptr: np.ndarray, indices: np.ndarray, part_of: np.ndarray, part_stop: np.ndarray) -> tuple:
    """Each row cut where the part of the neighbours changes: runs of each row, their first entries, their parts."""
    n_nodes = len(indptr) - 1
    runs = np.zeros(n_nodes + 1, np.int64)
    count = 0
    for node in range(n_nodes):
        stop = -1
        for edge in range(indptr[node], indptr[node + 1]):
            if indices[edge] >= stop:
                stop = part_stop[part_of[indices[edge]]]
                count += 1
        runs[node + 1] = count
    first, part = np.empty(count + 1, np.int64), np.empty(count, np.int32)
    count = 0
    for node in range(n_nodes):
        stop = -1
        for edge in range(indptr[node], indptr[node + 1]):
            if indices[edge] >= stop:
                part[count] = part_of[indices[edge]]
                stop = part_stop[part[count]]
                first[count] = edge
                count += 1
    first[count] = len(indices)
    return runs, first, part


@njit
def _patterns(indices: np.ndarray, first: np.ndarray) -> tuple:
    """A number for each run, equal for runs that differ by an added number alone, and how many numbers there are."""
    n_runs = len(first) - 1
    pattern = np.empty(n_runs, np.int32)
    table = np.full(_table_size(n_runs), -1, np.int32)
    example, hashes = np.empty(n_runs, np.int64), np.empty(n_runs, np.int64)
    count = 0
    for run in range(n_runs):
        start, length = first[run], first[run + 1] - first[run]
        code = length
        for entry in range(1, length):
            code = _mixed(code, indices[start + entry] - indices[start])
        place = code & (len(table) - 1)
        while True:
            known = table[place]
            if known < 0:
                table[place], pattern[run], example[count], hashes[count] = count, count, run, code
                count += 1
                break
            other = first[example[known]]
            if hashes[known] == code and first[example[known] + 1] - other == length:
                moved = indices[start] - indices[other]
                entry = 1
                while entry < length and indices[start + entry] - indices[other + entry] == moved:
                    entry += 1
                if entry == length:
                    pattern[run] = known
                    break
            place = (place + 1) & (len(table) - 1)
    return pattern, count


@njit
def position_classes(
    indptr: np.ndarray, indices: np.ndarray, part_of: np.ndarray, part_stop: np.ndarray, rank: np.ndarray
) -> Classes:
    """One node of each class, and the size of the class.

    Two nodes of a part are in one class when their neighbours in parts of lower rank, and the neighbours of these in
    parts of a rank that is not higher, are the same but for a shift of the node numbers within each part. In the part
    of the two nodes themselves this has to be the shift from one to the other.

    Parameters
    ----------
    indptr, indices
        CSR pattern with sorted rows.
    part_of
        The part of each node, int32; the nodes of a part have consecutive numbers.
    part_stop
        The number after the last node of each part, int64.
    rank
        Of each part, int64.

    Returns
    -------
    tuple
        Nodes, and how many nodes each stands for, int64. All nodes, each for itself, where few lists are alike.
    """
    n_nodes = len(indptr) - 1
    runs, first, part = _runs(indptr, indices, part_of, part_stop)
    pattern, n_patterns = _patterns(indices, first)
    if 4 * n_patterns > len(part):
        return np.arange(n_nodes), np.ones(n_nodes, np.int64)
    start = indices[first[:-1]].astype(np.int64)
    table = np.full(_table_size(n_nodes), -1, np.int32)
    hashes = np.empty(n_nodes, np.int64)
    nodes, sizes = np.empty(n_nodes, np.int64), np.empty(n_nodes, np.int64)
    n_classes = 0
    # What is known of a part while one node is looked at: where it was first met, in the round of this node.
    seen, origin = np.full(len(part_stop), -1, np.int64), np.empty(len(part_stop), np.int64)
    met = 0
    for node in range(n_nodes):
        own = part_of[node]
        code = own + 1
        seen[own], origin[own] = met, node
        for run in range(runs[node], runs[node + 1]):
            here = part[run]
            if rank[here] >= rank[own]:
                continue
            if seen[here] != met:
                seen[here], origin[here] = met, start[run]
            code = _mixed(_mixed(code, pattern[run]), start[run] - origin[here])
            for entry in range(first[run], first[run + 1]):
                middle = indices[entry]
                for beyond in range(runs[middle], runs[middle + 1]):
                    there = part[beyond]
                    if rank[there] > rank[own]:
                        continue
                    if seen[there] != met:
                        seen[there], origin[there] = met, start[beyond]
                    code = _mixed(code, (start[beyond] - origin[there]) ^ (np.int64(pattern[beyond]) << 32))
        met += 1
        hashes[node] = code
        place = code & (len(table) - 1)
        while True:
            known = table[place]
            if known < 0:
                table[place], nodes[n_classes], sizes[n_classes] = n_classes, node, 1
                n_classes += 1
                break
            met += 1
            if hashes[nodes[known]] == code and _same(
                node, nodes[known], indices, part_of, rank, runs, first, part, pattern, start, seen, origin, met
            ):
                sizes[known] += 1
                break
            place = (place + 1) & (len(table) - 1)
        met += 1
    return nodes[:n_classes].copy(), sizes[:n_classes].copy()


@njit
def _same(
    node: int,
    other: int,
    indices: np.ndarray,
    part_of: np.ndarray,
    rank: np.ndarray,
    runs: np.ndarray,
    first: np.ndarray,
    part: np.ndarray,
    pattern: np.ndarray,
    start: np.ndarray,
    seen: np.ndarray,
    shift: np.ndarray,
    met: int,
) -> bool:
    """Whether two nodes are in one class."""
    own = part_of[node]
    if part_of[other] != own or runs[node + 1] - runs[node] != runs[other + 1] - runs[other]:
        return False
    seen[own], shift[own] = met, node - other
    apart = runs[other] - runs[node]
    for run in range(runs[node], runs[node + 1]):
        here = part[run]
        if rank[here] >= rank[own]:
            if rank[part[run + apart]] < rank[own]:
                return False
            continue
        if part[run + apart] != here or pattern[run + apart] != pattern[run]:
            return False
        moved = start[run] - start[run + apart]
        if seen[here] != met:
            seen[here], shift[here] = met, moved
        elif moved != shift[here]:
            return False
        back = first[run + apart] - first[run]
        for entry in range(first[run], first[run + 1]):
            one, two = indices[entry], indices[entry + back]
            if runs[one + 1] - runs[one] != runs[two + 1] - runs[two]:
                return False
            further = runs[two] - runs[one]
            for beyond in range(runs[one], runs[one + 1]):
                there = part[beyond]
                if there != part[beyond + further]:
                    return False
                if rank[there] > rank[own]:
                    continue
                if pattern[beyond] != pattern[beyond + further]:
                    return False
                moved = start[beyond] - start[beyond + further]
                if seen[there] != met:
                    seen[there], shift[there] = met, moved
                elif moved != shift[there]:
                    return False
    return True
