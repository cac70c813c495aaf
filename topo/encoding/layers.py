"""One bipartite graph a layer: rolled, rolled by channel, and unrolled over positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..dag import Dag
from ..dag.maps import AxisMaps, Convolution, LinearMap, Weight
from ..dag.operators import is_parametric
from ..dag.relations import Relation, WeightLookup, map_of
from ..dag.structure import layer_name
from ..errors import InputError
from .encoder import MAX_EDGES, encoding, refuse_above
from .graph import BipartiteGraph, LayerGraphs

__all__ = ["rolled", "rolled_channel", "unrolled"]


@encoding("rolled", layers=True)
def rolled(dag: Dag, masks: Mapping[str, Tensor]) -> LayerGraphs:
    """A graph a layer: (input channel, kernel element) to output channel, an edge a weight."""
    return LayerGraphs(_once_a_layer(dag, masks, lambda kernels: kernels))


@encoding("rolled-channel", layers=True)
def rolled_channel(dag: Dag, masks: Mapping[str, Tensor]) -> LayerGraphs:
    """A graph a layer: input channel to output channel, an edge a kernel with a kept weight, weighted by its norm."""

    def norms(kernels: Weight) -> Weight:
        flat = kernels.effective.flatten(2) if kernels.kept.ndim > 2 else kernels.effective[..., None]
        kept = kernels.kept.reshape(flat.shape).any(-1)
        return Weight((flat.double() ** 2).sum(-1).sqrt(), kept)

    return LayerGraphs(_once_a_layer(dag, masks, norms))


@encoding("unrolled", layers=True)
def unrolled(dag: Dag, masks: Mapping[str, Tensor], *, max_edges: int = MAX_EDGES) -> LayerGraphs:
    """A graph a layer: elements of its input to elements of its result, an edge a weight and position.

    Parameters
    ----------
    dag
        Of one sample.
    masks
        Parameter name -> bool tensor.
    max_edges
        Refuse, before it is built, a layer of more edges than this.
    """
    graphs: dict[str, BipartiteGraph] = {}
    for name, relation, weight in _layers(dag, masks):
        refuse_above(max_edges, relation.edge_count(), name)
        unique, calls = name, 1
        while unique in graphs:  # a shared layer has one graph a call: its inputs may differ in shape
            calls += 1
            unique = f"{name}#{calls}"
        shapes = (relation.source_shape, relation.target_shape)
        graphs[unique] = _graph(relation.matrix(), unique, shapes, weight)
    return LayerGraphs(graphs)


def _once_a_layer(dag: Dag, masks: Mapping[str, Tensor], view: Callable[[Weight], Weight]) -> dict[str, BipartiteGraph]:
    """A graph for every weight, however often it is used, from `view` of its kernels (target, inner, *kernel)."""
    graphs: dict[str, BipartiteGraph] = {}
    for name, relation, weight in _layers(dag, masks):
        if name not in graphs:
            kernels, channels = _dense_kernels(relation.map, weight)
            seen = view(kernels)
            out, _, *kernel = seen.kept.shape
            flat = Weight(seen.magnitude.reshape(out, -1), seen.kept.reshape(out, -1))
            matrix = _placed(flat, channels, prod(kernel))
            graphs[name] = _graph(matrix, name, ((matrix.shape[0] // prod(kernel), *kernel), (out,)), weight)
    return graphs


def _layers(dag: Dag, masks: Mapping[str, Tensor]) -> Iterator[tuple[str, Relation, Weight]]:
    """Every use of a weight: name of the layer, relation of that operation alone, weight."""
    lookup = WeightLookup(dag, masks)
    some = False
    for arc in dag.arcs:
        for step in arc.steps:
            if is_parametric(step):
                some = True
                linear_map = map_of(dag, (step,), step.source_shapes[0], 0, lookup, {})
                yield layer_name(dag, step), Relation(linear_map, True), _weight_of(linear_map)
    if not some:
        raise InputError("the network has no convolution or linear layer, so there is nothing to encode.")


def _weight_of(linear_map: LinearMap) -> Weight:
    if isinstance(linear_map, Convolution):
        return linear_map.weight
    assert isinstance(linear_map, AxisMaps)  # what every other parametric operation is
    return linear_map.maps[0][1]


def _dense_kernels(linear_map: LinearMap, weight: Weight) -> tuple[Weight, np.ndarray]:
    """Kernels with the target channel first, and the source channel of each (target channel, inner index)."""
    if isinstance(linear_map, AxisMaps):
        out, inner = weight.kept.shape
        return weight, np.broadcast_to(np.arange(inner), (out, inner))
    assert isinstance(linear_map, Convolution)
    groups = linear_map.groups
    if linear_map.transposed:
        # (source, target / groups, ...) -> (target, source / groups, ...)
        source, inner, *kernel = weight.kept.shape

        def turn(tensor: Tensor) -> Tensor:
            grouped = tensor.reshape(groups, source // groups, inner, *kernel)
            return grouped.transpose(1, 2).reshape(groups * inner, source // groups, *kernel)

        weight = Weight(turn(weight.magnitude), turn(weight.kept))
    out, inner = weight.kept.shape[:2]
    first = np.arange(out) // (out // groups) * inner
    return weight, np.add.outer(first, np.arange(inner))


def _placed(weight: Weight, channels: np.ndarray, kernel: int) -> sparse.csr_array:
    """CSR (source channel x kernel element, target channel) from weights (target, inner x kernel element)."""
    targets, inner = np.nonzero(weight.kept.cpu().numpy())
    sources = channels[targets, inner // kernel] * kernel + inner % kernel
    values = weight.magnitude.detach().cpu().to(torch.float32).numpy()[targets, inner]
    shape = ((int(channels.max()) + 1) * kernel, weight.kept.shape[0])
    indices = (sources.astype(np.int32), targets.astype(np.int32))
    return sparse.coo_array((values, indices), shape=shape).tocsr()


def _graph(
    matrix: sparse.csr_array, name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], weight: Weight
) -> BipartiteGraph:
    left, right = (
        s[1:] if len(s) > 1 and s[0] == 1 and prod(s[1:]) == n else s for s, n in zip(shapes, matrix.shape, strict=True)
    )
    counts = {"weights_total": weight.kept.numel(), "weights_kept": int(weight.kept.sum())}
    return BipartiteGraph(matrix, name, left, right, counts)
