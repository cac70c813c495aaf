"""Network slimming (Liu et al., ICCV 2017, arXiv 1708.06519)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...dag.channel_coupling import CoupledChannels
from ...errors import InputError
from ...parameter_names import named_parameters
from ...training import Callback, TrainingState
from ...validation import real_number
from ..registry import PRUNERS
from ..task import Task
from .unit_scoring import by_unit_score, train_units

__all__ = ["slimming"]


@PRUNERS.register(
    "slimming", family="structured", stage="initial", paper="Liu et al. 2017", needs_data=True, trains=True
)
@by_unit_score(scope="global")
def slimming(task: Task, channels: CoupledChannels, alive: Tensor, *, penalty: float = 1e-4) -> Tensor:
    """Absolute scale of the batch norm behind a channel, after training with an L1 penalty on all scales.

    The network is trained by the recipe with loss + penalty * sum |gamma|; its weights go along with the masks, to be
    fine-tuned. The channels with the smallest |gamma| of the whole network are removed. Where several batch norms
    scale one unit, as on a residual stream, it has the mean of their |gamma|; units that none scales stay. With several
    rounds every one trains, which is the paper's multi-pass scheme.

    Parameters
    ----------
    penalty
        Weight of the L1 norm, from 0 up; the paper uses 1e-4 and 1e-5. With 0 nothing is trained, and the scales are
        those that the network has: use it on one that was trained with a penalty, or without one.
    """
    penalty = real_number("penalty", penalty, minimum=0)
    names = [
        f"{path}.weight" if path else "weight"
        for path, module in task.model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine
    ]
    if not any(name in channels.axes for name in names):
        raise InputError("slimming ranks channels by the scales of batch norms, and none of the model scales a unit.")
    if penalty:
        train_units(task, channels, alive, ScalePenalty(names, penalty))
    parameters = named_parameters(task.model)
    scales = {name: parameters[name].detach().abs() for name in names}
    norms = channels.sums({name: torch.ones_like(scale) for name, scale in scales.items()})
    return torch.where(norms > 0, channels.sums(scales) / norms.clamp(min=1), torch.inf)


class ScalePenalty(Callback):
    """Adds the L1 norm of the named parameters, times a factor, to the loss."""

    def __init__(self, names: list[str], factor: float) -> None:
        self.names, self.factor = names, factor

    def penalty(self, state: TrainingState) -> Tensor:
        parameters = named_parameters(state.model)
        return self.factor * sum((parameters[name].abs().sum() for name in self.names), start=torch.zeros(()))
