"""SET: sparse evolutionary training (Mocanu et al., Nature Communications 2018, arXiv 1707.04780)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..registry import PRUNERS
from .updater import TopologyUpdater, largest

__all__ = ["SET"]


@PRUNERS.register("set", family="dynamic", stage="training", paper="Mocanu et al. 2018", needs_data=False)
@dataclass(eq=False, kw_only=True)
class SET(TopologyUpdater):
    """Drop the weights of each layer closest to zero, grow as many at random.

    As the paper has it, a fraction of the smallest positive weights and the same fraction of the largest negative
    ones are dropped, so that a layer keeps its balance of signs; many implementations rank magnitudes instead. The
    paper does this after every epoch but the last.
    """

    annealing: str = "constant"
    stop: float = 1.0

    def dropped(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], fraction: float
    ) -> dict[str, Tensor]:
        surviving = {}
        for name, mask in masks.items():
            weight = weights[name].detach()
            signs = mask & (weight > 0), mask & ~(weight > 0)
            kept = [largest(weight.abs(), side, int(side.sum()) - self.quota(name, side, fraction)) for side in signs]
            surviving[name] = kept[0] | kept[1]
        return surviving
