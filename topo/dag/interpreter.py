"""Going through a network node by node: the one loop behind all that evaluates a `Dag`, on tensors or other values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..errors import InputError, counted
from .additive_graph import AdditiveGraph
from .elements import Output, Step, Values

__all__ = ["Interpreter"]


class Interpreter:
    """Evaluates a network one node after the other, in the manner of `torch.fx.Interpreter`.

    As it is, it computes what the model computes, bit for bit. Subclasses override what they see differently: `step`,
    one operation; `arc`, all operations of an arc; `add` and `join`, how arcs meet at a node; `output`, an entry of
    the result; `places_into`, which arcs are followed at all. Values need not be tensors: labels of channels, nodes of
    another graph or truth values do as well, once these methods know them. `run` takes what the model takes,
    `evaluate` a value for every input node.

    Parameters
    ----------
    dag
        The network.
    state
        Parameters and buffers by name; those of the traced model by default.
    garbage_collect_values
        Whether the value of a node is dropped as soon as nothing will read it; otherwise `node_values` has all of them
        in the end.

    Attributes
    ----------
    node_values
        The value of every node that has one, by index; at a product node, a tuple of its entries.
    values
        Parameters, buffers and constants by name, for the number of samples of the inputs.

    Examples
    --------
    How large is what every operation computes?

    >>> import torch, topo
    >>> class Sizes(Interpreter):
    ...     def step(self, step, operands):
    ...         result = super().step(step, operands)
    ...         print(step.name, tuple(result.shape))
    ...         return result
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> result = Sizes(topo.trace(model, torch.zeros(1, 4))).run(torch.zeros(5, 4))
    linear (5, 3)
    relu (5, 3)
    linear (5, 2)
    """

    def __init__(
        self, dag: AdditiveGraph, *, state: Mapping[str, Tensor] | None = None, garbage_collect_values: bool = True
    ) -> None:
        self.dag = dag
        self.garbage_collect_values = garbage_collect_values
        self.node_values: dict[int, Any] = {}
        self._state = dag.state if state is None else state
        self.values: Values = dag.values(self._state)

    # Running

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The output for inputs as the model takes them, put together as the model returns it.

        Parameters
        ----------
        args, kwargs
            Inputs, as the model takes them.

        Returns
        -------
        object
            In the form in which the model returns it.

        Raises
        ------
        InputError
            When they do not fit the network.
        """
        tensors = self.dag.input_tensors(*args, **kwargs)
        self.start(tensors)
        return self.dag.rebuilt_output(self.evaluate(tensors))

    def start(self, tensors: Sequence[Tensor]) -> None:
        """Set `values` for the number of samples of these inputs.

        Parameters
        ----------
        tensors
            The inputs, in the order of the input nodes.

        Raises
        ------
        InputError
            When the network is for another number of samples.
        """
        if not self.dag.fits(tensors):
            raise InputError(
                f"this network was traced for exactly {counted(self.dag.samples, 'sample')}; trace it again."
            )
        self.values = self.dag.values(self._state, self.dag.sizes(tensors))

    def evaluate(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs, flattened, for the values `inputs` of the input nodes.

        Parameters
        ----------
        inputs
            One value for each input node.

        Returns
        -------
        list
            One value for each output.
        """
        places_into = [self.places_into(node) for node in range(len(self.dag.nodes))]
        readers = Counter(self.dag.arcs[place].source for places in places_into for place in places)
        readers.update(output.node for output in self.dag.outputs if output.node is not None)
        self.node_values = dict(zip(self.dag.inputs, inputs, strict=True))
        for node, places in enumerate(places_into):
            if not places:
                continue
            arrived = {}
            for place in places:
                source = self.dag.arcs[place].source
                arrived[place] = self.arc(place, self.operands(source))
                readers[source] -= 1
                if self.garbage_collect_values and not readers[source]:
                    del self.node_values[source]
            self.node_values[node] = self.join(node, arrived)
        return [self.output(output) for output in self.dag.outputs]

    # To be overridden

    def places_into(self, node: int) -> Sequence[int]:
        """The places in ``dag.arcs`` of the arcs that are followed into `node`, in the order in which they meet.

        A node without any, unless it is an input, gets no value; what reads it must not be followed either.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.

        Returns
        -------
        sequence
            Places in ``dag.arcs``.
        """
        return self.dag.places_into[node]

    def operands(self, node: int) -> tuple[Any, ...]:
        """What an arc that starts at `node` reads: one value, or those of a product's entries.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.

        Returns
        -------
        tuple
            One value for each slot.
        """
        return self.as_operands(node, self.node_values[node])

    def as_operands(self, node: int, value: Any) -> tuple[Any, ...]:
        """A value of `node` as what arcs that start there read.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.
        value
            A value of this node.

        Returns
        -------
        tuple
            One value for each slot.
        """
        return value if self.dag.nodes[node].kind == "product" else (value,)

    def arc(self, place: int, operands: tuple[Any, ...]) -> Any:
        """What the arc at this place in ``dag.arcs`` brings its target.

        Parameters
        ----------
        place
            Place in ``dag.arcs``.
        operands
            What its source gives, one value for each slot.

        Returns
        -------
        object
            A value.
        """
        return self.follow(self.dag.arcs[place].steps, operands)

    def follow(self, steps: Sequence[Step], operands: tuple[Any, ...]) -> Any:
        """The result of steps one after the other; without any, what they were to read.

        Parameters
        ----------
        steps
            Consecutive operations.
        operands
            What the first of them reads, one value for each slot.

        Returns
        -------
        object
            A value, or without steps the tuple of several operands.
        """
        for step in steps:
            operands = (self.step(step, operands),)
        return operands[0] if len(operands) == 1 else operands

    def step(self, step: Step, operands: tuple[Any, ...]) -> Any:
        """The result of one operation, one operand a slot.

        Parameters
        ----------
        step
            The operation.
        operands
            One value for each slot.

        Returns
        -------
        object
            A value.
        """
        return step.run(operands, self.values)

    def join(self, node: int, arrived: Mapping[int, Any]) -> Any:
        """The value of `node` from what its arcs bring, by their places.

        They are added in order at a sum, are the operands of the operation of a concatenation, and the entries of a
        product.

        Parameters
        ----------
        node
            Place in ``dag.nodes``.
        arrived
            Place of each arc that is followed -> what it brings.

        Returns
        -------
        object
            A value; of a product node a tuple.
        """
        if self.dag.nodes[node].kind == "sum":
            return self.add(list(arrived.values()))
        entries = tuple(arrived[place] for place in sorted(arrived, key=lambda place: self.dag.arcs[place].slot or 0))
        combine = self.dag.nodes[node].combine
        return entries if combine is None else self.step(combine, entries)

    def add(self, values: Sequence[Any]) -> Any:
        """The sum of the values that meet at a node, in order.

        Parameters
        ----------
        values
            At least one.

        Returns
        -------
        object
            A value.
        """
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total

    def output(self, output: Output) -> Any:
        """One entry of the result: a constant, or some steps on the value of a node.

        Parameters
        ----------
        output
            One of ``dag.outputs``.

        Returns
        -------
        object
            A value.
        """
        return output.constant if output.node is None else self.follow(output.steps, self.operands(output.node))
