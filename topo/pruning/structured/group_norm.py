"""Group norm: the norm of all coupled parameters (Fang et al., DepGraph, CVPR 2023, arXiv 2301.12900)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...dag.channel_coupling import CoupledChannels
from ...parameter_names import named_parameters
from ...training import Callback, TrainingState
from ...validation import real_number
from ..registry import PRUNERS
from ..task import Task
from .unit_scoring import along, by_unit_score, train_units

__all__ = ["GroupPenalty", "group_norm", "shrinkage", "squared_norms"]


@PRUNERS.register(
    "group-norm", family="structured", stage="trained", paper="Fang et al. 2023", needs_data=False, needs_example=True
)
@by_unit_score(scope="global")
def group_norm(
    task: Task, channels: CoupledChannels, alive: Tensor, *, penalty: float = 0.0, alpha: float = 4.0
) -> Tensor:
    """Squared norm of all parameters that go with a unit, those that write and those that read it, by its group's mean.

    The importance of unit k of a group is I_k = sum of ||w[k]||^2 over the weights of layers and the scales of norms;
    biases and shifts, which removal moves and does not shrink, do not count. To compare groups, I_k is divided by the
    mean importance of its group (the paper's N * I_k / sum of the N largest, with all N units of the group).

    Parameters
    ----------
    penalty
        Weight of the penalty, from 0 up. Above 0 the network is first trained by the recipe with loss + penalty * sum
        over units of gamma_k * I_k, and its weights then go along with the masks. With 0 nothing is trained.
    alpha
        Strength of gamma_k = 2^(alpha (I_max - I_k) / (I_max - I_min)), from 0 up, extremes over the group: the least
        important unit is shrunk 2^alpha times as strongly as the most important one.
    """
    penalty, alpha = real_number("penalty", penalty, minimum=0), real_number("alpha", alpha, minimum=0)
    if penalty:
        train_units(task, channels, alive, GroupPenalty(channels, alive, penalty, alpha))
    importance = squared_norms(task.model, channels)
    groups = channels.groups()
    count, total = groups[alive].bincount(), groups[alive].bincount(importance[alive])
    return importance * (count / total.clamp(min=torch.finfo(torch.float64).tiny))[groups]


def squared_norms(model: nn.Module, channels: CoupledChannels) -> Tensor:
    """Sum of squares of all weights and scales of each unit, float64 (count,).

    Parameters
    ----------
    model
        Holds the parameters.
    channels
        Its units.

    Returns
    -------
    Tensor
        float64, (count,).
    """
    return channels.sums({name: p.detach().square() for name, p in _counted(model, channels).items()})


def shrinkage(importance: Tensor, groups: Tensor, alpha: float) -> Tensor:
    """2^(alpha (I_max - I_k) / (I_max - I_min)), the extremes those of the unit's group; 1 where these are equal.

    Parameters
    ----------
    importance
        (count,).
    groups
        Number of each unit's group, int64, (count,).
    alpha
        Exponent of the least important unit of a group.

    Returns
    -------
    Tensor
        (count,), from 1 to 2^alpha.
    """
    empty = torch.zeros(int(groups.max()) + 1, dtype=importance.dtype)
    most = empty.scatter_reduce(0, groups, importance, "amax", include_self=False)[groups]
    least = empty.scatter_reduce(0, groups, importance, "amin", include_self=False)[groups]
    return 2 ** (alpha * torch.where(most > least, (most - importance) / (most - least), 0.0))


class GroupPenalty(Callback):
    """Adds penalty * sum of gamma_k * I_k to the loss, gamma computed anew at every step and held constant in it.

    Parameters
    ----------
    channels
        The units of the model.
    alive
        Units that earlier rounds have left, bool, (count,); the others are not penalised.
    penalty
        Factor of the whole penalty.
    alpha
        As for `shrinkage`.
    """

    def __init__(self, channels: CoupledChannels, alive: Tensor, penalty: float, alpha: float) -> None:
        self.channels, self.alive, self.groups = channels, alive, channels.groups()
        self.factor, self.alpha = penalty, alpha

    def penalty(self, state: TrainingState) -> Tensor:
        gamma = torch.zeros(self.channels.count, dtype=torch.float64)
        importance = squared_norms(state.model, self.channels)
        gamma[self.alive] = shrinkage(importance[self.alive], self.groups[self.alive], self.alpha)
        return self.factor * sum(
            (
                (along(self.channels, name, gamma.to(p)) * p.square()).sum()
                for name, p in _counted(state.model, self.channels).items()
            ),
            start=torch.zeros(()),
        )


def _counted(model: nn.Module, channels: CoupledChannels) -> dict[str, nn.Parameter]:
    """Weights of layers and scales of norms, by name."""
    biases = {layer.bias for layers in channels.layers.values() for layer in layers}
    return {
        name: p
        for name, p in named_parameters(model).items()
        if name in channels.axes and name not in biases and name.rpartition(".")[2] != "bias"
    }
