"""Pruning algorithms, and the verb: ``topo.prune(model, "snip", sparsity=0.9, data=...)`` gives `Masks`."""

from __future__ import annotations

from . import dag_pruning, dynamic, initial, structured, trained, variational
from .api import Task, prune, score, sparse_training_callback
from .needs import needs_of
from .registry import PRUNERS, settings_of
from .sparse_training import SparseTrainingCallback
from .structured.narrowing import narrowed
from .weight_scoring import by_score

__all__ = [
    "PRUNERS",
    "SparseTrainingCallback",
    "Task",
    "by_score",
    "dag_pruning",
    "dynamic",
    "initial",
    "narrowed",
    "needs_of",
    "prune",
    "score",
    "settings_of",
    "sparse_training_callback",
    "structured",
    "trained",
    "variational",
]
