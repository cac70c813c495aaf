"""The one entry to all encodings, and how one is registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias

from torch import nn

from ..dag import Dag, trace
from ..dag.example import Example
from ..dag.structure import checked_masks
from ..dag.undefined_weights import warn_of_undefined_weights
from ..errors import InputError, counted, failures_named
from ..memory import available_memory, in_words
from ..registry import Registry
from ..validation import check_settings, check_values, settings_of
from .graph import LayerGraphs, MultipartiteGraph

__all__ = [
    "ENCODINGS",
    "MAX_EDGES",
    "MOST_EDGES",
    "encode",
    "encoding",
    "encoding_options",
    "refuse_above",
    "refuse_beyond_memory",
    "refuse_too_many_elements",
]

Encoder: TypeAlias = Callable[..., MultipartiteGraph | LayerGraphs]
ENCODINGS: Registry[Encoder] = Registry("encoding")
"""Encodings ``encoder(dag, masks, *, ...options) -> graph``, of a Dag of one sample and of bool tensors by name."""

MAX_EDGES = 400_000_000
MOST_EDGES = 2**31 - 1
"""What 32-bit indices hold."""
BYTES_AN_EDGE = 12
"""What an edge takes in an encoded graph, and on the way to it."""
BYTES_A_NODE = 8


def encoding(
    name: str,
    *,
    layers: bool = False,
    nodes: str = "",
    edge: str = "",
    weight: str = "",
    formula: str = "",
    bibtex: str = "",
) -> Callable[[Encoder], Encoder]:
    """Register a function ``encoder(dag, masks, *, ...options)`` as an encoding.

    Its keyword-only arguments are the encoding's options: their defaults, their types (a `Literal` lists what is
    allowed) and their text in the docstring are what `encode`, studies and the command line go by.

    Parameters
    ----------
    name
        What `encode` calls it. The columns of its metrics in a study begin with it.
    layers
        Whether it returns `LayerGraphs`, one bipartite graph a layer, and not one graph of the whole network.
    nodes, edge, weight
        What its nodes are, what an edge stands for and what the weight of an edge is, for lists and its page.
    formula
        When there is an edge, and its weight, in LaTeX.
    bibtex
        The BibTeX entry of its paper, for `topo.publishing.cite`.

    Returns
    -------
    callable
        A decorator that returns its function unchanged.

    Examples
    --------
    >>> import topo
    >>> @encoding("reversed")
    ... def reversed_network(dag, masks, *, weights: Literal["sum", "mean"] = "sum"):
    ...     "The network from its outputs to its inputs."
    >>> encoding_options("reversed", {})
    {'weights': 'sum'}
    >>> del ENCODINGS._entries["reversed"]
    """
    return ENCODINGS.register(
        name, layers=layers, nodes=nodes, edge=edge, weight=weight, formula=formula, bibtex=bibtex
    )


def encoding_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of an encoding, those not given by their defaults, checked.

    Parameters
    ----------
    name
        Name of a registered encoding.
    options
        Those given, by name.

    Returns
    -------
    dict
        Option -> value, in the order of the encoding's signature.

    Raises
    ------
    InputError
        When the encoding or an option is unknown, or a value is not of the option's type or not allowed.

    Examples
    --------
    >>> encoding_options("unrolled", {"max_edges": 1000})
    {'max_edges': 1000, 'tokens': 'positions', 'vocabulary': 'all'}
    """
    encoder = ENCODINGS[name]
    check_settings(encoder, options, f"encoding {name!r}")
    check_values(encoder, options)
    return {setting.name: options.get(setting.name, setting.default) for setting in settings_of(encoder)}


def refuse_above(max_edges: int, count: int, layer: str) -> None:
    """Raise `InputError` when `layer` has more edges than `max_edges`.

    Parameters
    ----------
    max_edges
        The limit.
    count
        Edges of the layer.
    layer
        Its name, for the message.

    Raises
    ------
    InputError
        When `count` is larger than `max_edges`.
    """
    if count > max_edges:
        raise InputError(
            f"layer {layer!r} alone has {counted(count, 'edge')}, more than max_edges={max_edges:,}: prune more, use a "
            "smaller input, attention='values', tokens='positions' or a rolled encoding, or raise max_edges."
        )


def refuse_too_many_elements(dag: Dag) -> None:
    """Raise `InputError` when the elements of a network's tensors cannot even be numbered in the memory that is left.

    Parameters
    ----------
    dag
        Of one sample.

    Raises
    ------
    InputError
        With their number, and what does not depend on it.
    """
    shapes = [shape for node in dag.nodes for shape in (node.shape if node.kind == "product" else [node.shape])]
    count, most = sum(map(prod, shapes)), max(map(prod, shapes), default=0)
    needed, free = BYTES_A_NODE * count, available_memory()
    if needed > free:
        why = f"whose numbers alone take {in_words(needed)}, and {in_words(free)} of memory are left"
    elif most > MOST_EDGES:
        why = f"{most:,} of them in one, and indices end at {MOST_EDGES:,}"
    else:
        return
    raise InputError(
        f"the tensors of the network have {count:,} elements, {why}: use a smaller input or the encoding 'rolled' or "
        "'rolled-channel', whose graphs do not grow with it."
    )


def refuse_beyond_memory(edges: int, nodes: int | None = None) -> None:
    """Raise `InputError` when graphs of so many edges do not fit into the memory that is left, or into their indices.

    Parameters
    ----------
    edges
        About how many edges there are.
    nodes
        At most how many nodes one graph of the whole network has; None of a graph a layer.

    Raises
    ------
    InputError
        With the estimate, and what takes less.
    """
    needed, free = BYTES_AN_EDGE * edges + BYTES_A_NODE * (nodes or 0), available_memory()
    if needed > free:
        why = f"which take {in_words(needed)}, and {in_words(free)} of memory are left"
    elif nodes is not None and max(edges, nodes) > MOST_EDGES:
        why = f"and the indices of a graph end at {MOST_EDGES:,}"
    else:
        return
    has = "the graphs of the layers have" if nodes is None else f"the graph has about {counted(nodes, 'node')} and"
    raise InputError(
        f"{has} about {counted(edges, 'edge')}, {why}: prune more, use a smaller input or the encoding 'rolled' or "
        "'rolled-channel'; topo.measure(model, masks, example=..., engine='structure') or topo measure MODEL --engine "
        "structure measures the whole network without building edges."
    )


def encode(
    model: nn.Module | Dag,
    masks: Mapping[str, Any] | None = None,
    *,
    example: Example | None = None,
    encoding: str = "multipartite",
    **options: Any,
) -> MultipartiteGraph | LayerGraphs:
    """Encode a sparse network as a graph.

    Parameters
    ----------
    model
        A module, or its `Dag` from `topo.trace`: trace once when many masks of one network are encoded.
    masks
        Parameter names to bool tensors; a kept weight is an edge even when its value is 0.0. Parameters
        without a mask contribute their non-zero weights. Weights are always the model's: where an algorithm trained
        or adjusted them, write them into it first with `topo.Masks.install`.
    example
        The model's input: a tensor, a tuple or dict of tensors, the shape of one sample such as ``(3, 32, 32)``, or a
        tuple of shapes; see `topo.dag.example.Example`. Needed with a module.
    encoding
        ``"multipartite"``: one graph of the whole network, one part a tensor.
        ``"unrolled"``, ``"rolled"``, ``"rolled-channel"``: one bipartite graph a layer. Or an encoding of one's own;
        see `topo.encoding.encoding`.
    options
        Options of the encoding; for ``"multipartite"`` they are in `topo.encoding.multipartite.multipartite`, and
        ``topo list encodings`` names those of each.

    Returns
    -------
    MultipartiteGraph or LayerGraphs
        ``attributes`` name the encoding and its options.

    Notes
    -----
    Edges join exactly the elements whose partial derivatives are not structurally zero, with activations and
    normalisations taken as the identity and softmax attention as a dense sum over what its mask allows. A mask that is
    an input decides by its values in the first sample of the example that the network was traced with, and is no part
    of the graph; tokens are one node a position. Elements are numbered row by row within a part. Parallel edges are
    merged and their weights added.

    Raises
    ------
    InputError
        For unknown names, masks that do not fit, an input of the wrong shape, or an operation that has no
        element-level meaning.

    Warns
    -----
    UserWarning
        Where the masked model itself computes NaN, as of a row that is pruned whole and divided by its own norm.

    Examples
    --------
    >>> import torch
    >>> import topo
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    >>> topo.encode(model, example=(1, 4, 4))
    MultipartiteGraph(3 parts, 27 nodes, 96 edges)
    >>> topo.encode(model, example=(1, 4, 4), encoding="rolled")
    LayerGraphs(2 layers, 22 nodes, 42 edges)
    """
    chosen = encoding_options(encoding, options)
    if not isinstance(model, nn.Module | Dag):
        raise InputError(f"topo.encode needs an nn.Module or a Dag; got {type(model).__name__}.")
    if example is None and not isinstance(model, Dag):
        raise InputError("topo.encode needs example, an input of the model or its shape, such as (3, 32, 32).")
    dag = trace(model, example).single()
    checked = checked_masks(dag, masks)
    warn_of_undefined_weights(dag, checked)
    with failures_named(f"encoding {encoding!r}"):
        graph = ENCODINGS[encoding](dag, checked, **chosen)
    wanted = LayerGraphs if ENCODINGS.entry(encoding).info["layers"] else MultipartiteGraph
    if not isinstance(graph, wanted):
        raise InputError(
            f"encoding {encoding!r} returned a {type(graph).__name__}; it must return a {wanted.__name__}."
        )
    graph.annotate({"encoding": encoding, "options": chosen})
    return graph
