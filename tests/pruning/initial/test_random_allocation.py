from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo
from topo.dag.structure import weight_counts
from topo.errors import InputError
from topo.pruning.initial.random_allocation import drawn_shares


def net(depth: int = 4, width: int = 20) -> nn.Module:
    layers = [nn.Linear(width, width, bias=False) for _ in range(depth)]
    return nn.Sequential(*layers)


@given(seed=st.integers(0, 50), sparsity=st.sampled_from([0.0, 0.5, 0.9, 0.99]), spread=st.sampled_from([0, 0.5, 3]))
def test_counts_are_exact_and_densities_as_drawn(seed, sparsity, spread):
    masks = topo.prune(net(), "random-allocation", sparsity=sparsity, seed=seed, spread=spread)
    kept = round((1 - sparsity) * 1600)
    table = masks.counts()
    assert table["kept"].sum() == kept and (table["kept"] >= 1).all()
    shares = 400 * np.array(drawn_shares(4, spread, (seed, kept, 0)))
    # The same multiple of the shares, cut to 1 and 400, within one weight by rounding.
    ratio = table["kept"].to_numpy() / shares
    free = ((table["kept"] > 1) & (table["kept"] < 400)).to_numpy()
    if free.any():
        epsilon = np.median(ratio[free])
        assert (abs(table["kept"] - np.clip(epsilon * shares, 1, 400)) < 2.5 + epsilon * shares * 0.1).all()


def test_seeds_and_sparsities_draw_other_shapes():
    shapes = {
        tuple(topo.prune(net(), "random-allocation", sparsity=s, seed=seed).counts()["density"].rank())
        for s in (0.8, 0.9)
        for seed in range(6)
    }
    assert len(shapes) > 6
    again = [topo.prune(net(), "random-allocation", sparsity=0.9, seed=1) for _ in range(2)]
    assert again[0] == again[1]


def test_spread_is_that_of_log_densities():
    drawn = np.log([drawn_shares(50, 2.0, (seed, 0, 0)) for seed in range(40)])
    # 2000 normal numbers of standard deviation 2: that of their standard deviation is 2 / sqrt(4000).
    assert abs(drawn.std() - 2) < 5 * 2 / 4000**0.5
    assert abs(drawn.mean()) < 5 * 2 / 2000**0.5


def test_draws_again_until_input_and_output_are_connected():
    chain = net(depth=3, width=6)
    cut = [topo.prune(chain, "random-allocation", sparsity=0.9, seed=s, tries=1, example=(6,)) for s in range(12)]
    tried = [topo.prune(chain, "random-allocation", sparsity=0.9, seed=s, example=(6,)) for s in range(12)]
    dag = topo.trace(chain, torch.zeros(1, 6))
    reached = [[weight_counts(dag, masks).effective > 0 for masks in several] for several in (cut, tried)]
    assert not all(reached[0]) and all(reached[1])
    assert all(a == b for a, b, whole in zip(cut, tried, reached[0]) if whole)


@pytest.mark.parametrize("settings", [{"spread": -1}, {"tries": 0}])
def test_impossible_settings(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        topo.prune(net(), "random-allocation", sparsity=0.5, **settings)
