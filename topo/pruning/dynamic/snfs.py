"""SNFS: sparse momentum, sparse networks from scratch (Dettmers & Zettlemoyer 2019, arXiv 1907.04840)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...training import TrainingState
from ..registry import PRUNERS
from ..task import Task
from .updater import TopologyUpdater, gradient, share

__all__ = ["SNFS"]


@PRUNERS.register("snfs", family="dynamic", stage="training", paper="Dettmers & Zettlemoyer 2019", needs_data=False)
class SNFS(TopologyUpdater):
    """Drop the smallest |w| of each layer, grow by momentum, most in the layers whose momentum is largest.

    Layers share the weights that all have dropped in proportion to the mean magnitude of the momentum over their kept
    weights; within a layer those pruned weights are grown whose momentum is largest. The momentum is the
    exponential average of the gradients by all weights, M <- a M + (1 - a) dL/dw; the optimizer's own knows nothing
    of pruned weights, so one is kept here.

    smoothing
        The factor a.
    initial, interval, drop_fraction, annealing, stop
        See `TopologyUpdater`.
    """

    def __init__(
        self,
        task: Task,
        *,
        smoothing: float = 0.9,
        initial: str = "erk",
        interval: int | None = None,
        drop_fraction: float = 0.5,
        annealing: str = "cosine",
        stop: float = 1.0,
    ) -> None:
        super().__init__(
            task, initial=initial, interval=interval, drop_fraction=drop_fraction, annealing=annealing, stop=stop
        )
        self.smoothing = share("smoothing", smoothing)
        self.momentum: dict[str, Tensor] = {}

    def on_gradients(self, state: TrainingState) -> None:
        for name, weight in self.weights(state).items():
            found = gradient(weight)
            momentum = self.momentum.setdefault(name, torch.zeros_like(found))
            momentum.lerp_(found, 1 - self.smoothing)
        super().on_gradients(state)

    def shares(self, before: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> list[float]:
        return [float(self.momentum[name].abs()[mask].mean()) if mask.any() else 0.0 for name, mask in before.items()]

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return self.momentum[name].abs()
