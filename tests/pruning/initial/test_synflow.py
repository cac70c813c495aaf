from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import topo.pruning


def mlp(widths: list[int], bias: bool = True, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b, bias=bias), nn.ReLU())]
        return nn.Sequential(*layers[:-1])


def flow(net: nn.Sequential) -> torch.Tensor:
    """Sum over all paths of the product of absolute weights, by matrix products."""
    product = torch.ones(net[0].in_features, dtype=torch.float64)
    for layer in net:
        if isinstance(layer, nn.Linear):
            product = layer.weight.detach().double().abs() @ product
    return product.sum()


@given(widths=st.lists(st.integers(1, 7), min_size=2, max_size=6), seed=st.integers(0, 99), bias=st.booleans())
def test_conservation(widths, seed, bias):
    net = mlp(widths, bias, seed)
    scores = list(topo.pruning.score(net, "synflow", example=widths[:1]).values())
    for score in scores:
        torch.testing.assert_close(score.sum(), flow(net), rtol=1e-10, atol=0)
    for incoming, outgoing in pairwise(scores):
        torch.testing.assert_close(incoming.sum(1), outgoing.sum(0), rtol=1e-10, atol=0)


def test_conservation_with_batch_norm_convolution_and_pooling():
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 2, groups=2), nn.GroupNorm(3, 6), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        *(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3), nn.LogSoftmax(1)),
    )
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
        net[1].weight.normal_()
        net[1].bias.normal_()
    scores = topo.pruning.score(net, "synflow", example=(2, 8, 8))
    sums = torch.stack([score.sum() for score in scores.values()])
    torch.testing.assert_close(sums, sums[:1].expand(4), rtol=1e-10, atol=0)
    # Through a channel of a batch-normed layer as much flows in as out.
    into = scores["0.weight"].sum((1, 2, 3))
    out = scores["4.weight"].view(2, 3, 2, 2, 2).sum((1, 3, 4)).flatten()
    torch.testing.assert_close(into, out, rtol=1e-10, atol=0)


def test_residual_branches_share_the_flow(awkward):
    """Attention beside a skip: all flow passes the layers in series, part of it passes the branch."""
    scores = topo.pruning.score(awkward, "synflow", example=(2, 4, 4))
    sums = {name: float(score.sum()) for name, score in scores.items()}
    total = sums["conv.weight"]
    for name in ("grouped.weight", "up.weight", "head.weight"):
        assert sums[name] == pytest.approx(total)
    assert sums["shared.weight"] == pytest.approx(2 * total)
    assert sums["attention.in_proj_weight"] == pytest.approx(sums["attention.out_proj.weight"])
    assert 0 < sums["attention.in_proj_weight"] < total


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_never_empties_a_layer_down_to_one_weight_each(seed):
    widths = [8, 20, 20, 20, 20, 4]
    net = mlp(widths, seed=seed)
    with torch.no_grad():  # one layer of small weights, which magnitude empties first
        net[4].weight.mul_(0.1)
    total = sum(a * b for a, b in pairwise(widths))
    for kept in (60, 15, 5):
        masks = topo.prune(net, "synflow", sparsity=1 - kept / total, example=(8,))
        assert masks.counts()["kept"].sum() == kept
        assert masks.empty_layers() == []
    # At maximal compression the five weights that are left are one path.
    live = torch.ones(8)
    for mask in masks.values():
        live = mask.float() @ live
    assert live.sum() == 1
    assert "4.weight" in topo.prune(net, "magnitude", sparsity=1 - 60 / total).empty_layers()


def test_one_shot_synflow_keeps_the_weights_of_largest_flow():
    net = mlp([3, 4, 2], bias=False)
    first, second = net[0].weight.detach().double().abs(), net[2].weight.detach().double().abs()
    expected = [first * second.sum(0)[:, None], second * first.sum(1)]
    scores = topo.pruning.score(net, "synflow", example=(3,))
    for score, hand in zip(scores.values(), expected):
        torch.testing.assert_close(score, hand)
    masks = topo.prune(net, "synflow", sparsity=0.5, example=(3,), rounds=1)
    flat = torch.cat([e.flatten() for e in expected])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert flat[kept].min() > flat[~kept].max()


@given(seed=st.integers(0, 30), exponents=st.lists(st.integers(-3, 3), min_size=6, max_size=6))
def test_rescaling_hidden_units_changes_nothing(seed, exponents):
    """Multiplying what enters a unit and dividing what leaves it keeps every path, hence every score."""
    net = mlp([4, 6, 3], bias=False, seed=seed)
    before = topo.prune(net, "synflow", sparsity=0.6, example=(4,), rounds=10)
    scale = 2.0 ** torch.tensor(exponents)
    with torch.no_grad():
        net[0].weight.mul_(scale[:, None])
        net[2].weight.div_(scale)
    assert topo.prune(net, "synflow", sparsity=0.6, example=(4,), rounds=10) == before


@given(seed=st.integers(0, 30))
def test_signs_biases_and_training_mode_do_not_matter(seed):
    net = mlp([4, 6, 3], seed=seed)
    before = topo.prune(net, "synflow", sparsity=0.6, example=(4,), rounds=10)
    with torch.no_grad():
        net[0].weight.neg_()
        net[0].bias.add_(7.0)
        net[2].weight.mul_(torch.tensor([1.0, -1.0, 1.0])[:, None])
    assert topo.prune(net.eval(), "synflow", sparsity=0.6, example=(4,), rounds=10) == before


def test_the_schedule_has_a_hundred_rounds_by_default():
    masks = topo.prune(mlp([3, 3, 2]), "synflow", sparsity=0.5, example=(3,))
    assert masks.settings == {"allocation": "global", "rounds": 100}


def test_a_deep_network_does_not_overflow():
    net = mlp([64] * 80)
    scores = topo.pruning.score(net, "synflow", example=(64,))
    totals = [math.log10(float(score.sum())) for score in scores.values()]
    assert max(totals) > 38  # beyond float32
    assert max(totals) - min(totals) < 1e-9


def test_the_shape_comes_from_the_data():
    net = mlp([5, 4, 2])
    data = (torch.randn(6, 5), torch.arange(6) % 2)
    a = topo.prune(net, "synflow", sparsity=0.5, data=data, rounds=5)
    assert a == topo.prune(net, "synflow", sparsity=0.5, example=[5], rounds=5)
    assert a == topo.prune(net, "synflow", sparsity=0.5, data=[data], rounds=5)


class Outputs(nn.Module):
    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.a, self.b = kind, nn.Linear(3, 2, bias=False), nn.Linear(3, 4, bias=False)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        return {"tuple": (a, [b, None]), "dict": {"a": a, "b": b}}[self.kind]


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_all_outputs_count(kind):
    net = Outputs(kind)
    scores = topo.pruning.score(net, "synflow", example=(3,))
    for name in ("a", "b"):
        torch.testing.assert_close(scores[f"{name}.weight"], getattr(net, name).weight.detach().double().abs())
