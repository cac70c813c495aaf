"""L0 regularisation by hard-concrete gates (Louizos et al., ICLR 2018, arXiv 1712.01312)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ...dag.channel_coupling import CoupledChannels
from ...parameter_names import called_with, named_parameters
from ...training import Callback, TrainingState
from ...validation import real_number
from ..registry import PRUNERS
from ..task import Task
from .unit_scoring import along, by_unit_score
from .unreachable import excluded

__all__ = ["BETA", "GAMMA", "ZETA", "hard_concrete", "l0", "mean_gate", "probability_open"]

GAMMA, ZETA, BETA = -0.1, 1.1, 2 / 3
"""The stretch interval and the temperature of the paper."""


def hard_concrete(log_alpha: Tensor, uniform: Tensor) -> Tensor:
    """Gates in [0, 1] from uniform noise: a binary concrete variable, stretched to (gamma, zeta) and clamped.

    Parameters
    ----------
    log_alpha
        Location of each gate.
    uniform
        Numbers in (0, 1), in the same shape.

    Returns
    -------
    Tensor
        In the same shape.
    """
    concrete = torch.sigmoid((uniform.logit() + log_alpha) / BETA)
    return (concrete * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def probability_open(log_alpha: Tensor) -> Tensor:
    """P(z != 0) = sigmoid(log_alpha - beta log(-gamma / zeta)), whose sum is the expected L0 norm.

    Parameters
    ----------
    log_alpha
        Location of each gate.

    Returns
    -------
    Tensor
        In the same shape.

    Examples
    --------
    >>> round(float(probability_open(torch.tensor(0.0))), 4)
    0.8318
    """
    return torch.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA))


def mean_gate(log_alpha: Tensor) -> Tensor:
    """The gate of the trained network, sigmoid(log_alpha) stretched and clamped.

    Parameters
    ----------
    log_alpha
        Location of each gate.

    Returns
    -------
    Tensor
        In the same shape, from 0 to 1.
    """
    return (torch.sigmoid(log_alpha) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


@PRUNERS.register("l0", family="structured", stage="initial", paper="Louizos et al. 2018", needs_data=True, trains=True)
@by_unit_score(scope="global", rounds=None)
def l0(
    task: Task,
    channels: CoupledChannels,
    *,
    penalty: float = 1.0,
    drop_rate: float = 0.3,
    learning_rate: float = 0.02,
) -> Tensor:
    """Gate parameters log(alpha) of units, trained together with the weights under an expected-L0 penalty.

    The network is trained by the recipe while a random hard-concrete gate multiplies each unit, one for all coupled
    layers. A gate stands behind norm and activation: it multiplies the weights that read the unit. In front of a
    batch norm it could only close, for the norm divides factors out. The penalty is the expected share of parameters
    left, each unit weighing as many as go with it. In the end the mean gates are multiplied into the weights, which
    go along with the masks, and the units with the largest log(alpha) are kept.

    Parameters
    ----------
    penalty
        What the expected share of parameters costs, from 0 up: 1 makes the whole network as dear as a cross-entropy of
        1; the paper's lambda is this divided by the number of parameters.
    drop_rate
        Where gates start, above 0 and below 1: log(alpha) = log((1 - drop_rate) / drop_rate), with noise of standard
        deviation 0.01.
    learning_rate
        Learning rate of the gates' own Adam, from 0 up; weights are trained as the recipe says.
    """
    drop_rate = real_number("drop_rate", drop_rate, above=0, below=1)
    penalty, learning_rate = (
        real_number("penalty", penalty, minimum=0),
        real_number("learning_rate", learning_rate, minimum=0),
    )
    start = math.log((1 - drop_rate) / drop_rate)
    noise = torch.randn(channels.count, generator=task.generator)
    log_alpha = (start + 0.01 * noise).to(task.device).requires_grad_()
    gated = ~excluded(task.weights, channels)
    model = task.model
    task.model = Gated(model, channels, log_alpha, gated.to(task.device))
    try:
        task.train(callbacks=[GateTraining(model, channels, log_alpha, penalty, learning_rate)])
    finally:
        task.model = model
    task.keep_state = True
    with torch.no_grad():
        gates = torch.where(gated.to(task.device), mean_gate(log_alpha), 1.0)
        for name, p in named_parameters(model).items():
            if name in channels.layers:
                p.mul_(along(channels, name, gates.to(p), "in", 1.0))
    return torch.where(gated, log_alpha.detach().double().cpu(), torch.inf)


class Gated(nn.Module):
    """A network with gates on the weights that read its units: random ones in training mode, mean ones otherwise."""

    def __init__(self, model: nn.Module, channels: CoupledChannels, log_alpha: Tensor, gated: Tensor) -> None:
        super().__init__()
        self.model, self.channels = model, channels
        self.log_alpha, self.gated = log_alpha, gated

    def forward(self, *inputs: Any, **named: Any) -> Any:
        if self.training:
            gates = hard_concrete(self.log_alpha, torch.rand_like(self.log_alpha).clamp(1e-6, 1 - 1e-6))
        else:
            gates = mean_gate(self.log_alpha)
        gates = torch.where(self.gated, gates, 1.0)
        weights = {
            name: p * along(self.channels, name, gates.to(p.dtype), "in", 1.0)
            for name, p in named_parameters(self.model).items()
            if name in self.channels.layers
        }
        return called_with(self.model, weights, inputs, named)


class GateTraining(Callback):
    """Adds the expected share of parameters to the loss and trains the gates with their own optimizer."""

    def __init__(
        self, model: nn.Module, channels: CoupledChannels, log_alpha: Tensor, penalty: float, learning_rate: float
    ) -> None:
        sizes = channels.sums({name: torch.ones_like(p) for name, p in named_parameters(model).items()})
        self.shares = (sizes / sizes.sum()).to(log_alpha)
        self.log_alpha, self.factor = log_alpha, penalty
        self.optimizer = torch.optim.Adam([log_alpha], lr=learning_rate)

    def penalty(self, state: TrainingState) -> Tensor:
        return self.factor * (self.shares * probability_open(self.log_alpha)).sum()

    def on_gradients(self, state: TrainingState) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()
