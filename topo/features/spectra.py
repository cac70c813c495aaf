"""Largest eigenvalues and singular values of sparse matrices, dense when small, ARPACK when large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from .metric import Undefined

__all__ = ["largest_eigenvalues", "top_singular_values"]

DENSE_SIZE = 400
# Relative residual; it bounds the relative error of an eigenvalue, which is far smaller still.
TOLERANCE = 1e-6


def largest_eigenvalues(
    size: int, product: Callable[[np.ndarray], np.ndarray], count: int, *, which: str = "LM"
) -> np.ndarray:
    """The `count` extreme eigenvalues of a symmetric operator of shape (size, size), largest magnitude first.

    Raises `Undefined` when ARPACK does not converge or its residuals are larger than the tolerance allows.
    """
    if size <= DENSE_SIZE:
        values = np.linalg.eigvalsh(product(np.eye(size)))
    else:
        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).random(size)
        try:
            values, vectors = eigsh(
                operator, k=count, which=which, v0=start, tol=TOLERANCE, ncv=20, maxiter=1000
            )
        except ArpackError as error:
            raise Undefined(f"the eigenvalue iteration did not converge: {error}") from None
        error = max(np.linalg.norm(product(v) - value * v) for value, v in zip(values, vectors.T, strict=True))
        if error > 10 * TOLERANCE * np.abs(values).max():
            raise Undefined(f"the eigenvalue iteration left a residual of {error:.1e}")
    if which == "LA":
        return np.sort(values)[::-1][:count]
    return values[np.argsort(-np.abs(values), kind="stable")][:count]


def top_singular_values(matrix: sparse.csr_array, count: int) -> np.ndarray:
    """The largest `count` singular values of a float64 CSR matrix, descending; fewer when it has fewer."""
    small, large = sorted(matrix.shape)
    if small == 0:
        return np.zeros(0)
    if small * large <= DENSE_SIZE**2:
        return np.linalg.svd(matrix.toarray(), compute_uv=False)[:count]
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T.tocsr()
    transposed = matrix.T
    squares = largest_eigenvalues(matrix.shape[1], lambda x: transposed @ (matrix @ x), count)
    return np.sqrt(np.maximum(squares, 0))
