from __future__ import annotations

import pytest
import torch
from torch import nn

import topo
from tests.pruning.full_batch import DATA, net, plan
from topo.training import Callback, train

PLAN = plan(12, momentum=0.9, weight_decay=0.01)


def top(weight: torch.Tensor, count: int) -> torch.Tensor:
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[weight.abs().flatten().argsort(descending=True)[:count]] = True
    return mask.view(weight.shape)


def by_hand(model: nn.Module, used: int, trained: int, penalty: float, interval: int, last: int):
    """Full-batch training with momentum and weight decay of dense weights behind sparse ones."""
    inputs, targets = next(iter(DATA.batches("train", 64)))
    weight, bias = (p.detach().clone() for p in (model[1].weight, model[1].bias))
    memory, memory_of_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    forward, backward = top(weight, used), top(weight, trained)
    swapped = 0
    for step in range(1, PLAN.epochs + 1):
        shown, shift = (weight * forward).requires_grad_(), bias.clone().requires_grad_()
        loss = nn.functional.cross_entropy(inputs.flatten(1) @ shown.T + shift, targets)
        slope, slope_of_bias = torch.autograd.grad(loss, (shown, shift))
        if step <= last:
            slope = slope + penalty * weight * torch.where(forward, 1.0, 640 / used)
        memory = (0.9 * memory + slope + 0.01 * weight) * backward
        memory_of_bias = 0.9 * memory_of_bias + slope_of_bias + 0.01 * bias
        weight, bias = torch.where(backward, weight - 0.5 * memory, weight), bias - 0.5 * memory_of_bias
        if step == last or (step < last and step % interval == 0):
            swapped += int((top(weight, used) & ~forward).sum())
            forward, backward = top(weight, used), top(weight, trained)
        if step == last:
            weight, backward = weight * forward, forward
    return weight * forward, bias, forward, swapped


@pytest.mark.parametrize(
    ("settings", "trained", "interval", "last"),
    [
        ({}, 256, 1, 12),
        ({"backward": 1.0, "penalty": 0.0}, 128, 1, 12),
        ({"backward": 3.0, "interval": 4, "penalty": 0.05}, 384, 4, 12),
        ({"backward": 99.0, "stop": 0.5}, 640, 1, 6),
    ],
    ids=str,
)
def test_training_written_out(settings, trained, interval, last):
    model = net()
    expected = by_hand(model, 128, trained, settings.get("penalty", 1e-4), interval, last)
    weight, bias, forward, swapped = expected
    assert swapped > 0
    pruner = topo.pruning.sparse_training_callback(model, "top-kast", sparsity=0.8, **settings)
    run = train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner], device="cpu", progress=False)
    assert torch.equal(run.masks["1.weight"], forward)
    torch.testing.assert_close(model[1].weight.detach(), weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model[1].bias.detach(), bias, rtol=1e-4, atol=1e-5)


def test_the_network_is_sparse_at_every_step_and_the_rest_waits_unchanged():
    class Watch(Callback):
        def on_step_end(self, state):
            counts.append([int((w != 0).sum()) for w in pruner.weights(state).values()])
            same.append(torch.equal(pruner.dense["1.weight"][~top(before, 150)], before[~top(before, 150)]))

    model, counts, same = net(), [], []
    before = model[1].weight.detach().clone()
    pruner = topo.pruning.sparse_training_callback(model, "top-kast", sparsity=0.9, backward=150 / 64, interval=100)
    train(model, DATA, PLAN, masks=pruner.masks, callbacks=[pruner, Watch()], device="cpu", progress=False)
    assert counts == [[64]] * PLAN.epochs and all(same)


def test_layers_have_their_shares(few):
    net = topo.models.build("digits-mlp", input_shape=(1, 8, 8))
    plan = topo.training.recipe("digits", epochs=1)
    for initial in ("uniform", "er", "erk"):
        masks = topo.prune(net, "top-kast", sparsity=0.9, data=few, recipe=plan, device="cpu", initial=initial)
        static = topo.prune(net, initial, sparsity=0.9)
        assert masks.counts()["kept"].tolist() == static.counts()["kept"].tolist()
