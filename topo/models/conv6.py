"""CONV-6: six plain convolutions and three linear layers."""

from __future__ import annotations

from torch import nn

from ..errors import InputError
from .initialise import initialise
from .registry import MODELS

__all__ = ["conv6"]


@MODELS.register("conv6", family="plain")
def conv6(input_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """CONV-6: three pairs of 3x3 convolutions, each pair max-pooled, then linear layers 256-256-classes.

    References
    ----------
    Frankle & Carbin, The Lottery Ticket Hypothesis, ICLR 2019, figure 2.
    """
    channels, height, width = input_shape
    if min(height, width) < 8:
        raise InputError(f"model 'conv6' halves its input three times and needs 8x8 at least, not {height}x{width}.")
    layers: list[nn.Module] = []
    for wide in (64, 128, 256):
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels = wide
    flat = channels * (height // 8) * (width // 8)
    layers += [nn.Flatten(), nn.Linear(flat, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return initialise(nn.Sequential(*layers, nn.Linear(256, n_classes)))
