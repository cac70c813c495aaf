"""How a network is measured: through the edges of its graph, or by products with it where there are too many."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..dag import Dag, trace
from ..dag.example import Example
from ..dag.structure import checked_masks
from ..device import resolve_device
from ..encoding import ENCODINGS, encode, encoding_options
from ..encoding.graph import LayerGraphs, MultipartiteGraph
from ..encoding.multipartite import chosen_structure
from ..encoding.routes import estimated_edges
from ..errors import InputError
from ..memory import available_memory, in_words
from ..validation import one_of
from .structural_view import StructuralView

__all__ = ["ENGINES", "graph_or_view"]

logger = logging.getLogger(__name__)

ENGINES = ("auto", "edges", "structure")
BYTES_AN_EDGE = 45
"""What all metrics take for an edge at most, the graph itself included."""
MOST_EDGES = 2**31 - 1
"""What 32-bit indices hold."""


def graph_or_view(
    model: nn.Module | Dag,
    masks: Mapping[str, Any] | None,
    example: Example | None,
    *,
    encoding: str = "multipartite",
    options: Mapping[str, Any] | None = None,
    engine: str = "auto",
    device: str | torch.device = "auto",
) -> MultipartiteGraph | LayerGraphs | StructuralView:
    """The graph of a network or, where it would have too many edges, a view of it without them.

    Parameters
    ----------
    model, masks, example, encoding, options
        As for `topo.encode`.
    engine
        ``"edges"``, ``"structure"`` or ``"auto"``; see `topo.measure`.
    device
        Where the engine ``"structure"`` computes.

    Returns
    -------
    MultipartiteGraph, LayerGraphs or StructuralView
        Ready to be measured.

    Raises
    ------
    InputError
        When the engine does not suit the encoding, or as `topo.encode` does.
    """
    one_of("engine", engine, ENGINES)
    chosen = encoding_options(encoding, options or {})
    if encoding != "multipartite":
        if engine == "structure":
            raise InputError(f"engine='structure' measures the encoding 'multipartite', not {encoding!r}.")
        ENCODINGS.entry(encoding)
        return encode(model, masks, example=example, encoding=encoding, **chosen)
    if engine == "edges":
        return encode(model, masks, example=example, encoding=encoding, **chosen)
    dag = trace(model, example).single()
    choices = {name: value for name, value in chosen.items() if name != "max_edges"}
    network = chosen_structure(dag, checked_masks(dag, masks), **choices)
    if engine == "auto":
        edges = estimated_edges(network)
        needed, free = BYTES_AN_EDGE * edges, available_memory()
        if edges <= min(MOST_EDGES, chosen["max_edges"]) and needed <= free:
            return encode(dag, masks, encoding=encoding, **chosen)
        logger.info(
            "The graph has about %s edges, which take up to %s of the %s that are left: measured without building them "
            "(engine='structure'). Metrics that need edges have no value.",
            f"{edges:,}",
            in_words(needed),
            in_words(free),
        )
    return StructuralView(dag, network, chosen, resolve_device(device))
