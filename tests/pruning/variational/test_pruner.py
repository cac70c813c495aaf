"""The pruner `variational`: masks of a sparsity, with the weights that go with them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo
from tests.pruning.variational.nets import cost_by_torch
from tests.pruning.variational.runs import EXAMPLE, chain, cnn, digits, plan
from topo.errors import InputError
from topo.pruning import PRUNERS
from topo.training import evaluate

pytestmark = pytest.mark.usefixtures("traced_once")

OPTIONS = {"data": digits(), "recipe": plan(4), "device": "cpu"}
CONVOLUTIONS = 36 + 144 + 144 + 288 + 576 + 32 + 80  # all weights of `cnn`


def kept_weights(masks, names):
    return sum(int(masks[name].sum()) for name in names)


@pytest.fixture
def prunable():
    return topo.masks.prunable_parameters(cnn())


def test_the_registry():
    entry = PRUNERS.entry("variational")
    assert entry.family == "structured" and entry.info["stage"] == "training" and entry.info["paper"]


@pytest.mark.slow
@pytest.mark.parametrize(("sparsity", "settings"), [(0.5, {}), (0.4, {"kappa": 0.0}), (0.6, {"kappa": 1.0})])
def test_masks_reach_the_sparsity_and_the_compact_network_computes_the_same(sparsity, settings, prunable):
    net = cnn()
    before = copy.deepcopy(net.state_dict())
    masks = topo.prune(net, "variational", sparsity=sparsity, **settings, **OPTIONS)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert (
        masks.algorithm == "variational" and masks.asked_sparsity == sparsity and masks.settings["budget"] == "weights"
    )
    assert kept_weights(masks, prunable) <= (1 - sparsity) * CONVOLUTIONS
    if settings.get("kappa") == 0.0:
        assert kept_weights(masks, prunable) > (1 - sparsity) * CONVOLUTIONS - 108
    masks.install(net)
    assert all(bool((net.get_parameter(name)[~mask] == 0).all()) for name, mask in masks.items())
    small = topo.compact(net.eval(), masks, EXAMPLE)
    with torch.no_grad():
        torch.testing.assert_close(small.eval()(digits().test_inputs), net(digits().test_inputs), rtol=1e-4, atol=1e-5)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (small, net)]
    assert sizes[0] < 0.8 * sizes[1]
    assert evaluate(small, digits(), device="cpu")["accuracy"] == evaluate(net, digits(), device="cpu")["accuracy"]


@pytest.mark.slow
def test_what_it_trains_is_trained():
    net = cnn()
    before = evaluate(net, digits(), device="cpu")
    masks = topo.prune(net, "variational", sparsity=0.2, **OPTIONS | {"data": digits(40), "recipe": plan(10)})
    after = evaluate(masks.install(net), digits(), device="cpu")
    assert after["accuracy"] > 0.5 > before["accuracy"]
    assert set(masks.state) == set(net.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["parameters", "macs"])
def test_other_budgets(budget):
    net = cnn()
    full = {"parameters": 1382, "macs": 35152}[budget]
    masks = topo.prune(net, "variational", sparsity=0.5, budget=budget, kappa=0.0, **OPTIONS)
    small = topo.compact(masks.install(net), masks, EXAMPLE)
    remaining = cost_by_torch(small, EXAMPLE)[budget]
    one = 110 if budget == "parameters" else 4608
    assert 0.5 * full - one < remaining <= 0.5 * full


def test_no_sparsity_prunes_nothing():
    masks = topo.prune(cnn(), "variational", sparsity=0.0, nu=5.0, **OPTIONS)
    assert masks.sparsity == 0.0


def test_excluded_layers_keep_all(prunable):
    excluded = "stages.0.*"
    of_first_stage = [name for name in prunable if name.startswith("stages.0.")]
    assert of_first_stage
    masks = topo.prune(cnn(), "variational", sparsity=0.3, exclude=excluded, **OPTIONS)
    assert all(masks[name].all() for name in of_first_stage if name in masks)
    assert masks.settings["exclude"] == [excluded] and masks.reached() >= 0.3


def test_the_same_seed_the_same_masks():
    first, again = (topo.prune(cnn(), "variational", sparsity=0.5, seed=3, **OPTIONS) for _ in range(2))
    assert first == again and all(torch.equal(value, again.state[name]) for name, value in first.state.items())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"budget": "weight"}, "weight"),
        ({"nu": -1}, "nu .* at least 0, not -1"),
        ({"kappa": 2}, "kappa .* from 0 to 1, not 2"),
        ({"alpha": "all"}, "alpha .* not 'all'"),
        ({"estimator": "exakt"}, "exakt"),
        ({"matching": "slope"}, "slope"),
        ({"beta": 1}, "beta"),
        ({"recipe": None}, "trains the network; give data="),
        ({"sparsity": 0.97}, "finds no connected network with at most 0.03 of the weights; .*lower the sparsity"),
        ({"exclude": "*.*"}, "nothing is left to prune"),
        ({"include": "fc.weight"}, "finds nothing to gate"),
        ({"example": (3,)}, "does not take inputs of shape"),
    ],
)
def test_impossible_settings(settings, reason):
    with pytest.raises(InputError, match=reason):
        topo.prune(cnn(), "variational", **{"sparsity": 0.5} | OPTIONS | settings)


def test_a_chain_keeps_a_unit_of_every_layer():
    masks = topo.prune(chain(), "variational", sparsity=0.9, **OPTIONS)
    assert masks.empty_layers() == []


def test_layers_only_needs_layers():
    with pytest.raises(InputError, match="kappa = 1 prunes layers only"):
        topo.prune(chain(), "variational", sparsity=0.5, kappa=1, **OPTIONS)


def test_nothing_to_gate_at_all():
    with pytest.raises(InputError, match="finds nothing to gate"):
        topo.prune(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "variational", sparsity=0.5, **OPTIONS)


def test_a_training_that_diverges():
    with pytest.raises(topo.training.Diverged, match=r"'variational' trains the network, and the .*loss became"):
        topo.prune(cnn(), "variational", sparsity=0.5, **OPTIONS | {"recipe": plan(4, learning_rate=1e30)})


def test_no_checkpoint(tmp_path):
    net = cnn()
    callback = topo.pruning.sparse_training_callback(net, "variational", sparsity=0.5, data=digits(), device="cpu")
    with pytest.raises(InputError, match="train without a checkpoint"):
        topo.training.train(
            net,
            digits(),
            plan(4),
            masks=callback.masks,
            callbacks=[callback],
            checkpoint=tmp_path / "run.pt",
            device="cpu",
        )
