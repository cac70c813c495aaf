"""AC/DC: alternating compressed and decompressed training (Peste et al., NeurIPS 2021, arXiv 2106.12379)."""

from __future__ import annotations

import math

from torch import Tensor

from ...errors import InputError
from ...training import TrainingState
from ...validation import share, whole_number
from ..allocation import allocation as find_allocation
from ..registry import PRUNERS
from ..sparse_training import SparseTrainingCallback
from ..task import Task

__all__ = ["ACDC"]


@PRUNERS.register("ac-dc", family="trained", stage="training", paper="Peste et al. 2021", needs_data=False)
class ACDC(SparseTrainingCallback):
    """The largest absolute values of a network that is trained sparse and dense by turns.

    After a dense start every phase of compression keeps the largest weights and trains them alone; every phase of
    decompression trains all weights, those that were pruned from zero, and the optimizer forgets what it remembers of
    the weights; in the public code, of biases and norms too. The last phase is compressed and lasts to the end of
    training. The start, the number of turns and the end are those of the paper's hundred epochs on ImageNet: a dense
    tenth, seven turns, the last 15% sparse. In between all phases have one length, as on CIFAR-100 there; on ImageNet
    the last dense one is twice as long as the others.

    Parameters
    ----------
    task
        The model, its weights and how many to keep.
    allocation
        Where the kept weights may lie: ``"global"`` for all weights ranked together, as in the paper; others see
        `topo.pruning.allocation`.
    start
        Share of the steps of training, from 0 up, after which the first compression begins.
    turns
        How many phases of compression are followed by one of decompression, from 0 up, all of one length; with 0
        weights are pruned once, at `stop`.
    stop
        Share of the steps, above `start` and at most 1, after which the last compression begins.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(
        self, task: Task, *, allocation: str = "global", start: float = 0.1, turns: int = 7, stop: float = 0.85
    ) -> None:
        super().__init__(task)
        self.allocate = find_allocation(allocation, task.kept, task.total)
        self.start, self.stop = share("start", start), share("stop", stop)
        self.turns = whole_number("turns", turns, minimum=0)
        if self.start >= self.stop:
            raise InputError(f"start ({start}) must lie before stop ({stop}).")
        # Refuses, before any training, a count that the allocation cannot reach.
        self.allocate(task.weights, task.kept)

    def on_start(self, state: TrainingState) -> None:
        self.phase = 0
        last = min(math.floor(self.stop * state.total_steps), state.total_steps - 1)
        first = min(math.floor(self.start * state.total_steps), last)
        length = (last - first) / (2 * self.turns) if self.turns else 0.0
        # Phases are dense and sparse by turns; number i begins after so many steps.
        self.begins = [0, *(math.floor(first + i * length) for i in range(2 * self.turns)), last]

    def on_gradients(self, state: TrainingState) -> None:
        # The phase that has begun last; of phases shorter than a step those in between never do.
        phase = sum(begin <= state.step for begin in self.begins) - 1
        if phase == self.phase:
            return
        if phase % 2:
            self.change(state, self.allocate(self.magnitudes(state), self.kept))
        else:
            self.change(state, self.masks)
            for weight in self.weights(state).values():
                for value in state.optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        value.zero_()
        self.phase = phase
