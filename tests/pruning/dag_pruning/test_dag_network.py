"""Which parts are candidates for removal: branches that masks can make zero, shared modules, slots of concatenations;
and a path from input to output always remains."""

from __future__ import annotations

import copy
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import topo
from tests.dag.nets import lively, normal
from tests.pruning.dag_pruning.dag_nets import Blocks, Dense, Gated, Repeated, Worked, images, network_of, vectors
from topo.dag.channel_coupling import coupled_channels
from topo.dag.compaction.compactor import compact
from topo.dag.costs import cost
from topo.masks import prunable_parameters
from topo.pruning.dag_pruning.candidates import candidates, drop
from topo.pruning.dag_pruning.prunable_network import PrunableNetwork
from topo.pruning.dag_pruning.removal import Removals, bring_back


def names(network, granularity):
    free = np.zeros(network.channels.count, dtype=bool)
    return {c.name: c for c in candidates(network, granularity, free)}


def test_the_worked_example():
    """Of y = rho(x + f2(f1(x))) the branch goes as a whole, f1 with f2; the skip cannot go."""
    network = network_of(lively(Worked()), vectors(width=3)[0])
    by_name = names(network, "arc")
    assert list(by_name) == ["f2"]
    intact = network.intact()
    assert intact.counts.total == 2
    after = drop(network, intact, by_name["f2"])
    assert after.counts.total == 1
    assert network.dead_parameters(after.counts.live) == {"f1.weight", "f1.bias", "f2.weight", "f2.bias"}
    assert network.cost(intact, "parameters") == 24
    assert network.cost(after, "parameters") == 0
    assert set(names(network, "node")) == {"f2"}
    assert set(names(network, "channel")) == {f"f1.weight[{i}]" for i in range(3)}
    assert len(names(network, "mixed")) == 4


def test_a_branch_that_masks_cannot_make_zero_and_a_single_operand_stay():
    """Sigmoid of zero is a half; a product needs both of its operands, but may go with them."""
    network = network_of(lively(Gated()), vectors()[0])
    assert set(names(network, "arc")) == {"quiet"}


def test_shared_modules_go_together():
    network = network_of(lively(Repeated()), vectors()[0])
    by_name = names(network, "arc")
    assert set(by_name) == {"once", "twice"}
    assert len(by_name["twice"].arcs) == 2
    after = drop(network, network.intact(), by_name["twice"])
    assert network.cost(network.intact(), "macs") - network.cost(after, "macs") == 2 * 16
    assert network.cost(network.intact(), "weights") - network.cost(after, "weights") == 16


def test_slots_are_the_columns_that_read_them():
    network = network_of(lively(Dense()), images()[0])
    by_name = names(network, "arc")
    after = drop(network, network.intact(), by_name["convs.0 -> cat#3"])
    assert {name: np.flatnonzero(cut).tolist() for name, cut in network.cut_columns(after).items()} == {
        "convs.2.weight": [3, 4]
    }
    # All that a layer wrote goes: the layer, and its columns in every reader.
    after = drop(network, network.intact(), by_name["convs.1"])
    assert {"convs.1.weight", "convs.1.bias", "norms.1.weight", "norms.1.bias"} == network.dead_parameters(
        after.counts.live
    )
    cut = {name: np.flatnonzero(c).tolist() for name, c in network.cut_columns(after).items()}
    assert cut == {"convs.2.weight": [5, 6], "head.weight": [5, 6]}


def test_slots_that_are_mixed_before_they_are_read_stay():
    class Mixed(Dense):
        def forward(self, x):
            features = torch.cat([self.stem(x), self.convs[0](torch.relu(self.norms[0](self.stem(x))))], dim=1)
            return self.head(torch.cat([features + features.flip(1), x], dim=1).mean(dim=(2, 3)))

    model = Mixed()
    model.head = torch.nn.Linear(7, 5)
    network = network_of(lively(model), images()[0])
    assert not any(name.endswith("cat") for name in names(network, "arc"))


@pytest.mark.parametrize("make", [Blocks, Dense, Worked, Repeated])
def test_paths_of_one_level_add_up(make):
    data = images() if make in (Blocks, Dense) else vectors(width=3 if make is Worked else 4)
    network = network_of(lively(make()), data[0])
    counts = network.intact().counts
    compared = 0
    for level in range(1, network.dag.depth + 1):
        here = [a for a in counts.live if network.level(a) == level]
        for size in range(1, len(here)):
            some = here[:size]
            lost = sum(counts.through(a) for a in some)
            if lost < counts.total:
                smaller = counts.copy()
                smaller.drop(some)
                assert smaller.total == counts.total - lost == counts.after(some)
                compared += 1
    assert compared


@cache
def prepared(make):
    data = images() if make in (Blocks, Dense) else vectors()
    model = lively(make())
    return model, data[0], PrunableNetwork(coupled_channels(topo.trace(model, data[0][:1])))


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(make=st.sampled_from([Blocks, Dense, Repeated, Gated]), least=st.integers(1, 3), data=st.data())
def test_any_walk_keeps_a_path_a_unit_of_each_group_and_equals_its_compaction(make, least, data):
    model, x, network = prepared(make)
    known = list(names(network, data.draw(st.sampled_from(["arc", "node", "mixed"]))).values())
    removals = Removals(network, network.intact(), "macs", least, 1)
    costs = [removals.cost()]
    for candidate in data.draw(st.permutations(known)):
        removals.drop(candidate)
        assert removals.parts.counts.total >= least
        costs.append(removals.cost())
    assert costs == sorted(costs, reverse=True)
    assert network.is_sound(removals.parts)
    groups = network.channels.groups().numpy()
    assert set(groups[removals.parts.alive]) == set(groups)
    # Trimming again finds nothing.
    assert topo.dag.trim(network.dag, removals.parts.counts.live) == frozenset(removals.parts.counts.live)
    drops = data.draw(st.integers(0, len(removals.dropped)))
    expected = removals.at(drops)
    removals.undo(drops)
    assert removals.parts.counts.live == expected.counts.live
    assert (removals.parts.alive == expected.alive).all()
    masks = network.masks(removals.parts, prunable_parameters(model))
    masked = topo.Masks(masks).apply(copy.deepcopy(model))
    smaller = compact(model, masks, channels=network.channels)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), masked(x), rtol=1e-10, atol=1e-10)
    if make is Blocks:
        assert cost(smaller, x[:1])["macs"] <= network.cost(removals.parts, "macs")


@pytest.mark.slow
@pytest.mark.parametrize("make", [Blocks, Dense, Repeated, Gated])
def test_no_set_of_what_was_dropped_fits_when_all_that_fits_has_come_back(make):
    """All sets, by brute force: of what is still gone, any that masks can express costs too much."""
    _, _, network = prepared(make)
    known = list(names(network, "mixed").values())
    intact, came_back = network.intact(), 0
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        removals = Removals(network, network.intact(), "weights", 1, 1)
        for place in torch.randperm(len(known), generator=generator)[:8].tolist():
            removals.drop(known[place])
        low, high = removals.cost(), removals.cost(0)
        allowed = low + float(torch.rand((), generator=generator)) * 0.5 * (high - low)
        parts = bring_back(network, removals.dropped, "weights", allowed)
        left = network.cost(parts, "weights")
        assert low <= left <= allowed and network.is_sound(parts)
        came_back += left > low
        gone = [c for c in removals.dropped if _is_gone(c, parts)]
        for size in range(len(gone)):
            for some in combinations(gone, size):
                arcs = {arc for c in some for arc in c.arcs} & set(intact.counts.live)
                more = intact.without(arcs=arcs, units=[c.unit for c in some if c.unit is not None])
                assert not network.is_sound(more) or not left < network.cost(more, "weights") <= allowed
    assert came_back or len(known) < 9


def _is_gone(candidate, parts):
    return (
        not parts.alive[candidate.unit] if candidate.arcs == () else set(candidate.arcs).isdisjoint(parts.counts.live)
    )


def test_nothing_comes_back_into_a_budget_that_is_met_exactly():
    _, _, network = prepared(Blocks)
    removals = Removals(network, network.intact(), "macs", 1, 1)
    for candidate in list(names(network, "mixed").values())[:6]:
        removals.drop(candidate)
    parts = bring_back(network, removals.dropped, "macs", removals.cost())
    assert parts.counts.live == removals.parts.counts.live and (parts.alive == removals.parts.alive).all()
    parts = bring_back(network, removals.dropped, "macs", removals.cost(0))
    assert parts.counts.live == network.intact().counts.live and parts.alive.all()


def test_what_is_left_is_what_the_smaller_module_costs():
    model = lively(topo.models.build("digits-cnn", input_shape=(1, 8, 8)))
    x = normal(3, 1, 8, 8)
    network = network_of(model, x)
    branch = next(c for c in names(network, "arc").values() if "conv2" in c.name)
    removals = Removals(network, network.intact(), "macs", 1, 1)
    for candidate in [branch, *list(names(network, "channel").values())[:6]]:
        removals.drop(candidate)
    masks = network.masks(removals.parts, prunable_parameters(model))
    smaller = cost(compact(model, masks, channels=network.channels), x[:1])
    assert smaller == {budget: network.cost(removals.parts, budget) for budget in ("parameters", "macs")}
    assert network.cost(removals.parts, "weights") == sum(
        int(mask.sum()) for name, mask in masks.items() if name in network.channels.layers
    )


def test_protected_layers_keep_their_branches():
    model = lively(Blocks())
    channels = coupled_channels(topo.trace(model, images()[0][:1]))
    free = np.zeros(channels.count, dtype=bool)
    assert {c.name for c in candidates(PrunableNetwork(channels), "arc", free)} == {"aside", "up.0", "up.1", "up.2"}
    kept = PrunableNetwork(channels, ["down.1.weight"])
    assert {c.name for c in candidates(kept, "arc", free)} == {"aside", "up.0", "up.2"}
