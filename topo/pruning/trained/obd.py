"""Optimal brain damage (LeCun, Denker & Solla, NIPS 1989)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...datasets.inputs import Batch
from ...validation import whole_number
from ..registry import PRUNERS
from ..samples import chunks
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["fisher_diagonal", "obd"]


@PRUNERS.register("obd", family="trained", stage="trained", paper="LeCun et al. 1990", needs_data=True)
@by_score(allocation="global")
def obd(task: Task, *, samples: int = 128) -> dict[str, Tensor]:
    """Rise of the loss by removing a weight, w^2 H_ii / 2, to second order and with a diagonal Hessian.

    H_ii is the empirical Fisher information, the mean over the samples of the squared gradient of each one's loss.
    It is never negative, takes one backward pass a sample whatever the model, and equals the diagonal of the Hessian
    of the cross-entropy where labels are distributed as the model says and the logits are piecewise linear in every
    single weight, as in a network of ReLUs. The paper instead propagates second derivatives backwards through each
    unit, which is defined for networks of its time.

    Parameters
    ----------
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    """
    diagonal = fisher_diagonal(task, task.samples.batch(whole_number("samples", samples, minimum=1)))
    return {name: weight.detach().square() * diagonal[name] / 2 for name, weight in task.weights.items()}


def fisher_diagonal(task: Task, samples: Batch) -> dict[str, Tensor]:
    """Mean squared gradient of the loss of a sample, by every weight.

    Parameters
    ----------
    task
        The model and its weights.
    samples
        Inputs and targets.

    Returns
    -------
    dict
        Name -> tensor in the weight's shape.
    """
    diagonal = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in task.weights.items()}
    for sample in chunks(task.moved(samples), 1):
        for name, gradient in task.gradients(task.loss(*sample)).items():
            diagonal[name].addcmul_(gradient, gradient, value=1 / len(samples[1]))
    return diagonal
