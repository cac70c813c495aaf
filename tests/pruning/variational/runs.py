"""Short runs of training with pruning, in which something goes, shared by tests."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

import topo
from topo.pruning.variational.callback import VariationalCallback
from topo.pruning.variational.config import VariationalConfig
from topo.pruning.variational.gates import find_gates
from topo.pruning.variational.run import VariationalRun
from topo.pruning.variational.run import train as train_pruning
from topo.training import Recipe, recipe, train

CONFIG: dict[str, Any] = {
    "estimator": "layers:exact,units:trapezoid", "matching": "gradient", "initial_theta": 0.9, "warmup": 0.1,
    "settle": 0.7, "horizon": 0.5, "ema_decay": 0.5, "margin": 0.5, "min_saving": 0.02,
}  # fmt: skip
QUIET: dict[str, Any] = {"device": "cpu", "progress": False}
EXAMPLE = torch.zeros(1, 1, 8, 8)


@cache
def digits(subset: int = 15) -> topo.datasets.Dataset:
    return topo.datasets.load("digits", subset=subset, test=360)


def plan(epochs: int = 6, **changes: Any) -> Recipe:
    return recipe("digits", **{"epochs": epochs, "batch_size": 19} | changes)


def cnn(width: int = 4, seed: int = 0) -> nn.Module:
    """Two residual blocks; the second one, at half the resolution, has a projection."""
    return topo.models.build("digits-cnn", input_shape=(1, 8, 8), width=width, seed=seed)


def chain(dropout: float = 0.0) -> nn.Module:
    """Convolutions with biases and norms and a hidden layer; every path needs all of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(24, 7), nn.ReLU(), nn.Dropout(dropout), nn.Linear(7, 10),
        )  # fmt: skip


class Mixed(nn.Module):
    """A residual block on pixels, and a hidden layer that every path needs."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.up, self.down = nn.Linear(64, 6), nn.Linear(6, 64)
            self.hidden, self.head = nn.Linear(64, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = x + self.down(torch.relu(self.up(x)))
        return self.head(torch.relu(self.hidden(x)))


def prune(net: nn.Module, *, epochs: int = 6, config: dict[str, Any] | None = None, **options: Any) -> VariationalRun:
    """Of the public call, with settings that do not follow the defaults."""
    options = {"data": digits(), "recipe": plan(epochs)} | QUIET | options
    return train_pruning(net, config=VariationalConfig(**CONFIG | (config or {})), **options)


def callback(*knobs: float, example: Tensor = EXAMPLE, config: dict[str, Any] | None = None, **options: Any):
    return VariationalCallback(
        partial(find_gates, example=example), *knobs, config=VariationalConfig(**CONFIG | (config or {})), **options
    )


def run(net: nn.Module, *callbacks: topo.training.Callback, epochs: int = 6, **options: Any) -> topo.training.Training:
    """Of the training loop itself, in which the callback can be looked at."""
    return train(net, digits(), plan(epochs), callbacks=callbacks, **QUIET | options)


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks hold the same, bit by bit."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
