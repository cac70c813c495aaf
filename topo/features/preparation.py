"""The compiled code of the metrics made ready, so that no measurement waits for it."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
from scipy import sparse

from ..encoding.graph import BipartiteGraph, MultipartiteGraph
from ..encoding.parts import Block, Part
from .kernels import compiler
from .measurement import measure
from .spectra import DENSE_SIZE

__all__ = ["prepare_kernels"]

logger = logging.getLogger(__name__)


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
        measure(_with_a_skip(), metrics=("general", "neighbourhood", "strength", "global", "expansion", "paths"))
        measure(_a_layer(), metrics="delta_r")


def _with_a_skip() -> MultipartiteGraph:
    """Three nodes, each joined to both others."""
    parts = [Part(role, (1,), level, level, role) for level, role in enumerate(("input", "hidden", "output"))]
    one = sparse.csr_array(np.ones((1, 1), np.float32))
    return MultipartiteGraph(parts, [Block(0, 1, one), Block(1, 2, one), Block(0, 2, one)])


def _a_layer() -> BipartiteGraph:
    """As many nodes on either side as singular values by products take, joined to themselves and the next."""
    size = DENSE_SIZE + 1
    ones = np.ones(2 * size, np.float32)
    return BipartiteGraph(sparse.csr_array(sparse.diags_array([ones[:size], ones[1:size]], offsets=[0, 1])))
