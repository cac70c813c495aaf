from __future__ import annotations

import copy
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import topo.pruning
from topo.errors import InputError


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1]).double()


def data(width: int, classes: int, n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, width, generator=generator, dtype=torch.float64), torch.arange(n) % classes


def test_it_is_the_sum_over_paths_written_out():
    """R = sum over samples and outputs of (open paths, last weight) x (squared weights, last weight)."""
    net, (inputs, targets) = mlp(3, 4, 3, 2), data(3, 2)
    with torch.no_grad():
        net[2].weight[1] = 0  # pruned before, so that these paths are none
    first, second, third = (net[i].weight.detach() for i in (0, 2, 4))
    hidden = F.relu(net[0](inputs))
    is_open = (net[0](inputs) > 0).double(), (net[2](hidden) > 0).double()
    scores = {i: torch.zeros_like(net[i].weight) for i in (0, 2, 4)}
    paths = list(product(range(3), range(4), range(3), range(2)))
    reached = torch.zeros(2, dtype=torch.float64)
    for i, a, b, k in paths:
        passed = inputs[:, i].square() * is_open[0][:, a] * is_open[1][:, b]
        reached[k] += float(passed.sum()) * (second[b, a] != 0) * third[k, b]
    for i, a, b, k in paths:
        of_path = reached[k] * first[a, i] ** 2 * second[b, a] ** 2 * third[k, b]
        scores[0][a, i] += of_path.item()
        scores[2][b, a] += of_path.item()
        scores[4][k, b] += of_path.item() * third[k, b].item()  # by the weight itself, and not by its square
    found = topo.pruning.score(net, "px", data=(inputs, targets))
    for i, expected in scores.items():
        torch.testing.assert_close(found[f"{i}.weight"], expected.abs(), rtol=1e-9, atol=1e-12)


def by_autograd(net: nn.Sequential, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """A convolution, a norm, an activation and two more layers, written out with the slopes of the activation."""
    first, norm, activation, _, second, _, third = net
    x = F.conv2d(inputs, first.weight, first.bias)
    x = F.batch_norm(x, None, None, norm.weight, norm.bias, training=True)
    bends = [torch.func.vmap(torch.func.grad(activation))(x.detach().flatten()).view(x.shape).square()]
    x = F.linear(activation(x).flatten(1), second.weight, second.bias)
    bends.append(torch.func.vmap(torch.func.grad(activation))(x.detach().flatten()).view(x.shape).square())
    g = F.conv2d(inputs.square(), torch.ones_like(first.weight)) * bends[0]
    g = F.linear(F.linear(g.flatten(1), torch.ones_like(second.weight)) * bends[1], third.weight)
    squares = [first.weight.detach().square(), second.weight.detach().square(), third.weight.detach().clone()]
    for square in squares:
        square.requires_grad_()
    scale = (norm.weight.square() / (norm.running_var + norm.eps)).view(1, -1, 1, 1)
    h = F.conv2d(torch.ones_like(inputs[:1]), squares[0]) * scale
    h = F.linear(F.linear(h.flatten(1), squares[1]), squares[2])
    gradients = torch.autograd.grad((g.detach() * h).sum(), squares)
    return {
        f"{i}.weight": net[i].weight.detach().square() * gradient.abs() for i, gradient in zip((0, 4, 6), gradients)
    }


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.GELU])
def test_norms_scale_and_activations_let_through_their_slope(smooth, digits, activation):
    net = nn.Sequential(*(activation() if isinstance(layer, nn.Tanh) else layer for layer in smooth))
    with torch.no_grad():
        net[1].weight.uniform_(-2, 2)
        net[1].bias.normal_()
        net[1].running_var.uniform_(0.3, 3)
    expected = by_autograd(net, digits[0])
    for name, score in topo.pruning.score(net, "px", data=digits).items():
        torch.testing.assert_close(score, expected[name], rtol=1e-9, atol=1e-12)


class InPlace(nn.Module):
    """Activations in place, whose results nobody takes, and a recurrent layer."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.steps, self.head = nn.Linear(4, 5), nn.GRU(5, 6, batch_first=True), nn.Linear(6, 3)
        self.in_place = in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        if not self.in_place:
            return self.head(torch.sigmoid(self.steps(x.clamp(min=0))[0].mean(1)))
        x.relu_()
        x = self.steps(x)[0].mean(1)
        torch.sigmoid_(x)
        return self.head(x)


def test_activations_in_place_and_in_recurrent_layers():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(6, 2, 4, generator=generator), torch.arange(6) % 3
    first, second = (topo.pruning.score(InPlace(in_place), "px", data=samples) for in_place in (False, True))
    for name, score in first.items():
        torch.testing.assert_close(score, second[name], rtol=1e-12, atol=0)
        assert score.any()


def test_rounds_score_what_the_round_before_left():
    net, (inputs, targets) = mlp(4, 6, 5, 3), data(4, 3)
    masks = topo.prune(net, "px", sparsity=0.8, data=(inputs, targets), rounds=3)
    total, pruned = 4 * 6 + 6 * 5 + 5 * 3, copy.deepcopy(net)
    kept = np.ones(total, dtype=bool)
    for k in (1, 2, 3):
        scores = topo.pruning.score(pruned, "px", data=(inputs, targets))
        flat = torch.cat([score.flatten() for score in scores.values()]).numpy()
        flat[~kept] = -1
        kept = np.zeros(total, dtype=bool)
        kept[np.argsort(-flat, kind="stable")[: round((round(0.2 * total) / total) ** (k / 3) * total)]] = True
        with torch.no_grad():
            for layer, part in zip((0, 2, 4), torch.from_numpy(kept).split([24, 30, 15])):
                pruned[layer].weight.mul_(part.view_as(pruned[layer].weight))
    assert torch.equal(torch.cat([mask.flatten() for mask in masks.values()]), torch.from_numpy(kept))


def test_what_data_never_reach_is_left_out():
    """A unit that is off on all samples opens no path: with all outputs reading it alike, those reading others win."""
    net, (inputs, targets) = mlp(3, 2, 2), data(3, 2)
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([50.0, -50.0]))
        net[2].weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    scores = topo.pruning.score(net, "px", data=(inputs, targets))
    assert (scores["0.weight"][0] > 0).all() and (scores["0.weight"][1] == 0).all()
    assert scores["2.weight"][0, 0] > 0 and scores["2.weight"][1, 1] == 0


def test_the_model_stays_and_counts_are_exact(awkward, images):
    before = copy.deepcopy(awkward.state_dict())
    settings = {"rounds": 2, "batch_size": 6}
    masks = topo.prune(awkward.train(), "px", sparsity=0.77, data=images, **settings)
    assert all(torch.equal(value, before[name]) for name, value in awkward.state_dict().items())
    assert awkward.norm.momentum == 0.1 and awkward.norm.training
    assert masks.counts()["kept"].sum() == round(0.23 * masks.counts()["total"].sum())
    assert topo.prune(awkward.eval(), "px", sparsity=0.77, data=images, **settings) == masks
    assert masks.settings == {"batch_size": 6, "allocation": "global", "rounds": 2}


def test_a_dead_network_is_refused():
    net, samples = mlp(3, 4, 2), data(3, 2)
    nn.init.constant_(net[0].bias, -100.0)
    with pytest.raises(InputError, match="scores every weight zero"):
        topo.prune(net, "px", sparsity=0.5, data=samples)


def test_data_are_needed_and_settings_checked(smooth, digits):
    with pytest.raises(InputError, match="needs data"):
        topo.prune(smooth, "px", sparsity=0.5)
    for settings in ({"rounds": 0}, {"batch_size": 0}):
        with pytest.raises(InputError, match=next(iter(settings))):
            topo.prune(smooth, "px", sparsity=0.5, data=digits, **settings)
