"""ProsPr: prospect pruning by meta-gradients (Alizadeh et al., ICLR 2022, arXiv 2202.08132)."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from ...parameter_names import named_parameters
from ...validation import real_number, whole_number
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score

__all__ = ["prospr"]


@PRUNERS.register("prospr", family="initial", stage="initial", paper="Alizadeh et al. 2022", needs_data=True)
@by_score(allocation="global")
def prospr(
    task: Task, *, steps: int = 3, lr: float = 0.1, momentum: float = 0.0, batch_size: int = 128
) -> dict[str, Tensor]:
    """Sensitivity of the loss after M steps of training to removing a weight at the start, |dL(theta_M)/dm| at m = 1.

    The mask enters once, theta_0 = m * theta; then come M steps of SGD, v <- momentum * v + g and
    theta <- theta - lr * v, each on its own samples, and the loss is that of theta_M on samples of its own. The
    gradient goes through all steps, second derivatives included. What is not pruned, such as biases and norms,
    is trained as well. The authors' code holds the first step's velocity constant, which for momentum > 0 is not the
    gradient of the paper; here it is not. No step at all is SNIP.

    Parameters
    ----------
    steps
        Number M of steps, from 0 up; memory grows with it.
    lr
        Learning rate of the steps, from 0 up.
    momentum
        Factor of the velocity in the steps, from 0 up.
    batch_size
        About how many samples each step sees, from 1 up, as many of each class; given batches, each step takes the next
        one.
    """
    steps = whole_number("steps", steps, minimum=0)
    lr, momentum = real_number("lr", lr, minimum=0), real_number("momentum", momentum, minimum=0)
    batches = islice(task.samples.batches(whole_number("batch_size", batch_size, minimum=1)), steps + 1)
    masks = {name: torch.ones_like(weight, requires_grad=True) for name, weight in task.weights.items()}
    theta = {name: p.detach().requires_grad_() for name, p in named_parameters(task.model).items()}
    theta |= {name: theta[name] * mask for name, mask in masks.items()}
    velocity = {name: torch.zeros_like(p) for name, p in theta.items()}
    for batch in islice(batches, steps):
        gradients = torch.autograd.grad(
            task.with_tensors(theta).loss(*batch), list(theta.values()), create_graph=True, materialize_grads=True
        )
        for name, gradient in zip(theta, gradients, strict=True):
            velocity[name] = momentum * velocity[name] + gradient
        theta = {name: p - lr * velocity[name] for name, p in theta.items()}
    loss = task.with_tensors(theta).loss(*next(batches))
    gradients = torch.autograd.grad(loss, list(masks.values()), allow_unused=True)
    return {name: gradient.abs() for name, gradient in task.by_name(gradients).items()}
