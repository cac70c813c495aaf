"""Filter pruning by norm (Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017, arXiv 1608.08710)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from ...parameter_names import named_parameters
from ..registry import PRUNERS
from ..task import Task
from .unit_scoring import by_unit_score

__all__ = ["l1_filter", "l2_filter"]


@PRUNERS.register(
    "l1-filter", family="structured", stage="trained", paper="Li et al. 2017", needs_data=False, needs_example=True
)
@by_unit_score(scope="group")
def l1_filter(task: Task, channels: CoupledChannels) -> Tensor:
    """L1 norm of the filters of a unit, ranked inside its layer.

    Where layers are coupled, as on a residual stream, the norms of all filters that write the unit add up.
    """
    return _sums(task, channels, Tensor.abs)


@PRUNERS.register(
    "l2-filter", family="structured", stage="trained", paper="Li et al. 2017", needs_data=False, needs_example=True
)
@by_unit_score(scope="group")
def l2_filter(task: Task, channels: CoupledChannels) -> Tensor:
    """L2 norm of the filters of a unit, ranked inside its layer.

    The alternative that the paper compares with. Where layers are coupled it is the norm of all filters that write
    the unit, taken as one vector.
    """
    return _sums(task, channels, Tensor.square).sqrt()


def _sums(task: Task, channels: CoupledChannels, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum of a function of the weights over the filters of each unit."""
    used = channels.layers.keys() | channels.tables
    weights = {name: of(weight.detach()) for name, weight in named_parameters(task.model).items() if name in used}
    return channels.sums(weights, side="out")
