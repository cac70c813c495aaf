"""No pruner mixes what lies on the device with what lies on the CPU, or waits for the device more often than needed."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

import topo
from tests.foreign_device import DEVICE, ForeignDevice, Mixed
from topo.pruning import PRUNERS
from topo.pruning.allocation import keep_largest
from topo.training import recipe

ROUNDS = {"force", "iterative-snip", "synflow", "ntk-sap", "px", "taylor"}
"""Those that copy and wait once a round."""
SETTINGS = {name: {"rounds": 3} for name in ROUNDS} | {"obd": {"samples": 40}, "hrank": {"samples": 10}}


@cache
def data() -> topo.datasets.Dataset:
    return topo.datasets.load("digits", subset=6)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6), nn.ReLU(), nn.Linear(6, 10)
    )


def traffic(
    name: str, monkeypatch: pytest.MonkeyPatch, batch_size: int = 15, epochs: int = 1, **settings
) -> ForeignDevice:
    """Copies and waits of a pruner, without those that bring the model there."""
    torch.manual_seed(0)
    net = network()
    device = ForeignDevice()
    topo.trace(net, (1, 8, 8))
    with monkeypatch.context() as patch, device.entered(patch):
        plan = recipe("digits", epochs=epochs, batch_size=batch_size)
        topo.prune(
            net, name, sparsity=0.5, data=data(), recipe=plan, device="cuda", **SETTINGS.get(name, {}) | settings
        )
    device.copies["to"] -= len(net.state_dict())
    return device


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_runs_on_a_device(name, monkeypatch):
    trains = PRUNERS.entry(name).info["stage"] == "training" or name in ("imp", "l0", "slimming")
    found = traffic(name, monkeypatch)
    assert found.copies.total() + found.waits.total() <= (260 if trains else 60), (found.copies, found.waits)


class Mirrored(nn.Module):
    """Reads the kernel of a transposed convolution in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(1, 4, 2, 2)), nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.conv2d(x, self.weight.transpose(0, 1).flip(-1, -2), padding=1)
        return self.head(torch.relu(x).mean((2, 3)))


@pytest.mark.parametrize(
    "settings", [{"name": "expander", "unit": "weight"}, {"name": "srigl", "interval": 1}], ids=str
)
def test_rows_in_another_order_are_on_the_device(settings, monkeypatch):
    torch.manual_seed(0)
    net, device = Mirrored(), ForeignDevice()
    topo.trace(net, (1, 8, 8))
    with monkeypatch.context() as patch, device.entered(patch):
        plan = recipe("digits", epochs=2, batch_size=15)
        masks = topo.prune(net, sparsity=0.5, data=data(), recipe=plan, device="cuda", **settings)
    assert masks.counts()["kept"].sum() == 28


@pytest.mark.parametrize(
    ("name", "most"),
    [("magnitude", 1), ("synflow", 1), ("px", 2), ("force", 3), ("iterative-snip", 3), ("ntk-sap", 6), ("taylor", 6)],
)
def test_a_round_takes_few_copies_and_looks(name, most, monkeypatch):
    """One look, at whether the scores are sound, and a copy for each tensor of data or of random numbers."""
    few, more = (traffic(name, monkeypatch, rounds=rounds).count for rounds in (3, 5))
    assert more - few <= 2 * most


@pytest.mark.parametrize("kept", [1, 7, 20, 33])
def test_the_largest_scores_are_found_without_a_look_whatever_the_ties(kept):
    generator = torch.Generator().manual_seed(kept)
    scores = {str(n): torch.randint(3, (n, 3), generator=generator).float() for n in (1, 4, 6)}
    device = ForeignDevice()
    with device, device._calls:
        found = keep_largest({name: score.to(DEVICE) for name, score in scores.items()}, kept)
        assert not device.waits
        found = {name: mask.cpu() for name, mask in found.items()}
    flat = torch.cat([score.flatten() for score in scores.values()])
    expected = torch.zeros(len(flat), dtype=torch.bool)
    expected[flat.argsort(descending=True, stable=True)[:kept]] = True
    assert torch.equal(torch.cat([mask.flatten() for mask in found.values()]), expected)


@pytest.mark.parametrize(("name", "most"), [("variational", 1), ("movement", 1), ("rigl", 0), ("mest", 0)])
def test_a_step_takes_few_copies_and_looks(name, most, monkeypatch):
    few, many = (traffic(name, monkeypatch, epochs=3, batch_size=size) for size in (12, 4))
    steps = 3 * (len(data().train) // 4 - len(data().train) // 12)
    assert many.count - few.count <= most * steps, (few.copies, few.waits, many.copies, many.waits)


@pytest.mark.parametrize("augment", [False, True])
def test_training_and_evaluation_look_at_nothing_in_their_loops(augment, monkeypatch):
    """What is random of a batch is one copy; the loss is looked at once in many steps, and at the end of an epoch."""
    found = []
    for size in (12, 4):
        torch.manual_seed(0)
        net, device = network(), ForeignDevice()
        masks = topo.prune(net, "er", sparsity=0.5)
        with monkeypatch.context() as patch, device.entered(patch):
            plan = recipe("digits", epochs=2, batch_size=size, augment=augment)
            topo.training.train(net, data(), plan, masks=masks, device="cuda")
            topo.training.evaluate(net, data(), device="cuda", batch_size=size)
        found.append(device.count)
    steps = 2 * (len(data().train) // 4 - len(data().train) // 12)
    assert found[1] - found[0] == augment * steps


def test_the_device_counts_and_refuses_mixtures():
    device = ForeignDevice()
    with device, device._calls:
        here = torch.ones(3)
        there = here.to(DEVICE)
        assert there.device == DEVICE and here.device.type == "cpu" and device.copies["to"] == 1
        assert (there * 2 + torch.ones(())).device == DEVICE and torch.zeros_like(there).device == DEVICE
        with pytest.raises(Mixed):
            there + here
        with pytest.raises(Mixed):
            there.numpy()
        assert float(there.sum()) == 3 and device.waits.total() == 1
        assert there[there > 0].cpu().device.type == "cpu" and device.waits.total() == 2
        assert device.copies == {"to": 1, "from": 1}
        weight = nn.Parameter(there.clone())
        (weight * there).sum().backward()
        assert weight.grad.device == DEVICE
