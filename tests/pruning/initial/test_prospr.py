from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.func import functional_call

import topo.pruning
from topo.errors import InputError
from topo.masks import prunable_parameters

LR, MOMENTUM = 0.3, 0.9


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    return [
        (torch.randn(9, 1, 3, 3, generator=generator, dtype=torch.float64), torch.arange(9) % 3) for _ in range(count)
    ]


class InTurn:
    """Batches in their order, as often as wanted, as a loader of one's own gives them: those of a list are drawn."""

    def __init__(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return iter(self.batches)


def trained_loss(net: nn.Module, masks: dict[str, torch.Tensor], data: list, lr: float, momentum: float) -> float:
    """Loss on the last batch after torch's own SGD on the others, from the masked weights."""
    net = copy.deepcopy(net).train()
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.mul_(masks.get(name, torch.ones_like(p)))
    optimiser = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)
    for inputs, targets in data[:-1]:
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(inputs), targets).backward()
        optimiser.step()
    inputs, targets = data[-1]
    return nn.functional.cross_entropy(net(inputs), targets).item()


@pytest.mark.parametrize("momentum", [0.0, MOMENTUM])
def test_scores_are_finite_differences_through_training(smooth, momentum):
    data = batches(4)
    scores = topo.pruning.score(smooth, "prospr", data=InTurn(data), steps=3, lr=LR, momentum=momentum)
    weights = prunable_parameters(smooth)
    step = 1e-5
    for name, weight in weights.items():
        for index in torch.cartesian_prod(*map(torch.arange, weight.shape)).tolist():
            values = []
            for sign in (1, -1):
                masks = {n: torch.ones_like(w.detach()) for n, w in weights.items()}
                masks[name][tuple(index)] += sign * step
                values.append(trained_loss(smooth, masks, data, LR, momentum))
            slope = abs(values[0] - values[1]) / (2 * step)
            torch.testing.assert_close(scores[name][tuple(index)].item(), slope, rtol=1e-4, atol=1e-8)


def test_without_steps_it_is_snip(smooth, digits):
    a, b = (topo.pruning.score(smooth, name, data=digits, **s) for name, s in (("prospr", {"steps": 0}), ("snip", {})))
    for name in b:
        torch.testing.assert_close(a[name], b[name])


def test_one_step_by_the_hessian():
    """For L(theta) = 1/2 theta^T A theta, theta_1 = (1 - lr A) m theta_0 and dL/dm = theta_0 * (1 - lr A) A theta_1."""
    torch.manual_seed(0)
    net = nn.Linear(3, 2, bias=False).double()
    inputs, targets = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    scores = topo.pruning.score(net, "prospr", data=(inputs, targets), steps=1, lr=LR)["weight"]

    def loss(w: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(net, {"weight": w.view(2, 3)}, inputs), targets)

    start = net.weight.detach().flatten()
    gradient, hessian = torch.func.grad(loss)(start), torch.func.hessian(loss)(start)
    end = start - LR * gradient
    expected = start * ((torch.eye(6) - LR * hessian) @ torch.func.grad(loss)(end))
    torch.testing.assert_close(scores.flatten(), expected.abs())


def test_it_takes_the_batches_in_turn_and_again_from_the_first(smooth):
    data = batches(2)
    once = topo.pruning.score(smooth, "prospr", data=InTurn(data), steps=3, lr=LR)
    repeated = topo.pruning.score(smooth, "prospr", data=InTurn([*data, *data]), steps=3, lr=LR)
    one = topo.pruning.score(smooth, "prospr", data=InTurn(data[:1]), steps=3, lr=LR)
    for name in once:
        assert torch.equal(once[name], repeated[name])
        assert not torch.allclose(once[name], one[name])


def test_counts_and_seeds(awkward, images):
    pairs = [topo.prune(awkward, "prospr", sparsity=0.77, data=images, batch_size=6, seed=s) for s in (0, 0, 1)]
    assert pairs[0] == pairs[1] != pairs[2]
    total = pairs[0].counts()["total"].sum()
    assert pairs[0].counts()["kept"].sum() == round(0.23 * total)


def test_a_layer_that_nothing_reaches_scores_zero():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        net[1].bias.fill_(-100.0)  # all units of the first layer are dead; its weights get no gradient
        net[3].bias.copy_(torch.tensor([1.0, -1.0]))
    data = (torch.rand(6, 4), torch.arange(6) % 2)
    with pytest.raises(InputError, match="scores every weight zero"):
        topo.prune(net, "prospr", sparsity=0.5, data=data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps must be"),
        ({"steps": 1.5}, "steps must be"),
        ({"lr": -0.1}, "lr must be"),
        ({"lr": float("nan")}, "lr must be"),
        ({"momentum": "high"}, "momentum must be"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_settings_are_checked(smooth, digits, settings, message):
    with pytest.raises(InputError, match=message):
        topo.prune(smooth, "prospr", sparsity=0.5, data=digits, **settings)


def test_data_are_needed(smooth):
    with pytest.raises(InputError, match="needs data"):
        topo.prune(smooth, "prospr", sparsity=0.5)
