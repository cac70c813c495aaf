"""Layer gates: which branches of a network may be closed as a whole, and by which parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...dag.dag import Step
from ...dag.weighted_layers import layer_of
from ..dag_pruning.candidates import candidates, drop
from ..dag_pruning.prunable_network import Network, State

__all__ = ["LayerGate", "branches"]


@dataclass(frozen=True, eq=False)
class LayerGate:
    """A branch that one gate closes.

    Attributes
    ----------
    name
        Of the last layer of the branch.
    arcs
        The arcs of the coarse Dag that die when it closes, by their places, ascending.
    parameters
        Names of the parameters that die with it.
    scaled
        Names of those that the gate multiplies: at every end of the branch in a sum, the scale and shift of its last
        norm or the weight and bias of its last layer.
    columns
        Weight -> which indices of the axis that it reads along the gate multiplies, bool: those that hold what the
        branch brings to a concatenation.
    """

    name: str
    arcs: tuple[int, ...]
    parameters: frozenset[str]
    scaled: tuple[str, ...]
    columns: dict[str, np.ndarray]


def branches(network: Network, accept: Callable[[frozenset[str]], bool] = lambda parameters: True) -> list[LayerGate]:
    """The layer gates of a network, in order of level and name.

    A branch is a candidate of the DAG pruner: an arc with a layer, and all that is on no path without it. The larger
    ones, by the parameters that go, are taken first. One is refused when some set of closed gates, itself among them,
    would then kill more than each of them kills alone, or leave no path: then what is alive would be no product of
    gates.

    Parameters
    ----------
    network
        The whole network.
    accept
        Whether a branch with these parameters may have a gate.
    """
    whole = network.whole()
    found = []
    for candidate in candidates(network, "arc", np.ones(network.found.count, dtype=bool)):
        if not any(network.layers[arc] for arc in candidate.arcs):
            continue
        after = drop(network, whole, candidate)
        gate = None if after is None else _gate(network, candidate.name, candidate.arcs, after)
        if gate is not None and accept(gate.parameters):
            found.append((network.cost(after, "parameters"), gate))
    taken: list[LayerGate] = []
    for _, gate in sorted(found, key=lambda pair: pair[0]):
        if _independent(network, [*taken, gate]):
            taken.append(gate)
    return [gate for _, gate in found if gate in taken]


def _gate(network: Network, name: str, arcs: Sequence[int], after: State) -> LayerGate | None:
    """The gate that closes a branch; None when no parameters could scale what it brings."""
    outputs = [o.node for o in network.dag.outputs if o.node is not None]
    if any(after.counts.forward[node] == 0 for node in outputs):
        return None
    gone = network.dead_parameters(after.counts.live)
    scaled: dict[str, None] = {}
    columns: dict[str, np.ndarray] = {}
    waiting = network.ends(after)
    while waiting:
        place = waiting.pop(0)
        arc = network.dag.arcs[place]
        if place in network.columns and network.dag.nodes[arc.target].kind == "concat":
            for weight, read in network.columns[place].items():
                columns[weight] = columns[weight] | read if weight in columns else read
            continue
        names = _scale(network, arc.steps, gone)
        if names is None:
            return None
        scaled |= dict.fromkeys(names)
        if not names:
            # What the arc passes on is a sum of things that die: each is scaled by itself.
            into = network.places_into[arc.source]
            if network.dag.nodes[arc.source].kind != "sum" or not into:
                return None
            waiting += into
    if not scaled and not columns:
        return None
    return LayerGate(name, tuple(sorted(arcs)), frozenset(gone), tuple(scaled), columns)


def _scale(network: Network, steps: Sequence[Step], gone: set[str]) -> tuple[str, ...] | None:
    """The parameters of the last step whose result is in proportion to them; empty when there is none, None when a
    norm would divide the factor out again."""
    state = network.dag.state
    for step in reversed(steps):
        layer = layer_of(network.dag, step)
        names = [n for n in step.values if isinstance(state.get(n), torch.nn.Parameter)]
        if (layer is not None or "norm" in step.name) and names and set(names) <= gone:
            return tuple(names)
        if "norm" in step.name or "softmax" in step.name:
            return None
    return ()


def _independent(network: Network, gates: Sequence[LayerGate]) -> bool:
    """Whether every set of closed gates kills exactly what its members kill, and leaves a path.

    It is enough to ask for every arc that it stays on a path when all gates are closed that do not kill it; for all
    arcs that the same gates kill that is one question.
    """
    dag, live = network.dag, network.whole().counts.live
    kills = np.zeros((len(dag.arcs), len(gates)), dtype=bool)
    for number, gate in enumerate(gates):
        kills[list(gate.arcs), number] = True
    kinds, kind = np.unique(kills[live], axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    if kinds.any(axis=1).all():
        return False
    # Row: arcs of one kind; column: a question, which closes all gates that do not kill the arcs of that kind.
    is_open = kinds.astype(np.float32) @ (~kinds).T.astype(np.float32) == 0
    forward, backward = (np.zeros((len(dag.nodes), len(kinds)), dtype=bool) for _ in range(2))
    forward[list(dag.inputs)] = True
    backward[[o.node for o in dag.outputs if o.node is not None]] = True
    # Nodes are numbered in topological order, so every arc comes after those that reach it.
    ordered = sorted(zip(live, kind, strict=True), key=lambda pair: dag.arcs[pair[0]].target)
    for place, number in ordered:
        forward[dag.arcs[place].target] |= forward[dag.arcs[place].source] & is_open[number]
    for place, number in sorted(ordered, key=lambda pair: -dag.arcs[pair[0]].source):
        backward[dag.arcs[place].source] |= backward[dag.arcs[place].target] & is_open[number]
    return all(forward[dag.arcs[a].source, k] and backward[dag.arcs[a].target, k] for a, k in ordered)
