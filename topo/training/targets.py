"""What is asked of a trained network beside its accuracy: calibration, robustness, how fast it converged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..datasets import Dataset, as_dataset
from ..datasets.inputs import Inputs, call_model
from ..device import resolve_device
from ..errors import InputError, failures_named
from ..module_modes import evaluation_mode
from ..registry import Registry
from ..validation import check_settings, real_number, whole_number
from .evaluation import check_fit, dtype_of
from .losses import AskedLoss, find_loss
from .predictions import answers, logits_of

__all__ = ["TARGETS", "Trained", "measure_targets"]


@dataclass(frozen=True)
class Trained:
    """A trained network, as targets see it.

    Attributes
    ----------
    model
        In evaluation mode.
    dataset
        On the model's device.
    history
        What `Training.history` holds.
    loss
        That it was trained with; None for that of the targets.
    """

    model: nn.Module
    dataset: Dataset
    history: pd.DataFrame
    loss: AskedLoss = None

    @property
    def has_classes(self) -> bool:
        """Whether its answers are classes, of which one is right."""
        return self.dataset.train.has_classes and find_loss(self.loss, self.dataset.train.targets).kind == "classes"

    def answers(self, change: Callable[[Tensor], Tensor] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and right classes of the test samples, batch by batch.

        Parameters
        ----------
        change
            Applied to the inputs of a batch, which are then one tensor.

        Yields
        ------
        tuple
            Logits (answers, classes), float32, and classes (answers,).
        """
        with torch.no_grad():
            for inputs, targets in self.dataset.batches("test", 500):
                changed: Inputs = inputs if change is None or not isinstance(inputs, Tensor) else change(inputs)
                output = logits_of(call_model(self.model, changed))
                assert output is not None, "check_fit has seen logits"
                logits, right = answers(output, targets)
                yield logits.float(), right


Target = Callable[..., Mapping[str, float]]
TARGETS: Registry[Target] = Registry("target")
"""Functions ``target(trained, *, ...settings)`` of a `Trained` network that return values by column."""


def measure_targets(
    model: nn.Module,
    data: Any,
    history: pd.DataFrame | None = None,
    *,
    targets: Mapping[str, Mapping[str, Any]] | None = None,
    loss: AskedLoss = None,
    device: str | torch.device = "auto",
) -> dict[str, float]:
    """Targets of a trained network on its test samples.

    Parameters
    ----------
    model
        The network; it is moved to the device and stays in its own mode.
    data
        As `topo.training.train` takes them, with test samples.
    history
        What `Training.history` holds; without it how fast the network converged is not known.
    targets
        Name -> settings, of `TARGETS`; all of them with their usual settings unless given.
    loss
        As for `topo.training.train`.
    device
        ``"auto"`` (CUDA when it is there), ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    dict
        Column -> value; NaN where a target has none, as of corrupted tokens, or where answers are no classes.

    Raises
    ------
    InputError
        When a name or a setting is unknown, the data have no test samples or do not fit the model.

    Examples
    --------
    >>> from topo.datasets import load
    >>> from topo.models import build
    >>> net = build("digits-mlp", input_shape=(1, 8, 8))
    >>> sorted(measure_targets(net, load("digits"), targets={"corruption": {"noise": 1.0}}, device="cpu"))
    ['accuracy_blur', 'accuracy_contrast', 'accuracy_noise']
    """
    wanted = {name: {} for name in TARGETS} if targets is None else targets
    for name, settings in wanted.items():
        check_settings(TARGETS[name], settings, f"target {name!r}")
    where = resolve_device(device)
    model.to(where)
    dataset = as_dataset(data).to(where, dtype_of(model))
    dataset.split("test")
    check_fit(model, dataset, loss)
    columns: dict[str, float] = {}
    with evaluation_mode(model):
        trained = Trained(model, dataset, pd.DataFrame() if history is None else history, loss)
        for name, settings in wanted.items():
            with failures_named(f"target {name!r}", torch.OutOfMemoryError):
                found = TARGETS[name](trained, **settings)
            if not isinstance(found, Mapping):
                raise InputError(f"target {name!r} returned a {type(found).__name__}; it must return values by column.")
            columns |= {column: float(value) for column, value in found.items()}
    return columns


@TARGETS.register("calibration")
def calibration(trained: Trained, *, bins: int = 15) -> dict[str, float]:
    """Expected calibration error: how far confidence is from accuracy, on average over answers.

    Answers are put into bins of equal width by the probability of the class that the network says; the error is the
    mean over answers of the difference between the accuracy and the mean probability of their bin (Guo, Pleiss, Sun,
    Weinberger, *On calibration of modern neural networks*, ICML 2017).

    Parameters
    ----------
    bins
        How many.
    """
    whole_number("bins", bins, minimum=1)
    if not trained.has_classes:
        return {"calibration_error": nan}
    sums = torch.zeros(2, bins, dtype=torch.float64, device=trained.dataset.device)
    count = 0
    for logits, right in trained.answers():
        confidence, said = logits.softmax(1).max(1)
        place = (confidence * bins).ceil().long().clamp(1, bins) - 1
        sums[0].index_add_(0, place, (said == right).double())
        sums[1].index_add_(0, place, confidence.double())
        count += len(right)
    return {"calibration_error": float((sums[0] - sums[1]).abs().sum()) / count}


@TARGETS.register("corruption")
def corruption(trained: Trained, *, noise: float = 0.5, contrast: float = 0.4, seed: int = 0) -> dict[str, float]:
    """Accuracy on test samples under noise, and of images blurred and of less contrast.

    Corruptions of the kinds of Hendrycks & Dietterich, *Benchmarking neural network robustness to common corruptions
    and perturbations*, ICLR 2019, one strength each. Inputs other than numbers, such as tokens, have none; of numbers
    that are no images noise alone.

    Parameters
    ----------
    noise
        Standard deviation of normal noise, in that of the inputs as the network sees them: of images, of each channel.
    contrast
        Share that is left of each pixel's distance from the mean of its image and channel.
    seed
        Of the noise.
    """
    real_number("noise", noise, minimum=0)
    real_number("contrast", contrast, minimum=0, maximum=1)
    generator = torch.Generator().manual_seed(seed)

    def noisy(x: Tensor) -> Tensor:
        return x + noise * torch.randn(x.shape, generator=generator).to(x)

    def blurred(x: Tensor) -> Tensor:
        return functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)

    def faded(x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return mean + contrast * (x - mean)

    example = trained.dataset.example
    numbers = isinstance(example, Tensor) and example.is_floating_point() and trained.has_classes
    images = numbers and isinstance(example, Tensor) and example.ndim == 4
    return {
        "accuracy_noise": _accuracy(trained, noisy) if numbers else nan,
        "accuracy_blur": _accuracy(trained, blurred) if images else nan,
        "accuracy_contrast": _accuracy(trained, faded) if images else nan,
    }


@TARGETS.register("convergence")
def convergence(trained: Trained, *, share: float = 0.9) -> dict[str, float]:
    """Epochs until the test accuracy first is at least a share of that in the end, of those that were evaluated.

    Parameters
    ----------
    share
        Above 0, at most 1.
    """
    real_number("share", share, above=0, maximum=1)
    history = trained.history
    if "test_accuracy" not in history or history["test_accuracy"].isna().all():
        return {"epochs_to_share": nan}
    known = history.dropna(subset=["test_accuracy"])
    reached = known["test_accuracy"] >= share * known["test_accuracy"].iloc[-1]
    return {"epochs_to_share": float(known["epoch"][reached].iloc[0])}


def _accuracy(trained: Trained, change: Callable[[Tensor], Tensor]) -> float:
    right = [(logits.argmax(1) == classes).float() for logits, classes in trained.answers(change)]
    return float(torch.cat(right).double().mean())
