"""The compiled code of the metrics made ready, so that no measurement waits for it."""

from __future__ import annotations

import logging
from functools import cache
from math import isqrt

import numpy as np
from scipy import sparse

from ..encoding.graph import BipartiteGraph, MultipartiteGraph
from ..encoding.parts import Block, Part
from .kernels import compiler
from .measurement import measure
from .spectra import DENSE_SIZE

__all__ = ["prepare_kernels"]

logger = logging.getLogger(__name__)

# So many positions that spectra are found by iteration.
SIDE = isqrt(DENSE_SIZE) + 1
COMPILED = ("general", "neighbourhood", "strength", "global", "expansion", "paths")


@cache
def prepare_kernels() -> None:
    """Load the compiled code of the metrics, or compile what no earlier run left on disk; once a process.

    The log says so when something is compiled.

    Examples
    --------
    >>> prepare_kernels()
    """
    if not compiler.available():
        return
    with compiler.compilation_announced(
        lambda: logger.info("Compiling the code of the metrics, once on this machine; this takes up to a minute.")
    ):
        for layer in _layers():
            measure(_with_a_skip(layer), metrics=COMPILED)
            measure(BipartiteGraph(layer), metrics="delta_r")


def _layers() -> list[sparse.csr_array]:
    """A layer whose weights run along diagonals, as those of a convolution do, and one in which none do."""
    size = SIDE**2
    band = sparse.diags_array([np.ones(size), np.ones(size - 1)], offsets=[0, 1], dtype=np.float32).tocsr()
    return [band, band[::-1].tocsr()]


def _with_a_skip(layer: sparse.csr_array) -> MultipartiteGraph:
    """Three parts, each joined to both others."""
    roles = enumerate(("input", "hidden", "output"))
    parts = [Part(role, (1, SIDE, SIDE), level, level * SIDE**2, role) for level, role in roles]
    return MultipartiteGraph(parts, [Block(0, 1, layer), Block(1, 2, layer), Block(0, 2, layer)])
