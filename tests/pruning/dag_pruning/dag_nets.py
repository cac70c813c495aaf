"""Networks with branches of every kind, and the pieces of the `dag` pruner on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import topo
from tests.dag.nets import normal
from topo.dag.channel_coupling import coupled_channels
from topo.pruning.dag_pruning.candidates import candidates, drop
from topo.pruning.dag_pruning.prunable_network import PrunableNetwork
from topo.pruning.dag_pruning.scores import Scoring
from topo.pruning.samples import Samples
from topo.pruning.task import Task


class Worked(nn.Module):
    """y = rho(x + f2(f1(x))), the worked example."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.f1, self.f2, self.rho = nn.Linear(width, width), nn.Linear(width, width), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(x + self.f2(self.f1(x)))


class Blocks(nn.Module):
    """A stem, residual blocks with batch norm, one of two parallel branches, and a head."""

    def __init__(self, blocks: int = 3, width: int = 4, inner: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(width, inner, 3, padding=1) for _ in range(blocks))
        self.up = nn.ModuleList(nn.Conv2d(inner, width, 1, bias=False) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(blocks))
        self.aside = nn.Conv2d(width, width, 1)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for down, up, norm in zip(self.down, self.up, self.norms, strict=True):
            x = torch.relu(x + norm(up(torch.relu(down(x)))) + (self.aside(x) if down is self.down[0] else 0))
        return self.head(x.mean(dim=(2, 3)))


class Dense(nn.Module):
    """Every layer reads all before it, behind a norm with a shift."""

    def __init__(self, layers: int = 3, growth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3 + growth * i) for i in range(layers))
        self.convs = nn.ModuleList(nn.Conv2d(3 + growth * i, growth, 3, padding=1) for i in range(layers))
        self.head = nn.Linear(3 + growth * layers, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(torch.relu(norm(torch.cat(features, dim=1)))))
        return self.head(torch.cat(features, dim=1).mean(dim=(2, 3)))


class Repeated(nn.Module):
    """One branch used in two blocks, another in a third."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.once, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.tanh(self.twice(x))
        x = x + torch.tanh(self.once(x))
        x = x + torch.tanh(self.twice(x))
        return self.head(x)


class Gated(nn.Module):
    """Branches that masks cannot make zero, and one that they can: a sigmoid, operands of a product, a tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.left, self.right, self.quiet = (nn.Linear(4, 4) for _ in range(4))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.sigmoid(self.open(x))
        x = x + torch.relu(self.left(x)) * torch.relu(self.right(x))
        x = x + torch.tanh(self.quiet(x))
        return self.head(x)


def images(samples: int = 6, seed: int = 1) -> tuple[Tensor, Tensor]:
    return normal(samples, 2, 5, 5, seed=seed), torch.arange(samples) % 5


def vectors(samples: int = 6, width: int = 4, classes: int = 5) -> tuple[Tensor, Tensor]:
    return normal(samples, width), torch.arange(samples) % classes


def network_of(model: nn.Module, example: Tensor) -> PrunableNetwork:
    return PrunableNetwork(coupled_channels(topo.trace(model, example[:1])))


def scoring_of(model: nn.Module, data: Any, granularity: str = "mixed", **limits: int) -> Scoring:
    """All that scores look at, for the whole network."""
    network = network_of(model, data[0])
    generator = torch.Generator().manual_seed(0)
    model.requires_grad_(True)
    task = Task(model, dict(model.named_parameters()), 0, Samples(data, generator), generator, torch.device("cpu"))
    state = network.intact()
    known = candidates(network, granularity, np.zeros(network.channels.count, dtype=bool))
    after = [None if c.unit is not None else drop(network, state, c) for c in known]
    settings = {"samples": 1000, "batch_size": 1000, "limit": 1000, **limits}
    return Scoring(task, network, state, known, **settings, after=after)
