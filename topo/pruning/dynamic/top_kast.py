"""Top-KAST: top-K always sparse training (Jayakumar et al., NeurIPS 2020, arXiv 2106.03517)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError
from ...training import TrainingState
from ...validation import one_of, real_number, share, whole_number
from ..allocation import SHARES, layer_counts
from ..registry import PRUNERS
from ..sparse_training import SparseTrainingCallback
from ..task import Task
from .updater import gradient, largest

__all__ = ["TopKAST"]


@PRUNERS.register("top-kast", family="dynamic", stage="training", paper="Jayakumar et al. 2020", needs_data=False)
class TopKAST(SparseTrainingCallback):
    """Compute with the largest |w| of each layer, train a larger set of them, and let both be chosen anew.

    Dense weights stand behind the network. It computes with the set A, the largest of a layer; the gradient by what it
    computes with trains the set B, the largest of a bigger number, of which those outside A are zero in the network.
    All others stay as they are, and the optimizer forgets them. So that weights in A do not stay there for being
    there, an L2 penalty holds down the weights of B, that of those outside A larger by 1/D with D the density of A.

    Parameters
    ----------
    task
        The model, its weights and how many to keep.
    backward
        Size of B in multiples of A, from 1 up; no larger than the layer.
    penalty
        Factor of w in the gradient, from 0 up, for weights in A; times 1/D for others in B. The weight decay of the
        recipe is beside it.
    initial
        How the weights of A are spread over the layers: ``"erk"`` or ``"er"``, as of other dynamic pruners, or
        ``"uniform"``, the same density in every layer, as in the paper.
    interval
        Optimizer steps after which A and B are chosen anew, from 1 up.
    stop
        Share of the steps of training, above 0 and at most 1, after which A stays and is trained alone.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(
        self,
        task: Task,
        *,
        backward: float = 2.0,
        penalty: float = 1e-4,
        initial: str = "erk",
        interval: int = 1,
        stop: float = 1.0,
    ) -> None:
        super().__init__(task)
        self.backward = real_number("backward", backward, minimum=1)
        self.factor = real_number("penalty", penalty, minimum=0)
        one_of("initial", initial, SHARES)
        self.interval = whole_number("interval", interval, minimum=1)
        self.stop = share("stop", stop)
        if not self.stop:
            raise InputError("stop must be above 0, for nothing would be learned.")
        shapes = {name: weight.shape for name, weight in task.weights.items()}
        self.room = task.room
        self.counts = dict(zip(shapes, layer_counts(shapes, task.kept, SHARES[initial], self.room), strict=True))

    def on_start(self, state: TrainingState) -> None:
        self.last = max(1, math.floor(self.stop * state.total_steps))
        self.finished = False
        self.dense = {name: weight.detach().clone() for name, weight in self.weights(state).items()}
        self._choose()
        self._show(state)

    def on_gradients(self, state: TrainingState) -> None:
        if self.finished:
            return
        for name, weight in self.weights(state).items():
            dense, used = self.dense[name], self.used[name]
            if weight.requires_grad:
                held_down = torch.where(used, dense, dense * (dense.numel() / max(1, self.counts[name])))
                slope = gradient(weight) + self.factor * held_down
                weight.grad = slope.masked_fill(~self.trained[name], 0.0)
            with torch.no_grad():
                weight.copy_(dense)

    def on_step_end(self, state: TrainingState) -> None:
        if self.finished:
            return
        for name, weight in self.weights(state).items():
            trained = self.trained[name]
            self.dense[name] = torch.where(trained, weight.detach(), self.dense[name])
            for value in state.optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.masked_fill_(~trained, 0.0)
        self.finished = state.step >= self.last
        if self.finished or state.step % self.interval == 0:
            self._choose()
        self._show(state)
        if self.finished:
            self.change(state, self.used)

    def _choose(self) -> None:
        self.used: dict[str, Tensor] = {}
        self.trained: dict[str, Tensor] = {}
        for name, dense in self.dense.items():
            count, size = self.counts[name], dense.abs()
            allowed = self.within.get(name, torch.ones(size.shape, dtype=torch.bool)).to(size.device)
            more = min(self.room[name], round(self.backward * count))
            self.trained[name] = largest(size, allowed, more)
            self.used[name] = largest(size, self.trained[name], count)

    def _show(self, state: TrainingState) -> None:
        self.show(state, {name: dense.masked_fill(~self.used[name], 0.0) for name, dense in self.dense.items()})
