"""Random masks with exact counts, shared by the uniform, ER, ERK and random allocations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..allocation import layer_counts
from ..task import Task

__all__ = ["random_masks"]


def random_masks(
    task: Task, share: Callable[[Sequence[int]], float] | Sequence[float], kept: int | None = None
) -> dict[str, Tensor]:
    """Masks that keep weights drawn at random, in numbers given by `layer_counts`.

    Parameters
    ----------
    task
        The weights, how many to keep, and the source of random numbers.
    share
        Density of a weight by its shape, or one a weight, as for `layer_counts`.
    kept
        How many to keep in the place of the task's number.

    Returns
    -------
    dict
        Name -> bool mask.
    """
    shapes = {name: weight.shape for name, weight in task.weights.items()}
    masks = {}
    counts = layer_counts(shapes, task.kept if kept is None else kept, share, task.room)
    for (name, shape), count in zip(shapes.items(), counts, strict=True):
        mask = torch.zeros(shape.numel(), dtype=torch.bool)
        mask[torch.randperm(mask.numel(), generator=task.generator)[:count]] = True
        masks[name] = mask.view(shape)
    return masks
