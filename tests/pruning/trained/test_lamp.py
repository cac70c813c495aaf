from __future__ import annotations

import pytest
import torch
from torch import nn

import topo.pruning


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 4))


def test_scores_by_brute_force():
    model = net()
    scores = topo.pruning.score(model, "lamp")
    for name, scored in scores.items():
        weight = dict(model.named_parameters())[name].detach().double()
        expected = [w**2 / (weight[weight.abs() >= abs(w)] ** 2).sum() for w in weight.flatten()]
        torch.testing.assert_close(scored.flatten(), torch.stack(expected))


def test_equal_weights_follow_their_order():
    model = nn.Linear(3, 1, bias=False)
    nn.init.ones_(model.weight)
    torch.testing.assert_close(topo.pruning.score(model, "lamp")["weight"].float(), torch.tensor([[1 / 3, 1 / 2, 1.0]]))


@pytest.mark.parametrize("sparsity", [0.3, 0.7, 0.96])
def test_layers_may_be_scaled_and_none_is_emptied(sparsity):
    model, scaled = net(), net()
    with torch.no_grad():
        scaled[0].weight.mul_(-64.0)
    masks = topo.prune(model, "lamp", sparsity=sparsity)
    assert masks == topo.prune(scaled, "lamp", sparsity=sparsity)
    assert masks.counts()["kept"].sum() == round((1 - sparsity) * 72)
    assert masks.empty_layers() == []


def test_within_a_layer_the_largest_are_kept():
    model = net()
    for name, mask in topo.prune(model, "lamp", sparsity=0.6).items():
        weight = dict(model.named_parameters())[name].abs()
        assert weight[mask].min() > weight[~mask].max()


def test_a_layer_of_zeros_goes_first():
    model = net()
    nn.init.zeros_(model[0].weight)
    masks = topo.prune(model, "lamp", sparsity=0.5)
    assert masks.empty_layers() == ["0.weight"]
    assert masks.counts()["kept"].sum() == 36
