"""How the tensors of a network are joined: through which arcs, how often, and what parts that makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from operator import itemgetter

import numpy as np
import torch

from ..dag.maps import AxisMaps, Chain, Convolution, Gather, LinearMap, Union, Weight
from ..dag.structure import Structure
from .parts import Part

__all__ = [
    "elements",
    "estimated_edges",
    "has_unique_routes",
    "last_arcs_to_build",
    "ordered_parts",
    "sequences_of",
    "unweighted",
]


def unweighted(linear_map: LinearMap) -> LinearMap:
    """The same map with weight one on every edge.

    Parameters
    ----------
    linear_map
        Any map.

    Returns
    -------
    LinearMap
        Of the same shapes.
    """
    if isinstance(linear_map, Chain | Union):
        return replace(linear_map, maps=tuple(map(unweighted, linear_map.maps)))
    if isinstance(linear_map, AxisMaps):
        return replace(linear_map, maps=tuple((axis, _ones(weight)) for axis, weight in linear_map.maps))
    if isinstance(linear_map, Convolution):
        return replace(linear_map, weight=_ones(linear_map.weight))
    return linear_map


def _ones(weight: Weight) -> Weight:
    return Weight(weight.kept.to(torch.float32), weight.kept)


def has_unique_routes(maps: Sequence[LinearMap]) -> bool:
    """Whether maps one after the other join no two elements in more than one way, as far as that is easily seen.

    Parameters
    ----------
    maps
        Maps, in order.

    Returns
    -------
    bool
        True: the product of the unweighted maps is the adjacency. False: it may count an edge several times.

    Examples
    --------
    >>> two = Gather((2,), (2,), np.array([0, 0]))
    >>> has_unique_routes([two, two]), has_unique_routes([Union((two, two))])
    (True, False)
    """
    flat = [part for linear_map in maps for part in _flat(linear_map)]
    if any(isinstance(part, Union) for part in flat):
        return False
    merged: list[tuple[bool, bool]] = []  # of each: whether a source has one edge at most; whether a target has
    for before, part in zip([None, *flat], flat, strict=False):
        if before is not None and _is_pointwise(part) and _keeps_channels(before, part):
            # A window and then a product across channels: the position in between is the result's own.
            merged[-1] = (False, False)
        else:
            merged.append((_one_out(part), part.fan_in() <= 1))
    # All before some map have one edge a source, all after it one edge a target.
    return not merged or any(
        all(one for one, _ in merged[:place]) and all(one for _, one in merged[place + 1 :])
        for place in range(len(merged))
    )


def _flat(linear_map: LinearMap) -> list[LinearMap]:
    if isinstance(linear_map, Chain):
        return [part for each in linear_map.maps for part in _flat(each)]
    same = isinstance(linear_map, Gather) and linear_map.index is None
    return [] if same and linear_map.source_shape == linear_map.target_shape else [linear_map]


def _one_out(part: LinearMap) -> bool:
    if isinstance(part, Gather):
        used = np.zeros(0) if part.index is None else part.index[part.index >= 0]
        return len(np.unique(used)) == used.size
    if isinstance(part, AxisMaps):
        return all(int(weight.kept.sum(0).max()) <= 1 for _, weight in part.maps)
    if isinstance(part, Convolution):
        return part.edge_count() == 0
    return False


def _is_pointwise(part: LinearMap) -> bool:
    return (
        isinstance(part, Convolution)
        and not part.transposed
        and all(size == 1 for size in part.weight.kept.shape[2:])
        and all(pair == (0, 0) for pair in part.padding)
    )


def _keeps_channels(part: LinearMap, after: LinearMap) -> bool:
    same = part.target_shape == after.source_shape
    return same and isinstance(part, AxisMaps) and all(axis >= 2 for axis, _ in part.maps)


Sequences = list[tuple[tuple[int, int], tuple[int, ...]]]


def sequences_of(network: Structure) -> Sequences:
    """Every way from a tensor to another through relays.

    Parameters
    ----------
    network
        The structural twin.

    Returns
    -------
    list
        Of both ends, nodes that are no relays, and the numbers of the arcs on the way.
    """
    held: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
    found: Sequences = []
    for number, arc in enumerate(network.arcs):
        starts = (
            [(start, (*arcs, number)) for start, arcs in held.get(arc.source, [])]
            if network.nodes[arc.source].relay
            else [(arc.source, (number,))]
        )
        if network.nodes[arc.target].relay:
            held.setdefault(arc.target, []).extend(starts)
        else:
            found.extend(((start, arc.target), arcs) for start, arcs in starts)
    return found


def last_arcs_to_build(network: Structure, sequences: Sequences) -> set[int]:
    """Last arcs of ways that may count an edge twice: several between two tensors, or one with several routes.

    Parameters
    ----------
    network
        The structural twin.
    sequences
        As of `sequences_of`.

    Returns
    -------
    set
        Numbers of arcs.
    """
    ways: dict[tuple[int, int], int] = {}
    for pair, _ in sequences:
        ways[pair] = ways.get(pair, 0) + 1
    return {
        arcs[-1]
        for pair, arcs in sequences
        if ways[pair] > 1 or not has_unique_routes([network.arcs[arc].relation.map for arc in arcs])
    }


def estimated_edges(network: Structure) -> int:
    """About how many edges the multipartite graph has, seldom fewer than it has, found without building them.

    Parameters
    ----------
    network
        The structural twin.

    Returns
    -------
    int
        Exact where no two arcs join the same elements and no window lies before a layer.
    """
    into = [0.0] * len(network.nodes)
    total = 0.0
    for arc in network.arcs:
        source = network.nodes[arc.source]
        count = float(arc.relation.edge_count())
        if source.relay:  # its elements stand for what they read
            count *= into[arc.source] / max(1, prod(source.shape))
        if network.nodes[arc.target].relay:
            into[arc.target] += count
        else:
            total += count
    return round(total)


def elements(network: Structure) -> int:
    """How many elements the tensors of a network have, those that only pass on left out: the most nodes of its graph.

    Parameters
    ----------
    network
        The structural twin.

    Returns
    -------
    int
        Their number.
    """
    return sum(prod(node.shape) for node in network.nodes if not node.relay)


def ordered_parts(network: Structure, pairs: Iterable[tuple[int, int]]) -> tuple[list[Part], dict[int, int]]:
    """The parts of a multipartite graph, and the part of each node of the structure that is no relay.

    Parameters
    ----------
    network
        The structural twin.
    pairs
        Nodes of it that edges join, source and target.

    Returns
    -------
    tuple
        Parts by level, and node -> part.
    """
    kept = [i for i, node in enumerate(network.nodes) if not node.relay]
    levels = dict.fromkeys(kept, 0)
    for source, target in sorted(pairs, key=itemgetter(1)):
        levels[target] = max(levels[target], levels[source] + 1)
    order = sorted(kept, key=lambda i: (levels[i], i))
    parts: list[Part] = []
    offset = 0
    for index in order:
        node = network.nodes[index]
        shape = node.shape[1:] if len(node.shape) > 1 and node.shape[0] == 1 else node.shape
        parts.append(Part(node.name, shape, levels[index], offset, node.role))
        offset += parts[-1].size
    return parts, {index: place for place, index in enumerate(order)}
