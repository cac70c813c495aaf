"""Budgets are met to the unit: nothing that a structured pruner removed would still fit."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import topo
from tests.pruning.structured.conftest import kept_units
from topo.dag.channel_coupling import coupled_channels
from topo.errors import InputError
from topo.pruning.structured.refilling import allowance, unit_kinds, warn_of_shortfall
from topo.pruning.structured.unit_scoring import SCOPES, select_units

SCORED = ["fpgm", "group-norm", "hrank", "l1-filter", "l2-filter", "taylor"]


class Twice(nn.Module):
    """The first two of four channels are read twice by the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 4), nn.Linear(6, 3), nn.Linear(3, 2)

    def forward(self, x):
        x = torch.relu(self.one(x))
        return self.head(torch.relu(self.two(torch.cat([x, x[:, :2]], 1))))


@pytest.fixture(scope="module")
def twice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Twice()
    return net, coupled_channels(topo.trace(net, torch.zeros(1, 3)))


def test_units_of_a_kind_cost_the_same(twice):
    _, channels = twice
    kinds = unit_kinds(channels).tolist()
    assert channels.groups().tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert kinds[0] == kinds[1] != kinds[2] == kinds[3] and len({*kinds[4:]}) == 1 and len({*kinds}) == 3
    everything = torch.ones(channels.count, dtype=torch.bool)

    def costs(unit):
        return channels.costs(everything.index_fill(0, torch.tensor([unit]), False))

    for one, other in combinations(range(channels.count), 2):
        assert (costs(one) == costs(other)) == (kinds[one] == kinds[other])


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("budget", ["weights", "macs"])
def test_no_set_of_units_that_extends_the_kept_one_meets_the_budget(twice, scope, budget):
    """All of them, by brute force, over all budgets that a network of 36 weights has."""
    net, channels = twice
    task = SimpleNamespace(name="a score", model=net, counted=(), weights=topo.masks.prunable_parameters(net))
    everything = torch.ones(channels.count, dtype=torch.bool)
    full, came_back = channels.costs(everything)[budget], 0
    for asked in range(8, full, 3):
        scores = torch.randn(channels.count, generator=torch.Generator().manual_seed(asked)).exp()
        kept = select_units(task, channels, scores, asked / full, everything, scope, budget)
        gone = (~kept).nonzero().flatten().tolist()
        assert channels.costs(kept)[budget] <= asked
        for size in range(1, len(gone) + 1):
            for some in combinations(gone, size):
                assert channels.costs(kept.index_fill(0, torch.tensor(some), True))[budget] > asked
        order = scores[gone].sort().values
        came_back += bool((scores[kept] < order[-1]).any()) if scope == "global" else 0
    assert came_back or scope == "group"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["digits-cnn", "digits-mlp"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_no_unit_that_a_pruner_removed_from_a_digits_net_fits(model, sparsity, monkeypatch):
    net = topo.models.build(model, input_shape=(1, 8, 8), seed=0)
    data, dag = topo.datasets.load("digits", subset=10), topo.trace(net, (1, 8, 8))
    monkeypatch.setattr("topo.pruning.structured.unit_scoring.trace", lambda model, example: dag.bind(model))
    channels = coupled_channels(dag)
    names = list(topo.masks.prunable_parameters(net))
    total = sum(channels.kept(name, torch.ones(channels.count, dtype=torch.bool)) for name in names)
    settings_of = {
        "slimming": {"penalty": 0},
        "taylor": {"samples": 40},
        "hrank": {"samples": 40},
        "dag": {"granularity": "channel"},
    }
    for name in [*SCORED, "dag", *(["slimming"] if model == "digits-cnn" else [])]:
        settings = settings_of.get(name, {})
        masks = topo.prune(net, name, sparsity=sparsity, data=data, device="cpu", **settings)
        kept = kept_units(channels, masks)
        left = sum(channels.kept(name, kept) for name in names)
        assert left == sum(int(masks[name].sum()) for name in names) <= round((1 - sparsity) * total, 6)
        for unit in (~kept).nonzero().flatten():
            more = kept.index_fill(0, unit[None], True)
            assert sum(channels.kept(name, more) for name in names) > (1 - sparsity) * total


def test_rounding_costs_no_unit():
    net = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 5))
    masks = topo.prune(net, "l1-filter", sparsity=0.9, example=(5,))
    assert (1 - 0.9) * 100 < 10 == sum(int(mask.sum()) for mask in masks.values()) <= allowance(1 - 0.9, 100)


def test_units_of_earlier_rounds_come_back_too(twice):
    net, channels = twice
    for rounds in (1, 2, 5):
        masks = topo.prune(net, "l1-filter", sparsity=0.45, rounds=rounds, example=(3,))
        kept, allowed = kept_units(channels, masks), 0.55 * 36
        for unit in (~kept).nonzero().flatten():
            more = kept.index_fill(0, unit[None], True)
            assert channels.costs(kept)["weights"] <= allowed < channels.costs(more)["weights"]


def test_what_the_structure_does_not_admit_is_said():
    net = nn.Sequential(nn.Linear(50, 2), nn.ReLU(), nn.Linear(2, 50))
    with pytest.warns(UserWarning, match=r"'l1-filter' leaves 0.5 of the weights where 0.8 may stay: .*Masks.reached"):
        masks = topo.prune(net, "l1-filter", sparsity=0.2, example=(50,))
    assert masks.reached() == 0.5
    with pytest.raises(InputError, match="cannot go down"):
        topo.prune(net, "l1-filter", sparsity=0.6, example=(50,))


def test_small_gaps_are_not_worth_a_warning(recwarn):
    warn_of_shortfall("a pruner", 90, 100, 1000, "weights")
    assert not recwarn.list
    with pytest.warns(UserWarning, match="leaves 0.089 of the macs where 0.1 may stay"):
        warn_of_shortfall("a pruner", 89, 100, 1000, "macs")
