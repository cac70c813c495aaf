from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import topo.pruning
from topo.errors import InputError


def by_hand(net: nn.Module, data: tuple, sparsity: float, rounds: int, revive: bool) -> dict[str, np.ndarray]:
    """Both algorithms of the paper in numpy around autograd, with a full sort."""
    weights = {name: p for name, p in net.named_parameters() if p.ndim > 1}
    original = {name: p.detach().clone() for name, p in weights.items()}
    total = sum(p.numel() for p in weights.values())
    mask = np.ones(total, dtype=bool)
    net.train()
    for k in range(1, rounds + 1):
        gradients = torch.autograd.grad(nn.functional.cross_entropy(net(data[0]), data[1]), list(weights.values()))
        theta = original if revive else weights
        score = torch.cat([(t * g).abs().flatten() for t, g in zip(theta.values(), gradients)]).detach().numpy().copy()
        if not revive:
            score[~mask] = -np.inf
        density = (round((1 - sparsity) * total) / total) ** (k / rounds)
        mask = np.zeros(total, dtype=bool)
        mask[np.argsort(-score, kind="stable")[: round(density * total)]] = True
        parts = np.split(mask, np.cumsum([p.numel() for p in weights.values()])[:-1])
        with torch.no_grad():
            for (name, p), part in zip(weights.items(), parts):
                p.copy_(original[name] * torch.from_numpy(part).view(p.shape))
    return dict(zip(weights, parts))


@pytest.mark.parametrize(("name", "revive"), [("force", True), ("iterative-snip", False)])
@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_against_the_algorithm_written_out(smooth, digits, name, revive, rounds):
    masks = topo.prune(smooth, name, sparsity=0.8, data=digits, rounds=rounds)
    expected = by_hand(smooth, digits, 0.8, rounds, revive)
    for key, mask in masks.items():
        assert np.array_equal(mask.numpy().ravel(), expected[key])


@pytest.mark.parametrize("name", ["force", "iterative-snip"])
def test_one_round_is_snip(smooth, digits, name):
    assert topo.prune(smooth, name, sparsity=0.6, data=digits, rounds=1) == topo.prune(
        smooth, "snip", sparsity=0.6, data=digits
    )


def linear(values: list[float]) -> nn.Module:
    net = nn.Linear(len(values), 2, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([values, [0.0] * len(values)]))
    return net


def test_a_removed_weight_comes_back_with_force_only():
    # Two samples of opposite classes, so that the gradients change order once other weights are gone.
    inputs = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    targets = torch.tensor([0, 1])
    came_back = False
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        net = linear((3 * torch.randn(3, generator=generator)).tolist())
        history = [
            topo.prune(net, "force", sparsity=1 - kept / 6, data=(inputs, targets), rounds=1)["weight"]
            for kept in (2, 1)
        ]
        assert not (history[1] & ~history[0]).any()
        # Two rounds: 6 -> sqrt(6) ~ 2 weights -> 1 weight.
        last = topo.prune(net, "force", sparsity=1 - 1 / 6, data=(inputs, targets), rounds=2)["weight"]
        stays = topo.prune(net, "iterative-snip", sparsity=1 - 1 / 6, data=(inputs, targets), rounds=2)["weight"]
        assert not (stays & ~history[0]).any()
        came_back |= bool((last & ~history[0]).any())
    assert came_back


@pytest.mark.slow
@pytest.mark.parametrize("name", ["force", "iterative-snip"])
def test_counts_seeds_and_defaults(awkward, images, name):
    masks = [topo.prune(awkward, name, sparsity=0.9, data=images, batch_size=6, seed=s) for s in (0, 0, 1)]
    assert masks[0] == masks[1]
    assert masks[0].counts()["kept"].sum() == round(0.1 * masks[0].counts()["total"].sum())
    assert masks[0].settings == {"batch_size": 6, "allocation": "global", "rounds": 60}


@pytest.mark.parametrize("name", ["force", "iterative-snip"])
def test_allocations(awkward, images, name):
    masks = topo.prune(awkward, name, sparsity=0.75, data=images, rounds=4, allocation="1:4")
    assert masks.counts()["kept"].sum() == round(0.25 * masks.counts()["total"].sum())
    assert (masks["head.weight"].sum(1) == 1).all()


@pytest.mark.parametrize("name", ["force", "iterative-snip"])
def test_a_dead_layer_is_pruned_first_and_a_dead_network_refused(name):
    torch.manual_seed(0)

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.dead, self.live, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            nn.init.constant_(self.dead.bias, -100.0)

        def forward(self, x):
            return self.head(torch.relu(self.dead(x)) + torch.tanh(self.live(x)))

    data = (torch.rand(8, 4), torch.arange(8) % 2)
    masks = topo.prune(Branches(), name, sparsity=0.6, data=data, rounds=3)
    assert masks.empty_layers() == ["dead.weight"]
    dead = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    nn.init.constant_(dead[0].bias, -100.0)
    with pytest.raises(InputError, match="scores every weight zero"):
        topo.prune(dead, name, sparsity=0.5, data=data)


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"batch_size": 0}, {"allocation": "best"}])
@pytest.mark.parametrize("name", ["force", "iterative-snip"])
def test_settings_are_checked(smooth, digits, name, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        topo.prune(smooth, name, sparsity=0.5, data=digits, **settings)
