"""CHT: Cannistraci-Hebb training (Zhang et al., ICLR 2024, openreview iayEcORsGd)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...training import TrainingState
from ...validation import share
from ..registry import PRUNERS
from ..task import Task
from .bipartite import ch3_l3p, link_scores
from .updater import TopologyUpdater

__all__ = ["CHT", "groups_of"]


@PRUNERS.register("cht", family="dynamic", stage="training", paper="Zhang et al. 2024", needs_data=False)
@dataclass(eq=False, kw_only=True)
class CHT(TopologyUpdater):
    """Drop the smallest |w| of each layer, grow the links that CH3-L3 predicts from the topology alone.

    Of the layer's bipartite graph (see `topo.pruning.dynamic.bipartite`) after the drop, the missing links with the
    highest scores are grown, ties at random; what was just dropped may come back. A layer whose grown links are nearly
    all ones just dropped has settled and is left as it is from then on. The paper's other parts, an initial topology
    from correlations of the inputs and the removal of neurons cut off, are not done here.

    Parameters
    ----------
    settled
        Share of a layer's grown links, from 0 to 1, that were just dropped from which on the layer is settled.
    """

    settled: float = 0.9
    annealing: str = "constant"
    stop: float = 1.0

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        self.settled = share("settled", self.settled)
        self.at_rest: set[str] = set()
        self.groups = groups_of(task)

    def quota(self, name: str, mask: Tensor, fraction: float) -> int:
        return 0 if name in self.at_rest else super().quota(name, mask, fraction)

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        scores = link_scores(mask, ch3_l3p, self.groups[name])
        return scores.double() + 1e-9 * self.uniform(weight)

    def install(self, state: TrainingState, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
        fraction = self.fraction(state)
        super().install(state, before, after)
        for name, mask in before.items():
            grown = self.quota(name, mask, fraction)
            new = int((after[name] & ~mask).sum())
            if grown and 1 - new / grown >= self.settled and not mask.all():
                self.at_rest.add(name)


def groups_of(task: Task) -> dict[str, int]:
    """Groups of the convolution that each weight belongs to; 1 for other layers.

    Parameters
    ----------
    task
        The model and its weights.

    Returns
    -------
    dict
        Name of each weight -> number of groups.
    """
    modules = {name: task.model.get_submodule(name.rpartition(".")[0]) for name in task.weights}
    return {name: getattr(module, "groups", 1) for name, module in modules.items()}
