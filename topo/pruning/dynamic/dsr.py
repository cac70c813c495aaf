"""DSR: dynamic sparse reparameterization (Mostafa & Wang, ICML 2019, arXiv 1902.05967)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from ...validation import real_number, share
from ..registry import PRUNERS
from ..task import Task
from .updater import TopologyUpdater

__all__ = ["DSR"]


@PRUNERS.register("dsr", family="dynamic", stage="training", paper="Mostafa & Wang 2019", needs_data=False)
@dataclass(eq=False, kw_only=True)
class DSR(TopologyUpdater):
    """Drop every |w| below one adaptive threshold, grow at random where most weights survived.

    The threshold H is the same in all layers. When fewer weights than (1 - tolerance) times the number aimed at fell
    below it, it is doubled for the next update; when more than (1 + tolerance) times, halved. Each layer
    grows a part of the dropped weights in proportion to its surviving ones; what does not fit in a layer goes to
    the others.

    Parameters
    ----------
    threshold
        The threshold H at the first update, above 0, in units of the weights.
    tolerance
        How far the number of dropped weights may be from the number aimed at, as a share of it, from 0 to 1.
    drop_fraction
        The number of weights aimed at in an update, as a share of all kept weights, from 0 to 1.
    """

    threshold: float = 1e-3
    tolerance: float = 0.1
    drop_fraction: float = 0.1
    annealing: str = field(default="constant", init=False)
    stop: float = 0.75

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        self.threshold = real_number("threshold", self.threshold, above=0)
        self.tolerance = share("tolerance", self.tolerance)

    def dropped(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], fraction: float
    ) -> dict[str, Tensor]:
        surviving = {name: mask & (weights[name].detach().abs() >= self.threshold) for name, mask in masks.items()}
        aim = fraction * self.kept
        count = self.kept - sum(int(mask.sum()) for mask in surviving.values())
        if count < (1 - self.tolerance) * aim:
            self.threshold *= 2
        elif count > (1 + self.tolerance) * aim:
            self.threshold /= 2
        return surviving

    def shares(self, before: Mapping[str, Tensor], surviving: Mapping[str, Tensor]) -> list[float]:
        return [float(mask.sum()) for mask in surviving.values()]
