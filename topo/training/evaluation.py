"""How good a network is: its loss, and accuracy or what stands for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..dag.example import unfit_inputs_named
from ..datasets import Dataset, as_dataset
from ..datasets.inputs import call_model, kind_of, unfit_labels
from ..device import resolve_device
from ..errors import InputError
from ..module_modes import evaluation_mode
from .losses import AskedLoss, Loss, check_targets, find_loss
from .predictions import logits_of

__all__ = ["check_fit", "dtype_of", "evaluate", "full_precision", "measure_split"]


def evaluate(
    model: nn.Module,
    data: Any,
    split: str | None = None,
    device: str | torch.device = "auto",
    *,
    batch_size: int = 500,
    loss: AskedLoss = None,
) -> dict[str, float]:
    """Mean loss of a network on a split and how good its answers are, in evaluation mode.

    Of classes that is the accuracy, the share of right answers; of targets of positions, such as the next tokens of a
    text or a class for each pixel, every one counts as an answer, those of -100 left out. Of texts there is also the
    perplexity, exp(mean cross-entropy): among how many equally likely tokens the model would be as uncertain. Of maps
    of classes there is the mean intersection over union of the classes that occur. Of labels the accuracy is the share
    of all labels. Of numbers there is no accuracy but the root of the mean squared error, and R^2 = 1 - (sum of squared
    errors) / (sum of squared deviations of the targets from the mean of each output). The model is moved to the device;
    its mode and batch-norm statistics stay as they were.

    Parameters
    ----------
    model
        Returns logits (N, classes), or (N, positions, classes) for targets of positions, or an object that has them
        as ``logits``; for numbers a tensor of the shape of the targets.
    data
        As `topo.training.train` takes them.
    split
        ``"test"`` or ``"train"``; unless given, the test samples where the data have some and all samples otherwise.
    device
        ``"auto"`` (CUDA when it is there), ``"cpu"`` or ``"cuda"``.
    batch_size
        The most samples that go through the model at a time.
    loss
        A name of `LOSSES` or a function of outputs and targets; unless given, that of the targets: cross-entropy for
        whole numbers, mse for numbers, bce-with-logits for bools.

    Returns
    -------
    dict
        ``loss``; of classes and labels ``accuracy``, of texts ``perplexity``, of maps ``mean_iou``; of numbers ``rmse``
        and ``r2``.

    Raises
    ------
    InputError
        When the data are unfit, or the model does not take the inputs or has too few outputs, or the targets do not
        tell the loss.

    Examples
    --------
    >>> from topo.datasets import load
    >>> from topo.models import build
    >>> sorted(evaluate(build("digits-mlp", input_shape=(1, 8, 8)), load("digits"), device="cpu"))
    ['accuracy', 'loss']
    >>> numbers = torch.randn(20, 3), torch.randn(20)
    >>> sorted(evaluate(nn.Linear(3, 1), numbers, device="cpu"))
    ['loss', 'r2', 'rmse']
    """
    target = resolve_device(device)
    model.to(target)
    dataset = as_dataset(data).to(target, dtype_of(model))
    check_fit(model, dataset, loss)
    chosen = split or ("train" if dataset.test is None else "test")
    return measure_split(model, dataset, chosen, batch_size, loss=loss)


def measure_split(
    model: nn.Module, dataset: Dataset, split: str, batch_size: int = 500, *, loss: AskedLoss = None
) -> dict[str, float]:
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
    loss
        As for `evaluate`.

    Returns
    -------
    dict
        Name -> value.
    """
    found = find_loss(loss, dataset.split(split).targets)
    parts: dict[str, list[Tensor]] = {}
    with evaluation_mode(model), torch.no_grad():
        for inputs, targets in dataset.batches(split, batch_size):
            for name, part in _sums(found, full_precision(call_model(model, inputs)), targets).items():
                parts.setdefault(name, []).append(part)
    totals = {name: torch.stack(each).sum(0) for name, each in parts.items()}
    targets = dataset.split(split).targets
    return _measures(found, totals, of_tokens=kind_of(targets) == "classes" and targets.ndim == 2)


def _sums(loss: Loss, output: Any, targets: Tensor) -> dict[str, Tensor]:
    """What of a batch adds up, in float64 and on its device: nothing is looked at before the last batch."""
    pair = loss.paired(output, targets)
    right = None if pair is None else loss.right(*pair)
    count = len(targets) if pair is None else len(pair[1]) if loss.kind == "classes" else pair[1].numel()
    if not loss.own and loss.name == "cross-entropy" and pair is not None and not pair[1].is_floating_point():
        total = functional.cross_entropy(*pair, reduction="sum")
    elif loss.own or pair is None:
        total = loss(output, targets) * count
    else:
        total = loss.of_pair(*pair) * count
    nothing = torch.full_like(total, math.nan)
    sums = {"means": torch.stack([nothing if right is None else right.to(total), total]).double()}
    sums["answers"] = torch.tensor(float(count), dtype=torch.float64)
    if pair is None:
        return sums
    outputs, asked = pair
    if right is None:
        numbers = asked.double()
        errors = (outputs.double() - numbers).square().sum()
        return sums | {"errors": errors, "sum": numbers.sum(0), "squares": numbers.square().sum(0)}
    if targets.ndim > 2 and loss.kind == "classes" and not targets.is_floating_point():
        said, ones = outputs.argmax(1), torch.ones(len(outputs), dtype=torch.float64, device=outputs.device)
        none = torch.zeros(outputs.shape[1], dtype=torch.float64, device=outputs.device)
        sums["both"] = none.index_add(0, said, (said == asked).double())
        sums["either"] = none.index_add(0, said, ones).index_add(0, asked, ones) - sums["both"]
    return sums


def _measures(loss: Loss, totals: dict[str, Tensor], *, of_tokens: bool) -> dict[str, float]:
    """What is measured from the sums over all batches."""
    count = float(totals["answers"])
    accuracy, mean = (totals["means"] / max(count, 1.0)).tolist()
    if "errors" in totals:
        errors, each = float(totals["errors"]), count / totals["sum"].numel()
        spread = float((totals["squares"] - totals["sum"].square() / each).clamp(min=0).sum())
        return {"loss": mean, "rmse": math.sqrt(errors / count), "r2": 1 - errors / spread if spread else math.nan}
    if math.isnan(accuracy):
        return {"loss": mean}
    measured = {"accuracy": accuracy, "loss": mean}
    if "both" in totals:
        occurs = totals["either"] > 0
        measured["mean_iou"] = float((totals["both"][occurs] / totals["either"][occurs]).mean())
    elif of_tokens and loss.kind == "classes":
        measured["perplexity"] = float(np.exp(mean))
    return measured


def check_fit(model: nn.Module, dataset: Dataset, loss: AskedLoss = None) -> None:
    """Raise `InputError` unless the model maps the dataset's inputs to what the loss takes with its targets.

    Parameters
    ----------
    model
        The network; afterwards it is in its own mode again.
    dataset
        On the same device.
    loss
        As for `evaluate`.

    Raises
    ------
    InputError
        When the model does not take the inputs, or returns something else, or the targets do not tell the loss.
    """
    for split in (dataset.train, dataset.test):
        if split is not None:
            check_targets(loss, split.targets, f"dataset {dataset.name!r}")
    found = find_loss(loss, dataset.train.targets)
    example = dataset.example
    with evaluation_mode(model), torch.no_grad(), unfit_inputs_named(example, name=f"dataset {dataset.name!r}"):
        output = call_model(model, example)
    targets = dataset.train.targets[:1]
    if found.own:
        found(output, targets)
        return
    pair = found.paired(output, targets)
    if found.kind != "classes" or not dataset.train.has_classes:
        if pair is None:
            raise found.unfit(output, targets, f"dataset {dataset.name!r}")
        return
    if pair is None:
        logits = logits_of(output)
        of_positions = dataset.train.is_of_positions
        wanted = f"{dataset.n_classes} logits a {'position' if of_positions else 'sample'}"
        sizes = f", of shape (samples, {', '.join(map(str, targets.shape[1:]))}, classes)," if of_positions else ""
        returned = type(output).__name__ if logits is None else f"a tensor of shape {tuple(logits.shape)}"
        raise InputError(
            f"the model must return {wanted}{sizes} for dataset {dataset.name!r}, but returned {returned}."
        )
    classes = pair[0].shape[1]
    if classes < dataset.n_classes:
        raise unfit_labels(torch.arange(dataset.n_classes), classes, name=f"dataset {dataset.name!r}")


def full_precision(output: Any) -> Any:
    """What a model returns, outputs of 16 bits as float32 and others as they are.

    Parameters
    ----------
    output
        A tensor, or an object that has one as ``logits``.

    Returns
    -------
    object
        The tensor, where there is one.
    """
    outputs = logits_of(output)
    if outputs is None or not outputs.is_floating_point():
        return output
    return outputs.float() if outputs.element_size() < 4 else outputs


def dtype_of(model: nn.Module) -> torch.dtype:
    """The type of a model's numbers, by its first parameter of floating-point numbers; float32 where it has none.

    Parameters
    ----------
    model
        A network.

    Returns
    -------
    dtype
        What its inputs are to be.
    """
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
