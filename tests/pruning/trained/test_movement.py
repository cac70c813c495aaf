from __future__ import annotations

import pytest
import torch
from torch import nn

import topo.pruning
from tests.pruning.full_batch import DATA, net, plan
from topo.training import Callback, Recipe, train

PLAN = plan(24)


def by_hand(model: nn.Module, kept: int, interval: int, last: int):
    """Full-batch gradient descent with scores, underlying weights and masks written out."""
    inputs, targets = next(iter(DATA.batches("train", 64)))
    assert len(targets) == len(DATA.train)
    weight, bias = (p.detach().clone() for p in (model[1].weight, model[1].bias))
    mask, scores, returned = torch.ones_like(weight), torch.zeros_like(weight), 0
    for step in range(1, PLAN.epochs + 1):
        used = (weight * mask).requires_grad_()
        shift = bias.clone().requires_grad_()
        loss = nn.functional.cross_entropy(inputs.flatten(1) @ used.T + shift, targets)
        slope, slope_of_bias = torch.autograd.grad(loss, (used, shift))
        if step <= last:
            scores -= slope * weight
        weight, bias = weight - 0.5 * slope * mask, bias - 0.5 * slope_of_bias
        if step <= last and (step % interval == 0 or step == last):
            density = kept / 640 + (1 - kept / 640) * (1 - step / last) ** 3
            count = kept if step == last else round(density * 640)
            new = torch.zeros(640)
            new[scores.flatten().argsort(descending=True)[:count]] = 1.0
            returned += int(((new.view(10, 64) == 1) & (mask == 0)).sum())
            mask = new.view(10, 64)
    return weight * mask, bias, mask.bool(), returned


@pytest.mark.parametrize(("interval", "stop"), [(2, 0.75), (1, 1.0), (5, 0.5)])
def test_training_written_out(interval, stop):
    model = net()
    weight, bias, mask, returned = by_hand(model, 192, interval, int(stop * 24))
    assert returned > 0
    pruner = topo.pruning.sparse_training_callback(model, "movement", sparsity=0.7, interval=interval, stop=stop)
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner], device="cpu", progress=False)
    assert torch.equal(run.masks["1.weight"], mask)
    torch.testing.assert_close(model[1].weight.detach(), weight, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(model[1].bias.detach(), bias, rtol=1e-3, atol=1e-5)


def test_pruned_weights_are_zero_in_the_network_and_come_back_with_their_values():
    class Watch(Callback):
        """Called before the pruner: after a step it sees the masks before the update, on gradients those after it."""

        def __init__(self, weight):
            self.values, self.mask, self.returned = weight.detach().clone(), torch.ones_like(weight).bool(), 0

        def on_gradients(self, state):
            weight, mask = state.model[1].weight.detach(), state.masks["1.weight"]
            assert torch.equal(weight, self.values * mask)
            self.returned += int((mask & ~self.mask).sum())
            self.mask = mask.clone()

        def on_step_end(self, state):
            self.values = torch.where(self.mask, state.model[1].weight.detach(), self.values)

    model = net()
    watch = Watch(model[1].weight)
    pruner = topo.pruning.sparse_training_callback(model, "movement", sparsity=0.7, interval=1)
    annealed = Recipe(epochs=24, batch_size=64, weight_decay=0.01, schedule="cosine", augment=False)
    train(model, DATA, annealed, masks=pruner.masks, callbacks=[watch, pruner], device="cpu", progress=False)
    assert watch.returned > 0


def test_inputs_that_never_move_a_weight_do_not_break_the_count():
    model = net()
    with torch.no_grad():
        model[1].weight.zero_()
    masks = topo.prune(model, "movement", sparsity=0.7, data=DATA, recipe=PLAN, device="cpu")
    assert masks.counts()["kept"].sum() == 192
