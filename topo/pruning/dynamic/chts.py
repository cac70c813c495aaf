"""CHTs: the soft rule of Cannistraci-Hebb training (Zhang et al. 2025, arXiv 2501.19107)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...training import TrainingState
from ...validation import share
from ..registry import PRUNERS
from ..task import Task
from .bipartite import ch2_l3n, link_scores
from .cht import groups_of
from .updater import TopologyUpdater

__all__ = ["CHTs"]


@PRUNERS.register("chts", family="dynamic", stage="training", paper="Zhang et al. 2025", needs_data=False)
@dataclass(eq=False, kw_only=True)
class CHTs(TopologyUpdater):
    """CHT with sampling: links stay with odds that rise with |w|, grow with odds that rise with their CH2-L3n score.

    The links that stay are drawn without replacement with odds S^(delta / (1 - delta)), where S = alpha |w| +
    (1 - alpha) RI and the relative importance RI of a link is its |w| over the sum of all |w| at its one end, plus the
    same at its other. The softness delta rises from 0.5 to 0.75 over training, so that weights decide the more, the
    longer they have been trained. Grown links are drawn with odds equal to CH2-L3n, the paper's cheap
    successor of CH3-L3 (see `topo.pruning.dynamic.bipartite`); at random where no link has a score. The paper's initial
    topology of receptive fields and its decay of the density (CHTss) are not done here.

    Parameters
    ----------
    alpha
        Weight of the magnitudes against the relative importance, from 0 to 1; 1: magnitudes alone decide what stays, 0:
        relative importance alone.
    """

    alpha: float = 1.0
    annealing: str = "constant"
    stop: float = 1.0

    def __post_init__(self, task: Task) -> None:
        super().__post_init__(task)
        self.alpha = share("alpha", self.alpha)
        self.exponent = 1.0
        self.groups = groups_of(task)

    def update(self, state: TrainingState) -> None:
        delta = 0.5 + 0.25 * state.step / state.total_steps
        self.exponent = delta / (1 - delta)
        super().update(state)

    def drop(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        magnitude = (weight.detach().abs() * mask).flatten(1)
        score = self.alpha * magnitude
        if self.alpha < 1:
            ends = magnitude.sum(0, keepdim=True), magnitude.sum(1, keepdim=True)
            score = score + (1 - self.alpha) * sum(magnitude / end.clamp_min(1e-30) for end in ends)
        return self.sampled(self.exponent * logarithm(score)).view(weight.shape)

    def grow(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        return self.sampled(logarithm(link_scores(mask, ch2_l3n, self.groups[name])))

    def sampled(self, logits: Tensor) -> Tensor:
        """Numbers whose k largest are k draws without replacement with odds exp(logits) (Gumbel's trick).

        Parameters
        ----------
        logits
            Logarithms of the odds, in the shape of a weight.

        Returns
        -------
        Tensor
            In the same shape.
        """
        return logits - logarithm(-logarithm(self.uniform(logits)))


def logarithm(values: Tensor) -> Tensor:
    """Of zero, very negative but finite, so that what is added to it still decides."""
    return values.clamp_min(1e-30).log()
