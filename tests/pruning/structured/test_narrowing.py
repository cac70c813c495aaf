"""Small dense networks: every group as narrow as the next, no dearer than asked, and fresh."""

from __future__ import annotations

import copy
from math import sqrt

import pytest
import torch
from torch import nn

import topo
from topo.errors import InputError
from topo.pruning import narrowed


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))


def linear(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("budget", ["macs", "parameters"])
def test_it_costs_no_more_and_one_channel_more_would(net, budget):
    full = topo.cost(net, (6,))[budget]
    before = copy.deepcopy(net.state_dict())
    for at_most in (60, 100, 250, 600):
        small = narrowed(net, at_most, (6,), budget=budget)
        one, two = (layer.out_features for layer in linear(small)[:2])
        assert topo.cost(small, (6,))[budget] <= at_most < full
        for wide in ((one + 1, two), (one, two + 1)):
            layers = nn.Sequential(nn.Linear(6, wide[0]), nn.Linear(*wide), nn.Linear(wide[1], 3))
            assert topo.cost(layers, (6,))[budget] > at_most
        assert abs(one / 16 - two / 32) <= 2 / 16
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_weights_grow_by_what_their_layer_reads_less(net):
    pairs = list(zip(linear(narrowed(net, 200, (6,))), linear(net), strict=True))
    assert pairs[1][0].in_features < 16 and pairs[2][0].in_features < 32
    for narrow, wide in pairs:
        scale = sqrt(wide.in_features / narrow.in_features)
        known = wide.weight.detach().flatten()
        nearest = (narrow.weight.detach().flatten()[:, None] / scale - known).abs().amin(1)
        assert float(nearest.max()) < 1e-6


def test_all_of_the_cost_is_the_network_itself_and_too_little_is_refused(net):
    same = narrowed(net, topo.cost(net, (6,))["macs"], (6,))
    assert same is not net and all(torch.equal(a, b) for a, b in zip(same.parameters(), net.parameters(), strict=True))
    with pytest.raises(InputError, match=r"narrowed to 9 macs, for .* gone that may go 10 remain"):
        narrowed(net, 9, (6,))
    assert topo.cost(narrowed(net, 10, (6,)), (6,))["macs"] == 10


def test_residual_streams_are_narrowed_alike():
    net = topo.models.build("small-resnet", input_shape=(3, 8, 8), seed=0)
    small = narrowed(net, 0.25 * topo.cost(net, (3, 8, 8))["macs"], (3, 8, 8))
    widths = [m.out_channels for m in small.modules() if isinstance(m, nn.Conv2d)]
    full = [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)]
    shares = [narrow / wide for narrow, wide in zip(widths, full, strict=True)]
    assert max(shares) - min(shares) <= 1 / 16 + 1e-9
    assert small(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": "flops"}, "unknown value of budget 'flops'"),
        ({"budget": "flops", "at_most": 10**9}, "unknown value of budget 'flops'"),
        ({"at_most": 0}, "at_most must be a number above 0"),
        ({"model": 3}, r"topo\.pruning\.narrowed"),
        ({"model": nn.Linear(6, 3)}, "cannot be narrowed to 9 macs, for the model has no unit"),
    ],
)
def test_what_cannot_be_is_refused(net, arguments, message):
    with pytest.raises(InputError, match=message):
        narrowed(**({"model": net, "at_most": 9, "example": (6,)} | arguments))


@pytest.mark.filterwarnings("error::UserWarning")
def test_units_too_large_for_what_is_missing_give_no_advice_on_sparsity():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        scalar = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 1))
    small = narrowed(topo.trace(scalar, (6,)), 24, (6,))
    assert topo.cost(small, (6,))["macs"] == 21 < 0.9 * 24


def test_a_network_that_holds_computed_weights_is_copied():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(net[0])
    net(torch.rand(2, 6))
    assert topo.cost(narrowed(net, 40, (6,)), (6,))["macs"] == 36
