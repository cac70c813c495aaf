"""Filter pruning by norm (Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017, arXiv 1608.08710)."""

from __future__ import annotations

from torch import Tensor

from ...dag.groups import Units
from ..base import Task
from ..registry import PRUNERS
from ..units import by_unit_score

__all__ = ["l1_filter"]


@PRUNERS.register("l1-filter", family="structured", stage="trained", paper="Li et al. 2017", needs_data=False)
@by_unit_score(scope="group")
def l1_filter(task: Task, found: Units) -> Tensor:
    """L1 norm of the filters of a unit, ranked inside its layer.

    Where layers are coupled, as on a residual stream, the norms of all filters that write the unit add up.
    """
    weights = {name: weight.detach().abs() for name, weight in task.model.named_parameters() if name in found.layers}
    return found.sums(weights, side="out")
