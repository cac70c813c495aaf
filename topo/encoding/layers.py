"""One bipartite graph a layer: rolled, rolled by channel, and unrolled over positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..dag import Dag, Step
from ..dag.contraction import Contraction
from ..dag.elements import Arc
from ..dag.maps import AxisMaps, Chain, Convolution, LinearMap, Weight
from ..dag.operators import is_lookup, is_padding, is_parametric, weight_of
from ..dag.relations import Relation, WeightLookup, map_of
from ..dag.structure import layer_name
from ..dag.tokens import looked_up_rows
from ..errors import InputError
from .encoder import MAX_EDGES, encoding, refuse_above, refuse_beyond_memory, refuse_too_many_elements
from .graph import BipartiteGraph, LayerGraphs

__all__ = ["rolled", "rolled_channel", "unrolled"]


@encoding(
    "rolled",
    layers=True,
    nodes="a graph a layer: (input channel, kernel element) and output channel",
    edge="a kept weight",
    weight="the weight's size",
    formula=r"(i, k) \to o \iff m_{oik} = 1, \qquad |w_{oik}|",
)
def rolled(dag: Dag, masks: Mapping[str, Tensor]) -> LayerGraphs:
    """A graph a layer: (input channel, kernel element) to output channel, an edge a weight.

    The input channels of an embedding are the rows of its table.
    """
    return LayerGraphs(_once_a_layer(dag, masks, lambda kernels: kernels))


@encoding(
    "rolled-channel",
    layers=True,
    nodes="a graph a layer: input and output channel",
    edge="a kernel with a kept weight",
    weight="the kernel's L2 norm",
    formula=r"i \to o \iff \max_k m_{oik} = 1, \qquad \Big( \sum_k m_{oik} w_{oik}^2 \Big)^{1/2}",
)
def rolled_channel(dag: Dag, masks: Mapping[str, Tensor]) -> LayerGraphs:
    """A graph a layer: input channel to output channel, an edge a kernel with a kept weight, weighted by its norm.

    The input channels of an embedding are the rows of its table.
    """

    def norms(kernels: Weight) -> Weight:
        flat = kernels.effective.flatten(2) if kernels.kept.ndim > 2 else kernels.effective[..., None]
        kept = kernels.kept.reshape(flat.shape).any(-1)
        return Weight((flat.double() ** 2).sum(-1).sqrt(), kept)

    return LayerGraphs(_once_a_layer(dag, masks, norms))


@encoding(
    "unrolled",
    layers=True,
    nodes="a graph a layer: the elements of its input and of its result",
    edge="a kept weight at one position",
    weight="the weight's size",
    formula=r"(i, x) \to (o, y) \iff m_{oik} = 1 \text{ for the } k "
    r"\text{ that takes } y \text{ to } x, \qquad |w_{oik}|",
)
def unrolled(
    dag: Dag,
    masks: Mapping[str, Tensor],
    *,
    max_edges: int = MAX_EDGES,
    tokens: Literal["positions", "one-hot"] = "positions",
    vocabulary: Literal["all", "example"] = "all",
) -> LayerGraphs:
    """A graph a layer: elements of its input to elements of its result, an edge a weight and position.

    Parameters
    ----------
    dag
        Of one sample.
    masks
        Parameter name -> bool tensor.
    max_edges
        Refuse, before it is built, a layer of more edges than this.
    tokens
        ``"positions"``: the elements of an embedding's input are its positions, joined to each column that keeps a
        weight in any row, by the norm of the column; ``"one-hot"``: one a position and token, joined by the weights of
        its row.
    vocabulary
        ``"all"``: norms and one-hot elements are over all rows of the table; ``"example"``: over those that the
        example looks up.
    """
    refuse_too_many_elements(dag)
    graphs: dict[str, BipartiteGraph] = {}
    rows = looked_up_rows(dag) if vocabulary == "example" else None
    uses = [replace(use, options=_token_options(use, tokens, rows)) for use in _layers(dag, masks)]
    edges = {use: use.from_unpadded.edge_count() for use in uses}
    refuse_beyond_memory(sum(edges.values()))
    for use in uses:
        relation = use.from_unpadded
        refuse_above(max_edges, edges[use], use.name)
        unique, calls = use.name, 1
        while unique in graphs:  # a shared layer has one graph a call: its inputs may differ in shape
            calls += 1
            unique = f"{use.name}#{calls}"
        shapes = (relation.source_shape, relation.target_shape)
        graphs[unique] = _graph(relation.matrix(), unique, shapes, use.weight)
    return LayerGraphs(graphs)


def _token_options(use: _Use, tokens: str, rows: Mapping[Step, Tensor] | None) -> dict[str, Any]:
    """How the tokens of a layer that looks rows up are taken."""
    if not is_lookup(use.step) or tokens != "one-hot":
        return {"rows": rows}
    return {"vocabulary": torch.arange(len(use.weight.kept)) if rows is None else rows[use.step]}


def _once_a_layer(dag: Dag, masks: Mapping[str, Tensor], view: Callable[[Weight], Weight]) -> dict[str, BipartiteGraph]:
    """A graph for every weight, however often it is used, from `view` of its kernels (target, inner, *kernel)."""
    graphs: dict[str, BipartiteGraph] = {}
    for use in _layers(dag, masks):
        if use.name not in graphs:
            kernels, channels = _dense_kernels(use)
            seen = view(kernels)
            out, _, *kernel = seen.kept.shape
            flat = Weight(seen.magnitude.reshape(out, -1), seen.kept.reshape(out, -1))
            matrix = _placed(flat, channels, prod(kernel))
            shapes = ((matrix.shape[0] // prod(kernel), *kernel), (out,))
            graphs[use.name] = _graph(matrix, use.name, shapes, use.weight)
    return graphs


@dataclass(frozen=True, eq=False)
class _Use:
    """One operation with a weight, and the name of its layer."""

    step: Step
    name: str
    lookup: WeightLookup
    padding: Step | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def relation(self) -> Relation:
        """Of the operation alone."""
        return self._relation((self.step,))

    @cached_property
    def from_unpadded(self) -> Relation:
        """From the elements of the input themselves, of which a padding such as the circular one makes copies."""
        return self.relation if self.padding is None else self._relation((self.padding, self.step))

    def _relation(self, steps: tuple[Step, ...]) -> Relation:
        return Relation(map_of(self.lookup.dag, steps, steps[0].source_shapes[0], 0, self.lookup, self.options), True)

    @cached_property
    def weight(self) -> Weight:
        """In the shape of the parameter."""
        weight = weight_of(self.step)
        assert weight is not None
        return self.lookup(weight.name)


def _layers(dag: Dag, masks: Mapping[str, Tensor]) -> Iterator[_Use]:
    """Every use of a weight."""
    lookup = WeightLookup(dag, masks)
    some = False
    for arc in dag.arcs:
        for step in arc.steps:
            if is_parametric(step):
                some = True
                yield _Use(step, layer_name(dag, step), lookup, _padding_of(dag, arc, step))
    if not some:
        raise InputError("the network has no convolution, linear layer or embedding, so there is nothing to encode.")


def _as_matrix(linear_map: LinearMap) -> Weight:
    """The weights that a product applies along some axes, as one matrix (targets, sources)."""
    every = linear_map.maps if isinstance(linear_map, Chain) else (linear_map,)
    product = next(part for part in every if isinstance(part, AxisMaps | Contraction))
    if isinstance(product, AxisMaps):
        return product.maps[0][1]
    alone = product.along_weight()
    kept = replace(alone, weight=Weight(alone.weight.kept.double(), alone.weight.kept))
    magnitudes, pattern = (torch.from_numpy(part.matrix().T.toarray()) for part in (alone, kept))
    return Weight(magnitudes, pattern > 0)


def _padding_of(dag: Dag, arc: Arc, step: Step) -> Step | None:
    """The padding that the module of a layer does by an operation of its own before the layer's."""
    place = arc.steps.index(step)
    before = arc.steps[:place] if place else tuple(s for a in dag.arcs_into[arc.source] for s in a.steps)
    own = len(before) == 1 and before[0].module == step.module and len(before[0].source_shapes) == 1
    return before[0] if own and is_padding(before[0]) else None


def _dense_kernels(use: _Use) -> tuple[Weight, np.ndarray]:
    """Kernels with the target channel first, and the source channel of each (target channel, inner index)."""
    linear_map, weight = use.relation.map, use.weight
    if not isinstance(linear_map, Convolution):
        weight = Weight(weight.magnitude.T, weight.kept.T) if is_lookup(use.step) else _as_matrix(linear_map)
        out, inner = weight.kept.shape
        return weight, np.broadcast_to(np.arange(inner), (out, inner))
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
