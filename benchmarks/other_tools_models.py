"""The models that `other_tools.py` gives to every tool that removes channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import topo
from topo.torchvision_import import import_torchvision


class Functional(nn.Module):
    """Weights that no layer module holds."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Parameter(torch.randn(32, 16)), nn.Parameter(torch.randn(8, 32))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.one.t()) @ self.two.t()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Branching(nn.Module):
    """What runs depends on the values of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.one(x) if x.sum() > 0 else self.two(x)))


def zoo() -> dict[str, tuple[Callable[[], nn.Module], Any]]:
    """Name -> how to build a model, and an input."""
    torchvision = import_torchvision()

    def of(name: str, size: int) -> tuple[Callable[[], nn.Module], Tensor]:
        return lambda: torchvision.models.get_model(name, weights=None), torch.rand(2, 3, size, size)

    sizes = {
        "alexnet": 64, "vgg11_bn": 32, "resnext50_32x4d": 32, "densenet121": 32, "googlenet": 64, "inception_v3": 96,
        "mobilenet_v2": 32, "mobilenet_v3_small": 32, "mnasnet0_5": 32, "shufflenet_v2_x0_5": 32, "squeezenet1_1": 64,
        "efficientnet_b0": 32, "regnet_y_400mf": 32, "convnext_tiny": 32,
    }  # fmt: skip

    def transformer() -> nn.Module:
        return torchvision.models.get_model("vit_b_16", weights=None, image_size=32)

    def segmentation() -> nn.Module:
        return torchvision.models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None)

    return {
        **{name: of(name, size) for name, size in sizes.items()},
        "vit_b_16": (transformer, torch.rand(2, 3, 32, 32)),
        "lraspp_mobilenet_v3_large": (segmentation, torch.rand(2, 3, 64, 64)),
        "padding shortcuts (resnet20)": (
            lambda: topo.models.build("resnet20", input_shape=(3, 32, 32), n_classes=10),
            torch.rand(2, 3, 32, 32),
        ),
        "nn.TransformerEncoderLayer": (
            lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
            torch.rand(2, 5, 32),
        ),
        "nn.LSTM and a head": (Recurrent, torch.rand(2, 6, 8)),
        "products with parameters": (Functional, torch.rand(2, 16)),
        "a branch on values of the data": (Branching, torch.rand(2, 8)),
    }
