"""Tensors of which nothing is left, and nothing need be."""

from __future__ import annotations

import torch
from torch import Tensor

from ..channel_coupling import CoupledChannels
from ..dag import Dag, Hole
from ..operators import operator_of

__all__ = ["idle_nodes", "joins"]


def idle_nodes(found: CoupledChannels, alive: Tensor) -> set[int]:
    """The nodes without an element left that only fill slots of concatenations, by themselves or through others.

    Parameters
    ----------
    found
        The units of a network.
    alive
        Which of them stay, bool (count,).
    """
    dag = found.dag
    stays = torch.cat([alive, torch.tensor([True])])
    results = {output.node for output in dag.outputs}
    empty = [
        # Along an axis of stride 0 all is the same.
        not isinstance(labels, tuple)
        and not stays[labels[tuple(slice(1) if stride == 0 else slice(None) for stride in labels.stride())]].any()
        for labels in found.nodes
    ]
    idle: set[int] = set()
    for node in reversed(range(len(dag.nodes))):
        into = [arc.target for arc in dag.arcs_from[node]]
        if empty[node] and node not in results and all(to in idle or (joins(dag, to) and not empty[to]) for to in into):
            idle.add(node)
    return idle


def joins(dag: Dag, node: int) -> bool:
    """Whether a node is a concatenation of a plain list of values."""
    combine = dag.nodes[node].combine
    if combine is None or not operator_of(combine).concatenates:
        return False
    return isinstance(combine.args[0], list | tuple) and all(isinstance(entry, Hole) for entry in combine.args[0])
