"""RigL: rigging the lottery (Evci et al., ICML 2020, arXiv 1911.11134)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..registry import PRUNERS
from .updater import TopologyUpdater, gradient

__all__ = ["RigL"]


@PRUNERS.register("rigl", family="dynamic", stage="training", paper="Evci et al. 2020", needs_data=False)
class RigL(TopologyUpdater):
    """Drop the smallest |w| of each layer, grow where the gradient |dL/dw| is largest.

    The gradient is that of the batch at hand by all weights, pruned ones too. What was just dropped may be grown
    again. An update takes the place of the gradient step, every 100 steps (or every epoch, where that is
    shorter) during the first three quarters of training.
    """

    longest_interval: ClassVar[int | None] = 100

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return gradient(weight).abs()
