"""Pruning algorithms, and the verb: ``topo.prune(model, "snip", sparsity=0.9, data=...)`` gives `Masks`."""

from __future__ import annotations

from . import dag_pruning, dynamic, initial, structured, trained, variational
from .api import Task, prune, score, sparsifier
from .mask_callback import Sparsifier
from .registry import PRUNERS
from .weight_scoring import by_score

__all__ = [
    "PRUNERS",
    "Sparsifier",
    "Task",
    "by_score",
    "dag_pruning",
    "dynamic",
    "initial",
    "prune",
    "score",
    "sparsifier",
    "structured",
    "trained",
    "variational",
]
