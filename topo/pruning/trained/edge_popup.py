"""edge-popup: subnetworks of untrained networks (Ramanujan et al., CVPR 2020, arXiv 1911.13299)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...training import TrainingState
from ...validation import flag
from ..allocation import SHARES, keep_best, layer_counts
from ..input_statistics import fan_ins
from ..masks_within import ranked_within
from ..registry import PRUNERS
from ..task import Task
from .latent import LatentWeights, precision

__all__ = ["EdgePopup"]


@PRUNERS.register("edge-popup", family="trained", stage="training", paper="Ramanujan et al. 2020", needs_data=False)
class EdgePopup(LatentWeights):
    """Scores that are trained while the weights stay as they are: which part of an untrained network is good?

    Every layer computes with the weights of its largest scores alone. By the straight-through estimate the gradient by
    the score of any weight, in the network or not, is that by the weight times its value. No parameter of the model is
    trained, neither biases nor affine parameters of norms, which the networks of the paper lack.
    The weights of the network, scaled, go with the masks. The public code ranks absolute scores; they begin as here,
    but one that falls below zero rises again there.

    Parameters
    ----------
    task
        The model, its weights and how many to keep.
    constant
        True: weights become +-sqrt(2 / (k fan_in)), k the layer's density, with their own signs, the paper's signed
        Kaiming constant, the best there; the public code has it with and without k. False: they are scaled by
        1/sqrt(k).
    learning_rate
        Of the Adam that moves the scores, from 0 up. The public code has SGD with a rate of 0.1, momentum and
        weight decay.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(self, task: Task, *, constant: bool = True, learning_rate: float = 0.01) -> None:
        super().__init__(task, stop=1.0, learning_rate=learning_rate)
        self.constant = flag("constant", constant)
        shapes = {name: weight.shape for name, weight in task.weights.items()}
        counts = layer_counts(shapes, task.kept, SHARES["uniform"], task.room)
        self.counts = dict(zip(shapes, counts, strict=True))
        self.fan_ins = fan_ins(task)

    def learned(self, name: str, weight: Tensor) -> Tensor:
        scores = torch.rand(weight.shape, generator=self.generator).to(weight.device, precision(weight))
        return scores * self.fan_ins[name].rsqrt().to(scores)

    def on_start(self, state: TrainingState) -> None:
        with torch.no_grad():
            for name, weight in self.weights(state).items():
                density = self.counts[name] / weight.numel()
                if not weight.requires_grad or not density:
                    continue
                if self.constant:
                    weight.copy_(weight.sign() * (2 / density / self.fan_ins[name]).sqrt().to(weight.device))
                else:
                    weight.div_(math.sqrt(density))
        super().on_start(state)

    def best(self, name: str) -> Tensor:
        return ranked_within({name: self.numbers[name]}, self.within)[name]

    def chosen(self, scores: dict[str, Tensor]) -> dict[str, Tensor]:
        return keep_best(scores, [self.counts[name] for name in scores])

    def made(self, name: str) -> Tensor:
        latent = self.latent[name]
        return latent * self.chosen({name: self.best(name)})[name].to(latent.dtype)

    def slopes(self, name: str, slope: Tensor) -> tuple[None, Tensor]:
        return None, (slope * self.latent[name]).to(self.numbers[name].dtype)

    def on_gradients(self, state: TrainingState) -> None:
        super().on_gradients(state)
        state.optimizer.zero_grad(set_to_none=True)
