"""How a network is measured: through the edges of its graph, or by products with it where there are too many."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..dag import Dag, trace
from ..dag.example import Example
from ..dag.structure import checked_masks
from ..device import resolve_device
from ..encoding import ENCODINGS, encode, encoding_options
from ..encoding.encoder import MOST_EDGES
from ..encoding.graph import LayerGraphs, MultipartiteGraph
from ..encoding.multipartite import chosen_structure
from ..encoding.routes import elements, estimated_edges
from ..errors import InputError
from ..memory import in_words, memory_kept_free
from ..validation import one_of
from .structural_view import BYTES_OF_AN_ITERATION, StructuralView

__all__ = ["ENGINES", "choices_said_once", "graph_or_view"]

logger = logging.getLogger(__name__)

ENGINES = ("auto", "edges", "structure")
BYTES_AN_EDGE = 45
"""What all metrics take for an edge at most, the graph itself included."""
BYTES_A_NODE = 120
"""What the view without edges takes for an element; spectra ask for theirs by themselves."""


@contextmanager
def graph_or_view(
    model: nn.Module | Dag,
    masks: Mapping[str, Any] | None,
    example: Example | None,
    *,
    encoding: str = "multipartite",
    options: Mapping[str, Any] | None = None,
    engine: str = "auto",
    device: str | torch.device = "auto",
) -> Iterator[MultipartiteGraph | LayerGraphs | StructuralView]:
    """The graph of a network or, where it would have too many edges, a view of it without them.

    What measuring it may take is kept free meanwhile, so that of many networks as many are measured at once as fit.

    Parameters
    ----------
    model, masks, example, encoding, options
        As for `topo.encode`.
    engine
        ``"edges"``, ``"structure"`` or ``"auto"``; see `topo.measure`.
    device
        Where the engine ``"structure"`` computes.

    Yields
    ------
    MultipartiteGraph, LayerGraphs or StructuralView
        Ready to be measured.

    Raises
    ------
    InputError
        When the engine does not suit the encoding, when there is not enough memory, or as `topo.encode` does.
    """
    one_of("engine", engine, ENGINES)
    chosen = encoding_options(encoding, options or {})
    if encoding != "multipartite":
        if engine == "structure":
            raise InputError(f"engine='structure' measures the encoding 'multipartite', not {encoding!r}.")
        ENCODINGS.entry(encoding)
        yield encode(model, masks, example=example, encoding=encoding, **chosen)
        return
    dag = trace(model, example).single()
    choices = {name: value for name, value in chosen.items() if name != "max_edges"}
    network = chosen_structure(dag, checked_masks(dag, masks), **choices)
    if engine != "structure":
        edges = estimated_edges(network)
        needed = BYTES_AN_EDGE * edges
        with memory_kept_free(needed) as free:
            fits = edges <= min(MOST_EDGES, chosen["max_edges"]) and needed <= free
            if engine == "edges" or fits:
                yield encode(dag, masks, encoding=encoding, **chosen)
                return
        logger.info(
            "The graph has about %s edges, which take up to %s of the %s that are left: measured without building them "
            "(engine='structure'). Metrics that need edges have no value.",
            f"{edges:,}",
            in_words(needed),
            in_words(free),
        )
    size = elements(network)
    needed = BYTES_A_NODE * size
    with memory_kept_free(needed + BYTES_OF_AN_ITERATION * size) as free:
        if needed > free:
            raise InputError(
                f"the network has {size:,} elements, for which engine='structure' takes about {in_words(needed)}, and "
                f"{in_words(free)} of memory are left: use a smaller input or the encoding 'rolled' or "
                "'rolled-channel', whose graphs do not grow with it."
            )
        yield StructuralView(dag, network, chosen, resolve_device(device))


@contextmanager
def choices_said_once() -> Iterator[None]:
    """Of many networks, let the log say for the first one alone that it is measured without edges."""
    said: list[str] = []

    def first(record: logging.LogRecord) -> bool:
        said.append(str(record.msg))
        return said.count(str(record.msg)) == 1

    logger.addFilter(first)
    try:
        yield
    finally:
        logger.removeFilter(first)
