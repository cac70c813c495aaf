"""Networks whose decompositions can be worked out by hand, and the published kinds that must lift."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import topo


class Worked(nn.Module):
    """y = rho(x + f2(f1(x))), the worked example."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.f1, self.f2, self.rho = nn.Linear(width, width), nn.Linear(width, width), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(x + self.f2(self.f1(x)))


class Tower(nn.Module):
    """Residual blocks x + g(f(x)), g an activation."""

    def __init__(self, blocks: int, activation: Callable[[Tensor], Tensor] = torch.relu, width: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + self.activation(layer(x))
        return x


class ConstantSlot(nn.Module):
    """A concatenation with a constant between two results."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(6, 2)
        self.token = nn.Parameter(torch.randn(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.a(x), self.token.expand(x.shape[0], -1), self.b(x)], dim=1))


class DenseBlock(nn.Module):
    """Every layer reads all before it: no series-parallel network."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2 * (i + 1), 2) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.layers:
            features.append(torch.relu(layer(torch.cat(features, dim=1))))
        return torch.cat(features, dim=1)


class PlainReluNet(nn.Module):
    """Convolutions, batch norm, max-pooling, a skip and a concatenation: piecewise linear."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.wide = nn.Conv2d(3, 2, 1)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        x = torch.relu(x + self.deep(x))
        x = torch.cat([nn.functional.max_pool2d(x, 2), nn.functional.avg_pool2d(self.wide(x), 2)], dim=1)
        return self.head(x.mean(dim=(2, 3)))


PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: topo.models.build("resnet20"),
    "mobilenet_v2": lambda: topo.models.build("mobilenet_v2"),
    "googlenet": lambda: topo.models.build("googlenet"),
}


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in double precision and evaluation mode, with seeded weights and batch statistics of no symmetry."""
    generator = torch.Generator().manual_seed(seed)
    model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator, dtype=torch.float64))
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
