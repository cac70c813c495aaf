from __future__ import annotations

import pytest
import torch
from torch import nn

import topo.pruning
from tests.pruning.full_batch import DATA, net, plan
from topo.errors import InputError
from topo.training import Callback, Recipe, train

PLAN = plan(20, momentum=0.9)


def by_hand(model: nn.Module, kept: int, begins: dict[int, bool]):
    """Full-batch training with momentum; `begins` says at which steps a phase starts, and whether it is sparse."""
    inputs, targets = next(iter(DATA.batches("train", 64)))
    weight, bias = (p.detach().clone() for p in (model[1].weight, model[1].bias))
    mask, memory, memory_of_bias = torch.ones_like(weight), torch.zeros_like(weight), torch.zeros_like(bias)
    for step in range(PLAN.epochs):
        used, shift = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        loss = nn.functional.cross_entropy(inputs.flatten(1) @ used.T + shift, targets)
        slope, slope_of_bias = torch.autograd.grad(loss, (used, shift))
        if begins.get(step) is True:
            mask = torch.zeros(640)
            mask[weight.abs().flatten().argsort(descending=True)[:kept]] = 1.0
            mask = mask.view(10, 64)
            weight = weight * mask
        elif begins.get(step) is False:
            mask, memory = torch.ones_like(weight), torch.zeros_like(weight)
        memory, memory_of_bias = 0.9 * memory + slope * mask, 0.9 * memory_of_bias + slope_of_bias
        weight, bias = (weight - 0.5 * memory) * mask, bias - 0.5 * memory_of_bias
    return weight, bias, mask.bool()


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        ({"start": 0.1, "turns": 2, "stop": 0.9}, {2: True, 6: False, 10: True, 14: False, 18: True}),
        ({"start": 0.0, "turns": 1, "stop": 0.5}, {0: True, 5: False, 10: True}),
        ({"start": 0.25, "turns": 0, "stop": 1.0}, {19: True}),
    ],
    ids=str,
)
def test_training_written_out(settings, begins):
    model = net()
    weight, bias, mask = by_hand(model, 192, begins)
    pruner = topo.pruning.sparse_training_callback(model, "ac-dc", sparsity=0.7, **settings)
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner], device="cpu", progress=False)
    assert torch.equal(run.masks["1.weight"], mask)
    torch.testing.assert_close(model[1].weight.detach(), weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(model[1].bias.detach(), bias, rtol=1e-3, atol=1e-4)


def test_it_is_sparse_and_dense_by_turns_and_sparse_in_the_end():
    class Counts(Callback):
        def on_start(self, state):
            self.counts = []

        def on_step_end(self, state):
            self.counts.append(int(state.masks["1.weight"].sum()))

    model, counts = net(), Counts()
    pruner = topo.pruning.sparse_training_callback(model, "ac-dc", sparsity=0.7, turns=3)
    train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner, counts], device="cpu", progress=False)
    # From step 2 to 17 there is room for six phases of 2.5 steps.
    assert counts.counts == [640] * 2 + 2 * [192] + 3 * [640] + 2 * [192] + 3 * [640] + 2 * [192] + 3 * [640] + 3 * [
        192
    ]


def test_phases_that_do_not_fit_are_passed_over():
    masks = topo.prune(net(), "ac-dc", sparsity=0.7, data=DATA, recipe=Recipe(epochs=2, batch_size=64), turns=50)
    assert int(masks["1.weight"].sum()) == 192


@pytest.mark.parametrize("settings", [{"start": 0.9}, {"turns": -1}, {"stop": 1.5}, {"allocation": "all"}], ids=str)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        topo.prune(net(), "ac-dc", sparsity=0.7, data=DATA, recipe="digits", **settings)
