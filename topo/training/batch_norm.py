"""Statistics of batch norms, measured anew."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..datasets import as_dataset
from ..datasets.inputs import call_model
from .evaluation import dtype_of

__all__ = ["recalibrate"]


def recalibrate(model: nn.Module, data: Any, batch_size: int = 128, batches: int = 100, *, seed: int = 0) -> nn.Module:
    """Set the running statistics of batch norms to averages over training samples, as when the network changed.

    Parameters
    ----------
    model
        Stays in its mode; nothing but the running statistics of its batch norms changes.
    data
        As `topo.training.train` takes them, on the model's device.
    batch_size, batches
        The size of a batch and the most batches of training samples, drawn at random and not augmented, that are passed
        through.
    seed
        Of the draw. The order in which samples are stored plays no part, for they may be stored class by class.

    Returns
    -------
    nn.Module
        The model.

    Examples
    --------
    >>> from topo.datasets import load
    >>> from topo.models import build
    >>> data = load("digits", subset=20)
    >>> net = recalibrate(build("digits-cnn", input_shape=(1, 8, 8)), data)
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return model
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        # None averages over all batches alike.
        norm.momentum = None
        norm.train()
    try:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(seed)
            dataset = as_dataset(data)
            dataset = dataset.to(dataset.device, dtype_of(model))
            for seen, (inputs, _) in enumerate(dataset.batches("train", batch_size, generator=generator)):
                if seen == batches:
                    break
                call_model(model, inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return model
