"""The network as a directed acyclic graph: nodes are tensors, arcs are functions, values add up at nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import InputError, counted
from ..parameter_names import named_tensors
from .additive_graph import AdditiveGraph
from .elements import Arc, Hole, Node, Output, Size, Step, Value
from .interpreter import Interpreter

__all__ = ["Arc", "Dag", "Hole", "Node", "Output", "Size", "Step", "Value"]


@dataclass(frozen=True, eq=False)
class Dag(AdditiveGraph):
    """A network in additive normal form: ``z_v = sum of f_e(z_u) over the arcs e = (u -> v)``.

    Built by `topo.trace`. Immutable, but it reads the parameters of the traced model when it is called, so it
    follows their training; `bind` makes it read those of another model.

    Attributes
    ----------
    nodes, arcs
        In an order in which every arc's source comes before its target; the order of the arcs that end at a
        node is the order in which their values are added.
    outputs
        What the network returns, flattened.
    state
        Parameters and buffers by their names in the model.
    samples
        The number of samples for which the shapes hold: 1 when the number of samples is free.
    keywords
        Names of the inputs, in the order of the input nodes, of a network that was traced with a dict.
    retrace
        Traces the network for the number of samples of the inputs that it is called with, where that number is fixed.
    model
        The model that was traced, as long as nodes and arcs are those of its operations.
    example
        The inputs that it was traced with, a tuple, or a dict by keyword: of whole numbers, bools and masks with minus
        infinity their values, of others zeros of the same shapes and types.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import topo
    >>> dag = topo.trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 4))
    >>> [node.name for node in dag.nodes], dag.depth
    (['input', '0', '1', '2'], 3)
    >>> [node.name for node in topo.dag.coarsen(dag).nodes]
    ['input', '0', '2']
    """

    retrace: Callable[..., Dag] | None = field(default=None, repr=False)
    model: nn.Module | None = field(default=None, repr=False)
    example: tuple[Any, ...] | dict[str, Any] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Dag({counted(len(self.nodes), 'node')}, {counted(len(self.arcs), 'arc')}, depth {self.depth})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The network's output on a batch, equal to the traced model's own in evaluation mode."""
        return Interpreter(self.for_inputs(*args, **kwargs)).run(*args, **kwargs)

    def for_inputs(self, *args: Any, **kwargs: Any) -> Dag:
        """This Dag or, when its number of samples is fixed to another, one traced for that of these inputs.

        Parameters
        ----------
        args, kwargs
            Inputs, as the model takes them.

        Returns
        -------
        Dag
            This one, or another for that number of samples.

        Raises
        ------
        InputError
            When the inputs do not fit the network.
        """
        if self.fits(self.input_tensors(*args, **kwargs)):
            return self
        if self.retrace is None:
            raise InputError(f"this network was traced for exactly {counted(self.samples, 'sample')}; trace it again.")
        return self.retrace(*args, **kwargs)

    def bind(self, model: nn.Module) -> Dag:
        """The same Dag reading the parameters and buffers of `model`, which must have the same structure.

        Parameters
        ----------
        model
            A network of the same structure as the one that was traced.

        Returns
        -------
        Dag
            With the tensors of `model`.

        Raises
        ------
        InputError
            When the model lacks one of them, or has it in another shape.
        """
        tensors = named_tensors(model)
        state = {}
        for name, old in self.state.items():
            new = tensors.get(name)
            if new is None and not isinstance(old, nn.Parameter):
                new = old
            if new is None or new.shape != old.shape:
                raise InputError(
                    f"the model does not fit the traced network: {name!r} is {_shape(new)}, expected {_shape(old)}."
                )
            state[name] = new
        return replace(self, state=state, model=None if self.model is None else model)

    def single(self) -> Dag:
        """The Dag with shapes for exactly one sample, as the element-level views need it.

        Raises
        ------
        InputError
            When the network was traced for another number of samples.
        """
        if self.samples == 1:
            return self
        if self.retrace is None:
            raise InputError(f"this network was traced for {counted(self.samples, 'sample')}; trace it with one.")
        first = pytree.tree_map_only(Tensor, lambda t: t[:1], self.example)
        dag = self.retrace(**first) if isinstance(first, dict) else self.retrace(*first)
        pairs = zip(*map(pytree.tree_leaves, (first, dag.example)), strict=True)
        same = all(torch.equal(one, other) for one, other in pairs if isinstance(one, Tensor))
        return dag if same else replace(dag, example=first)  # it had been traced for masks of other values


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))
