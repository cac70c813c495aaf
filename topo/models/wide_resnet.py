"""Wide residual networks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .initialise import initialise
from .registry import MODELS

__all__ = ["PreactivationBlock", "WideResNet", "wrn_28_2"]


class PreactivationBlock(nn.Module):
    """Batch norm and activation before each of two 3x3 convolutions; a 1x1 convolution where the shape changes.

    Parameters
    ----------
    in_channels, channels
        Channels of the input and of the output.
    stride
        Of the first convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        changes = stride != 1 or in_channels != channels
        self.projection = nn.Conv2d(in_channels, channels, 1, stride, bias=False) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        active = torch.relu(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(active)
        return self.conv2(torch.relu(self.bn2(self.conv1(active)))) + shortcut


class WideResNet(nn.Module):
    """Three stages of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64 times `width` channels.

    Parameters
    ----------
    in_channels, n_classes
        Channels of the images; outputs.
    depth
        6n + 4.
    width
        Factor on the channels.

    References
    ----------
    Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016, table 1.
    """

    def __init__(self, in_channels: int, n_classes: int, depth: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        channels = 16
        for stage, wide in enumerate((16 * width, 32 * width, 64 * width)):
            for block in range((depth - 4) // 6):
                blocks.append(PreactivationBlock(channels, wide, 2 if stage > 0 and block == 0 else 1))
                channels = wide
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, C, H, W) to logits (N, n_classes)."""
        out = torch.relu(self.bn(self.blocks(self.conv(x))))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(out, 1), 1))


@MODELS.register("wrn-28-2", family="resnet")
def wrn_28_2(input_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Wide residual network with 28 layers, twice as wide, for 32x32 images (Zagoruyko & Komodakis 2016)."""
    return initialise(WideResNet(input_shape[0], n_classes, depth=28, width=2))
