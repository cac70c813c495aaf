"""Magnitude pruning inside each layer (Han et al., NeurIPS 2015, arXiv 1506.02626)."""

from __future__ import annotations

from torch import Tensor

from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["magnitude_layerwise"]


@PRUNERS.register("magnitude-layerwise", family="trained", stage="trained", paper="Han et al. 2015", needs_data=False)
@by_score(allocation="uniform")
def magnitude_layerwise(task: Task) -> dict[str, Tensor]:
    """Absolute value of a weight, ranked inside its layer; every layer has the same density."""
    return task.magnitudes
