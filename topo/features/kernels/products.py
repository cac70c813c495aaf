"""Products of sparse matrices with a few vectors at once, in one pass over the stored entries.

A convolution gives a diagonal of equal weights for each of its own weights: entries (i, j), (i + 1, j + 1), ... Such a
run is multiplied as two pieces of vectors, without reading an index for each entry.
"""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["diagonal_runs", "gram_product", "gram_run_product", "symmetric_product", "symmetric_run_product"]


@njit
def diagonal_runs(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> tuple:
    """The entries of a matrix as runs along diagonals, if these are at most half as many as the entries.

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
    n_rows, most = len(indptr) - 1, len(indices) // 2
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
    row: np.ndarray,
    column: np.ndarray,
    weight: np.ndarray,
    length: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flat: np.ndarray,
    total: np.ndarray,
) -> None:
    """Write (A + A^T) x to `y`.

    Parameters
    ----------
    row, column, weight, length
        Runs of A, square.
    x, y
        float64 (vectors, rows).
    flat, total
        Memory of the size of `x`.
    """
    width = len(x)
    _interleave(x, flat)
    total[:] = 0.0
    for run in range(len(length)):
        i, j, size, factor = row[run] * width, column[run] * width, length[run] * width, weight[run]
        from_i, from_j, to_i, to_j = flat[i : i + size], flat[j : j + size], total[i : i + size], total[j : j + size]
        for k in range(size):
            to_i[k] += factor * from_j[k]
        for k in range(size):
            to_j[k] += factor * from_i[k]
    single = len(length)
    _add_entries(row[single:], column[single:], weight[single:], flat, total, width)
    _add_entries(column[single:], row[single:], weight[single:], flat, total, width)
    _deinterleave(total, y)


@njit
def gram_run_product(
    row: np.ndarray,
    column: np.ndarray,
    weight: np.ndarray,
    length: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flat: np.ndarray,
    between: np.ndarray,
) -> None:
    """Write B^T B x to `y`.

    Parameters
    ----------
    row, column, weight, length
        Runs of B.
    x, y
        float64 (vectors, columns).
    flat, between
        Memory for as many numbers as `x` has, and for B x.
    """
    width = len(x)
    _interleave(x, flat)
    between[:] = 0.0
    for run in range(len(length)):
        i, j, size, factor = row[run] * width, column[run] * width, length[run] * width, weight[run]
        start, end = flat[j : j + size], between[i : i + size]
        for k in range(size):
            end[k] += factor * start[k]
    single = len(length)
    _add_entries(row[single:], column[single:], weight[single:], flat, between, width)
    flat[:] = 0.0
    for run in range(len(length)):
        i, j, size, factor = row[run] * width, column[run] * width, length[run] * width, weight[run]
        start, end = between[i : i + size], flat[j : j + size]
        for k in range(size):
            end[k] += factor * start[k]
    _add_entries(column[single:], row[single:], weight[single:], between, flat, width)
    _deinterleave(flat, y)


@njit
def _add_entries(
    row: np.ndarray, column: np.ndarray, weight: np.ndarray, flat: np.ndarray, total: np.ndarray, width: int
) -> None:
    """Add the products of single entries."""
    for entry in range(len(row)):
        i, j, factor = row[entry] * width, column[entry] * width, weight[entry]
        total[i] += factor * flat[j]
        if width == 2:
            total[i + 1] += factor * flat[j + 1]
        elif width > 2:
            for k in range(1, width):
                total[i + k] += factor * flat[j + k]


@njit
def _interleave(x: np.ndarray, flat: np.ndarray) -> None:
    """Write the vectors (vectors, size) one beside the other, the entries of a place together."""
    width, size = x.shape
    for k in range(width):
        for place in range(size):
            flat[place * width + k] = x[k, place]


@njit
def _deinterleave(flat: np.ndarray, y: np.ndarray) -> None:
    width, size = y.shape
    for k in range(width):
        for place in range(size):
            y[k, place] = flat[place * width + k]


@njit
def symmetric_product(
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    one: np.ndarray,
    total: np.ndarray,
) -> None:
    """Write (A + A^T) x to `y`.

    Parameters
    ----------
    indptr, indices, weights
        CSR arrays of A, square; float32 weights.
    x, y
        float64 (vectors, rows).
    one, total
        Memory of the size of `x`.
    """
    width = len(x)
    _interleave(x, one)
    total[:] = 0.0
    if width == 1:
        for row in range(len(indptr) - 1):
            only, sum0 = one[row], total[row]
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = indices[entry], weights[entry]
                sum0 += weight * one[column]
                total[column] += weight * only
            total[row] = sum0
    elif width == 2:
        for row in range(len(indptr) - 1):
            here0, here1 = one[2 * row], one[2 * row + 1]
            sum0, sum1 = total[2 * row], total[2 * row + 1]
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = 2 * indices[entry], weights[entry]
                sum0 += weight * one[column]
                sum1 += weight * one[column + 1]
                total[column] += weight * here0
                total[column + 1] += weight * here1
            total[2 * row], total[2 * row + 1] = sum0, sum1
    else:
        for row in range(len(indptr) - 1):
            here = row * width
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = indices[entry] * width, weights[entry]
                for k in range(width):
                    total[here + k] += weight * one[column + k]
                    total[column + k] += weight * one[here + k]
    _deinterleave(total, y)


@njit
def gram_product(
    indptr: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    one: np.ndarray,
    total: np.ndarray,
) -> None:
    """Write B^T B x to `y`.

    Parameters
    ----------
    indptr, indices, weights
        CSR arrays of B; float32 weights.
    x, y
        float64 (vectors, columns).
    one, total
        Memory of the size of `x`.
    """
    width = len(x)
    _interleave(x, one)
    total[:] = 0.0
    if width == 1:
        for row in range(len(indptr) - 1):
            sum0 = 0.0
            for entry in range(indptr[row], indptr[row + 1]):
                sum0 += weights[entry] * one[indices[entry]]
            for entry in range(indptr[row], indptr[row + 1]):
                total[indices[entry]] += weights[entry] * sum0
    elif width == 2:
        for row in range(len(indptr) - 1):
            sum0 = sum1 = 0.0
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = 2 * indices[entry], weights[entry]
                sum0 += weight * one[column]
                sum1 += weight * one[column + 1]
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = 2 * indices[entry], weights[entry]
                total[column] += weight * sum0
                total[column + 1] += weight * sum1
    else:
        sums = np.empty(width)
        for row in range(len(indptr) - 1):
            sums[:] = 0.0
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = indices[entry] * width, weights[entry]
                for k in range(width):
                    sums[k] += weight * one[column + k]
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = indices[entry] * width, weights[entry]
                for k in range(width):
                    total[column + k] += weight * sums[k]
    _deinterleave(total, y)
