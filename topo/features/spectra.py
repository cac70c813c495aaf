"""Largest eigenvalues and singular values of sparse matrices, dense when small, ARPACK when large."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from threadpoolctl import ThreadpoolController

from .registry import Undefined

__all__ = ["largest_eigenvalues", "top_singular_values"]

Product = Callable[[np.ndarray], np.ndarray]

DENSE_SIZE = 400
# Relative residual; it bounds the relative error of an eigenvalue, which is far smaller still.
TOLERANCE = 1e-6


def largest_eigenvalues(size: int, product: Product, count: int, *, which: str = "LM") -> np.ndarray:
    """The `count` extreme eigenvalues of a symmetric matrix, given as its product with a vector, extreme first.

    A Krylov method may see only one of several equal eigenvalues. So what it found is removed from the
    matrix and the rest searched again, until nothing larger than the last of the `count` is left.

    Parameters
    ----------
    size
        Rows of the matrix.
    product
        Maps an array (size,) or (size, m) to the matrix times it.
    count
        How many; at most `size` are returned.
    which
        ``"LM"``, largest in magnitude, or ``"LA"``, largest; of the latter only one can be asked for.

    Returns
    -------
    array
        (count,), or (size,) of a smaller matrix.

    Raises
    ------
    Undefined
        When ARPACK does not converge, or leaves a residual above its tolerance.
    """
    # ARPACK's vector operations are too small for threads: on a busy machine these cost ten times the work.
    with _thread_pools().limit(limits=1, user_api="blas"):
        return _largest_eigenvalues(size, product, count, which)


def _largest_eigenvalues(size: int, product: Product, count: int, which: str) -> np.ndarray:
    if size <= DENSE_SIZE:
        values = np.linalg.eigvalsh(product(np.eye(size)))
        return values[::-1][:count] if which == "LA" else _by_magnitude(values)[:count]
    rng = np.random.default_rng(0)
    start = rng.random(size)
    if not product(start).any():
        return np.zeros(count)
    values, vectors = _arpack(size, product, count, which, start)
    while count > 1:

        def rest(x: np.ndarray, values: np.ndarray = values, vectors: np.ndarray = vectors) -> np.ndarray:
            return product(x) - vectors @ (values * (vectors.T @ x).T).T

        scale, least = np.abs(_by_magnitude(values)[[0, count - 1]])
        start = rng.standard_normal(size)
        if np.linalg.norm(rest(start)) <= 1e-10 * scale * np.linalg.norm(start):
            break
        value, vector = _arpack(size, rest, 1, which, start, scale=scale)
        if np.abs(value[0]) <= least + 10 * TOLERANCE * scale:
            break
        values, vectors = np.append(values, value), np.hstack([vectors, vector])
    return _by_magnitude(values)[:count]


def top_singular_values(matrix: sparse.csr_array, count: int) -> np.ndarray:
    """The largest `count` singular values of a float64 CSR matrix, descending; fewer when it has fewer.

    Parameters
    ----------
    matrix
        (rows, columns).
    count
        How many.

    Returns
    -------
    array
        (count,) or shorter.
    """
    small, large = sorted(matrix.shape)
    if small == 0:
        return np.zeros(0)
    if small * large <= DENSE_SIZE**2:
        return np.linalg.svd(matrix.toarray(), compute_uv=False)[:count]
    transposed = matrix.T
    if matrix.shape[0] > matrix.shape[1]:
        matrix, transposed = transposed, matrix
    squares = largest_eigenvalues(small, lambda x: matrix @ (transposed @ x), count)
    return np.sqrt(np.maximum(squares, 0))


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def _by_magnitude(values: np.ndarray) -> np.ndarray:
    return values[np.argsort(-np.abs(values), kind="stable")]


def _arpack(
    size: int, product: Product, count: int, which: str, start: np.ndarray, scale: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=count, which=which, v0=start, tol=TOLERANCE, ncv=20, maxiter=1000)
    except ArpackError as error:
        raise Undefined(f"the eigenvalue iteration did not converge: {error}") from None
    residual = np.linalg.norm(product(vectors) - vectors * values, axis=0).max()
    if residual > 10 * TOLERANCE * max(scale, np.abs(values).max()):
        raise Undefined(f"the eigenvalue iteration left a residual of {residual:.1e}")
    return values, vectors
