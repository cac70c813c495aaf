from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

import topo.pruning
from topo.dag import trace
from topo.errors import InputError
from topo.pruning.initial.walks import WalkGraph


def mlp(*widths: int, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        return nn.Sequential(*[m for layer in layers for m in (layer, nn.ReLU())][:-1])


def walks(net: nn.Module, *shape: int, count: int = 20000, forward: bool = True) -> tuple:
    """Walks, and the first weight number of every parameter that has one."""
    weights = {name: p for name, p in net.named_parameters() if p.ndim > 1}
    ends = [0]
    for p in weights.values():
        ends.append(ends[-1] + p.numel())
    offsets = dict(zip(weights, ends))
    graph = WalkGraph(trace(net, torch.zeros(1, *shape)), offsets)
    visits = graph.walk(torch.arange(count), forward, torch.Generator().manual_seed(1))
    return (*visits, offsets)


def shares(numbers: torch.Tensor, offset: int, shape: torch.Size) -> torch.Tensor:
    """How often each weight of a parameter was taken, among its own."""
    inside = numbers[(numbers >= offset) & (numbers < offset + shape.numel())] - offset
    return torch.bincount(inside, minlength=shape.numel()).view(shape) / len(inside)


def close(observed: torch.Tensor, expected: torch.Tensor, count: int) -> bool:
    return bool(((observed - expected).abs() <= 5 * (expected * (1 - expected) / count).sqrt() + 1e-9).all())


def test_steps_are_as_likely_as_the_weights_are_large():
    net = mlp(3, 4, 2)
    first, second = net[0].weight.detach().abs(), net[2].weight.detach().abs()
    _, numbers, offsets = walks(net, 3)
    # Forwards: starts go round the inputs, each column of the weights is a distribution.
    entering = first / first.sum(0) / 3
    assert close(shares(numbers, offsets["0.weight"], first.shape), entering, 20000)
    leaving = second / second.sum(0) * entering.sum(1)
    assert close(shares(numbers, offsets["2.weight"], second.shape), leaving, 20000)
    # Backwards: starts go round the outputs, each row is one.
    _, numbers, _ = walks(net, 3, forward=False)
    entering = second / second.sum(1, keepdim=True) / 2
    assert close(shares(numbers, offsets["2.weight"], second.shape), entering, 20000)
    leaving = first / first.sum(1, keepdim=True) * entering.sum(0)[:, None]
    assert close(shares(numbers, offsets["0.weight"], first.shape), leaving, 20000)


def test_kernels_by_element_and_the_block_of_a_channel_behind_flatten():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    kernel, dense = net[0].weight.detach().abs(), net[4].weight.detach().abs()
    _, numbers, offsets = walks(net, 2, 6, 6)
    entering = kernel / kernel.sum((0, 2, 3), keepdim=True) / 2
    assert close(shares(numbers, offsets["0.weight"], kernel.shape), entering, 20000)
    channels = entering.sum((1, 2, 3)).repeat_interleave(4) / 4
    assert close(shares(numbers, offsets["4.weight"], dense.shape), dense / dense.sum(0) * channels, 20000)
    _, numbers, _ = walks(net, 2, 6, 6, forward=False)
    reading = (dense / dense.sum(1, keepdim=True) / 2).sum(0).view(3, 4).sum(1)
    expected = kernel / kernel.sum((1, 2, 3), keepdim=True) * reading.view(3, 1, 1, 1)
    assert close(shares(numbers, offsets["0.weight"], kernel.shape), expected, 20000)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("forward", [False, True])
def test_grouped_and_transposed_convolutions_keep_to_their_groups(transposed, forward):
    torch.manual_seed(0)
    middle = (nn.ConvTranspose2d if transposed else nn.Conv2d)(4, 6, 2, groups=2)
    net = nn.Sequential(nn.Conv2d(2, 4, 1), middle, nn.Conv2d(6, 3, 1))
    visits, numbers, offsets = walks(net, 2, 4, 4, count=4000, forward=forward)
    steps = numbers.view(-1, 3) if forward else numbers.view(-1, 3).flip(1)
    assert torch.equal(visits.view(-1, 3)[:, 0], torch.arange(4000))
    weights = [layer.weight for layer in net]
    first, second, third = (
        torch.stack(torch.unravel_index(column - offset, weight.shape))
        for column, offset, weight in zip(steps.T, offsets.values(), weights)
    )
    left, right = first[0], third[1]
    if transposed:
        group, source, target = second[0] // 2, second[0], second[0] // 2 * 3 + second[1]
    else:
        group, source, target = second[0] // 3, second[0] // 3 * 2 + second[1], second[0]
    assert torch.equal(left, source)
    assert torch.equal(right, target)
    assert torch.equal(group, left // 2)


class Branches(nn.Module):
    """Two layers side by side whose results are added, joined or multiplied, beside a skip."""

    def __init__(self, kind: str):
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head = nn.Linear(8 if kind == "concat" else 4, 2)

    def forward(self, x):
        a, b = torch.relu(self.a(x)), torch.tanh(self.b(x))
        if self.kind == "concat":
            return self.head(torch.cat([a, b], 1))
        return self.head({"sum": lambda: a + b, "product": lambda: a * b, "skip": lambda: a + b + x}[self.kind]())


@pytest.mark.parametrize(("kind", "share"), [("sum", 1 / 2), ("concat", 1 / 2), ("product", 1 / 2), ("skip", 1 / 3)])
@pytest.mark.parametrize("forward", [False, True])
def test_branches_are_as_likely(kind, share, forward):
    net = Branches(kind)
    _, numbers, offsets = walks(net, 4, forward=forward)
    head = net.head.weight.detach().abs()
    first = (head / head.sum(1, keepdim=True))[:, :4].sum() / 2
    for name, part in (("a", first), ("b", 1 - first)):
        start = offsets[f"{name}.weight"]
        taken = ((numbers >= start) & (numbers < start + 16)).sum() / 20000
        expected = part if kind == "concat" and not forward else torch.tensor(share)
        assert close(taken, expected, 20000)


def chains(masks, names) -> bool:
    """Whether every kept weight of a chain of linear layers is on a path from the inputs to the outputs."""
    weights = [masks[name] for name in names]
    return all(torch.equal(before.any(1), after.any(0)) for before, after in pairwise(weights))


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.98, 0.9, 0.6])
def test_kept_weights_lie_on_whole_paths(sparsity):
    net = mlp(16, 30, 30, 30, 10)
    masks = topo.prune(net, "phew", sparsity=sparsity, example=(16,))
    assert masks.counts()["kept"].sum() == round((1 - sparsity) * masks.counts()["total"].sum())
    # Only the last walk may be cut, and it brings four weights at most.
    total = masks.counts()["total"].sum()
    kept = masks.counts()["kept"].sum()
    more = [topo.prune(net, "phew", sparsity=1 - (kept + i) / total, example=(16,)) for i in range(4)]
    assert any(chains(m, list(m)) for m in more)
    for few, many in pairwise(more):
        assert all(not (few[name] & ~many[name]).any() for name in few)


def test_the_first_walk_by_hand():
    """With one weight far above the others of its unit, walks are certain: input 0 and output 0 have one path each."""
    net = mlp(2, 2, 2)
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        net[2].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    # Forwards from input 0: weights (0, 0) and (1, 0). Backwards from output 0: (0, 1) and (1, 1).
    kept = [topo.prune(net, "phew", sparsity=1 - k / 8, example=(2,)) for k in range(1, 5)]
    assert [m["0.weight"].int().tolist() for m in kept] == [[[1, 0], [0, 0]]] * 2 + [[[1, 0], [0, 0]], [[1, 0], [0, 1]]]
    assert kept[2]["2.weight"].int().tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("scale", [0.25, 64.0])
def test_only_ratios_inside_a_layer_matter(scale):
    net = mlp(8, 12, 5)
    before = topo.prune(net, "phew", sparsity=0.7, example=(8,))
    with torch.no_grad():
        net[0].weight.mul_(-scale)
        net[2].bias.fill_(9.0)
    assert topo.prune(net, "phew", sparsity=0.7, example=(8,)) == before
    assert topo.prune(net, "phew", sparsity=0.7, example=(8,), seed=1) != before


@pytest.mark.slow
def test_counts_on_any_network(awkward, images):
    for sparsity in (0.0, 0.9):
        masks = topo.prune(awkward, "phew", sparsity=sparsity, data=images)
        assert masks.counts()["kept"].sum() == round((1 - sparsity) * masks.counts()["total"].sum())
    assert masks == topo.prune(awkward, "phew", sparsity=0.9, example=(2, 4, 4))


@pytest.mark.slow
def test_attention_is_walked_through(awkward):
    _, numbers, offsets = walks(awkward.eval(), 2, 4, 4, count=4000)
    taken = shares(numbers, offsets["attention.in_proj_weight"], awkward.attention.in_proj_weight.shape)
    assert (taken.view(3, 4, 4).sum((1, 2)) > 0.1).all()  # queries, keys and values


def test_layers_left_out_are_walked_through_but_not_pruned():
    net = mlp(6, 8, 8, 3)
    masks = topo.prune(net, "phew", sparsity=0.8, example=(6,), exclude="2.*")
    assert list(masks) == ["0.weight", "4.weight"]
    assert masks.counts()["kept"].sum() == round(0.2 * (48 + 24))


def test_what_no_walk_reaches_is_kept_last():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.unused = mlp(4, 6, 3), nn.Linear(4, 6)
            nn.init.constant_(self.unused.weight, 100.0)

        def forward(self, x):
            return self.net(x)

    weights = ["net.*", "unused.weight"]
    masks = topo.prune(Unused(), "phew", sparsity=1 - 42 / 66, example=(4,), include=weights)
    assert masks.empty_layers() == ["unused.weight"]
    masks = topo.prune(Unused(), "phew", sparsity=1 - 50 / 66, example=(4,), include=weights)
    assert masks["unused.weight"].sum() == 8


def test_a_layer_of_zeros_is_crossed_at_random():
    net = mlp(4, 6, 3)
    nn.init.zeros_(net[0].weight)
    masks = topo.prune(net, "phew", sparsity=0.5, example=(4,))
    assert masks.empty_layers() == []
    assert masks.counts()["kept"].sum() == 21


def test_bad_input():
    with pytest.raises(InputError, match="needs an example of the model's input"):
        topo.prune(mlp(2, 3), "phew", sparsity=0.5)
    with pytest.raises(InputError, match="must be of sizes from 1 up"):
        topo.prune(mlp(2, 3), "phew", sparsity=0.5, example=(0,))
    net = mlp(2, 3)
    nn.init.constant_(net[0].weight, float("nan"))
    with pytest.raises(InputError, match="not all finite"):
        topo.prune(net, "phew", sparsity=0.5, example=(2,))
    # The second network never uses what may be pruned.
    net = nn.ModuleDict({"used": nn.Linear(2, 2), "unused": nn.Linear(2, 2)})
    net.forward = net["used"].forward
    with pytest.raises(InputError, match="no walk leads"):
        topo.prune(net, "phew", sparsity=0.5, example=(2,), include="unused.*")
