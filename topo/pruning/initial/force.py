"""FORCE: foresight connection sensitivity (de Jorge et al., ICLR 2021, arXiv 2006.09081)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...validation import whole_number
from ..allocation import allocation as find_allocation
from ..masks_within import ranked_within
from ..registry import PRUNERS
from ..schedules import exponential
from ..task import Task
from ..weight_scoring import check_scores, in_double

__all__ = ["force"]


@PRUNERS.register("force", family="initial", stage="initial", paper="de Jorge et al. 2021", needs_data=True)
def force(task: Task, *, batch_size: int = 128, allocation: str = "global", rounds: int = 60) -> dict[str, Tensor]:
    """Sensitivity of the pruned network, over rounds; removed weights may come back.

    With the mask c of the round before, the score of every weight is |theta * dL/dtheta at theta * c|: the gradient is
    that of the pruned network, theta the weight before pruning. A removed weight whose gradient grew as others
    went is thus kept again. One round is SNIP. Everything is done in float64: which weights stay depends on which went,
    so that differences of rounding grow from round to round.

    Parameters
    ----------
    batch_size
        About how many samples each round looks at, from 1 up, as many of each class; given batches, one of them is
        used.
    allocation
        Where the kept weights may lie: ``"global"`` ranks all weights together; others see
        `topo.pruning.allocation.allocation`.
    rounds
        Number of rounds, from 1 up; after round k of n the density is density^(k/n).
    """
    allocate = find_allocation(allocation, task.kept, task.total)
    in_double(task)
    original = {name: weight.detach().clone() for name, weight in task.weights.items()}
    masks: dict[str, Tensor] = {}
    for density in exponential(task.kept / task.total, whole_number("rounds", rounds, minimum=1)):
        gradients = task.gradients(task.loss(*task.samples.batch(whole_number("batch_size", batch_size, minimum=1))))
        scores = check_scores({name: (original[name] * gradients[name]).abs() for name in original}, task)
        masks = allocate(ranked_within(scores, task.within), round(density * task.total))
        with torch.no_grad():
            for name, weight in task.weights.items():
                weight.copy_(original[name] * masks[name])
    return masks
