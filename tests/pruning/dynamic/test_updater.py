from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import topo
from topo.errors import InputError
from topo.pruning import PRUNERS
from topo.pruning.allocation import er_share, erk_share, layer_counts, uniform_share
from topo.pruning.dynamic.updater import TopologyUpdater, largest, spread
from topo.training import recipe

ALL = sorted(name for name in PRUNERS if isinstance(PRUNERS[name], type) and issubclass(PRUNERS[name], TopologyUpdater))
SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True}
ADAMW = {"optimizer": "adamw", "learning_rate": 0.01}
# The count is the same all along.
STEADY = {"granet": {"start_sparsity": 1.0}}


def plan_of(**changes):
    usual = {"epochs": 3, "batch_size": 32, "weight_decay": 1e-2, "schedule": "constant", "warmup": 0.0}
    return recipe("digits", **usual | {"learning_rate": 0.05} | changes)


def test_all_eight_are_registered():
    assert set(ALL) >= {"set", "rigl", "itop", "snfs", "dsr", "mest", "cht", "chts"}
    for name in ALL:
        entry = PRUNERS.entry(name)
        assert (entry.family, entry.info["stage"]) == ("dynamic", "training") and entry.info["paper"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=8)
@given(sparsity=st.floats(0, 0.985), drop=st.floats(0.05, 1), seed=st.integers(0, 9))
def test_the_count_is_exact_after_every_update(follow, name, sparsity, drop, seed):
    steady = STEADY.get(name, {})
    run = follow(name, sparsity=sparsity, seed=seed, interval=1, drop_fraction=drop, plan=plan_of(epochs=1), **steady)
    total = sum(mask.numel() for mask in run.callback.masks.values())
    counts = [sum(int(m.sum()) for m in u.after.values()) for u in run.updates]
    assert counts == [round((1 - sparsity) * total)] * len(run.updates) and len(counts) >= 2
    assert run.training.masks.counts()["kept"].sum() == counts[0]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", ALL)
def test_what_came_or_went_is_forgotten_and_starts_from_zero(follow, name, optimizer):
    changed = {"threshold": 0.02} if name == "dsr" else STEADY.get(name, {})
    run = follow(name, interval=3, plan=plan_of(**optimizer), **changed)
    grown = dropped = 0
    for update in run.updates:
        for layer, after in update.after.items():
            moved = update.before[layer] ^ after
            grown += int((after & moved).sum())
            dropped += int((~after & moved).sum())
            assert not torch.any(update.weights_after[layer][moved])
            assert len(update.memory_after[layer]) >= 1
            for memory in update.memory_after[layer].values():
                assert not torch.any(memory[moved])
                assert torch.any(memory[after & ~moved]) or not (after & ~moved).any()
            # an update is no step: what stays is as it was
            stays = after & ~moved
            assert torch.equal(update.weights_after[layer][stays], update.weights[layer][stays])
    assert grown == dropped > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides(follow, name):
    runs = [follow(name, interval=2, seed=seed) for seed in (1, 1, 2)]
    assert runs[0].training.masks == runs[1].training.masks != runs[2].training.masks
    states = [run.model.state_dict() for run in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(("initial", "rule"), [("erk", erk_share), ("er", er_share), ("uniform", uniform_share)])
def test_training_starts_from_the_allocation_asked_for(initial, rule):
    net = topo.models.build("digits-cnn", input_shape=(1, 8, 8))
    masks = topo.pruning.sparse_training_callback(net, "rigl", sparsity=0.9, initial=initial, device="cpu").masks
    counts = masks.counts()
    assert counts["kept"].tolist() == layer_counts(
        {name: m.shape for name, m in masks.items()}, round(0.1 * counts["total"].sum()), rule
    )


@pytest.mark.slow
def test_when_the_topology_changes(follow):
    """Four steps an epoch: of 12 steps, updates before the ninth (75%) or the last one."""

    def steps(name, **options):
        return [update.step for update in follow(name, **options).updates]

    assert steps("rigl") == [4, 8] and steps("rigl", stop=0.5) == [4]
    assert steps("rigl", interval=2) == [2, 4, 6, 8] and steps("rigl", interval=100) == []
    assert steps("set") == [4, 8] and steps("set", interval=3) == [3, 6, 9]
    long = plan_of(batch_size=1, epochs=2)
    assert [u.step for u in follow("rigl", plan=long).updates] == [100]
    assert [u.step for u in follow("set", plan=long).updates] == [100]
    assert [u.step for u in follow("rigl", plan=plan_of(batch_size=1, epochs=4)).updates] == [100, 200]


def test_the_share_that_is_dropped_falls_along_a_cosine():
    def fractions(**options):
        callback = topo.pruning.sparse_training_callback(
            nn.Linear(9, 9), "rigl", sparsity=0.5, drop_fraction=0.4, device="cpu", **options
        )
        return [callback.fraction(SimpleNamespace(step=step, total_steps=100)) for step in (0, 20, 40, 80)]

    assert fractions(stop=0.8) == pytest.approx([0.4, 0.2 + 0.2 * math.sqrt(0.5), 0.2, 0.0])
    assert fractions(annealing="constant") == [0.4] * 4


def test_gradient_clipping_and_other_callbacks_live_with_an_update(follow):
    run = follow("rigl", interval=2, plan=plan_of(gradient_clip=0.1))
    assert run.training.status == "finished" and len(run.updates) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_full_and_nearly_empty_networks_do_not_crash(follow, name):
    full = follow(name, sparsity=0.0, interval=1)
    assert full.training.masks.sparsity == 0 and full.training.status == "finished"
    layers = len(full.callback.names)
    total = full.callback.total
    bare = follow(name, sparsity=1 - layers / total, interval=1, drop_fraction=1.0)
    assert bare.training.masks.counts()["kept"].sum() == layers and bare.training.status == "finished"


@pytest.mark.parametrize("name", ALL)
def test_a_layer_without_a_gradient_does_not_crash(follow, few, name):
    class Loose(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(64, 10), nn.Linear(5, 6)

        def forward(self, x):
            return self.used(x.flatten(1))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Loose()
    callback = topo.pruning.sparse_training_callback(net, name, sparsity=0.5, interval=1, device="cpu")
    run = topo.training.train(net, few, plan_of(epochs=1), masks=callback.masks, callbacks=[callback], device="cpu")
    assert run.masks.counts()["kept"].sum() == round(0.5 * 670)


def test_prune_trains_a_copy_and_returns_its_weights(few):
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    masks = topo.prune(net, "rigl", sparsity=0.9, data=few, recipe=recipe("digits", epochs=2), device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert masks.counts()["kept"].sum() == round(0.1 * masks.counts()["total"].sum())
    assert not any(torch.any(masks.state[name][~mask]) for name, mask in masks.items())
    with pytest.raises(InputError, match="give data= and recipe="):
        topo.prune(net, "rigl", sparsity=0.9, device="cpu")


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("rigl", {"initial": "dense"}, "unknown value of initial 'dense'"),
        ("rigl", {"annealing": "linear"}, "unknown value of annealing 'linear'"),
        ("rigl", {"interval": 0}, "interval must be a whole number of at least 1, not 0"),
        ("set", {"drop_fraction": 1.5}, "drop_fraction must be a number from 0 to 1, not 1.5"),
        ("set", {"stop": True}, "stop must be a number from 0 to 1, not True"),
        ("itop", {"growth": "best"}, "unknown value of growth 'best'"),
        ("snfs", {"smoothing": -1}, "smoothing must be a number from 0 to 1, not -1"),
        ("dsr", {"threshold": 0}, "threshold must be a number above 0, not 0"),
        ("dsr", {"tolerance": "x"}, "tolerance must be a number"),
        ("mest", {"gradient_weight": -1.0}, "gradient_weight must be a number of at least 0, not -1.0"),
        ("mest", {"soft_bound": 1}, "soft_bound must be true or false, not 1"),
        ("cht", {"settled": 2}, "settled must be a number from 0 to 1, not 2"),
        ("chts", {"alpha": None}, "alpha must be a number from 0 to 1, not None"),
        ("granet", {"start_sparsity": 2}, "start_sparsity must be a number from 0 to 1, not 2"),
        ("granet", {"prune_until": 0}, "prune_until must be above 0"),
        ("srigl", {"salient": 1.5}, "salient must be a number from 0 to 1, not 1.5"),
        ("top-kast", {"backward": 0.5}, "backward must be a number of at least 1, not 0.5"),
        ("top-kast", {"penalty": -1}, "penalty must be a number of at least 0, not -1"),
        ("top-kast", {"stop": 0}, "stop must be above 0"),
    ],
)
def test_impossible_settings(name, setting, message):
    with pytest.raises(InputError, match=message):
        topo.pruning.sparse_training_callback(nn.Linear(4, 3), name, sparsity=0.5, device="cpu", **setting)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50)), min_size=1, max_size=6), st.data())
def test_spread_is_exact_and_fits(layers, data):
    shares, room = zip(*layers, strict=True)
    amount = data.draw(st.integers(0, sum(room)))
    counts = spread(amount, shares, room)
    assert sum(counts) == amount and all(0 <= c <= r for c, r in zip(counts, room, strict=True))
    factors = [c / s for c, s, r in zip(counts, shares, room, strict=True) if s > 0.1 and c < r]
    for low, s, r in zip(counts, shares, room, strict=True):
        if factors and s > 0.1 and low < r:  # layers that are not full grow in proportion, to within one
            assert all(abs(low - factor * s) <= 1 + s / 0.1 for factor in factors)


def test_spread_by_hand():
    assert spread(6, [1, 2, 3], [9, 9, 9]) == [1, 2, 3]
    assert spread(7, [1, 1, 0], [2, 9, 9]) == [2, 5, 0]
    assert spread(7, [1, 1, 0], [2, 3, 9]) == [2, 3, 2]
    assert spread(3, [float("nan"), 0, 0], [2, 2, 2]) == [1, 1, 1]
    assert spread(0, [1], [0]) == [0]
    with pytest.raises(InputError, match="7 weights do not fit in layers with room for 6"):
        spread(7, [1, 1], [3, 3])


def test_largest_is_exact_for_what_is_not_a_number():
    scores = torch.tensor([[float("nan"), float("inf"), -float("inf")], [1.0, 1.0, 5.0]])
    among = torch.tensor([[True, True, True], [True, True, False]])
    for count in range(6):
        mask = largest(scores, among, count)
        assert int(mask.sum()) == count and not torch.any(mask & ~among)
    assert largest(scores, among, 1).nonzero().tolist() == [[0, 1]]
