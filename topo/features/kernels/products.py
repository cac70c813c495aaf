"""Products of sparse matrices with a vector, in one pass over the stored entries.

A convolution gives a diagonal of equal weights for each of its own weights: entries (i, j), (i + 1, j + 1), ... Such a
run is multiplied as two pieces of vectors, without reading an index for each entry.
"""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["diagonal_runs", "gram_product", "gram_run_product", "symmetric_product", "symmetric_run_product"]


@njit
def diagonal_runs(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> tuple:
    """The entries of a matrix as runs along diagonals, if these are at most a quarter as many as the entries.

    Parameters
    ----------
    indptr, indices, weights
        CSR arrays with sorted rows.

    Returns
    -------
    tuple
        Of each run its first row, first column and weight, and the lengths of the runs longer than one, which come
        first; empty arrays where there are too many.
    """
    n_rows, most = len(indptr) - 1, len(indices) // 4
    row, column = np.empty(most, np.int32), np.empty(most, np.int32)
    length, weight = np.empty(most, np.int32), np.empty(most, weights.dtype)
    longest = 0
    for i in range(n_rows):
        longest = max(longest, indptr[i + 1] - indptr[i])
    # The runs that the entries of the row before, and of this row, belong to.
    before, now = np.empty(longest, np.int32), np.empty(longest, np.int32)
    count = 0
    for i in range(n_rows):
        first = indptr[i - 1] if i else 0
        above, stop = first, indptr[i]
        for entry in range(indptr[i], indptr[i + 1]):
            wanted = indices[entry] - 1
            while above < stop and indices[above] < wanted:
                above += 1
            if above < stop and indices[above] == wanted and weights[above] == weights[entry]:
                run = before[above - first]
                length[run] += 1
                above += 1
            else:
                if count == most:
                    return row[:0], column[:0], weight[:0], length[:0]
                run = count
                row[run], column[run], length[run], weight[run] = i, indices[entry], 1, weights[entry]
                count += 1
            now[entry - indptr[i]] = run
        before, now = now, before
    n_long = 0
    for run in range(count):
        n_long += length[run] > 1
    order, long, single = np.empty(count, np.int64), 0, n_long
    for run in range(count):
        if length[run] > 1:
            order[long] = run
            long += 1
        else:
            order[single] = run
            single += 1
    return row[order], column[order], weight[order], length[order[:n_long]]


@njit
def symmetric_run_product(
    row: np.ndarray, column: np.ndarray, weight: np.ndarray, length: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Write (A + A^T) x to `y`.

    Parameters
    ----------
    row, column, weight, length
        Runs of A, square.
    x, y
        float64 (rows,).
    """
    y[:] = 0.0
    for run in range(len(length)):
        _add_run(row[run], column[run], length[run], weight[run], x, y)
        _add_run(column[run], row[run], length[run], weight[run], x, y)
    for entry in range(len(length), len(row)):
        i, j, factor = np.uint64(row[entry]), np.uint64(column[entry]), np.float64(weight[entry])
        y[i] += factor * x[j]
        y[j] += factor * x[i]


@njit
def gram_run_product(
    row: np.ndarray,
    column: np.ndarray,
    weight: np.ndarray,
    length: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    between: np.ndarray,
) -> None:
    """Write B^T B x to `y`.

    Parameters
    ----------
    row, column, weight, length
        Runs of B.
    x, y
        float64 (columns,).
    between
        Memory for B x, float64 (rows,).
    """
    between[:] = 0.0
    for run in range(len(length)):
        _add_run(row[run], column[run], length[run], weight[run], x, between)
    for entry in range(len(length), len(row)):
        between[np.uint64(row[entry])] += np.float64(weight[entry]) * x[np.uint64(column[entry])]
    y[:] = 0.0
    for run in range(len(length)):
        _add_run(column[run], row[run], length[run], weight[run], between, y)
    for entry in range(len(length), len(row)):
        y[np.uint64(column[entry])] += np.float64(weight[entry]) * between[np.uint64(row[entry])]


@njit
def _add_run(target: int, source: int, length: int, weight: float, x: np.ndarray, y: np.ndarray) -> None:
    """Add a run's product; indices that cannot be negative need no look at whether they are."""
    i, j, factor = np.uint64(target), np.uint64(source), np.float64(weight)
    for k in range(np.uint64(length)):
        y[i + k] += factor * x[j + k]


@njit
def symmetric_product(
    indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Write (A + A^T) x to `y`.

    Parameters
    ----------
    indptr, indices, weights
        CSR arrays of A, square; float32 weights.
    x, y
        float64 (rows,).
    """
    y[:] = 0.0
    for row in range(len(indptr) - 1):
        only, total = x[row], y[row]
        for entry in range(indptr[row], indptr[row + 1]):
            column, weight = np.uint64(indices[entry]), np.float64(weights[entry])
            total += weight * x[column]
            y[column] += weight * only
        y[row] = total


@njit
def gram_product(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Write B^T B x to `y`.

    Parameters
    ----------
    indptr, indices, weights
        CSR arrays of B; float32 weights.
    x, y
        float64 (columns,).
    """
    y[:] = 0.0
    for row in range(len(indptr) - 1):
        total = 0.0
        for entry in range(indptr[row], indptr[row + 1]):
            total += weights[entry] * x[np.uint64(indices[entry])]
        for entry in range(indptr[row], indptr[row + 1]):
            y[np.uint64(indices[entry])] += weights[entry] * total
