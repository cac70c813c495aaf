"""GraSP: gradient signal preservation (Wang et al., ICLR 2020, arXiv 2002.07376)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...datasets.inputs import Batch
from ...validation import real_number, whole_number
from ..registry import PRUNERS
from ..samples import chunks
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["grasp", "hessian_gradient"]


@PRUNERS.register("grasp", family="initial", stage="initial", paper="Wang et al. 2020", needs_data=True)
@by_score(allocation="global")
def grasp(
    task: Task, *, samples_per_class: int = 25, temperature: float = 200.0, batch_size: int = 256
) -> dict[str, Tensor]:
    """What a weight adds to the gradient flow, theta * (H g).

    To first order, changing the weights by delta changes g^T g by 2 delta^T H g; removing a weight is
    delta = -theta, which gives the paper's score s = -theta * (H g). It removes the weights with the largest s, those
    whose loss raises the gradient norm most (or lowers it least). Here the largest scores are kept, so the score is
    -s = theta * (H g). L is the cross-entropy of logits / temperature; g and H are taken over the prunable weights.

    Parameters
    ----------
    samples_per_class
        Samples of each class that are looked at, from 1 up.
    temperature
        What the logits are divided by, above 0, so that the loss is smooth at initialisation.
    batch_size
        The most samples that go through the network at a time, from 1 up.
    """
    temperature = real_number("temperature", temperature, above=0)
    samples = task.samples.balanced(whole_number("samples_per_class", samples_per_class, minimum=1))
    product = hessian_gradient(task, samples, temperature, whole_number("batch_size", batch_size, minimum=1))
    return {name: weight.detach() * product[name] for name, weight in task.weights.items()}


def hessian_gradient(task: Task, samples: Batch, temperature: float, batch_size: int) -> dict[str, Tensor]:
    """H g of the mean loss, as the gradient of g^T dL/dtheta with g held constant (two passes over the samples).

    Parameters
    ----------
    task
        The model and its weights.
    samples
        Inputs and targets, over which the loss is the mean.
    temperature
        What logits are divided by.
    batch_size
        Samples of a pass.

    Returns
    -------
    dict
        Name of each weight -> its part of H g, in its shape.
    """
    parts = list(chunks(samples, batch_size))
    shares = [len(targets) / len(samples[1]) for _, targets in parts]
    gradient = {name: torch.zeros_like(weight) for name, weight in task.weights.items()}
    for part, share in zip(parts, shares, strict=True):
        for name, part_gradient in task.gradients(share * task.loss(*part, temperature)).items():
            gradient[name] += part_gradient
    product = {name: torch.zeros_like(weight) for name, weight in task.weights.items()}
    for part, share in zip(parts, shares, strict=True):
        slope = task.gradients(share * task.loss(*part, temperature), create_graph=True)
        along = sum(((gradient[name] * slope[name]).sum() for name in task.weights), start=torch.zeros(()))
        for name, part_product in task.gradients(along, may_be_constant=True).items():
            product[name] += part_product
    return product
