"""Magnitude pruning, all weights ranked together (Han et al., NeurIPS 2015, arXiv 1506.02626)."""

from __future__ import annotations

from torch import Tensor

from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["magnitude"]


@PRUNERS.register("magnitude", family="trained", stage="trained", paper="Han et al. 2015", needs_data=False)
@by_score(allocation="global")
def magnitude(task: Task) -> dict[str, Tensor]:
    """Absolute value of a weight, ranked over the whole network."""
    return task.magnitudes
