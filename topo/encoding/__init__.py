"""From a network and masks to graphs: ``topo.encode(model, masks, example=...)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .drawers import DRAWERS
from .graph import BipartiteGraph, LayerGraphs, MultipartiteGraph
from .parts import Block, Part

if TYPE_CHECKING:
    from .encoder import ENCODINGS, encode, encoding, encoding_options

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


def __getattr__(name: str) -> Any:
    """What needs torch is loaded when it is first asked for, so that graphs alone load quickly."""
    if name in ("ENCODINGS", "encode", "encoding", "encoding_options"):
        from . import encoder, layers, multipartite  # noqa: F401  (registers the encodings)

        return getattr(encoder, name)
    raise AttributeError(f"module 'topo.encoding' has no attribute {name!r}")
