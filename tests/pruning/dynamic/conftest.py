"""Short training runs whose every update of the topology is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import topo
from topo.pruning import SparseTrainingCallback
from topo.training import Callback, Recipe, Training, train

PLAN = Recipe(epochs=3, batch_size=32, learning_rate=0.05, weight_decay=1e-2, schedule="constant", augment=False)


@dataclass
class Update:
    """One change of the masks, with what the network was when it was decided."""

    step: int
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    weights: dict[str, Tensor]
    gradients: dict[str, Tensor]
    weights_after: dict[str, Tensor]
    memory_after: dict[str, dict[str, Tensor]]


@dataclass
class Run:
    callback: SparseTrainingCallback
    training: Training
    model: nn.Module
    updates: list[Update] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)


class Watch(Callback):
    """Stands before the sparse-training callback; checks at every step that pruned weights are zero."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_gradients(self, state) -> None:
        self.masks = state.masks
        weights = self.run.callback.weights(state)
        self.weights = {name: w.detach().clone() for name, w in weights.items()}
        self.gradients = {name: w.grad.clone() for name, w in weights.items()}
        self.run.gradients.append(self.gradients)

    def on_step_end(self, state) -> None:
        weights = self.run.callback.weights(state)
        for name, mask in state.masks.items():
            assert not torch.any(weights[name][~mask]), "a pruned weight came back"
        if state.masks is self.masks:
            return
        memory = {
            name: {k: v.clone() for k, v in state.optimizer.state.get(w, {}).items() if v.shape == w.shape}
            for name, w in weights.items()
        }
        after = {name: w.detach().clone() for name, w in weights.items()}
        self.run.updates.append(
            Update(state.step - 1, dict(self.masks), dict(state.masks), self.weights, self.gradients, after, memory)
        )


class Small(nn.Module):
    """Linear, convolution, grouped, depthwise and transposed convolution, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 8, 3, groups=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, groups=2)
        self.head = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.conv(x)))
        x = torch.tanh(self.depthwise(torch.tanh(self.grouped(x))))
        return self.head(torch.tanh(self.up(x)).flatten(1))


@pytest.fixture
def lively() -> nn.Module:
    """A network in which, half pruned, every weight has a gradient: no two scores are equal."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, 10)
        )


@pytest.fixture(scope="session")
def few():
    return topo.datasets.load("digits", subset=10)


@pytest.fixture(scope="session")
def follow(few) -> Callable[..., Run]:
    """Trains a network with an algorithm and returns the run."""

    def make(
        name: str, *, sparsity: float = 0.8, model: Any = None, plan: Recipe = PLAN, seed: int = 0, **settings: Any
    ) -> Run:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = model or Small()
        callback = topo.pruning.sparse_training_callback(
            model, name, sparsity=sparsity, seed=seed, device="cpu", **settings
        )
        run = Run(callback, None, model)
        run.training = train(
            model, few, plan, masks=callback.masks, callbacks=[Watch(run), callback], device="cpu", progress=False
        )
        return run

    return make
