"""From a network to a smaller one, which is like any other."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import topo
from tests.pruning.variational.nets import cost_by_torch
from tests.pruning.variational.runs import EXAMPLE, callback, chain, cnn, digits, plan, prune, run
from topo.errors import InputError
from topo.pruning.variational.estimators import StraightThrough
from topo.pruning.variational.gated import GatedModel
from topo.training import Diverged, evaluate

pytestmark = pytest.mark.usefixtures("traced_once")

LATE = {"warmup": 0.3}
NETS = {"cnn": (cnn, 1.0), "chain": (lambda: chain(0.2), 0.1)}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "training"), [("cnn", True), ("chain", False)])
def test_what_comes_out_is_a_plain_network(name, training, tmp_path):
    make, nu = NETS[name]
    result = prune(make().train(training), nu=nu, config=LATE)
    small = result.model
    assert not result.is_open.all()
    assert all(module.training == training and not isinstance(module, GatedModel) for module in small.modules())
    assert topo.cost(small, EXAMPLE) == result.record[["parameters", "macs"]].iloc[-1].to_dict()
    assert len(topo.trace(small.eval(), EXAMPLE).arcs) >= 1
    file = topo.save_checkpoint(small, tmp_path / "small.safetensors")
    twin = copy.deepcopy(small)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    topo.load_checkpoint(twin, file)
    inputs = digits().test_inputs
    with torch.no_grad():
        assert torch.equal(twin.eval()(inputs), small(inputs))
    before = evaluate(small, digits(), device="cpu")
    assert run(small, epochs=3).status == "finished"
    after = evaluate(small, digits(), device="cpu")
    assert after["loss"] < before["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "optimizer"), [("cnn", "sgd"), ("chain", "adamw")])
def test_masks_of_the_whole_network_leave_the_small_one(name, optimizer):
    make, nu = NETS[name]
    full_model, pruned = make(), callback(nu, config=LATE)
    changes = {} if optimizer == "sgd" else {"optimizer": "adamw", "learning_rate": 0.01}
    topo.training.train(full_model, digits(), plan(**changes), callbacks=[pruned], device="cpu", progress=False)
    assert not pruned.is_open.all()
    assert pruned.write_back() is full_model
    masks = topo.Masks(pruned.gates.masks(pruned.is_open))
    masked = masks.apply(copy.deepcopy(full_model)).eval()
    compacted = topo.compact(masked, masks, EXAMPLE).eval()
    inputs = digits().test_inputs
    with torch.no_grad():
        expected = pruned.model.eval()(inputs)
        for other in (masked, compacted):
            torch.testing.assert_close(other(inputs), expected, rtol=1e-4, atol=1e-5)
    assert cost_by_torch(compacted, EXAMPLE) == cost_by_torch(pruned.model, EXAMPLE)


def test_masks_say_where_they_come_from(tmp_path):
    result = prune(cnn(), nu=1.0)
    masks = result.masks()
    assert masks.algorithm == "variational" and masks.settings["nu"] == 1.0
    assert masks.settings["estimator"] == "layers:exact,units:trapezoid"
    assert topo.Masks.load(masks.save(tmp_path / "masks.safetensors")) == masks
    assert set(topo.masks.prunable_parameters(cnn())) <= set(masks)
    fresh = cnn()
    small = topo.compact(masks.apply(fresh), masks, EXAMPLE)
    assert [p.shape for p in small.parameters()] == [p.shape for p in result.model.parameters()]


def test_the_network_given_has_the_trained_values_of_what_stays():
    net = cnn()
    result = prune(net, nu=1.0)
    assert not result.is_open.all()
    assert result.full_model is net
    masks, inputs = result.masks(), digits().test_inputs
    with torch.no_grad():
        expected = result.model.eval()(inputs)
        for masked in (masks.install(cnn(seed=4)), masks.apply(net)):
            torch.testing.assert_close(masked.eval()(inputs), expected, rtol=1e-4, atol=1e-5)
    assert list(topo.masks.prunable_parameters(net)) == list(masks._included) and masks.reached() > 0
    first, last = result.record["macs"].iloc[[0, -1]].astype(int)
    assert repr(result).endswith(f"macs {last:,} of {first:,})") and len(repr(result)) < 120
    assert repr(result.gates).startswith(f"Gates({len(result.gates.units)} units, ")


def test_batch_norms_are_measured_in_the_end():
    result = prune(cnn(), nu=1.0)
    before = {name: value.clone() for name, value in result.model.named_buffers() if "running" in name}
    topo.training.recalibrate(result.model, digits(), plan().batch_size)
    assert before
    for name, value in result.model.named_buffers():
        if "running" in name:
            torch.testing.assert_close(value, before[name])


def test_frozen_biases_keep_their_values_and_are_trainable_afterwards():
    net = chain()
    with torch.no_grad():
        for number, (_, bias) in enumerate(biases(net)):
            bias.copy_(torch.arange(len(bias)) / 100 + number)
    known = torch.cat([bias.detach().clone() for _, bias in biases(net)])
    result = prune(net, nu=0.1, config=LATE, recipe=plan(freeze_biases=True))
    assert not result.is_open.all()
    remaining = [bias for _, bias in biases(result.model)]
    assert len(remaining) == 4 and sum(map(len, remaining)) < len(known)
    assert torch.isin(torch.cat(remaining).detach(), known).all()
    assert all(parameter.requires_grad for model in (net, result.model) for parameter in model.parameters())


def test_what_was_not_to_be_trained_still_is_not():
    net = chain()
    net[0].weight.requires_grad_(False)
    result = prune(net, nu=0.1, config=LATE)
    asked = {name: parameter.requires_grad for name, parameter in result.model.named_parameters()}
    assert list(asked.values()).count(False) == 1


def biases(net):
    layers = (module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    return [(layer, layer.bias) for layer in layers if layer.bias is not None]


def test_a_loss_that_is_no_number():
    with pytest.raises(Diverged, match=r"loss became (nan|inf)"):
        prune(cnn(), recipe=plan(learning_rate=1e30))


@dataclass(frozen=True)
class Steep(StraightThrough):
    def delta(self, theta, xi, g, chosen, loss=None):
        return g.to(theta) * float("inf"), chosen


def test_a_slope_that_is_no_number():
    with pytest.raises(Diverged, match="slope of the loss in the gates is no longer finite at step 1 in epoch 1"):
        prune(cnn(), config={"estimator": Steep(), "warmup": 0.1})


def test_wrapped_and_compiled_models():
    with pytest.raises(InputError, match="wrapped in DataParallel; give the plain model"):
        prune(nn.DataParallel(cnn()))
    with pytest.raises(InputError, match=r"compiled by torch\.compile; give the plain model"):
        prune(torch.compile(cnn()))


def test_nothing_to_gate():
    with pytest.raises(InputError, match="nothing to gate"):
        prune(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))


class TwoInputs(nn.Module):
    """A hidden layer for each of two inputs, and one for both."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(5, 6), nn.Linear(3, 6)
            self.both, self.head = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, a, b):
        x = torch.cat([torch.relu(self.first(a)), torch.relu(self.second(b))], dim=1)
        return self.head(torch.relu(self.both(x)))


@pytest.mark.parametrize("form", [tuple, dict])
def test_several_inputs(form):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(57, 5, generator=generator), torch.randn(57, 3, generator=generator)
    inputs = (a, b) if form is tuple else {"a": a, "b": b}
    result = prune(TwoInputs(), nu=1.0, data=(inputs, torch.arange(57) % 3), config={"estimator": "exact"})
    assert not result.is_open.all()
    small = topo.compact(TwoInputs(), result.masks(), inputs if form is dict else (a, b))
    assert [p.shape for p in small.parameters()] == [p.shape for p in result.model.parameters()]
    with torch.no_grad():
        outputs = result.model.eval()(*inputs) if form is tuple else result.model.eval()(**inputs)
    assert outputs.shape == (57, 3)
