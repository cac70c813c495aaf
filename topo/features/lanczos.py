"""A block Lanczos method for extreme eigenvalues of large symmetric matrices."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from scipy.linalg.blas import dgemm

from .registry import Undefined

__all__ = ["Product", "block_lanczos"]

Product = Callable[[np.ndarray, np.ndarray], object]
"""Writes the products of a symmetric matrix with the rows of the first array, (vectors, size), to the second."""

# Vectors that are kept: as many as make so many numbers, within limits. Then the best of their span replace them.
NUMBERS = 1 << 23
FEWEST, MOST = 48, 160
MOST_RESTARTS = 200
# Of the largest eigenvalue.
MOST_RESIDUAL = 1e-6
# The random part of a vector that is known to be near.
RANDOM = 0.05
ROUNDING = float(np.finfo(np.float64).eps)
# Eigenvalues are exact to about the square of the largest cosine of two vectors of the basis.
MOST_COSINE = 1e-7
# Looking at the eigenvalues so far costs as much as a product with a matrix of this size.
SIZE_OF_A_LOOK = 20_000
PIECE = 1 << 13

_kept = threading.local()


def block_lanczos(
    size: int,
    product: Product,
    count: int,
    *,
    which: str,
    width: int,
    inside: np.ndarray | None,
    seed: int,
    tolerance: float,
    near: np.ndarray | None = None,
    rounding: float = ROUNDING,
) -> np.ndarray:
    """The extreme eigenvalues of a symmetric matrix, seen as often as they are there up to `width` times.

    A block of vectors is multiplied again and again, and every new block is made orthogonal to the two before it. In
    exact arithmetic it is then orthogonal to all others. How far rounding takes it from there follows the recurrence of
    the blocks themselves, and when it has gone too far two blocks are made orthogonal to the whole basis. A full basis
    is replaced by its best Ritz vectors.

    Simon, *The Lanczos algorithm with partial reorthogonalization*, Mathematics of Computation 42 (1984); Wu, Simon,
    *Thick-restart Lanczos method for large symmetric eigenvalue problems*, SIAM J. Matrix Analysis and Applications 22
    (2000).

    Parameters
    ----------
    size
        Rows of the matrix.
    product
        Of the matrix with vectors.
    count
        How many.
    which
        ``"LM"``, largest in magnitude, or ``"LA"``, largest.
    width
        Vectors of a block.
    inside
        bool (size,): a set of rows and columns that no entry joins to others, and the only ones to look at.
    seed
        Of the vectors to start from.
    tolerance
        Of the largest eigenvalue, what the error may be.
    near
        A positive vector (size,) that is large where the wanted eigenvectors are, if one is known.
    rounding
        The relative error of products.

    Returns
    -------
    array
        (count,), or shorter where the vectors to start from span a smaller space with what they are mapped to.

    Raises
    ------
    Undefined
        When the iteration does not converge.
    """
    rng = np.random.default_rng(seed)
    # A positive vector is never orthogonal to the leading one of a non-negative matrix.
    start = np.vstack([rng.random(size), rng.standard_normal((width - 1, size))])
    if near is not None:
        start[0] = 1 + RANDOM * start[0]
        start *= near
    if inside is not None:
        start *= inside
    space = _Space(start, min(max(FEWEST, NUMBERS // size), MOST), rounding)
    steps, restarts = 0, 0
    look = pause = 3 if size > SIZE_OF_A_LOOK else 6
    while restarts < MOST_RESTARTS:
        space.grow(product)
        steps += 1
        if steps < look and not space.is_full and len(space.block):
            continue
        look = steps + max(pause, steps // 8)
        values, vectors = space.ritz(which)
        if not len(space.block) or _converged(values, space.residuals(vectors), count, tolerance):
            return values[:count]
        if space.is_full:
            space.restart(values, vectors, min(count + 2 * width + space.most // 24, space.filled - 1))
            restarts += 1
    raise Undefined("the eigenvalue iteration did not converge, from two different starts")


class _Space:
    """An orthonormal basis, the matrix projected on it, and the block of vectors that comes next."""

    def __init__(self, start: np.ndarray, most: int, rounding: float) -> None:
        width, size = start.shape
        self.most = most
        self.rounding = 8 * rounding
        self.projected = np.zeros((most, most))
        # What the inner products of the basis are at most, as far as rounding can be followed.
        self.cosines = np.eye(most)
        # The next block stands behind the basis.
        self.rows = _memory(most + width, size)
        self.rest = np.empty((width, size))
        self.kept = self.previous = self.filled = 0
        self.coupling = np.zeros((0, width))
        self._follow(start, start @ start.T, 0.0)
        self.scale = 0.0
        # Whether the next block has to be made orthogonal to the whole basis.
        self.loose = True

    @property
    def basis(self) -> np.ndarray:
        """Orthonormal rows."""
        return self.rows[: self.filled]

    @property
    def block(self) -> np.ndarray:
        """The rows that come next; none, where the matrix maps the basis to its own span."""
        return self.rows[self.filled : self.filled + len(self.coupling)]

    @property
    def is_full(self) -> bool:
        """Whether the basis has no place for the block."""
        return self.filled + len(self.block) > self.most

    def grow(self, product: Product) -> None:
        """Take the block into the basis, and make the next of what the matrix maps it to."""
        stop = self.filled + len(self.block)
        near, here = slice(self.previous, stop), slice(self.filled, stop)
        if self.filled:
            coupled = slice(self.previous, self.filled)
            self.projected[here, coupled] = self.coupling
            self.projected[coupled, here] = self.coupling.T
        rest = self.rest[: len(self.block)]
        product(self.block, rest)
        taken = _without(self.rows[near], rest)
        if self.loose:
            taken += _without(self.rows[:stop], rest)[near]
        elif self.kept:
            # Rounding brings back first what an iteration has found.
            _without(self.rows[: self.kept], rest)
        squares = rest @ rest.T
        length = float(np.sqrt((np.diag(squares) + np.sum(taken**2, axis=0)).max()))
        self.scale = max(self.scale, length)
        self.projected[near, here] = taken
        self.projected[here, near] = taken.T
        before, self.filled = slice(0, self.filled), stop
        self._follow(rest, squares, 1e-12 * self.scale)
        if len(self.block):
            lengths = np.linalg.norm(self.coupling, axis=1)
            cosines = np.full((stop, len(lengths)), ROUNDING)
            if not self.loose:
                cosines = self._cosines(before, near, here, lengths)
            # A short direction was blown up together with what was left of the basis in it.
            short = lengths.min() < 1e-3 * length
            self.loose = short or bool(np.abs(cosines).max() > MOST_COSINE)
            if self.loose:
                block, coupling = self.rest[: len(lengths)], self.coupling
                block[:] = self.block
                _without(self.basis, block)
                self._follow(block, block @ block.T, 1e-3)
                self.coupling = self.coupling @ coupling
                cosines = np.full((stop, len(self.block)), ROUNDING)
            if not self.is_full:
                after = slice(stop, stop + len(self.block))
                self.cosines[:stop, after] = cosines
                self.cosines[after, :stop] = cosines.T
        self.previous = here.start

    def _cosines(self, before: slice, near: slice, here: slice, lengths: np.ndarray) -> np.ndarray:
        """The inner products of the new block with the basis, (basis, block), from those of the blocks before it."""
        far = np.zeros((here.stop, len(lengths)))
        mapped = self.projected[before, : here.stop] @ self.cosines[: here.stop, here]
        left = mapped - self.cosines[before, near] @ self.projected[near, here]
        far[before] = left @ (self.coupling.T / lengths**2)
        far[near] = far[: self.kept] = 0.0  # these were taken out
        rounding = self.rounding * self.scale / lengths
        return far + np.where(far < 0, -rounding, rounding)

    def _follow(self, rows: np.ndarray, squares: np.ndarray, floor: float) -> None:
        """Make the next block an orthonormal basis of the span of the rows, without directions below `floor`.

        `squares` is rows @ rows.T. The coupling C is such that C^T times the block is `rows`.
        """
        values, rotation = np.linalg.eigh(squares)
        kept = values > floor * floor
        lengths, turned = np.sqrt(values[kept])[:, None], rotation[:, kept].T
        self.coupling = turned * lengths
        np.matmul(turned / lengths, rows, out=self.block)

    def ritz(self, which: str) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of the projected matrix, extreme first, and its eigenvectors."""
        values, vectors = np.linalg.eigh(self.projected[: self.filled, : self.filled])
        order = np.argsort(-np.abs(values) if which == "LM" else -values, kind="stable")
        return values[order], vectors[:, order]

    def residuals(self, vectors: np.ndarray) -> np.ndarray:
        """How far the matrix maps each Ritz vector from its multiple."""
        return np.linalg.norm(self.coupling @ vectors[self.previous : self.filled], axis=0)

    def restart(self, values: np.ndarray, vectors: np.ndarray, kept: int) -> None:
        """Keep the first Ritz vectors in place of the basis."""
        found, block = vectors[:, :kept].T @ self.basis, self.block.copy()
        found += (np.eye(kept) - found @ found.T) @ found / 2
        _without(found, block)
        self.coupling = self.coupling @ vectors[self.previous : self.filled, :kept]
        self.rows[:kept] = found
        self.rows[kept : kept + len(block)] = block
        self.projected[:] = 0.0
        self.projected[:kept, :kept] = np.diag(values[:kept])
        self.cosines[:] = np.eye(self.most)
        self.kept, self.previous, self.filled = kept, 0, kept
        self.loose = True


def _without(basis: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take the span of the basis out of the rows, in place; returns what was taken, (basis, rows)."""
    # Pieces that fit into fast memory: libraries are slow at long products of few rows.
    taken = np.zeros((len(basis), len(rows)))
    for start in range(0, rows.shape[1], PIECE):
        piece = slice(start, start + PIECE)
        taken += basis[:, piece] @ rows[:, piece].T
    dgemm(-1.0, basis.T, taken, 1.0, rows.T, overwrite_c=True)
    return taken


def _memory(count: int, size: int) -> np.ndarray:
    """Rows of any content; the same memory for every iteration of a thread, for new memory costs as many products."""
    numbers = count * size
    if numbers > 2 * NUMBERS:
        return np.empty((count, size))
    if len(getattr(_kept, "memory", ())) < numbers:
        _kept.memory = np.empty(numbers)
    return _kept.memory[:numbers].reshape(count, size)


def _converged(values: np.ndarray, residuals: np.ndarray, count: int, tolerance: float) -> bool:
    """Whether the first `count` Ritz values are exact to the tolerance.

    The error of a group of them is at most their residual, and about its square over the gap behind the group. A
    cluster that holds the last wanted value is taken whole, so that the gap is the one behind the cluster. Whether
    the values so far are those of the whole cluster is not known before the residual is smaller than its width, so the
    residual has to be small in any case.
    """
    allowed = tolerance * np.abs(values[0])
    square = np.cumsum(residuals**2)
    least = (max(MOST_RESIDUAL, tolerance) * values[0]) ** 2
    for k in range(count, min(len(values), count + 6)):
        gap = np.abs(values[:k, None] - values[None, k:]).min()
        if square[k - 1] <= min(least, max(allowed**2, allowed * gap)):
            return True
    return False
