"""Magnitude pruning at initialisation (baseline of Frankle et al., ICLR 2021, arXiv 2009.08576)."""

from __future__ import annotations

from torch import Tensor

from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["magnitude_init"]


@PRUNERS.register("magnitude-init", family="initial", stage="initial", paper="Frankle et al. 2021", needs_data=False)
@by_score(allocation="global")
def magnitude_init(task: Task) -> dict[str, Tensor]:
    """Absolute value of a weight at initialisation, ranked over the whole network.

    The initial scale of a layer follows from its fan-in, so that ranking all weights together prunes wide layers
    most; ``allocation="uniform"`` ranks them inside each layer.
    """
    return task.magnitudes
