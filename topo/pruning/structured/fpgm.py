"""FPGM: filter pruning via the geometric median (He et al., CVPR 2019, arXiv 1811.00250)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from ...parameter_names import named_parameters
from ..registry import PRUNERS
from ..task import Task
from .unit_scoring import by_unit_score

__all__ = ["fpgm"]


@PRUNERS.register(
    "fpgm", family="structured", stage="trained", paper="He et al. 2019", needs_data=False, needs_example=True
)
@by_unit_score(scope="group")
def fpgm(task: Task, channels: CoupledChannels, alive: Tensor) -> Tensor:
    """Sum of the distances of a filter to all other filters of its layer, ranked inside its layer.

    The filter with the smallest sum is nearest to the geometric median, and the others replace it best. Distances are
    Euclidean, to the remaining filters. Where layers are coupled, the sums of all filters that write the unit
    add up as they are, so that a unit counts by how far its filters lie from the others in all its layers together.
    """
    total = torch.zeros(channels.count, dtype=torch.float64)
    parameters = named_parameters(task.model)
    for name, layers in channels.layers.items():
        if name not in channels.axes or name not in parameters:
            continue
        axis = layers[0].writes
        unit = channels.axes[name][axis]
        here = channels.alive(name, alive)[axis]
        filters = parameters[name].detach().double().movedim(axis, 0).flatten(1)[here.to(task.device)]
        sums = torch.cdist(filters, filters).sum(dim=1).cpu()
        unit = unit[here]
        total.index_add_(0, unit[unit >= 0], sums[unit >= 0])
    return total
