"""The structural twin of a whole network: its coarse Dag with a non-negative linear map on every arc."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, unknown_name
from ..wrapped_names import renamed
from .coarsening import coarsen
from .dag import Dag, Step
from .derived_weights import main_parameter
from .fixed_elements import what_sums_leave
from .maps import Chain, Weight
from .mask_tensors import mask_tensors
from .normalised_axes import dense_steps
from .operators import is_parametric, takes_statistics, weight_of
from .relations import Relation, WeightLookup, arc_map, map_of
from .selecting_inputs import selection
from .tokens import looked_up_rows, one_hot_map, one_hot_vocabularies
from .unreadable_models import check_values

__all__ = [
    "StructuralArc",
    "StructuralNode",
    "Structure",
    "WeightCounts",
    "is_connected",
    "structure",
    "weight_counts",
]


@dataclass(frozen=True)
class StructuralNode:
    """A tensor of one sample. A `relay` only passes on what single other elements hold: a concatenation, an operand.

    Attributes
    ----------
    name
        Its name in the network.
    shape
        Its shape, with one sample.
    role
        ``"input"``, ``"hidden"`` or ``"output"``.
    relay
        Whether it is a relay.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    relay: bool


@dataclass(frozen=True, eq=False)
class StructuralArc:
    """A relation between two tensors; `name` is that of its weight, without ``.weight``.

    Attributes
    ----------
    source, target
        Places of nodes in the structure.
    relation
        Which elements it joins, with what weight.
    name
        Its name.
    """

    source: int
    target: int
    relation: Relation
    name: str


@dataclass(frozen=True, eq=False)
class Structure:
    """Nodes and arcs in an order in which every arc's source comes before its target.

    Attributes
    ----------
    nodes
        The tensors.
    arcs
        The relations between them.
    lookup
        What found the weights.
    statistics
        Module and operation of the norms, and of softmax in attention and before outputs, whose statistics count as
        constants.
    """

    nodes: tuple[StructuralNode, ...]
    arcs: tuple[StructuralArc, ...]
    lookup: WeightLookup
    statistics: tuple[str, ...] = ()


def layer_name(dag: Dag, step: Step) -> str:
    """Name of a parametric step's weight in the model, without ``.weight``; of other steps, their module."""
    weight = weight_of(step)
    parameter = None if weight is None else main_parameter(dag, weight.name)
    return step.module if parameter is None else parameter.removesuffix(".weight")


def structure(
    dag: Dag,
    masks: Mapping[str, Any] | None = None,
    *,
    pooling: str = "through",
    lookup: WeightLookup | None = None,
    tokens: str = "positions",
    vocabulary: str = "all",
    **options: Any,
) -> Structure:
    """The structural twin of a traced network under masks.

    Parameters
    ----------
    dag
        Traced by `topo.trace`, fine or coarse.
    masks
        Parameter names to bool tensors, True where the weight is kept.
    pooling
        ``"through"``: the edges of a pooled element start at every element of its window; ``"node"``: pooled
        tensors are nodes.
    lookup
        Finds the weights; by default those of the Dag under `masks`.
    tokens
        ``"positions"``: an input that is looked up in tables is one node a position; ``"one-hot"``: one a position and
        token.
    vocabulary
        ``"all"`` tokens of the tables count, or those of the ``"example"``.
    options
        ``weights="mean"`` divides by the pooling window; ``attention="values"`` leaves queries and keys out.

    Returns
    -------
    Structure
        Nodes, arcs and the lookup of weights.

    Raises
    ------
    InputError
        When masks do not fit or an operation has no element-level meaning.
    """
    dag = coarsen(dag.single(), keep_pooling=pooling == "node")
    lookup = lookup or WeightLookup(dag, checked_masks(dag, masks))
    options = {**options, "exact": dense_steps(dag)}
    results = {o.node for o in dag.outputs}
    selecting = selection(dag).nodes
    rows = looked_up_rows(dag) if vocabulary == "example" else None
    one_hot = one_hot_vocabularies(dag, rows) if tokens == "one-hot" else {}
    options = {**options, "rows": rows}
    nodes: list[StructuralNode] = []
    arcs: list[StructuralArc] = []
    places: list[tuple[int, ...]] = []
    for index, node in enumerate(dag.nodes):
        role = "input" if node.kind == "input" else "output" if index in results else "hidden"
        fused = node.kind == "product"
        names = [f"{node.name}.{slot}" for slot in range(len(node.shape))] if fused else [node.name]
        shapes = node.shape if fused else [(*node.shape, *([len(one_hot[index])] if index in one_hot else []))]
        # What only selects is no data: the maps of what it selects from know of it.
        selects = index in selecting
        relay = fused or selects or (node.kind == "concat" and role != "output")
        places.append(tuple(range(len(nodes), len(nodes) + len(names))))
        nodes.extend(StructuralNode(n, s, role, relay) for n, s in zip(names, shapes, strict=True))
        for arc in dag.arcs_into[index]:
            if arc.source in selecting:
                continue
            entry = arc.slot or 0
            target = places[index][entry if fused else 0]
            left = what_sums_leave(dag, arc) if node.kind == "sum" else None
            for slot, source in enumerate(places[arc.source]):
                element_map = (
                    one_hot_map(dag, arc, one_hot[arc.source], lookup, options)
                    if arc.source in one_hot
                    else arc_map(dag, arc, slot, lookup, options)
                )
                if left is not None:
                    element_map = Chain((element_map, left))
                if node.combine is not None:
                    shape = node.combine.source_shapes[entry]
                    element_map = Chain((element_map, map_of(dag, (node.combine,), shape, entry, lookup, options)))
                weighted = [step for step in arc.steps if is_parametric(step)]
                name = layer_name(dag, weighted[-1]) if weighted else ""
                arcs.append(StructuralArc(source, target, Relation(element_map, bool(weighted)), name))
    return Structure(tuple(nodes), tuple(arcs), lookup, _constant_statistics(dag))


def _constant_statistics(dag: Dag) -> tuple[str, ...]:
    """The operations of a coarse Dag whose statistics count as constants, in the order in which they run."""
    steps = [step for arcs in dag.arcs_into for arc in arcs for step in arc.steps]
    steps += [step for output in dag.outputs for step in output.steps]
    dense = dense_steps(dag)
    taken = [step for step in steps if takes_statistics(step) and step not in dense]
    return tuple(dict.fromkeys(f"{step.module} ({step.name})".lstrip() for step in taken))


def checked_masks(dag: Dag, masks: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """Masks as bool tensors; raises `InputError` where they do not fit the traced network."""
    checked = {}
    check_values(dag.state, "an encoding")
    given = {} if masks is None else mask_tensors(masks)
    for name, mask in renamed(given, dag.state, what="mask").items():
        if name not in dag.state:
            raise unknown_name("parameter in masks", name, dag.state)
        if mask.shape != dag.state[name].shape:
            raise InputError(
                f"the mask of {name!r} has shape {tuple(mask.shape)}; the parameter has "
                f"{tuple(dag.state[name].shape)}. Masks must come from the same architecture."
            )
        checked[name] = mask
    return checked


@dataclass(frozen=True)
class WeightCounts:
    """Weights of the parameters that relations read: all, kept, and kept on a path from input to output.

    Attributes
    ----------
    total
        All.
    kept
        Those that the masks keep.
    effective
        Those that are kept and lie on such a path.
    """

    total: int
    kept: int
    effective: int


@torch.inference_mode(False)
@torch.enable_grad()
def weight_counts(dag: Dag, masks: Mapping[str, Any] | None = None, **options: Any) -> WeightCounts:
    """Count a network's weights, and those on some path from input to output.

    Reachability is swept over the structural twin, forward from the inputs and backward from the outputs, and no
    edge is built. A weight is effective when the sum, over the places where it is used, of reached source times
    live target is positive: that sum is the gradient of the backward sweep with respect to the weight.

    Parameters
    ----------
    dag
        The network.
    masks
        Parameter name -> mask in the parameter's shape; parameters without one are kept.
    options
        As for `structure`.

    Returns
    -------
    WeightCounts
        How many there are, how many are kept and how many are effective.

    Examples
    --------
    >>> import torch
    >>> from topo.dag import trace
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
    >>> masks = {"0.weight": torch.tensor([[1, 1], [0, 1]]), "1.weight": torch.tensor([[0, 1]])}
    >>> weight_counts(trace(model, torch.zeros(1, 2)), masks)
    WeightCounts(total=6, kept=4, effective=2)
    """
    lookup = _UnitWeightLookup(dag, checked_masks(dag, masks))
    network = structure(dag, lookup=lookup, **options)
    into = _arcs_into(network)
    reached = _reached(network, into)
    live = [torch.full(node.shape, float(node.role == "output")) for node in network.nodes]
    for index in reversed(range(len(network.nodes))):
        for arc in into[index]:
            source = reached[arc.source].clone().requires_grad_()
            (arc.relation.matvec(source) * live[index]).sum().backward()
            assert source.grad is not None
            live[arc.source] = ((live[arc.source] + source.grad) > 0).float()
    kept = {name: int(weight.kept.sum()) for name, weight in lookup.known.items()}
    effective = 0
    for weight in lookup.known.values():
        if weight.magnitude.grad is not None:
            effective += int(((weight.magnitude.grad > 0) & weight.kept).sum())
    return WeightCounts(sum(w.kept.numel() for w in lookup.known.values()), sum(kept.values()), effective)


def is_connected(dag: Dag, masks: Mapping[str, Any] | None = None, **options: Any) -> bool:
    """Whether a path of kept weights and of skips without weights joins an element of an input to one of an output.

    A network that is not connected computes the same output for every input, whatever its weights are: its biases alone
    decide it. The converse does not hold: a connected network may be constant too, as where an activation is always
    off. Unlike edges of graphs, which follow slopes, paths lead through the statistics of norms and softmax and through
    comparisons.

    Parameters
    ----------
    dag
        The network.
    masks
        Parameter name -> mask in the parameter's shape; parameters without one are kept.
    options
        As for `structure`.

    Returns
    -------
    bool
        By one sweep from the inputs over the structural twin, in which no edge is built.

    Raises
    ------
    InputError
        When masks do not fit or an operation has no element-level meaning.

    Examples
    --------
    >>> import torch
    >>> from topo.dag import trace
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> first = {"0.weight": torch.tensor([[1, 1], [0, 0]])}
    >>> dag = trace(model, torch.zeros(1, 2))
    >>> [is_connected(dag, {**first, "1.weight": torch.tensor([row])}) for row in ([1, 0], [0, 1])]
    [True, False]
    """
    lookup = _UnitWeightLookup(dag, checked_masks(dag, masks))
    network = structure(dag, lookup=lookup, **{"reads": "values", **options})
    reached = _reached(network, _arcs_into(network))
    outputs = [r for node, r in zip(network.nodes, reached, strict=True) if node.role == "output"]
    return any(bool(output.any()) for output in outputs)


def _arcs_into(network: Structure) -> list[list[StructuralArc]]:
    into: list[list[StructuralArc]] = [[] for _ in network.nodes]
    for arc in network.arcs:
        into[arc.target].append(arc)
    return into


def _reached(network: Structure, into: list[list[StructuralArc]]) -> list[Tensor]:
    """For every node 1.0 at the elements that an input reaches, 0.0 elsewhere."""
    reached: list[Tensor] = []
    for node, arcs in zip(network.nodes, into, strict=True):
        total = torch.full(node.shape, float(node.role == "input"))
        with torch.no_grad():
            for arc in arcs:
                total += arc.relation.matvec(reached[arc.source])
        reached.append((total > 0).float())
    return reached


class _UnitWeightLookup(WeightLookup):
    """Weights of one wherever a weight is kept, with gradients."""

    def weight(self, name: str) -> Weight:
        kept = super().weight(name).kept.cpu()
        return Weight(kept.float().requires_grad_(), kept)
