"""From a network and masks to graphs: ``topo.encode(model, masks, input_shape=...)``."""

from __future__ import annotations

from ..callable_module import make_callable
from . import layers, multipartite  # noqa: F401  (registers the encodings)
from .encode import ENCODINGS, encode
from .graph import BipartiteGraph, Block, LayerGraphs, MultipartiteGraph, Part

__all__ = ["ENCODINGS", "BipartiteGraph", "Block", "LayerGraphs", "MultipartiteGraph", "Part", "encode"]

make_callable(__name__, "encode")
