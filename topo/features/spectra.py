"""Largest eigenvalues and singular values of sparse matrices: dense when small, a Lanczos method when large."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import sparse
from threadpoolctl import ThreadpoolController

from .kernels import compiler
from .lanczos import Product, extreme_eigenvalues
from .registry import Undefined

__all__ = ["largest_eigenvalues", "scaled", "symmetric", "top_singular_values"]

DENSE_SIZE = 100
# Of the largest eigenvalue: what the error of the wanted ones may be.
TOLERANCE = 1e-9
# The same where products are rounded to float32.
ROUNDED = 1e-7


def largest_eigenvalues(
    size: int,
    product: Product,
    count: int,
    *,
    which: str = "LM",
    inside: np.ndarray | None = None,
    near: np.ndarray | None = None,
    rounded: bool = False,
) -> np.ndarray:
    """The `count` extreme eigenvalues of a symmetric matrix, given as its product with a vector, extreme first.

    Parameters
    ----------
    size
        Rows of the matrix.
    product
        Of the matrix with a vector.
    count
        How many.
    which
        ``"LM"``, largest in magnitude, or ``"LA"``, largest.
    inside
        bool (size,): a set of rows and columns that no entry joins to others, and the only ones to look at.
    near
        A positive vector (size,) that is large where the wanted eigenvectors are, if one is known.
    rounded
        Whether products are rounded to float32.

    Returns
    -------
    array
        (count,), or (size,) of a smaller matrix.

    Raises
    ------
    Undefined
        When the iteration does not converge.
    """
    if size <= DENSE_SIZE:
        unit = np.eye(size) if inside is None else np.eye(size)[inside]
        image = np.empty_like(unit)
        for vector, its_image in zip(unit, image, strict=True):
            product(vector, its_image)
        return _by(np.linalg.eigvalsh(image if inside is None else image[:, inside]), which)[:count]
    # What is left to libraries is too small for threads: on a busy machine these cost ten times the work.
    with _thread_pools().limit(limits=1, user_api="blas"):
        wanted: dict[str, Any] = {"which": which, "inside": inside, "near": near}
        wanted["tolerance"] = ROUNDED if rounded else TOLERANCE
        try:
            found = extreme_eigenvalues(size, product, count, seed=0, **wanted)
        except Undefined:  # another start
            found = extreme_eigenvalues(size, product, count, seed=1, **wanted)
    return np.concatenate([found, np.zeros(max(0, min(count, size) - len(found)))])


def symmetric(directed: sparse.csr_array) -> Product:
    """The product of A + A^T with a vector.

    Parameters
    ----------
    directed
        A, square CSR, float32.

    Returns
    -------
    callable
        Writes it to an array.
    """
    if not compiler.available():
        forward = directed.astype(np.float64)
        return lambda x, y: np.add(forward @ x, forward.T @ x, out=y)
    from .kernels.products import diagonal_runs, symmetric_product, symmetric_run_product

    arrays = directed.indptr, directed.indices, directed.data
    row, column, weight, length = diagonal_runs(*arrays)
    if len(row):
        return lambda x, y: symmetric_run_product(row, column, weight, length, x, y)
    return lambda x, y: symmetric_product(*arrays, x, y)


def _gram(matrix: sparse.csr_array) -> Product:
    """The product of B^T B with a vector."""
    if not compiler.available():
        forward = matrix.astype(np.float64)
        return lambda x, y: np.copyto(y, forward.T @ (forward @ x))
    from .kernels.products import diagonal_runs, gram_product, gram_run_product

    arrays = matrix.indptr, matrix.indices, matrix.data
    row, column, weight, length = diagonal_runs(*arrays)
    if len(row):
        between = np.empty(matrix.shape[0])
        return lambda x, y: gram_run_product(row, column, weight, length, x, y, between)
    return lambda x, y: gram_product(*arrays, x, y)


def top_singular_values(matrix: sparse.csr_array, count: int, *, inside: np.ndarray | None = None) -> np.ndarray:
    """The largest `count` singular values of a CSR matrix, descending; fewer when it has fewer.

    Parameters
    ----------
    matrix
        (rows, columns).
    count
        How many, two at most.
    inside
        bool (columns,): columns that no row joins to others, and the only ones to look at.

    Returns
    -------
    array
        (count,) or shorter.
    """
    small, large = sorted(matrix.shape)
    if small == 0:
        return np.zeros(0)
    matrix, exponent = scaled(matrix)
    if small <= DENSE_SIZE and inside is None:
        short = matrix if matrix.shape[0] == small else matrix.T.tocsr()
        if small * large <= 2 * DENSE_SIZE**2:
            values = np.linalg.svd(short.toarray().astype(np.float64), compute_uv=False)[:count]
        else:
            short = short.astype(np.float64)
            squares = np.linalg.eigvalsh((short @ short.T).toarray())[::-1][:count]
            values = np.sqrt(np.maximum(squares, 0))
        return np.ldexp(values, exponent)
    if inside is None and 2 * matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T.tocsr()
    squares = largest_eigenvalues(matrix.shape[1], _gram(matrix), min(count, small), which="LA", inside=inside)
    return np.ldexp(np.sqrt(np.maximum(squares, 0)), exponent)


def scaled(matrix: sparse.csr_array) -> tuple[sparse.csr_array, int]:
    """The matrix in float32 with its largest weight between 1/2 and 1, and the power of two that was taken out.

    Parameters
    ----------
    matrix
        Real, of any type.

    Returns
    -------
    tuple
        A matrix on the same indices, and the exponent.
    """
    exponent = int(np.frexp(np.abs(matrix.data).max(initial=0.0))[1])
    weights = np.ldexp(matrix.data, -exponent).astype(np.float32)
    return sparse.csr_array((weights, matrix.indices, matrix.indptr), shape=matrix.shape), exponent


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def _by(values: np.ndarray, which: str) -> np.ndarray:
    return values[np.argsort(-np.abs(values) if which == "LM" else -values, kind="stable")]
