"""Loss and accuracy of a network."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ..datasets import Dataset
from ..device import resolve_device
from ..errors import InputError

__all__ = ["check_fit", "evaluate", "measure_split"]


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    split: str = "test",
    device: str | torch.device = "auto",
    *,
    batch_size: int = 500,
) -> dict[str, float]:
    """Accuracy (share of right answers) and mean cross-entropy (nats) on a split, in evaluation mode.

    The model is moved to the device; its mode and batch-norm statistics stay as they were.

    Raises
    ------
    InputError
        When the model does not take the dataset's images or has too few outputs.

    Examples
    --------
    >>> from topo.datasets import load
    >>> from topo.models import build
    >>> sorted(evaluate(build("digits-mlp", input_shape=(1, 8, 8)), load("digits"), device="cpu"))
    ['accuracy', 'loss']
    """
    target = resolve_device(device)
    model.to(target)
    dataset = dataset.to(target)
    check_fit(model, dataset)
    return measure_split(model, dataset, split, batch_size)


def measure_split(model: nn.Module, dataset: Dataset, split: str, batch_size: int = 500) -> dict[str, float]:
    """As `evaluate`, for a model and a dataset on the same device that fit each other."""
    was_training = model.training
    model.eval()
    totals = torch.zeros(2, dtype=torch.float64)
    count = 0
    with torch.no_grad():
        sums = []
        for inputs, targets in dataset.batches(split, batch_size):
            logits = model(inputs).float()
            right = (logits.argmax(1) == targets).sum()
            sums.append(torch.stack([right, functional.cross_entropy(logits, targets, reduction="sum")]))
            count += len(targets)
        totals = torch.stack(sums).double().sum(0) / count
    model.train(was_training)
    accuracy, loss = totals.tolist()
    return {"accuracy": accuracy, "loss": loss}


def check_fit(model: nn.Module, dataset: Dataset) -> None:
    """Raise `InputError` unless the model maps the dataset's images to one logit or more per class."""
    was_training = model.training
    model.eval()
    sample = torch.zeros(1, *dataset.input_shape, device=dataset.device)
    try:
        with torch.no_grad():
            logits = model(sample)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"the model does not take images of shape {dataset.input_shape} as dataset {dataset.name!r} has them "
            f"({str(error).splitlines()[0]}); build it with input_shape={dataset.input_shape}."
        ) from error
    finally:
        model.train(was_training)
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 2 or shape[1] < dataset.n_classes:
        raise InputError(
            f"the model must return {dataset.n_classes} logits an image for dataset {dataset.name!r}, "
            f"but returned {f'a tensor of shape {shape}' if shape else type(logits).__name__}."
        )
