"""MEST: memory-economic sparse training (Yuan et al., NeurIPS 2021, arXiv 2110.14032)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...training import TrainingState
from ...validation import flag, real_number
from ..registry import PRUNERS
from ..task import Task
from .updater import TopologyUpdater, gradient

__all__ = ["MEST"]


@PRUNERS.register("mest", family="dynamic", stage="training", paper="Yuan et al. 2021", needs_data=False)
@dataclass(eq=False, kw_only=True)
class MEST(TopologyUpdater):
    """Drop the smallest |w| + lambda |dL/dw| of each layer, grow at random, ever fewer ("elastic mutation").

    Only gradients of kept weights are looked at. With `soft_bound`, the paper's EM&S, weights are grown first, trained
    beside the others until the next update, and only then the lowest scores are dropped: between updates the
    network is larger than the target by the weights that were grown, and exact from the last update on.

    Parameters
    ----------
    gradient_weight
        The factor lambda of the gradient in the score, from 0 up.
    soft_bound
        Whether to exceed the count of kept weights between updates.
    """

    gradient_weight: float = 0.01
    soft_bound: bool = False

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        self.gradient_weight = real_number("gradient_weight", self.gradient_weight, minimum=0)
        flag("soft_bound", self.soft_bound)
        self.counts = {name: int(mask.sum()) for name, mask in self.masks.items()}

    def drop(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return weight.detach().abs() + self.gradient_weight * gradient(weight).abs()

    def quota(self, name: str, mask: Tensor, fraction: float) -> int:
        if self.soft_bound:
            return int(mask.sum()) - self.counts[name]
        return super().quota(name, mask, fraction)

    def gains(
        self, state: TrainingState, before: Mapping[str, Tensor], surviving: Mapping[str, Tensor]
    ) -> dict[str, int]:
        if not self.soft_bound:
            return super().gains(state, before, surviving)
        fraction = 0.0 if self.is_last(state) else self.fraction(state)
        return {name: min(int(fraction * self.counts[name]), int((~mask).sum())) for name, mask in surviving.items()}
