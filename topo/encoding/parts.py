"""What graphs are made of: parts (one per tensor) and blocks of edges (one per arc)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from scipy import sparse

__all__ = ["Block", "Part"]


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

    `matrix` is CSR of shape (source size, target size) with int32 indices and non-negative float32
    weights; a stored entry is an edge even when its weight is 0.0. `name` is the layer's.
    """

    source: int
    target: int
    matrix: sparse.csr_array
    name: str = ""
