"""Gradual magnitude pruning (Zhu & Gupta, 2017, arXiv 1710.01878)."""

from __future__ import annotations

from torch import Tensor

from ...training import TrainingState
from ..registry import PRUNERS
from .gradual import Gradual

__all__ = ["GMP"]


@PRUNERS.register("gmp", family="trained", stage="training", paper="Zhu & Gupta 2017", needs_data=False)
class GMP(Gradual):
    """Absolute value of a weight, while the network is trained: s_t = s_f (1 - (1 - t/T)^3).

    A weight once pruned stays so, for its value is zero from then on. As in the paper, every layer has the same
    sparsity unless another allocation is given.
    """

    def scores(self, state: TrainingState) -> dict[str, Tensor]:
        return self.magnitudes(state)
