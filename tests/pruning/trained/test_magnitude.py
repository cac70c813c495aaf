from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo.pruning


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(20, 7))


def weights(model: nn.Module) -> list[np.ndarray]:
    return [model[0].weight.detach().numpy(), model[2].weight.detach().numpy()]


@given(seed=st.integers(0, 50), sparsity=st.floats(0, 0.98))
def test_global_magnitude_is_a_threshold_on_all_weights(seed, sparsity):
    model = net(seed)
    masks = topo.prune(model, "magnitude", sparsity=sparsity)
    values = np.abs(np.concatenate([w.ravel() for w in weights(model)]))
    kept = round((1 - sparsity) * len(values))
    expected = values >= np.sort(values)[len(values) - kept]
    assert np.array_equal(np.concatenate([m.numpy().ravel() for m in masks.values()]), expected)


@given(seed=st.integers(0, 50), sparsity=st.floats(0, 0.98))
def test_layerwise_magnitude_is_a_threshold_in_each_layer(seed, sparsity):
    model = net(seed)
    masks = topo.prune(model, "magnitude-layerwise", sparsity=sparsity)
    for mask, weight in zip(masks.values(), weights(model)):
        kept = int(mask.sum())
        assert abs(kept - (1 - sparsity) * weight.size) < 1 + 1e-9
        assert np.array_equal(mask.numpy(), np.abs(weight) >= np.sort(np.abs(weight), axis=None)[weight.size - kept])


@given(factor=st.sampled_from([0.125, -1.0, 64.0]), sparsity=st.floats(0, 0.95))
def test_scaling_the_network_changes_nothing_and_scaling_a_layer_only_global(factor, sparsity):
    model, scaled = net(), net()
    with torch.no_grad():
        for p in scaled.parameters():
            p.mul_(factor)
    for name in ("magnitude", "magnitude-layerwise"):
        assert topo.prune(model, name, sparsity=sparsity) == topo.prune(scaled, name, sparsity=sparsity)
    with torch.no_grad():
        scaled[0].weight.mul_(64)
    layerwise = topo.prune(scaled, "magnitude-layerwise", sparsity=sparsity)
    assert layerwise == topo.prune(model, "magnitude-layerwise", sparsity=sparsity)


@given(a=st.floats(0, 0.95), b=st.floats(0, 0.95))
def test_sparser_masks_lie_within_denser_ones(a, b):
    low, high = sorted((a, b))
    dense, sparse = (topo.prune(net(), "magnitude", sparsity=s) for s in (low, high))
    assert all(not (sparse[name] & ~dense[name]).any() for name in dense)


def test_other_allocations():
    table = topo.prune(net(), "magnitude", sparsity=0.5, allocation="er").counts()
    expected = topo.prune(net(), "er", sparsity=0.5).counts()
    assert table.equals(expected)
