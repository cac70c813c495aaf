"""Loss and accuracy of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..dag.example import unfit_inputs_named
from ..datasets import Dataset, as_dataset
from ..datasets.inputs import call_model, unfit_labels
from ..device import resolve_device
from ..errors import InputError
from .predictions import answers, fit, logits_of

__all__ = ["check_fit", "evaluate", "measure_split"]


def evaluate(
    model: nn.Module,
    data: Any,
    split: str | None = None,
    device: str | torch.device = "auto",
    *,
    batch_size: int = 500,
) -> dict[str, float]:
    """Accuracy (share of right answers) and mean cross-entropy (nats) on a split, in evaluation mode.

    Of targets of positions, such as the next tokens of a text, every one counts as an answer, those of -100 left out;
    for them there is also the perplexity, exp(mean cross-entropy): among how many equally likely tokens the model would
    be as uncertain. The model is moved to the device; its mode and batch-norm statistics stay as they were.

    Parameters
    ----------
    model
        Returns logits (N, classes), or (N, positions, classes) for targets of positions, or an object that has them
        as ``logits``.
    data
        As `topo.training.train` takes them.
    split
        ``"test"`` or ``"train"``; unless given, the test samples where the data have some and all samples otherwise.
    device
        ``"auto"`` (CUDA when it is there), ``"cpu"`` or ``"cuda"``.
    batch_size
        The most samples that go through the model at a time.

    Returns
    -------
    dict
        ``accuracy`` and ``loss``; of targets of positions also ``perplexity``.

    Raises
    ------
    InputError
        When the data are unfit, or the model does not take the inputs or has too few outputs.

    Examples
    --------
    >>> from topo.datasets import load
    >>> from topo.models import build
    >>> sorted(evaluate(build("digits-mlp", input_shape=(1, 8, 8)), load("digits"), device="cpu"))
    ['accuracy', 'loss']
    """
    target = resolve_device(device)
    model.to(target)
    dataset = as_dataset(data).to(target)
    check_fit(model, dataset)
    return measure_split(model, dataset, split or ("train" if dataset.test is None else "test"), batch_size)


def measure_split(model: nn.Module, dataset: Dataset, split: str, batch_size: int = 500) -> dict[str, float]:
    """As `evaluate`, for a model and a dataset on the same device that fit each other.

    Parameters
    ----------
    model
        The network; afterwards it is in its own mode again.
    dataset
        On the same device.
    split
        Name of a split, such as ``"test"``.
    batch_size
        Samples of a pass.

    Returns
    -------
    dict
        accuracy, the share of right answers, loss, the mean cross-entropy, and of targets of positions perplexity.
    """
    was_training = model.training
    model.eval()
    count, sums = 0, []
    with torch.no_grad():
        for inputs, targets in dataset.batches(split, batch_size):
            output = logits_of(call_model(model, inputs))
            assert output is not None, "check_fit has seen logits"
            logits, targets = answers(output, targets)
            logits = logits.float()
            right = (logits.argmax(1) == targets).sum()
            sums.append(torch.stack([right, functional.cross_entropy(logits, targets, reduction="sum")]))
            count += len(targets)
        totals = torch.stack(sums).double().sum(0) / count
    model.train(was_training)
    accuracy, loss = totals.tolist()
    measured = {"accuracy": accuracy, "loss": loss}
    return measured | ({"perplexity": float(np.exp(loss))} if dataset.split(split).is_of_positions else {})


def check_fit(model: nn.Module, dataset: Dataset) -> None:
    """Raise `InputError` unless the model maps the dataset's inputs to one logit or more per class.

    Parameters
    ----------
    model
        The network; afterwards it is in its own mode again.
    dataset
        On the same device.

    Raises
    ------
    InputError
        When the model does not take the inputs, or returns something else.
    """
    was_training = model.training
    model.eval()
    example = dataset.example
    try:
        with torch.no_grad(), unfit_inputs_named(example, name=f"dataset {dataset.name!r}"):
            output = call_model(model, example)
    finally:
        model.train(was_training)
    logits = logits_of(output)
    targets, shape = dataset.train.targets[:1], () if logits is None else tuple(logits.shape)
    if logits is None or not fit(logits, targets):
        of_positions = dataset.train.is_of_positions
        wanted = f"{dataset.n_classes} logits a {'position' if of_positions else 'sample'}"
        sizes = f", of shape (samples, {', '.join(map(str, targets.shape[1:]))}, classes)," if of_positions else ""
        returned = type(output).__name__ if logits is None else f"a tensor of shape {shape}"
        raise InputError(
            f"the model must return {wanted}{sizes} for dataset {dataset.name!r}, but returned {returned}."
        )
    classes = answers(logits, targets)[0].shape[1]
    if classes < dataset.n_classes:
        raise unfit_labels(torch.arange(dataset.n_classes), classes, name=f"dataset {dataset.name!r}")
