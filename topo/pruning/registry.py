"""The pruning algorithms by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..registry import Registry

__all__ = ["PRUNERS"]

PRUNERS: Registry[Callable[..., dict[str, Tensor]]] = Registry("pruner")
"""Algorithms ``algorithm(task, *, ...settings) -> {parameter name: bool tensor}``; see `topo.pruning.task.Task`.

Facts of an entry: ``paper``; ``needs_data``; ``stage``, ``"initial"`` for one that a study applies before training,
``"trained"`` for one that it applies to the trained dense network, and ``"training"`` for one that changes the masks
while the network is trained, which returns a `topo.pruning.SparseTrainingCallback` in the place of masks.
"""
