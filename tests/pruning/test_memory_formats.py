"""Pruners that train do so in channels-last memory and under bfloat16 autocast, and rounding decides nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import topo
import topo.training.loop
from topo.pruning import PRUNERS
from topo.training import recipe

TRAIN = [name for name in PRUNERS if PRUNERS.entry(name).info["stage"] == "training"] + ["imp", "l0", "slimming"]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(96, 10)),
    )


@pytest.mark.parametrize("name", TRAIN)
def test_pruners_that_train_do_so_channels_last_and_in_bfloat16(name, monkeypatch):
    call = topo.training.loop.call_model

    def in_bfloat16(model, inputs):
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return call(model, inputs)

    monkeypatch.setattr(topo.training.loop, "call_model", in_bfloat16)
    data = topo.datasets.load("digits", subset=6)
    plan = recipe("digits", epochs=3, batch_size=10, channels_last=True)
    masks = topo.prune(network(), name, sparsity=0.6, data=data, recipe=plan, device="cpu")
    assert masks.sparsity == pytest.approx(0.6, abs=0.15)
    assert all(value.isfinite().all() for value in (masks.state or {}).values())


def test_a_network_is_rebuilt_channels_last_as_often_as_it_shrinks():
    """The state of the optimiser goes along, and what is returned lies in memory as usual."""
    data = topo.datasets.load("digits", subset=12)
    runs = [
        topo.pruning.variational.train(
            network(),
            data,
            recipe("digits", epochs=8, batch_size=20, channels_last=last),
            nu=1.0,
            config=topo.pruning.variational.VariationalConfig(horizon=0.05, caution=0.0, min_saving=0.0),
            device="cpu",
        )
        for last in (False, True)
    ]
    sizes = [run.record["parameters"] for run in runs]
    assert sizes[1].nunique() > 3
    for run in runs:
        assert all(p.is_contiguous() for p in run.model.parameters())
        found = topo.training.evaluate(run.model, data, device="cpu")["accuracy"]
        assert run.training.history["test_accuracy"].iloc[-1] == found


def test_a_network_leaves_channels_last_memory_when_it_shrinks_to_where_gradients_would_be_wrong(monkeypatch):
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 20, 3), nn.BatchNorm2d(20), nn.ReLU()),
        *(nn.Conv2d(20, 24, 1, stride=2), nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)),
    )
    layouts = []
    call = topo.training.loop.call_model

    def watched(model, inputs):
        channels = [module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)][-1]
        layouts.append((channels, any(not p.is_contiguous() for p in model.parameters())))
        return call(model, inputs)

    monkeypatch.setattr(topo.training.loop, "call_model", watched)
    run = topo.pruning.variational.train(
        net,
        topo.datasets.load("digits", subset=12),
        recipe("digits", epochs=8, batch_size=20, channels_last=True),
        nu=1.0,
        config=topo.pruning.variational.VariationalConfig(horizon=0.05, caution=0.0, min_saving=0.0),
        device="cpu",
    )
    assert {last for channels, last in layouts if channels >= 16} == {True}
    assert {last for channels, last in layouts if channels < 16} == {False}
    assert all(p.is_contiguous() for p in run.model.parameters())


@pytest.mark.parametrize("name", ["force", "iterative-snip", "ntk-sap", "px"])
def test_rounds_do_not_amplify_rounding(name):
    """In float32 the masks of two memory formats had a fifth to a third of their weights in common."""
    data = topo.datasets.load("digits", subset=6)
    usual, last = (
        topo.prune(net, name, sparsity=0.95, data=data, device="cpu")
        for net in (network(), network().to(memory_format=torch.channels_last))
    )
    assert usual == last


@pytest.mark.parametrize("name", ["snip", "grasp", "taylor", "prospr", "rigl"])
def test_networks_and_images_of_the_user_leave_channels_last_memory_where_gradients_would_be_wrong(name, monkeypatch):
    """Elsewhere scores, or the training that a pruner does, may end the process."""

    def net(layout: torch.memory_format) -> nn.Module:
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 32, 1, stride=2), nn.ReLU(), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(288, 10)).to(memory_format=layout)

    seen = []
    forward = nn.Conv2d.forward

    def watched(layer, x):
        seen.append(all(tensor.stride() == torch.empty(tensor.shape).stride() for tensor in (x, layer.weight)))
        return forward(layer, x)

    data = topo.datasets.load("digits", subset=6)
    images = data.train.inputs.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
    monkeypatch.setattr(nn.Conv2d, "forward", watched)
    trains = {"recipe": recipe("digits", epochs=1)} if name == "rigl" else {}
    last = net(torch.channels_last)
    given = data if trains else (images, data.train.targets)
    usual = data if trains else (data.train.inputs, data.train.targets)
    masks = topo.prune(last, name, sparsity=0.6, data=given, device="cpu", **trains)
    assert len(seen) > 2 and all(seen[2:])  # after the user's network has been traced
    assert masks == topo.prune(net(torch.contiguous_format), name, sparsity=0.6, data=usual, device="cpu", **trains)
    assert last[2].weight.is_contiguous(memory_format=torch.channels_last)
