"""A layer trained on whole batches, small enough for tests to write out every step by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from topo.datasets import load
from topo.training import Recipe

DATA = load("digits", subset=4)


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def plan(epochs: int, **changes: Any) -> Recipe:
    """As many steps as epochs, at one rate, on the samples as they are."""
    plain = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "augment": False, "nesterov": False}
    return Recipe(epochs=epochs, batch_size=64, learning_rate=0.5, **(plain | changes))
