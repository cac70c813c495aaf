"""States of a network in additive normal form: one value for every node of its `Dag`, zero where nothing is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..dag.dag import Arc, Dag, Step
from ..errors import InputError

__all__ = ["Batch", "State", "minus", "plus"]


def plus(a: Any, b: Any) -> Any:
    """The sum of two values of one node; those of a product node are tuples."""
    return tuple(map(plus, a, b)) if isinstance(a, tuple) else a + b


def minus(a: Any, b: Any) -> Any:
    """The difference of two values of one node."""
    return tuple(map(minus, a, b)) if isinstance(a, tuple) else a - b


class Batch:
    """The functions of the arcs of a `Dag` for one batch of inputs, and the shapes of all its node spaces."""

    def __init__(self, dag: Dag, inputs: Sequence[Tensor], state: Mapping[str, Tensor] | None = None) -> None:
        if len(inputs) != len(dag.inputs):
            raise InputError(f"the network has {len(dag.inputs)} inputs; got {len(inputs)} tensors.")
        for index, leaf in zip(dag.inputs, inputs, strict=True):
            node = dag.nodes[index]
            if tuple(leaf.shape[1:]) != node.shape[1:] or (not dag.symbols and leaf.shape[0] != node.shape[0]):
                samples = "N" if dag.symbols else str(node.shape[0])
                raise InputError(
                    f"input {node.name!r} has shape {tuple(leaf.shape)}; expected "
                    f"({', '.join([samples, *map(str, node.shape[1:])])})."
                )
        self.dag = dag
        self.inputs = tuple(inputs)
        self.values = dag.values(state, dag.sizes(inputs))

    def along(self, arc: Arc, value: Any) -> Any:
        """The arc's function of the value of its source."""
        slots = value if self.dag.nodes[arc.source].kind == "product" else (value,)
        for step in arc.steps:
            value = _any_layout(step).run(slots, self.values)
            slots = (value,)
        return value

    def join(self, node: int, arrived: Sequence[tuple[Arc, Any]]) -> Any:
        """What `node` becomes when only these arcs bring it values: their sum, or their slots with zeros elsewhere.

        A constant entry of a concatenation comes with the arc into its first slot.
        """
        kind, combine = self.dag.nodes[node].kind, self.dag.nodes[node].combine
        if kind == "sum":
            total = arrived[0][1]
            for _, value in arrived[1:]:
                total = total + value
            return total
        found = {arc.slot: value for arc, value in arrived}
        count = len(self.dag.arcs_into[node])
        entries = tuple(found[slot] if slot in found else self.zero_slot(node, slot) for slot in range(count))
        if combine is None:
            return entries
        value = combine.run(entries, self.values)
        if combine.values and 0 not in found:
            zeros = tuple(map(torch.zeros_like, entries))
            value = value - combine.run(zeros, self.values)
        return value

    def zero(self, node: int) -> Any:
        """The zero of the space of `node`."""
        if self.dag.nodes[node].kind == "product":
            return tuple(_zeros(entry) for entry in self._shapes[node])
        return _zeros(self._shapes[node][-1])

    def zero_slot(self, node: int, slot: int) -> Tensor:
        """The zero of what the arc into `slot` of a fusion node brings."""
        return _zeros(self._shapes[node][slot])

    @cached_property
    def _shapes(self) -> list[tuple[Any, ...]]:
        """For every node, shape, type and device of what each slot receives and, unless a product, of its value."""
        z: list[Any] = [None] * len(self.dag.nodes)
        shapes: list[tuple[Any, ...]] = [()] * len(z)
        with torch.no_grad():
            for index, leaf in zip(self.dag.inputs, self.inputs, strict=True):
                z[index], shapes[index] = leaf, (_facts(leaf),)
            for index, arcs in enumerate(self.dag.arcs_into):
                if not arcs:
                    continue
                arrived = [(arc, self.along(arc, z[arc.source])) for arc in arcs]
                z[index] = self.join(index, arrived)
                node = self.dag.nodes[index]
                slots = sorted(arrived, key=lambda pair: pair[0].slot) if node.kind != "sum" else []
                shapes[index] = tuple(_facts(value) for _, value in slots)
                if node.kind != "product":
                    shapes[index] += (_facts(z[index]),)
        return shapes


def _any_layout(step: Step) -> Step:
    """The step, a view of memory made a reshape: states need not lie in memory as the network lays them out."""
    if step.operation in (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default):
        return replace(step, operation=torch.ops.aten.reshape.default)
    return step


def _facts(value: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
    return value.shape, value.dtype, value.device


def _zeros(facts: tuple[torch.Size, torch.dtype, torch.device]) -> Tensor:
    shape, dtype, device = facts
    return torch.zeros(shape, dtype=dtype, device=device)


class State(Mapping[str, Any]):
    """One value for every node, by name, in order of level: a tensor, or a tuple of tensors at a product node.

    Nodes that nothing was written to are zero; their tensors are made when they are read.
    """

    def __init__(self, batch: Batch, order: Sequence[int], values: Mapping[int, Any]) -> None:
        self.batch = batch
        self.order = order
        self.values_by_node = dict(values)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {self.batch.dag.nodes[i].name: i for i in self.order}

    def __getitem__(self, name: str) -> Any:
        return self.at(self._index[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self.order)

    def __repr__(self) -> str:
        return f"State({len(self)} nodes, {len(self.values_by_node)} of them written)"

    def at(self, node: int) -> Any:
        """The value of the node with this index."""
        found = self.values_by_node.get(node)
        return self.batch.zero(node) if found is None else found

    def written(self, changes: Mapping[int, Any]) -> State:
        """This state with other values at some nodes."""
        return State(self.batch, self.order, self.values_by_node | changes)

    def flatten(self) -> Tensor:
        """All values in one vector, nodes in order of level."""
        return torch.cat([entry.reshape(-1) for i in self.order for entry in _entries(self.at(i))])

    def unflatten(self, vector: Tensor) -> State:
        """The state with the shapes of this one whose `flatten` is `vector`."""
        values, start = {}, 0
        for index in self.order:
            mine = self.at(index)
            entries = []
            for entry in _entries(mine):
                entries.append(vector[start : start + entry.numel()].reshape(entry.shape))
                start += entry.numel()
            values[index] = tuple(entries) if isinstance(mine, tuple) else entries[0]
        return State(self.batch, self.order, values)

    def slices(self) -> dict[str, slice]:
        """Where each node's values are in the vector of `flatten`."""
        found, start = {}, 0
        for name in self:
            size = sum(entry.numel() for entry in _entries(self[name]))
            found[name] = slice(start, start + size)
            start += size
        return found


def _entries(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
