"""DSR: dynamic sparse reparameterization (Mostafa & Wang, ICML 2019, arXiv 1902.05967)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ...errors import InputError
from ..registry import PRUNERS
from ..task import Task
from .updater import TopologyUpdater, share

__all__ = ["DSR"]


@PRUNERS.register("dsr", family="dynamic", stage="training", paper="Mostafa & Wang 2019", needs_data=False)
class DSR(TopologyUpdater):
    """Drop every |w| below one adaptive threshold, grow at random where most weights survived.

    The threshold H is the same in all layers. When fewer weights than (1 - tolerance) times the number aimed at fell
    below it, it is doubled for the next update; when more than (1 + tolerance) times, halved. Each layer
    grows a part of the dropped weights in proportion to its surviving ones; what does not fit in a layer goes to
    the others.

    threshold
        H at the first update.
    tolerance
        How far the number of dropped weights may be from the number aimed at.
    initial, interval, stop
        See `TopologyUpdater`.
    drop_fraction
        The number aimed at, as a share of all kept weights.
    """

    def __init__(
        self,
        task: Task,
        *,
        threshold: float = 1e-3,
        tolerance: float = 0.1,
        initial: str = "erk",
        interval: int | None = None,
        drop_fraction: float = 0.1,
        stop: float = 0.75,
    ) -> None:
        super().__init__(
            task, initial=initial, interval=interval, drop_fraction=drop_fraction, annealing="constant", stop=stop
        )
        if isinstance(threshold, bool) or not 0 < threshold < float("inf"):
            raise InputError(f"threshold must be a positive number, not {threshold!r}.")
        self.threshold = float(threshold)
        self.tolerance = share("tolerance", tolerance)

    def dropped(
        self, weights: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], fraction: float
    ) -> dict[str, Tensor]:
        left = {name: mask & (weights[name].detach().abs() >= self.threshold) for name, mask in masks.items()}
        aim = fraction * self.kept
        count = self.kept - sum(int(mask.sum()) for mask in left.values())
        if count < (1 - self.tolerance) * aim:
            self.threshold *= 2
        elif count > (1 + self.tolerance) * aim:
            self.threshold /= 2
        return left

    def shares(self, before: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> list[float]:
        return [float(mask.sum()) for mask in left.values()]
