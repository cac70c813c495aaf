"""Taylor importance (Molchanov et al., CVPR 2019, arXiv 1906.10771)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...dag.channel_coupling import CoupledChannels
from ...validation import one_of, whole_number
from ..registry import PRUNERS
from ..samples import chunks
from ..task import Task
from .unit_scoring import by_unit_score, unit_parameters

__all__ = ["VARIANTS", "taylor"]

VARIANTS = ("gate", "filter", "weights")


@PRUNERS.register("taylor", family="structured", stage="trained", paper="Molchanov et al. 2019", needs_data=True)
@by_unit_score(scope="global", rounds=10)
def taylor(
    task: Task, channels: CoupledChannels, *, variant: str = "gate", samples: int = 512, batch_size: int = 64
) -> Tensor:
    """Squared change of the loss, to first order, when a unit is removed, averaged over batches.

    Of coupled layers one sum is taken over all of them before it is squared, for they go together. The paper removes
    a few units at a time, so there are ten rounds unless asked otherwise; between them the weights stay as they are.

    Parameters
    ----------
    variant
        ``"gate"``: (dL/dz)^2 of a gate z = 1 that multiplies what a unit passes on. Since z multiplies the weights
        that read the unit, this is (sum of g * w over these)^2. The paper puts the gate behind the batch norm; for
        ReLU, and all that passes factors on, both are the same. ``"filter"``: (sum of g * w)^2 over the filters and
        biases that write the unit. ``"weights"``: sum of (g * w)^2 over these filters, each weight on its own.
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.
    batch_size
        The most samples of a batch, from 1 up; its gradient g is that of its mean loss.
    """
    one_of("variant", variant, VARIANTS)
    parameters = unit_parameters(task, channels)
    biases = {layer.bias for layers in channels.layers.values() for layer in layers} if variant == "filter" else set()
    used = {name: p for name, p in parameters.items() if name in channels.layers or name in biases}
    pair = task.samples.batch(whole_number("samples", samples, minimum=1))
    score = torch.zeros(channels.count, dtype=torch.float64)
    for part in chunks(task.moved(pair), whole_number("batch_size", batch_size, minimum=1)):
        loss = task.loss(*part)
        gradients = torch.autograd.grad(loss, list(used.values()), materialize_grads=True)
        changes = {name: g * p.detach() for (name, p), g in zip(used.items(), gradients, strict=True)}
        if variant == "weights":
            squares = channels.sums({name: change.square() for name, change in changes.items()}, side="out")
        else:
            squares = channels.sums(changes, side="in" if variant == "gate" else "out").square()
        score += squares * (len(part[1]) / len(pair[1]))
    return score
