"""Extreme eigenvalues of large symmetric matrices, one run of the Lanczos method after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count as counting
from itertools import islice
from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.linalg.blas import daxpy

from .registry import Undefined

__all__ = ["Product", "extreme_eigenvalues"]

Product = Callable[[np.ndarray, np.ndarray], object]
"""Writes the product of a symmetric matrix with the first vector to the second, float64 (size,)."""

MOST_STEPS = 20_000
MOST_RUNS = 8
# Vectors of a run are kept as long as they are so many float32 numbers together, and else computed a second time.
NUMBERS = 1 << 25
VECTORS = 28
"""What an iteration takes besides, in vectors, products without edges included."""
# Of the largest eigenvalue.
MOST_RESIDUAL = 1e-6
# Up to what excess of its residual a run waits for the other end of the spectrum.
NEARLY = 1e4
# Between two looks at the eigenvalues so far.
FEWEST_STEPS = 8
# The random part of a vector that is known to be near.
RANDOM = 0.05

NOT_CONVERGED = "the eigenvalue iteration did not converge, from two different starts"

_kept = threading.local()


def extreme_eigenvalues(
    size: int,
    product: Product,
    count: int,
    *,
    which: str,
    seed: int,
    tolerance: float,
    inside: np.ndarray | None = None,
    near: np.ndarray | None = None,
) -> np.ndarray:
    """The extreme eigenvalues of a symmetric matrix, each as often as it is there.

    A run starts from one vector, has three terms and no other orthogonality, and ends when the most extreme eigenvalue
    has converged: until then rounding does it no harm. The next run stays orthogonal to the eigenvectors that were
    found, and so sees a second copy of an eigenvalue as well as the one that comes next.

    Paige, *Accuracy and effectiveness of the Lanczos algorithm for the symmetric eigenproblem*, Linear Algebra and its
    Applications 34 (1980); Parlett, *The symmetric eigenvalue problem* (1998), chapters 5 and 13.

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
    seed
        Of the vectors to start from.
    tolerance
        Of the largest eigenvalue, what the error may be.
    inside
        bool (size,): a set of rows and columns that no entry joins to others, and the only ones to look at.
    near
        A positive vector (size,) that is large where the wanted eigenvectors are, if one is known.

    Returns
    -------
    array
        (count,), extreme first, or shorter where there are fewer.

    Raises
    ------
    Undefined
        When the iteration does not converge.
    """

    def outwards(value: float) -> float:
        return abs(value) if which == "LM" else value

    rng = np.random.default_rng(seed)
    found: list[float] = []
    vectors, again = np.empty((0, size)), np.empty((0, size))
    for _ in range(MOST_RUNS + count):
        if len(again):
            start = again[0]
        else:
            start = rng.standard_normal(size)
            if not found:
                # A positive vector is never orthogonal to the leading one of a non-negative matrix.
                start = rng.random(size) if near is None else 1 + RANDOM * start
            if near is not None:
                start *= near
            if inside is not None:
                start *= inside
            whole = np.linalg.norm(start)
            _take_out(vectors, start)
            if np.linalg.norm(start) <= 1e-10 * whole:
                return np.array(sorted(found, key=outwards, reverse=True))  # nothing is left
        steps = _Steps(product, start, vectors, keep=len(found) < count - 1)
        largest = max((abs(value) for value in found), default=0.0)
        ends = _converged(steps, which, tolerance, largest)
        values = [end.value for end in ends]
        so_far = sorted(found + values, key=outwards, reverse=True)
        # No other eigenvalue is as far out as the first of these.
        if sum(outwards(value) >= outwards(values[0]) for value in so_far) >= count:
            return np.array(so_far[:count])
        new = steps.combined([end.vector for end in ends])
        allowed = 10 * max(MOST_RESIDUAL, tolerance) * max(largest, abs(values[0]))
        good = [_residual(product, *pair, vectors) <= allowed for pair in zip(values, new, strict=True)]
        # Vectors that inexact products gave a second time may differ from those of the first.
        again = np.empty((0, size)) if good[0] else new
        if good[0]:
            vectors = np.concatenate([vectors, new[good]])
            found += [value for value, kept in zip(values, good, strict=True) if kept]
    raise Undefined(NOT_CONVERGED)


class _End(NamedTuple):
    """An end of the spectrum of a tridiagonal matrix."""

    value: float
    vector: np.ndarray
    """The eigenvector, by steps."""
    residual: float
    gap: float
    """To the next eigenvalue."""

    def excess(self, largest: float, tolerance: float) -> float:
        """How many times as large the residual is as it may be.

        The error of the value is at most the residual, and about its square over the gap. Whether the next value so far
        is the next is not known before the residual is small, so it has to be small in any case.
        """
        allowed = tolerance * largest
        most = min(max(MOST_RESIDUAL * largest, allowed), max(allowed, np.sqrt(allowed * self.gap)))
        return self.residual / most if self.residual else 0.0


def _converged(steps: _Steps, which: str, tolerance: float, largest: float) -> list[_End]:
    """The more extreme end of the spectrum, once it has converged, and the other one if it has converged by then."""
    done: dict[int, _End] = {}
    excess, wait = np.inf, FEWEST_STEPS
    while len(steps.diagonal) < MOST_STEPS:
        steps.advance(wait)
        ends = steps.ends(which)
        scale = max(largest, *(abs(end.value) for end in ends))
        for side, end in enumerate(ends):
            if side not in done and (steps.is_over or end.excess(scale, tolerance) <= 1):
                done[side] = end
        first = max(range(len(ends)), key=lambda side: abs(ends[side].value))
        waiting = [end.excess(scale, tolerance) for side, end in enumerate(ends) if side not in done]
        if first in done and all(more > NEARLY for more in waiting):
            return [done[first], *(end for side, end in done.items() if side != first)]
        # The residual falls by about the same factor with every step.
        rate = np.log(excess / waiting[0]) / wait
        excess, wait = waiting[0], max(FEWEST_STEPS, len(steps.diagonal) // 2)
        if 0 < rate < np.inf:
            wait = min(wait, max(FEWEST_STEPS // 2, ceil(np.log(excess) / rate)))
    raise Undefined(NOT_CONVERGED)


class _Steps:
    """The three-term recurrence from one vector: a tridiagonal matrix, and the vectors as far as they are kept."""

    def __init__(self, product: Product, start: np.ndarray, without: np.ndarray, *, keep: bool) -> None:
        self.product = product
        self.start = start
        self.without = without
        self.size = len(start)
        self.diagonal: list[float] = []
        self.beside: list[float] = []
        self.kept = _memory(self.size) if keep else np.empty((0, self.size))
        self.is_over = False
        self._going = self.vectors()

    def advance(self, wanted: int) -> None:
        """Go on for some steps."""
        start = len(self.diagonal)
        for step, vector in enumerate(islice(self._going, wanted), start):
            if step < len(self.kept):
                self.kept[step] = vector

    def vectors(self) -> Iterator[np.ndarray]:
        """The vectors, orthonormal as long as nothing has converged; a second time, the same."""
        now, image = self.start / np.linalg.norm(self.start), np.empty(self.size)
        before = np.zeros(self.size)
        scale = 0.0
        for step in counting():
            self.product(now, image)
            if step:
                daxpy(before, image, a=-self.beside[step - 1])
            diagonal = float(image @ now)
            daxpy(now, image, a=-diagonal)
            _take_out(self.without, image)
            length = float(np.sqrt(image @ image))
            if step == len(self.diagonal):
                self.diagonal.append(diagonal)
                self.beside.append(length)
                scale = max(scale, abs(diagonal) + length)
                self.is_over = length <= 1e-13 * scale or step == self.size - 1
            yield now
            if self.is_over and step == len(self.diagonal) - 1:
                return
            image *= 1 / self.beside[step]
            before, now, image = now, image, before

    def ends(self, which: str) -> list[_End]:
        """The upper end of the spectrum so far, with ``"LM"`` the lower one too."""
        n = len(self.diagonal)
        diagonal, beside = np.array(self.diagonal), np.array(self.beside)
        found = []
        for sign in (1, -1) if which == "LM" else (1,):
            two = (max(0, n - 2), n - 1)
            values, vectors = eigh_tridiagonal(sign * diagonal, sign * beside[:-1], select="i", select_range=two)
            gap = float(values[-1] - values[0]) if n > 1 else np.inf
            residual = 0.0 if self.is_over else float(beside[-1] * abs(vectors[-1, -1]))
            found.append(_End(sign * float(values[-1]), vectors[:, -1], residual, gap))
        return found

    def combined(self, coefficients: list[np.ndarray]) -> np.ndarray:
        """The sums of the vectors with these coefficients, normalised, (sums, size)."""
        sums = np.zeros((len(coefficients), self.size))
        most = max(len(one) for one in coefficients)
        if most <= len(self.kept):
            for total, one in zip(sums, coefficients, strict=True):
                total[:] = one.astype(np.float32) @ self.kept[: len(one)]
        else:
            for step, vector in enumerate(islice(self.vectors(), most)):
                for total, one in zip(sums, coefficients, strict=True):
                    if step < len(one):
                        daxpy(vector, total, a=float(one[step]))
        for total in sums:
            _take_out(self.without, total)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def _residual(product: Product, value: float, vector: np.ndarray, without: np.ndarray) -> float:
    """How far a matrix takes a vector from its multiple, but for known eigenvectors."""
    image = np.empty_like(vector)
    product(vector, image)
    _take_out(without, image)
    return float(np.linalg.norm(image - value * vector))


def _take_out(basis: np.ndarray, vector: np.ndarray) -> None:
    """Make a vector orthogonal to an orthonormal basis, in place."""
    for one in basis:
        daxpy(one, vector, a=-float(one @ vector))


def _memory(size: int) -> np.ndarray:
    """Rows of any content; the same memory for every run of a thread, for new memory costs as much as products."""
    if not hasattr(_kept, "memory"):
        _kept.memory = np.empty(NUMBERS, np.float32)
    rows = NUMBERS // size
    return _kept.memory[: rows * size].reshape(rows, size)
