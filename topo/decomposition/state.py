"""States of a network in additive normal form: one value for every node of its `Dag`, zero where nothing is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..dag.additive_graph import AdditiveGraph
from ..dag.elements import Step
from ..dag.interpreter import Interpreter
from ..dag.operators import operator_of
from ..errors import counted

__all__ = ["BatchInterpreter", "State", "minus", "plus"]


def plus(a: Any, b: Any) -> Any:
    """The sum of two values of one node; those of a product node are tuples.

    Parameters
    ----------
    a, b
        Tensors, or tuples of tensors, of the same shapes.

    Returns
    -------
    Tensor or tuple
        In their form.
    """
    return tuple(map(plus, a, b)) if isinstance(a, tuple) else a + b


def minus(a: Any, b: Any) -> Any:
    """The difference of two values of one node.

    Parameters
    ----------
    a, b
        Tensors, or tuples of tensors, of the same shapes.

    Returns
    -------
    Tensor or tuple
        In their form.
    """
    return tuple(map(minus, a, b)) if isinstance(a, tuple) else a - b


class BatchInterpreter(Interpreter):
    """The functions of the arcs of a network for one batch, also where some arcs or values of nodes are missing.

    What a concatenation or a product would read from an arc that brings nothing is zero, and so is the value of a node
    that has none.

    Parameters
    ----------
    dag
        The network.
    inputs
        The batch, a tensor for every input node.
    state
        Parameters and buffers by name; those of the traced model by default.

    Raises
    ------
    InputError
        When the inputs do not fit the network.
    """

    def __init__(self, dag: AdditiveGraph, inputs: Sequence[Tensor], state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(dag, state=state)
        dag.check_inputs(inputs)
        self.inputs = tuple(inputs)
        self.start(self.inputs)

    def step(self, step: Step, operands: tuple[Any, ...]) -> Any:
        """The result of one operation, whose operands need not lie in memory as the network lays them out."""
        return super().step(_any_layout(step), operands)

    def operands(self, node: int) -> tuple[Any, ...]:
        """What an arc that starts at `node` reads; zero where the node has no value."""
        return self.as_operands(node, self.node_values[node] if node in self.node_values else self.zero(node))

    def join(self, node: int, arrived: Mapping[int, Any]) -> Any:
        """What `node` becomes when only these arcs bring it values: their sum, or their slots with zeros elsewhere.

        A constant entry of a concatenation comes with the arc into its first slot.
        """
        if self.dag.nodes[node].kind == "sum":
            return self.add(list(arrived.values()))
        by_slot = {self.dag.arcs[place].slot: value for place, value in arrived.items()}
        count = len(self.dag.places_into[node])
        entries = tuple(by_slot[slot] if slot in by_slot else self.zero_slot(node, slot) for slot in range(count))
        combine = self.dag.nodes[node].combine
        if combine is None:
            return entries
        value = self.step(combine, entries)
        if combine.values and 0 not in by_slot:
            value = value - self.step(combine, tuple(map(torch.zeros_like, entries)))
        return value

    def brought(self, node: int, places: Iterable[int], value_at: Callable[[int], Any]) -> Any:
        """What `node` becomes when only the arcs at these places bring it what they make of ``value_at(source)``.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.
        places
            Places in ``dag.arcs`` of arcs into it.
        value_at
            Place of a node -> its value.

        Returns
        -------
        Tensor or tuple
            A value of `node`.
        """
        arcs = self.dag.arcs
        return self.join(
            node, {p: self.arc(p, self.as_operands(arcs[p].source, value_at(arcs[p].source))) for p in places}
        )

    def zero(self, node: int) -> Any:
        """The zero of the space of `node`.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.

        Returns
        -------
        Tensor or tuple
            A value of `node`.
        """
        spaces = self._spaces.of_nodes[node]
        return tuple(map(_zeros, spaces)) if self.dag.nodes[node].kind == "product" else _zeros(spaces[0])

    def zero_slot(self, node: int, slot: int) -> Tensor:
        """The zero of what the arc into `slot` of a fusion node brings.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.
        slot
            One of its entries.

        Returns
        -------
        Tensor
            In the shape of that entry.
        """
        return _zeros(self._spaces.of_arcs[node, slot])

    @cached_property
    def _spaces(self) -> _Spaces:
        spaces = _Spaces(self.dag, self.inputs, self._state)
        with torch.no_grad():
            spaces.evaluate(self.inputs)
        return spaces


class _Spaces(BatchInterpreter):
    """Runs the network on a batch and notes shape, type and device of all that it computes."""

    def __init__(self, dag: AdditiveGraph, inputs: Sequence[Tensor], state: Mapping[str, Tensor]) -> None:
        super().__init__(dag, inputs, state)
        self.of_nodes: dict[int, tuple[Facts, ...]] = {
            node: (_facts(leaf),) for node, leaf in zip(dag.inputs, inputs, strict=True)
        }
        self.of_arcs: dict[tuple[int, int], Facts] = {}

    def join(self, node: int, arrived: Mapping[int, Any]) -> Any:
        value = super().join(node, arrived)
        self.of_nodes[node] = tuple(map(_facts, self.as_operands(node, value)))
        for place, part in arrived.items():
            if (slot := self.dag.arcs[place].slot) is not None:
                self.of_arcs[node, slot] = _facts(part)
        return value


Facts: TypeAlias = tuple[torch.Size, torch.dtype, torch.device]


def _any_layout(step: Step) -> Step:
    """The step, a view of memory made a reshape: states need not lie in memory as the network lays them out."""
    operation = operator_of(step).any_layout
    return step if operation is None else replace(step, operation=operation)


def _facts(value: Tensor) -> Facts:
    return value.shape, value.dtype, value.device


def _zeros(facts: Facts) -> Tensor:
    shape, dtype, device = facts
    return torch.zeros(shape, dtype=dtype, device=device)


class State(Mapping[str, Any]):
    """One value for every node, by name, in order of level: a tensor, or a tuple of tensors at a product node.

    Nodes that nothing was written to are zero; their tensors are made when they are read.

    Parameters
    ----------
    batch
        The batch whose node spaces these are.
    order
        The nodes by index, in order of level.
    values
        Values by index of the node.
    """

    def __init__(self, batch: BatchInterpreter, order: Sequence[int], values: Mapping[int, Any]) -> None:
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
        return f"State({counted(len(self), 'node')}, {len(self.values_by_node)} of them written)"

    def at(self, node: int) -> Any:
        """The value of the node with this index.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.

        Returns
        -------
        Tensor or tuple
            Zero where nothing has been written.
        """
        return self.values_by_node[node] if node in self.values_by_node else self.batch.zero(node)

    def written(self, changes: Mapping[int, Any]) -> State:
        """This state with other values at some nodes.

        Parameters
        ----------
        changes
            Place in ``dag.nodes`` -> value.

        Returns
        -------
        State
            A new one.
        """
        return State(self.batch, self.order, {**self.values_by_node, **changes})

    def flatten(self) -> Tensor:
        """All values in one vector, nodes in order of level."""
        return torch.cat([entry.reshape(-1) for i in self.order for entry in _entries(self.at(i))])

    def unflatten(self, vector: Tensor) -> State:
        """The state with the shapes of this one whose `flatten` is `vector`.

        Parameters
        ----------
        vector
            (entries,).

        Returns
        -------
        State
            A new one.
        """
        values: dict[int, Any] = {}
        start = 0
        for index in self.order:
            value = self.at(index)
            entries = []
            for entry in _entries(value):
                entries.append(vector[start : start + entry.numel()].reshape(entry.shape))
                start += entry.numel()
            values[index] = tuple(entries) if isinstance(value, tuple) else entries[0]
        return State(self.batch, self.order, values)

    def slices(self) -> dict[str, slice]:
        """Where each node's values are in the vector of `flatten`."""
        slices, start = {}, 0
        for name in self:
            size = sum(entry.numel() for entry in _entries(self[name]))
            slices[name] = slice(start, start + size)
            start += size
        return slices


def _entries(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
