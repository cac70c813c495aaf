"""MobileNetV2 for small images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .initialise import initialise
from .registry import MODELS

__all__ = ["InvertedResidual", "MobileNetV2", "mobilenet_v2"]

# expansion, channels, blocks, stride of the first block. The stem and the second stage keep the
# resolution, which they halve on large images.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (3x3), project (1x1); at stride 1 added to the input or its 1x1 projection.

    Parameters
    ----------
    in_channels, channels
        Channels of the input and of the output.
    expansion
        Channels in between, relative to `in_channels`.
    stride
        Of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module | None = None
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Identity()
        elif stride == 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        out = torch.relu(self.bn1(self.expand(x)))
        out = torch.relu(self.bn2(self.depthwise(out)))
        out = self.bn3(self.project(out))
        return out if self.shortcut is None else out + self.shortcut(x)


class MobileNetV2(nn.Module):
    """Inverted residual blocks between a 3x3 stem and a 1x1 convolution to 1280 channels, for 32x32 images.

    Parameters
    ----------
    in_channels, n_classes
        Channels of the images; outputs.

    References
    ----------
    Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2.
    """

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        blocks: list[nn.Module] = []
        source = 32
        for expansion, channels, count, stride in STAGES:
            for block in range(count):
                blocks.append(InvertedResidual(source, channels, expansion, stride if block == 0 else 1))
                source = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = nn.Conv2d(source, 1280, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1280)
        self.fc = nn.Linear(1280, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to logits (N, n_classes)."""
        out = self.blocks(torch.relu(self.bn1(self.conv1(x))))
        out = torch.relu(self.bn2(self.conv2(out)))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(out, 1), 1))


@MODELS.register("mobilenet_v2", family="mobilenet")
def mobilenet_v2(input_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """MobileNetV2 for 32x32 images: the stem and the second stage keep the resolution (Sandler 2018)."""
    return initialise(MobileNetV2(input_shape[0], n_classes))
