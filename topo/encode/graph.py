"""Graphs as arrays: parts (one per tensor) and blocks of edges (one per arc)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

__all__ = ["BipartiteGraph", "Block", "LayerGraphs", "MultipartiteGraph", "Part"]


@dataclass(frozen=True)
class Part:
    """The nodes of one tensor: `size` consecutive node numbers from `offset`.

    `role` is ``"input"``, ``"hidden"`` or ``"output"``; `level` is the longest path from the input.
    """

    name: str
    shape: tuple[int, ...]
    level: int
    offset: int
    role: str = "hidden"

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nodes(self) -> slice:
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True)
class Block:
    """The edges from part `source` to part `target` (indices into the graph's parts).

    `matrix` is CSR of shape (source size, target size), int32 indices, float32 non-negative weights;
    a stored entry is an edge even when its weight is 0.0. `name` is the layer's.
    """

    source: int
    target: int
    matrix: sparse.csr_array
    name: str = ""


class MultipartiteGraph:
    """A directed graph whose nodes come in parts and whose edges come in blocks between parts."""

    def __init__(self, parts: list[Part], blocks: list[Block], attributes: Mapping[str, Any] | None = None):
        self.parts = tuple(parts)
        self.blocks = tuple(blocks)
        self.attributes = dict(attributes or {})

    @property
    def n_nodes(self) -> int:
        return sum(p.size for p in self.parts)

    @property
    def n_edges(self) -> int:
        return sum(b.matrix.nnz for b in self.blocks)

    def nodes_with_role(self, role: str) -> np.ndarray:
        """Bool array over all nodes: True in the parts of that role."""
        member = np.zeros(self.n_nodes, dtype=bool)
        for part in self.parts:
            if part.role == role:
                member[part.nodes] = True
        return member
