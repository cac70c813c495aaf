"""Layer gates: which branches of a network may be closed as a whole, and by which parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...dag.dag import Step
from ...dag.operators import operator_of
from ...dag.weighted_layers import layer_of
from ..dag_pruning.candidates import candidates, drop
from ..dag_pruning.prunable_network import LiveParts, PrunableNetwork

__all__ = ["LayerGate", "find_layer_gates"]


@dataclass(frozen=True, eq=False)
class LayerGate:
    """A branch that one gate closes.

    Attributes
    ----------
    name
        Of the last layer of the branch.
    arcs
        The arcs of the coarse Dag that are removed when it closes, by their indices, ascending.
    parameters
        Names of the parameters that are removed with it.
    scaled
        Names of those that the gate multiplies: at every end of the branch in a sum, the scale and shift of its last
        norm or the weight and bias of its last layer.
    columns
        Weight -> which indices of the axis that it reads along the gate multiplies, bool: those that hold the branch's
        slot of a concatenation.
    """

    name: str
    arcs: tuple[int, ...]
    parameters: frozenset[str]
    scaled: tuple[str, ...]
    columns: dict[str, np.ndarray]


def find_layer_gates(
    network: PrunableNetwork, accept: Callable[[frozenset[str]], bool] = lambda parameters: True
) -> list[LayerGate]:
    """The layer gates of a network, in order of level and name.

    A branch is a candidate of the DAG pruner: an arc with a layer, and all that is on no path without it. Branches with
    more parameters are taken first. A branch is refused when some set of closed gates that includes it would remove
    more than each of these gates removes alone, or leave no path: then whether a structure remains would be no product
    of gates.

    Parameters
    ----------
    network
        The full network.
    accept
        Whether a branch with these parameters may have a gate.

    Returns
    -------
    list
        Of `LayerGate`.
    """
    full = network.intact()
    costs_and_gates: list[tuple[int, LayerGate]] = []
    for candidate in candidates(network, "arc", np.ones(network.channels.count, dtype=bool)):
        if not any(network.layers[arc] for arc in candidate.arcs):
            continue
        without = drop(network, full, candidate)
        if without is None:
            continue
        gate = _gate(network, candidate.name, candidate.arcs, without)
        if gate is not None and accept(gate.parameters):
            costs_and_gates.append((network.cost(without, "parameters"), gate))
    taken: list[LayerGate] = []
    for _, gate in sorted(costs_and_gates, key=lambda pair: pair[0]):
        if _independent(network, [*taken, gate]):
            taken.append(gate)
    return [gate for _, gate in costs_and_gates if gate in taken]


def _gate(network: PrunableNetwork, name: str, arcs: Sequence[int], without: LiveParts) -> LayerGate | None:
    """The gate that closes a branch; None when no parameters could scale the branch's output."""
    outputs = [o.node for o in network.dag.outputs if o.node is not None]
    if any(without.counts.forward[node] == 0 for node in outputs):
        return None
    removed = network.dead_parameters(without.counts.live)
    scaled: dict[str, None] = {}
    columns: dict[str, np.ndarray] = {}
    pending = network.stopped_arcs(without)
    while pending:
        index = pending.pop(0)
        arc = network.dag.arcs[index]
        if index in network.columns and network.dag.nodes[arc.target].kind == "concat":
            for weight, read in network.columns[index].items():
                columns[weight] = columns[weight] | read if weight in columns else read
            continue
        names = _scaling_parameters(network, arc.steps, removed)
        if names is None:
            return None
        scaled |= dict.fromkeys(names)
        if not names:
            # The arc passes on a sum of arcs that are removed: each of them is scaled on its own.
            into = network.dag.places_into[arc.source]
            if network.dag.nodes[arc.source].kind != "sum" or not into:
                return None
            pending += into
    if not scaled and not columns:
        return None
    return LayerGate(name, tuple(sorted(arcs)), frozenset(removed), tuple(scaled), columns)


def _scaling_parameters(network: PrunableNetwork, steps: Sequence[Step], removed: set[str]) -> tuple[str, ...] | None:
    """The parameters of the last step whose result is proportional to them; empty when there is none, None when a
    norm would divide the factor out again."""
    state = network.dag.state
    for step in reversed(steps):
        layer = layer_of(network.dag, step)
        names = [n for n in step.values if isinstance(state.get(n), torch.nn.Parameter)]
        record = operator_of(step)
        if layer is not None and set(network.dag.parameters_behind(step.values)) != set(names):
            return None  # What is computed from a parameter need not be proportional to it.
        if (layer is not None or record.norm) and names and set(names) <= removed:
            return tuple(names)
        if record.norm or record.statistics is not None:
            return None
    return ()


def _independent(network: PrunableNetwork, gates: Sequence[LayerGate]) -> bool:
    """Whether every set of closed gates removes exactly what its members remove, and leaves a path.

    It is enough to ask for every arc that it stays on a path when all gates are closed that do not remove it; arcs
    that the same gates remove share one such question.
    """
    dag, live = network.dag, network.intact().counts.live
    removes = np.zeros((len(dag.arcs), len(gates)), dtype=bool)
    for number, gate in enumerate(gates):
        removes[list(gate.arcs), number] = True
    kinds, kind_of_live = np.unique(removes[live], axis=0, return_inverse=True)
    if kinds.any(axis=1).all():
        return False
    # Row: arcs of one kind; column: a question, which closes all gates that do not remove the arcs of that kind.
    is_open = kinds.astype(np.float32) @ (~kinds).T.astype(np.float32) == 0
    forward, backward = (np.zeros((len(dag.nodes), len(kinds)), dtype=bool) for _ in range(2))
    forward[list(dag.inputs)] = True
    backward[[o.node for o in dag.outputs if o.node is not None]] = True
    # Nodes are numbered in topological order, so every arc comes after those that reach it.
    ordered = sorted(
        zip(live, kind_of_live.reshape(-1).tolist(), strict=True), key=lambda pair: dag.arcs[pair[0]].target
    )
    for index, kind in ordered:
        forward[dag.arcs[index].target] |= forward[dag.arcs[index].source] & is_open[kind]
    for index, kind in sorted(ordered, key=lambda pair: -dag.arcs[pair[0]].source):
        backward[dag.arcs[index].source] |= backward[dag.arcs[index].target] & is_open[kind]
    return all(forward[dag.arcs[a].source, k] and backward[dag.arcs[a].target, k] for a, k in ordered)
