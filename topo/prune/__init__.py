"""Pruning algorithms, and the verb: ``topo.prune(model, "snip", sparsity=0.9, data=...)`` gives `Masks`."""

from __future__ import annotations

from ..callable_module import make_callable
from . import dynamic, initial, structured, trained, variational
from .base import Task, prune, score, sparsifier
from .registry import PRUNERS
from .scored import by_score
from .sparsifier import Sparsifier

__all__ = [
    "PRUNERS",
    "Sparsifier",
    "Task",
    "by_score",
    "dynamic",
    "initial",
    "prune",
    "score",
    "sparsifier",
    "structured",
    "trained",
    "variational",
]

make_callable(__name__, "prune")
