"""The one entry to all encodings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from ..dag import Dag, trace
from ..dag.structure import checked_masks
from ..errors import InputError, unknown_name
from ..registry import Registry
from .graph import LayerGraphs, MultipartiteGraph

__all__ = ["ENCODINGS", "Facts", "Options", "encode"]

Facts = dict[str, Any]
ENCODINGS: Registry[Callable[..., MultipartiteGraph | LayerGraphs]] = Registry("encoding")


@dataclass(frozen=True)
class Options:
    """How to encode; see `encode`."""

    skips: Literal["all", "projection"] = "all"
    pooling: Literal["through", "node"] = "through"
    padding: Literal["none", "nodes"] = "none"
    weights: Literal["sum", "mean"] = "sum"
    attention: Literal["exact", "values"] = "exact"
    max_edges: int = 400_000_000

    CHOICES = {
        "skips": ("all", "projection"),
        "pooling": ("through", "node"),
        "padding": ("none", "nodes"),
        "weights": ("sum", "mean"),
        "attention": ("exact", "values"),
    }

    def __post_init__(self) -> None:
        for name, known in self.CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(f"value of {name}", getattr(self, name), known)

    def refuse_above(self, count: int, layer: str) -> None:
        """Raise `InputError` when `layer` has more edges than `max_edges`."""
        if count > self.max_edges:
            raise InputError(
                f"layer {layer!r} alone has {count:,} edges, more than max_edges={self.max_edges:,}: prune more, use a "
                "smaller input, attention='values' or a rolled encoding, or raise max_edges."
            )


def encode(
    model: nn.Module | Dag,
    masks: Mapping[str, Any] | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
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
        without a mask contribute their non-zero weights.
    input_shape
        Shape of one sample, such as ``(3, 32, 32)``; needed with a module.
    encoding
        ``"multipartite"``: one graph of the whole network, one part a tensor.
        ``"unrolled"``, ``"rolled"``, ``"rolled-channel"``: one bipartite graph a layer.
    skips
        ``"all"`` (default), or ``"projection"`` to leave out the skips without weights, for comparison with
        the published tables.
    pooling
        ``"through"`` (default): an edge that leaves a pooled element starts at every element of its window;
        ``"node"``: pooled tensors are parts of their own.
    padding
        ``"none"`` (default): no edges from padded positions; ``"nodes"``: the zeros around the input are nodes,
        for comparison with the published tables.
    weights
        ``"sum"`` (default): an edge through a pooling window keeps the weight; ``"mean"``: it is divided by the
        size of the window.
    attention
        ``"exact"`` (default): the result at a token depends on its query, all keys and all values, as in the
        Jacobian; ``"values"``: on the values only, which is much smaller.
    max_edges
        Refuse, before it is built, a block of more edges than this.

    Returns
    -------
    MultipartiteGraph or LayerGraphs
        ``attributes`` name the encoding and its options.

    Notes
    -----
    Edges join exactly the elements whose partial derivatives are not structurally zero, with activations and
    normalisations taken as the identity and softmax attention as a dense sum. Elements are numbered row by row
    within a part. Parallel edges are merged and their weights added.

    Raises
    ------
    InputError
        For unknown names, masks that do not fit, an input of the wrong shape, or an operation that has no
        element-level meaning.

    Examples
    --------
    >>> import torch
    >>> import topo
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    >>> topo.encode(model, input_shape=(1, 4, 4))
    MultipartiteGraph(3 parts, 27 nodes, 96 edges)
    >>> topo.encode(model, input_shape=(1, 4, 4), encoding="rolled")
    LayerGraphs(2 layers, 22 nodes, 42 edges)
    """
    build = ENCODINGS[encoding]
    unknown = set(options) - set(Options.__dataclass_fields__)
    if unknown:
        name = sorted(unknown)[0]
        raise unknown_name("encoding option", name, Options.__dataclass_fields__)
    chosen = Options(**options)
    dag = traced(model, input_shape)
    return build(dag, checked_masks(dag, masks), chosen, {"encoding": encoding, "options": asdict(chosen)})


def traced(model: nn.Module | Dag, input_shape: tuple[int, ...] | None) -> Dag:
    """The Dag of one sample of a model, which may already be one."""
    if isinstance(model, Dag):
        return model.single()
    if not isinstance(model, nn.Module):
        raise InputError(f"topo.encode needs an nn.Module or a Dag; got {type(model).__name__}.")
    if input_shape is None:
        raise InputError("topo.encode needs input_shape, the shape of one sample such as (3, 32, 32).")
    if not all(isinstance(n, int) and n > 0 for n in input_shape):
        raise InputError(f"input_shape {input_shape!r} must be positive integers, such as (3, 32, 32).")
    return trace(model, torch.zeros(1, *input_shape)).single()
