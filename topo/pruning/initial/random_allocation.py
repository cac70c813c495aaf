"""Random pruning with layer densities that no algorithm would choose."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...dag.structure import weight_counts
from ...validation import real_number, whole_number
from ..registry import PRUNERS
from ..task import Task
from .random import random_masks

__all__ = ["drawn_shares", "random_allocation"]


@PRUNERS.register("random-allocation", family="initial", stage="initial", paper="baseline", needs_data=False)
def random_allocation(task: Task, *, spread: float = 1.0, tries: int = 100) -> dict[str, Tensor]:
    """Random weights, layer densities drawn at random: topology that varies, with no algorithm behind it.

    The density of each weight is the same multiple of its share, and shares are log-normal: exp(spread * z), z standard
    normal, so that a `spread` of 1 makes a layer e times as dense as another, or a fraction of it, about every second
    time. As with ER, layers that would be overfull are dense, each keeps at least one weight, and the count in all is
    exact; `Masks.counts` shows what was drawn.

    Parameters
    ----------
    spread
        Standard deviation of the logarithm of the densities; 0 for those of `uniform`.
    tries
        How many allocations are drawn at most until kept weights connect the input to the output, where data or an
        example of the input let this be seen; the last one counts where none does.
    """
    real_number("spread, of log-densities,", spread, minimum=0)
    whole_number("tries, a number of allocations,", tries, minimum=1)
    masks: dict[str, Tensor] = {}
    for attempt in range(tries):
        masks = random_masks(task, drawn_shares(len(task.weights), spread, (task.seed, task.kept, attempt)))
        if task.dag is None or weight_counts(task.dag, masks).effective > 0:
            break
    return masks


def drawn_shares(layers: int, spread: float, seed: int | tuple[int, ...]) -> list[float]:
    """Log-normal densities of layers, up to a common factor.

    Parameters
    ----------
    layers
        How many to draw.
    spread
        Standard deviation of their logarithm.
    seed
        Whole numbers. `random_allocation` gives its seed, the number of weights to keep and the number of the try, so
        that allocations of one seed differ between sparsities.

    Returns
    -------
    list
        Positive numbers.

    Examples
    --------
    >>> drawn_shares(2, 0, seed=0)
    [1.0, 1.0]
    """
    return np.exp(spread * np.random.default_rng(seed).standard_normal(layers)).tolist()
