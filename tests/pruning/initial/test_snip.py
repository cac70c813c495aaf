from __future__ import annotations

import copy

import torch
from torch import nn
from torch.func import functional_call

import topo.pruning
from topo.masks import prunable_parameters


def test_scores_are_finite_differences_in_the_mask(smooth, digits):
    scores = topo.pruning.score(smooth, "snip", data=digits)
    names = list(prunable_parameters(smooth))
    parameters = {name: p.detach() for name, p in smooth.named_parameters()}
    buffers = dict(copy.deepcopy(smooth).named_buffers())

    def loss(masks: dict[str, torch.Tensor]) -> float:
        masked = {name: parameters[name] * masks[name] if name in masks else p for name, p in parameters.items()}
        smooth.train()
        return float(
            nn.functional.cross_entropy(functional_call(smooth, masked | copy.deepcopy(buffers), digits[0]), digits[1])
        )

    step = 1e-6
    for name in names:
        for index in torch.cartesian_prod(*map(torch.arange, parameters[name].shape)).tolist():
            values = []
            for sign in (1, -1):
                masks = {n: torch.ones_like(parameters[n]) for n in names}
                masks[name][tuple(index)] += sign * step
                values.append(loss(masks))
            slope = abs(values[0] - values[1]) / (2 * step)
            torch.testing.assert_close(scores[name][tuple(index)].item(), slope, rtol=1e-5, atol=1e-8)


def test_a_shared_weight_has_the_sensitivity_of_all_its_uses(digits):
    torch.manual_seed(0)
    layer = nn.Linear(3, 3, bias=False).double()
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 3).double(), layer, nn.Tanh(), layer)
    scores = topo.pruning.score(net, "snip", data=digits)
    mask = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
    hidden = net[1](digits[0].flatten(1))
    outputs = torch.tanh(hidden @ (layer.weight * mask).T) @ (layer.weight * mask).T
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(outputs, digits[1]), mask)
    torch.testing.assert_close(scores["2.weight"], expected.abs())


def test_the_largest_scores_of_the_whole_network_are_kept(smooth, digits):
    scores = topo.pruning.score(smooth, "snip", data=digits)
    masks = topo.prune(smooth, "snip", sparsity=0.8, data=digits)
    kept = torch.cat([scores[name][mask] for name, mask in masks.items()])
    pruned = torch.cat([scores[name][~mask] for name, mask in masks.items()])
    assert kept.min() > pruned.max()


def test_dropout_is_off_and_running_statistics_are_not_used(digits):
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Dropout(0.9), nn.Flatten(), nn.Linear(8, 3)).double()
    other = copy.deepcopy(net)
    other[1].running_mean += 100.0
    other[1].running_var *= 100.0
    a, b = (topo.pruning.score(n, "snip", data=digits, seed=s) for s, n in enumerate((net, other)))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_iterative_snip_ends_at_the_same_count(smooth, digits):
    masks = topo.prune(smooth, "snip", sparsity=0.7, data=digits, rounds=5)
    assert masks.counts()["kept"].sum() == round(0.3 * masks.counts()["total"].sum())
