"""Two small networks for 8x8 digits."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from ..validation import whole_number
from .initialise import initialise
from .mlp import linear_layers
from .registry import MODELS
from .resnet import ResNet

__all__ = ["digits_cnn", "digits_mlp"]


@MODELS.register("digits-mlp", family="digits")
def digits_mlp(input_shape: tuple[int, int, int], n_classes: int, *, widths: Sequence[int] = (64, 32)) -> nn.Module:
    """Linear layers with hidden `widths` on the flattened image, for 8x8 digits."""
    return initialise(nn.Sequential(nn.Flatten(), *linear_layers(prod(input_shape), widths, n_classes)))


@MODELS.register("digits-cnn", family="digits")
def digits_cnn(
    input_shape: tuple[int, int, int], n_classes: int, *, width: int = 8, blocks: int = 1, shortcut: str = "projection"
) -> nn.Module:
    """Small residual network for 8x8 digits: stem, `blocks` of `width` channels, as many twice as wide, stride 2."""
    whole_number("width, in channels,", width, minimum=1)
    whole_number("blocks, in each of two stages,", blocks, minimum=1)
    stages = {"blocks": (blocks, blocks), "widths": (width, 2 * width)}
    return initialise(ResNet(input_shape[0], n_classes, **stages, shortcut=shortcut))
