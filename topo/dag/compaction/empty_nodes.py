"""Nodes whose channels are all pruned and that feed only concatenations."""

from __future__ import annotations

import torch
from torch import Tensor

from ..channel_coupling import CoupledChannels
from ..dag import Dag, Hole
from ..operators import operator_of

__all__ = ["find_empty_nodes", "is_concatenation"]


def find_empty_nodes(channels: CoupledChannels, alive: Tensor) -> set[int]:
    """The nodes without an element left that only fill slots of concatenations, by themselves or through others.

    Parameters
    ----------
    channels
        The coupled channels of a network.
    alive
        Which of them stay, bool (count,).

    Returns
    -------
    set
        Places in ``dag.nodes``.
    """
    dag = channels.dag
    stays = torch.cat([alive, torch.tensor([True])])
    results = {output.node for output in dag.outputs}
    pruned = [
        # Along an axis of stride 0 all is the same.
        not isinstance(labels, tuple)
        and not stays[labels[tuple(slice(1) if stride == 0 else slice(None) for stride in labels.stride())]].any()
        for labels in channels.nodes
    ]
    empty: set[int] = set()
    for node in reversed(range(len(dag.nodes))):
        into = [arc.target for arc in dag.arcs_from[node]]
        if (
            pruned[node]
            and node not in results
            and all(to in empty or (is_concatenation(dag, to) and not pruned[to]) for to in into)
        ):
            empty.add(node)
    return empty


def is_concatenation(dag: Dag, node: int) -> bool:
    """Whether a node is a concatenation of a plain list of values.

    Parameters
    ----------
    dag
        The network.
    node
        Place in ``dag.nodes``.

    Returns
    -------
    bool
        False also for nodes that are not combined by an operation.
    """
    combine = dag.nodes[node].combine
    if combine is None or not operator_of(combine).concatenates:
        return False
    return isinstance(combine.args[0], list | tuple) and all(isinstance(entry, Hole) for entry in combine.args[0])
