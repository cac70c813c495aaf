"""What the algorithms share that train weights behind those which the network computes with."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from ...errors import InputError
from ...training import TrainingState
from ...validation import real_number, share
from ..allocation import keep_largest
from ..dynamic.updater import gradient
from ..masks_within import ranked_within
from ..schedules import cubic
from ..sparse_training import SparseTrainingCallback
from ..task import Task

__all__ = ["LatentWeights", "precision", "threshold"]


class LatentWeights(SparseTrainingCallback):
    """The network computes with weights that are made of latent ones and of numbers which are learned beside them.

    The optimizer of the training moves the latent weights, Adam the numbers. After a share of the training the masks
    are fixed, with the exact count, and what the network computed with is trained on under them. A subclass says what
    `learned` numbers there are, how weights are `made` of them, their `slopes`, and which weights are `best`.

    Parameters
    ----------
    task
        The model, its weights and how many to keep.
    stop
        Share of the steps of training, above 0 and at most 1, after which the masks stay.
    learning_rate
        Of the Adam that moves the numbers, from 0 up.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(self, task: Task, *, stop: float, learning_rate: float) -> None:
        super().__init__(task)
        self.stop = share("stop", stop)
        if not self.stop:
            raise InputError("stop must be above 0, for nothing would be learned.")
        self.learning_rate = real_number("learning_rate", learning_rate, minimum=0)

    @abstractmethod
    def learned(self, name: str, weight: Tensor) -> Tensor:
        """Numbers to learn for a weight, as they are in the beginning.

        Parameters
        ----------
        name, weight
            A prunable weight of the network in training.

        Returns
        -------
        Tensor
            On its device, of any shape.
        """

    @abstractmethod
    def made(self, name: str) -> Tensor:
        """What the network computes with.

        Parameters
        ----------
        name
            Of a weight: `latent` and `numbers` hold what it is made of.

        Returns
        -------
        Tensor
            In the shape of the weight.
        """

    @abstractmethod
    def slopes(self, name: str, slope: Tensor) -> tuple[Tensor | None, Tensor]:
        """Gradients by the latent weight and by the numbers.

        Parameters
        ----------
        name
            Of a weight.
        slope
            Gradient of the loss by what was `made`.

        Returns
        -------
        tuple
            In their shapes; None for a latent weight that stays as it is.
        """

    @abstractmethod
    def best(self, name: str) -> Tensor:
        """Scores of a weight's elements: the largest are kept.

        Parameters
        ----------
        name
            Of a weight.

        Returns
        -------
        Tensor
            In its shape.
        """

    def ranking(self) -> dict[str, Tensor]:
        """The scores of all weights; what a mask of the model itself prunes comes last.

        Returns
        -------
        dict
            Name -> what is `best`.
        """
        return ranked_within({name: self.best(name) for name in self.names}, self.within)

    def prepare(self, state: TrainingState) -> None:
        """Called after every step, before weights are made, while masks are not fixed.

        Parameters
        ----------
        state
            The training run.
        """

    def chosen(self, scores: dict[str, Tensor]) -> dict[str, Tensor]:
        """The masks in the end: the largest scores of all weights together, unless overridden.

        Parameters
        ----------
        scores
            Name -> scores.

        Returns
        -------
        dict
            Name -> bool mask.
        """
        return keep_largest(scores, self.kept)

    def on_start(self, state: TrainingState) -> None:
        self.last = max(1, math.floor(self.stop * state.total_steps))
        self.finished = False
        weights = self.weights(state)
        self.latent = {name: weight.detach().clone() for name, weight in weights.items()}
        self.numbers = {name: self.learned(name, weight.detach()) for name, weight in weights.items()}
        self.optimizer = torch.optim.Adam(list(self.numbers.values()), self.learning_rate)
        self.prepare(state)
        self._show(state)

    def on_gradients(self, state: TrainingState) -> None:
        if self.finished:
            return
        for name, weight in self.weights(state).items():
            of_latent, of_numbers = self.slopes(name, gradient(weight))
            self.numbers[name].grad = of_numbers
            if weight.requires_grad:
                weight.grad = None if of_latent is None else of_latent.to(weight.dtype)
            with torch.no_grad():
                weight.copy_(self.latent[name])
        self.optimizer.step()

    def on_step_end(self, state: TrainingState) -> None:
        if self.finished:
            return
        for name, weight in self.weights(state).items():
            self.latent[name].copy_(weight.detach())
        self.finished = state.step >= self.last
        self.prepare(state)
        self._show(state)
        if self.finished:
            self.change(state, self.chosen(self.ranking()))

    @torch.no_grad()
    def _show(self, state: TrainingState) -> None:
        self.show(state, {name: self.made(name) for name in self.names})

    def scheduled(self, state: TrainingState) -> int:
        """How many weights are to be kept now, by the cubic schedule of gradual pruning.

        Parameters
        ----------
        state
            The training run.

        Returns
        -------
        int
            Between the number asked for and all that may be kept.
        """
        if state.step >= self.last:
            return self.kept
        most = self.total - sum(int((~mask).sum()) for mask in self.within.values())
        return max(self.kept, min(most, round(cubic(self.kept / self.total, state.step / self.last) * self.total)))


def precision(weight: Tensor) -> torch.dtype:
    """In which type numbers beside a weight are learned: its own, float32 for those of 16 bits.

    Parameters
    ----------
    weight
        A parameter.

    Returns
    -------
    dtype
        Of floating-point numbers.
    """
    return torch.promote_types(weight.dtype, torch.float32)


def threshold(scores: dict[str, Tensor], count: int) -> Tensor:
    """The smallest of the `count` largest scores of all weights together, a tensor that stays on their device.

    Parameters
    ----------
    scores
        Name -> scores.
    count
        How many, from 1 up.

    Returns
    -------
    Tensor
        One number.

    Examples
    --------
    >>> float(threshold({"a": torch.tensor([1.0, 4.0]), "b": torch.tensor([3.0])}, 2))
    3.0
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    return flat.kthvalue(len(flat) - count + 1).values
