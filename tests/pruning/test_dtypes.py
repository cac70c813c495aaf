"""Every pruner takes networks of 64 and of 16 bits as they are, and trains them as such."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import topo
from topo.pruning import PRUNERS
from topo.training import evaluate, recipe, train

PLAN = recipe("digits", epochs=1, batch_size=10)
OPTIONS = {name: {"rounds": 2} for name in ("synflow", "force", "iterative-snip", "ntk-sap", "px")}
DATA = topo.datasets.load("digits", subset=2)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 2)),
        *(nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 10)),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_prunes_networks_of_any_precision(name, dtype):
    masks = topo.prune(
        network().to(dtype), name, sparsity=0.3, data=DATA, recipe=PLAN, device="cpu", **OPTIONS.get(name, {})
    )
    assert 0.3 <= masks.sparsity + 0.005 < 0.75
    for value in (masks.state or {}).values():
        assert value.dtype in (dtype, torch.int64) and value.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_training_and_evaluation_keep_the_precision(dtype):
    net = network().to(dtype)
    assert train(net, DATA, PLAN, device="cpu").status == "finished"
    assert {p.dtype for p in net.parameters()} == {dtype} and 0 <= evaluate(net, DATA, device="cpu")["accuracy"] <= 1
    topo.training.recalibrate(net, DATA)


def test_float64_is_not_rounded_on_the_way():
    """The loss of one step in float64 is that of torch in float64."""
    net = network().double()
    inputs, targets = DATA.train_inputs.double(), DATA.train_targets
    expected = nn.functional.cross_entropy(net.eval()(inputs), targets).item()
    assert evaluate(net, DATA, "train", device="cpu")["loss"] == pytest.approx(expected, rel=1e-13)


def test_a_head_of_zeros_is_told_what_to_do():
    net = network()
    nn.init.zeros_(net[-1].weight)
    for name in ("snip", "iterative-snip", "synflow", "obd", "taylor"):
        with pytest.raises(topo.errors.InputError, match=r"zero, for '7\.weight' is all zero, .*; initialise it"):
            topo.prune(net, name, sparsity=0.5, data=DATA, device="cpu")
