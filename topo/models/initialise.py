"""How fresh weights are drawn."""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import nn

__all__ = ["initialise", "initialise_missing"]


def initialise(model: nn.Module) -> nn.Module:
    """Draw convolution and linear weights from Kaiming-normal distributions in place; biases become zero.

    Convolutions keep the variance of the gradient (fan-out), as is usual for residual networks. Linear
    layers keep the variance of the activation (fan-in): with ten outputs, fan-out would blow the logits up.
    Draws from the global generator.

    Parameters
    ----------
    model
        Changed in place.

    Returns
    -------
    Module
        `model` itself.

    References
    ----------
    He et al., Delving Deep into Rectifiers, ICCV 2015, equations 10 and 14.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _draw(module)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def initialise_missing(model: nn.Module) -> nn.Module:
    """Draw only the convolution and linear weights that are zero throughout.

    Some networks start with a zero head. A zero layer has no edges in a graph, and passes no gradient to the
    layers before it, which pruning at initialisation needs.

    Parameters
    ----------
    model
        Changed in place.

    Returns
    -------
    Module
        `model` itself.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not torch.any(module.weight):
            _draw(module)
    return model


def _draw(module: nn.Conv2d | nn.Linear) -> None:
    if isinstance(module, nn.Conv2d):
        # an input channel reaches the outputs of its own group alone
        fan = module.out_channels // module.groups * prod(module.kernel_size)
    else:
        fan = module.in_features
    nn.init.normal_(module.weight, std=sqrt(2 / fan))
