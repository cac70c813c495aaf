"""What may be dropped, by granularity, and what goes with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from .prunable_network import LiveParts, PrunableNetwork

__all__ = ["GRANULARITIES", "Candidate", "candidates", "drop"]

GRANULARITIES = ("arc", "node", "channel", "mixed")


@dataclass(frozen=True)
class Candidate:
    """Arcs or a unit to be dropped as one.

    Attributes
    ----------
    name, level
        Of the last layer that goes, or of the arc where there is none; of the unit, that is of the first layer that
        writes it.
    arcs, unit
        What goes: arcs by their places, or a unit.
    """

    name: str
    level: int
    arcs: tuple[int, ...] = ()
    unit: int | None = None


def drop(network: PrunableNetwork, parts: LiveParts, candidate: Candidate, min_paths: int = 1) -> LiveParts | None:
    """What is left without a candidate.

    None when fewer than `min_paths` paths would be left, masks cannot express it or a protected layer would die.

    Parameters
    ----------
    network
        The network.
    parts
        What is left of it so far.
    candidate
        What goes.
    min_paths
        The fewest paths that must stay.

    Returns
    -------
    LiveParts or None
        What is left then.
    """
    if candidate.unit is not None:
        return parts.without(units=[candidate.unit])
    try:
        after = parts.without(arcs=candidate.arcs)
    except InputError:
        return None
    return after if after.counts.total >= min_paths and network.is_sound(after) else None


def candidates(network: PrunableNetwork, granularity: str, fixed_units: np.ndarray) -> list[Candidate]:
    """All that may be dropped from the whole network, in order of level and name.

    Parameters
    ----------
    network
        The network.
    granularity
        ``"arc"``: an arc with a layer, or into a slot of a concatenation, with those that share its parameters.
        ``"node"``: a node, with all arcs into and out of it. ``"channel"``: units. ``"mixed"``: arcs and units.
    fixed_units
        Units that stay, bool (units,).

    Returns
    -------
    list
        Of `Candidate`.
    """
    known: list[Candidate] = []
    if granularity != "channel":
        known += _arcs(network, _nodes(network) if granularity == "node" else _parametric(network))
    if granularity in ("channel", "mixed"):
        known += [
            Candidate(name, level, unit=unit)
            for unit, (level, name) in enumerate(network.unit_levels)
            if not fixed_units[unit]
        ]
    return sorted(known, key=lambda c: (c.level, c.name))


def _parametric(network: PrunableNetwork) -> list[frozenset[int]]:
    kinds = [network.dag.nodes[arc.target].kind for arc in network.dag.arcs]
    return [network.tied(a) for a, kind in enumerate(kinds) if network.layers[a] or kind == "concat"]


def _nodes(network: PrunableNetwork) -> list[frozenset[int]]:
    dag = network.dag
    ends = {*dag.inputs, *(o.node for o in dag.outputs)}
    sets: list[set[int]] = [set() for _ in dag.nodes]
    for place, arc in enumerate(dag.arcs):
        sets[arc.source] |= network.tied(place)
        sets[arc.target] |= network.tied(place)
    return [frozenset(arcs) for node, arcs in enumerate(sets) if node not in ends]


def _arcs(network: PrunableNetwork, sets: Collection[frozenset[int]]) -> list[Candidate]:
    """Candidates that drop these arcs; of those that take the same with them, as the layers of a branch, one."""
    intact = network.intact()
    by_dead_arcs: dict[frozenset[int], Candidate] = {}
    for arcs in sets:
        arcs = arcs & set(intact.counts.live)
        if not arcs:
            continue
        candidate = Candidate("", 0, tuple(sorted(arcs)))
        after = drop(network, intact, candidate)
        if after is None:
            continue
        dead = frozenset(intact.counts.live) - frozenset(after.counts.live)
        last = max(dead, key=lambda a: (bool(network.layers[a]), network.level(a), a))
        by_dead_arcs[dead] = Candidate(network.label(last), network.level(last), tuple(sorted(dead)))
    return list(by_dead_arcs.values())
