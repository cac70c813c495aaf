"""ITOP: in-time over-parameterisation (Liu et al., ICML 2021, arXiv 2102.02887)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...training import TrainingState
from ...validation import one_of
from ..registry import PRUNERS
from ..task import Task
from .updater import TopologyUpdater, gradient

__all__ = ["ITOP"]

GROWTH = ("gradient", "random")


@PRUNERS.register("itop", family="dynamic", stage="training", paper="Liu et al. 2021", needs_data=False)
@dataclass(eq=False, kw_only=True)
class ITOP(TopologyUpdater):
    """RigL or SET with long intervals to the end of training, that track which weights have ever been kept.

    The paper's point is that the share R_s of weights explored so far decides the accuracy, and that each needs
    time to be explored reliably: many updates, far apart. The count of kept weights is exact here, which it is not
    in the public implementation's mode for SET.

    Parameters
    ----------
    growth
        What decides which weights are grown: ``"gradient"``, as in RigL, or ``"random"``, as in SET with magnitudes.

    Attributes
    ----------
    union
        Parameter name -> bool tensor: the weights that have been kept at some time.
    """

    growth: str = "gradient"
    drop_fraction: float = 0.5
    stop: float = 1.0

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        one_of("growth", self.growth, GROWTH)
        self.union = dict(self.masks)

    @property
    def explored(self) -> float:
        """The in-time over-parameterisation rate R_s: the share of all weights that have been kept at some time."""
        return sum(int(mask.sum()) for mask in self.union.values()) / self.total

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return gradient(weight).abs() if self.growth == "gradient" else self.uniform(weight)

    def install(self, state: TrainingState, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
        super().install(state, before, after)
        self.union = {name: self.union[name] | mask.cpu() for name, mask in after.items()}
