"""Products of sparse matrices with one or with two vectors at once, in one pass over the stored entries."""

from __future__ import annotations

import numpy as np

from .compiler import njit

__all__ = ["gram_product", "symmetric_product"]


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
        float64 (rows, 1) or (rows, 2).
    """
    y[:] = 0.0
    if x.shape[1] == 1:
        for row in range(len(indptr) - 1):
            here, total = x[row, 0], y[row, 0]
            for entry in range(indptr[row], indptr[row + 1]):
                column, weight = indices[entry], weights[entry]
                total += weight * x[column, 0]
                y[column, 0] += weight * here
            y[row, 0] = total
        return
    for row in range(len(indptr) - 1):
        here0, here1 = x[row, 0], x[row, 1]
        total0, total1 = y[row, 0], y[row, 1]
        for entry in range(indptr[row], indptr[row + 1]):
            column, weight = indices[entry], weights[entry]
            total0 += weight * x[column, 0]
            total1 += weight * x[column, 1]
            y[column, 0] += weight * here0
            y[column, 1] += weight * here1
        y[row, 0], y[row, 1] = total0, total1


@njit
def gram_product(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Write B^T B x to `y`.

    Parameters
    ----------
    indptr, indices, weights
        CSR arrays of B; float32 weights.
    x, y
        float64 (columns, 1) or (columns, 2).
    """
    y[:] = 0.0
    if x.shape[1] == 1:
        for row in range(len(indptr) - 1):
            total = 0.0
            for entry in range(indptr[row], indptr[row + 1]):
                total += weights[entry] * x[indices[entry], 0]
            for entry in range(indptr[row], indptr[row + 1]):
                y[indices[entry], 0] += weights[entry] * total
        return
    for row in range(len(indptr) - 1):
        total0 = total1 = 0.0
        for entry in range(indptr[row], indptr[row + 1]):
            column, weight = indices[entry], weights[entry]
            total0 += weight * x[column, 0]
            total1 += weight * x[column, 1]
        for entry in range(indptr[row], indptr[row + 1]):
            column, weight = indices[entry], weights[entry]
            y[column, 0] += weight * total0
            y[column, 1] += weight * total1
