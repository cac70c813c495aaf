"""Labels for the elements of every tensor of a network, joined where elements must stay or go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..errors import InputError
from .dag import Dag
from .elements import Output, Step, Value, place_of
from .interpreter import Interpreter
from .maps import AxisMaps, Chain, Gather, LinearMap, Union
from .operators import aten, is_steered_by, operator_of, weight_of
from .parameter_axes import ParameterAxis, parameter_axis, shape_of
from .relations import WeightLookup, map_of
from .weighted_layers import Layer, layer_of

__all__ = ["FIXED", "ChannelLabels"]

FIXED = 0
"""Label of elements that cannot be removed: those of inputs, outputs and what no rule explains."""
CONSTANT = -1
"""Label of elements that do not depend on the input, such as padding."""


class ChannelLabels(Interpreter):
    """The labels of a traced network: values are labels, a label an element, in place of numbers.

    Parameters
    ----------
    dag
        The network, its shapes for one sample.
    choices
        Weight that writes along several of its axes -> which of these has units, counted from the last; one more than
        there are where it only mixes positions. By default the last.

    Attributes
    ----------
    node_values
        For every node of the Dag the label of each of its elements; a tuple of tensors for a product.
    axes
        Parameter or buffer -> for each of its axes the label of every index, None where it has none.
    layers
        Parameter -> the layers that use it as their weight; where these compute theirs from it, by its own axes.
    tables
        Parameters whose rows are looked up.
    held
        Why units cannot be removed, where that is not for an output: what has no rule.
    written
        Weight of a layer -> labels of what it writes.
    written_axes
        Weight of which there are several ways to take it -> how many.
    next
        The first label that is not in use.
    pairs
        Arrays (2, pairs) of labels that are one.
    """

    dag: Dag

    def __init__(self, dag: Dag, choices: Mapping[str, int] | None = None) -> None:
        super().__init__(dag, garbage_collect_values=False)
        self.choices = choices or {}
        self.written: dict[str, Tensor] = {}
        self.written_axes: dict[str, int] = {}
        self.lookup = WeightLookup(dag)
        self.next = 1
        self.pairs: list[Tensor] = []
        self.axes: dict[str, list[Tensor | None]] = {}
        self.layers: dict[str, list[Layer]] = {}
        self.tables: set[str] = set()
        self.held: dict[str, None] = {}
        self.evaluate([torch.full((), FIXED).expand(dag.nodes[index].shape) for index in dag.inputs])

    def follow(self, steps: Sequence[Step], operands: tuple[Tensor, ...]) -> Any:
        """The labels after some steps; one that returns a tuple goes together with the choice of an entry."""
        position = 0
        while position < len(steps):
            taken = 2 if not steps[position].shape and position + 1 < len(steps) else 1
            operands = (self._after(tuple(steps[position : position + taken]), operands),)
            position += taken
        return operands[0] if len(operands) == 1 else operands

    def join(self, node: int, arrived: Mapping[int, Tensor]) -> Any:
        """The labels of a node; in a concatenation every value keeps its own."""
        if self.dag.nodes[node].kind == "concat":
            return self._concatenated(node, arrived)
        if self.dag.nodes[node].kind == "sum":
            shapes = [_shape_before_expansion(self.dag.arcs[place].steps) for place in arrived]
            return self._meeting(list(arrived.values()), shapes, f"{self.dag.nodes[node].name!r}")
        return super().join(node, arrived)

    def _meeting(self, values: Sequence[Tensor], shapes: Sequence[tuple[int, ...] | None], where: str) -> Tensor:
        """The labels of values that meet element by element, each from a tensor of a shape; they become one.

        A value that is repeated along an axis along which another has units of its own, such as a gate or a mask of one
        channel, stays, and these units can go without it.
        """
        size = values[0].ndim
        full = [None if shape is None else (1,) * (size - len(shape)) + tuple(shape) for shape in shapes]
        merged = []
        for value, shape in zip(values, full, strict=True):
            repeated = [] if shape is None else [a for a in range(size) if shape[a] == 1 < value.shape[a]]
            among_units = any(
                (theirs is None or theirs[axis] > 1) and _varies_along(other, axis)
                for axis in repeated
                for other, theirs in zip(values, full, strict=True)
            )
            if among_units and not self._is_made_of(value, values):
                self._hold(value, f"operation {where} uses one number, made of many channels, for all of them")
            else:
                merged.append(value)
        return self.add(merged)

    def _is_made_of(self, value: Tensor, others: Sequence[Tensor]) -> bool:
        """Whether a value that is repeated is made of just what it meets, as a statistic of it is: then they are one
        already, and where they go it goes."""
        component = self.components()
        meets = [torch.broadcast_tensors(value, other) for other in others if other is not value]
        return all(np.array_equal(component[one.numpy()], component[other.numpy()]) for one, other in meets)

    def components(self) -> np.ndarray:
        """For every label, with that of constants last, the number of the set of labels that are one with it."""
        pairs = torch.cat(self.pairs, dim=1).numpy() if self.pairs else np.zeros((2, 0), dtype=np.int64)
        joined = sparse.coo_array((np.ones(pairs.shape[1]), pairs), shape=(self.next, self.next))
        _, component = sparse.csgraph.connected_components(joined, directed=False)
        return np.append(component, -1)

    def add(self, values: Sequence[Tensor]) -> Tensor:
        """The labels of values that meet, which become one."""
        merged = values[0]
        for labels in values[1:]:
            merged = self._join(merged, labels)
        return merged

    def output(self, output: Output) -> Any:
        """What is an output of the network stays."""
        if output.node is None:
            return None
        return self._join(super().output(output), torch.full((), FIXED))

    def _after(self, steps: tuple[Step, ...], slots: tuple[Tensor, ...]) -> Tensor:
        step = steps[0]
        layer = layer_of(self.dag, step) if len(slots) == 1 else None
        layer = None if layer is None else self._by_axes(step, layer, slots[0])
        if layer is not None:
            return self._layer(step, layer, slots[0])
        looked_up = self._table(step)
        if looked_up is not None:
            return looked_up.expand(steps[-1].shape)
        arrived = []
        for slot, labels in enumerate(slots):
            if is_steered_by(step, slot):
                self._hold(labels, f"operation {place_of(step)} reads at places that are computed from them")
                continue
            try:
                element_map = map_of(self.dag, steps, labels.shape, slot, self.lookup, {"masks": "open"})
                arrived.append(self._through(step, element_map, labels))
            except InputError:
                # No rule says what moves where, so nothing that meets here may go.
                if weight_of(step) is not None:
                    self.held[f"no rule says which channels the weight of operation {place_of(step)} writes"] = None
                self._hold(labels, f"no rule says what operation {place_of(step)} does")
                arrived.append(torch.full((), FIXED).expand(steps[-1].shape))
        merged = (
            self._meeting(arrived, step.source_shapes, place_of(step))
            if operator_of(step).pointwise
            else self.add(arrived)
        )
        self._record_values(step, merged)
        return merged

    def _through(self, step: Step, element_map: LinearMap, labels: Tensor) -> Tensor:
        record = operator_of(step)
        if record.comparison:
            return torch.broadcast_to(labels, step.shape)
        if record.statistics is not None:
            groups = 1 if record.groups_at is None else step.args[record.groups_at]
            return self._joined_along(labels, record.statistics(step, labels.ndim), groups)
        return self._moved(element_map, labels)

    def _moved(self, element_map: LinearMap, labels: Tensor) -> Tensor:
        if isinstance(element_map, Gather):
            if element_map.index is None:
                same = labels.shape == torch.Size(element_map.target_shape)
                return labels if same else _compressed(labels.reshape(element_map.target_shape))
            index = torch.from_numpy(np.ascontiguousarray(element_map.index))
            moved = torch.where(index >= 0, labels.reshape(-1)[index.clamp(min=0)], CONSTANT)
            moved = moved.reshape(element_map.target_shape)
            return _compressed(self._filled(moved) if (index < 0).any() else moved)
        if isinstance(element_map, Chain):
            for part in element_map.maps:
                labels = self._moved(part, labels.reshape(part.source_shape))
            return labels
        if isinstance(element_map, Union):
            return self.add([self._moved(part, labels).reshape(element_map.target_shape) for part in element_map.maps])
        if isinstance(element_map, AxisMaps):
            labels = labels.reshape(element_map.source_shape)
            for axis, weight in element_map.maps:
                labels = self._gathered_along(labels, axis, weight.kept)
            return labels.reshape(element_map.target_shape)
        raise InputError("a layer whose weight is not a parameter")

    def _filled(self, labels: Tensor) -> Tensor:
        """Labels for the constants that an operation fills in: those of new channels get new ones, those around or
        between the elements of a channel belong to it."""
        for axis in range(labels.ndim):
            along = labels.movedim(axis, 0).flatten(1)
            new = (along == CONSTANT).all(dim=1)
            shape = [-1 if d == axis else 1 for d in range(labels.ndim)]
            if new.any() and not new.all():
                own = torch.zeros(len(new), dtype=torch.int64)
                own[new] = self._new(int(new.sum()))
                labels = torch.where(new.view(shape), own.view(shape), labels)
                along = labels.movedim(axis, 0).flatten(1)
            largest = along.amax(dim=1)
            smallest = torch.where(along == CONSTANT, largest[:, None], along).amin(dim=1)
            if axis and torch.equal(smallest, largest) and largest.unique().numel() > 1:
                labels = torch.where(labels == CONSTANT, largest.view(shape), labels)
        return labels

    def _gathered_along(self, labels: Tensor, axis: int, reads: Tensor) -> Tensor:
        """Labels of results that each read several elements along an axis: these become one."""
        if labels.shape[axis] == 1 or labels.stride(axis) == 0:
            return _constant_along(labels, axis, reads.shape[0])
        first = reads.int().argmax(dim=1)
        # Rows that read the same are one.
        target, source = (reads[:1] if reads.all() else reads).nonzero(as_tuple=True)
        self._join(labels.index_select(axis, first[target]), labels.index_select(axis, source))
        return _compressed(labels.index_select(axis, first))

    def _joined_along(self, labels: Tensor, axes: Sequence[int], groups: int = 1) -> Tensor:
        """Labels of results that each depend on all elements along some axes, or on those of their group: these become
        one."""
        for axis in axes:
            length = labels.shape[axis] // groups
            group = torch.ones(length, length, dtype=torch.bool)
            labels = self._gathered_along(labels, axis, torch.block_diag(*[group] * groups))
        return labels

    def _layer(self, step: Step, layer: Layer, labels: Tensor) -> Tensor:
        read = self._along(labels, layer.source_axis)
        reads, writes = (parameter_axis(self.dag, layer.weight, axis) for axis in (layer.reads, layer.writes))
        if reads is None or writes is None or reads.name != writes.name:
            # What is removed of such a weight has no place in the parameters that it is computed from.
            self.held[f"the weight of {place_of(step)} is no parameter, nor parts of one that can go alone"] = None
            self._hold(read)
            return torch.full((), FIXED).expand(step.shape)
        self.layers.setdefault(reads.name, []).append(
            replace(layer, weight=reads.name, reads=reads.axis, writes=writes.axis)
        )
        length = step.shape[layer.target_axis]
        if layer.groups == 1:
            self._record(reads, read)
            written = self._known_or_new(writes)
        else:
            # The leading axis of the weight runs over all channels of its side, the other over those of one group.
            leading, inner = (writes, reads) if layer.writes == 0 else (reads, writes)
            written = self._known_or_new(leading) if layer.writes == 0 else self._new(length)
            if layer.writes:
                self._record(leading, read)
            self._record(inner, torch.full((len(inner.places),), FIXED))
            for ends in (read, written):
                blocks = ends.reshape(layer.groups, -1)
                self._join(blocks, blocks[:, :1].expand_as(blocks))
            self._join(read.reshape(layer.groups, -1)[:, 0], written.reshape(layer.groups, -1)[:, 0])
        if layer.bias is not None:
            size = len(shape_of(self.dag, layer.bias))
            own = 0 if size == 1 else layer.target_axis - len(step.shape) + size
            bias = None if own < 0 else parameter_axis(self.dag, layer.bias, own)
            if bias is not None and len(bias.places) == length:
                self._record(bias, written)
        self.written[layer.weight] = written
        places = [1] * len(step.shape)
        places[layer.target_axis] = length
        return written.reshape(places).expand(step.shape)

    def _by_axes(self, step: Step, layer: Layer, labels: Tensor) -> Layer | None:
        """A layer by the axis along which its input has units and, of those that it writes, the one to be tried; None
        where the last resort is to be tried, that what it mixes are positions, whose units stay as they are."""
        mixes = layer.uniform and not operator_of(step).kernel and layer.source_axis < labels.ndim - 1
        if not layer.alternatives and not mixes:
            return layer
        every = (layer, *layer.alternatives)
        axes = list(dict.fromkeys(other.writes for other in every))
        self.written_axes[layer.weight] = len(axes) + mixes
        choice = self.choices.get(layer.weight, 0)
        if choice == len(axes):
            return None
        ways = [other for other in every if other.writes == axes[choice]]
        return next((way for way in ways if _varies_along(labels, way.source_axis)), ways[0])

    def _table(self, step: Step) -> Tensor | None:
        """The labels of the columns of a table whose rows a step looks up; None for other steps."""
        record = operator_of(step)
        table = step.args[record.weights[0]] if record.lookup and record.weights else None
        columns = parameter_axis(self.dag, table.name, 1) if isinstance(table, Value) else None
        if columns is None:
            return None
        self.tables.add(columns.name)
        return self._known_or_new(columns)

    def _hold(self, labels: Tensor, why: str = "") -> None:
        """Keep elements from being removed, and note why if any could be otherwise."""
        if why and (labels != FIXED).any():
            self.held[why] = None
        self._join(labels, torch.full((), FIXED))

    def _known_or_new(self, along: ParameterAxis) -> Tensor:
        known = self.axes.get(along.name)
        labels = None if known is None else known[along.axis]
        if labels is None or (labels[along.places] == CONSTANT).any():
            new = self._new(len(along.places))
            if labels is not None:
                new = torch.where(labels[along.places] == CONSTANT, new, labels[along.places])
            self._record(along, new)
            return new
        return labels[along.places]

    def _new(self, length: int) -> Tensor:
        labels = torch.arange(self.next, self.next + length)
        self.next += length
        return labels

    def _record(self, along: ParameterAxis, labels: Tensor) -> None:
        """Note the labels along an axis of a parameter; those of another use become one with them."""
        shape = self.dag.state[along.name].shape
        axes = self.axes.setdefault(along.name, [None] * len(shape))
        known = axes[along.axis]
        if known is None:
            known = axes[along.axis] = torch.full((shape[along.axis],), CONSTANT)
        before = known[along.places]
        known[along.places] = torch.where(before == CONSTANT, labels, before)
        self._join(before, labels)

    def _record_values(self, step: Step, labels: Tensor) -> None:
        """Parameters and buffers that a step applies along an axis of its result: vectors, and those of more axes where
        only one axis of the result has units."""
        channel_axis = operator_of(step).channel_axis % labels.ndim if labels.ndim > 1 else labels.ndim - 1
        varying = [axis for axis in range(labels.ndim) if _varies_along(labels, axis)]
        for name in step.values:
            shape = shape_of(self.dag, name)
            if len(shape) == 1:
                axis, own = channel_axis, 0
            elif len(varying) == 1 and operator_of(step).pointwise:
                axis, own = varying[0], varying[0] - labels.ndim + len(shape)
            else:
                continue
            if own < 0 or not shape[own] == labels.shape[axis] > 1:
                continue
            along = parameter_axis(self.dag, name, own)
            if along is not None:
                self._record(along, self._along(labels, axis))

    def _along(self, labels: Tensor, axis: int) -> Tensor:
        """Labels along one axis; those that differ along the others become one."""
        for other in range(labels.ndim):
            if other != axis:
                labels = self._gathered_along(labels, other, torch.ones(1, labels.shape[other], dtype=torch.bool))
        return labels.reshape(-1)

    def _concatenated(self, node: int, arrived: Mapping[int, Tensor]) -> Tensor:
        combine = self.dag.nodes[node].combine
        assert combine is not None
        joined = torch.full(combine.shape, CONSTANT)
        for place, labels in arrived.items():
            slot = self.dag.arcs[place].slot or 0
            read = map_of(self.dag, (combine,), combine.source_shapes[slot], slot, self.lookup, {})
            assert isinstance(read, Gather)
            places = np.arange(labels.numel()) if read.index is None else read.index
            index = torch.from_numpy(places).reshape(combine.shape)
            joined = torch.where(index >= 0, labels.reshape(-1)[index.clamp(min=0)], joined)
        return _compressed(joined)

    def _join(self, left: Tensor, right: Tensor) -> Tensor:
        """Make labels that meet one, and return those of the meeting place; constants take on the other's."""
        left, right = torch.broadcast_tensors(left, right)
        shape = left.shape
        for axis in range(len(shape)):
            if shape[axis] > 1 and left.stride(axis) == right.stride(axis) == 0:
                left, right = left.narrow(axis, 0, 1), right.narrow(axis, 0, 1)
        differ = (left != right) & (left != CONSTANT) & (right != CONSTANT)
        if differ.any():
            keys = (left[differ] * self.next + right[differ]).unique()
            self.pairs.append(torch.stack([keys // self.next, keys % self.next]))
        return torch.where(left == CONSTANT, right, left).expand(shape)


def _shape_before_expansion(steps: Sequence[Step]) -> tuple[int, ...] | None:
    """The shape of what an arc adds to a larger tensor, which its last steps expand and may negate; else None."""
    for step in reversed(steps):
        if step.operation is aten.EXPAND:
            return step.source_shapes[0]
        if not operator_of(step).pointwise:
            break
    return None


def _varies_along(labels: Tensor, axis: int) -> bool:
    return not torch.equal(labels, labels.narrow(axis, 0, 1).expand_as(labels))


def _compressed(labels: Tensor) -> Tensor:
    """The same labels with stride 0 along every axis along which they do not change, so that later steps are quick."""
    shape = labels.shape
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1 and torch.equal(labels, labels.narrow(axis, 0, 1).expand_as(labels)):
            labels = labels.narrow(axis, 0, 1)
    return labels.expand(shape)


def _constant_along(labels: Tensor, axis: int, length: int) -> Tensor:
    shape = list(labels.shape)
    shape[axis] = length
    return labels.narrow(axis, 0, 1).expand(shape)
