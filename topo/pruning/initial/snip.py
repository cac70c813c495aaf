"""SNIP: single-shot network pruning by connection sensitivity (Lee et al., ICLR 2019, arXiv 1810.02340)."""

from __future__ import annotations

from torch import Tensor

from ...validation import whole_number
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["snip"]


@PRUNERS.register("snip", family="initial", stage="initial", paper="Lee et al. 2019", needs_data=True)
@by_score(allocation="global")
def snip(task: Task, *, batch_size: int = 128) -> dict[str, Tensor]:
    """Sensitivity of the loss to removing a weight, |dL/dm| at m = 1, on one batch.

    The mask enters as m * theta, so dL/dm = theta * dL/dtheta. The paper divides by the sum of all scores, which
    leaves their order as it is.

    Parameters
    ----------
    batch_size
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    """
    gradients = task.gradients(task.loss(*task.samples.batch(whole_number("batch_size", batch_size, minimum=1))))
    return {name: (weight.detach() * gradients[name]).abs() for name, weight in task.weights.items()}
