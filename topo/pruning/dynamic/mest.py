"""MEST: memory-economic sparse training (Yuan et al., NeurIPS 2021, arXiv 2110.14032)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...errors import InputError
from ...training import TrainingState
from ..registry import PRUNERS
from ..task import Task
from .updater import TopologyUpdater, gradient

__all__ = ["MEST"]


@PRUNERS.register("mest", family="dynamic", stage="training", paper="Yuan et al. 2021", needs_data=False)
class MEST(TopologyUpdater):
    """Drop the smallest |w| + lambda |dL/dw| of each layer, grow at random, ever fewer ("elastic mutation").

    Only gradients of kept weights are looked at. With `soft_bound`, the paper's EM&S, weights are grown first, trained
    beside the others until the next update, and only then the lowest scores are dropped: between updates the
    network is larger than the target by the weights that were grown, and exact from the last update on.

    gradient_weight
        The factor lambda.
    soft_bound
        Whether to exceed the count of kept weights between updates.
    initial, interval, drop_fraction, annealing, stop
        See `TopologyUpdater`.
    """

    def __init__(
        self,
        task: Task,
        *,
        gradient_weight: float = 0.01,
        soft_bound: bool = False,
        initial: str = "erk",
        interval: int | None = None,
        drop_fraction: float = 0.3,
        annealing: str = "cosine",
        stop: float = 0.75,
    ) -> None:
        super().__init__(
            task, initial=initial, interval=interval, drop_fraction=drop_fraction, annealing=annealing, stop=stop
        )
        if isinstance(gradient_weight, bool) or not 0 <= gradient_weight < float("inf"):
            raise InputError(f"gradient_weight must be a number from 0 up, not {gradient_weight!r}.")
        if not isinstance(soft_bound, bool):
            raise InputError(f"soft_bound must be true or false, not {soft_bound!r}.")
        self.gradient_weight, self.soft_bound = gradient_weight, soft_bound
        self.counts = {name: int(mask.sum()) for name, mask in self.masks.items()}

    def drop(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return weight.detach().abs() + self.gradient_weight * gradient(weight).abs()

    def quota(self, name: str, mask: Tensor, fraction: float) -> int:
        if self.soft_bound:
            return int(mask.sum()) - self.counts[name]
        return super().quota(name, mask, fraction)

    def gains(self, state: TrainingState, before: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> dict[str, int]:
        if not self.soft_bound:
            return super().gains(state, before, left)
        fraction = 0.0 if self.is_last(state) else self.fraction(state)
        return {name: min(int(fraction * self.counts[name]), int((~mask).sum())) for name, mask in left.items()}
