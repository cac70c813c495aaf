from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo
from topo.errors import InputError
from topo.pruning.trained.owl import outlier_densities


def two_layers() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """Of the second layer one weight in 16 is far larger than the others."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
        net[0].weight.data = 1 + 0.1 * torch.rand(16, 16)
        net[1].weight.data = 1 + 0.1 * torch.rand(16, 16)
        net[1].weight.data[:, 3] = 50.0
        return net, (torch.rand(32, 16) + 0.5, torch.arange(32) % 16)


def test_the_layer_with_outliers_keeps_more():
    net, data = two_layers()
    masks = topo.prune(net, "owl", sparsity=0.7, data=data, spread=0.1)
    kept = masks.counts().set_index("name")["kept"] / 256
    # Two layers of one size: densities .2 and .4 to within a weight.
    assert kept.tolist() == pytest.approx([0.2, 0.4], abs=1 / 256)
    assert masks["1.weight"][:, 3].all()
    rows = masks["0.weight"].sum(1)
    assert rows.max() - rows.min() <= 1


@pytest.mark.parametrize(("sparsity", "outliers", "spread"), [(0.5, 3.0, 0.08), (0.7, 2.0, 0.2)])
def test_densities_are_those_written_out(sparsity, outliers, spread):
    """Shares D of scores above M times their mean, stretched to 2 lambda, around the density of all weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        widths = (30, 24, 20, 12)
        layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
        for power, layer in enumerate(layers):
            layer.weight.data = torch.randn(layer.weight.shape) ** (2 * power + 1)
        net, inputs = nn.Sequential(*layers).double(), torch.randn(40, 30, dtype=torch.float64)
    shares, x = [], inputs
    for layer in net:
        scores = [abs(w) * float(x[:, j].norm()) for row in layer.weight.tolist() for j, w in enumerate(row)]
        shares.append(sum(s > outliers * sum(scores) / len(scores) for s in scores) / len(scores))
        x = layer(x).detach()
    sizes = [a * b for a, b in pairwise(widths)]
    stretched = [2 * spread * (d - min(shares)) / (max(shares) - min(shares)) for d in shares]
    mean = sum(n * s for n, s in zip(sizes, stretched)) / sum(sizes)
    data = inputs, torch.arange(40) % 12
    masks = topo.prune(net, "owl", sparsity=sparsity, data=data, samples=40, outliers=outliers, spread=spread)
    for kept, size, s in zip(masks.counts()["kept"], sizes, stretched, strict=True):
        assert abs(kept - size * (1 - sparsity + s - mean)) < 1
    assert len(set(shares)) == 3


def test_without_a_spread_or_without_outliers_it_is_wanda():
    net, data = two_layers()
    wanda = topo.prune(net, "wanda", sparsity=0.7, data=data)
    for settings in ({"spread": 0.0}, {"outliers": 1e9}):
        masks = topo.prune(net, "owl", sparsity=0.7, data=data, **settings)
        assert all(torch.equal(masks[name], mask) for name, mask in wanda.items())


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 10_000)), min_size=1, max_size=9),
    st.floats(0.01, 0.99),
    st.floats(0, 1),
)
def test_densities_have_the_mean_asked_for_and_grow_with_outliers(layers, density, spread):
    shares, sizes = zip(*layers, strict=True)
    densities = np.array(outlier_densities(shares, sizes, density, spread))
    assert (densities > 0).all() and (densities <= 1).all()
    order = np.argsort(shares, kind="stable")
    assert (np.diff(densities[order]) >= -1e-9).all()
    if (densities > 0.011 * density).all() and densities.max() < 1:
        assert np.average(densities, weights=sizes) == pytest.approx(density)
        assert np.ptp(densities) <= 2 * min(spread, density, 1 - density) + 1e-9


@pytest.mark.parametrize(
    "settings", [{"outliers": 0}, {"spread": -0.1}, {"samples": 0}, {"sequential": "yes"}], ids=lambda s: next(iter(s))
)
def test_settings_out_of_range_are_refused(settings):
    net, data = two_layers()
    with pytest.raises(InputError, match=next(iter(settings))):
        topo.prune(net, "owl", sparsity=0.5, data=data, **settings)


@pytest.mark.parametrize("name", ["owl", "ria", "wanda", "woodfisher"])
def test_data_that_are_no_numbers_are_refused(name):
    net, (inputs, targets) = two_layers()
    with pytest.raises(InputError, match="not all finite; look for NaN in the weights or the data"):
        topo.prune(net, name, sparsity=0.7, data=(inputs * torch.nan, targets), device="cpu")
