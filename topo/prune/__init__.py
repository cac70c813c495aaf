"""Pruning algorithms, and the verb: ``topo.prune(model, "snip", sparsity=0.9, data=...)`` gives `Masks`."""

from __future__ import annotations

from ..callable_module import make_callable
from . import initial, trained
from .base import Task, prune, score
from .registry import PRUNERS
from .scored import by_score

__all__ = ["PRUNERS", "Task", "by_score", "initial", "prune", "score", "trained"]

make_callable(__name__, "prune")
