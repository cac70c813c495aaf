"""STR: soft threshold weight reparameterisation (Kusupati et al., ICML 2020, arXiv 2002.03231)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...training import TrainingState
from ..allocation import keep_largest
from ..registry import PRUNERS
from ..task import Task
from .latent import LatentWeights, precision

__all__ = ["STR"]

# Weights of zero, which no threshold reaches.
SMALLEST = 1e-30


@PRUNERS.register("str", family="trained", stage="training", paper="Kusupati et al. 2020", needs_data=False)
class STR(LatentWeights):
    """Soft thresholds learned for every layer: the network computes with sign(w) max(|w| - t_l, 0).

    The gradient of the loss moves the threshold of a layer against those of the others, so that the densities of
    layers are learned; weights below it get no gradient. Three things differ from the paper, where the weight decay of
    thresholds decides how sparse the network becomes: a factor common to all thresholds makes the number of kept
    weights follow the cubic schedule of gradual pruning, to the exact count in the end; a threshold is the exponential
    of its parameter, which is what the paper's sigmoid is for small ones, and Adam moves it, where in the public code
    the optimizer of the weights does; and from `stop` on what is left is trained under fixed masks, without thresholds.
    Of weights of equal size, which no threshold parts, the first ones are kept, as everywhere.

    Parameters
    ----------
    task
        The model, its weights and how many to keep.
    stop
        Share of the steps of training, above 0 and at most 1, after which masks stay and thresholds are gone.
    learning_rate
        Of the Adam that moves the logarithms of thresholds, from 0 up; 0 leaves all layers one threshold.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(self, task: Task, *, stop: float = 0.75, learning_rate: float = 0.01) -> None:
        super().__init__(task, stop=stop, learning_rate=learning_rate)

    def learned(self, name: str, weight: Tensor) -> Tensor:
        return torch.zeros((), dtype=precision(weight), device=weight.device)

    def best(self, name: str) -> Tensor:
        """Logarithms of sizes in multiples of the layer's threshold, but for the common factor."""
        return self.latent[name].abs().to(self.numbers[name].dtype).clamp_min(SMALLEST).log() - self.numbers[name]

    def prepare(self, state: TrainingState) -> None:
        scores = self.ranking()
        self.above = keep_largest(scores, self.scheduled(state))
        parts = [torch.where(self.above[name], score, torch.inf).amin() for name, score in scores.items()]
        least = torch.stack(parts).amin()
        parts = [score.masked_fill(score >= least, -torch.inf).amax() for score in scores.values()]
        # Halfway to the next smaller one, so that none that is kept is zero.
        self.common = (least + torch.stack(parts).amax()) / 2

    def level(self, name: str) -> Tensor:
        """The threshold of a layer.

        Parameters
        ----------
        name
            Of its weight.

        Returns
        -------
        Tensor
            One number.
        """
        return (self.numbers[name] + self.common).exp()

    def made(self, name: str) -> Tensor:
        latent = self.latent[name]
        return latent.sign() * (latent.abs() - self.level(name)).clamp_min(0.0) * self.above[name]

    def slopes(self, name: str, slope: Tensor) -> tuple[Tensor, Tensor]:
        latent, level = self.latent[name], self.level(name)
        kept = slope.masked_fill((latent.abs() <= level) | ~self.above[name], 0.0)
        return kept, -(kept * latent.sign()).to(level.dtype).sum() * level
