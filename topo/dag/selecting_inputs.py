"""Inputs that only select, as padding masks do: they are no data, and the values that they were traced with decide."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.utils import _pytree as pytree

from .dag import Dag
from .operators import is_lookup, is_parametric

__all__ = ["Selection", "selection"]


@dataclass(frozen=True, eq=False)
class Selection:
    """The inputs of a network that only select, and what is computed from them alone.

    Attributes
    ----------
    inputs
        Place of the input node -> its values for one sample, the first of the example.
    nodes
        Places of these and of all nodes that are computed from nothing else.
    """

    inputs: dict[int, Tensor]
    nodes: frozenset[int]


_KNOWN: WeakKeyDictionary[Dag, Selection] = WeakKeyDictionary()


def selection(dag: Dag) -> Selection:
    """Find the inputs that only select.

    They are of whole numbers, bools, or numbers with minus infinity among them, and no layer, table or output reads
    them or what is computed from them alone: a padding mask, the lengths of sequences, the edges of a graph as a
    matrix. Tokens are no such inputs, and what is computed from tokens may be anything.

    Parameters
    ----------
    dag
        Of one sample; what is found is kept as long as it.

    Returns
    -------
    Selection
        Empty where all inputs are data.

    Examples
    --------
    >>> import topo, torch
    >>> from torch import nn
    >>> class Masked(nn.Linear):
    ...     def forward(self, x, mask):
    ...         return super().forward(x.masked_fill(mask, 0.0))
    >>> dag = topo.trace(Masked(3, 2), (torch.zeros(1, 3), torch.tensor([[False, True, False]])))
    >>> selection(dag).inputs
    {1: tensor([[False,  True, False]])}
    """
    if dag not in _KNOWN:
        _KNOWN[dag] = _found(dag)
    return _KNOWN[dag]


def _found(dag: Dag) -> Selection:
    leaves = [leaf for leaf in pytree.tree_leaves(dag.example) if isinstance(leaf, Tensor)]
    values = {
        node: leaf[:1].detach().cpu()
        for node, leaf in zip(dag.inputs, leaves, strict=False)
        if not leaf.is_meta and (not leaf.is_floating_point() or bool(leaf.isneginf().any()))
    }
    layers = {arc for arc in dag.arcs if any(is_parametric(step) or is_lookup(step) for step in arc.steps)}
    read = {output.node for output in dag.outputs} | {arc.source for arc in layers}
    while True:
        sources: dict[int, frozenset[int]] = {node: frozenset([node]) for node in values}
        for node, arcs in enumerate(dag.arcs_into):
            if arcs and all(arc.source in sources and arc not in layers for arc in arcs):
                sources[node] = frozenset().union(*(sources[arc.source] for arc in arcs))
        data = frozenset().union(*(found for node, found in sources.items() if node in read))
        if not data:
            return Selection(values, frozenset(sources))
        values = {node: value for node, value in values.items() if node not in data}
