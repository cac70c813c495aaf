"""Residual blocks of a `Dag`: where branches run beside a direct way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from .dag import Dag
from .path_counts import PathCounts, arcs_leaving

__all__ = ["ResidualBlock", "residual_blocks"]


@dataclass(frozen=True)
class ResidualBlock:
    """A stretch of the network between two nodes that every path passes, with a direct way and others.

    Attributes
    ----------
    name
        The name of its last node.
    start, end
        Its first and last node.
    skips, branches
        The arcs that leave `start`, of which each path takes exactly one: the direct ones to `end` with the fewest
        weights, and all others.
    """

    name: str
    start: int
    end: int
    skips: tuple[int, ...]
    branches: tuple[int, ...]


def residual_blocks(dag: Dag) -> tuple[ResidualBlock, ...]:
    """The residual blocks of a network, in order; a stretch without a direct way, as in DenseNet, is none.

    Parameters
    ----------
    dag
        The network.

    Returns
    -------
    tuple
        Of `ResidualBlock`.
    """
    counts = PathCounts(dag)
    leaving = arcs_leaving(dag, counts.live)
    passed = [i for i in range(len(dag.nodes)) if counts.forward[i] * counts.backward[i] == counts.total]
    blocks = []
    for start, end in pairwise(passed):
        weights = {
            a: sum(dag.state[name].numel() for name in dag.parameters(dag.arcs[a]))
            for a in leaving[start]
            if dag.arcs[a].target == end
        }
        if len(leaving[start]) == 1 or not weights:
            continue
        skips = tuple(a for a, size in weights.items() if size == min(weights.values()))
        branches = tuple(a for a in leaving[start] if a not in skips)
        if branches:
            blocks.append(ResidualBlock(dag.nodes[end].name, start, end, skips, branches))
    return tuple(blocks)
