"""GraNet: gradual pruning with neuroregeneration (Liu et al., NeurIPS 2021, arXiv 2106.10404)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ...errors import InputError
from ...training import TrainingState
from ...validation import share
from ..allocation import SHARES, keep_largest
from ..initial.random import random_masks
from ..registry import PRUNERS
from ..schedules import cubic
from ..task import Task
from .updater import TopologyUpdater, gradient

__all__ = ["GraNet"]


@PRUNERS.register("granet", family="dynamic", stage="training", paper="Liu et al. 2021", needs_data=False)
@dataclass(eq=False, kw_only=True)
class GraNet(TopologyUpdater):
    """Prune gradually to the target by |w| of all layers, then drop more in each layer and grow as many by |dL/dw|.

    Every update first prunes by magnitude, all layers ranked together, as far as the cubic schedule of gradual pruning
    says; then each layer drops a share of what is left, the smallest, and grows as many, what was just dropped or
    pruned included. Growing goes on to the end of training, pruning until the count is exact. In the public code an
    update follows the optimizer's step, every 1000 steps on CIFAR and 4000 on ImageNet, and the share to drop falls to
    .005; here an update takes the place of the step, every epoch unless `interval` says otherwise, and the share falls
    to 0.

    Parameters
    ----------
    start_sparsity
        Sparsity of the random masks at the start, from 0 (a dense network) to 1; not above that asked for, which is
        then the start.
    prune_until
        Share of the steps of training, above 0 and at most 1, after which the count is the target's; the public code
        has 110 of 160 epochs on CIFAR, 30 of 100 on ImageNet.
    """

    start_sparsity: float = 0.5
    prune_until: float = 0.6875
    drop_fraction: float = 0.5
    stop: float = 1.0

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        self.start_sparsity = share("start_sparsity", self.start_sparsity)
        self.prune_until = share("prune_until", self.prune_until)
        if not self.prune_until:
            raise InputError(
                "prune_until must be above 0, for pruning is gradual; start_sparsity=1 starts at the target."
            )
        self.first = max(self.kept, round((1 - self.start_sparsity) * self.total))
        self.masks = random_masks(task, SHARES[self.initial], self.first)

    def on_start(self, state: TrainingState) -> None:
        super().on_start(state)
        self.last = max(1, math.floor(self.prune_until * state.total_steps))
        self.finished = self.first == self.kept

    def on_step_end(self, state: TrainingState) -> None:
        if not self.finished and state.step >= self.last:
            self.prune(state, self.kept)
            self.finished = True

    def update(self, state: TrainingState) -> None:
        if not self.finished:
            density = cubic(self.kept / self.total, state.step / self.last, self.first / self.total)
            self.prune(state, max(self.kept, round(density * self.total)))
        super().update(state)

    def prune(self, state: TrainingState, count: int) -> None:
        """Keep the largest of the weights that are kept.

        Parameters
        ----------
        state
            The training run.
        count
            How many of all layers together.
        """
        held, sizes = self.held(state), self.magnitudes(state)
        before = {name: held[name].to(size.device) for name, size in sizes.items()}
        scores = {name: size.masked_fill(~before[name], -math.inf) for name, size in sizes.items()}
        self.install(state, before, keep_largest(scores, count))

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return gradient(weight).abs()
