"""LAMP: layer-adaptive magnitude-based pruning (Lee et al., ICLR 2021, arXiv 2010.07611)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["lamp"]


@PRUNERS.register("lamp", family="trained", stage="trained", paper="Lee et al. 2021", needs_data=False)
@by_score(allocation="global")
def lamp(task: Task) -> dict[str, Tensor]:
    """Squared weight over the sum of those of its layer that are no smaller, w_u^2 / sum_{v >= u} w_v^2.

    The weights of a layer are in ascending order of magnitude, equal ones in the order in which they lie. The largest
    of every layer scores 1, so that no layer is left empty while there is a weight for each.
    """
    return {name: _scores(magnitude) for name, magnitude in task.magnitudes.items()}


def _scores(magnitude: Tensor) -> Tensor:
    magnitudes, order = magnitude.flatten().sort(stable=True)
    ascending = magnitudes.double().square()
    at_least = ascending.flip(0).cumsum(0).flip(0)
    ratios = torch.where(at_least > 0, ascending / at_least, 0.0)
    return torch.empty_like(ratios).scatter_(0, order, ratios).view(magnitude.shape)
