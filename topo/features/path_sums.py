"""Sums over paths of the products of what their edges carry, however large or small they come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from .graph_view import GraphView

__all__ = ["Edges", "PathSums", "path_sums"]


class Edges(NamedTuple):
    """Edges from a part to another, with what each carries.

    Attributes
    ----------
    source, target
        Numbers of the parts.
    values
        CSR (source size, target size), float64 from 0 up.
    """

    source: int
    target: int
    values: sparse.csr_array


class PathSums(NamedTuple):
    """Sums over paths that end at each node, and over paths that begin there, a part after the other.

    Attributes
    ----------
    forward, backward
        Of each part, an array over its nodes and an exponent: sums are the array times two to the power of it.
    """

    forward: list[tuple[np.ndarray, int]]
    backward: list[tuple[np.ndarray, int]]

    def log2_total(self, view: GraphView) -> float:
        """Binary logarithm of the sum over all paths from input to output nodes; -inf where it is zero.

        Parameters
        ----------
        view
            The graph.

        Returns
        -------
        float
            The logarithm.
        """
        ends = [sums for part, sums in zip(view.parts, self.forward, strict=True) if part.role == "output"]
        return log2_sum((float(values.sum()), exponent) for values, exponent in ends)

    def log2_through(self, edges: Iterable[Edges]) -> float:
        """Binary logarithm of the sum, over edges, of the paths through them with what the edge carries left out.

        Parameters
        ----------
        edges
            Their values do not matter.

        Returns
        -------
        float
            The logarithm; -inf where no path goes through them.
        """
        terms = []
        for source, target, values in edges:
            (before, low), (after, high) = self.forward[source], self.backward[target]
            total = np.repeat(before, np.diff(values.indptr)) @ after[values.indices]
            terms.append((float(total), low + high))
        return log2_sum(terms)


def path_sums(view: GraphView, edges: Sequence[Edges]) -> PathSums:
    """For each node, the sum over paths from the input to it, and over paths from it to the output, of products.

    Parameters
    ----------
    view
        Gives the parts.
    edges
        In the order of the level of their targets.

    Returns
    -------
    PathSums
        In float64, with an exponent a part, so that deep networks neither overflow nor vanish.
    """
    forward = _swept(view, "input", [(e.source, e.target, e.values.T) for e in edges])
    # From the output back, a part is complete once all edges out of it are done: those into the highest levels first.
    backwards = sorted(edges, key=lambda e: -view.parts[e.source].level)
    return PathSums(forward, _swept(view, "output", [(e.target, e.source, e.values) for e in backwards]))


def _swept(
    view: GraphView, role: str, steps: Iterable[tuple[int, int, sparse.csr_array]]
) -> list[tuple[np.ndarray, int]]:
    sums = [(np.full(part.size, float(part.role == role)), 0) for part in view.parts]
    for start, end, matrix in steps:
        values, exponent = sums[start]
        sums[end] = _added(sums[end], (matrix @ values, exponent))
    return sums


def _added(first: tuple[np.ndarray, int], second: tuple[np.ndarray, int]) -> tuple[np.ndarray, int]:
    """The sum of two, its largest value near one."""
    some = [term for term in (first, second) if term[0].any()]
    if not some:
        return first
    exponent = max(e + int(np.frexp(values.max())[1]) for values, e in some)
    return sum((np.ldexp(values, e - exponent) for values, e in some), np.zeros(len(first[0]))), exponent


def log2_sum(terms: Iterable[tuple[float, int]]) -> float:
    """Binary logarithm of the sum of numbers times powers of two.

    Parameters
    ----------
    terms
        Numbers from 0 up, and the exponent of each.

    Returns
    -------
    float
        -inf where all are zero.

    Examples
    --------
    >>> log2_sum([(1.0, 3000), (1.0, 3000)])
    3001.0
    """
    some = [(value, exponent) for value, exponent in terms if value > 0]
    if not some:
        return -np.inf
    most = max(exponent for _, exponent in some)
    return float(np.log2(sum(np.ldexp(value, exponent - most) for value, exponent in some)) + most)
