"""Continuous sparsification (Savarese, Silva & Maire, NeurIPS 2020, arXiv 1912.04427)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...training import TrainingState
from ...validation import real_number
from ..allocation import keep_largest
from ..registry import PRUNERS
from ..task import Task
from .latent import LatentWeights, precision, threshold

__all__ = ["ContinuousSparsification"]


@PRUNERS.register(
    "continuous-sparsification", family="trained", stage="training", paper="Savarese et al. 2020", needs_data=False
)
class ContinuousSparsification(LatentWeights):
    """Soft masks sigmoid(beta (s - c)) that are learned with the weights and harden as beta grows exponentially.

    In the paper the start of s and a penalty on the masks decide how sparse the network becomes. Here a number c common
    to all masks makes how many of them are above 1/2 follow the cubic schedule of gradual pruning, to the exact count
    in the end, so that neither is needed. Of equal s, of which short trainings leave many since the first step of Adam
    only knows signs, those of the larger weights are kept. In the public code beta grows from epoch to epoch, here from
    step to step; it divides masks by their first value, so that training begins with the weights as they are, where
    here it begins with half of them; and it repeats the search in rounds before the ticket is trained, where here there
    is one, after which training goes on under the hard masks.

    Parameters
    ----------
    task
        The model, its weights and how many to keep.
    hardness
        beta in the end, from 1 up; in the beginning it is 1.
    stop
        Share of the steps of training, above 0 and at most 1, after which the masks are hard and stay.
    learning_rate
        Of the Adam that moves s, from 0 up; 0 leaves all equal, so that the largest weights stay. In short trainings a
        low one may empty small layers; .1, also the paper's rate for its SGD, was better than .01 and .03 on held-out
        training images of digits.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(self, task: Task, *, hardness: float = 200.0, stop: float = 0.75, learning_rate: float = 0.1) -> None:
        super().__init__(task, stop=stop, learning_rate=learning_rate)
        self.hardness = real_number("hardness", hardness, minimum=1)

    def learned(self, name: str, weight: Tensor) -> Tensor:
        return torch.zeros(weight.shape, dtype=precision(weight), device=weight.device)

    def best(self, name: str) -> Tensor:
        return self.numbers[name]

    def chosen(self, scores: dict[str, Tensor]) -> dict[str, Tensor]:
        sizes = self.places({name: self.latent[name].abs() for name in scores})
        most = sum(score.numel() for score in scores.values())
        places = self.places(scores)
        return keep_largest({name: places[name] * (most + 1) + sizes[name] for name in scores}, self.kept)

    def places(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The place of each number among the different ones of all weights, in ascending order; equal ones share one.

        Parameters
        ----------
        values
            Name -> numbers.

        Returns
        -------
        dict
            Name -> int64, in their shapes.
        """
        flat = torch.cat([value.flatten() for value in values.values()])
        parts = flat.unique(return_inverse=True)[1].split([value.numel() for value in values.values()])
        return {name: part.view(value.shape) for (name, value), part in zip(values.items(), parts, strict=True)}

    def prepare(self, state: TrainingState) -> None:
        self.beta = self.hardness ** min(state.step / self.last, 1.0)
        self.common = threshold(self.ranking(), self.scheduled(state))

    def gates(self, name: str) -> Tensor:
        """The soft masks of a weight.

        Parameters
        ----------
        name
            Of the weight.

        Returns
        -------
        Tensor
            In its shape, from 0 to 1.
        """
        return torch.sigmoid(self.beta * (self.numbers[name] - self.common))

    def made(self, name: str) -> Tensor:
        latent = self.latent[name]
        # Once they are fixed the masks are hard.
        return latent if self.finished else latent * self.gates(name).to(latent.dtype)

    def slopes(self, name: str, slope: Tensor) -> tuple[Tensor, Tensor]:
        gates = self.gates(name)
        of_numbers = (slope * self.latent[name]).to(gates.dtype) * self.beta * gates * (1 - gates)
        return slope * gates.to(slope.dtype), of_numbers
