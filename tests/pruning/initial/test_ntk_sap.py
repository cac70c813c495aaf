from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import topo.pruning
from topo.errors import InputError
from topo.pruning.initial import ntk_sap
from topo.training import recipe

SHAPE = (1, 3, 3)


@pytest.fixture
def drawn(monkeypatch) -> list:
    """What the pruner has drawn, in order."""
    draws, draw = [], ntk_sap._drawn

    def noted(*arguments):
        draws.append(draw(*arguments))
        return draws[-1]

    monkeypatch.setattr(ntk_sap, "_drawn", noted)
    return draws


def output(net: nn.Module, weights: dict, inputs: torch.Tensor, statistics: list | None) -> tuple:
    """The network `smooth` written out, and the mean and variance that its norm takes where none are given."""
    x = F.conv2d(inputs, weights["0.weight"], net[0].bias)
    mean, variance = statistics or (x.mean((0, 2, 3)), x.var((0, 2, 3)))
    scale = net[1].weight / (variance + net[1].eps).sqrt()
    x = (x - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + net[1].bias.view(1, -1, 1, 1)
    x = torch.tanh(torch.tanh(x).flatten(1) @ weights["4.weight"].T + net[4].bias)
    return x @ weights["6.weight"].T + net[6].bias, (mean, variance)


def by_hand(net: nn.Module, draws: list, masks: dict, perturbation: float) -> dict[str, torch.Tensor]:
    """The scores of one round with these masks, biases and norms of the model."""
    masks = {name: mask.double().requires_grad_() for name, mask in masks.items()}
    total = 0
    for (inputs,), theta, delta in draws:
        with torch.no_grad():
            _, statistics = output(net, {name: theta[name] * masks[name] for name in masks}, inputs, None)
        moved = {name: (theta[name] + perturbation * delta[name]) * masks[name] for name in masks}
        here, _ = output(net, {name: theta[name] * masks[name] for name in masks}, inputs, statistics)
        total = total + (here - output(net, moved, inputs, statistics)[0]).pow(2).sum()
    return dict(zip(masks, map(torch.abs, torch.autograd.grad(total, list(masks.values())))))


def test_scores_are_those_written_out(smooth, drawn):
    with torch.no_grad():
        smooth[1].weight.uniform_(0.5, 2)
        smooth[1].bias.normal_()
    scores = topo.pruning.score(smooth, "ntk-sap", example=SHAPE, draws=3, batch_size=6, perturbation=0.2)
    assert len(drawn) == 3 and drawn[0][0][0].shape == (6, *SHAPE)
    expected = by_hand(smooth, drawn, {name: torch.ones(score.shape) for name, score in scores.items()}, 0.2)
    for name, score in scores.items():
        torch.testing.assert_close(score, expected[name], rtol=1e-9, atol=1e-12)


def test_rounds_are_those_written_out(smooth, drawn):
    masks = topo.prune(smooth, "ntk-sap", sparsity=0.75, example=SHAPE, rounds=4, draws=2, batch_size=5)
    total = masks.counts()["total"].sum()
    kept = {name: torch.ones(mask.shape) for name, mask in masks.items()}
    for k in range(4):
        scores = by_hand(smooth, drawn[2 * k : 2 * k + 2], kept, 0.01)
        flat = torch.cat([scores[name].where(kept[name] > 0, torch.tensor(-1.0)).flatten() for name in kept]).numpy()
        mask = np.zeros(total, dtype=bool)
        mask[np.argsort(-flat, kind="stable")[: round((round(0.25 * total) / total) ** ((k + 1) / 4) * total)]] = True
        parts = torch.from_numpy(mask).split([m.numel() for m in kept.values()])
        kept = {name: part.view(kept[name].shape).double() for name, part in zip(kept, parts)}
    for name, mask in masks.items():
        assert torch.equal(mask, kept[name].bool())


def test_weights_are_of_the_variance_of_he_and_new_in_each_draw(drawn):
    net = nn.Sequential(nn.Conv2d(4, 50, 3), nn.Flatten(), nn.Linear(200, 90))
    topo.pruning.score(net, "ntk-sap", example=(4, 4, 4), draws=2)
    for _, theta, _ in drawn:
        assert theta["0.weight"].var() * 36 == pytest.approx(2, rel=0.1)
        assert theta["2.weight"].var() * 200 == pytest.approx(2, rel=0.1)
    assert not torch.equal(drawn[0][1]["0.weight"], drawn[1][1]["0.weight"])
    assert drawn[0][2]["0.weight"].std() == pytest.approx(1, rel=0.1)


def test_of_a_linear_layer_weights_play_no_part(drawn):
    """||delta x||^2 grows with m_ij by 2 sigma^2 delta_ij x_j (delta x)_i, whose mean is 2 sigma^2 x_j^2."""
    scores = topo.pruning.score(nn.Linear(3, 2), "ntk-sap", example=(3,), draws=1, batch_size=4, perturbation=0.5)
    (inputs,), _, delta = drawn[0]
    matrix = delta["weight"]
    torch.testing.assert_close(scores["weight"], (0.5 * matrix * (matrix @ inputs.T @ inputs)).abs())


def test_neither_weights_nor_data_decide(smooth, digits):
    first = topo.prune(smooth, "ntk-sap", sparsity=0.6, example=SHAPE, rounds=3)
    other = copy.deepcopy(smooth)
    with torch.no_grad():
        for layer in (other[0], other[4], other[6]):
            layer.weight.normal_()
    for net in (smooth, other):
        assert topo.prune(net, "ntk-sap", sparsity=0.6, data=digits, rounds=3) == first
    assert topo.prune(smooth, "ntk-sap", sparsity=0.6, example=SHAPE, rounds=3, seed=1) != first


def test_the_model_stays_and_counts_are_exact(awkward, images):
    before = copy.deepcopy(awkward.state_dict())
    settings = {"rounds": 2, "draws": 1, "batch_size": 4}
    masks = topo.prune(awkward.train(), "ntk-sap", sparsity=0.77, data=images, **settings)
    assert all(torch.equal(value, before[name]) for name, value in awkward.state_dict().items())
    assert awkward.norm.momentum == 0.1 and awkward.norm.training
    assert masks.counts()["kept"].sum() == round(0.23 * masks.counts()["total"].sum())
    assert topo.prune(awkward.eval(), "ntk-sap", sparsity=0.77, data=images, **settings) == masks


def test_rows_under_a_weight_norm_may_go_whole():
    torch.manual_seed(0)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
    net = nn.Sequential(normed, nn.ReLU(), nn.Linear(8, 3))
    masks = topo.prune(net, "ntk-sap", sparsity=0.9, example=(6,), rounds=5)
    assert (~masks["0.weight"].any(1)).any() and masks.counts()["kept"].sum() == round(0.1 * 72)


def test_tokens_are_those_of_the_data_or_the_example(drawn):
    text = topo.datasets.load("text", context=6, train=30, test=4)
    net = topo.models.build("gpt", input_shape=text.input_shape, n_classes=text.n_classes, width=8, heads=2, layers=1)
    topo.pruning.score(net, "ntk-sap", data=text, draws=1, batch_size=5)
    topo.pruning.score(net, "ntk-sap", example=text.train.inputs[:1], draws=1, batch_size=5)
    (of_data, *_), (of_example, *_) = (pair[0] if isinstance(pair[0], tuple) else pair for pair in drawn)
    rows = {tuple(row) for row in text.train.inputs.tolist()}
    assert {tuple(row) for row in of_data.tolist()} <= rows and len(of_data.unique(dim=0)) > 1
    assert torch.equal(of_example, text.train.inputs[:1].expand(5, -1))


def test_it_is_a_pruner_of_studies_that_train_afterwards(digits, smooth):
    masks = topo.prune(smooth, "ntk-sap", sparsity=0.5, data=digits, rounds=2, draws=1)
    assert masks.settings["draws"] == 1 and masks.settings["perturbation"] == 0.01
    run = topo.training.train(smooth, digits, recipe("digits", epochs=1, augment=False), masks=masks, device="cpu")
    assert run.status == "finished"


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"batch_size": 0}, {"draws": 0}, {"perturbation": 0.0}])
def test_settings_are_checked(smooth, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        topo.prune(smooth, "ntk-sap", sparsity=0.5, example=SHAPE, **settings)


class Written(nn.Module):
    """A transposed convolution of stride 1 as a convolution, by the mirrored kernel of the same parameter."""

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight, self.bias, self.groups = layer.weight, layer.bias, layer.groups

    def forward(self, x):
        kernel = self.weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1).flip(-1, -2)
        return F.conv2d(x, kernel, self.bias, padding=self.weight.shape[-1] - 1, groups=self.groups)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_the_convolution_that_computes_the_same(groups, drawn):
    layer = nn.ConvTranspose2d(6, 40, 2, groups=groups)
    head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 3))
    nets = nn.Sequential(layer, *head), nn.Sequential(Written(layer), *head)
    x = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(nets[0](x), nets[1](x))
    own, written = (topo.pruning.score(net, "ntk-sap", example=(6, 3, 3), draws=2) for net in nets)
    for name, score in own.items():
        torch.testing.assert_close(score, written[name], rtol=1e-9, atol=1e-12)
    assert drawn[0][1]["0.weight"].var() * (6 // groups * 4) == pytest.approx(2, rel=0.15)
