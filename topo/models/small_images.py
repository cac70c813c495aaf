"""Three networks of different kinds for images of about 16x16 pixels, small enough for hundreds on a few cores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from ..errors import InputError, counted
from ..validation import whole_number
from .initialise import initialise
from .registry import MODELS
from .resnet import BasicBlock

__all__ = ["SmallDepthwise", "SmallPlain", "SmallResNet", "small_depthwise", "small_plain", "small_resnet"]


def _convolution(in_channels: int, channels: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias, batch norm and ReLU."""
    convolution = nn.Conv2d(in_channels, channels, size, stride, padding=size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]


class SmallPlain(nn.Module):
    """Convolutions of 3x3 with batch norm one after the other, between them max pooling; mean pooling, a linear layer.

    Parameters
    ----------
    in_channels, n_classes
        Channels of the images; outputs.
    widths
        Channels of each convolution; every one but the last is followed by pooling that halves the image.
    """

    def __init__(self, in_channels: int, n_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            layers += [nn.MaxPool2d(2)] if number else []
            layers += _convolution(in_channels, width, 3)
            in_channels = width
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(in_channels, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to logits (N, n_classes)."""
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(self.layers(x), 1), 1))


class SmallResNet(nn.Module):
    """A 3x3 convolution, max pooling, one basic block a stage, mean pooling and a linear layer.

    Parameters
    ----------
    in_channels, n_classes
        Channels of the images; outputs.
    widths
        Channels of each stage; every one but the first halves the image and has a 1x1 convolution as its shortcut.

    References
    ----------
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    def __init__(self, in_channels: int, n_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(in_channels, widths[0], 3), nn.MaxPool2d(2))
        sources = [widths[0], *widths[:-1]]
        blocks = [
            BasicBlock(source, width, 2 if stage else 1, "projection")
            for stage, (source, width) in enumerate(zip(sources, widths, strict=True))
        ]
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(widths[-1], n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to logits (N, n_classes)."""
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1), 1))


class SmallDepthwise(nn.Module):
    """A 3x3 convolution, pairs of a 3x3 filter of each channel and a 1x1 convolution, mean pooling, a linear layer.

    Parameters
    ----------
    in_channels, n_classes
        Channels of the images; outputs.
    widths
        Channels of the first convolution and of each pair; filters of pairs that widen halve the image.

    References
    ----------
    Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, 2017
    (arXiv 1704.04861), section 3.
    """

    def __init__(self, in_channels: int, n_classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers = _convolution(in_channels, widths[0], 3)
        for source, width in pairwise(widths):
            layers += _convolution(source, source, 3, 2 if width > source else 1, groups=source)
            layers += _convolution(source, width, 1)
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(widths[-1], n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to logits (N, n_classes)."""
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(self.layers(x), 1), 1))


def _checked(widths: Sequence[int]) -> Sequence[int]:
    if not widths:
        raise InputError("widths is empty; give at least one number of channels.")
    for width in widths:
        whole_number("every number of widths", width, minimum=1)
    return widths


@MODELS.register("small-plain", family="plain")
def small_plain(
    input_shape: tuple[int, int, int], n_classes: int, *, widths: Sequence[int] = (16, 32, 64, 128)
) -> nn.Module:
    """Plain convolutions of 3x3 for 16x16 images, of `widths` channels, with max pooling in between."""
    channels, *sides = input_shape
    least = 2 ** (len(_checked(widths)) - 1)
    if min(sides) < least:
        raise InputError(
            f"model 'small-plain' with {counted(len(widths), 'width')} halves its input "
            f"{counted(len(widths) - 1, 'time')} and needs {least}x{least} pixels at least, not {sides[0]}x{sides[1]}."
        )
    return initialise(SmallPlain(channels, n_classes, widths))


@MODELS.register("small-resnet", family="resnet")
def small_resnet(
    input_shape: tuple[int, int, int], n_classes: int, *, widths: Sequence[int] = (16, 32, 64)
) -> nn.Module:
    """Three residual blocks for 16x16 images, of `widths` channels."""
    return initialise(SmallResNet(input_shape[0], n_classes, _checked(widths)))


@MODELS.register("small-depthwise", family="mobilenet")
def small_depthwise(
    input_shape: tuple[int, int, int], n_classes: int, *, widths: Sequence[int] = (32, 64, 128, 128, 256)
) -> nn.Module:
    """Depthwise separable convolutions for 16x16 images: filters of each channel and 1x1 convolutions (Howard 2017)."""
    return initialise(SmallDepthwise(input_shape[0], n_classes, _checked(widths)))
