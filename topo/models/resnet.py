"""Residual networks for small images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from ..validation import one_of
from .initialise import initialise
from .registry import MODELS

__all__ = ["BasicBlock", "ResNet", "Subsample", "resnet"]

SHORTCUTS = ("identity", "projection")


class Subsample(nn.Module):
    """The shortcut without parameters (option A): every `stride`-th position, new channels filled with zeros.

    Parameters
    ----------
    extra_channels
        New channels.
    stride
        Along both axes of the image.
    """

    def __init__(self, extra_channels: int, stride: int) -> None:
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, C + extra, ceil(H / stride), ceil(W / stride))."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to a shortcut.

    Parameters
    ----------
    in_channels, channels
        Channels of the input and of the output.
    stride
        Of the first convolution.
    shortcut
        ``"identity"`` or ``"projection"``, where the shape changes.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Identity()
        elif shortcut == "identity":
            self.shortcut = Subsample(channels - in_channels, stride)
        else:
            convolution = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """Residual network: a 3x3 stem, stages of basic blocks, global average pooling and a linear layer.

    Parameters
    ----------
    in_channels, n_classes
        Channels of the images; outputs.
    blocks, widths
        Blocks and channels of each stage; every stage but the first halves the resolution.
    shortcut
        ``"identity"`` (subsample and pad with zeros, option A) or ``"projection"`` (1x1 convolution, option B)
        where the shape changes.

    References
    ----------
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    def __init__(
        self, in_channels: int, n_classes: int, blocks: Sequence[int], widths: Sequence[int], shortcut: str
    ) -> None:
        super().__init__()
        one_of("shortcut", shortcut, SHORTCUTS)
        self.conv = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        stages: list[nn.Module] = []
        channels = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            sources = [channels] + [width] * (count - 1)
            stages.append(nn.Sequential(*(BasicBlock(c, width, s, shortcut) for c, s in zip(sources, strides))))
            channels = width
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(channels, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to logits (N, n_classes)."""
        out = self.stages(torch.relu(self.bn(self.conv(x))))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(out, 1), 1))


def resnet(depth: int, input_shape: tuple[int, int, int], n_classes: int, *, shortcut: str = "identity") -> nn.Module:
    """Residual network of depth 6n + 2 for 32x32 images: three stages of n blocks with 16, 32 and 64 channels.

    Parameters
    ----------
    depth
        6n + 2; of another number the next lower such depth is built.
    input_shape
        (channels, height, width) of one image; only the channels matter.
    n_classes
        Number of logits.
    shortcut
        Where the shape changes: ``"identity"``, subsampling with zeros as new channels, or ``"projection"``, a 1x1
        convolution with batch norm.

    Returns
    -------
    Module
        With initial weights.

    Examples
    --------
    >>> sum(p.numel() for p in resnet(20, (3, 32, 32), 10).parameters())
    269722
    """
    return initialise(ResNet(input_shape[0], n_classes, [(depth - 2) // 6] * 3, (16, 32, 64), shortcut))


for _depth in (20, 32, 44, 56, 110):
    MODELS.register(f"resnet{_depth}", family="resnet", summary=f"ResNet-{_depth} for 32x32 images (He 2016).")(
        partial(resnet, _depth)
    )
