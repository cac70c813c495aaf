"""From a network and masks to graphs: ``topo.encode(model, masks, example=...)``."""

from __future__ import annotations

from . import layers, multipartite  # noqa: F401  (registers the encodings)
from .drawers import DRAWERS
from .encoder import ENCODINGS, encode, encoding, encoding_options
from .graph import BipartiteGraph, Block, LayerGraphs, MultipartiteGraph, Part

__all__ = [
    "DRAWERS",
    "ENCODINGS",
    "BipartiteGraph",
    "Block",
    "LayerGraphs",
    "MultipartiteGraph",
    "Part",
    "encode",
    "encoding",
    "encoding_options",
]
