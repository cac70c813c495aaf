from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo.pruning


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3, groups=2), nn.Conv2d(32, 64, 1), nn.Flatten(), nn.Linear(64, 10)
    )


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("uniform", lambda s: 1),
        ("er", lambda s: (s[0] + s[1]) / (s[0] * s[1])),
        ("erk", lambda s: sum(s) / torch.Size(s).numel()),
    ],
)
def test_densities_follow_the_formula(name, share):
    # Sparse enough that no layer is full: all densities are then one multiple of the formula.
    table = topo.prune(net(), name, sparsity=0.85).counts()
    shapes = [(16, 3, 3, 3), (32, 8, 3, 3), (64, 32, 1, 1), (10, 64)]
    formula = torch.tensor([share(s) for s in shapes], dtype=torch.float64)
    totals = torch.tensor(table["total"].to_numpy(), dtype=torch.float64)
    epsilon = float(table["kept"].sum() / (formula * totals).sum())
    assert ((torch.tensor(table["kept"].to_numpy()) - epsilon * formula * totals).abs() < 1).all()


@pytest.mark.slow
def test_every_weight_is_as_likely_as_another():
    layer = nn.Linear(6, 5)
    kept = sum(topo.prune(layer, "uniform", sparsity=0.7, seed=seed)["weight"].double() for seed in range(2000))
    # Hypergeometric draws: 600 expected, standard deviation 20.5; five of those for the largest of 30.
    assert ((kept - 600).abs() < 5 * 20.5).all()


@pytest.mark.parametrize("name", ["uniform", "er", "erk"])
@given(seed=st.integers(0, 100))
def test_masks_do_not_depend_on_the_weights_and_differ_by_seed(name, seed):
    assert topo.prune(net(), name, sparsity=0.9, seed=seed) == topo.prune(net(), name, sparsity=0.9, seed=seed)
    assert topo.prune(net(), name, sparsity=0.9, seed=seed) != topo.prune(net(), name, sparsity=0.9, seed=seed + 1)


def test_one_layer_is_nested_over_sparsities():
    sparse, dense = (topo.prune(nn.Linear(9, 9), "uniform", sparsity=s)["weight"] for s in (0.9, 0.4))
    assert not (sparse & ~dense).any()


def test_layers_draw_independently():
    masks = topo.prune(nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20)), "uniform", sparsity=0.5)
    assert not torch.equal(masks["0.weight"], masks["1.weight"])
