"""One graph of the whole network: a part for every tensor of the coarse Dag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from scipy import sparse
from torch import Tensor

from ..dag import Dag
from ..dag.maps import Chain, Convolution, Gather, LinearMap
from ..dag.matrices import compose, merge
from ..dag.structure import StructuralArc, Structure, structure, weight_counts
from ..errors import InputError
from .encoder import MAX_EDGES, encoding, refuse_above, refuse_beyond_memory, refuse_too_many_elements
from .graph import MultipartiteGraph
from .parts import Block
from .routes import elements, estimated_edges, ordered_parts

__all__ = ["chosen_structure", "multipartite", "weight_facts"]


@encoding(
    "multipartite",
    nodes="every element of every tensor, one part a tensor",
    edge="a kept weight at one position, or a skip's element",
    weight="the weight's size; 1 on skips",
    formula=r"u \to v \iff z_v \text{ depends on } z_u \text{ by one arc of the coarse Dag}, \qquad "
    r"\sum_{\text{ways from } u \text{ to } v} |w|",
)
def multipartite(
    dag: Dag,
    masks: Mapping[str, Tensor],
    *,
    skips: Literal["all", "projection"] = "all",
    pooling: Literal["through", "node"] = "through",
    padding: Literal["none", "nodes"] = "none",
    weights: Literal["sum", "mean"] = "sum",
    attention: Literal["exact", "values"] = "exact",
    tokens: Literal["positions", "one-hot"] = "positions",
    vocabulary: Literal["all", "example"] = "all",
    max_edges: int = MAX_EDGES,
) -> MultipartiteGraph:
    """The whole network as one graph, a part for every tensor, unrolled over positions.

    Parameters
    ----------
    dag
        Of one sample.
    masks
        Parameter name -> bool tensor.
    skips
        ``"all"``, or ``"projection"`` to leave out the skips without weights, for comparison with the published tables.
    pooling
        ``"through"``: an edge that leaves a pooled element starts at every element of its window; ``"node"``: pooled
        tensors are parts of their own.
    padding
        ``"none"``: no edges from padded positions; ``"nodes"``: the zeros around the input are nodes, for comparison
        with the published tables.
    weights
        ``"sum"``: an edge through a pooling window keeps the weight; ``"mean"``: it is divided by the size of the
        window.
    attention
        ``"exact"``: the result at a token depends on its query, all keys and all values, as in the Jacobian;
        ``"values"``: on the values only, which is much smaller.
    tokens
        ``"positions"``: an input of whole numbers that are looked up in a table is one node a position, joined to every
        column that keeps a weight in any row, by the norm of the column; ``"one-hot"``: one node a position and token,
        joined by the weights of its row, for small vocabularies.
    vocabulary
        ``"all"``: norms and one-hot nodes are over all rows of the table; ``"example"``: over those that the example
        looks up.
    max_edges
        Refuse, before it is built, a block of more edges than this.
    """
    network = chosen_structure(
        dag,
        masks,
        skips=skips,
        pooling=pooling,
        padding=padding,
        weights=weights,
        attention=attention,
        tokens=tokens,
        vocabulary=vocabulary,
    )
    refuse_beyond_memory(estimated_edges(network), elements(network))
    blocks = _blocks(network, max_edges)
    parts, place = ordered_parts(network, ((source, target) for source, target, *_ in blocks))
    merged: dict[tuple[int, int], tuple[list[sparse.csr_array], list[str]]] = {}
    for source, target, matrix, name in blocks:
        matrices, names = merged.setdefault((place[source], place[target]), ([], []))
        matrices.append(matrix)
        if name and name not in names:
            names.append(name)
    joined = [Block(s, t, merge(matrices), "+".join(names)) for (s, t), (matrices, names) in sorted(merged.items())]
    attributes = {"statistics_as_constants": list(network.statistics)}
    return MultipartiteGraph(parts, joined, attributes, pending=weight_facts(dag, network, attention))


def chosen_structure(
    dag: Dag,
    masks: Mapping[str, Tensor] | None,
    *,
    skips: str = "all",
    pooling: str = "through",
    padding: str = "none",
    weights: str = "sum",
    attention: str = "exact",
    tokens: str = "positions",
    vocabulary: str = "all",
) -> Structure:
    """The structural twin that the options of the encoding ask for.

    Parameters
    ----------
    dag, masks, skips, pooling, padding, weights, attention, tokens, vocabulary
        As for `multipartite`.

    Returns
    -------
    Structure
        Its arcs are the blocks of the graph.

    Raises
    ------
    InputError
        When there are more elements than memory or indices hold.
    """
    refuse_too_many_elements(dag)
    network = structure(
        dag, masks, pooling=pooling, weights=weights, attention=attention, tokens=tokens, vocabulary=vocabulary
    )
    if padding == "nodes":
        network = _with_padded_input(network)
    return replace(network, arcs=_chosen_skips(network)) if skips == "projection" else network


def weight_facts(dag: Dag, network: Structure, attention: str) -> Callable[[], dict[str, int]]:
    """What counts the weights of a network, all, kept and on paths, when somebody asks.

    Parameters
    ----------
    dag
        The network.
    network
        Its structural twin.
    attention
        The option of the encoding.

    Returns
    -------
    callable
        Takes nothing; the kept weights are those of now.
    """
    kept = {name: weight.kept for name, weight in network.lookup.known.items() if name in dag.state}

    def counted() -> dict[str, int]:
        counts = weight_counts(dag, kept, attention=attention)
        return {"weights_total": counts.total, "weights_kept": counts.kept, "weights_effective": counts.effective}

    return counted


def _blocks(network: Structure, max_edges: int) -> list[tuple[int, int, sparse.csr_array, str]]:
    """Edges between the nodes that are not relays; what a relay passes on starts at the elements it holds."""
    held: dict[int, list[tuple[int, sparse.csr_array]]] = {}
    blocks: list[tuple[int, int, sparse.csr_array, str]] = []
    for arc in network.arcs:
        refuse_above(max_edges, arc.relation.edge_count(), arc.name or network.nodes[arc.target].name)
        matrix = arc.relation.matrix()
        source = network.nodes[arc.source]
        starts = (
            [(s, compose(m, matrix)) for s, m in held.get(arc.source, [])] if source.relay else [(arc.source, matrix)]
        )
        if network.nodes[arc.target].relay:
            held.setdefault(arc.target, []).extend(starts)
        else:
            blocks.extend((start, arc.target, m, arc.name) for start, m in starts)
    return blocks


def _chosen_skips(network: Structure) -> tuple[StructuralArc, ...]:
    """Without the arcs that have no weight and end where an arc with a weight does."""
    weighted = {arc.target for arc in network.arcs if arc.relation.parametric}
    return tuple(arc for arc in network.arcs if arc.relation.parametric or arc.target not in weighted)


def _with_padded_input(network: Structure) -> Structure:
    """The zeros around the input as input nodes: the first convolutions read them without padding."""
    nodes, arcs = list(network.nodes), list(network.arcs)
    for index, node in enumerate(nodes):
        if node.role != "input" or node.relay:
            continue
        readers = [i for i, arc in enumerate(arcs) if arc.source == index]
        leading = [_leading_convolution(arcs[i].relation.map) for i in readers]
        convolutions = [convolution for convolution in leading if convolution is not None]
        paddings = {convolution.padding for convolution in convolutions}
        if len(convolutions) < len(leading) or len(paddings) != 1:
            raise InputError(
                f"padding='nodes' needs every reader of input {node.name!r} to be a convolution with the same padding."
            )
        (padding,) = paddings
        lengths = [n + a + b for n, (a, b) in zip(node.shape[2:], padding, strict=True)]
        nodes[index] = replace(node, shape=(*node.shape[:2], *lengths))
        for i, convolution in zip(readers, convolutions, strict=True):
            padded = replace(convolution, source_shape=nodes[index].shape, padding=((0, 0),) * len(padding))
            arcs[i] = replace(arcs[i], relation=replace(arcs[i].relation, map=padded))
    return replace(network, nodes=tuple(nodes), arcs=tuple(arcs))


def _leading_convolution(linear_map: LinearMap) -> Convolution | None:
    """The map when it is one plain convolution, element-wise operations around it aside."""
    every = linear_map.maps if isinstance(linear_map, Chain) else (linear_map,)
    steps = [m for m in every if not (isinstance(m, Gather) and m.index is None)]
    return steps[0] if len(steps) == 1 and isinstance(steps[0], Convolution) and not steps[0].transposed else None
