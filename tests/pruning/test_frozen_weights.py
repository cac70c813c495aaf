"""Weights that the model does not train are pruned, but not trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import topo
from topo.pruning import PRUNERS

TRAINING = [e.name for e in PRUNERS.entries() if e.info["stage"] == "training"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINING)
def test_frozen_weights_keep_their_values(name: str):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU())
    net.append(nn.Linear(12, 3))
    frozen = net[4].requires_grad_(False)
    data = (torch.rand(48, 1, 8, 8), torch.arange(48) % 3)
    masks = topo.prune(
        net, name, sparsity=0.5, data=data, recipe=topo.training.recipe("digits", epochs=2), device="cpu"
    )
    assert masks.state is not None
    kept = masks["4.weight"] if "4.weight" in masks else torch.ones(12, 12, dtype=torch.bool)
    after = masks.state["4.weight"]
    if after.shape == frozen.weight.shape:
        assert torch.equal(after[kept], frozen.weight[kept])
        assert torch.equal(masks.state["4.bias"], frozen.bias)
    assert not torch.equal(masks.state["1.weight"], net[1].weight)
