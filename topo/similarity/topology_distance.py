"""Topology distance between sparse networks after matching their units (NNSTD).

NNSTD (Liu et al. 2020, "Topological Insights into Sparse Neural Networks", arXiv 2006.14085): units of one layer are
matched by the Hungarian algorithm on the normalised edit distance of their sets of incoming connections,
``|A xor B| / |A or B|`` (0 where both are empty), and the permutation is applied to the inputs of the next layer. A
layer's distance is the mean over its units, a network's the mean over its layers.

Added here: where several layers write the same units (a residual stream), or units have equal inputs, the first layer
alone does not identify them. So every group of units is matched again on all its incoming and outgoing connections
while the other groups stay, and the new matching is kept if the distance falls. The distance is computed in both
directions and the smaller one taken, so that it is symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..errors import InputError
from ..masks import Masks
from .permutable_units import LayerMasks, PermutableUnits, WeightUnits

__all__ = ["Matching", "edit_distances", "nnstd", "nnstd_matrix"]

ROUNDS = 2


@dataclass(frozen=True)
class Matching:
    """Distance of two networks and the matching of their units.

    Attributes
    ----------
    distance
        Mean over the layers, in [0, 1].
    layers
        Distance of every layer.
    match
        For each unit of the first network the unit of the second that is matched to it, int64 (units,).
    """

    distance: float
    layers: dict[str, float]
    match: np.ndarray

    def __repr__(self) -> str:
        return f"Matching(distance={self.distance:.4f})"


def nnstd(first: Masks, second: Masks, permutable: PermutableUnits | None = None, *, rounds: int = ROUNDS) -> Matching:
    """Distance between the masks of two networks of one architecture, whatever the order of their units.

    Parameters
    ----------
    first, second
        Masks of the two networks.
    permutable
        Which units may change places; a chain of the masks in their order when left out.
    rounds
        Most repetitions of matching every group again; 0 gives the published distance.

    Returns
    -------
    Matching
        The distance, that of every layer, and the matching.

    Raises
    ------
    InputError
        The masks are of different shapes, or no chain and no permutable units are given.

    Notes
    -----
    The best matching of all layers at once is not searched: the distance is an upper bound of the smallest one.

    Source: Liu et al., *Topological Insights into Sparse Neural Networks*, arXiv 2006.14085, 2020.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> first = Masks({"a": [[1, 1, 0], [0, 0, 1]], "b": [[1, 0], [1, 1]]})
    >>> nnstd(first, Masks({"a": [[0, 0, 1], [1, 1, 0]], "b": [[0, 1], [1, 1]]})).distance
    0.0
    >>> nnstd(first, Masks({"a": [[1, 1, 0], [0, 0, 1]], "b": [[0, 1], [1, 1]]})).layers
    {'a': 0.0, 'b': 0.5}
    """
    permutable = permutable or PermutableUnits.of_chain(first)
    a, b = bits(first, permutable), bits(second, permutable)
    forward, backward = _Comparison(a, b, permutable, rounds), _Comparison(b, a, permutable, rounds)
    if forward.total <= backward.total:
        best, match = forward, forward.match
    else:
        best, match = backward, np.argsort(backward.match)
    names = [layer.name for layer in permutable.layers]
    return Matching(best.total, dict(zip(names, best.layer_distances.tolist(), strict=True)), match)


def nnstd_matrix(
    masks: Sequence[LayerMasks], permutable: PermutableUnits | None = None, *, rounds: int = ROUNDS
) -> np.ndarray:
    """Distances between all pairs of networks.

    Parameters
    ----------
    masks
        Masks of every network.
    permutable, rounds
        As in `nnstd`.

    Returns
    -------
    array
        float64 (networks, networks), symmetric with zeros on the diagonal.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> nnstd_matrix([Masks({"a": [[1, 0]]}), Masks({"a": [[1, 1]]}), Masks({"a": [[1, 0]]})])[0].tolist()
    [0.0, 0.5, 0.0]
    """
    permutable = permutable or PermutableUnits.of_chain(masks[0])
    networks = [bits(network, permutable) for network in masks]
    distances = np.zeros((len(networks), len(networks)))
    for i, a in enumerate(networks):
        for j, b in enumerate(networks[:i]):
            directions = (a, b), (b, a)
            distances[i, j] = distances[j, i] = min(_Comparison(*d, permutable, rounds).total for d in directions)
    return distances


def bits(masks: LayerMasks, permutable: PermutableUnits) -> list[np.ndarray]:
    """The masks as bool arrays in the order of the layers, the axis of the outputs first.

    Parameters
    ----------
    masks
        Masks of a network.
    permutable
        Units of the network.
    """
    arrays = []
    for layer in permutable.layers:
        mask = np.asarray(masks[layer.name]) if layer.name in masks else None
        if mask is None or np.moveaxis(mask, layer.output_axis, 0).shape != layer.shape:
            raise InputError(
                f"the networks cannot be compared unit by unit: {layer.name!r} has "
                f"{'no mask' if mask is None else f'a mask of shape {mask.shape}'} in one of them."
            )
        arrays.append(np.ascontiguousarray(np.moveaxis(mask, layer.output_axis, 0)))
    return arrays


def edit_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Normalised edit distance of every set of `first` from every set of `second`, float32 (m, n).

    Parameters
    ----------
    first, second
        bool (m, members) and (n, members): the members of each set.

    Returns
    -------
    array
        float32, (m, n).

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
    """The units of the second network matched to those of the first."""

    def __init__(
        self, first: list[np.ndarray], second: list[np.ndarray], permutable: PermutableUnits, rounds: int
    ) -> None:
        self.first, self.second, self.permutable = first, second, permutable
        self.match = np.arange(permutable.count)
        self._match_layer_by_layer()
        self.layer_distances = np.array([self._distance(i, self.match) for i in range(len(first))])
        for _ in range(rounds):
            improved = [self._rematch(group) for group in self.permutable.groups]
            if not any(improved):
                break

    @property
    def total(self) -> float:
        return float(self.layer_distances.mean())

    def _match_layer_by_layer(self) -> None:
        """Match every group on the first layer that writes it."""
        unmatched = list(self.permutable.groups)
        for i, layer in enumerate(self.permutable.layers):
            counts = layer.axes[0].counts
            for group in [g for g in unmatched if counts[g[0]]]:
                self.match[group] = group[linear_sum_assignment(self._incoming_distances(i, layer, group))[1]]
            unmatched = [g for g in unmatched if not counts[g[0]]]

    def _rematch(self, group: np.ndarray) -> bool:
        """Match one group on all layers that it touches; return whether that brought the networks closer."""
        touched: list[int] = []
        cost = np.zeros((len(group), len(group)), dtype=np.float32)
        for i, layer in enumerate(self.permutable.layers):
            if layer.axes[0].counts[group[0]]:
                cost += self._incoming_distances(i, layer, group) / layer.shape[0]
                touched.append(i)
            for axis in range(1, len(layer.axes)):
                if layer.axes[axis].counts[group[0]]:
                    cost += self._outgoing_distances(i, layer, axis, group) / layer.shape[axis]
                    touched.append(i)
        match = self.match.copy()
        match[group] = group[linear_sum_assignment(cost)[1]]
        if np.array_equal(match, self.match):
            return False
        layers = np.unique(touched)
        distances = np.array([self._distance(i, match) for i in layers])
        if distances.sum() >= self.layer_distances[layers].sum() - 1e-9:
            return False
        self.match, self.layer_distances[layers] = match, distances
        return True

    def _incoming_distances(self, i: int, layer: WeightUnits, group: np.ndarray) -> np.ndarray:
        """Distances between the incoming connections of a group's units in one layer, summed over a unit's rows."""
        rows = layer.axes[0].indices_of(group)
        a = self.first[i].reshape(layer.shape[0], -1)
        b = self._ordered(i, layer, self.match, skip=0).reshape(layer.shape[0], -1)
        total = np.zeros((len(group), len(group)), dtype=np.float32)
        for row in rows.T:
            total += edit_distances(a[row], b[row])
        return total

    def _outgoing_distances(self, i: int, layer: WeightUnits, axis: int, group: np.ndarray) -> np.ndarray:
        """Distances between the outgoing connections of a group's units in one layer."""
        columns = layer.axes[axis].indices_of(group)
        b = self._ordered(i, layer, self.match, skip=axis)
        a, b = (np.moveaxis(x, axis, 0)[columns].reshape(len(group), -1) for x in (self.first[i], b))
        return columns.shape[1] * edit_distances(a, b)

    def _ordered(self, i: int, layer: WeightUnits, match: np.ndarray, skip: int | None = None) -> np.ndarray:
        """A mask of the second network with its units in the order of the first's, except along the axis `skip`."""
        mask = self.second[i]
        for axis, units in enumerate(layer.axes):
            if axis != skip and len(units.movable):
                mask = np.take(mask, units.permutation(match), axis=axis)
        return mask

    def _distance(self, i: int, match: np.ndarray) -> float:
        a = self.first[i].reshape(len(self.first[i]), -1)
        b = self._ordered(i, self.permutable.layers[i], match).reshape(a.shape)
        union = (a | b).sum(1)
        return float(np.where(union > 0, (a ^ b).sum(1) / np.maximum(union, 1), 0).mean())
