"""Nodes whose surroundings are shifts of each other, so that what is counted around one holds for all of them.

A convolution joins every position of a channel to positions at the same offsets. Away from the borders, and with a
stride for every phase of it, the lists of neighbours of two positions then differ by an added number alone, and so do
the lists of their neighbours. Which numbers to add follows from the shapes of the parts; whether the lists agree is
read off the lists themselves, so this is exact for every graph: one without such positions has as many classes as
nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ..encoding.parts import Part
from .graph_view import GraphView

__all__ = ["position_classes"]


def position_classes(
    view: GraphView, indptr: np.ndarray, indices: np.ndarray, rank: np.ndarray, joined: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One node of each class, and the size of the class.

    Two nodes of a part are in one class when their neighbours, and those of their neighbours in parts of lower rank,
    are the same but for a shift of the node numbers of each part.

    Parameters
    ----------
    view
        The graph; numba has to be there.
    indptr, indices
        CSR pattern of it, directed or not, with sorted rows.
    rank
        Of each part, int64.
    joined
        bool (parts, parts): whether nodes of the second part can be in lists of nodes of the first.

    Returns
    -------
    tuple
        Nodes, and how many nodes each stands for, int64.
    """
    from .kernels.positions import class_sizes, join_positions, shifted_lists

    stops = view.part_stops
    places = view.part_of, stops - [part.size for part in view.parts], stops
    lower = joined & (rank[None, :] < rank[:, None])
    first = np.arange(view.n_nodes)

    def join(shift: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Join nodes of the given parts, where the shift of all parts around is known; returns these parts."""
        known = (shift > 0) & ~(joined & (shift < 0)).any(axis=1)
        still = (shift == 0) & ~(joined & (shift != 0)).any(axis=1)
        active = among & known & ~(lower & ~(known | still)).any(axis=1)
        if active.any():
            wanted = active | (known & lower[active].any(axis=0))
            shifted = shifted_lists(indptr, indices, *places, shift, wanted)
            join_positions(indptr, indices, *places, rank, shift, active, shifted, first)
        return active

    left = np.ones(len(view.parts), bool)
    for shifts in _shifts(view.parts):
        left &= ~np.any([join(shift, left) for shift in shifts], axis=0)
    # What is left may have lists that are the same without a shift, as before a layer that joins everything.
    for part in np.flatnonzero(left):
        for axis in range(1, len(view.parts[part].shape)):
            join(np.where(np.arange(len(left)) == part, prod(view.parts[part].shape[axis:][1:]), 0), left)
    return class_sizes(first)


def _shifts(parts: tuple[Part, ...]) -> Iterator[list[np.ndarray]]:
    """How far a step along the last axis, and one along the last but one, takes the nodes of each part.

    First the steps of the finest parts, then longer ones, which are whole steps in coarser parts too. 0 in parts of one
    axis, negative where a step is no whole number of positions.
    """
    ratios, units = np.zeros((2, len(parts)), np.int64), np.zeros((2, len(parts)), np.int64)
    for k in (0, 1):
        sizes = np.array([part.shape[-1 - k] if len(part.shape) > 1 else 0 for part in parts])
        spread = sizes > 0
        ratios[k, spread] = np.maximum(1, np.rint(sizes.max(initial=1) / sizes[spread]))
        units[k] = [prod(part.shape[len(part.shape) - k :]) if len(part.shape) > 1 else 0 for part in parts]
    for step in np.unique(ratios[ratios > 0]):
        divisors = np.maximum(ratios, 1)
        yield list(np.where(step % divisors == 0, step // divisors * units, np.where(ratios > 0, -1, 0)))
