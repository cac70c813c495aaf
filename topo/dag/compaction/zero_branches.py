"""Branches whose weights are masked: what they pass on is zero, whatever the input."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..additive_graph import AdditiveGraph
from ..elements import Arc, Output, Step
from ..interpreter import Interpreter
from ..operators import keeps_zero, operator_of
from ..weighted_layers import layer_of

__all__ = ["ZeroValues", "zero_arcs"]


def zero_arcs(dag: AdditiveGraph, masks: Mapping[str, Tensor]) -> set[Arc]:
    """The arcs whose value is exactly zero under masks, for every input and whatever the kept weights become.

    A layer gives zero when all its weights are masked and it has no bias or a masked one, a norm when its scale and
    its shift are masked; what maps zero to zero passes it on.

    Parameters
    ----------
    dag
        The network, at any level of detail.
    masks
        Parameter name -> bool mask; True is kept.

    Returns
    -------
    set
        Of arcs of `dag`.

    Examples
    --------
    >>> from topo.dag import trace
    >>> dag = trace(torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU()), torch.zeros(1, 2))
    >>> len(zero_arcs(dag, {"0.weight": torch.zeros(2, 2, dtype=torch.bool)}))
    2
    """
    removed = {name for name, mask in masks.items() if not mask.any()}
    if not removed:
        return set()
    values = ZeroValues(dag, removed)
    values.evaluate([False] * len(dag.inputs))
    return {dag.arcs[place] for place in values.zero_places}


class ZeroValues(Interpreter):
    """Whether values are zero, in place of the values.

    Parameters
    ----------
    dag
        The network.
    removed
        Parameters that are masked altogether.

    Attributes
    ----------
    zero_places
        The places in ``dag.arcs`` of the arcs whose value is zero, after `evaluate`.
    """

    def __init__(self, dag: AdditiveGraph, removed: Collection[str] = ()) -> None:
        super().__init__(dag)
        self.removed = set(removed)
        self.zero_places: set[int] = set()

    def brings_zero(self, arc: Arc, source_is_zero: bool, removed: Collection[str]) -> bool:
        """Whether an arc brings zero from its source when the parameters `removed` are masked.

        Parameters
        ----------
        arc
            One of the network's arcs.
        source_is_zero
            Whether the value that it starts from is zero.
        removed
            Names of the parameters.

        Returns
        -------
        bool
            Whether what it brings is zero.
        """
        self.removed = set(removed)
        return self.follow(arc.steps, (source_is_zero,))

    def operands(self, node: int) -> tuple[bool]:
        """Whether the value of a node is zero; of a product never, for its entries are taken together."""
        return (self.node_values[node],)

    def arc(self, place: int, operands: tuple[Any, ...]) -> bool:
        """Whether an arc brings zero, noted in `zero_places`."""
        is_zero = super().arc(place, operands)
        if is_zero:
            self.zero_places.add(place)
        return is_zero

    def join(self, node: int, arrived: Mapping[int, bool]) -> bool:
        """A sum of zeros is zero."""
        return self.dag.nodes[node].kind == "sum" and all(arrived.values())

    def step(self, step: Step, operands: tuple[Any, ...]) -> bool:
        """Whether the result of an operation is zero, given whether its input is."""
        (is_zero,) = operands
        layer = layer_of(self.dag, step)
        if layer is not None:
            return (is_zero or layer.weight in self.removed) and (layer.bias is None or layer.bias in self.removed)
        parameters = [name for name in step.values if isinstance(self.dag.state.get(name), torch.nn.Parameter)]
        if operator_of(step).norm and len(parameters) == 2:
            return set(parameters) <= self.removed
        return is_zero and keeps_zero(step, self.values)

    def output(self, output: Output) -> None:
        """Nothing is asked of the network's outputs."""
