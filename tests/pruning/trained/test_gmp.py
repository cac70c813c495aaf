from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo.pruning
from topo.datasets import load
from topo.errors import InputError
from topo.pruning.allocation import ALLOCATIONS
from topo.training import Callback, recipe, train


class Recorder(Callback):
    """The weights before the update of each step, or the masks after it."""

    def __init__(self, what):
        self.what, self.steps = what, {}

    def on_step_end(self, state):
        self.steps[state.step] = self.what(state)


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))


DATA = load("digits", subset=30)
PLAN = recipe("digits", epochs=6, batch_size=50)
TOTAL = 64 * 6 + 6 * 10


def steps() -> int:
    return 6 * DATA.n_batches("train", 50)


def run(name: str = "gmp", **settings):
    model = net()
    pruner = topo.pruning.sparse_training_callback(model, name, sparsity=0.9, **settings)
    weights = Recorder(lambda s: {n: p.detach().clone() for n, p in s.model.named_parameters() if p.ndim > 1})
    masks = Recorder(lambda s: {n: s.masks[n].clone() for n in s.masks})
    result = train(
        model, DATA, PLAN, masks=pruner.masks, callbacks=[weights, pruner, masks], device="cpu", progress=False
    )
    return model, result, weights.steps, masks.steps


@pytest.mark.parametrize("settings", [{}, {"start": 0.25, "stop": 0.6, "interval": 4}, {"stop": 1.0, "interval": 1000}])
def test_the_density_follows_the_schedule_to_the_weight(settings):
    _, result, _, masks = run(**settings)
    first = int(settings.get("start", 0.0) * steps())
    last = int(settings.get("stop", 0.75) * steps())
    every = settings.get("interval", DATA.n_batches("train", 50))
    kept = TOTAL
    assert steps() > 20
    for step in range(1, steps() + 1):
        if first < step < last and (step - first) % every == 0:
            sparsity = (1 - round(0.1 * TOTAL) / TOTAL) * (1 - (1 - (step - first) / (last - first)) ** 3)
            kept = round((1 - sparsity) * TOTAL)
        if step >= last:
            kept = round(0.1 * TOTAL)
        assert sum(int(mask.sum()) for mask in masks[step].values()) == kept, step
    assert result.masks.counts()["kept"].sum() == round(0.1 * TOTAL)
    assert result.masks.asked_sparsity == 0.9 and result.masks.algorithm == "gmp"


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_updates_keep_the_largest_and_never_bring_one_back(allocation):
    model, result, weights, masks = run(allocation=allocation)
    before, changes = {name: torch.ones_like(mask) for name, mask in masks[1].items()}, 0
    for step, after in masks.items():
        assert all(not (after[name] & ~before[name]).any() for name in after)
        if any((after[name] != before[name]).any() for name in after):
            scores = {name: weights[step][name].abs() for name in after}
            expected = ALLOCATIONS[allocation](scores, sum(int(m.sum()) for m in after.values()))
            assert all(torch.equal(after[name], expected[name]) for name in after)
            changes += 1
        before = after
    assert changes >= 4
    parameters = dict(model.named_parameters())
    assert all(torch.equal(parameters[name] != 0, mask) for name, mask in result.masks.items())


@pytest.mark.parametrize("name", ["gmp", "movement"])
def test_pruning_trains_a_copy_and_keeps_its_weights(name):
    model = net()
    before = copy.deepcopy(model.state_dict())
    masks = topo.prune(model, name, sparsity=0.8, data=DATA, recipe=PLAN, allocation="global", device="cpu")
    assert masks.counts()["kept"].sum() == round(0.2 * TOTAL)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not torch.equal(masks.state["1.bias"], before["1.bias"])
    assert all(torch.equal(masks.state[key] != 0, mask) for key, mask in masks.items())
    again = topo.prune(model, name, sparsity=0.8, data=DATA, recipe=PLAN, allocation="global", device="cpu")
    assert masks == again and torch.equal(again.state["3.weight"], masks.state["3.weight"])


@pytest.mark.parametrize("name", ["gmp", "movement"])
def test_a_pattern_is_reached_at_the_end(name):
    masks = topo.prune(net(), name, sparsity=0.5, data=DATA, recipe=PLAN, allocation="2:4", include="1.*", device="cpu")
    assert (masks["1.weight"].unflatten(1, (16, 4)).sum(-1) == 2).all()


@pytest.mark.parametrize("name", ["gmp", "movement"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": 0.8, "stop": 0.5}, "start .* must not lie after stop"),
        ({"stop": 0.0}, "stop .* must be above 0"),
        ({"start": -1}, "start must be a number from 0 to 1"),
        ({"stop": True}, "stop must be a number from 0 to 1"),
        ({"interval": 0}, "interval must be a whole number"),
        ({"allocation": "unifrom"}, "unknown allocation 'unifrom'; did you mean 'uniform'"),
        ({"sparsity": 0.997}, "cannot be spread over"),
    ],
)
def test_bad_settings(name, settings, message):
    with pytest.raises(InputError, match=message):
        topo.pruning.sparse_training_callback(net(), name, **({"sparsity": 0.5} | settings))
