from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo.pruning
import topo.pruning.task
from topo.datasets import load
from topo.errors import InputError
from topo.masks import Masks
from topo.pruning.allocation import ALLOCATIONS
from topo.pruning.trained.imp import round_counts
from topo.training import Callback, recipe, train

DATA = load("digits", subset=20)
PLAN = recipe("digits", epochs=4)
TOTAL = 64 * 6 + 6 * 10


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))


class Snapshot(Callback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, state):
        if state.step == self.step:
            self.values = copy.deepcopy(state.model.state_dict())


def prune(**settings) -> Masks:
    return topo.prune(net(), "imp", **({"sparsity": 0.5, "data": DATA, "recipe": PLAN, "device": "cpu"} | settings))


def by_hand(counts: list[int], step: int, allocation: str, seed: int = 0):
    """The masks, and the state at the rewinding point."""
    point = copy.deepcopy(net().state_dict())
    masks = None
    for count in counts:
        model = net()
        if masks is not None:
            model.load_state_dict(point)
        snapshot = Snapshot(step)
        train(model, DATA, PLAN, masks=masks, seed=seed, callbacks=[snapshot], device="cpu", progress=False)
        if masks is None and step:
            point = snapshot.values
        scores = {name: dict(model.named_parameters())[name].detach().abs() for name in ("1.weight", "4.weight")}
        if masks is not None:
            scores = {name: score.masked_fill(~masks[name], -1.0) for name, score in scores.items()}
        masks = Masks(ALLOCATIONS[allocation](scores, count))
    return masks, point


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({}, 0),
        ({"rewind": 1, "allocation": "uniform"}, DATA.n_batches("train", 64)),
        ({"rewind": 0.5, "seed": 3}, 2 * DATA.n_batches("train", 64)),
    ],
)
def test_rounds_and_rewinding_written_out(settings, step):
    pruned = prune(**settings)
    counts = [round(0.8 * TOTAL), round(0.64 * TOTAL), round(0.512 * TOTAL), TOTAL // 2]
    masks, point = by_hand(counts, step, settings.get("allocation", "global"), settings.get("seed", 0))
    assert pruned == masks
    assert pruned.state.keys() == point.keys()
    assert all(torch.equal(pruned.state[key], value) for key, value in point.items())
    assert pruned.counts()["kept"].sum() == TOTAL // 2


def test_without_rewinding_the_ticket_has_the_initial_weights_and_the_model_is_untouched():
    model = net()
    before = copy.deepcopy(model.state_dict())
    masks = topo.prune(model, "imp", sparsity=0.3, data=DATA, recipe=PLAN, device="cpu")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    ticket = masks.install(net())
    for name, mask in masks.items():
        assert torch.equal(dict(ticket.named_parameters())[name], before[name] * mask)


def test_each_round_trains_with_a_fifth_less(monkeypatch):
    held = []
    original = topo.pruning.task.train

    def recording(*args, masks=None, **options):
        held.append(sum(int(mask.sum()) for mask in masks.values()))
        return original(*args, masks=masks, **options)

    monkeypatch.setattr(topo.pruning.task, "train", recording)
    prune(sparsity=0.6, recipe=recipe("digits", epochs=1))
    assert held == [TOTAL, *(round(TOTAL * 0.8**k) for k in (1, 2, 3, 4))]
    held.clear()
    prune(sparsity=0.6, rate=0.5, recipe=recipe("digits", epochs=1))
    assert held == [TOTAL, TOTAL // 2]


def test_the_rounds_follow_from_the_sparsity():
    assert round_counts(1000, 800, 0.2) == [800]
    assert round_counts(1000, 799, 0.2) == [800, 799]
    assert round_counts(1000, 512, 0.2) == [800, 640, 512]
    assert round_counts(1000, 1000, 0.2) == [1000]
    assert round_counts(10**6, 10**6 // 100, 0.2)[-2:] == [round(10**6 * 0.8**20), 10**4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0}, "rate must be a number above 0 and below 1"),
        ({"rate": 1}, "rate must be"),
        ({"rate": True}, "rate must be"),
        ({"rewind": -1}, "rewind must be a number of at least 0"),
        ({"rewind": float("inf")}, "rewind must be a finite number of at least 0"),
        ({"rewind": "1"}, "rewind must be a number of at least 0"),
        ({"rewind": 5}, r"rewind \(5 epochs\) lies after the end of the training \(4\)"),
        ({"allocation": "globl"}, "unknown allocation 'globl'; did you mean 'global'"),
        ({"allocation": "uniform", "sparsity": 0.998}, "cannot be spread over"),
        ({"data": None}, "give data= and recipe="),
        ({"data": (torch.zeros(4, 1, 8, 8), torch.rand(4))}, "loss .mse. takes numbers in the shape of the outputs"),
        ({"recipe": None}, "trains the network; give data= and recipe="),
        ({"recipe": recipe("digits", epochs=1, learning_rate=1e30, warmup=0.0)}, "trains the network, and"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(InputError, match=message):
        prune(**settings)
