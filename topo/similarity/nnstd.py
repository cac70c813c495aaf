"""Topology distance between sparse networks whose units are matched first.

NNSTD (Liu et al. 2020, "Topological Insights into Sparse Neural Networks", arXiv 2006.14085): units of one layer are
matched by the Hungarian algorithm on the normalised edit distance of their sets of incoming connections,
``|A xor B| / |A or B|`` (0 where both are empty), and the permutation found is carried on to the inputs of the next
layer. A layer's distance is the mean over its units, a network's the mean over its layers.

What is added here: where several layers write the same units (a residual stream), or units read the same, the first
layer alone does not say which is which. So the groups of units are matched again, each on all that its units read and
are read by while the others stay, and a new matching is kept where the distance falls. Both networks take the part of
the first, and the smaller distance counts, so that it is symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..errors import InputError
from .permutable_units import WiredLayer, Wiring

if TYPE_CHECKING:
    from ..masks import Masks

__all__ = ["Matched", "edit_distances", "nnstd", "nnstd_matrix", "shuffled"]

ROUNDS = 2


@dataclass(frozen=True)
class Matched:
    """Two networks compared: their distance in [0, 1], that of every layer, and for each unit of the first network
    the one of the second that takes its place."""

    distance: float
    layers: dict[str, float]
    match: np.ndarray


def nnstd(first: Masks, second: Masks, wiring: Wiring | None = None, *, rounds: int = ROUNDS) -> Matched:
    """Distance between the masks of two networks of one architecture, whatever the order of their units.

    Parameters
    ----------
    wiring
        Which units may change places; a chain of the masks in their order when left out.
    rounds
        How often every group is matched again at most; 0 gives the published distance.

    Raises
    ------
    InputError
        The masks are of different shapes, or no chain and no wiring is given.

    Notes
    -----
    The best matching of all layers at once is not searched: the distance is an upper bound of the smallest one.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> first = Masks({"a": [[1, 1, 0], [0, 0, 1]], "b": [[1, 0], [1, 1]]})
    >>> nnstd(first, Masks({"a": [[0, 0, 1], [1, 1, 0]], "b": [[0, 1], [1, 1]]})).distance
    0.0
    >>> nnstd(first, Masks({"a": [[1, 1, 0], [0, 0, 1]], "b": [[0, 1], [1, 1]]})).layers
    {'a': 0.0, 'b': 0.5}
    """
    wiring = wiring or Wiring.chain(first)
    one, other = bits(first, wiring), bits(second, wiring)
    there, back = _Comparison(one, other, wiring, rounds), _Comparison(other, one, wiring, rounds)
    best, match = (there, there.match) if there.total <= back.total else (back, np.argsort(back.match))
    return Matched(best.total, dict(zip([w.name for w in wiring.layers], best.each.tolist(), strict=True)), match)


def nnstd_matrix(masks: Sequence[Masks], wiring: Wiring | None = None, *, rounds: int = ROUNDS) -> np.ndarray:
    """Distances between all pairs of networks, float64 (networks, networks), symmetric with zeros in the diagonal.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> nnstd_matrix([Masks({"a": [[1, 0]]}), Masks({"a": [[1, 1]]}), Masks({"a": [[1, 0]]})])[0].tolist()
    [0.0, 0.5, 0.0]
    """
    wiring = wiring or Wiring.chain(masks[0])
    networks = [bits(found, wiring) for found in masks]
    distances = np.zeros((len(networks), len(networks)))
    for i, one in enumerate(networks):
        for j in range(i):
            pair = (one, networks[j]), (networks[j], one)
            distances[i, j] = distances[j, i] = min(_Comparison(*p, wiring, rounds).total for p in pair)
    return distances


def shuffled(masks: Masks, seed: int) -> dict[str, np.ndarray]:
    """Masks with as many connections in every layer, at random places: what density alone makes of a network.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> int(shuffled(Masks({"a": [[1, 0, 0], [0, 0, 1]]}), 0)["a"].sum())
    2
    """
    generator = np.random.default_rng(seed)
    return {n: generator.permutation(np.asarray(m).reshape(-1)).reshape(tuple(m.shape)) for n, m in masks.items()}


def bits(masks: Masks, wiring: Wiring) -> list[np.ndarray]:
    """The masks as arrays in the order of the layers, bool, the axis that is written first."""
    found = []
    for layer in wiring.layers:
        mask = np.asarray(masks[layer.name]) if layer.name in masks else None
        if mask is None or np.moveaxis(mask, layer.writes, 0).shape != layer.shape:
            raise InputError(
                f"the networks cannot be compared unit by unit: {layer.name!r} has "
                f"{'no mask' if mask is None else f'a mask of shape {mask.shape}'} in one of them."
            )
        found.append(np.ascontiguousarray(np.moveaxis(mask, layer.writes, 0)))
    return found


def edit_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Normalised edit distance of every set of `first` from every set of `second`, float32 (m, n).

    Parameters
    ----------
    first, second
        bool (m, members) and (n, members): who is in each set.

    Examples
    --------
    >>> sets = np.array([[1, 1, 0], [0, 0, 0]], dtype=bool)
    >>> edit_distances(sets, np.array([[1, 0, 0], [0, 0, 0]], dtype=bool)).tolist()
    [[0.5, 1.0], [1.0, 0.0]]
    """
    a, b = first.astype(np.float32), second.astype(np.float32)
    shared = a @ b.T
    union = a.sum(1)[:, None] + b.sum(1) - shared
    return np.where(union > 0, 1 - shared / np.maximum(union, 1), 0)


class _Comparison:
    """The second network matched to the first."""

    def __init__(self, first: list, second: list, wiring: Wiring, rounds: int) -> None:
        self.first, self.second, self.wiring = first, second, wiring
        self.match = np.arange(wiring.count)
        self._layer_by_layer()
        self.each = np.array([self._distance(i, self.match) for i in range(len(first))])
        for _ in range(rounds):
            closer = [self._again(group) for group in self.wiring.groups]
            if not any(closer):
                break

    @property
    def total(self) -> float:
        return float(self.each.mean())

    def _layer_by_layer(self) -> None:
        """Every group on the first layer that writes it."""
        left = list(self.wiring.groups)
        for i, layer in enumerate(self.wiring.layers):
            counts = layer.axes[0].counts
            for group in [g for g in left if counts[g[0]]]:
                self.match[group] = group[linear_sum_assignment(self._written(i, layer, group))[1]]
            left = [g for g in left if not counts[g[0]]]

    def _again(self, group: np.ndarray) -> bool:
        """Match one group on all layers that it touches; whether that brought the networks closer."""
        touched, cost = [], 0.0
        for i, layer in enumerate(self.wiring.layers):
            if layer.axes[0].counts[group[0]]:
                cost = cost + self._written(i, layer, group) / layer.shape[0]
                touched.append(i)
            for axis in range(1, len(layer.axes)):
                if layer.axes[axis].counts[group[0]]:
                    cost = cost + self._read(i, layer, axis, group) / layer.shape[axis]
                    touched.append(i)
        match = self.match.copy()
        match[group] = group[linear_sum_assignment(cost)[1]]
        if np.array_equal(match, self.match):
            return False
        touched = np.unique(touched)
        new = np.array([self._distance(i, match) for i in touched])
        if new.sum() >= self.each[touched].sum() - 1e-9:
            return False
        self.match, self.each[touched] = match, new
        return True

    def _written(self, i: int, layer: WiredLayer, group: np.ndarray) -> np.ndarray:
        """Distances between what the units of a group read in one layer, summed over the rows of a unit."""
        rows = layer.axes[0].of(group)
        a = self.first[i].reshape(layer.shape[0], -1)
        b = self._ordered(i, layer, self.match, skip=0).reshape(layer.shape[0], -1)
        return sum(edit_distances(a[rows[:, k]], b[rows[:, k]]) for k in range(rows.shape[1]))

    def _read(self, i: int, layer: WiredLayer, axis: int, group: np.ndarray) -> np.ndarray:
        """Distances between what reads the units of a group in one layer."""
        columns = layer.axes[axis].of(group)
        b = self._ordered(i, layer, self.match, skip=axis)
        a, b = (np.moveaxis(x, axis, 0)[columns].reshape(len(group), -1) for x in (self.first[i], b))
        return columns.shape[1] * edit_distances(a, b)

    def _ordered(self, i: int, layer: WiredLayer, match: np.ndarray, skip: int | None = None) -> np.ndarray:
        """A mask of the second network with its units in the places of the first's, but along the axis `skip`."""
        mask = self.second[i]
        for axis, units in enumerate(layer.axes):
            if axis != skip and len(units.movable):
                mask = np.take(mask, units.order(match), axis=axis)
        return mask

    def _distance(self, i: int, match: np.ndarray) -> float:
        a = self.first[i].reshape(len(self.first[i]), -1)
        b = self._ordered(i, self.wiring.layers[i], match).reshape(a.shape)
        union = (a | b).sum(1)
        return float(np.where(union > 0, (a ^ b).sum(1) / np.maximum(union, 1), 0).mean())
