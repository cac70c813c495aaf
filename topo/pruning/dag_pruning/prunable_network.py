"""What may go from a network, and what is left when it has gone: live arcs, live units, their masks and their cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ...dag.channel_coupling import CoupledChannels
from ...dag.coarsening import coarsen
from ...dag.compaction.zero_branches import ZeroValues
from ...dag.costs import ElementCosts
from ...dag.path_counts import PathCounts
from ...dag.weighted_layers import layers_by_arc
from ...errors import counted
from .concat_columns import slot_columns

__all__ = ["LiveParts", "PrunableNetwork"]


@dataclass(frozen=True, eq=False)
class LiveParts:
    """What is left of a network: live arcs with their path counts, and live units, bool (units,). Never changed.

    Attributes
    ----------
    counts
        Path counts, whose live arcs are those that are left.
    alive
        bool, (units,).
    """

    counts: PathCounts
    alive: np.ndarray

    def __repr__(self) -> str:
        return f"LiveParts({int(self.alive.sum())} of {counted(len(self.alive), 'unit')})"

    def without(self, arcs: Iterable[int] = (), units: Iterable[int] = ()) -> LiveParts:
        """What is left when these go too, and with the arcs all that is then on no path.

        Parameters
        ----------
        arcs
            Places in ``dag.arcs``.
        units
            Numbers of units.

        Returns
        -------
        LiveParts
            A new one.

        Raises
        ------
        InputError
            When no path is left.
        """
        counts, alive = self.counts, self.alive
        arcs, units = list(arcs), list(units)
        if arcs:
            counts = counts.copy()
            counts.drop(arcs)
        if units:
            alive = alive.copy()
            alive[units] = False
        return LiveParts(counts, alive)


class PrunableNetwork:
    """The coarse Dag of a model with its units, and the rules by which arcs go.

    The structural convention holds: an arc that goes contributes exactly nothing, and so does a node that no live path
    passes, whatever constant it would compute. Masks express it. Every parameter that only dead arcs read is masked,
    biases, norm scales and shifts among them; of a dead arc into a concatenation, the columns that read its slot.

    Parameters
    ----------
    channels
        The coupled channels of the model.
    counted
        Names of the parameters whose elements are the weights of the budget; those that are pruned by default unless
        given.
    protected
        Names of parameters whose arcs stay.

    Attributes
    ----------
    channels
        The coupled channels, on the fine Dag; each set of them is a unit.
    dag
        The coarse Dag; arcs are named by their places in ``dag.arcs``.
    layers
        For every arc, the layers that it applies, each with the place of its step.
    element_costs
        What every element of each parameter costs.
    columns
        Arc into a concatenation -> for each weight that reads its slot, which indices of the axis that it reads along
        (bool); arcs of which this cannot be said are missing, and cannot go.
    """

    def __init__(
        self, channels: CoupledChannels, protected: Collection[str] = (), counted: Collection[str] | None = None
    ) -> None:
        self.channels, self.counted = channels, counted
        self.dag = coarsen(channels.dag)
        self.layers = layers_by_arc(self.dag)
        self.element_costs = ElementCosts(self.dag)
        self.parameters = [frozenset(self.dag.parameters(arc)) for arc in self.dag.arcs]
        readers: dict[str, set[int]] = {}
        for place, names in enumerate(self.parameters):
            for name in names:
                readers.setdefault(name, set()).add(place)
        always = self.dag.parameters_behind([v for o in self.dag.outputs for step in o.steps for v in step.values])
        self.readers = {name: arcs for name, arcs in readers.items() if name not in always}
        self.protected = {place for name in protected for place in readers.get(name, ())}
        self.columns = slot_columns(self.dag, self.layers)
        self._zero_values = ZeroValues(self.dag)
        self._known: dict[tuple[int, bool, frozenset[str]], bool] = {}

    def intact(self) -> LiveParts:
        """Nothing gone but what was on no path to begin with."""
        return LiveParts(PathCounts(self.dag), np.ones(self.channels.count, dtype=bool))

    def tied(self, arc: int) -> frozenset[int]:
        """The arcs that go with this one, itself among them: those whose layers share its parameters.

        Parameters
        ----------
        arc
            Place in ``dag.arcs``.

        Returns
        -------
        frozenset
            Of places.
        """
        return self._ties[arc]

    @cached_property
    def _ties(self) -> list[frozenset[int]]:
        group = {place: {place} for place in range(len(self.dag.arcs))}
        using: dict[str, int] = {}
        for place, layers in enumerate(self.layers):
            for name in (n for _, layer in layers for n in (layer.weight, layer.bias) if n is not None):
                first = using.setdefault(name, place)
                if group[first] is not group[place]:
                    group[first] |= group[place]
                    for member in group[place]:
                        group[member] = group[first]
        return [frozenset(group[place]) for place in range(len(self.dag.arcs))]

    def dead_parameters(self, live: Collection[int]) -> set[str]:
        """The parameters that only dead arcs read.

        Parameters
        ----------
        live
            Places of the live arcs.

        Returns
        -------
        set
            Of names.
        """
        return {name for name, places in self.readers.items() if places.isdisjoint(live)}

    def stopped_arcs(self, parts: LiveParts) -> list[int]:
        """The dead arcs that end at live nodes: where something stops to contribute.

        Parameters
        ----------
        parts
            What is left of the network.

        Returns
        -------
        list
            Places in ``dag.arcs``.
        """
        live = set(parts.counts.live)
        nodes = self._live_nodes(parts)
        return [a for a, arc in enumerate(self.dag.arcs) if a not in live and nodes[arc.target]]

    def _live_nodes(self, parts: LiveParts) -> list[bool]:
        return [f > 0 and b > 0 for f, b in zip(parts.counts.forward, parts.counts.backward, strict=True)]

    def is_sound(self, parts: LiveParts) -> bool:
        """Whether masks can express that the dead arcs contribute nothing, and no protected layer died.

        Parameters
        ----------
        parts
            What is left of the network.

        Returns
        -------
        bool
            Whether the network may be left so.
        """
        live = set(parts.counts.live)
        if not self.protected <= live:
            return False
        gone = self.dead_parameters(live)
        nodes = self._live_nodes(parts)
        is_zero = [False] * len(nodes)
        for index, node in enumerate(self.dag.nodes):
            if nodes[index] or node.kind != "sum":
                continue
            into = self.dag.places_into[index]
            is_zero[index] = all(self._brings_zero(a, is_zero, gone) for a in into)
        for place in self.stopped_arcs(parts):
            target = self.dag.nodes[self.dag.arcs[place].target]
            # An operation on several operands needs them all.
            if target.kind == "product":
                return False
            if target.kind == "concat" and place not in self.columns:
                return False
            if target.kind == "sum" and not self._brings_zero(place, is_zero, gone):
                return False
        return True

    def _brings_zero(self, place: int, is_zero: list[bool], gone: set[str]) -> bool:
        arc = self.dag.arcs[place]
        key = (place, is_zero[arc.source], self.parameters[place] & gone)
        if key not in self._known:
            self._known[key] = self._zero_values.brings_zero(arc, is_zero[arc.source], gone)
        return self._known[key]

    def cut_columns(self, parts: LiveParts) -> dict[str, np.ndarray]:
        """Weight -> which indices of the axis that it reads along no live arc fills, bool.

        Parameters
        ----------
        parts
            What is left of the network.

        Returns
        -------
        dict
            Name of a weight -> bool, as long as that axis.
        """
        cut: dict[str, np.ndarray] = {}
        for place in self.stopped_arcs(parts):
            for name, columns in self.columns.get(place, {}).items():
                cut[name] = cut[name] | columns if name in cut else columns
        return cut

    def masks(self, parts: LiveParts, names: Iterable[str]) -> dict[str, Tensor]:
        """Masks of the named weights, and of every other parameter that died.

        Parameters
        ----------
        parts
            What is left of the network.
        names
            Names of weights.

        Returns
        -------
        dict
            Name -> bool mask in the parameter's shape.
        """
        masks = self.channels.masks(torch.from_numpy(parts.alive), names)
        for name, columns in self.cut_columns(parts).items():
            if name in masks:
                axis = self.channels.layers[name][0].reads
                shape = [-1 if d == axis else 1 for d in range(masks[name].ndim)]
                masks[name] = masks[name] & ~torch.from_numpy(columns).view(shape)
        dead = self.dead_parameters(parts.counts.live)
        return masks | {
            name: torch.zeros(value.shape, dtype=torch.bool) for name, value in self.dag.state.items() if name in dead
        }

    def cost(self, parts: LiveParts, budget: str) -> int:
        """What is left: weights of layers, all parameters, or multiply-accumulates of one sample, exactly.

        Parameters
        ----------
        parts
            What is left of the network.
        budget
            ``"weights"``, ``"parameters"`` or ``"macs"``.

        Returns
        -------
        int
            Of all parameters together.
        """
        return sum(self.costs(parts, budget).values())

    def costs(self, parts: LiveParts, budget: str) -> dict[str, int]:
        """The same, of every parameter that is left.

        Parameters
        ----------
        parts
            What is left of the network.
        budget
            ``"weights"``, ``"parameters"`` or ``"macs"``.

        Returns
        -------
        dict
            Name of a parameter -> its cost.
        """
        cut = self.cut_columns(parts)
        alive = np.append(parts.alive, True)
        shapes, indices = self._shapes
        kept = [int(np.count_nonzero(alive[index])) for index in indices]
        costs = {}
        for name, total in self.times(parts, budget).items():
            shape, axes = shapes[name]
            for axis, length in enumerate(shape):
                if name in cut and axis == self.channels.layers[name][0].reads:
                    index = indices[axes[axis]] if axes else np.full(length, -1)
                    total *= int(np.count_nonzero(alive[index] & ~cut[name]))
                else:
                    total *= kept[axes[axis]] if axes else length
            costs[name] = round(total)
        return costs

    def times(self, parts: LiveParts, budget: str) -> dict[str, float]:
        """How often the budget counts each element of every parameter that is left.

        Parameters
        ----------
        parts
            What is left of the network.
        budget
            ``"weights"``, ``"parameters"`` or ``"macs"``.

        Returns
        -------
        dict
            Name of a parameter -> how often.
        """
        live = set(parts.counts.live)
        dead = self.dead_parameters(live)
        costs = self.element_costs.of(budget, live)
        if budget == "weights" and self.counted is not None:
            costs = dict.fromkeys(self.counted, 1.0)
        return {name: each for name, each in costs.items() if name not in dead}

    @cached_property
    def _shapes(self) -> tuple[dict[str, tuple[tuple[int, ...], tuple[int, ...]]], list[np.ndarray]]:
        """Shape of every parameter and, when it has units, the number of each axis among the lists of units, which
        follow: many parameters have an axis in common."""
        number: dict[bytes, int] = {}
        indices: list[np.ndarray] = []
        shapes = {}
        for name, value in self.channels.dag.state.items():
            if not isinstance(value, nn.Parameter):
                continue
            axes = []
            for index in self.channels.axes.get(name, ()):
                key = index.numpy().tobytes()
                if key not in number:
                    number[key] = len(indices)
                    indices.append(index.numpy())
                axes.append(number[key])
            shapes[name] = tuple(value.shape), tuple(axes)
        return shapes, indices

    @cached_property
    def unit_levels(self) -> list[tuple[int, str]]:
        """For every unit the level and the name of the first layer that writes it."""
        first: list[tuple[int, str] | None] = [None] * self.channels.count
        for place in sorted(range(len(self.dag.arcs)), key=self.level):
            for _, layer in self.layers[place]:
                axes = self.channels.axes.get(layer.weight)
                if axes is None:
                    continue
                writes = 0 if layer.groups > 1 else layer.writes
                for index, unit in enumerate(axes[writes].tolist()):
                    if unit >= 0 and first[unit] is None:
                        first[unit] = (self.level(place), f"{layer.weight}[{index}]")
        return [entry or (0, f"unit {unit}") for unit, entry in enumerate(first)]

    def level(self, place: int) -> int:
        """The level at which an arc ends.

        Parameters
        ----------
        place
            Place in ``dag.arcs``.

        Returns
        -------
        int
            From 1 up.
        """
        return self.dag.nodes[self.dag.arcs[place].target].level

    def label(self, place: int) -> str:
        """A name for an arc: its last layer, or the nodes it joins.

        Parameters
        ----------
        place
            Place in ``dag.arcs``.

        Returns
        -------
        str
            The name.
        """
        if self.layers[place]:
            return self.layers[place][-1][1].weight.removesuffix(".weight")
        arc = self.dag.arcs[place]
        return f"{self.dag.nodes[arc.source].name} -> {self.dag.nodes[arc.target].name}"
