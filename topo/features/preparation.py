"""The compiled code of the metrics made ready, so that no measurement waits for it."""

from __future__ import annotations

import logging
from functools import cache
from threading import Timer

import numpy as np
from scipy import sparse

from ..encoding.graph import Block, MultipartiteGraph, Part
from .kernels import compiler
from .measurement import measure

__all__ = ["prepare_kernels"]

logger = logging.getLogger(__name__)

SILENT_SECONDS = 1.0


@cache
def prepare_kernels() -> None:
    """Load the compiled code of the metrics, or compile what no earlier run left on disk; once a process.

    The log says so when it takes more than a moment.

    Examples
    --------
    >>> prepare_kernels()
    """
    if not compiler.available():
        return
    waiting = Timer(
        SILENT_SECONDS,
        logger.info,
        ("Making the compiled code of the metrics ready; the first time on a machine this takes up to a minute.",),
    )
    waiting.daemon = True
    waiting.start()
    try:
        measure(_with_a_skip(), metrics=("general", "neighbourhood", "strength", "global", "expansion", "paths"))
    finally:
        waiting.cancel()


def _with_a_skip() -> MultipartiteGraph:
    """Three nodes, each joined to both others."""
    parts = [Part(role, (1,), level, level, role) for level, role in enumerate(("input", "hidden", "output"))]
    one = sparse.csr_array(np.ones((1, 1), np.float32))
    return MultipartiteGraph(parts, [Block(0, 1, one), Block(1, 2, one), Block(0, 2, one)])
