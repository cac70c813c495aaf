"""Coupled channels: which channels, heads and features of a network live or die together, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..errors import counted
from .channel_labels import FIXED, ChannelLabels
from .costs import BUDGETS, ElementCosts
from .dag import Dag
from .elements import place_of
from .weight_table import summed_products
from .weighted_layers import Layer

__all__ = ["CoupledChannels", "coupled_channels"]


@dataclass(frozen=True, eq=False)
class CoupledChannels:
    """The coupled channels of a network: sets of channels, heads or features that live and die together.

    One such set is a unit. Removing a unit removes its rows, columns and entries of every parameter that has any.
    Units are numbered from 0 in the order in which their first layer runs.

    Attributes
    ----------
    dag
        The network, its shapes for one sample.
    count
        The number of units.
    axes
        Parameter or buffer -> for each of its axes, the unit of every index, int64 (length of the axis,); -1 where an
        index cannot be removed. Only of those with at least one unit.
    layers
        Parameter -> the layers that use it as their weight; where these compute theirs from it, by its own axes.
    nodes
        For every node of the Dag the unit of each of its elements, int64 of the node's shape; a tuple for a product.
    tables
        Parameters with units whose rows are looked up.
    held
        Why more units cannot be removed, where that is not for an output: what has no rule.

    Examples
    --------
    >>> import torch, topo
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> channels = topo.dag.coupled_channels(topo.trace(net, torch.zeros(1, 4)))
    >>> channels.count, [axis.tolist() for axis in channels.axes["0.weight"]]
    (3, [[0, 1, 2], [-1, -1, -1, -1]])
    """

    dag: Dag
    count: int
    axes: Mapping[str, tuple[Tensor, ...]]
    layers: Mapping[str, tuple[Layer, ...]]
    nodes: tuple[Tensor | tuple[Tensor, ...], ...]
    tables: frozenset[str] = frozenset()
    held: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"CoupledChannels({counted(self.count, 'unit')})"

    def alive(self, name: str, alive: Tensor) -> tuple[Tensor, ...]:
        """For each axis of a parameter, which of its indices stay when the units `alive` (bool (count,)) do.

        Parameters
        ----------
        name
            Name of a parameter whose axes have units.
        alive
            bool, (count,).

        Returns
        -------
        tuple
            One bool tensor for each axis, as long as it.
        """
        return tuple(_lookup(alive, axis) for axis in self.axes[name])

    def masks(self, alive: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Masks of the named parameters that keep what touches no dead unit.

        Parameters
        ----------
        alive
            Units that stay, bool, (count,).
        names
            Names of parameters.

        Returns
        -------
        dict
            Name -> bool mask in the parameter's shape.
        """
        masks = {}
        for name in names:
            if name not in self.axes:
                masks[name] = torch.ones(self.dag.state[name].shape, dtype=torch.bool)
                continue
            mask = torch.ones((), dtype=torch.bool)
            for kept in self.alive(name, alive):
                mask = mask.unsqueeze(-1) & kept
            masks[name] = mask
        return masks

    def sums(self, values: Mapping[str, Tensor], side: str = "both") -> Tensor:
        """Sum over each unit of values given for the parameters' elements, float64 (count,).

        Parameters
        ----------
        values
            Parameter name -> tensor of its shape.
        side
            Of weights: ``"out"`` adds up what writes a unit (the filters and what follows them: biases and norms),
            ``"in"`` what reads it, ``"both"`` both.

        Returns
        -------
        Tensor
            float64, (count,).
        """
        indices: list[Tensor] = []
        sums: list[Tensor] = []
        for name, value in values.items():
            for axis, index in enumerate(self.axes.get(name, ())):
                if side != "both" and (side == "in") != self.is_read_along(name, axis):
                    continue
                others = [d for d in range(value.ndim) if d != axis]
                of_value = value.detach().double()
                indices.append(index)
                sums.append(of_value.sum(others) if others else of_value)
        total = torch.zeros(self.count, dtype=torch.float64)
        # One copy of all sums: each waits for the device.
        along = torch.cat(sums).cpu().split([len(index) for index in indices]) if sums else ()
        for index, part in zip(indices, along, strict=True):
            total.index_add_(0, index[index >= 0], part[index >= 0])
        return total

    def is_read_along(self, name: str, axis: int) -> bool:
        """Whether the axis of a parameter runs over the units that a layer reads, not over those that it writes.

        Parameters
        ----------
        name
            Name of a parameter.
        axis
            One of its axes.

        Returns
        -------
        bool
            False where the parameter is no layer's weight.
        """
        return name in self.layers and self.layers[name][0].reads == axis

    def groups(self) -> Tensor:
        """For every unit the number of its group, int64 (count,): units with members along the same axes of the same
        parameters are of one group, as the channels of a residual stream."""
        touched = np.zeros((sum(map(len, self.axes.values())), self.count), dtype=bool)
        for row, index in zip(touched, (index for axes in self.axes.values() for index in axes), strict=True):
            row[index[index >= 0].numpy()] = True
        # Eight rows a byte, and the bytes of a unit as one key: sorted at once.
        packed = np.ascontiguousarray(np.packbits(touched, axis=0).T)
        keys: np.ndarray = packed.view(f"V{packed.shape[1]}").reshape(-1) if packed.size else np.zeros(self.count)
        _, signature = np.unique(keys, return_inverse=True)
        first = pd.unique(signature)
        order = np.empty(len(first), dtype=np.int64)
        order[first] = np.arange(len(first))
        return torch.from_numpy(order[signature] if self.count else signature)

    def table(self) -> pd.DataFrame:
        """One row per group: how many units it has, and the parameters that write and that read them."""
        group = self.groups()
        written: dict[int, list[str]] = {}
        read: dict[int, list[str]] = {}
        for name, axes in self.axes.items():
            for axis, index in enumerate(axes):
                for number in group[index[index >= 0]].unique().tolist():
                    place = read if self.is_read_along(name, axis) else written
                    if name in self.layers or name in self.tables:
                        place.setdefault(number, []).append(name)
        numbers = group.unique().tolist()
        return pd.DataFrame(
            {
                "group": numbers,
                "units": [int((group == number).sum()) for number in numbers],
                "written_by": [", ".join(written.get(number, [])) for number in numbers],
                "read_by": [", ".join(read.get(number, [])) for number in numbers],
            }
        )

    def costs(self, alive: Tensor) -> dict[str, int]:
        """Parameters, prunable weights, and multiply-accumulates that are left with the units `alive`.

        Parameters
        ----------
        alive
            Units that stay, bool, (count,).

        Returns
        -------
        dict
            ``"parameters"``, ``"weights"`` and ``"macs"``, of one sample.
        """
        kept = {name: self.kept(name, alive) for name in self._element_costs["parameters"]}
        return {
            budget: round(sum(each * kept[name] for name, each in element_costs.items() if name in kept))
            for budget, element_costs in self._element_costs.items()
        }

    def element_costs(self, budget: str) -> Mapping[str, float]:
        """Parameter -> what each of its elements costs.

        Parameters
        ----------
        budget
            One of `topo.dag.costs.BUDGETS`.

        Returns
        -------
        mapping
            Of those that cost anything.
        """
        return self._element_costs[budget]

    def kept(self, name: str, alive: Tensor) -> int:
        """How many elements of a parameter stay when the units `alive` do.

        Parameters
        ----------
        name
            Name of a parameter.
        alive
            Units that stay, bool, (count,).

        Returns
        -------
        int
            All of them, where it has no units.
        """
        if name not in self.axes:
            return self.dag.state[name].numel()
        return prod(int(kept.sum()) for kept in self.alive(name, alive))

    @cached_property
    def _element_costs(self) -> dict[str, dict[str, float]]:
        costs = ElementCosts(self.dag)
        return {budget: costs.of(budget) for budget in BUDGETS}


def _lookup(alive: Tensor, index: Tensor) -> Tensor:
    """`alive` by unit; what belongs to none stays."""
    return torch.cat([alive.cpu(), torch.tensor([True])])[index]


def coupled_channels(dag: Dag) -> CoupledChannels:
    """Find the coupled channels of a traced network.

    Every element of every tensor gets a label. A layer gives its output channels new ones; everything else passes
    labels on as it passes elements on (`topo.dag.relations`), and where two meet, in a sum, in a product of
    activations, in a statistic, they become one. What meets an input or an output of the network cannot be removed.
    Groups of a grouped convolution stay or go together.

    Parameters
    ----------
    dag
        Traced by `topo.trace`, not coarsened.

    Returns
    -------
    CoupledChannels
        Its units are numbered in the order in which their first layer runs.
    """
    labels, component = _labelled(dag.single())
    removable = np.flatnonzero((component != component[FIXED]) & (component >= 0))
    first = pd.unique(component[removable])
    number = np.full(component.max() + 2, -1)
    number[first] = np.arange(len(first))
    unit = torch.from_numpy(number[component])
    axes = {
        name: tuple(
            torch.full((length,), -1) if along is None else unit[along]
            for along, length in zip(named, labels.dag.state[name].shape, strict=True)
        )
        for name, named in labels.axes.items()
    }
    axes = {name: named for name, named in axes.items() if any((axis >= 0).any() for axis in named)}
    return CoupledChannels(
        dag=labels.dag,
        count=len(first),
        axes=axes,
        layers={name: tuple(used) for name, used in labels.layers.items()},
        nodes=tuple(
            tuple(unit[part] for part in node) if isinstance(node, tuple) else _looked_up(unit, node)
            for node in (labels.node_values[index] for index in range(len(labels.dag.nodes)))
        ),
        tables=frozenset(labels.tables.intersection(axes)),
        held=tuple(labels.held) or _held_products(labels.dag),
    )


def _held_products(dag: Dag) -> tuple[str, ...]:
    """Why layers that are written out as products and sums have no units."""
    return tuple(
        f"what operation {place_of(step)} multiplies by {step.values[0]!r} is added up by another operation, of which "
        "no channel can go alone; write it as a product of matrices"
        for step in summed_products(dag)
    )


def _labelled(dag: Dag) -> tuple[ChannelLabels, np.ndarray]:
    """Labels, and the number of the set that each is in; -1 in the last place, for constants.

    A weight that writes along several axes, as by heads and their features, gets units along the last one where several
    of these can go alone, else along the one before; one that multiplies from the left without any mixes positions.
    """
    choices: dict[str, int] = {}
    settled: set[str] = set()
    labels, component = _chosen(dag, choices)
    while further := {w: c for w, c in _further_choices(labels, component, choices).items() if w not in settled}:
        units = _unit_count(component)
        tried = _chosen(dag, choices | further)
        if _unit_count(tried[1]) >= units:
            choices |= further
            labels, component = tried
            continue
        # Together they cost units, such as those that a last layer reads: each by itself.
        for weight, choice in further.items():
            tried = _chosen(dag, choices | {weight: choice})
            if _unit_count(tried[1]) >= _unit_count(component):
                choices[weight] = choice
                labels, component = tried
            else:
                settled.add(weight)
    return labels, component


def _chosen(dag: Dag, choices: Mapping[str, int]) -> tuple[ChannelLabels, np.ndarray]:
    labels = ChannelLabels(dag, choices)
    return labels, labels.components()


def _unit_count(component: np.ndarray) -> int:
    return len(np.unique(component[(component != component[FIXED]) & (component >= 0)]))


def _further_choices(labels: ChannelLabels, component: np.ndarray, choices: Mapping[str, int]) -> dict[str, int]:
    """The next axis of each weight that writes along several, of whose present one at most one unit can go alone."""
    further = {}
    for weight, axes in labels.written_axes.items():
        if weight not in labels.written:
            continue
        units = np.unique(component[labels.written[weight].numpy()])
        few = np.count_nonzero(units != component[FIXED]) < min(2, len(labels.written[weight]))
        if few and choices.get(weight, 0) + 1 < axes:
            further[weight] = choices.get(weight, 0) + 1
    return further


def _looked_up(unit: Tensor, labels: Tensor) -> Tensor:
    """``unit[labels]`` that keeps axes along which all is the same unexpanded."""
    shape = labels.shape
    for axis in range(labels.ndim):
        if labels.stride(axis) == 0:
            labels = labels.narrow(axis, 0, 1)
    return unit[labels].expand(shape)
