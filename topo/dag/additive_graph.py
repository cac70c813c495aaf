"""A network in additive normal form as data: what its nodes, arcs and outputs are, and how inputs and outputs go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError, counted
from .elements import Arc, Node, Output, Step, Values

__all__ = ["AdditiveGraph"]


@dataclass(frozen=True, eq=False)
class AdditiveGraph:
    """Nodes, arcs and outputs of a network ``z_v = sum of f_e(z_u) over the arcs e = (u -> v)``; see `topo.dag.Dag`.

    Attributes
    ----------
    nodes
        The nodes, every arc's source before its target.
    arcs
        The arcs.
    outputs
        Where each output of the model is read, flattened.
    state
        Parameters and buffers of the model, by name.
    constants
        Name of a tensor computed from these -> the step that computes it.
    symbols
        Each size that is free, with the number of the input whose samples it counts.
    samples
        The number of samples for which shapes hold.
    output_spec
        How the outputs are put together; None where they are one tensor or a tuple.
    keywords
        Names of the inputs that are passed by keyword.
    """

    nodes: tuple[Node, ...]
    arcs: tuple[Arc, ...]
    outputs: tuple[Output, ...]
    state: Mapping[str, Tensor]
    constants: Mapping[str, Step]
    symbols: tuple[tuple[Any, int], ...]
    samples: int
    output_spec: Any = None
    keywords: tuple[str, ...] = ()

    # Structure

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Indices of the input nodes, in the order of the model's inputs."""
        return tuple(i for i, node in enumerate(self.nodes) if node.kind == "input")

    @property
    def depth(self) -> int:
        """The highest level."""
        return max(node.level for node in self.nodes)

    @cached_property
    def places_into(self) -> tuple[tuple[int, ...], ...]:
        """For every node, the places in `arcs` of the arcs that end there, ascending."""
        return self._places_by_node([arc.target for arc in self.arcs])

    @cached_property
    def places_from(self) -> tuple[tuple[int, ...], ...]:
        """For every node, the places in `arcs` of the arcs that start there, ascending."""
        return self._places_by_node([arc.source for arc in self.arcs])

    @cached_property
    def arcs_into(self) -> tuple[tuple[Arc, ...], ...]:
        """For every node, the arcs that end there, in order."""
        return tuple(tuple(self.arcs[place] for place in places) for places in self.places_into)

    @cached_property
    def arcs_from(self) -> tuple[tuple[Arc, ...], ...]:
        """For every node, the arcs that start there, in order."""
        return tuple(tuple(self.arcs[place] for place in places) for places in self.places_from)

    def _places_by_node(self, ends: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        by_node: list[list[int]] = [[] for _ in self.nodes]
        for place, node in enumerate(ends):
            by_node[node].append(place)
        return tuple(map(tuple, by_node))

    # Parameters

    def parameters(self, arc: Arc) -> tuple[str, ...]:
        """Names of the model parameters that `arc` reads, also through constants computed from them.

        Parameters
        ----------
        arc
            One of the network's arcs.

        Returns
        -------
        tuple
            Names.
        """
        return self.parameters_behind(name for step in arc.steps for name in step.values)

    def parameters_behind(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of the model parameters among `names`, or that constants among them are computed from.

        Parameters
        ----------
        names
            Names of parameters, buffers and constants.

        Returns
        -------
        tuple
            Names.
        """
        return tuple(name for name in self.state_behind(names) if isinstance(self.state.get(name), nn.Parameter))

    def state_behind(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of the parameters and buffers among `names`, or that constants among them are computed from.

        Parameters
        ----------
        names
            Names of parameters, buffers and constants.

        Returns
        -------
        tuple
            Names, each once.
        """
        behind: dict[str, None] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop(0)
            if name in self.constants:
                waiting.extend(self.constants[name].values)
            else:
                behind[name] = None
        return tuple(behind)

    def values(self, state: Mapping[str, Tensor] | None = None, sizes: Mapping[Any, int] | None = None) -> Values:
        """Parameters, buffers and constants by name.

        Parameters
        ----------
        state
            Parameters and buffers; those of the traced model by default.
        sizes
            What each symbol stands for; by default the number of samples for which the shapes hold.

        Returns
        -------
        Values
            A mapping; constants are computed when they are first read.
        """
        return Values(
            self.state if state is None else state,
            self.constants,
            {symbol: sympy.Integer(self.samples) for symbol, _ in self.symbols} if sizes is None else sizes,
        )

    # Inputs and outputs

    def input_tensors(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """The tensors among a call's arguments, one for every input node.

        Parameters
        ----------
        args, kwargs
            The arguments of the call.

        Returns
        -------
        list
            Of tensors, in the order of the input nodes.

        Raises
        ------
        InputError
            When the call has other arguments, another number of tensors or samples of another shape than those with
            which the network was traced.
        """
        if set(kwargs) != set(self.keywords) or (self.keywords and args):
            wanted = f"the keywords {', '.join(self.keywords)}" if self.keywords else "positional arguments"
            raise InputError(f"the network was traced with {wanted}; call it so.")
        arguments = (args, {name: kwargs[name] for name in self.keywords})
        tensors = [leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, Tensor)]
        self.check_inputs(tensors)
        return tensors

    def check_inputs(self, tensors: Sequence[Tensor]) -> None:
        """Raise `InputError` unless there is one tensor for every input node, with samples of its shape.

        Parameters
        ----------
        tensors
            In the order of the input nodes.

        Raises
        ------
        InputError
            When their number or the shape of their samples is another.
        """
        if len(tensors) != len(self.inputs):
            raise InputError(
                f"the network has {counted(len(self.inputs), 'input')}; got {counted(len(tensors), 'tensor')}."
            )
        for index, tensor in zip(self.inputs, tensors, strict=True):
            node = self.nodes[index]
            if tuple(tensor.shape[1:]) != node.shape[1:] or tensor.ndim != len(node.shape):
                raise InputError(
                    f"input {node.name!r} has shape {tuple(tensor.shape)}; expected "
                    f"({', '.join(['N', *map(str, node.shape[1:])])})."
                )

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the network can be run on as many samples as these, which `input_tensors` has checked.

        Parameters
        ----------
        tensors
            In the order of the input nodes.

        Returns
        -------
        bool
            True for every number of samples where the network leaves it free.
        """
        return bool(self.symbols) or all(
            tuple(tensor.shape) == self.nodes[index].shape for index, tensor in zip(self.inputs, tensors, strict=True)
        )

    def sizes(self, tensors: Sequence[Tensor]) -> dict[Any, int]:
        """What each symbol stands for when the inputs are these.

        Parameters
        ----------
        tensors
            In the order of the input nodes.

        Returns
        -------
        dict
            Symbol -> number of samples.
        """
        return {symbol: sympy.Integer(tensors[position].shape[0]) for symbol, position in self.symbols}

    def rebuilt_output(self, leaves: Sequence[Any]) -> Any:
        """What the model returns, put together from the values of `outputs`.

        Parameters
        ----------
        leaves
            One value for each of `outputs`.

        Returns
        -------
        object
            In the form in which the model returns it.
        """
        if self.output_spec is not None:
            return pytree.tree_unflatten(list(leaves), self.output_spec)
        return leaves[0] if len(leaves) == 1 else tuple(leaves)
