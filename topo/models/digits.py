"""Two small networks for 8x8 digits."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from ..errors import InputError
from .initialise import initialise
from .registry import MODELS
from .resnet import ResNet

__all__ = ["digits_cnn", "digits_mlp"]


@MODELS.register("digits-mlp", family="digits")
def digits_mlp(input_shape: tuple[int, int, int], n_classes: int, *, widths: Sequence[int] = (64, 32)) -> nn.Module:
    """Linear layers with hidden `widths` on the flattened image, for 8x8 digits."""
    if not widths or min(widths) < 1:
        raise InputError(f"widths must be one or more positive whole numbers, not {tuple(widths)}.")
    layers: list[nn.Module] = [nn.Flatten()]
    source = prod(input_shape)
    for width in widths:
        layers += [nn.Linear(source, width), nn.ReLU()]
        source = width
    return initialise(nn.Sequential(*layers, nn.Linear(source, n_classes)))


@MODELS.register("digits-cnn", family="digits")
def digits_cnn(
    input_shape: tuple[int, int, int], n_classes: int, *, width: int = 8, shortcut: str = "projection"
) -> nn.Module:
    """Small residual network for 8x8 digits: a stem, a block of `width` channels, one of twice as many at stride 2."""
    if width < 1:
        raise InputError(f"width must be a positive whole number of channels, not {width}.")
    return initialise(ResNet(input_shape[0], n_classes, blocks=(1, 1), widths=(width, 2 * width), shortcut=shortcut))
