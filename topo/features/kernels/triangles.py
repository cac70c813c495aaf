"""Triangles that hang on the edges of a block: what the neighbours of both ends have in common."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["triangles_on_edges"]


@njit
def triangles_on_edges(
    indptr: np.ndarray,
    indices: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    begin: int,
    third_start: int,
    third_stop: int,
    found: np.ndarray,
) -> tuple[int, int]:
    """Write the triangles of consecutive edges with a node of a third part, until the array may be full.

    Parameters
    ----------
    indptr, indices
        Symmetric CSR pattern with sorted rows.
    rows, columns
        The ends of the edges.
    begin
        The first edge to look at.
    third_start, third_stop
        The node numbers of the third part.
    found
        int64 (3, places): first end, second end, third node.

    Returns
    -------
    tuple
        The edge to go on with, and the number of triangles.
    """
    count, places = 0, found.shape[1]
    for edge in range(begin, len(rows)):
        one, two = rows[edge], columns[edge]
        left, left_stop = _between(indptr, indices, one, third_start, third_stop)
        right, right_stop = _between(indptr, indices, two, third_start, third_stop)
        if count + min(left_stop - left, right_stop - right) > places:
            return edge, count
        while left < left_stop and right < right_stop:
            if indices[left] < indices[right]:
                left += 1
            elif indices[left] > indices[right]:
                right += 1
            else:
                found[0, count], found[1, count], found[2, count] = one, two, indices[left]
                count, left, right = count + 1, left + 1, right + 1
    return len(rows), count


@njit
def _between(indptr: np.ndarray, indices: np.ndarray, node: int, start: int, stop: int) -> tuple[int, int]:
    """The places of the neighbours of a node with numbers from `start` to before `stop`."""
    first, last = indptr[node], indptr[node + 1]
    while first < last and indices[first] < start:
        first += 1
    while last > first and indices[last - 1] >= stop:
        last -= 1
    return first, last
