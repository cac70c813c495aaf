"""The loss of what a model returns, of which a pruner takes gradients."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..datasets.inputs import kind_of, unfit_labels
from ..errors import InputError
from ..training.losses import AskedLoss, find_loss
from ..training.predictions import logits_of

__all__ = ["loss_of_output"]


def loss_of_output(
    output: Any, targets: Tensor, asked: AskedLoss, ends: tuple[int, int], temperature: float = 1.0
) -> Tensor:
    """Mean loss of what a model returns, over the samples or positions that have targets.

    Parameters
    ----------
    output
        What the model returns.
    targets
        Of the same samples, on the same device.
    asked
        The loss that is asked for; None for that of the targets.
    ends
        The least and the largest label, where targets are labels: looking at them would wait for the device.
    temperature
        What logits are divided by, of cross-entropy; other losses have none.

    Returns
    -------
    Tensor
        One number, with a gradient.

    Raises
    ------
    InputError
        When what the model returns does not fit the targets and the loss.
    """
    loss = find_loss(asked, targets)
    if loss.own:
        return loss(output, targets)
    logits, of_classes = logits_of(output), loss.name == "cross-entropy" and kind_of(targets) == "classes"
    if logits is None or (of_classes and logits.ndim < 2):
        raise InputError(
            "the model must return one tensor of logits (samples x classes) for this pruner, or one that fits another "
            "loss."
        )
    pair = loss.paired(output, targets)
    if pair is None and of_classes and targets.ndim > 1:
        raise InputError(
            f"the model returns logits of shape {tuple(logits.shape)} for targets of shape {tuple(targets.shape)}; "
            "targets of positions (samples, positions) need logits (samples, positions, classes)."
        )
    if pair is None:
        raise loss.unfit(output, targets)
    logits, labels = pair
    if of_classes and labels.numel():
        least, largest = ends
        if not 0 <= least <= largest < logits.shape[1]:
            raise unfit_labels(labels, logits.shape[1])
    return loss.of_pair(logits, labels, temperature=temperature)
