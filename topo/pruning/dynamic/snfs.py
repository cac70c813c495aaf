"""SNFS: sparse momentum, sparse networks from scratch (Dettmers & Zettlemoyer 2019, arXiv 1907.04840)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...training import TrainingState
from ...validation import share
from ..registry import PRUNERS
from ..task import Task
from .updater import TopologyUpdater, gradient

__all__ = ["SNFS"]


@PRUNERS.register("snfs", family="dynamic", stage="training", paper="Dettmers & Zettlemoyer 2019", needs_data=False)
@dataclass(eq=False, kw_only=True)
class SNFS(TopologyUpdater):
    """Drop the smallest |w| of each layer, grow by momentum, most in the layers whose momentum is largest.

    Layers share the weights that all have dropped in proportion to the mean magnitude of the momentum over their kept
    weights; within a layer those pruned weights are grown whose momentum is largest. The momentum is the
    exponential average of the gradients by all weights, M <- a M + (1 - a) dL/dw; the optimizer's own knows nothing
    of pruned weights, so one is kept here.

    Parameters
    ----------
    smoothing
        The factor a of the exponential average of the gradients, from 0 to 1.
    """

    smoothing: float = 0.9
    drop_fraction: float = 0.5
    stop: float = 1.0

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        self.smoothing = share("smoothing", self.smoothing)
        self.momentum: dict[str, Tensor] = {}

    def on_gradients(self, state: TrainingState) -> None:
        for name, weight in self.weights(state).items():
            slope = gradient(weight)
            momentum = self.momentum.setdefault(name, torch.zeros_like(slope))
            momentum.lerp_(slope, 1 - self.smoothing)
        super().on_gradients(state)

    def shares(self, before: Mapping[str, Tensor], surviving: Mapping[str, Tensor]) -> list[float]:
        return [float(self.momentum[name].abs()[mask].mean()) if mask.any() else 0.0 for name, mask in before.items()]

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return self.momentum[name].abs()
