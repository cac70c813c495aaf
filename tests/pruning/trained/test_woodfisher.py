from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import topo
from topo.errors import InputError
from topo.pruning.samples import Samples
from topo.pruning.task import Task
from topo.pruning.trained.woodfisher import fisher_blocks


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A small network in float64 and data that it fits in part."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)).double()
        data = torch.randn(24, 4, dtype=torch.float64), torch.arange(24) % 3
        optimizer = torch.optim.Adam(net.parameters(), 0.05)
        for _ in range(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data[0]), data[1]).backward()
            optimizer.step()
    return net, data


def fisher(net: nn.Module, data: tuple[torch.Tensor, torch.Tensor], name: str, damping: float) -> torch.Tensor:
    """The damped empirical Fisher of one weight, all of it, sample by sample."""
    weight = dict(net.named_parameters())[name]
    total = torch.zeros(weight.numel(), weight.numel(), dtype=torch.float64)
    for x, y in zip(*data, strict=True):
        loss = nn.functional.cross_entropy(net(x[None]), y[None])
        (g,) = torch.autograd.grad(loss, [weight])
        total += g.flatten().outer(g.flatten()) / len(data[0])
    return total + damping * torch.eye(weight.numel(), dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 6, 100])
def test_it_removes_what_the_inverse_fisher_says_and_the_others_make_up_for_it(trained, block):
    net, data = trained
    damping = 1e-3
    masks = topo.prune(
        net, "woodfisher", sparsity=0.5, data=data, block=block, damping=damping, samples=24, include="0.*"
    )
    weight = net[0].weight.detach().flatten()
    full = fisher(net, data, "0.weight", damping)
    inside = torch.arange(20)[:, None] // block == torch.arange(20)[None] // block
    blocks = torch.where(inside, full, 0.0)
    rises = weight.square() / (2 * torch.linalg.inv(blocks).diagonal())
    kept = torch.zeros(20, dtype=torch.bool)
    kept[rises.argsort(descending=True)[:10]] = True
    assert torch.equal(masks["0.weight"].flatten(), kept)
    # Minimum of (v - w)^T F (v - w) over the kept ones, by the normal equations of the whole matrix.
    best = torch.zeros(20, dtype=torch.float64)
    best[kept] = torch.linalg.solve(blocks[kept][:, kept], (blocks @ weight)[kept])
    torch.testing.assert_close(masks.state["0.weight"].flatten(), best)


def test_blocks_are_what_the_recursion_of_the_paper_inverts(trained):
    """F^-1 starts at 1 / damping, and every sample takes (F^-1 g)(F^-1 g)^T / (N + g^T F^-1 g) off."""
    net, (inputs, targets) = trained
    generator, cpu = torch.Generator(), torch.device("cpu")
    task = Task(net, {"0.weight": net[0].weight}, 0, Samples((inputs, targets), generator), generator, cpu)
    blocks = fisher_blocks(task, 10, 1e-3, 24)["0.weight"]
    inverse = torch.eye(10, dtype=torch.float64).repeat(2, 1, 1) / 1e-3
    for x, y in zip(inputs, targets, strict=True):
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(net(x[None]), y[None]), [net[0].weight])
        for k, part in enumerate(g.flatten().split(10)):
            moved = inverse[k] @ part
            inverse[k] -= moved.outer(moved) / (len(inputs) + part @ moved)
    torch.testing.assert_close(torch.linalg.inv(blocks), inverse)


def test_with_a_round_for_every_weight_it_removes_the_cheapest_one_after_the_other(trained):
    net, data = trained
    masks = topo.prune(
        net, "woodfisher", sparsity=0.45, data=data, block=20, damping=1e-3, samples=24, include="0.*", rounds=200
    )
    full, weight = fisher(net, data, "0.weight", 1e-3), net[0].weight.detach().flatten().clone()
    kept = torch.ones(20, dtype=torch.bool)
    for _ in range(9):
        left = kept.nonzero()[:, 0]
        inverse = torch.linalg.inv(full[left][:, left])
        q = int((weight[left].square() / inverse.diagonal()).argmin())
        weight[left] -= weight[left][q] / inverse[q, q] * inverse[:, q]
        kept[left[q]] = False
        weight[~kept] = 0
    assert torch.equal(masks["0.weight"].flatten(), kept)
    torch.testing.assert_close(masks.state["0.weight"].flatten(), weight)


def test_compensation_keeps_the_loss_lower_than_the_same_masks_without_it(trained):
    net, data = trained
    masks = topo.prune(net, "woodfisher", sparsity=0.5, data=data, block=50, damping=1e-4, samples=24, rounds=8)
    adjusted, plain = copy.deepcopy(net), copy.deepcopy(net)
    masks.install(adjusted)
    masks.apply(plain)
    losses = [nn.functional.cross_entropy(n(data[0]), data[1]).item() for n in (adjusted, plain)]
    assert losses[0] < losses[1]


@pytest.mark.parametrize(
    "settings", [{"block": 0}, {"rounds": 0}, {"damping": 0}, {"allocation": "row"}, {"samples": 0}],
    ids=lambda s: next(iter(s)),
)  # fmt: skip
def test_settings_out_of_range_are_refused(trained, settings):
    net, data = trained
    with pytest.raises(InputError, match=next(iter(settings))):
        topo.prune(net, "woodfisher", sparsity=0.5, data=data, **settings)
