"""What the algorithms share that prune step by step while the network is trained."""

from __future__ import annotations

import math
from abc import abstractmethod

from torch import Tensor

from ...errors import InputError
from ...training import TrainingState
from ...validation import share, whole_number
from ..allocation import allocation as find_allocation
from ..masks_within import ranked_within
from ..schedules import cubic
from ..sparse_training import SparseTrainingCallback
from ..task import Task

__all__ = ["Gradual"]


class Gradual(SparseTrainingCallback):
    """Starts dense and keeps the weights with the largest scores, ever fewer by the cubic schedule.

    A subclass computes the `scores`.

    Parameters
    ----------
    task
        The model, its weights and how many to keep.
    allocation
        Where the kept weights may lie: ``"uniform"`` for the same density in every layer, ``"global"`` for all weights
        ranked together; others see `topo.pruning.allocation`.
    start
        Share of the steps of training, from 0 to 1, after which the density begins to fall.
    stop
        Share of the steps of training, above 0 and at most 1, after which the masks stay and the count is exact.
    interval
        Optimizer steps between two updates, from 1 up; when None, 100 (movement pruning: 10), or an epoch where that is
        shorter.

    Raises
    ------
    InputError
        When a setting is out of range, or `start` lies after `stop`.
    """

    longest_interval = 100
    """The interval unless one is given, where an epoch is not shorter."""

    def __init__(
        self,
        task: Task,
        *,
        allocation: str = "uniform",
        start: float = 0.0,
        stop: float = 0.75,
        interval: int | None = None,
    ) -> None:
        super().__init__(task)
        self.allocate = find_allocation(allocation, task.kept, task.total)
        self.start, self.stop = share("start", start), share("stop", stop)
        if self.start > self.stop or self.stop == 0:
            raise InputError(f"start ({start}) must not lie after stop ({stop}), which must be above 0.")
        self.interval = None if interval is None else whole_number("interval", interval, minimum=1)
        # Refuses, before any training, a count that the allocation cannot reach.
        self.allocate(task.weights, task.kept)

    @abstractmethod
    def scores(self, state: TrainingState) -> dict[str, Tensor]:
        """Scores of all weights, on one device; the largest are kept.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        dict
            Name -> scores in the weight's shape.
        """

    def on_start(self, state: TrainingState) -> None:
        self.first = math.floor(self.start * state.total_steps)
        self.last = max(1, math.floor(self.stop * state.total_steps))
        self.every = self.interval or min(self.longest_interval, state.steps_per_epoch)
        self.finished = False

    def on_step_end(self, state: TrainingState) -> None:
        if self.finished or state.step < self.first:
            return
        self.finished = state.step >= self.last
        if self.finished or (state.step > self.first and (state.step - self.first) % self.every == 0):
            scores = ranked_within(self.scores(state), self.within)
            self.change(state, self.allocate(scores, self.count(state.step)))

    def count(self, step: int) -> int:
        """How many weights are kept after so many steps.

        Parameters
        ----------
        step
            Number of the step.

        Returns
        -------
        int
            Between the number asked for and all weights.
        """
        if step >= self.last:
            return self.kept
        progress = (step - self.first) / (self.last - self.first)
        return round(cubic(self.kept / self.total, progress, 1.0) * self.total)
