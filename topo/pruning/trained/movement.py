"""Movement pruning (Sanh, Wolf & Rush, NeurIPS 2020, arXiv 2005.07683)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...masks import Masks
from ...training import TrainingState
from ..registry import PRUNERS
from .gradual import Gradual

__all__ = ["Movement"]


@PRUNERS.register("movement", family="trained", stage="training", paper="Sanh et al. 2020", needs_data=False)
class Movement(Gradual):
    """How far a weight moves away from zero in training, the sum over the steps of -dL/dW' * W.

    W' = W * mask is what the network computes with; by the straight-through estimate its gradient reaches the scores
    of pruned weights too. Those keep the value they had when they were pruned, with which they come back when their
    score is again among the largest (the hard version of the paper). The learning rate of the scores scales all of
    them and is left out. The paper finds the masks anew at every step, here it is every tenth unless an interval is
    given.
    """

    longest_interval = 10

    def on_start(self, state: TrainingState) -> None:
        super().on_start(state)
        weights = self.weights(state)
        self.values = {name: weight.detach().clone() for name, weight in weights.items()}
        self._held: Masks | None = None
        self._kept: dict[str, Tensor] = {}
        self.sums = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in weights.items()}

    def underlying(self, state: TrainingState) -> dict[str, Tensor]:
        """The weights W: those in the network, and of pruned ones the values they had.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        dict
            Name -> tensor in the weight's shape.
        """
        masks = self.held(state)
        if masks is not self._held:
            # Copied to the device once each time that they change, not at every step.
            self._held = masks
            self._kept = {name: masks[name].to(weight.device) for name, weight in self.weights(state).items()}
        return {
            name: torch.where(self._kept[name], weight.detach(), self.values[name])
            for name, weight in self.weights(state).items()
        }

    def on_gradients(self, state: TrainingState) -> None:
        if self.finished:
            return
        values = self.underlying(state)
        for name, weight in self.weights(state).items():
            if weight.grad is not None:
                self.sums[name].addcmul_(weight.grad, values[name], value=-1.0)

    def scores(self, state: TrainingState) -> dict[str, Tensor]:
        return self.sums

    @torch.no_grad()
    def change(self, state: TrainingState, masks: Mapping[str, Tensor]) -> None:
        self.values = self.underlying(state)
        super().change(state, masks)
        for name, weight in self.weights(state).items():
            weight.copy_(self.values[name].masked_fill(~masks[name], 0.0))
