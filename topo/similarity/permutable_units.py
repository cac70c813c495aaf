"""Which channels and features of a network may change places without changing the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..dag.channel_coupling import CoupledChannels
    from ..masks import Masks

__all__ = ["Axis", "WiredLayer", "Wiring"]

FIXED = -1


class Axis:
    """Units along one axis of a weight, and where each of them is.

    Parameters
    ----------
    units
        Unit of every index, int64 (length,); -1 where the index has its place for good.
    count
        Number of units of the network.
    """

    def __init__(self, units: np.ndarray, count: int) -> None:
        self.units = np.asarray(units, dtype=np.int64)
        self.movable = np.flatnonzero(self.units >= 0)
        here = self.units[self.movable]
        order = np.argsort(here, kind="stable")
        self._sorted = self.movable[order]
        self._start = np.searchsorted(here[order], np.arange(count + 1))
        self._turn = np.empty(len(here), dtype=np.int64)
        self._turn[order] = np.arange(len(here)) - self._start[here[order]]

    @property
    def counts(self) -> np.ndarray:
        """How many indices each unit has, int64 (count,)."""
        return np.diff(self._start)

    def of(self, units: np.ndarray) -> np.ndarray:
        """Indices of units that have equally many, int64 (units, indices of a unit)."""
        return self._sorted[self._start[units][:, None] + np.arange(self.counts[units[0]])]

    def order(self, match: np.ndarray) -> np.ndarray:
        """For every index that of the unit which `match` puts in its place."""
        order = np.arange(len(self.units))
        order[self.movable] = self._sorted[self._start[match[self.units[self.movable]]] + self._turn]
        return order


@dataclass(frozen=True, eq=False)
class WiredLayer:
    """A weight of a network: its name, its shape with the axis that is written first, and the units along each."""

    name: str
    axes: tuple[Axis, ...]
    writes: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.units) for axis in self.axes)


@dataclass(frozen=True, eq=False)
class Wiring:
    """The weights of a network in the order in which they run, and the groups of units that may change places.

    Attributes
    ----------
    layers
        The weights, inputs first.
    groups
        Units of every group, int64: those that the same weights write and read, so that one permutation moves them
        all. A residual stream is one group, whatever adds to it.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> wiring = Wiring.chain(Masks({"a": [[1, 0], [0, 1], [1, 1]], "b": [[1, 0, 1]]}))
    >>> [group.tolist() for group in wiring.groups]
    [[0, 1, 2]]
    """

    layers: tuple[WiredLayer, ...]
    groups: tuple[np.ndarray, ...] = field(default=())
    count: int = 0

    @classmethod
    def of(cls, found: CoupledChannels, masks: Mapping) -> Wiring:
        """The wiring of a traced network (`topo.dag.coupled_channels`), of the weights that have masks.

        Channels that meet in a sum, or in a grouped convolution, are one unit and get one permutation; the features
        that a linear layer reads from a flattened channel move with it. What meets an input or an output stays.
        """
        names = [name for name in found.layers if name in masks] + [n for n in masks if n not in found.layers]
        layers = []
        for name in names:
            fixed = tuple(np.full(length, FIXED) for length in masks[name].shape)
            units = [np.asarray(axis) for axis in found.axes.get(name, fixed)]
            writes = found.layers[name][0].writes if name in found.layers else 0
            units.insert(0, units.pop(writes))
            layers.append(WiredLayer(name, tuple(Axis(axis, found.count) for axis in units), writes))
        group = np.asarray(found.groups())
        return cls._with_groups(layers, [np.flatnonzero(group == g) for g in np.unique(group)], found.count)

    @classmethod
    def chain(cls, masks: Masks) -> Wiring:
        """The wiring of layers that run one after the other, in the order of the masks, each written along axis 0.

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
                    f"the masks are no chain: {name!r} reads {shape[1]} inputs and {len(written)} are written before "
                    "it; give the units of the traced network (topo.dag.coupled_channels)."
                )
            reads = np.repeat(written, repeats)
            last = name == names[-1]
            written = np.full(shape[0], FIXED) if last else np.arange(count, count + shape[0])
            if not last:
                groups.append(written)
                count += shape[0]
            layers.append((name, (written, reads, *(np.full(n, FIXED) for n in shape[2:]))))
        wired = [WiredLayer(name, tuple(Axis(units, count) for units in axes)) for name, axes in layers]
        return cls._with_groups(wired, groups, count)

    @classmethod
    def _with_groups(cls, layers: list[WiredLayer], groups: list[np.ndarray], count: int) -> Wiring:
        """Groups whose units could not change places one for one are left where they are."""
        alike = [
            g
            for g in groups
            if len(g) > 1 and all(len(set(axis.counts[g].tolist())) == 1 for layer in layers for axis in layer.axes)
        ]
        return cls(tuple(layers), tuple(alike), count)

    @property
    def cost(self) -> int:
        """Multiplications of one comparison of all units with all others, about."""
        return sum(layer.shape[0] ** 2 * prod(layer.shape[1:]) for layer in self.layers)
