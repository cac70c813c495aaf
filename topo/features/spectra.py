"""Largest eigenvalues and singular values of sparse matrices: dense when small, a block Lanczos method when large."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count as count_from

import numpy as np
from scipy import sparse
from threadpoolctl import ThreadpoolController

from .kernels import compiler
from .registry import Undefined

__all__ = ["ROUNDED", "Product", "largest_eigenvalues", "scaled", "symmetric", "top_singular_values"]

Product = Callable[[np.ndarray], np.ndarray]

DENSE_SIZE = 100
# Of the largest eigenvalue: what the error of the wanted ones may be.
TOLERANCE = 1e-9
# The same where products are rounded to float32.
ROUNDED = 1e-7
# Vectors that are kept orthogonal to each other, and how often they may be replaced by the best of their span.
BASIS = 48
MOST_RESTARTS = 200
# Looking at the eigenvalues so far costs as much as a product with a matrix of this size.
SIZE_OF_A_LOOK = 20_000


def largest_eigenvalues(
    size: int,
    product: Product,
    count: int,
    *,
    which: str = "LM",
    copies: int = 2,
    inside: np.ndarray | None = None,
    tolerance: float | None = None,
) -> np.ndarray:
    """The `count` extreme eigenvalues of a symmetric matrix, given as its product with vectors, extreme first.

    A block of vectors is multiplied again and again, and every new block is made orthogonal to all before it; so
    equal eigenvalues are seen as often as the block has vectors. A full basis is replaced by its best Ritz vectors.
    Wu, Simon, *Thick-restart Lanczos method for large symmetric eigenvalue problems*, SIAM J. Matrix Analysis and
    Applications 22 (2000).

    Parameters
    ----------
    size
        Rows of the matrix.
    product
        Maps an array (size, vectors) to the matrix times it.
    count
        How many.
    which
        ``"LM"``, largest in magnitude, or ``"LA"``, largest.
    copies
        How many of equal eigenvalues matter.
    inside
        bool (size,): a set of rows and columns that no entry joins to others, and the only ones to look at.
    tolerance
        Of the largest eigenvalue, what the error may be; larger where products are rounded to float32.

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
        unit = np.eye(size) if inside is None else np.eye(size)[:, inside]
        image = product(unit) if inside is None else product(unit)[inside]
        return _by(np.linalg.eigvalsh(image), which)[:count]
    # Products of narrow matrices are too small for threads: on a busy machine these cost ten times the work.
    with _thread_pools().limit(limits=1, user_api="blas"):
        width = min(count, copies)
        tolerance = TOLERANCE if tolerance is None else tolerance
        try:
            found = _block_lanczos(size, product, count, which, width, inside, seed=0, tolerance=tolerance)
        except Undefined:
            # Another start, in a block that sees more of what lies close together.
            found = _block_lanczos(size, product, count, which, width + 2, inside, seed=1, tolerance=tolerance)
    return np.concatenate([found, np.zeros(max(0, min(count, size) - len(found)))])


def _block_lanczos(
    size: int,
    product: Product,
    count: int,
    which: str,
    width: int,
    inside: np.ndarray | None,
    seed: int,
    tolerance: float,
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # A positive vector is never orthogonal to the leading one of a non-negative matrix.
    start = np.vstack([rng.random(size), rng.standard_normal((width - 1, size))])
    if inside is not None:
        start *= inside
    basis, projected = np.empty((BASIS, size)), np.zeros((BASIS, BASIS))
    block, _ = _orthonormal(start, 0.0)
    last = filled = 0
    scale = 0.0
    pause = 3 if size > SIZE_OF_A_LOOK else 6
    for _ in range(MOST_RESTARTS):
        for step in count_from(1):
            stop = filled + len(block)
            basis[filled:stop] = block
            rest = np.ascontiguousarray(product(np.ascontiguousarray(block.T)).T)
            length = float(np.linalg.norm(rest, axis=1).max())
            scale = max(scale, length)
            # In exact arithmetic the last two blocks are all that there is to take out. The pass over the whole basis
            # keeps rounding from growing, which it would manifold a step behind a far eigenvalue.
            near = _without(basis[last:stop], rest)
            taken = _without(basis[:stop], rest)
            taken[last:] += near
            block, coupling = _orthonormal(rest, 1e-12 * scale)
            if len(block) and np.linalg.norm(coupling, axis=1).min() < 1e-3 * length:
                # A short direction was blown up together with what was left of the basis in it.
                _without(basis[:stop], block)
                block, again = _orthonormal(block, 1e-3)
                coupling = again @ coupling
            projected[:stop, filled:stop] = taken
            projected[filled:stop, :stop] = taken.T
            last, filled = filled, stop
            full = filled + len(block) > BASIS
            if full or not len(block) or step % pause == 0:
                values, vectors = _ritz(projected[:filled, :filled], which)
                ends = coupling @ vectors[last:filled]
                if not len(block) or _converged(values, np.linalg.norm(ends, axis=0), count, tolerance):
                    return values[:count]
            if full:
                break
            projected[filled : filled + len(block), last:filled] = coupling
            projected[last:filled, filled : filled + len(block)] = coupling.T
        kept = min(count + 2 * width, filled - 1)
        basis[:kept] = vectors[:, :kept].T @ basis[:filled]
        projected[:] = 0.0
        projected[:kept, :kept] = np.diag(values[:kept])
        last, filled = 0, kept
        projected[filled : filled + len(block), :filled] = ends[:, :kept]
        projected[:filled, filled : filled + len(block)] = ends[:, :kept].T
    raise Undefined("the eigenvalue iteration did not converge, from two different starts")


def _without(basis: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take the span of the basis out of the rows, in place; returns what was taken, (basis, rows)."""
    taken = basis @ rows.T
    rows -= taken.T @ basis
    return taken


def _orthonormal(rows: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal rows, and the matrix C so that C^T times them is `rows`; directions shorter than `floor` are gone."""
    squares, rotation = np.linalg.eigh(rows @ rows.T)
    kept = squares > floor * floor
    lengths = np.sqrt(squares[kept])[:, None]
    turned = rotation[:, kept].T
    return (turned @ rows) / lengths, turned * lengths


def _ritz(projected: np.ndarray, which: str) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(projected)
    order = np.argsort(-np.abs(values) if which == "LM" else -values, kind="stable")
    return values[order], vectors[:, order]


def _converged(values: np.ndarray, residuals: np.ndarray, count: int, tolerance: float) -> bool:
    """Whether the first `count` Ritz values are exact to the tolerance.

    The error of a group of them is at most their residual, and about its square over the gap behind the group. A
    cluster that holds the last wanted value is taken whole, so that the gap is the one behind the cluster.
    """
    allowed = tolerance * np.abs(values[0])
    square = np.cumsum(residuals**2)
    for k in range(count, min(len(values), count + 6)):
        gap = np.abs(values[:k, None] - values[None, k:]).min()
        if square[k - 1] <= max(allowed**2, allowed * gap):
            return True
    return False


def symmetric(directed: sparse.csr_array) -> Product:
    """The product of A + A^T with vectors.

    Parameters
    ----------
    directed
        A, square CSR, float32.

    Returns
    -------
    callable
        Maps float64 (rows, vectors) to the same shape.
    """
    if compiler.available():
        from .kernels.products import symmetric_product

        def product(x: np.ndarray) -> np.ndarray:
            if x.shape[1] in (1, 2):
                y = np.empty_like(x)
                symmetric_product(directed.indptr, directed.indices, directed.data, x, y)
                return y
            return directed @ x + directed.T @ x

        return product
    forward = directed.astype(np.float64)
    backward = forward.T
    return lambda x: forward @ x + backward @ x


def _gram(matrix: sparse.csr_array) -> Product:
    """The product of B^T B with vectors."""
    if compiler.available():
        from .kernels.products import gram_product

        def product(x: np.ndarray) -> np.ndarray:
            if x.shape[1] in (1, 2):
                y = np.empty_like(x)
                gram_product(matrix.indptr, matrix.indices, matrix.data, x, y)
                return y
            return matrix.T @ (matrix @ x)

        return product
    forward = matrix.astype(np.float64)
    backward = forward.T
    return lambda x: backward @ (forward @ x)


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
    squares = largest_eigenvalues(matrix.shape[1], _gram(matrix), min(count, small), inside=inside)
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
