"""Which channels and features of a network may change places without changing the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
from torch import Tensor

from ..dag.channel_coupling import CoupledChannels
from ..errors import InputError, counted
from ..masks import Masks

__all__ = ["AxisUnits", "LayerMasks", "PermutableUnits", "WeightUnits"]

# Masks by layer, as tensors or as arrays.
LayerMasks = Mapping[str, Tensor] | Mapping[str, np.ndarray]
# Unit of an index that cannot change its place.
FIXED = -1


class AxisUnits:
    """The units along one axis of a weight, and the indices that each of them has there.

    Parameters
    ----------
    units
        Unit of every index, int64 (length,); -1 where the index cannot change its place.
    count
        Number of units of the network.

    Examples
    --------
    >>> axis = AxisUnits(np.array([0, 0, 1, 1]), 2)  # two features of each of two channels
    >>> axis.permutation(np.array([1, 0])).tolist()
    [2, 3, 0, 1]
    """

    def __init__(self, units: np.ndarray, count: int) -> None:
        self.units = np.asarray(units, dtype=np.int64)
        self.movable = np.flatnonzero(self.units >= 0)
        unit_of_index = self.units[self.movable]
        order = np.argsort(unit_of_index, kind="stable")
        self._sorted = self.movable[order]
        self._start = np.searchsorted(unit_of_index[order], np.arange(count + 1))
        # The how-manieth index of its unit every index is.
        self._rank = np.empty(len(unit_of_index), dtype=np.int64)
        self._rank[order] = np.arange(len(unit_of_index)) - self._start[unit_of_index[order]]

    @property
    def counts(self) -> np.ndarray:
        """How many indices each unit has, int64 (count,)."""
        return np.diff(self._start)

    def indices_of(self, units: np.ndarray) -> np.ndarray:
        """Indices of units that have equally many, int64 (units, indices of a unit).

        Parameters
        ----------
        units
            Numbers of units, int64, (units,), at least one.

        Returns
        -------
        array
            int64, (units, indices of a unit).
        """
        return self._sorted[self._start[units][:, None] + np.arange(self.counts[units[0]])]

    def permutation(self, match: np.ndarray) -> np.ndarray:
        """The index that moves to every index when `match[u]` takes the place of unit `u`, int64 (length,).

        Parameters
        ----------
        match
            For every unit the one that takes its place, int64.

        Returns
        -------
        array
            int64, (length,).
        """
        order = np.arange(len(self.units))
        order[self.movable] = self._sorted[self._start[match[self.units[self.movable]]] + self._rank]
        return order


@dataclass(frozen=True, eq=False)
class WeightUnits:
    """A weight of a network and the units along each of its axes.

    Attributes
    ----------
    name
        Name of the weight.
    axes
        Units along the axes, that of the outputs first.
    output_axis
        Axis of the weight along which its outputs lie.
    """

    name: str
    axes: tuple[AxisUnits, ...]
    output_axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight with the axis of the outputs first."""
        return tuple(len(axis.units) for axis in self.axes)


@dataclass(frozen=True, eq=False)
class PermutableUnits:
    """The units of a network that may change places without changing what it computes.

    Attributes
    ----------
    layers
        The weights in the order in which they run, inputs first.
    groups
        Units of every group, int64: those that the same weights write and read, so that one permutation moves them
        all. A residual stream is one group, whatever adds to it.
    count
        Number of units of the network.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> permutable = PermutableUnits.of_chain(Masks({"a": [[1, 0], [0, 1], [1, 1]], "b": [[1, 0, 1]]}))
    >>> [group.tolist() for group in permutable.groups]
    [[0, 1, 2]]
    """

    layers: tuple[WeightUnits, ...]
    groups: tuple[np.ndarray, ...] = field(default=())
    count: int = 0

    @classmethod
    def of_channels(cls, channels: CoupledChannels, masks: Masks) -> PermutableUnits:
        """The permutable units of a traced network, along the weights that have masks.

        Channels that meet in a sum, or in a grouped convolution, are one unit and get one permutation; the features
        that a linear layer reads from a flattened channel move with it. Channels of inputs and outputs stay.

        Parameters
        ----------
        channels
            What `topo.dag.coupled_channels` returned for the network.
        masks
            Masks of the network.

        Returns
        -------
        PermutableUnits
            Along every mask.
        """
        names = [name for name in channels.layers if name in masks] + [n for n in masks if n not in channels.layers]
        layers = []
        for name in names:
            fixed = tuple(np.full(length, FIXED) for length in masks[name].shape)
            units = [np.asarray(axis) for axis in channels.axes.get(name, fixed)]
            output_axis = channels.layers[name][0].writes if name in channels.layers else 0
            units.insert(0, units.pop(output_axis))
            layers.append(WeightUnits(name, tuple(AxisUnits(axis, channels.count) for axis in units), output_axis))
        group = np.asarray(channels.groups())
        return cls._with_groups(layers, [np.flatnonzero(group == g) for g in np.unique(group)], channels.count)

    @classmethod
    def of_chain(cls, masks: LayerMasks) -> PermutableUnits:
        """The permutable units of layers that run one after the other, in the order of the masks.

        Parameters
        ----------
        masks
            Masks with their outputs along axis 0 and their inputs along axis 1.

        Returns
        -------
        PermutableUnits
            Along every mask.

        Raises
        ------
        InputError
            A layer does not read what the one before it writes.
        """
        names, count = list(masks), 0
        written = np.full(masks[names[0]].shape[1], FIXED)
        layers, groups = [], []
        for name in names:
            shape = tuple(masks[name].shape)
            repeats, rest = divmod(shape[1], len(written))
            if rest:
                raise InputError(
                    f"the masks are no chain: {name!r} reads {counted(shape[1], 'input')} and "
                    f"{len(written)} {'is' if len(written) == 1 else 'are'} written before it; give the units of the "
                    "traced network (topo.dag.coupled_channels)."
                )
            reads = np.repeat(written, repeats)
            last = name == names[-1]
            written = np.full(shape[0], FIXED) if last else np.arange(count, count + shape[0])
            if not last:
                groups.append(written)
                count += shape[0]
            layers.append((name, (written, reads, *(np.full(n, FIXED) for n in shape[2:]))))
        weights = [WeightUnits(name, tuple(AxisUnits(units, count) for units in axes)) for name, axes in layers]
        return cls._with_groups(weights, groups, count)

    @classmethod
    def _with_groups(cls, layers: list[WeightUnits], groups: list[np.ndarray], count: int) -> PermutableUnits:
        """Without the groups whose units have different numbers of indices, which cannot change places."""
        permutable = [
            g
            for g in groups
            if len(g) > 1 and all(len(set(axis.counts[g].tolist())) == 1 for layer in layers for axis in layer.axes)
        ]
        return cls(tuple(layers), tuple(permutable), count)

    @property
    def cost(self) -> int:
        """About how many multiplications one comparison of all units with all others takes."""
        return sum(layer.shape[0] ** 2 * prod(layer.shape[1:]) for layer in self.layers)
