from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo.pruning


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 5))


@given(seed=st.integers(0, 50), sparsity=st.floats(0, 0.98))
def test_the_largest_of_the_network_are_kept(seed, sparsity):
    model = net(seed)
    masks = topo.prune(model, "magnitude-init", sparsity=sparsity)
    sizes = torch.cat([model.get_parameter(name).detach().abs().flatten() for name in masks])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert kept.sum() == round((1 - sparsity) * len(kept))
    assert kept.all() or sizes[kept].min() >= sizes[~kept].max()


@given(seed=st.integers(0, 50), scale=st.sampled_from([0.25, 16.0]))
def test_signs_and_a_common_scale_do_not_matter(seed, scale):
    model = net(seed)
    before = topo.prune(model, "magnitude-init", sparsity=0.7)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(-scale)
    assert topo.prune(model, "magnitude-init", sparsity=0.7, seed=9) == before


def test_layers_of_small_weights_empty_unless_the_layers_are_ranked_apart():
    model = net()
    nn.init.zeros_(model[2].weight)
    assert topo.prune(model, "magnitude-init", sparsity=0.6).empty_layers() == ["2.weight"]
    assert topo.prune(model, "magnitude-init", sparsity=0.6, allocation="uniform").empty_layers() == []
